package server

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// FetchJob fetches a snapshot from a peer and makes it durable as a file. It goes on where an earlier transfer of the
// same bytes stopped. It overlaps everything; a newer one cancels it.
//
// Step asks for one chunk and waits for it. A shell that keeps several requests under way calls Want and Take from
// several goroutines instead, until Take or Want reports the end.
type FetchJob struct {
	outcome
	transport transport.Transport
	snapshots persistentlog.Snapshots
	install   raft.Install
	ctx       context.Context
	cancel    context.CancelFunc

	mu       sync.Mutex
	writer   persistentlog.SnapshotWriter
	todo     []chunkRange // to be asked for, in order
	early    map[int64]transport.Chunk
	offset   int64 // written up to here
	failures int   // in a row
	ended    bool
	soft     error // why it was given up; the replica goes on
}

type chunkRange struct{ from, to int64 }

// fetchFailuresMax is how many requests in a row may fail before the leader is told that the transfer was given up. What
// arrived stays and is not fetched again.
const fetchFailuresMax = 8

// fetchOutstandingMax is how many requests a shell keeps under way.
const fetchOutstandingMax = 4

func newFetchJob(t transport.Transport, s persistentlog.Snapshots, install raft.Install) *FetchJob {
	j := &FetchJob{transport: t, snapshots: s, install: install, early: make(map[int64]transport.Chunk)}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	return j
}

// Lane implements Job.
func (j *FetchJob) Lane() Lane { return LaneFetch }

// From is the server that has the snapshot, by id and store.
func (j *FetchJob) From() raft.Member {
	return raft.Member{ID: j.install.From, Store: j.install.FromStore}
}

// Cancel ends the job soon; what arrived is kept.
func (j *FetchJob) Cancel() { j.cancel() }

// Failing reports whether the latest request failed, so that the next one should wait a little.
func (j *FetchJob) Failing() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failures > 0
}

// Step implements Job.
func (j *FetchJob) Step() (done bool) {
	request, ok := j.Want()
	if !ok {
		return true
	}
	chunk, err := j.transport.FetchChunk(j.ctx, j.From(), request)
	return j.Take(request, chunk, err)
}

// Want returns what to ask for next. ok is false when there is nothing left to ask for: the job is done, or what it
// waits for was asked for by another goroutine.
func (j *FetchJob) Want() (request transport.ChunkRequest, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer guard(func() string { return "fetch snapshot" }, &j.err)
	if j.ended || j.err != nil {
		return request, false
	}
	meta := j.install.Snapshot
	if j.writer == nil {
		if err := j.open(meta); err != nil {
			j.end(err)
			return request, false
		}
	}
	if len(j.todo) == 0 {
		return request, false
	}
	next := &j.todo[0]
	request = transport.ChunkRequest{
		Snapshot: meta, Offset: next.from, BytesMax: int(min(next.to-next.from, transport.ChunkBytesMax)),
	}
	if next.from += int64(request.BytesMax); next.from == next.to {
		j.todo = j.todo[1:]
	}
	return request, true
}

func (j *FetchJob) open(meta raft.SnapshotMeta) error {
	w, err := j.snapshots.Create(meta)
	if err != nil {
		return err
	}
	j.writer, j.offset = w, w.Offset()
	if j.offset < meta.Size {
		j.todo = append(j.todo, chunkRange{j.offset, meta.Size})
		return nil
	}
	j.finish() // everything had arrived before the last stop
	return nil
}

// Take takes the answer to a request and reports whether the job is done.
func (j *FetchJob) Take(request transport.ChunkRequest, chunk transport.Chunk, err error) (done bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer func() { done = j.ended || j.err != nil }()
	defer guard(func() string { return "fetch snapshot" }, &j.err)
	if j.ended {
		return
	}
	n, end := int64(len(chunk.Bytes)), request.Offset+int64(request.BytesMax)
	switch {
	case j.ctx.Err() != nil:
		j.end(j.ctx.Err())
		return
	case err == nil && (chunk.Offset != request.Offset || n == 0 || n > int64(request.BytesMax)):
		err = fmt.Errorf("%w: %d bytes at %d for a request of %d at %d", transport.ErrChunkRefused, n, chunk.Offset, request.BytesMax, request.Offset)
	}
	if err != nil {
		j.todo = append([]chunkRange{{request.Offset, end}}, j.todo...)
		if j.failures++; j.failures >= fetchFailuresMax || errors.Is(err, transport.ErrChunkRefused) {
			j.end(err)
		}
		return
	}
	j.failures = 0
	if at := request.Offset + n; at < end {
		j.todo = append([]chunkRange{{at, end}}, j.todo...)
	}
	j.early[chunk.Offset] = chunk
	j.write()
	return
}

// write puts what has arrived in order into the file.
func (j *FetchJob) write() {
	for {
		chunk, ok := j.early[j.offset]
		if !ok {
			break
		}
		delete(j.early, j.offset)
		if _, err := j.writer.Write(chunk.Bytes); err != nil {
			j.end(err)
			return
		}
		j.offset += int64(len(chunk.Bytes))
	}
	if j.offset >= j.install.Snapshot.Size {
		j.finish()
	}
}

func (j *FetchJob) finish() {
	w := j.writer
	j.writer = nil
	_, err := w.Commit()
	j.end(err)
}

func (j *FetchJob) end(err error) {
	if j.ended {
		return
	}
	j.ended = true
	j.cancel()
	if j.writer != nil {
		err = errors.Join(err, j.writer.Abort(true))
		j.writer = nil
	}
	if err != nil {
		j.soft = fmt.Errorf("fetch snapshot at %d from server %d: %w", j.install.Snapshot.Index, j.install.From, err)
	}
	j.early, j.todo = nil, nil
}

// Drop implements Job.
func (j *FetchJob) Drop(why error) {
	j.cancel()
	j.mu.Lock()
	defer j.mu.Unlock()
	defer guard(func() string { return "drop snapshot" }, &j.err)
	j.end(why)
}
