package server

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// fillers runs reads of old entries for followers that lag, a few at a time, so that many of them at once do not take
// the disk and the memory from everybody else.
type fillers struct {
	s       *Server
	mu      sync.Mutex
	queue   []fillFor
	running int
}

type fillFor struct {
	g *group
	j Job
}

const fillersMax = 4

func (f *fillers) push(g *group, j Job) {
	f.mu.Lock()
	f.queue = append(f.queue, fillFor{g, j})
	start := f.running < fillersMax
	if start {
		f.running++
	}
	f.mu.Unlock()
	if start {
		f.s.elastic.run(f.run)
	}
}

func (f *fillers) run() {
	for {
		f.mu.Lock()
		if len(f.queue) == 0 {
			f.running--
			f.mu.Unlock()
			return
		}
		next := f.queue[0]
		f.queue[0] = fillFor{}
		f.queue = f.queue[1:]
		f.mu.Unlock()
		if err := next.g.fenced(); err != nil {
			next.j.Drop(err)
		} else {
			for !next.j.Step() {
			}
		}
		next.g.finished(next.j)
	}
}

// Waiting times of a transfer: for one chunk, and after a request that failed.
const (
	chunkTimeout = 30 * time.Second
	chunkPause   = 100 * time.Millisecond
)

// fetch runs a transfer once the one that it replaces, which was cancelled, has let go of its file. It is called in a turn.
func (s *Server) fetch(g *group, j *FetchJob) {
	before, ended := g.fetched, make(chan struct{})
	g.fetched = ended
	if before == nil {
		s.fetchNow(g, j, ended)
		return
	}
	s.elastic.run(func() {
		<-before
		s.fetchNow(g, j, ended)
	})
}

// fetchNow runs a transfer with several requests under way.
func (s *Server) fetchNow(g *group, j *FetchJob, ended chan<- struct{}) {
	left := new(atomic.Int32)
	left.Store(fetchOutstandingMax)
	for range fetchOutstandingMax {
		s.elastic.run(func() {
			s.fetchSome(j)
			if left.Add(-1) == 0 {
				j.cancel()
				close(ended)
				g.finished(j)
			}
		})
	}
}

func (s *Server) fetchSome(j *FetchJob) {
	for {
		request, ok := j.Want()
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(j.ctx, chunkTimeout)
		chunk, err := s.fetchChunk(ctx, j.From(), request)
		cancel()
		if j.Take(request, chunk, err) {
			return
		}
		if err != nil {
			c, stop := s.clock.NewTimer(chunkPause)
			select {
			case <-c:
			case <-j.ctx.Done():
			}
			stop()
		}
	}
}

func (s *Server) fetchChunk(ctx context.Context, from raft.Member, request transport.ChunkRequest) (chunk transport.Chunk, err error) {
	defer guard(func() string { return "fetch chunk" }, &err)
	return s.options.Transport.FetchChunk(ctx, from, request)
}

// chunkReaders are the snapshots that peers are reading, each open where its reader will go on, so that a transfer reads
// the file once and the file stays while it does.
type chunkReaders struct {
	s      *Server
	mu     sync.Mutex
	byPeer map[chunkReader]*openSnapshot
	closed bool
}

type chunkReader struct {
	peer  raft.Member // by id and store
	group raft.GroupID
	index raft.Index
}

type openSnapshot struct {
	meta   raft.SnapshotMeta
	file   io.ReadCloser
	offset int64
	idle   *time.Timer
}

// chunkIdle is how long a snapshot stays open for a peer that asks for nothing more.
const chunkIdle = 30 * time.Second

// take gives the reader that stands at the request's offset, opening the snapshot if there is none. It is the caller's
// until it is put back.
func (c *chunkReaders) take(key chunkReader, request transport.ChunkRequest) (*openSnapshot, error) {
	c.mu.Lock()
	o := c.byPeer[key]
	delete(c.byPeer, key)
	c.mu.Unlock()
	if o != nil {
		o.idle.Stop()
		if o.offset == request.Offset && o.meta.Same(request.Snapshot) {
			return o, nil
		}
		_ = o.file.Close() // read only: nothing is lost
	}
	file, err := c.s.options.Snapshots.Open(request.Snapshot, request.Offset)
	if err != nil {
		return nil, err
	}
	return &openSnapshot{meta: request.Snapshot, file: file, offset: request.Offset}, nil
}

func (c *chunkReaders) put(key chunkReader, o *openSnapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.byPeer[key] != nil {
		_ = o.file.Close()
		return
	}
	c.byPeer[key] = o
	o.idle = time.AfterFunc(chunkIdle, func() { c.expire(key, o) })
}

func (c *chunkReaders) expire(key chunkReader, o *openSnapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byPeer[key] == o {
		delete(c.byPeer, key)
		_ = o.file.Close()
	}
}

func (c *chunkReaders) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for key, o := range c.byPeer {
		o.idle.Stop()
		_ = o.file.Close()
		delete(c.byPeer, key)
	}
}

// ServeChunk implements transport.Handler.
func (s *Server) ServeChunk(from raft.Member, request transport.ChunkRequest) (chunk transport.Chunk, err error) {
	defer guard(func() string { return "serve chunk" }, &err)
	meta := request.Snapshot
	g := s.group(meta.Group)
	if g == nil {
		return chunk, fmt.Errorf("%w: %d", ErrNoGroup, meta.Group)
	}
	if request.Offset < 0 || request.Offset >= meta.Size || request.BytesMax <= 0 {
		return chunk, fmt.Errorf("snapshot at %d has %d bytes: no %d at %d", meta.Index, meta.Size, request.BytesMax, request.Offset)
	}
	key := chunkReader{peer: raft.Member{ID: from.ID, Store: from.Store}, group: meta.Group, index: meta.Index}
	o, err := s.chunks.take(key, request)
	if err != nil {
		return chunk, err
	}
	size := min(int64(request.BytesMax), transport.ChunkBytesMax, meta.Size-request.Offset)
	bytes := make([]byte, size)
	if _, err := io.ReadFull(o.file, bytes); err != nil {
		_ = o.file.Close()
		return chunk, fmt.Errorf("read snapshot at %d: %w", meta.Index, err)
	}
	o.offset += size
	if o.offset < meta.Size {
		s.chunks.put(key, o)
	} else {
		_ = o.file.Close()
	}
	g.inbox.fetched(Fetched{By: key.peer, Snapshot: meta, Offset: request.Offset + size})
	return transport.Chunk{Offset: request.Offset, Bytes: bytes, Last: request.Offset+size == meta.Size}, nil
}
