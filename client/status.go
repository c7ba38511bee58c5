package client

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// Status is what one server knows of itself and of its replicas.
type Status struct {
	Server raft.ServerID
	// Cluster is the cluster that it belongs to; zero: it does not say.
	Cluster raft.ClusterID
	// Store is the data directory that it runs on; zero: it does not say.
	Store  raft.StoreID
	Groups []GroupStatus
}

// GroupStatus is one server's view of one group. It may be out of date: only the leader's, while it leads, is what the
// group does now.
type GroupStatus struct {
	Group raft.GroupID
	// Role is the server's part in the group: follower, pre-candidate, candidate or leader.
	Role string
	// Term is the term that the server is in.
	Term raft.Term
	// Leader is who leads in that term, as far as the server knows; 0: nobody.
	Leader raft.ServerID
	// LeaderAddress is where clients reach the leader, as that one told the server; if it told nothing, where other servers reach
	// it; empty: not known.
	LeaderAddress string
	// First and Next bound the log: it holds the entries from First up to, not including, Next.
	First, Next raft.Index
	// Commit is the last entry known to be committed, Applied the last one that the state machine has executed.
	Commit, Applied raft.Index
	// Born says that all founders have met, so that the group can elect a leader.
	Born bool
	// Missing are the founders that the birth still waits for.
	Missing []raft.ServerID
	// Fenced says why the replica has stopped for good; empty: it runs.
	Fenced string
	// Refusal says why another server gives this one's messages no effect, and what helps; empty: none does.
	Refusal string
	// Membership is the one in force at this server, committed or not: it is committed if its index is not above Commit. Client.Members
	// asks for the one that is.
	Membership raft.MembershipAt
	// Removed says that this server was a member and is none any more.
	Removed bool
	// StorageHung says that its disk has completed nothing for an election timeout.
	StorageHung bool
	// Transferring says that this leader is handing over, to Successor; 0: none is chosen yet.
	Transferring bool
	Successor    raft.ServerID
	// Priority is the server's claim to leadership.
	Priority uint8
	// Progress is a leader's view of the others; empty elsewhere.
	Progress []Progress
	// LostData says that the server's store lacks what it had acknowledged, or the birth that it had saved: it counts for nothing until another
	// store replaces it. Refusal says it in words.
	LostData bool
	// NoSnapshot says why the server cannot restore its state machine from what is on its disk, and waits for the leader's
	// snapshot; empty: it can.
	NoSnapshot string
}

// Progress is a leader's view of one other server.
type Progress struct {
	ID    raft.ServerID
	Store raft.StoreID
	// State is probe, stream or snapshot.
	State string
	// Match is the entry up to which its log is known to hold everything.
	Match raft.Index
	// Silent is how long ago it last answered; raft.Never if it did not.
	Silent time.Duration
	// CaughtUp says of a server that is to vote that it may.
	CaughtUp bool
	// Left says that it is no member any more, and is told so.
	Left bool
}

// Status asks the server that the client is connected to, the leader's if there is one, for its state.
func (c *Client) Status(ctx context.Context) (Status, error) {
	raw, err := c.call(ctx, OpStatus, nil)
	if err != nil {
		return Status{}, err
	}
	var answer wire.ClientStatus
	if err := (&wire.ClientResponse{Result: raw}).ClientValue(&answer); err != nil {
		return Status{}, err
	}
	s := Status{Server: raft.ServerID(answer.Server)}
	copy(s.Cluster[:], answer.Cluster)
	copy(s.Store[:], answer.Store)
	for _, g := range answer.Groups {
		status, err := groupStatus(g)
		if err != nil {
			return Status{}, err
		}
		s.Groups = append(s.Groups, status)
	}
	return s, nil
}

func groupStatus(g wire.ClientGroup) (s GroupStatus, err error) {
	s = GroupStatus{
		Group: raft.GroupID(g.Group), Role: g.Role, Term: raft.Term(g.Term), Leader: raft.ServerID(g.Leader),
		LeaderAddress: g.LeaderAddress, First: raft.Index(g.First), Next: raft.Index(g.Next), Commit: raft.Index(g.Commit),
		Applied: raft.Index(g.Applied), Born: g.Born, Fenced: g.Fenced, Refusal: g.Refusal,
		NoSnapshot: g.NoSnapshot, Removed: g.Removed, LostData: g.LostData, StorageHung: g.StorageHung, Transferring: g.Transferring,
		Successor: raft.ServerID(g.Successor), Priority: uint8(min(g.Priority, math.MaxUint8)),
	}
	if s.Membership, err = g.Membership.MembershipAt(); err != nil {
		return s, err
	}
	for _, p := range g.Progress {
		one, err := progressOf(p)
		if err != nil {
			return s, err
		}
		s.Progress = append(s.Progress, one)
	}
	for _, id := range g.Missing {
		s.Missing = append(s.Missing, raft.ServerID(id))
	}
	return s, nil
}

func progressOf(p wire.ClientProgress) (Progress, error) {
	m := Progress{
		ID: raft.ServerID(p.ID), State: p.State, Match: raft.Index(p.Match), Silent: time.Duration(p.Silent), CaughtUp: p.CaughtUp, Left: p.Left,
	}
	if p.Silent < 0 {
		m.Silent = raft.Never
	}
	if len(p.Store) != len(m.Store) {
		return m, fmt.Errorf("%w: server %d has a store id of %d bytes", wire.ErrMalformed, p.ID, len(p.Store))
	}
	copy(m.Store[:], p.Store)
	return m, nil
}
