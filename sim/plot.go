package sim

import (
	"time"

	"github.com/oarlock/oarlock/raft"
)

// Some harm needs several things one after the other, at the right moments, which chance rarely brings. A plot is a fault that
// watches what happens and does the next thing then.

type plot interface {
	// takes reports whether it has taken a message that leaves a server, to deliver it when it likes.
	takes(from *host, m *raft.Message) bool
}

// usurpation is a plot around an election. A leader is cut off until somebody asks for votes. Then all but the candidate
// hear the leader again for a short while, and the requests for votes come late: to servers that have gone on meanwhile.
type usurpation struct {
	n         *network
	leader    *host
	candidate *host         // nil: nobody has asked yet
	open      time.Duration // until then the leader is heard again
}

func (n *network) usurp(leader *host) (end func()) {
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

func (u *usurpation) cut(from, to int) bool {
	switch {
	case from != u.leader.number && to != u.leader.number:
		return false
	case u.candidate == nil || from == u.candidate.number || to == u.candidate.number:
		return true
	}
	return u.n.w.now > u.open
}

func (u *usurpation) takes(from *host, m *raft.Message) bool {
	if m.Type != raft.MessageVoteRequest || from == u.leader {
		return false
	}
	w := u.n.w
	timeout := w.plan.ElectionTimeoutMin
	if u.candidate == nil {
		u.candidate, u.open = from, w.now+timeout/2
	}
	if from != u.candidate {
		return false
	}
	late := *m // the slice that it stands in is used again
	w.after(timeout+upTo(w.nets, timeout), func() { u.n.deliver(late, w.find(late.To, late.ToStore), from) })
	return true
}

// hearsay is a plot around reads. The answers to a leader's last heartbeats are held up, and then it is cut off and paused. The
// others elect another one and go on. When it runs again it finds reads that were asked meanwhile, and then those answers
// come, which were given long before.
type hearsay struct {
	w      *world
	leader *host
	group  int
	awake  bool // the leader is not paused: it may still hope for a lease when the answers come, as soon as another one is elected
	held   []raft.Message
}

// hearsay begins the plot, if there is a leader.
func (w *world) hearsay(f *Fault) bool {
	leader := w.target(&Fault{Server: leaderServer, N: f.N})
	if leader == nil {
		return false
	}
	p := &hearsay{w: w, leader: leader, group: f.N % w.plan.Groups, awake: f.N%8 == 0}
	w.net.plot = p
	w.after(w.plan.HeartbeatInterval*3/2, p.part)
	return true
}

func (p *hearsay) takes(_ *host, m *raft.Message) bool {
	if m.To != p.leader.id || !m.ToStore.IsZero() && m.ToStore != p.leader.identity.Store || m.Type != raft.MessageHeartbeatResponse && m.Type != raft.MessageAppendResponse {
		return false
	}
	p.held = append(p.held, *m)
	return true
}

// part cuts the leader off and pauses it.
func (p *hearsay) part() {
	w := p.w
	if w.calm || w.net.plot != p {
		return
	}
	w.net.plot = nil
	if p.awake {
		p.listen()
		return
	}
	pause := w.plan.ElectionTimeoutMax + upTo(w.nets, w.plan.ElectionTimeoutMax)
	p.leader.pause(pause)
	w.note("server %d is cut off and pauses for %v, and %d answers to it come later", p.leader.id, pause, len(p.held))
	end := w.net.addCut(func(from, to int) bool { return from == p.leader.number || to == p.leader.number })
	for _, m := range p.held {
		w.after(pause+w.plan.StepMax/2+upTo(w.nets, w.plan.StepMax), func() {
			p.leader.after(0, func() { p.leader.receive(m) })
		})
	}
	p.leader.after(pause, p.ask)
	w.after(pause+w.plan.ElectionTimeoutMin, func() {
		if !w.calm {
			end()
		}
	})
}

// listen cuts the leader off and has it hear what it was answered when somebody else leads.
func (p *hearsay) listen() {
	w, o, timeout := p.w, p.w.oracle.groups[p.group], p.w.plan.ElectionTimeoutMax
	w.note("server %v is cut off, and %d answers to it come when somebody else leads", p.leader, len(p.held))
	end := w.net.addCut(func(from, to int) bool { return from == p.leader.number || to == p.leader.number })
	was, until := o.termMax, w.now+2*timeout
	var look func()
	look = func() {
		switch {
		case w.calm:
			return
		case o.termMax > was:
			for _, m := range p.held {
				p.leader.after(0, func() { p.leader.receive(m) })
			}
			p.leader.after(w.plan.StepMax, p.ask)
		case w.now < until:
			w.after(w.plan.StepMax, look)
			return
		}
		w.after(w.plan.ElectionTimeoutMin/2, func() {
			if !w.calm {
				end()
			}
		})
	}
	look()
}

// ask has somebody who knows of nothing read at the former leader.
func (p *hearsay) ask() {
	for _, r := range p.leader.replicas {
		if o := r.oracle; r.seen.role == raft.RoleLeader && !r.seen.ended {
			k := &op{kind: CallRead, group: o, invoked: p.w.now, floor: o.told}
			r.in.Query([]byte{k.key}, raft.Consistency{}, true, probeDone{k})
			r.poke()
		}
	}
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

// lonely has a leader that is being cut off told to step down, and in the same turn asked for something, while it still leads.
func (w *world) lonely(h *host, f *Fault) {
	w.after(min(f.For, w.plan.ElectionTimeoutMin/2+upTo(w.nets, w.plan.ElectionTimeoutMin/2)), func() {
		for _, r := range h.replicas {
			if w.calm || w.late() || r.seen.role != raft.RoleLeader || r.seen.ended {
				continue
			}
			w.note("server %v is told to step down in group %d", h, r.group)
			r.command()
			r.in.StepDown(nobody{})
			r.poke()
		}
	})
}

// late reports whether it is too late to have leadership given away: that would still be under way when nothing fails any more.
func (w *world) late() bool {
	return w.now+2*w.plan.ElectionTimeoutMax >= startTime+w.plan.Trouble
}

// nobody is a Completion for whom an answer makes no difference.
type nobody struct{}

// Complete implements server.Completion.
func (nobody) Complete([]byte, error) {}
