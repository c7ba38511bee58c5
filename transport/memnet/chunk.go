package memnet

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// chunkTimeout is how long a request for a chunk, or its answer, that was lost goes unnoticed.
const chunkTimeout = time.Second

// FetchChunk implements transport.Transport. Faults apply to the request and to its answer; one that is lost is
// ErrUnreachable after a second.
func (e *Endpoint) FetchChunk(ctx context.Context, from raft.Member, request transport.ChunkRequest) (transport.Chunk, error) {
	request.BytesMax = min(request.BytesMax, transport.ChunkBytesMax)
	if request.BytesMax < 1 || request.Offset < 0 {
		return transport.Chunk{}, fmt.Errorf("memnet: a chunk of %d bytes at offset %d was asked for", request.BytesMax, request.Offset)
	}
	meta, err := wire.DecodeSnapshotMeta(wire.AppendSnapshotMeta(nil, request.Snapshot))
	if err != nil {
		return transport.Chunk{}, err
	}
	request.Snapshot = meta

	n := e.network
	n.mu.Lock()
	if e.closed || !e.started {
		n.mu.Unlock()
		return transport.Chunk{}, transport.ErrClosed
	}
	to, err := n.reach(e, who{from.ID, from.Store})
	if err != nil {
		n.mu.Unlock()
		return transport.Chunk{}, err
	}
	l := e.link(to, wire.LaneChunks)
	there, back := l.draw(n.faultsOn(l.way)), l.draw(n.faultsOn(way{from.ID, e.local.Server}))
	n.mu.Unlock()

	if err := e.travel(ctx, to, l.way, there); err != nil {
		return transport.Chunk{}, err
	}
	select {
	case l.serving <- struct{}{}:
	default:
		select {
		case l.serving <- struct{}{}:
		case <-ctx.Done():
			return transport.Chunk{}, ctx.Err()
		case <-e.done:
			return transport.Chunk{}, transport.ErrClosed
		case <-to.done:
			return transport.Chunk{}, closedUnder(from.ID)
		}
	}
	answer, err := e.ask(ctx, to, l, request)
	if err != nil {
		return transport.Chunk{}, err
	}
	if err := e.travel(ctx, to, way{from.ID, e.local.Server}, back); err != nil {
		return transport.Chunk{}, err
	}
	return answer, nil
}

// travel is the way of a request or of an answer.
func (e *Endpoint) travel(ctx context.Context, to *Endpoint, w way, f fate) error {
	wait := f.delays[0]
	e.network.mu.Lock()
	lost := f.lost || e.network.cuts[w]
	e.network.mu.Unlock()
	if lost {
		wait = chunkTimeout
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.done:
			return transport.ErrClosed
		case <-to.done:
			return closedUnder(to.local.Server)
		}
	}
	if lost {
		return fmt.Errorf("%w: the connection to server %d was lost", transport.ErrUnreachable, to.local.Server)
	}
	return nil
}

func closedUnder(id raft.ServerID) error {
	return fmt.Errorf("%w: server %d was closed", transport.ErrUnreachable, id)
}

type served struct {
	chunk transport.Chunk
	err   error
}

// ask has the other side serve a chunk. It holds the link's serving token, which goes back when the handler has
// returned, also if nobody waits for it any more.
func (e *Endpoint) ask(ctx context.Context, to *Endpoint, l *link, request transport.ChunkRequest) (transport.Chunk, error) {
	n := e.network
	n.mu.Lock()
	entered := to.enter()
	n.mu.Unlock()
	if !entered {
		<-l.serving
		return transport.Chunk{}, closedUnder(to.local.Server)
	}
	answer := make(chan served, 1)
	go func() {
		defer to.leave()
		chunk, err := to.serve(raft.Member{ID: e.local.Server, Store: e.local.Store}, request)
		<-l.serving
		answer <- served{chunk, err}
	}()
	select {
	case got := <-answer:
		if got.err != nil {
			return transport.Chunk{}, fmt.Errorf("%w: server %d: %w", transport.ErrChunkRefused, to.local.Server, got.err)
		}
		return got.chunk, nil
	case <-ctx.Done():
		return transport.Chunk{}, ctx.Err()
	case <-e.done:
		return transport.Chunk{}, transport.ErrClosed
	}
}

// serve calls Handler.ServeChunk. The error goes back as text, as it would over a wire.
func (e *Endpoint) serve(from raft.Member, request transport.ChunkRequest) (chunk transport.Chunk, err error) {
	defer e.recovered("ServeChunk", &err)
	chunk, err = e.handler.ServeChunk(from, request)
	if err == nil && (chunk.Offset != request.Offset || len(chunk.Bytes) > request.BytesMax) {
		err = fmt.Errorf("%d bytes at offset %d were served, asked for were %d at %d",
			len(chunk.Bytes), chunk.Offset, request.BytesMax, request.Offset)
	}
	if err != nil {
		return transport.Chunk{}, fmt.Errorf("%s", err.Error())
	}
	chunk.Bytes = bytes.Clone(chunk.Bytes)
	return chunk, nil
}
