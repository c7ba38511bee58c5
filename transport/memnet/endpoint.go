package memnet

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// Endpoint is one server's transport. It implements transport.Transport.
type Endpoint struct {
	network *Network
	local   transport.Local
	handler transport.Handler
	done    chan struct{}  // closed by Close
	wg      sync.WaitGroup // calls of the handler

	// Guarded by network.mu.
	started, closed bool
	peers           map[who][]string  // with their addresses
	links           map[linkKey]*link // the ways out
	lost            map[who]struct{}
	telling         bool
	status          transport.Status // counters only
}

var _ transport.Transport = (*Endpoint)(nil)

type linkKey struct {
	to   *Endpoint
	lane wire.Lane
}

// The bounds of the send queues are those of transport/tcp.
const (
	controlBytesMax = 8 << 20
	entriesBytesMax = 64 << 20
)

func (e *Endpoint) identity() wire.PeerIdentity {
	return wire.PeerIdentity{
		Cluster: e.local.Cluster, Server: e.local.Server, Store: e.local.Store, Run: e.local.Run,
		FrameBytesMax: e.local.FrameBytesMax, BlockBytesMax: e.local.BlockBytesMax,
	}
}

// Start implements transport.Transport.
func (e *Endpoint) Start(handler transport.Handler) error {
	n := e.network
	n.mu.Lock()
	defer n.mu.Unlock()
	id := e.who()
	switch {
	case e.closed:
		return transport.ErrClosed
	case e.started:
		return fmt.Errorf("memnet: Start was called twice")
	case id.id == 0:
		return fmt.Errorf("memnet: server id 0")
	case n.endpoints[id] != nil:
		return fmt.Errorf("memnet: server %d is running already; close its transport first", id.id)
	}
	e.started, e.handler = true, handler
	n.endpoints[id] = e
	return nil
}

// Send implements transport.Transport.
func (e *Endpoint) Send(messages []raft.Message) {
	n := e.network
	n.mu.Lock()
	shared, usable := n.shared, e.started && !e.closed
	n.mu.Unlock()
	if !usable {
		return
	}
	for i := range messages {
		m := &messages[i]
		got, size, err := n.pass(m, shared)
		if err == nil && m.From != e.local.Server {
			err = fmt.Errorf("memnet: a message from server %d", m.From)
		}
		if err != nil {
			n.fail(fmt.Errorf("server %d sends %s to server %d: %w", e.local.Server, m.Type, m.To, err))
		}
		n.mu.Lock()
		if err != nil || !e.sendOne(m, got, size) {
			e.status.DroppedMessages++
			e.unreachable(who{m.To, m.ToStore})
		}
		n.mu.Unlock()
	}
}

// sendOne is called with network.mu held.
func (e *Endpoint) sendOne(m *raft.Message, got raft.Message, size int) bool {
	to, err := e.network.reach(e, who{m.To, m.ToStore})
	if err != nil || size > to.local.FrameBytesMax {
		return false
	}
	got.FromStore, got.FromRun = e.local.Store, e.local.Run
	lane, bytesMax := wire.LaneControl, controlBytesMax
	if m.Type == raft.MessageAppendRequest {
		lane, bytesMax = wire.LaneEntries, entriesBytesMax
	}
	l := e.link(to, lane)
	if l.bytes > 0 && l.bytes+size > bytesMax {
		return false
	}
	e.status.SentMessages++
	e.status.SentBytes += uint64(size)
	l.send(got, size)
	return true
}

// link is called with network.mu held.
func (e *Endpoint) link(to *Endpoint, lane wire.Lane) *link {
	key := linkKey{to, lane}
	l := e.links[key]
	if l == nil {
		l = newLink(e, to, lane)
		e.links[key] = l
	}
	return l
}

// SetPeers implements transport.Transport.
func (e *Endpoint) SetPeers(members []raft.Member) {
	n := e.network
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(e.peers)
	for _, m := range members {
		own := m.ID == e.local.Server && (m.Store.IsZero() || m.Store == e.local.Store)
		if w := (who{m.ID, m.Store}); m.ID != 0 && !own && !slices.Contains(e.peers[w], m.Address) {
			e.peers[w] = append(e.peers[w], m.Address)
		}
	}
}

// Status implements transport.Transport.
func (e *Endpoint) Status() transport.Status {
	n := e.network
	n.mu.Lock()
	defer n.mu.Unlock()
	s := e.status
	s.QueuedBytesMax = int64(len(e.peers)) * (controlBytesMax + entriesBytesMax)
	for _, l := range e.links {
		s.QueuedBytes += int64(l.bytes)
	}
	for _, w := range slices.SortedFunc(maps.Keys(e.peers), compareWho) {
		p := transport.PeerStatus{ID: w.id, Store: w.store, Address: e.peers[w][0]}
		if to, err := n.reach(e, w); err != nil {
			p.Error = err.Error()
		} else {
			p.Connected, p.Store = true, to.local.Store
			if to.local.Address != "" {
				p.Address = to.local.Address
			}
		}
		s.Peers = append(s.Peers, p)
	}
	return s
}

// Close implements transport.Transport. It waits for the handler's methods that are running; none of them may call it.
// What the server sent before is still under way.
func (e *Endpoint) Close() error {
	n := e.network
	n.mu.Lock()
	if !e.closed {
		e.closed = true
		close(e.done)
		if n.endpoints[e.who()] == e {
			delete(n.endpoints, e.who())
		}
		for _, other := range n.endpoints {
			for key := range other.links {
				if key.to == e {
					delete(other.links, key)
				}
			}
		}
	}
	n.mu.Unlock()
	e.wg.Wait()
	return nil
}

// enter makes room for a call of the handler, which leave ends. It is called with network.mu held.
func (e *Endpoint) enter() bool {
	if e.closed || !e.started {
		return false
	}
	e.wg.Add(1)
	return true
}

func (e *Endpoint) leave() { e.wg.Done() }

// unreachable has the handler told, on a goroutine that holds no lock of its caller's. It is called with network.mu held.
func (e *Endpoint) unreachable(w who) {
	e.lost[w] = struct{}{}
	if !e.telling && e.enter() {
		e.telling = true
		go e.tellLost()
	}
}

func (e *Endpoint) tellLost() {
	defer e.leave()
	n := e.network
	for {
		n.mu.Lock()
		lost := slices.SortedFunc(maps.Keys(e.lost), compareWho)
		clear(e.lost)
		if len(lost) == 0 || e.closed {
			e.telling = false
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
		for _, w := range lost {
			e.tell(w)
		}
	}
}

func (e *Endpoint) tell(w who) {
	defer e.recovered("Unreachable", nil)
	e.handler.Unreachable(w.id, w.store)
}

// receive calls Handler.Receive, and reports whether it returned.
func (e *Endpoint) receive(messages []raft.Message) (err error) {
	defer e.recovered("Receive", &err)
	e.handler.Receive(messages)
	return nil
}

// recovered is deferred around every call of the handler.
func (e *Endpoint) recovered(method string, err *error) {
	cause := recover()
	if cause == nil {
		return
	}
	failed := fmt.Errorf("memnet: Handler.%s of server %d panicked: %v", method, e.local.Server, cause)
	e.network.fail(fmt.Errorf("%w\n%s", failed, debug.Stack()))
	if err != nil {
		*err = failed
	}
}
