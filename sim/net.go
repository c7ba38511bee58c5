package sim

import (
	"time"

	"github.com/oarlock/oarlock/raft"
)

// network is what lies between servers, and between them and clients. Every fault of it has a depth, so that two that
// overlap end one after the other.
type network struct {
	w        *world
	loss     float64
	late     float64
	repeat   float64
	misroute float64
	garbage  float64
	cuts     []cut // of faults that have not ended
	plot     plot  // that watches what is sent; nil: none
}

// cut says whether nothing gets from one host to another, by their numbers.
type cut func(from, to int) bool

// lost says whether something that leaves now is lost on the way.
func (n *network) lost(from, to int) bool {
	return n.isCut(from, to) || chance(n.w.nets, n.loss)
}

func (n *network) isCut(from, to int) bool {
	for _, c := range n.cuts {
		if c != nil && c(from, to) {
			return true
		}
	}
	return false
}

// delay is how long something is under way. Some of it takes long: up to several election timeouts.
func (n *network) delay() time.Duration {
	r, p := n.w.nets, n.w.plan
	d := p.DelayMax/20 + upTo(r, p.DelayMax)
	if chance(r, n.late) {
		d += upTo(r, 4*p.ElectionTimeoutMax)
	}
	return d
}

// removedAgain is how late a server may hear again that it was removed.
const removedAgain = 10 * time.Second

// send takes a message to where it is for.
func (n *network) send(from *host, m *raft.Message) {
	w := n.w
	w.mix(uint64(m.Type)<<56 ^ uint64(m.From)<<48 ^ uint64(m.To)<<40 ^ uint64(m.Term)<<20 ^ uint64(m.Next+m.Match))
	to := w.find(m.To, m.ToStore)
	lost := to != nil && n.lost(from.number, to.number)
	if w.story != nil {
		w.fullNote("%d to %d: group %d %s", m.From, m.To, m.Group, describe(m, lost))
	}
	m.FromStore, m.FromRun = from.identity.Store, from.run
	if to == nil {
		return
	}
	if lost {
		n.unreachable(from, m)
		return
	}
	if n.plot != nil && n.plot.takes(from, m) {
		return
	}
	n.deliver(*m, to, from)
	if m.Type == raft.MessageRefusal && m.Refusal == raft.RefusalRemoved && chance(w.nets, 0.5) { // and may be no news any more
		late := *m
		w.after(upTo(w.nets, removedAgain), func() { n.deliver(late, to, from) })
	}
	if chance(w.nets, n.repeat) {
		n.deliver(*m, to, from)
	}
	if chance(w.nets, n.misroute) {
		w.saw(sawMisrouted)
		n.misrouted(*m, to)
	}
	if chance(w.nets, n.garbage) {
		w.saw(sawGarbage)
		n.deliver(n.spoil(*m), to, from)
	}
}

// deliver has a message arrive, if nothing comes between.
func (n *network) deliver(m raft.Message, to, from *host) {
	w := n.w
	w.after(n.delay(), func() {
		// A transport drops what is for another store than the one that its connection leads to.
		if !to.up || !m.ToStore.IsZero() && m.ToStore != to.identity.Store || n.isCut(from.number, to.number) {
			n.unreachable(from, &m)
			return
		}
		to.after(0, func() { to.receive(m) })
	})
}

// unreachable tells a sender now and then that messages are lost, as a connection does that breaks.
func (n *network) unreachable(from *host, m *raft.Message) {
	if !chance(n.w.nets, 0.2) {
		return
	}
	peer, group := raft.Member{ID: m.To, Store: m.ToStore}, m.Group
	from.after(n.delay(), func() {
		if group < 1 || int(group) > len(from.replicas) {
			return
		}
		r := from.replicas[group-1]
		r.in.Unreachable = append(r.in.Unreachable, peer)
		r.poke()
	})
}

// receive does what a transport and Server.Receive do: it drops what is for another store, which may have been here when the message
// left, and finds the group.
func (h *host) receive(m raft.Message) {
	if m.Group < 1 || int(m.Group) > len(h.replicas) || !m.ToStore.IsZero() && m.ToStore != h.identity.Store {
		return
	}
	r := h.replicas[m.Group-1]
	r.in.Messages = append(r.in.Messages, m)
	r.poke()
}

// misrouted has a message reach a server, or a group, that it is not for. A transport that keeps its promises drops the
// former (it compares the message's ends with the connection's), and the replica has to as well.
func (n *network) misrouted(m raft.Message, meant *host) {
	w := n.w
	to := w.hosts[w.nets.IntN(len(w.hosts))]
	if chance(w.nets, 0.5) {
		to = meant // another group of the right one
	}
	group := raft.GroupID(1 + w.nets.IntN(w.plan.Groups))
	if to.id == m.To && group == m.Group {
		group = raft.GroupID(1 + int(m.Group)%w.plan.Groups)
	}
	w.after(n.delay(), func() {
		to.after(0, func() {
			if int(group) <= len(to.replicas) && (to != meant || group != m.Group) {
				r := to.replicas[group-1]
				r.in.Messages = append(r.in.Messages, m)
				r.poke()
			}
		})
	})
}

// spoil makes a message wrong in one of the ways that internal/wire and the transports let through, because they know
// neither the group nor its history: an impossible term or index, a time that is negative, a sender that is its own receiver,
// another store at either end, blocks of which the range does not tell, an unknown type.
func (n *network) spoil(m raft.Message) raft.Message {
	switch n.w.nets.IntN(9) {
	case 0:
		m.Term = 1<<63 + 5
	case 1:
		m.PrevIndex = 1 << 62
	case 2:
		m.Time = -1
	case 3:
		m.From = m.To
	case 4:
		m.FromStore = raft.StoreID{0xee}
	case 5:
		m.ToStore = raft.StoreID{0xdd}
		m.Term = 0
	case 6:
		m.Next = m.First + 7
		m.Type = raft.MessageAppendRequest
	case 7:
		m.Type = 99
	case 8:
		m.Term = 0
	}
	return m
}

// startNet begins a fault of the network and returns what ends it; nil means that it does not apply.
func (w *world) startNet(f *Fault, who int) (end func()) {
	n := w.net
	add := func(field *float64) func() {
		*field += f.X
		return func() { *field = max(0, *field-f.X) }
	}
	side := func(number int) bool { return f.N>>(number-1)&1 == 1 }
	apart := func(a, b, most int) bool { return max(a, b)-min(a, b) > most }
	last := len(w.hosts)
	switch f.Kind {
	case FaultLoss:
		return add(&n.loss)
	case FaultDelay:
		return add(&n.late)
	case FaultRepeat:
		return add(&n.repeat)
	case FaultMisroute:
		return add(&n.misroute)
	case FaultGarbage:
		return add(&n.garbage)
	case FaultPartition:
		return n.addCut(func(from, to int) bool { return side(from) != side(to) })
	case FaultOneWay:
		other := f.N%w.plan.Servers + 1
		return n.addCut(func(from, to int) bool { return from == other && to == who })
	case FaultBridge:
		return n.addCut(func(from, to int) bool { return side(from) != side(to) && from != who && to != who })
	case FaultChain:
		return n.addCut(func(from, to int) bool { return apart(from, to, 1) })
	case FaultRing:
		return n.addCut(func(from, to int) bool { return apart(from, to, 1) && !apart(from, to, last-2) })
	case FaultIsolate:
		if h := w.target(&Fault{Server: leaderServer, N: f.N}); f.N%3 == 0 && h != nil {
			return n.usurp(h)
		}
		return n.addCut(func(from, to int) bool { return from == who || to == who })
	case FaultRejoin:
		end := n.addCut(func(from, to int) bool { return from == who || to == who })
		return func() {
			end()
			w.hosts[who-1].hangsAtCut = 3 * f.For
		}
	case FaultDiverge:
		other := f.N%w.plan.Servers + 1
		if h := w.hosts[other-1]; h.up && other != who {
			h.hungUntil = max(h.hungUntil, min(w.now+f.For+2*w.plan.ElectionTimeoutMax, startTime+w.plan.Trouble))
		}
		few := func(number int) bool { return number == who || number == other }
		return n.addCut(func(from, to int) bool { return few(from) != few(to) })
	case FaultMute:
		return n.addCut(func(from, _ int) bool { return from == who })
	}
	return nil
}

func (n *network) addCut(c cut) func() {
	n.cuts = append(n.cuts, c)
	at := len(n.cuts) - 1
	return func() { n.cuts[at] = nil }
}

// heal ends every fault of the network.
func (n *network) heal() { *n = network{w: n.w} }
