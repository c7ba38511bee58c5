package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

func TestAMembershipThatWasCutOffIsNotToldAsCommitted(t *testing.T) {
	r := newReplica(t)
	at := func(index raft.Index) *raft.MembershipAt {
		return &raft.MembershipAt{Index: index, Membership: raft.Membership{Voters: []raft.Member{{ID: raft.ServerID(index)}}}}
	}
	r.orders.memberships = nil
	r.followMembership(at(32), nil)
	r.commit = 32
	r.followMembership(nil, nil)
	r.followMembership(at(33), blockAt(33))

	// Another leader has something else at 33, and a membership behind it; all of it comes in one turn.
	r.followMembership(at(34), blockAt(33))
	r.commit = 33
	r.followMembership(nil, nil)
	require.EqualValues(t, 32, r.CommittedMembership().Index)
	r.commit = 34
	r.followMembership(nil, nil)
	require.EqualValues(t, 34, r.CommittedMembership().Index)
}

func blockAt(index raft.Index) []raft.Block { return []raft.Block{received(index, 1, 1, 0)} }
