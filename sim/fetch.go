package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/transport"
)

// Transfers of snapshots: several requests are under way at once, each a message there and one back.
const (
	chunkTimeout  = 5 * time.Second
	chunkPause    = 100 * time.Millisecond
	chunkBytesMax = 700 // less than a transport carries, so that a small snapshot takes several
)

// startFetch runs a transfer once the one before, which was cancelled, has let go of its file.
func (r *replica) startFetch(j *server.FetchJob) {
	if r.fetch != nil {
		if r.next != nil {
			r.next.Drop(context.Canceled)
			r.finished(r.next)
		}
		r.next = j
		return
	}
	r.fetch = j
	if r.h.w.calm {
		r.fetches++
	}
	if w, h := r.h.w, r.h; !w.calm && h.since == nil && chance(w.disks, 0.08) { // so that it has to be resumed
		h.mayFail, h.store.disk.cut = errDisk, w.disks
		h.store.disk.spoil, h.store.disk.spoilsKind = 1, ".partial"
	}
	for range 1 + r.h.w.jobs.IntN(4) {
		r.asking++
		r.h.after(r.stepDelay(j), func() { r.ask(j) })
	}
}

// ask sends one request, if one is wanted.
func (r *replica) ask(j *server.FetchJob) {
	h, w := r.h, r.h.w
	if r.r.Err() != nil {
		j.Drop(r.r.Err())
		r.asked(j)
		return
	}
	request, ok := j.Want()
	if h.store.dead() {
		h.crash(h.downFor)
		return
	}
	if !ok || h.burn() {
		if h.up {
			r.asked(j)
		}
		return
	}
	r.oracle.wants(r, request)
	answered := false
	take := func(chunk transport.Chunk, err error) {
		if answered {
			return
		}
		answered = true
		done := j.Take(request, chunk, err)
		switch {
		case h.store.dead():
			h.crash(h.downFor)
		case h.burn():
		case done:
			r.asked(j)
		case err != nil:
			h.after(chunkPause, func() { r.ask(j) })
		default:
			h.after(r.stepDelay(j), func() { r.ask(j) })
		}
	}
	h.after(chunkTimeout, func() { take(transport.Chunk{}, context.DeadlineExceeded) })
	from := w.find(j.From().ID, j.From().Store)
	if w.net.lost(h.number, from.number) {
		h.after(w.net.delay(), func() { take(transport.Chunk{}, transport.ErrUnreachable) })
		return
	}
	life := h.life
	w.after(w.net.delay(), func() {
		w.serveChunk(h, from, request, func(chunk transport.Chunk, err error) {
			w.after(w.net.delay(), func() { h.do(life, func() { take(chunk, err) }) })
		})
	})
}

// serveChunk answers a request at the peer.
func (w *world) serveChunk(to, peer *host, request transport.ChunkRequest, answer func(transport.Chunk, error)) {
	if !peer.up {
		answer(transport.Chunk{}, transport.ErrUnreachable)
		return
	}
	peer.after(peer.diskDelay(upTo(w.jobs, w.plan.StepMax)), func() {
		chunk, err := peer.readChunk(request)
		if err != nil {
			err = fmt.Errorf("%w: %w", transport.ErrChunkRefused, err)
		} else if g := request.Snapshot.Group; g >= 1 && int(g) <= len(peer.replicas) {
			in := &peer.replicas[g-1].in
			in.Fetched = append(in.Fetched, server.Fetched{
				By: raft.Member{ID: to.id, Store: to.identity.Store}, Snapshot: request.Snapshot, Offset: chunk.Offset + int64(len(chunk.Bytes)),
			})
		}
		if !w.net.lost(peer.number, to.number) {
			answer(chunk, err)
		}
	})
}

func (h *host) readChunk(request transport.ChunkRequest) (transport.Chunk, error) {
	meta := request.Snapshot
	if request.Offset < 0 || request.Offset >= meta.Size || request.BytesMax <= 0 {
		return transport.Chunk{}, errors.New("no such part")
	}
	file, err := h.store.files.Open(meta, request.Offset)
	if err != nil {
		return transport.Chunk{}, err
	}
	most := int64(chunkBytesMax)
	if h.w.guests != nil {
		most = max(most, meta.Size/4) // however large the state of a user's machine is
	}
	size := min(int64(request.BytesMax), 1+h.w.nets.Int64N(most), meta.Size-request.Offset)
	bytes := make([]byte, size)
	_, err = io.ReadFull(file, bytes)
	err = errors.Join(err, file.Close())
	return transport.Chunk{Offset: request.Offset, Bytes: bytes, Last: request.Offset+size == meta.Size}, err
}

// asked ends one of the askers; the last one ends the transfer.
func (r *replica) asked(j *server.FetchJob) {
	if r.asking--; r.asking > 0 {
		return
	}
	j.Cancel()
	r.fetch = nil
	r.finished(j)
	if next := r.next; next != nil {
		r.next = nil
		r.startFetch(next)
	}
}

// noTransport is what replicas are told to send by. Their messages come out of their turns, and chunks are asked for
// here, so nothing goes through it.
type noTransport struct{}

// Start implements transport.Transport.
func (noTransport) Start(transport.Handler) error { return nil }

// Send implements transport.Transport.
func (noTransport) Send([]raft.Message) {}

// SetPeers implements transport.Transport.
func (noTransport) SetPeers([]raft.Member) {}

// Status implements transport.Transport.
func (noTransport) Status() transport.Status { return transport.Status{} }

// Close implements transport.Transport.
func (noTransport) Close() error { return nil }

// FetchChunk implements transport.Transport.
func (noTransport) FetchChunk(context.Context, raft.Member, transport.ChunkRequest) (transport.Chunk, error) {
	return transport.Chunk{}, transport.ErrUnreachable
}
