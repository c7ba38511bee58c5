package server_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/memnet"
	"github.com/oarlock/oarlock/transport/tcp"
)

// overTCP has a cluster's servers talk as they do on a real network, handshakes and all, over connections in memory.
func overTCP(c *cluster) {
	c.options = func(o *server.Options) {
		who, err := o.Log.Identity()
		require.NoError(c.t, err)
		listener, err := c.net.Listen(who.Server)
		require.NoError(c.t, err)
		through, err := tcp.New(tcp.Options{
			Local: transport.Local{
				Cluster: who.Cluster, Server: who.Server, Store: who.Store, Run: raft.RunID(o.Seed), Address: memnet.Address(who.Server),
			},
			Listener: listener, Dial: c.net.DialAddress,
		})
		require.NoError(c.t, err)
		if book, joins := o.Transport.(*addressBook); joins {
			o.Transport = &addressBook{through, book.known}
		} else {
			o.Transport = through
		}
		o.Group.JoinTimeout = 5 * time.Second
	}
}

// Whoever asked for the change has made one of four mistakes, and is told which.
func TestChangeThatIsGivenUpSaysWhyTheNewcomerIsNotHeardOf(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3, overTCP).start()
		c.propose("a")
		leader := c.leader()
		fresh := c.others(leader)[0]
		join := c.format(4, raft.StoreID{4})
		join.joins = true
		join.start()
		givenUp := func(change raft.Change) string {
			t.Helper()
			_, err := c.change(change)
			require.ErrorIs(t, err, server.ErrChangeGivenUp)
			require.ErrorContains(t, err, "it is not heard of")
			return err.Error()
		}
		add := func(id raft.ServerID, store raft.StoreID, at raft.ServerID) string {
			t.Helper()
			return givenUp(raft.Change{Kind: raft.ChangeAddVoter, Member: raft.Member{ID: id, Store: store, Address: memnet.Address(at)}})
		}
		require.Contains(t, add(4, raft.StoreID{9}, 4), fmt.Sprintf("this is server 4 with store %s, and store %s is wanted", raft.StoreID{4}, raft.StoreID{9}))
		require.Contains(t, add(9, raft.StoreID{4}, 4), "this is server 4 and not server 9")
		require.Contains(t, add(7, raft.StoreID{7}, 7), "connection refused: server 7 does not listen")

		// A founder that was formatted as one, and not as one that joins.
		fresh.crash(1)
		fresh.log = memlog.New(persistentlog.Identity{Cluster: clusterID, Server: fresh.id, Store: raft.StoreID{33}})
		fresh.dir = t.TempDir()
		time.Sleep(2 * time.Second) // the lost store is not heard of
		fresh.start()
		text := givenUp(raft.Change{Kind: raft.ChangeReplace, Member: fresh.asMember()})
		require.Contains(t, text, "it answers that it knows no history of the group, and takes none")
		require.Contains(t, text, "format it as one that joins")
		fresh.stop()

		require.Equal(t, []raft.ServerID{1, 2, 3, 4}, ids(c.changed(voter(join)).Voters))
	})
}

// A plan says whether the server that is to come is there, as the store that it is named with.
func TestPlanSaysWhetherANewcomerIsThere(t *testing.T) {
	for name, over := range map[string]func(*cluster){"memnet": func(*cluster) {}, "tcp": overTCP} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := newCluster(t, 3, over).start()
				leader, join := c.leader(), c.join(4, raft.StoreID{4})
				time.Sleep(time.Second) // it connects
				heard := func(m raft.Member) bool {
					plan, err := leader.server.PlanMembership(t.Context(), group, raft.MembershipChange{Changes: []raft.Change{{Kind: raft.ChangeAddVoter, Member: m}}})
					require.NoError(t, err)
					require.NoError(t, plan.Refused)
					k := slices.IndexFunc(plan.Members, func(p raft.PlanMember) bool { return p.Member == m })
					require.GreaterOrEqual(t, k, 0)
					return plan.Members[k].Heard
				}
				named := join.asMember()
				require.True(t, heard(named))
				other := named
				other.Store = raft.StoreID{9}
				require.False(t, heard(other), "another store")
				other = named
				other.ID = 9
				require.False(t, heard(other), "another server")
				join.stop()
				time.Sleep(time.Second)
				require.False(t, heard(named), "it is down")
			})
		})
	}
}
