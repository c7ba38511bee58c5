package server

import (
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// FillJob reads entries that the tail no longer holds, for a follower that lags. It may run beside everything: what it
// reads is either what the message needs, or the replica finds that the world has moved on and drops it.
type FillJob struct {
	outcome
	log    persistentlog.PersistentLog
	group  raft.GroupID
	fill   raft.Fill
	late   *raft.Message // a message that was to leave at once and found its range gone from the tail
	blocks []raft.Block
	result raft.FillResult
}

// Lane implements Job.
func (j *FillJob) Lane() Lane { return LaneFill }

// Step implements Job.
func (j *FillJob) Step() (done bool) {
	done = true
	defer guard(func() string { return fmt.Sprintf("read entries from %d", j.fill.First) }, &j.err)
	if j.result == raft.FillRead {
		return done // the tail held it
	}
	j.result = raft.FillDropped
	blocks, err := j.log.Blocks(j.group, j.fill.First, j.fill.Next, j.fill.MaxBytes)
	switch {
	case err == nil:
		j.blocks, j.result = j.fitting(blocks), raft.FillRead
	case errors.Is(err, persistentlog.ErrCompacted):
		j.result = raft.FillCompacted
	case errors.Is(err, persistentlog.ErrUnavailable):
	default:
		j.err = fmt.Errorf("read entries from %d: %w", j.fill.First, err)
	}
	return done
}

// fitting cuts off what does not fit into one message. A log stops after the block with which it has collected enough,
// which may be nearly twice as much: a frame that no peer reads, and the same one again at every attempt.
func (j *FillJob) fitting(blocks []raft.Block) []raft.Block {
	bytes := 0
	for i := range blocks {
		if bytes += blocks[i].Size(); i > 0 && bytes > j.fill.MaxBytes {
			clear(blocks[i:])
			return blocks[:i]
		}
	}
	return blocks
}

// Drop implements Job.
func (j *FillJob) Drop(error) { j.blocks, j.result = nil, raft.FillDropped }

// read returns where the blocks end and how many bytes they are.
func (j *FillJob) read() (next raft.Index, bytes int) {
	for _, b := range j.blocks {
		next, bytes = b.Next(), bytes+b.Size()
	}
	return next, bytes
}
