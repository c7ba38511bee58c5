package pebblelog

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// compaction is what the next batch deletes of a group.
type compaction struct {
	blocks raft.Index // blocks that begin before it go
	keys   []key      // runs and memberships
}

// Compact drops the front of a group's log, for readers at once and on disk with the next batch of any group, or with
// Close. So it costs no sync, and what it drops is often still in memory, where it ends without having reached a table.
func (l *Log) Compact(id raft.GroupID, through raft.Index) error {
	if err := l.usable(); err != nil {
		return err
	}
	g, err := l.lookup(id)
	if err != nil || g == nil {
		return err
	}
	l.mu.Lock()
	first := min(through+1, g.spine.Next())
	l.mu.Unlock()
	border, err := l.blockHolding(id, first)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if through < g.spine.First() {
		return nil
	}
	runs, memberships := g.spine.Trail(), g.spine.Memberships()
	c := l.compacted[id]
	for _, run := range runs {
		if run.First < first {
			c.keys = append(c.keys, makeKey(id, kindRun, run.First))
		}
	}
	for _, b := range memberships {
		if b.First() < first {
			c.keys = append(c.keys, makeKey(id, kindMembership, b.First()))
		}
	}
	if err := g.spine.Compact(through); err != nil {
		return err
	}
	if g.spine.First() == g.spine.Next() {
		border = g.spine.First() // nothing is left that a block would have to be kept for
	}
	c.blocks = max(c.blocks, border)
	l.compacted[id] = c
	return nil
}

// lookup returns the group, from the database if need be.
func (l *Log) lookup(id raft.GroupID) (*group, error) {
	l.mu.Lock()
	g := l.groups[id]
	l.mu.Unlock()
	if g != nil {
		return g, nil
	}
	l.writer.Lock()
	defer l.writer.Unlock()
	return l.load(id)
}

// blockHolding returns where the block begins that holds the index: the last one that begins at or before it.
func (l *Log) blockHolding(id raft.GroupID, index raft.Index) (_ raft.Index, err error) {
	r, err := l.reader(id)
	if err != nil {
		return 0, err
	}
	defer r.close(&err)
	seek := makeKey(id, kindBlock, index+1)
	r.it.SeekLT(seek[:])
	if at, ok := r.at(kindBlock); ok {
		return at, nil
	}
	return index, r.failed(index)
}

// appendCompaction lays what Compact noted into a batch.
func appendCompaction(batch *pebble.Batch, id raft.GroupID, g *group, c compaction) error {
	from, to := makeKey(id, kindBlock, 0), makeKey(id, kindBlock, c.blocks)
	if err := batch.DeleteRange(from[:], to[:], nil); err != nil {
		return err
	}
	for _, k := range c.keys {
		if err := batch.Delete(k[:], nil); err != nil {
			return err
		}
	}
	if trail := g.spine.Trail(); len(trail) > 0 {
		if err := setRun(batch, id, trail[0]); err != nil {
			return err
		}
	}
	return setLog(batch, id, g)
}

// Destroy forgets a group, durably.
func (l *Log) Destroy(id raft.GroupID) error {
	if id == 0 {
		return fmt.Errorf("%w: 0 is no group", persistentlog.ErrBadUpdate)
	}
	l.writer.Lock()
	defer l.writer.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	l.mu.Lock()
	delete(l.groups, id)
	delete(l.compacted, id)
	l.mu.Unlock()
	batch := l.batch
	batch.Reset()
	number := l.number.Load() + 1
	err := l.beginBatch(batch, number)
	if err == nil {
		from, end := makeKey(id, 0, 0), groupEnd(id)
		if end == nil { // the last possible group: its keys have no successor of the same length
			last := makeKey(id, 0xff, 0)
			end = last[:]
		}
		err = batch.DeleteRange(from[:], end, nil)
	}
	return l.finish(number, err)
}
