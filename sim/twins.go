package sim

import (
	"slices"

	"github.com/oarlock/oarlock/raft"
)

// twins is a plot around the joint phase of a replacement, in which two servers of one id have a vote: the one with the old store and
// the one with the new. What the leader is answered and what it sends is lost, and of all others only the twins get to ask for
// votes, neither of them the other. When both stand in one term, everybody is asked by the one and then by the other.
type twins struct {
	w      *world
	group  int
	leader *host
	pair   [2]*host
	joint  bool // everybody goes by the joint membership
	held   [2][]raft.Message
	left   int // so often it is still looked
}

// meetTwins begins the plot where a leader has just begun a joint phase with two stores of one id.
func (o *groupOracle) meetTwins(r *replica, st *look) {
	w := o.w
	if o.twinsMet || w.net.plot != nil || w.calm || st.role != raft.RoleLeader || !st.membership.Joint() || st.membershipIndex <= st.commit {
		return
	}
	var pair []*host
	for _, was := range st.membership.Outgoing {
		for _, is := range st.membership.Voters {
			if was.ID == is.ID && was.Store != is.Store {
				pair = append(pair, w.hostOf(was), w.hostOf(is))
			}
		}
	}
	if len(pair) != 2 || pair[0] == nil || pair[1] == nil || !pair[0].up || !pair[1].up || slices.Contains(pair, r.h) {
		return
	}
	o.twinsMet = true
	p := &twins{
		w: w, group: int(o.group - 1), leader: r.h, pair: [2]*host{pair[0], pair[1]}, left: int(8 * w.plan.ElectionTimeoutMax / w.plan.StepMax),
	}
	w.net.plot = p
	w.note("servers %v and %v are to stand for election of group %d in one term", pair[0], pair[1], o.group)
	p.look()
}

func (p *twins) takes(from *host, m *raft.Message) bool {
	to := p.w.find(m.To, m.ToStore)
	if int(m.Group) != p.group+1 {
		return false
	}
	if !p.joint {
		return to == p.leader
	}
	at := slices.Index(p.pair[:], from)
	switch m.Type {
	case raft.MessageAppendRequest, raft.MessageHeartbeatRequest, raft.MessageSnapshotOffer:
		return true
	case raft.MessagePreVoteRequest:
		return at < 0 || slices.Contains(p.pair[:], to)
	case raft.MessageVoteRequest:
		if at >= 0 && !slices.Contains(p.pair[:], to) {
			if k := len(p.held[at]); k > 0 && p.held[at][k-1].Term != m.Term {
				p.held[at] = nil
			}
			p.held[at] = append(p.held[at], *m)
		}
		return true
	}
	return false
}

// look does what is next, as soon as its time has come.
func (p *twins) look() {
	w := p.w
	if w.calm || w.net.plot != p {
		return
	}
	if p.left--; p.left == 0 || !p.pair[0].up || !p.pair[1].up {
		w.net.plot = nil
		return
	}
	switch {
	case !p.joint:
		p.joint = p.everybody()
	case len(p.held[0]) > 0 && len(p.held[1]) > 0 && p.held[0][0].Term == p.held[1][0].Term:
		p.ask()
		return
	}
	w.after(w.plan.StepMax/2, p.look)
}

// everybody reports whether the twins know of the joint phase.
func (p *twins) everybody() bool {
	for _, h := range p.pair {
		if !h.replicas[p.group].seen.membership.Joint() {
			return false
		}
	}
	return true
}

// ask brings the requests of both.
func (p *twins) ask() {
	w := p.w
	w.net.plot = nil
	w.saw(sawTwins)
	w.note("servers %v and %v both stand in term %d", p.pair[0], p.pair[1], p.held[0][0].Term)
	for k, list := range p.held {
		for _, m := range list {
			if to := w.find(m.To, m.ToStore); to != nil {
				w.net.deliver(m, to, p.pair[k])
			}
		}
	}
}
