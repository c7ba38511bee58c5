package server

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
)

func votersOf(ids ...byte) (all []raft.Member) {
	for _, id := range ids {
		all = append(all, raft.Member{ID: raft.ServerID(id), Store: raft.StoreID{id}})
	}
	return all
}

// follower is server 1 of three that were born, with nothing in the log.
func follower(t *testing.T) *Replica {
	log := memlog.New(persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: 1, Store: raft.StoreID{1}})
	birth := raft.Birth{Membership: raft.Membership{Voters: votersOf(1, 2, 3)}, Complete: true}
	require.NoError(t, log.Save([]persistentlog.Update{{Group: 1, Birth: &birth, Hard: &raft.HardState{Term: 1}}}))
	shared, err := NewShared(Options{Log: log, Snapshots: nothing{}, Transport: nothing{}})
	require.NoError(t, err)
	r, err := NewReplica(shared, GroupOptions{ID: 1, StateMachine: nothing{}, Founders: votersOf(1, 2, 3)}, time.Hour)
	require.NoError(t, err)
	return r
}

func membershipBlock(index raft.Index, term raft.Term, m raft.Membership, chain uint64) raft.Block {
	buf := raft.AppendEntry(make([]byte, raft.BlockHeaderSize), wire.AppendMembership(nil, m))
	return raft.NewBlock(raft.BlockMeta{Group: 1, First: index, Count: 1, Term: term, Kind: raft.KindMembership, Chain: chain}, buf)
}

// takes has the leader's blocks arrive in one turn.
func (r *Replica) takes(t *testing.T, from byte, term, prevTerm raft.Term, commit raft.Index, blocks ...raft.Block) {
	first, next := blocks[0].First(), blocks[len(blocks)-1].Next()
	r.Turn(time.Hour, &Inputs{Messages: []raft.Message{{
		Type: raft.MessageAppendRequest, Group: 1, From: raft.ServerID(from), FromStore: raft.StoreID{from}, To: 1, Term: term,
		PrevIndex: first - 1, PrevTerm: prevTerm, First: first, Next: next, Blocks: blocks, Commit: commit, Round: 1,
	}}})
	require.NoError(t, r.Err())
}

func TestAMembershipThatWasCutOffIsNotToldAsCommitted(t *testing.T) {
	r := follower(t)
	one := membershipBlock(1, 1, raft.Membership{Voters: votersOf(1, 2, 3), Learners: votersOf(4)}, 0)
	two := membershipBlock(2, 1, raft.Membership{Voters: votersOf(1, 2, 3), Learners: votersOf(5)}, one.ChainAfter())
	r.takes(t, 2, 1, 0, 1, one, two)
	require.EqualValues(t, 1, r.CommittedMembership().Index)

	// Another leader has something else at 2, and a membership behind it; all of it comes in one turn.
	other := received(2, 1, 2, one.ChainAfter())
	three := membershipBlock(3, 2, raft.Membership{Voters: votersOf(1, 2, 3), Learners: votersOf(6)}, other.ChainAfter())
	r.takes(t, 3, 2, 1, 2, other, three)
	require.EqualValues(t, 1, r.CommittedMembership().Index)
	r.takes(t, 3, 2, 2, 3, received(4, 1, 2, three.ChainAfter()))
	require.EqualValues(t, 3, r.CommittedMembership().Index)
}

// Who lags receives two memberships in one message, of which the first is committed.
func TestOfTwoMembershipsThatComeTogetherTheCommittedOneIsTold(t *testing.T) {
	r := follower(t)
	one := membershipBlock(1, 1, raft.Membership{Voters: votersOf(1, 2, 4), Outgoing: votersOf(1, 2, 3), WantedVoters: votersOf(1, 2, 4)}, 0)
	two := membershipBlock(2, 1, raft.Membership{Voters: votersOf(1, 2, 4)}, one.ChainAfter())
	r.takes(t, 2, 1, 0, 1, one, two)
	require.EqualValues(t, 1, r.CommittedMembership().Index)
}

func TestAServerThatMovesIsReachedAtBothAddressesUntilThatIsCommitted(t *testing.T) {
	r := follower(t)
	at := func(address string) raft.Membership {
		m := raft.Membership{Voters: votersOf(1, 2, 3)}
		m.Voters[1].Address = address
		return m
	}
	addresses := func() (all []string) {
		for _, m := range r.members() {
			if m.ID == 2 {
				all = append(all, m.Address)
			}
		}
		return all
	}
	one := membershipBlock(1, 1, at("old"), 0)
	r.takes(t, 2, 1, 0, 1, one)
	require.Equal(t, []string{"old"}, addresses())
	r.takes(t, 2, 1, 1, 1, membershipBlock(2, 1, at("new"), one.ChainAfter()))
	require.Equal(t, []string{"new", "old"}, addresses())
	other := received(2, 1, 2, one.ChainAfter())
	r.takes(t, 3, 2, 1, 1, other)
	require.Equal(t, []string{"old"}, addresses(), "a truncation gives it back")
	two := membershipBlock(3, 2, at("new"), other.ChainAfter())
	r.takes(t, 3, 2, 2, 2, two)
	require.Equal(t, []string{"new", "old"}, addresses())
	r.takes(t, 3, 2, 2, 3, received(4, 1, 2, two.ChainAfter()))
	require.Equal(t, []string{"new"}, addresses())
}
