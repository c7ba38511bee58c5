package raft

import "time"

// A leader with a lease answers reads without a round (dissertation 6.4.1). What it stands on: every voter that confirms a
// round promises to vote for nobody else until ElectionTimeoutMin has passed since it heard the leader's round before that confirmed
// (electionState.stickyAt), by its own clock. So until the shortest of these promises ends, by the leader's own clock and cut by what clocks
// may differ in rate, no other server can be elected, and the leader's commit index is the newest there is.
//
// A lease is off unless Config.ClockDriftPPM is set; it counts only voters that have it set, too. It is lost before a
// transfer, for the rest of the term, because the successor's votes are asked for in spite of the promise; and by a pause.

// Lease returns the index that a read must wait for, if this server leads and holds a valid lease at now. now must have
// been read after the read arrived.
func (n *Node) Lease(now time.Duration) (Index, bool) {
	if !n.input(now) {
		return 0, false
	}
	return n.lease()
}

func (n *Node) lease() (Index, bool) {
	if n.config.ClockDriftPPM == 0 || n.role != RoleLeader || n.lead.noLease || !n.ownTermCommitted() {
		return 0, false
	}
	return n.commit, n.clock.now < n.lead.leaseEnd && n.lead.confirmed >= n.lead.authority
}

// extendLease takes a newly confirmed round: basis is when the round that its messages said was confirmed had become so.
func (n *Node) extendLease(round Round, basis time.Duration) {
	if n.config.ClockDriftPPM == 0 || basis == 0 {
		return
	}
	promise := n.config.ElectionTimeoutMin
	value := func(m Member) uint64 {
		if n.isMe(m) {
			return uint64(round)
		}
		if p := n.lead.of(m.ID, m.Store); p != nil && p.promise > 0 {
			return uint64(p.round)
		}
		return 0
	}
	if !n.quorum().confirms(uint64(round), value) {
		return // too many do not promise
	}
	for _, p := range n.lead.progress {
		if p.promise > 0 {
			promise = min(promise, p.promise)
		}
	}
	promise -= time.Duration(float64(promise) * float64(n.config.ClockDriftPPM) / 1e6)
	n.lead.leaseEnd = max(n.lead.leaseEnd, basis+promise)
}

// promise is what this server says of itself when it confirms a round.
func (n *Node) promise() time.Duration {
	if n.config.ClockDriftPPM == 0 {
		return 0
	}
	return n.config.ElectionTimeoutMin
}

// bound reports whether a promise to a leader is still good. It outlives the term in which it was given, and a restart: what
// this server promised in an earlier run it does not know.
func (n *Node) bound(now time.Duration) bool {
	return n.config.ClockDriftPPM != 0 && n.election.promised && now-n.election.promisedAt < n.config.ElectionTimeoutMin
}
