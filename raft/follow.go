package raft

import "time"

// heardLeader takes what every message of the present term's leader says. It reports false when the message has no
// effect: its term is over (the sender is told), or this server leads that term itself, which cannot be, or it has lost
// its log and may not answer.
func (n *Node) heardLeader(now time.Duration, m *Message) bool {
	if m.Term < n.hard.Term {
		// The stale leader learns the newer term from the answer, and steps down.
		n.send(Message{
			Type: MessageAppendResponse, To: m.From, ToStore: m.FromStore, Term: n.hard.Term, Reject: true,
			PrevIndex: m.PrevIndex, LastIndex: n.trail.last(),
		}, 0)
		return false
	}
	if n.role == RoleLeader && m.Term == n.hard.Term {
		n.trace(Trace{Kind: TraceDropped, Server: m.From, Reason: "a second leader in one term"})
		return false
	}
	if m.Term > n.hard.Term || n.role != RoleFollower || n.leader != m.sender() {
		n.becomeFollower(now, m.Term, m.sender())
	}
	n.restartElectionTimer(now)
	if m.Confirmed > n.election.confirmed {
		n.election.confirmed = m.Confirmed
		n.election.sticky, n.election.stickyAt = true, now
		n.election.promised, n.election.promisedAt = true, now
	}
	if m.Time > 0 {
		n.clock.heard(m.Time)
	}
	return !n.hard.Lost
}

func (n *Node) handleHeartbeatRequest(now time.Duration, m *Message) {
	if !n.heardLeader(now, m) {
		return
	}
	if term, ok := n.trail.termAt(m.PrevIndex); m.Commit > 0 && m.Commit == m.PrevIndex && ok && term == m.PrevTerm {
		n.commitTo(m.Commit)
	}
	response := Message{
		Type: MessageHeartbeatResponse, To: m.From, ToStore: m.FromStore, Term: n.hard.Term, Round: m.Round,
		LastIndex: n.trail.last(), LastTerm: n.trail.lastTerm(), WantSnapshot: n.election.needSnapshot, Promise: n.promise(),
	}
	if n.electable() {
		response.Priority = n.config.Priority
	}
	if response.LastTerm == n.hard.Term {
		// The last entry is this leader's, so all before it is too (Log Matching). It may have missed our answer. The message
		// waits for the term alone, because a slow disk must not depose a good leader: so it claims what is durable already.
		response.Match = min(response.LastIndex, n.saves.durable-1)
	}
	n.send(response, 0)
}

// commitTo takes a commit index that the message at hand has verified.
func (n *Node) commitTo(index Index) {
	if index > n.commit {
		n.commit = min(index, n.trail.last())
	}
}

// handleAppendRequest is AppendEntries (dissertation 3.5). What matches is left alone, so that a repeated or overtaken
// message never cuts off what was acknowledged after it was sent.
func (n *Node) handleAppendRequest(now time.Duration, m *Message) {
	if !n.heardLeader(now, m) {
		return
	}
	if n.contradicts(m) {
		n.trace(Trace{Kind: TraceDropped, Server: m.From, Reason: "an append that contradicts what is committed here"})
		return
	}
	if m.PrevIndex > n.commit {
		// Everything up to the commit index is the leader's too (Leader Completeness), whether its term is still known
		// here or compacted; above it the previous entry has to agree.
		if term, ok := n.trail.termAt(m.PrevIndex); !ok || term != m.PrevTerm {
			n.rejectAppend(m)
			return
		}
	}
	for k := range m.Blocks {
		if !n.takeBlock(m, m.Blocks[k]) {
			return
		}
	}
	verified := max(m.Next-1, n.commit)
	// The leader's commit index may be past what this very message verified; what stands there could be another
	// leader's (copycat#265).
	n.commitTo(min(m.Commit, m.Next-1))
	n.acknowledge(m, verified)
}

// contradicts reports whether an append has another term where this log is committed. No leader sends that (Leader
// Completeness, dissertation 3.6.3); taken over, it could leave a log whose terms go back, which nobody can load again.
func (n *Node) contradicts(m *Message) bool {
	differs := func(i Index, term Term) bool {
		own, ok := n.trail.termAt(i)
		return ok && own != term
	}
	if m.PrevIndex <= n.commit && differs(m.PrevIndex, m.PrevTerm) {
		return true
	}
	for k := range m.Blocks {
		if b := m.Blocks[k]; b.First() > n.commit {
			break
		} else if differs(b.First(), b.Term()) || differs(min(b.Next()-1, n.commit), b.Term()) {
			return true
		}
	}
	return false
}

// takeBlock appends what is new of a block. It reports false when that broke a rule.
func (n *Node) takeBlock(m *Message, b Block) bool {
	at := max(b.First(), n.commit+1)
	for at < b.Next() && at < n.trail.next {
		term, ok := n.trail.termAt(at)
		if ok && term == b.Term() {
			at = min(n.trail.runEnd(at), b.Next())
			continue
		}
		n.truncate(at)
		break
	}
	if at >= b.Next() || n.fault != nil {
		return n.fault == nil
	}
	if at > n.trail.next {
		n.breakRule("an append would leave a gap")
		return false
	}
	size := b.Size()
	b = b.Clip(at, b.Next())
	n.appendBlock(b, max(size, 1))
	if b.Kind() == KindMembership {
		n.takeMembership(m, b.First())
	}
	return n.fault == nil
}

func (n *Node) takeMembership(m *Message, index Index) {
	for _, at := range m.Memberships {
		if at.Index == index {
			n.memberships = append(n.memberships, at)
			n.membershipChanged()
			return
		}
	}
	n.breakRule("a membership entry came undecoded") // Step checks it before
}

// acknowledge answers at the end of the turn, once for all appends of the turn: up to match this log is the leader's. It
// leaves when everything up to there is durable.
func (n *Node) acknowledge(m *Message, match Index) {
	if n.ack != nil && n.ack.To == m.From && n.ack.ToStore == m.FromStore && n.ack.Term == n.hard.Term {
		n.ack.Match = max(n.ack.Match, match)
		n.ack.Round = max(n.ack.Round, m.Round)
		return
	}
	n.ackRoom = Message{Type: MessageAppendResponse, To: m.From, ToStore: m.FromStore, Term: n.hard.Term, Match: match, Round: m.Round}
	n.ack = &n.ackRoom
}

func (n *Node) flushAck() {
	if n.ack == nil {
		return
	}
	n.ack.LastIndex = n.trail.last()
	n.send(*n.ack, n.saves.waitFor(n.ack.Match))
	n.ack = nil
}

// rejectAppend says where the logs can meet at the latest.
func (n *Node) rejectAppend(m *Message) {
	hint, term := n.trail.floor(m.PrevIndex, m.PrevTerm)
	if hint < n.commit {
		hint = n.commit
		term, _ = n.trail.termAt(hint)
	}
	n.send(Message{
		Type: MessageAppendResponse, To: m.From, ToStore: m.FromStore, Term: n.hard.Term, Reject: true, PrevIndex: m.PrevIndex,
		HintIndex: hint, HintTerm: term, LastIndex: n.trail.last(), Round: m.Round,
	}, 0)
}
