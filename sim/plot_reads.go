package sim

import (
	"slices"

	"github.com/oarlock/oarlock/raft"
)

// lateAnswer is a plot around the reads of a server that does not lead. It gets no entries for a while, its first question for
// an index is answered late, and the others go on meanwhile. The late answer comes when the question has been answered again and
// a newer one is under way; or it comes for its own question, and somebody wants what is hardly older than a moment.
type lateAnswer struct {
	w        *world
	follower *host
	group    int
	aged     bool // the answer comes for its own question
	first    raft.Message
	answers  int
	round    raft.Round // of the first question
	floor    uint64     // what was known when it was asked
	again    bool       // it was answered again
	next     bool       // a newer question was asked for
	ready    bool       // and is on its way
	left     int        // so often it is still looked
}

// lateAnswer begins the plot, if somebody leads and somebody follows.
func (w *world) lateAnswer(f *Fault) bool {
	leader := w.target(&Fault{Server: leaderServer, N: f.N})
	if leader == nil {
		return false
	}
	p := &lateAnswer{w: w, group: f.N % w.plan.Groups, aged: f.N%4 == 1, left: int(6 * w.plan.ElectionTimeoutMax / w.plan.StepMax)}
	lead := &leader.replicas[p.group].seen
	for k := range w.hosts {
		h := w.hosts[(k+f.N)%len(w.hosts)]
		if h == leader || !h.up || h.pausedUntil > w.now || !h.in(lead.membership.Voters) {
			continue
		}
		if r := h.replicas[p.group]; r.seen.leader == leader.id && r.seen.applied == lead.commit && !r.seen.ended {
			p.follower = h
			break
		}
	}
	if p.follower == nil || len(lead.membership.Voters) < 3 {
		return false
	}
	w.note("server %v gets no entries, and its first question for an index is answered late", p.follower)
	p.floor = w.oracle.groups[p.group].told
	w.net.plot = p
	p.ask(raft.Consistency{})
	p.look()
	return true
}

func (p *lateAnswer) takes(from *host, m *raft.Message) bool {
	if int(m.Group) != p.group+1 {
		return false
	}
	to := p.w.find(m.To, m.ToStore)
	switch {
	case m.Type == raft.MessageAppendRequest && to == p.follower:
		return true
	case m.Type == raft.MessageReadIndexRequest && from == p.follower:
		p.ready = p.ready || p.next && m.Round > p.round
		return p.ready
	case m.Type != raft.MessageReadIndexResponse || to != p.follower:
		return false
	case p.answers == 0 || p.aged && m.Round == p.round:
		if p.answers == 0 {
			p.first, p.round = *m, m.Round
		}
		p.answers++
		return true
	}
	p.again = p.again || m.Round == p.round
	return p.next
}

// ask has somebody read at the follower.
func (p *lateAnswer) ask(c raft.Consistency) {
	p.follower.replicas[p.group].asksWithin(c)
}

// look does what is next, as soon as its time has come.
func (p *lateAnswer) look() {
	w := p.w
	if w.calm || w.net.plot != p {
		return
	}
	if p.left--; p.left == 0 || !p.follower.up {
		w.net.plot = nil
		return
	}
	passed := p.answers > 0 && w.oracle.groups[p.group].told > p.floor
	switch {
	case !passed:
	case p.aged:
		w.after(8*w.plan.StepMax, p.come) // what was told then was not told a moment ago
		w.after(9*w.plan.StepMax, func() {
			if !w.calm && p.follower.up {
				p.ask(raft.Consistency{Level: raft.Bounded, MaxAge: w.plan.StepMax * 2})
			}
		})
		return
	case p.ready:
		p.come()
		return
	case p.again && !p.next:
		p.next = true
		p.ask(raft.Consistency{})
	}
	w.after(w.plan.StepMax/2, p.look)
}

// come has the late answer arrive.
func (p *lateAnswer) come() {
	w := p.w
	if w.calm || w.net.plot != p {
		return
	}
	w.saw(sawLateAnswer)
	w.note("the late answer comes to server %v", p.follower)
	p.follower.after(0, func() { p.follower.receive(p.first) })
	w.after(w.plan.StepMax*4, func() {
		if !w.calm && w.net.plot == p {
			w.net.plot = nil
		}
	})
}

// brokenPromise is a plot around a lease that rests on one follower alone, which has promised to vote for nobody else for a
// while. The third server has long lost the leader, and as soon as it asks, the follower starts anew and hears nothing but that.
type brokenPromise struct {
	w                       *world
	leader, follower, rival *host
	group                   int
	begun                   bool
	left                    int // so often it is still looked
	end                     []func()
}

// brokenPromise begins the plot, if a leader of three has a lease.
func (w *world) brokenPromise(f *Fault) bool {
	leader := w.target(&Fault{Server: leaderServer, N: f.N})
	if leader == nil || w.plan.Drifts {
		return false
	}
	p := &brokenPromise{w: w, leader: leader, group: f.N % w.plan.Groups, left: int(4 * w.plan.ElectionTimeoutMax / w.plan.StepMax)}
	seen := &leader.replicas[p.group].seen
	var others []*host
	for _, m := range seen.membership.Voters {
		if h := w.hostOf(m); h != nil && h.up && h != leader {
			others = append(others, h)
		}
	}
	if !seen.lease || seen.membership.Changing() || len(seen.membership.Voters) != 3 || len(others) != 2 {
		return false
	}
	if f.N%2 == 0 {
		slices.Reverse(others)
	}
	p.follower, p.rival = others[0], others[1]
	w.note("server %v is to forget what it has promised server %v, when server %v asks", p.follower, leader, p.rival)
	w.net.plot = p
	p.cut(leader, p.rival)
	p.look()
	return true
}

func (p *brokenPromise) cut(a, b *host) {
	p.end = append(p.end, p.w.net.addCut(func(from, to int) bool {
		return from == a.number && to == b.number || from == b.number && to == a.number
	}))
}

func (p *brokenPromise) takes(from *host, m *raft.Message) bool {
	w := p.w
	if p.begun || from != p.rival || m.Type != raft.MessagePreVoteRequest || int(m.Group) != p.group+1 ||
		w.find(m.To, m.ToStore) != p.follower || !p.leader.up || !p.leader.replicas[p.group].seen.lease {
		return false
	}
	p.begun = true
	late := *m // the slice that it stands in is used again
	w.after(0, func() {
		w.saw(sawPromiseTested)
		p.cut(p.leader, p.follower)
		p.follower.crash(w.plan.StepMax / 2)
	})
	w.after(w.plan.StepMax, func() { w.net.deliver(late, p.follower, p.rival) })
	w.after(w.plan.ElectionTimeoutMin, p.over)
	return true
}

// look ends the plot if nothing comes of it.
func (p *brokenPromise) look() {
	if p.left--; p.left > 0 && p.leader.up && !p.begun {
		p.w.after(p.w.plan.StepMax, p.look)
	} else if !p.begun {
		p.over()
	}
}

func (p *brokenPromise) over() {
	if p.w.calm || len(p.end) == 0 {
		return
	}
	for _, end := range p.end {
		end()
	}
	p.end = nil
	if p.w.net.plot == p {
		p.w.net.plot = nil
	}
}
