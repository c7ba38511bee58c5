package raft

import "time"

// takeRefusal takes a peer's word that this server's messages have no effect. All but one reason pass, when the peer talks
// again. That the log was lost is found by the one leader that heard what it had acknowledged, and no later leader can find
// it again: so whoever is told makes a note of it on its own disk, and counts for nothing from then on.
func (n *Node) takeRefusal(now time.Duration, m *Message) {
	if m.Refusal == RefusalLostBirth && n.born {
		return // overtaken: it asked before it was told, and only a peer that talks to it would take the word back
	}
	if m.Refusal == RefusalRemoved {
		n.takeRemoval(m)
		return
	}
	n.refusal = Refused{By: m.From, Reason: m.Refusal}
	n.trace(Trace{Kind: TraceRefusedByPeer, Server: m.From, Refusal: m.Refusal})
	_, ok := n.membership().Find(m.From, m.FromStore)
	if m.Refusal == RefusalUnborn && ok && n.role == RoleLeader {
		// It joins: it has no founders, and takes the birth from a server that proved to be of its cluster.
		n.sendNow(Message{Type: MessageBirthResponse, To: m.From, ToStore: m.FromStore, Birth: n.birth.value}, n.saves.wait(n.saves.birth))
	}
	ok = ok || n.leader == m.sender() // who leads may have been added by what was lost
	if m.Refusal != RefusalLostLog || !ok || n.hard.Lost {
		return
	}
	h := n.hard
	h.Lost = true
	n.setHard(h)
	n.ack = nil
	if n.role != RoleFollower {
		n.stepDown(now, "its log was lost")
	}
}

// refused is what the status says: a lost log is told also after a restart, when whoever found it is not known any more.
func (n *Node) refused() Refused {
	switch {
	case n.hard.Lost && !n.toldRemoved(): // its own log may be so old that it knows nothing of its being a member
		if n.refusal.Reason == RefusalLostLog {
			return n.refusal
		}
		return Refused{By: n.config.ID, Reason: RefusalLostLog}
	case n.refusal.Reason.passes() && (n.removed() && !n.joining() || n.toldRemoved()):
		return Refused{By: n.config.ID, Reason: RefusalRemoved}
	}
	return n.refusal
}

// passes reports whether a removal says more than a refusal. What was lost makes no difference to who is no member any more.
func (r Refusal) passes() bool { return r == RefusalNone || r == RefusalUnborn || r == RefusalLostLog }

// joining reports whether this server has a birth that it took no part in and no more, or a leader feeds it a log in which it has not
// come yet to the entry that adds it.
func (n *Node) joining() bool {
	return n.memberships[len(n.memberships)-1].Index == 0 && !n.belonged || n.fed()
}

// fed reports whether this server is no member, has not been one in this run, and hears a leader. What a leader of old has sent may come
// late, after a restart even, so that one has to be heard again and again.
func (n *Node) fed() bool {
	return !n.belonged && n.leader != (peer{}) && n.clock.now < n.election.at && n.removed()
}

// removed reports whether this server's own log says that it is no member.
func (n *Node) removed() bool {
	at := n.memberships[len(n.memberships)-1]
	_, ok := at.Membership.Find(n.config.ID, n.config.Store)
	return n.born && !ok && at.Index <= n.commit
}
