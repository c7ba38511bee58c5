package client

import (
	"context"
	"fmt"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// Status is what one server knows of itself and of its replicas.
type Status struct {
	Server raft.ServerID
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
	// LeaderAddress is where other servers reach the leader; empty: not known. Clients may have to use another address.
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
	// NoSnapshot says why the server cannot restore its state machine from what is on its disk, and waits for the leader's
	// snapshot; empty: it can.
	NoSnapshot string
}

// Member is one member of a group.
type Member struct {
	ID raft.ServerID
	// Role is voter, learner, or outgoing: a voter of the old half while a change of membership is under way.
	Role string
	// Address is where other servers reach it; clients may have to use another one.
	Address string
	// Store is the data directory that the id is bound to.
	Store raft.StoreID
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
	for _, g := range answer.Groups {
		s.Groups = append(s.Groups, groupStatus(g))
	}
	return s, nil
}

func groupStatus(g wire.ClientGroup) GroupStatus {
	s := GroupStatus{
		Group: raft.GroupID(g.Group), Role: g.Role, Term: raft.Term(g.Term), Leader: raft.ServerID(g.Leader),
		LeaderAddress: g.LeaderAddress, First: raft.Index(g.First), Next: raft.Index(g.Next), Commit: raft.Index(g.Commit),
		Applied: raft.Index(g.Applied), Born: g.Born, Fenced: g.Fenced, Refusal: g.Refusal,
		NoSnapshot: g.NoSnapshot,
	}
	for _, id := range g.Missing {
		s.Missing = append(s.Missing, raft.ServerID(id))
	}
	return s
}

// Members asks who belongs to the group.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	raw, err := c.call(ctx, OpMembers, nil)
	if err != nil {
		return nil, err
	}
	var answer []wire.ClientMember
	if err := (&wire.ClientResponse{Result: raw}).ClientValue(&answer); err != nil {
		return nil, err
	}
	members := make([]Member, len(answer))
	for i, m := range answer {
		members[i] = Member{ID: raft.ServerID(m.ID), Role: m.Role, Address: m.Address}
		if len(m.Store) != len(members[i].Store) {
			return nil, fmt.Errorf("%w: member %d has a store id of %d bytes", wire.ErrMalformed, m.ID, len(m.Store))
		}
		copy(members[i].Store[:], m.Store)
	}
	return members, nil
}
