package raft

import "time"

// takeRefusal takes a peer's word that this server's messages have no effect. All but one reason pass, when the peer talks
// again. That the log was lost is found by the one leader that heard what it had acknowledged, and no later leader can find
// it again: so whoever is told makes a note of it on its own disk, and counts for nothing from then on.
func (n *Node) takeRefusal(now time.Duration, m *Message) {
	if m.Refusal == RefusalLostBirth && n.born {
		return // overtaken: it asked before it was told, and only a peer that talks to it would take the word back
	}
	n.refusal = Refused{By: m.From, Reason: m.Refusal}
	n.trace(Trace{Kind: TraceRefusedByPeer, Server: m.From, Refusal: m.Refusal})
	member, ok := n.membership().Member(m.From)
	if m.Refusal != RefusalLostLog || !ok || member.Store != m.FromStore || n.hard.Lost {
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
	if n.hard.Lost && n.refusal.Reason != RefusalLostLog {
		return Refused{By: n.config.ID, Reason: RefusalLostLog}
	}
	return n.refusal
}
