// Package tcp is the transport that servers use: TCP, or whatever a Listener and a Dial function make of it, TLS for
// one. docs/format.md has the frames.
//
// To each peer there are three lanes, each a connection of its own with its own bounded queue and its own writer:
//
//	control   what has no blocks: votes, heartbeats, every response, offers
//	entries   append requests
//	chunks    requests for parts of snapshots, with the answers on the same connection
//
// so that neither entries nor snapshots hold up what decides who leads. A lane is dialled by its sender; messages back
// come on the lanes that the other side dials. A writer takes all that is queued in one system call (writev), and a
// reader hands over all that has arrived in one call.
//
// A peer is a server by id and store (roster.go). Who is none, and has connected to this server, is a visitor and is
// answered by lanes of its own while it stays (visitor.go).
package tcp

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// Transport implements transport.Transport. Make one with New.
type Transport struct {
	options Options
	foreign bool // Options.Dial was set
	log     *slog.Logger
	handler transport.Handler // set by Start, before any goroutine

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	peers atomic.Pointer[roster] // replaced as a whole, under mu
	since time.Time

	mu         sync.Mutex
	started    bool
	closed     bool
	accepted   map[net.Conn]struct{} // every connection that came in and is not a client's
	pending    map[string]int        // those of them that have not finished the handshake, by source
	pendings   int
	serving    int // those that have
	lost       map[who]struct{}
	visitors   map[who]*visitor
	handshakes uint64 // that came in so far
	answered   int    // those of them that have a peer

	lostWake chan struct{}
	refusals rateLimit
	mistakes rateLimit

	sent, sentBytes, received, receivedBytes, dropped, refused atomic.Uint64
	queued                                                     atomic.Int64
}

var (
	_ transport.Transport      = (*Transport)(nil)
	_ transport.AddressChecker = (*Transport)(nil)
	_ transport.VisitTeller    = (*Transport)(nil)
)

// New makes a transport that does nothing before Start. It owns options.Listener from here on, unless it returns an
// error.
func New(options Options) (*Transport, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	t := &Transport{
		options:  options.withDefaults(),
		foreign:  options.Dial != nil,
		accepted: make(map[net.Conn]struct{}),
		pending:  make(map[string]int),
		lost:     make(map[who]struct{}),
		visitors: make(map[who]*visitor),
		since:    time.Now(),
		lostWake: make(chan struct{}, 1),
	}
	t.log = t.options.Logger
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.peers.Store(&roster{})
	return t, nil
}

// Address returns where the transport listens.
func (t *Transport) Address() net.Addr { return t.options.Listener.Addr() }

// Start implements transport.Transport.
func (t *Transport) Start(handler transport.Handler) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return transport.ErrClosed
	case t.started:
		return fmt.Errorf("tcp: Start was called twice")
	}
	t.started, t.handler = true, handler
	t.wg.Go(t.accept)
	t.wg.Go(t.tellLost)
	return nil
}

// Send implements transport.Transport.
func (t *Transport) Send(messages []raft.Message) {
	var room [8]*lane // as many as two followers have, and some
	grown := room[:0]
	for i := range messages {
		m := &messages[i]
		to := who{m.To, m.ToStore}
		p := t.find(to)
		if p == nil {
			t.drop(to, 1)
			continue
		}
		if why := t.unsendable(m); why != "" {
			t.complain("message not sent", m.To, m.Type.String()+": "+why)
			t.drop(to, 1)
			continue
		}
		lane := p.control
		if m.Type == raft.MessageAppendRequest {
			lane = p.entries
		}
		if !lane.enqueue(m) {
			t.drop(to, 1)
			continue
		}
		if !slices.Contains(grown, lane) {
			grown = append(grown, lane)
		}
	}
	for _, lane := range grown {
		lane.flushHere()
	}
}

// unsendable says why a message would make the peer close the connection: a mistake of the caller.
func (t *Transport) unsendable(m *raft.Message) string {
	if m.From != t.options.Local.Server {
		return "it is not from this server"
	}
	if len(m.Blocks) > 0 && m.Type != raft.MessageAppendRequest {
		return "blocks in a message that is no AppendRequest"
	}
	for i := range m.Blocks {
		if m.Blocks[i].IsBlank() {
			return "a block has no bytes"
		}
	}
	return ""
}

// Status implements transport.Transport.
func (t *Transport) Status() transport.Status {
	peers := t.all()
	o := t.options
	s := transport.Status{
		SentMessages: t.sent.Load(), SentBytes: t.sentBytes.Load(),
		Received: t.received.Load(), ReceivedBytes: t.receivedBytes.Load(),
		DroppedMessages: t.dropped.Load(), RefusedConns: t.refused.Load(),
		QueuedBytes:    t.queued.Load(),
		QueuedBytesMax: int64(len(peers)) * int64(o.ControlBytesMax+o.EntriesBytesMax+o.ChunksBytesMax),
	}
	for _, w := range slices.SortedFunc(maps.Keys(peers), compareWho) {
		s.Peers = append(s.Peers, peers[w].status())
	}
	return s
}

// Close implements transport.Transport. It waits for the handler's methods that are running, so whoever calls it makes
// sure that a Receive that blocks returns; none of them may call it. Connections that were handed to Clients stay open.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		t.wg.Wait()
		return nil
	}
	t.closed = true
	conns := slices.Collect(maps.Keys(t.accepted))
	t.mu.Unlock()

	t.cancel()
	err := t.options.Listener.Close()
	for _, conn := range conns {
		conn.Close() //nolint:errcheck // it is given up; its reader sees the error
	}
	t.wg.Wait()
	return err
}

// drop counts messages that will not arrive, and has the handler told.
func (t *Transport) drop(to who, messages uint64) {
	t.dropped.Add(messages)
	t.unreachable(to)
}

// unreachable has the handler told, on a goroutine that holds no lock of ours or of the caller's. What comes before it
// is told is told once.
func (t *Transport) unreachable(w who) {
	t.mu.Lock()
	t.lost[w] = struct{}{}
	t.mu.Unlock()
	select {
	case t.lostWake <- struct{}{}:
	default:
	}
}

// tellLost calls Handler.Unreachable until the transport closes.
func (t *Transport) tellLost() {
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-t.lostWake:
		}
		t.mu.Lock()
		lost := slices.SortedFunc(maps.Keys(t.lost), compareWho)
		clear(t.lost)
		t.mu.Unlock()
		for _, w := range lost {
			if t.ctx.Err() != nil {
				return
			}
			t.tell(w)
		}
	}
}

func (t *Transport) tell(w who) {
	defer t.recovered("Unreachable", w.id, nil)
	t.handler.Unreachable(w.id, w.store)
}

// complain logs a mistake of whoever uses the transport, at a bounded rate: what is wrong once is often wrong each time.
func (t *Transport) complain(what string, peer raft.ServerID, reason string) {
	t.mu.Lock()
	tell := t.mistakes.allow(reason)
	t.mu.Unlock()
	if tell {
		t.log.Error(what, "peer", peer, "reason", reason)
	}
}

// localIdentity is what the handshake says of this server.
func (t *Transport) localIdentity() wire.PeerIdentity { return t.options.identity() }
