package tcp

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/oarlock/oarlock/raft"
)

// who is a server by id and store. A store of zero is not known yet, or stands for all stores of the id.
type who struct {
	id    raft.ServerID
	store raft.StoreID
}

func compareWho(a, b who) int {
	return cmp.Or(cmp.Compare(a.id, b.id), bytes.Compare(a.store[:], b.store[:]))
}

// roster is the peers at one time. It is replaced as a whole and never changed.
type roster map[raft.ServerID][]entry // by store, a store that is not known before the others

type entry struct {
	store raft.StoreID
	peer  *peer
}

// exact returns the peer of that id and that store, as they were given to SetPeers.
func (r roster) exact(w who) *peer {
	for _, e := range r[w.id] {
		if e.store == w.store {
			return e.peer
		}
	}
	return nil
}

// find returns whom messages to w go through; nil: nobody.
func (t *Transport) find(w who) *peer {
	entries := (*t.peers.Load())[w.id]
	if w.store.IsZero() && len(entries) > 0 {
		if len(entries) > 1 && !entries[0].store.IsZero() {
			return nil // it would be a guess
		}
		return entries[0].peer
	}
	var open *peer // of any store
	for _, e := range entries {
		if e.store == w.store {
			return e.peer
		}
		if e.store.IsZero() {
			open = e.peer
		}
	}
	if open != nil && !open.leadsElsewhere(w.store) {
		return open
	}
	if p := t.answer(w); p != nil {
		return p
	}
	return open
}

// SetPeers implements transport.Transport. This server itself is left out if it is among them.
func (t *Transport) SetPeers(members []raft.Member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || !t.started {
		return
	}
	wanted := make(map[who][]string, len(members))
	for _, m := range members {
		own := m.ID == t.options.Local.Server && (m.Store.IsZero() || m.Store == t.options.Local.Store)
		if w := (who{m.ID, m.Store}); m.ID != 0 && !own && !slices.Contains(wanted[w], m.Address) {
			wanted[w] = append(wanted[w], m.Address)
		}
	}
	old, peers := *t.peers.Load(), make(roster, len(wanted))
	kept := make(map[*peer]bool, len(wanted))
	var fresh []*peer
	for _, w := range slices.SortedFunc(maps.Keys(wanted), compareWho) {
		p := old.exact(w)
		if p == nil {
			p = t.successor(old, w, wanted, kept)
		}
		claimed := ""
		if v := t.visitors[w]; v != nil {
			claimed = v.address
		}
		if p == nil {
			p = newPeer(t, w, wanted[w], claimed)
			fresh = append(fresh, p)
		} else {
			p.lookAt(w.store, wanted[w], claimed)
		}
		kept[p] = true
		peers[w.id] = append(peers[w.id], entry{w.store, p})
	}
	t.peers.Store(&peers)
	for _, entries := range old {
		for _, e := range entries {
			if !kept[e.peer] {
				e.peer.cancel()
			}
		}
	}
	for _, p := range fresh {
		p.start()
	}
}

// successor returns the peer that goes on as w, with its connections: the one of that id whose store was not known, or
// the visitor. It is called with mu held.
func (t *Transport) successor(old roster, w who, wanted map[who][]string, kept map[*peer]bool) *peer {
	nameless := who{id: w.id}
	if p := old.exact(nameless); p != nil && !kept[p] && wanted[nameless] == nil && !p.leadsElsewhere(w.store) {
		return p
	}
	if v := t.visitors[w]; v != nil && v.peer != nil {
		p := v.peer
		v.peer = nil
		t.answered--
		p.visitor.Store(false)
		return p
	}
	return nil
}

// all returns the peers and the visitors that are answered, by id and store.
func (t *Transport) all() map[who]*peer {
	list := make(map[who]*peer)
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, entries := range *t.peers.Load() {
		for _, e := range entries {
			list[who{id, e.store}] = e.peer
		}
	}
	for w, v := range t.visitors {
		if v.peer != nil {
			list[w] = v.peer
		}
	}
	return list
}
