package tcp

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// peer is another server at one address, and the lanes to it. An address that changes makes a new peer.
type peer struct {
	t       *Transport
	id      raft.ServerID
	address string
	ctx     context.Context // ends when the peer is replaced or the transport closes
	cancel  context.CancelFunc

	control, entries, chunks *lane

	mu       sync.Mutex
	reported rateLimit
}

func newPeer(t *Transport, id raft.ServerID, address string) *peer {
	p := &peer{t: t, id: id, address: address}
	p.ctx, p.cancel = context.WithCancel(t.ctx)
	o := t.options
	p.control = newLane(p, wire.LaneControl, o.ControlBytesMax)
	p.entries = newLane(p, wire.LaneEntries, o.EntriesBytesMax)
	p.chunks = newLane(p, wire.LaneChunks, o.ChunksBytesMax)
	return p
}

func (p *peer) start() {
	for _, l := range []*lane{p.control, p.entries, p.chunks} {
		p.t.wg.Go(l.run)
	}
}

func (p *peer) status() transport.PeerStatus {
	l := p.control
	l.mu.Lock()
	defer l.mu.Unlock()
	s := transport.PeerStatus{ID: p.id, Address: p.address, Connected: l.state == laneUp, Store: l.to.Store}
	if l.state != laneUp && l.err != nil {
		s.Error = l.err.Error()
	}
	return s
}

// report logs why there is no connection. Three lanes fail for the same reason, again and again: it is told once, and
// then each half minute.
func (p *peer) report(lane wire.Lane, err error) {
	p.mu.Lock()
	tell := p.reported.allow(err.Error())
	p.mu.Unlock()
	if tell {
		p.t.log.Warn("no connection to peer", "peer", p.id, "address", p.address, "lane", lane.String(), "error", err)
	}
}

// rateLimit lets a text through when it differs from the one before, but not more than once a second, and a text that
// stays the same each half minute. Whoever has one guards it with a lock.
type rateLimit struct {
	text string
	at   time.Time
}

func (r *rateLimit) allow(text string) bool {
	pause := time.Second
	if text == r.text {
		pause = 30 * time.Second
	}
	now := time.Now()
	if !r.at.IsZero() && now.Sub(r.at) < pause {
		return false
	}
	r.text, r.at = text, now
	return true
}

// recovered is deferred around every call of the handler. A panic of it is a bug of the server above; it must not take
// the process down, which may hold other things of value. The connection it came from is given up (*err).
func (t *Transport) recovered(method string, peer raft.ServerID, err *error) {
	cause := recover()
	if cause == nil {
		return
	}
	t.log.LogAttrs(context.Background(), slog.LevelError, "handler panicked", slog.String("method", method),
		slog.Uint64("peer", uint64(peer)), slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
	if err != nil {
		*err = fmt.Errorf("tcp: Handler.%s panicked: %v", method, cause)
	}
}
