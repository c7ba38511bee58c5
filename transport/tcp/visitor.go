package tcp

import (
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// visitor is a server that has connections to this one: a peer, or somebody who may have to be answered. It is known for
// as long as they last.
type visitor struct {
	address  string // which its latest handshake claims; empty: none
	clients  string // the same, for clients
	latest   uint64 // of all handshakes, which one was its latest
	sessions int
	peer     *peer // through which it is answered; nil before that and after a while, and where it is a peer proper
}

// visits notes a connection that came in. It is called with mu held.
func (t *Transport) visits(h wire.Hello) {
	w := who{h.From.Server, h.From.Store}
	v := t.visitors[w]
	if v == nil {
		v = &visitor{}
		t.visitors[w] = v
	}
	v.sessions++
	t.handshakes++
	v.clients, v.latest = h.ClientAddress, t.handshakes
	if h.Address == "" || h.Address == v.address {
		return
	}
	v.address = h.Address
	if p := t.peers.Load().exact(w); p != nil {
		p.claim(v.address)
	}
	if v.peer != nil {
		v.peer.lookAt(w.store, []string{v.address}, "")
	}
}

// ClientAddress implements transport.ClientAddresser. Of two stores under one id the one that came last counts: it takes the
// other's place.
func (t *Transport) ClientAddress(server raft.ServerID) (address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	latest := uint64(0)
	for w, v := range t.visitors {
		if w.id == server && v.latest > latest {
			address, latest = v.clients, v.latest
		}
	}
	return address
}

// VisitedBy implements transport.VisitTeller.
func (t *Transport) VisitedBy(server raft.ServerID, store raft.StoreID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.visitors[who{server, store}] != nil
}

// left notes that such a connection has ended, and makes room for another.
func (t *Transport) left(from wire.PeerIdentity) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serving--
	w := who{from.Server, from.Store}
	v := t.visitors[w]
	if v.sessions--; v.sessions > 0 {
		return
	}
	delete(t.visitors, w)
	if p := t.peers.Load().exact(w); p != nil {
		p.claim("")
	}
	t.endAnswers(v)
}

// endAnswers closes the connections through which a visitor was answered. It is called with mu held.
func (t *Transport) endAnswers(v *visitor) {
	if v.peer != nil {
		v.peer.cancel()
		v.peer = nil
		t.answered--
	}
}

// answer returns through whom w, which is no peer, is sent to, if it has connected to this server and said where it is.
func (t *Transport) answer(w who) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || !t.started {
		return nil
	}
	if p := t.peers.Load().exact(w); p != nil {
		return p // SetPeers came between
	}
	if w.store.IsZero() {
		count := 0
		for other := range t.visitors {
			if other.id == w.id {
				w.store = other.store
				count++
			}
		}
		if count != 1 {
			return nil
		}
	}
	v := t.visitors[w]
	if v == nil || v.address == "" {
		return nil
	}
	if v.peer == nil {
		if t.answered >= t.options.VisitorsMax {
			return nil
		}
		t.answered++
		v.peer = newPeer(t, w, []string{v.address}, "")
		v.peer.visitor.Store(true)
		v.peer.use()
		v.peer.start()
	}
	v.peer.use()
	return v.peer
}

// use notes that something is sent.
func (p *peer) use() { p.used.Store(int64(time.Since(p.t.since))) }

// leaveIdle gives up a visitor to which nothing was sent for long.
func (p *peer) leaveIdle() {
	if !p.visitor.Load() {
		return
	}
	t := p.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if !p.visitor.Load() || time.Since(t.since)-time.Duration(p.used.Load()) < t.options.VisitorTimeout {
		return
	}
	p.mu.Lock()
	w := who{p.id, p.store}
	p.mu.Unlock()
	if v := t.visitors[w]; v != nil && v.peer == p {
		t.endAnswers(v)
	}
}
