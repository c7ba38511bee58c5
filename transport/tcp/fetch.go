package tcp

import (
	"context"
	"fmt"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// fetch is one chunk that was asked for.
type fetch struct {
	request transport.ChunkRequest
	answer  chan fetched // room for one
}

type fetched struct {
	chunk transport.Chunk
	err   error
}

// end answers the fetch. It is called once, by whoever took it out of the lane's fetches.
func (f *fetch) end(chunk transport.Chunk, err error) { f.answer <- fetched{chunk, err} }

// FetchChunk implements transport.Transport. Where there is no connection it fails at once: pause before trying again.
func (t *Transport) FetchChunk(ctx context.Context, from raft.Member, request transport.ChunkRequest) (transport.Chunk, error) {
	if t.ctx.Err() != nil {
		return transport.Chunk{}, transport.ErrClosed
	}
	request.BytesMax = min(request.BytesMax, transport.ChunkBytesMax)
	if request.BytesMax < 1 || request.Offset < 0 {
		return transport.Chunk{}, fmt.Errorf("tcp: a chunk of %d bytes at offset %d was asked for", request.BytesMax, request.Offset)
	}
	p := t.find(who{from.ID, from.Store})
	if p == nil {
		return transport.Chunk{}, fmt.Errorf("%w: server %d, store %s is not among the peers", transport.ErrUnreachable, from.ID, from.Store)
	}
	id, f, err := p.chunks.ask(request)
	if err != nil {
		return transport.Chunk{}, err
	}
	select {
	case got := <-f.answer:
		if t.ctx.Err() != nil && got.err != nil {
			return transport.Chunk{}, transport.ErrClosed
		}
		return got.chunk, got.err
	case <-ctx.Done():
		p.chunks.takeFetch(id)
		return transport.Chunk{}, ctx.Err()
	}
}

// ask queues a request.
func (l *lane) ask(request transport.ChunkRequest) (uint64, *fetch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == laneDown {
		return 0, nil, fmt.Errorf("%w: %w", transport.ErrUnreachable, l.err)
	}
	l.fetchSeq++
	frame := wire.AppendChunkRequest(nil, wire.ChunkRequest{
		ID: l.fetchSeq, Snapshot: request.Snapshot, Offset: request.Offset, BytesMax: request.BytesMax,
	})
	if l.queued > 0 && l.queued+len(frame) > l.bytesMax {
		return 0, nil, fmt.Errorf("%w: too many requests for chunks are waiting", transport.ErrUnreachable)
	}
	f := &fetch{request: request, answer: make(chan fetched, 1)}
	l.fetches[l.fetchSeq] = f
	l.next.addFrame(frame)
	l.grown(len(frame))
	l.signal()
	return l.fetchSeq, f, nil
}

// takeFetch returns the fetch with that id, if somebody still waits for it, and nobody else gets it.
func (l *lane) takeFetch(id uint64) *fetch {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.fetches[id]
	delete(l.fetches, id)
	return f
}

// listen is the reader of a connection that this side dialled: keepalives, and on the chunks lane the answers.
func (l *lane) listen(frames *wire.FrameReader) error {
	for {
		f, err := frames.Next()
		if err != nil {
			return err
		}
		l.peer.t.receivedBytes.Add(uint64(f.Size()))
		switch {
		case f.Type == wire.FrameKeepalive:
		case f.Type == wire.FrameChunk && l.kind == wire.LaneChunks:
			err = l.chunkCame(f)
		case f.Type == wire.FrameChunkRefusal && l.kind == wire.LaneChunks:
			err = l.refusalCame(f)
		default:
			err = fmt.Errorf("%w: frame of type %d in answer on the lane for %s", wire.ErrMalformed, f.Type, l.kind)
		}
		if err != nil {
			return err
		}
	}
}

func (l *lane) chunkCame(frame wire.Frame) error {
	c, err := wire.DecodeChunk(frame)
	if err != nil {
		return err
	}
	f := l.takeFetch(c.ID)
	if f == nil {
		return nil // whoever asked has gone
	}
	if c.Offset != f.request.Offset || len(c.Bytes) > f.request.BytesMax {
		err = fmt.Errorf("%w: chunk of %d bytes at offset %d, asked for were %d at %d",
			wire.ErrMalformed, len(c.Bytes), c.Offset, f.request.BytesMax, f.request.Offset)
		f.end(transport.Chunk{}, fmt.Errorf("%w: %w", transport.ErrUnreachable, err))
		return err
	}
	f.end(transport.Chunk{Offset: c.Offset, Bytes: c.Bytes, Last: c.Last}, nil)
	return nil
}

func (l *lane) refusalCame(frame wire.Frame) error {
	r, err := wire.DecodeChunkRefusal(frame)
	if err != nil {
		return err
	}
	if f := l.takeFetch(r.ID); f != nil {
		f.end(transport.Chunk{}, fmt.Errorf("%w: server %d: %s", transport.ErrChunkRefused, l.peer.id, r.Reason))
	}
	return nil
}
