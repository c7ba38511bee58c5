package raft

import "time"

// Mark names an entry by index and term. Of two that are committed the later one has the larger mark.
type Mark struct {
	Term  Term
	Index Index
}

func (m Mark) less(o Mark) bool { return m.Term < o.Term || m.Term == o.Term && m.Index < o.Index }

// A server learns that it was removed from its own log, or, if it was down meanwhile, from whoever knows a committed membership without it.
// It stops to stand for election and goes on running: nothing here ends by itself, and a later membership with it in it makes it a
// member again.

// mark returns the mark of a membership in the log. If its term is compacted away the snapshot's stands for it: a membership
// that came between the two would be the snapshot's, so the order of marks stays the order of entries.
func (n *Node) mark(at MembershipAt) Mark {
	term, ok := n.trail.termAt(at.Index)
	if !ok && at.Index > 0 {
		term = n.snapshot.Term
	}
	return Mark{Term: term, Index: at.Index}
}

// toldRemoved reports whether a peer told of a committed membership without this server, and none with it came since.
func (n *Node) toldRemoved() bool { return n.removal != Mark{} }

// takeRemoval believes a peer whose membership is later than the own one: it may be that the peer does not know yet by
// which entry this server was added. It may be the own one, too, if this server is not in it: then it learns that it is committed.
func (n *Node) takeRemoval(m *Message) {
	told, at := Mark{Term: m.LastTerm, Index: m.LastIndex}, n.memberships[len(n.memberships)-1]
	_, in := at.Membership.Find(n.config.ID, n.config.Store)
	own := n.mark(at)
	if n.role == RoleLeader || told.less(own) || in && told == own || !n.removal.less(told) {
		return
	}
	n.removal = told
	n.trace(Trace{Kind: TraceRefusedByPeer, Server: m.From, Refusal: RefusalRemoved})
	if n.role != RoleFollower {
		n.becomeFollower(n.clock.now, n.hard.Term, n.leader)
	}
}

// isBack takes a membership that came into force: what was told of an older one is over if this server is in it.
func (n *Node) isBack(at MembershipAt) {
	_, ok := at.Membership.Find(n.config.ID, n.config.Store)
	n.belonged = n.belonged || ok
	if ok && !n.mark(at).less(n.removal) {
		n.removal = Mark{}
	}
}

// tellRemoved tells a sender that is no member of what is committed here, nor of anything after it, and by which entry. It may know
// better: a server that was just added knows the entry that added it, which is a later one.
func (n *Node) tellRemoved(m *Message) {
	certain := n.commit
	if term, ok := n.trail.termAt(n.removal.Index); ok && term == n.removal.Term { // of several that left one may have to tell the other
		certain = max(certain, n.removal.Index)
	}
	k := len(n.memberships) - 1
	for ; k >= 0; k-- {
		if _, is := n.memberships[k].Membership.Find(m.From, m.FromStore); is {
			return
		}
		if n.memberships[k].Index <= certain {
			break
		}
	}
	if k < 0 || n.memberships[k].Index == 0 {
		return
	}
	mark := n.mark(n.memberships[k])
	n.trace(Trace{Kind: TraceRefused, Server: m.From, Refusal: RefusalRemoved})
	n.sendNow(Message{
		Type: MessageRefusal, To: m.From, ToStore: m.FromStore, Refusal: RefusalRemoved, LastIndex: mark.Index, LastTerm: mark.Term,
	}, 0)
}

// wonders reports whether this server stands for no election and does not know why nobody feeds it: a learner, one that
// is no voter any more, or one that waits for a snapshot. It asks, or else it would never hear that it was removed while it was down.
func (n *Node) wonders() bool {
	return n.born && !n.hard.Lost && !n.removed() && !n.toldRemoved() && (!n.mayLead() || n.election.needSnapshot)
}

// wonder asks as a candidate asks, and whatever is answered but a removal is nothing to it.
func (n *Node) wonder(now time.Duration) {
	n.restartElectionTimer(now)
	n.leader = peer{}
	n.askVotes(MessagePreVoteRequest, n.hard.Term+1, false)
}
