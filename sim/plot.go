package sim

import (
	"time"

	"github.com/oarlock/oarlock/raft"
)

// Some harm needs several things one after the other, at the right moments, which chance rarely brings. A plot is a fault that
// watches what happens and does the next thing then.

// usurpation is a plot around an election. A leader is cut off until somebody asks for votes. Then all but the candidate
// hear the leader again for a short while, and the requests for votes come late: to servers that have gone on meanwhile.
type usurpation struct {
	n         *network
	leader    raft.ServerID
	candidate raft.ServerID // zero: nobody has asked yet
	open      time.Duration // until then the leader is heard again
}

func (n *network) usurp(leader raft.ServerID) (end func()) {
	u := &usurpation{n: n, leader: leader}
	n.plot = u
	restore := n.addCut(u.cut)
	return func() {
		restore()
		if n.plot == u {
			n.plot = nil
		}
	}
}

func (u *usurpation) cut(from, to raft.ServerID) bool {
	switch {
	case from != u.leader && to != u.leader:
		return false
	case u.candidate == 0 || from == u.candidate || to == u.candidate:
		return true
	}
	return u.n.w.now > u.open
}

// late says by how much a message is late.
func (u *usurpation) late(m *raft.Message) time.Duration {
	if u == nil || m.Type != raft.MessageVoteRequest || m.From == u.leader {
		return 0
	}
	w := u.n.w
	timeout := w.plan.ElectionTimeoutMin
	if u.candidate == 0 {
		u.candidate, u.open = m.From, w.now+timeout/2
	}
	if m.From != u.candidate {
		return 0
	}
	return timeout + upTo(w.nets, timeout)
}

// slowHeirs slows the state machines of all servers but the leader's, and then has the leader crash: whoever comes after it has
// much to execute that was answered already.
func (w *world) slowHeirs(f *Fault) bool {
	leader := w.target(&Fault{Server: leaderServer, N: f.N})
	if leader == nil {
		return false
	}
	p := w.plan
	slow := float64(p.ElectionTimeoutMax) / float64(p.StepMax) * (1 + 4*f.X/slowApplyMax) // an election is not over before they are done
	for _, h := range w.hosts {
		if h != leader {
			h.slowApply = slow
			w.after(f.For, func() { h.slowApply = 0 })
		}
	}
	w.after(f.For/2, func() {
		if !w.calm {
			leader.crash(f.For)
		}
	})
	return true
}
