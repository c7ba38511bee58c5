package memnet

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// who is a server by id and store. Among peers a store of zero is not known yet.
type who struct {
	id    raft.ServerID
	store raft.StoreID
}

func compareWho(a, b who) int {
	return cmp.Or(cmp.Compare(a.id, b.id), bytes.Compare(a.store[:], b.store[:]))
}

// reach returns the running transport to which messages for w go, if it is a peer's, or a visitor's: of a server that has e
// among its own peers, as whoever has dials. It is called with mu held.
func (n *Network) reach(e *Endpoint, w who) (*Endpoint, error) {
	peer, count := e.peer(w)
	if count > 1 {
		return nil, fmt.Errorf("%w: more than one peer has the id %d", transport.ErrUnreachable, w.id)
	}
	failed := fmt.Errorf("%w: server %d, store %s is not among the peers", transport.ErrUnreachable, w.id, w.store)
	if count == 1 {
		to, err := n.behind(e, peer)
		if err == nil && (w.store.IsZero() || w.store == to.local.Store) {
			return to, nil
		}
		if err == nil {
			err = fmt.Errorf("%w: server %d has store %s and not %s", transport.ErrUnreachable, w.id, to.local.Store, w.store)
		}
		failed = err
	}
	if to := n.visitor(e, w); to != nil {
		return to, nil // it is no peer, or it is one that has moved
	}
	return nil, failed
}

// peer returns which of the peers a message for w is for, and how many it might be for.
func (e *Endpoint) peer(w who) (found who, count int) {
	if _, ok := e.peers[w]; ok {
		return w, 1
	}
	for p := range e.peers {
		if p.id == w.id && (p.store.IsZero() || w.store.IsZero()) {
			found = p
			count++
		}
	}
	return found, count
}

// behind returns the running transport that a peer stands for. It is called with mu held.
func (n *Network) behind(e *Endpoint, peer who) (*Endpoint, error) {
	failed := fmt.Errorf("%w: server %d is not running", transport.ErrUnreachable, peer.id)
	for _, to := range n.running(peer) {
		if a := to.local.Address; to == e || a != "" && !slices.Contains(e.peers[peer], a) {
			continue
		}
		err := shakeHands(e, to, peer.store)
		if err == nil {
			return to, nil
		}
		failed = fmt.Errorf("%w: %w", transport.ErrUnreachable, err)
	}
	return nil, failed
}

// visitor returns the running transport of w, if that has e among its peers; nil where there is none, or more than one. It is
// called with mu held.
func (n *Network) visitor(e *Endpoint, w who) (found *Endpoint) {
	for _, from := range n.running(w) {
		if from == e || !n.visits(from, e) {
			continue
		}
		if found != nil {
			return nil
		}
		found = from
	}
	return found
}

// visits reports whether from is connected with e of its own accord. It is called with mu held.
func (n *Network) visits(from, e *Endpoint) bool {
	for peer := range from.peers {
		if peer.id != e.local.Server {
			continue
		}
		if to, err := n.behind(from, peer); err == nil && to == e {
			return true
		}
	}
	return false
}

// VisitedBy implements transport.VisitTeller.
func (e *Endpoint) VisitedBy(server raft.ServerID, store raft.StoreID) bool {
	n := e.network
	n.mu.Lock()
	defer n.mu.Unlock()
	from := n.endpoints[who{server, store}]
	return from != nil && from != e && n.visits(from, e)
}

// running returns the transports with the id and, where that is not zero, the store of w that are started and not closed, by
// store. It is called with mu held.
func (n *Network) running(w who) (list []*Endpoint) {
	if !w.store.IsZero() {
		if e := n.endpoints[w]; e != nil {
			list = append(list, e)
		}
		return list
	}
	for other, e := range n.endpoints {
		if other.id == w.id {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *Endpoint) int { return compareWho(a.who(), b.who()) })
	return list
}

func (e *Endpoint) who() who { return who{e.local.Server, e.local.Store} }

// shakeHands takes the decision that a listener on a real network takes in its handshake.
func shakeHands(from, to *Endpoint, store raft.StoreID) error {
	_, err := wire.Accept(to.identity(), wire.Hello{
		VersionMin: wire.PeerVersionMin, VersionMax: wire.PeerVersionMax, Lane: wire.LaneControl, From: from.identity(),
		To: to.local.Server, ToStore: store, Address: from.local.Address,
	})
	return err
}
