package tcp

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// peer is another server, by id and store, and the lanes to it.
type peer struct {
	t      *Transport
	id     raft.ServerID
	ctx    context.Context // ends when it is no peer any more or the transport closes
	cancel context.CancelFunc

	control, entries, chunks *lane

	visitor atomic.Bool  // it was given to no SetPeers: it is answered, while it visits
	used    atomic.Int64 // when a visitor was last sent to, since the transport's start

	mu        sync.Mutex // taken after a lane's
	store     raft.StoreID
	addresses []string // where it is looked for; whichever answers is used
	claimed   string   // another one, which it claims itself; empty: none
	attempt   context.Context
	retry     context.CancelFunc // ends attempt, when the addresses change
	reported  rateLimit
}

func newPeer(t *Transport, w who, addresses []string, claimed string) *peer {
	p := &peer{t: t, id: w.id, store: w.store, addresses: addresses, claimed: claimed}
	p.ctx, p.cancel = context.WithCancel(t.ctx)
	p.attempt, p.retry = context.WithCancel(p.ctx)
	o := t.options
	p.control = newLane(p, wire.LaneControl, o.ControlBytesMax)
	p.entries = newLane(p, wire.LaneEntries, o.EntriesBytesMax)
	p.chunks = newLane(p, wire.LaneChunks, o.ChunksBytesMax)
	return p
}

func (p *peer) lanes() [3]*lane { return [3]*lane{p.control, p.entries, p.chunks} }

func (p *peer) start() {
	for _, l := range p.lanes() {
		p.t.wg.Go(l.run)
	}
}

// lookAt changes which store is wanted and where it is looked for. A connection that leads there already stays, others are
// closed, and attempts that are under way begin anew.
func (p *peer) lookAt(store raft.StoreID, addresses []string, claimed string) {
	p.mu.Lock()
	before := p.everywhere()
	p.store, p.addresses, p.claimed = store, addresses, claimed
	if !slices.Equal(before, p.everywhere()) {
		p.retry()
		p.attempt, p.retry = context.WithCancel(p.ctx)
	}
	p.mu.Unlock()
	for _, l := range p.lanes() {
		l.recheck()
	}
}

// claim notes where the peer says that it is.
func (p *peer) claim(address string) {
	p.mu.Lock()
	store, addresses := p.store, p.addresses
	p.mu.Unlock()
	p.lookAt(store, addresses, address)
}

// everywhere is called with mu held.
func (p *peer) everywhere() []string {
	if p.claimed == "" || slices.Contains(p.addresses, p.claimed) {
		return p.addresses
	}
	return append(slices.Clip(p.addresses), p.claimed)
}

// route returns what the next attempt to connect is to know. The context ends when that has changed.
func (p *peer) route() (attempt context.Context, store raft.StoreID, addresses []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attempt, p.store, p.everywhere()
}

// leads reports whether a connection to store by way of address is one to this peer.
func (p *peer) leads(store raft.StoreID, address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return (p.store.IsZero() || p.store == store) && slices.Contains(p.everywhere(), address)
}

// leadsElsewhere reports whether the peer is connected, and with another store.
func (p *peer) leadsElsewhere(store raft.StoreID) bool {
	l := p.control
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == laneUp && l.to.Store != store
}

// who names the peer as it was given.
func (p *peer) who() who {
	p.mu.Lock()
	defer p.mu.Unlock()
	return who{p.id, p.store}
}

func (p *peer) status() transport.PeerStatus {
	l := p.control
	l.mu.Lock()
	defer l.mu.Unlock()
	_, store, addresses := p.route()
	s := transport.PeerStatus{ID: p.id, Store: store, Address: addresses[0], Connected: l.state == laneUp, Visitor: p.visitor.Load()}
	if store.IsZero() {
		s.Store = l.to.Store
	}
	if slices.Contains(addresses, l.via) {
		s.Address = l.via
	}
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
	addresses := p.everywhere()
	p.mu.Unlock()
	if tell {
		p.t.log.Warn("no connection to peer", "peer", p.id, "address", strings.Join(addresses, " "), "lane", lane.String(), "error", err)
	}
}

// rateLimit lets a text through when it is none of the last few, but not more than one a second, and one that stays the same
// each half minute. Whoever has one guards it with a lock.
type rateLimit struct {
	recent [8]struct {
		text string
		at   time.Time
	}
	next int // the place of the oldest
	at   time.Time
}

func (r *rateLimit) allow(text string) bool {
	now := time.Now()
	if !r.at.IsZero() && now.Sub(r.at) < time.Second {
		return false
	}
	for i := range r.recent {
		told := &r.recent[i]
		if told.at.IsZero() || told.text != text {
			continue
		}
		if now.Sub(told.at) < 30*time.Second {
			return false
		}
		told.at, r.at = now, now
		return true
	}
	r.recent[r.next].text, r.recent[r.next].at = text, now
	r.next = (r.next + 1) % len(r.recent)
	r.at = now
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
