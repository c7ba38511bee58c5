package raft

import "time"

// electionState is what a server that does not lead knows of elections.
type electionState struct {
	random       uint64
	at           time.Duration // when the election timeout ends
	excused      bool          // the timeout began again after a pause, and nothing was heard since
	restoring    bool          // the state machine is on its way to a snapshot, and nobody can be answered
	needSnapshot bool          // it cannot be restored from what is here;
	fetched      Index         // perhaps from the snapshot that was installed since, with this index; zero: none was

	// stickyAt is when a leader last proved, by a newly confirmed round, that a quorum follows it. Until
	// ElectionTimeoutMin after it no other candidate gets a vote or a pre-vote (dissertation 4.2.3 and 9.6): a leader that
	// can send and not receive renews nothing, so it cannot freeze the group (openraft#2080).
	stickyAt time.Duration
	sticky   bool
	// promisedAt is stickyAt as a promise, which a newer term and a restart do not end (lease.go).
	promisedAt time.Duration
	promised   bool
	confirmed  Round // the newest confirmed round heard of in this term

	votes []vote // of the campaign or pre-campaign under way
}

type vote struct {
	from    ServerID
	store   StoreID
	granted bool
}

func (e *electionState) record(from ServerID, store StoreID, granted bool) {
	for _, v := range e.votes {
		if v.from == from && v.store == store {
			return // the first answer stands; a repeated one changes nothing
		}
	}
	e.votes = append(e.votes, vote{from: from, store: store, granted: granted})
}

func (e *electionState) said(m Member, granted bool) bool {
	for _, v := range e.votes {
		if m.is(v.from, v.store) {
			return v.granted == granted
		}
	}
	return false
}

// restartElectionTimer draws a new timeout (dissertation 3.4). The generator is SplitMix64's.
func (n *Node) restartElectionTimer(now time.Duration) {
	e := &n.election
	e.excused = false
	e.random += 0x9e3779b97f4a7c15
	spread := uint64(n.config.ElectionTimeoutMax - n.config.ElectionTimeoutMin)
	e.at = now + n.config.ElectionTimeoutMin + time.Duration(mix64(e.random)%spread)
}

// electable reports whether the server may stand for election: a voter in its own view, of a group that was born, with a
// log that it can answer for, and with a state machine that answers.
func (n *Node) electable() bool {
	return n.born && !n.hard.Lost && !n.toldRemoved() && !n.election.restoring && !n.election.needSnapshot && !n.storageHung() && n.mayLead()
}

// mayLead reports whether this server is a voter, or was one until a membership that is not known to be committed. Who has the
// entry that removes it may be the only one left that can bring it to its end: the others of the old half know less, and
// those of the new one may be too few (dissertation 4.2.2).
func (n *Node) mayLead() bool {
	k := len(n.memberships) - 1
	if n.memberships[k].Membership.IsVoter(n.config.ID, n.config.Store) {
		return true
	}
	return k > 0 && n.memberships[k].Index > n.commit && n.memberships[k-1].Membership.IsVoter(n.config.ID, n.config.Store)
}

// alone reports whether the server is all there is of its group.
func (n *Node) alone() bool {
	m := n.membership()
	return len(m.Voters) == 1 && n.isMe(m.Voters[0]) && len(m.Members()) == 1 && len(n.lead.progress) == 0
}

// hasLeader reports whether this server holds fast to a leader.
func (n *Node) hasLeader(now time.Duration) bool {
	if n.role == RoleLeader {
		return n.hasAuthority(now)
	}
	return n.election.sticky && now-n.election.stickyAt < n.config.ElectionTimeoutMin
}

// upToDate is the election restriction (dissertation 3.6.1).
func (n *Node) upToDate(lastIndex Index, lastTerm Term) bool {
	return lastTerm > n.trail.lastTerm() || lastTerm == n.trail.lastTerm() && lastIndex >= n.trail.last()
}

// becomeFollower enters term (which may be the present one) and forgets every role but the follower's.
func (n *Node) becomeFollower(now time.Duration, term Term, leader peer) {
	if n.role == RoleLeader {
		n.endLeadership(term)
	}
	if term > n.hard.Term {
		n.setHard(HardState{Term: term})
		n.election.sticky, n.election.confirmed = false, 0
		n.ack = nil
	}
	changed := n.role != RoleFollower || n.leader != leader
	if leader != n.leader {
		n.askAgain()
	}
	n.role, n.leader = RoleFollower, leader
	n.election.votes = n.election.votes[:0]
	n.restartElectionTimer(now)
	if changed {
		n.trace(Trace{Kind: TraceBecameFollower, Server: leader.id})
	}
}

// stepDown gives leadership up within the term.
func (n *Node) stepDown(now time.Duration, reason string) {
	n.trace(Trace{Kind: TraceSteppedDown, Reason: reason})
	n.becomeFollower(now, n.hard.Term, peer{})
}

// preCampaign asks whether an election could be won, and touches neither term nor vote (dissertation 9.6).
func (n *Node) preCampaign(now time.Duration) {
	n.role, n.leader = RolePreCandidate, peer{}
	n.election.sticky = false
	n.trace(Trace{Kind: TraceBecamePreCandidate})
	n.startVotes(now)
	n.election.record(n.config.ID, n.config.Store, true)
	n.askVotes(MessagePreVoteRequest, n.hard.Term+1, false)
	n.countPreVotes(now)
}

// campaign begins an election. The request for votes waits for the save of the new term and of the own vote, and so
// does the own vote itself: Saved counts it.
func (n *Node) campaign(now time.Duration, forced bool) {
	n.role, n.leader = RoleCandidate, peer{}
	n.setHard(HardState{Term: n.hard.Term + 1, Vote: n.config.ID, VoteStore: n.config.Store})
	n.election.sticky, n.election.confirmed = false, 0
	n.ack = nil
	n.trace(Trace{Kind: TraceBecameCandidate})
	n.startVotes(now)
	n.askVotes(MessageVoteRequest, n.hard.Term, forced)
}

func (n *Node) startVotes(now time.Duration) {
	n.election.votes = n.election.votes[:0]
	n.restartElectionTimer(now)
}

func (n *Node) askVotes(t MessageType, term Term, forced bool) {
	for _, member := range n.membership().Members() {
		if n.isMe(member) || !n.membership().IsVoter(member.ID, member.Store) {
			continue
		}
		m := Message{
			Type: t, To: member.ID, ToStore: member.Store, Term: term, Forced: forced,
			LastIndex: n.trail.last(), LastTerm: n.trail.lastTerm(),
		}
		if t == MessagePreVoteRequest {
			n.sendNow(m, 0) // the proposed term is no claim
			continue
		}
		n.send(m, 0)
	}
}

// handlePreVoteRequest answers whether a vote would be granted: not to a server that this one is ahead of, not for a
// term that is not ahead, and not while a leader is heard. A rejection carries the own term, so that a server whose log
// is good and whose term is behind catches up (etcd#8501).
func (n *Node) handlePreVoteRequest(now time.Duration, m *Message) {
	n.tellRemoved(m)
	switch {
	case n.hard.Lost:
		n.rejectVote(m, MessagePreVoteResponse, "the own log was lost")
	case m.Term <= n.hard.Term:
		n.rejectVote(m, MessagePreVoteResponse, "its term is not ahead")
	case n.hasLeader(now) || n.bound(now):
		n.rejectVote(m, MessagePreVoteResponse, "a leader is heard")
	case !n.upToDate(m.LastIndex, m.LastTerm):
		n.rejectVote(m, MessagePreVoteResponse, "its log is behind")
	default:
		n.sendNow(Message{Type: MessagePreVoteResponse, To: m.From, ToStore: m.FromStore, Term: m.Term}, 0)
	}
}

// handleVoteRequest grants the one vote of a term, or grants it again to whom it was given: the first answer may have
// been lost. The answer waits for the save of the vote.
func (n *Node) handleVoteRequest(now time.Duration, m *Message) {
	if m.Term > n.hard.Term {
		if !m.Forced && (n.hasLeader(now) || n.bound(now)) {
			// Not even the term is taken over: a server that was cut off, or removed, must not depose a leader.
			n.trace(Trace{Kind: TraceVoteRejected, Server: m.From, Reason: "a leader is heard"})
			return
		}
		n.becomeFollower(now, m.Term, peer{})
	}
	switch {
	case n.hard.Lost:
		n.rejectVote(m, MessageVoteResponse, "the own log was lost")
	case m.Term < n.hard.Term:
		n.rejectVote(m, MessageVoteResponse, "its term is over")
	case !m.Forced && n.bound(now):
		n.rejectVote(m, MessageVoteResponse, "a leader was promised to wait for")
	case n.hard.Vote != 0 && (n.hard.Vote != m.From || n.hard.VoteStore != m.FromStore):
		n.rejectVote(m, MessageVoteResponse, "the vote of this term is given")
	case n.role == RoleLeader || n.leader != (peer{}) && n.leader != m.sender():
		n.rejectVote(m, MessageVoteResponse, "the term has a leader")
	case !n.upToDate(m.LastIndex, m.LastTerm):
		n.rejectVote(m, MessageVoteResponse, "its log is behind")
	default:
		n.setHard(HardState{Term: m.Term, Vote: m.From, VoteStore: m.FromStore})
		n.restartElectionTimer(now)
		n.trace(Trace{Kind: TraceVoteGranted, Server: m.From})
		n.send(Message{Type: MessageVoteResponse, To: m.From, ToStore: m.FromStore, Term: m.Term}, 0)
	}
}

func (n *Node) rejectVote(m *Message, t MessageType, reason string) {
	n.trace(Trace{Kind: TraceVoteRejected, Server: m.From, Reason: reason})
	if n.hard.Term == 0 {
		return // a log that was lost back to its birth has no term to tell
	}
	n.send(Message{Type: t, To: m.From, ToStore: m.FromStore, Term: n.hard.Term, Reject: true}, 0)
}

// learnTerm follows a member's answer into its newer term, and reports whether the answer was of one. A server that is no
// member, removed long ago perhaps, does not move the terms of those who are.
func (n *Node) learnTerm(now time.Duration, m *Message) bool {
	if m.Term <= n.hard.Term {
		return false
	}
	if _, ok := n.membership().Find(m.From, m.FromStore); ok {
		n.becomeFollower(now, m.Term, peer{})
	}
	return true
}

func (n *Node) handlePreVoteResponse(now time.Duration, m *Message) {
	if m.Reject && n.learnTerm(now, m) {
		return
	}
	if n.role != RolePreCandidate || !m.Reject && m.Term != n.hard.Term+1 {
		return
	}
	n.election.record(m.From, m.FromStore, !m.Reject)
	n.countPreVotes(now)
}

func (n *Node) countPreVotes(now time.Duration) {
	if n.quorum().reached(func(v Member) bool { return n.election.said(v, true) }) {
		if !n.electable() { // it was, when it asked
			n.becomeFollower(now, n.hard.Term, peer{})
			return
		}
		n.campaign(now, false)
		return
	}
	n.maybeLoseElection(now)
}

func (n *Node) handleVoteResponse(now time.Duration, m *Message) {
	if n.learnTerm(now, m) {
		return
	}
	if n.role != RoleCandidate || m.Term != n.hard.Term {
		return
	}
	n.election.record(m.From, m.FromStore, !m.Reject)
	n.countVotes(now)
}

// countOwnVote counts the candidate's vote for itself once it is durable.
func (n *Node) countOwnVote(now time.Duration) {
	if n.saves.wait(n.saves.hard) == 0 && n.votedForItself() {
		n.election.record(n.config.ID, n.config.Store, true)
		n.countVotes(now)
	}
}

func (n *Node) countVotes(now time.Duration) {
	if n.quorum().reached(func(v Member) bool { return n.election.said(v, true) }) {
		n.becomeLeader(now)
		return
	}
	n.maybeLoseElection(now)
}

// maybeLoseElection returns to waiting when no majority can be had any more. The timer goes on as it was drawn.
func (n *Node) maybeLoseElection(now time.Duration) {
	if n.quorum().lost(func(v Member) bool { return n.election.said(v, false) }) {
		at := n.election.at
		n.becomeFollower(now, n.hard.Term, peer{})
		n.election.at = at
	}
}
