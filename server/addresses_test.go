package server_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/memnet"
)

// refusedBoth asks for a change, and for its plan, and returns the one text with which both are refused as impossible.
func refusedBoth(t *testing.T, leader *member, change raft.MembershipChange) string {
	t.Helper()
	_, err := leader.server.ChangeMembership(t.Context(), group, change)
	require.ErrorIs(t, err, server.ErrChangeImpossible)
	plan, planned := leader.server.PlanMembership(t.Context(), group, change)
	require.NoError(t, planned)
	require.ErrorIs(t, plan.Refused, server.ErrChangeImpossible)
	require.EqualError(t, plan.Refused, err.Error())
	return err.Error()
}

func TestChangeIsRefusedForAnAddressThatNobodyCanUse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		leader := c.leader()
		own := leader.asMember()
		newcomer := func(address string) raft.Member {
			return raft.Member{ID: 9, Store: raft.StoreID{9}, Address: address}
		}
		for _, story := range []struct {
			kind   raft.ChangeKind
			member raft.Member
			says   string
		}{
			{raft.ChangeAddVoter, newcomer(""), `add voter server 9 at "": memnet: "" is no address of this network`},
			{raft.ChangeAddLearner, newcomer(""), `add learner server 9 at "": memnet`},
			{raft.ChangeAddVoter, newcomer("elsewhere"), `add voter server 9 at "elsewhere": memnet`},
			{raft.ChangeAddVoter, newcomer(own.Address), fmt.Sprintf(`add voter server 9 at %q: that is the address of server %d`, own.Address, own.ID)},
			{raft.ChangeAddress, raft.Member{ID: own.ID}, fmt.Sprintf(`change the address of server %d at ""`, own.ID)},
			{raft.ChangeAddress, raft.Member{ID: own.ID%3 + 1, Address: own.Address}, fmt.Sprintf("that is the address of server %d", own.ID)},
			{raft.ChangeReplace, raft.Member{ID: own.ID%3 + 1, Store: raft.StoreID{9}, Address: own.Address}, fmt.Sprintf("that is the address of server %d", own.ID)},
		} {
			for _, forced := range []bool{false, true} {
				text := refusedBoth(t, leader, raft.MembershipChange{Changes: []raft.Change{{Kind: story.kind, Member: story.member}}, Forced: forced})
				require.Contains(t, text, story.says)
				require.Contains(t, text, "name the ", "the way out")
			}
		}
		at, err := leader.server.Members(t.Context(), group)
		require.NoError(t, err)
		require.Zero(t, at.Index)

		// Who does not lead has nothing to say about it, and two servers may change places.
		_, err = c.others(leader)[0].server.ChangeMembership(t.Context(), group, raft.MembershipChange{Changes: []raft.Change{{Kind: raft.ChangeAddress, Member: raft.Member{ID: 1}}}})
		require.ErrorIs(t, err, server.ErrNotLeader)
		changed := c.changed(
			raft.Change{Kind: raft.ChangeAddress, Member: raft.Member{ID: 1, Address: memnet.Address(2)}},
			raft.Change{Kind: raft.ChangeAddress, Member: raft.Member{ID: 2, Address: memnet.Address(1)}},
		)
		require.Equal(t, memnet.Address(2), changed.Voters[0].Address)
	})
}

// unchecked is a transport that takes any address, as every one did once.
type unchecked struct{ transport.Transport }

// TestServersReachMembersWithoutAnAddressByTheirOwnConfiguration: a group of old may have such members. They find each other all the
// same, clients are sent on, and what a change does not touch does not stand in its way.
func TestServersReachMembersWithoutAnAddressByTheirOwnConfiguration(t *testing.T) {
	for _, by := range []string{"founders", "addresses"} {
		t.Run(by, func(t *testing.T) { inBubble(t, func(t *testing.T) { withoutAddresses(t, by) }) })
	}
}

func withoutAddresses(t *testing.T, by string) {
	c := newCluster(t, 3, func(c *cluster) {
		c.options = func(o *server.Options) { o.Transport = unchecked{o.Transport} }
	}).start()
	var none []raft.Change
	for _, m := range c.members {
		none = append(none, raft.Change{Kind: raft.ChangeAddress, Member: raft.Member{ID: m.id}})
	}
	c.changed(none...)
	c.propose("before")
	c.agree()
	for k, m := range c.members {
		m.crash(uint64(k))
	}
	addresses := make(map[raft.ServerID]string)
	for _, m := range c.members {
		addresses[m.id] = memnet.Address(m.id)
	}
	c.options = func(o *server.Options) {
		who, err := o.Log.Identity()
		require.NoError(t, err)
		local := transport.Local{Cluster: who.Cluster, Server: who.Server, Store: who.Store, Run: raft.RunID(who.Server) << 40}
		local.Address = memnet.Address(who.Server) // it is found there alone
		o.Transport = c.net.Transport(local)
		if by == "addresses" {
			o.Group.Founders, o.Addresses = nil, addresses
		}
	}
	c.start()
	c.propose("after")
	c.agree()
	leader := c.leader()
	var hint *server.NotLeaderError
	require.Eventually(t, func() bool {
		_, err := c.others(leader)[0].server.Propose(t.Context(), group, nil)
		return errors.As(err, &hint)
	}, time.Minute, time.Millisecond)
	require.Equal(t, server.NotLeaderError{Leader: leader.id, Address: memnet.Address(leader.id)}, *hint)

	four := c.format(4, raft.StoreID{4})
	four.joins = true
	book := c.options
	c.options = func(o *server.Options) {
		book(o)
		o.Transport = &addressBook{o.Transport, []raft.Member{leader.asMember()}}
		o.Group.Founders = nil
	}
	four.start()
	require.Equal(t, []raft.ServerID{1, 2, 3, 4}, ids(c.changed(voter(four)).Voters))
	mended := c.changed(raft.Change{Kind: raft.ChangeAddress, Member: c.members[0].asMember()})
	require.Equal(t, memnet.Address(1), mended.Voters[0].Address)
}
