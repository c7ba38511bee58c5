package raft

import "time"

// Status is a look at a Node.
type Status struct {
	ID          ServerID
	Group       GroupID
	Role        Role
	Term        Term
	Leader      ServerID
	Commit      Index
	Applied     Index
	First, Next Index // the log, half open
	Durable     Index // the own log is durable up to here
	Snapshot    Index
	Membership  Membership
	// MembershipIndex is the entry that brought it; it is committed if that is not above Commit.
	MembershipIndex Index
	ClusterTime     int64

	Priority     uint8
	Lease        bool     // this leader held a valid lease at its last input
	Transferring bool     // this leader is handing over,
	Successor    ServerID // to this server; zero: none is chosen yet
	// LeaseEnd is when that lease ends by this server's clock, unless it is extended; zero: there is none.
	LeaseEnd    time.Duration
	StorageHung bool // saves are under way, and none has completed for an election timeout

	Born             bool
	BirthMissing     []ServerID // founders whose answer is still awaited
	Refused          Refused    // a peer gives this server's messages no effect
	LostLog          bool       // HardState.Lost: the own log has lost acknowledged entries, so that it counts for nothing
	UncommittedBytes int
	Progress         []ProgressStatus // a leader's view of the others
}

// ProgressStatus is a leader's view of one member.
type ProgressStatus struct {
	ID               ServerID
	Store            StoreID
	State            ProgressState
	Match, Next      Index
	InflightBytes    int
	InflightMessages int
	Silent           time.Duration // since it last answered; Never if it did not
	Filling          bool          // old entries are being read for it
	Snapshot         Index         // what it was offered
	LostLog          bool          // it came back with less than it had acknowledged
	Priority         uint8
	CaughtUp         bool  // it is to vote, and has caught up
	SlowRounds       int   // it is to vote: rounds in a row in which it did not catch up
	Left             Index // the entry by which it left the membership; zero: it has not
}

// Status returns a look at the Node that shares nothing with it but the membership's immutable lists.
func (n *Node) Status() Status {
	s := Status{
		ID: n.config.ID, Group: n.config.Group, Role: n.role, Term: n.hard.Term, Leader: n.leader.id, Commit: n.commit,
		Applied: n.applied, First: n.trail.first, Next: n.trail.next, Durable: n.saves.durable - 1,
		Snapshot: n.snapshot.Index, Membership: n.membership(), ClusterTime: n.clock.read(n.clock.now), Born: n.born,
		Refused: n.refused(), UncommittedBytes: n.uncommittedBytes(), MembershipIndex: n.memberships[len(n.memberships)-1].Index,
		Priority: n.config.Priority, StorageHung: n.storageHung(), LostLog: n.hard.Lost,
	}
	if _, s.Lease = n.lease(); s.Lease {
		s.LeaseEnd = n.lead.leaseEnd
	}
	if t := n.lead.transfer; t != nil {
		s.Transferring, s.Successor = true, t.to.id
	}
	if !n.born {
		s.BirthMissing = n.birthMissing()
	}
	for _, p := range n.lead.progress {
		silent := Never
		if p.heard {
			silent = n.clock.now - p.heardAt
		}
		s.Progress = append(s.Progress, ProgressStatus{
			ID: p.member.ID, Store: p.member.Store, State: p.state, Match: p.match, Next: p.next, InflightBytes: p.inflightBytes,
			InflightMessages: len(p.inflight), Silent: silent, Filling: p.fill != 0, Snapshot: p.offered.Index,
			LostLog: p.lost, Priority: p.priority, CaughtUp: p.caughtUp(n.clock.now, n.config.ElectionTimeoutMin), SlowRounds: p.slow, Left: p.left,
		})
	}
	return s
}

func (n *Node) birthMissing() []ServerID {
	voters, missing := n.config.Founders, []ServerID(nil)
	if !n.birth.value.IsZero() {
		voters = n.birth.value.Membership.Voters
	}
	for _, v := range voters {
		_, heard := n.birth.store(v.ID)
		if n.birth.value.IsZero() && (heard || v.ID == n.config.ID) || n.birth.hasAnswered(v.ID) {
			continue
		}
		missing = append(missing, v.ID)
	}
	return missing
}
