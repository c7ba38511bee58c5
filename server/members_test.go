package server_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/memnet"
)

func (m *member) asMember() raft.Member {
	identity, err := m.log.Identity()
	require.NoError(m.c.t, err)
	return raft.Member{ID: m.id, Store: identity.Store, Address: memnet.Address(m.id)}
}

func voter(m *member) raft.Change {
	return raft.Change{Kind: raft.ChangeAddVoter, Member: m.asMember()}
}

func remove(m *member) raft.Change {
	return raft.Change{Kind: raft.ChangeRemove, Member: raft.Member{ID: m.id}}
}

// change asks whoever leads until it has an answer that is final, as a client does.
func (c *cluster) change(changes ...raft.Change) (raft.MembershipAt, error) {
	c.t.Helper()
	for range 100 {
		at, err := c.leader().server.ChangeMembership(c.t.Context(), group, raft.MembershipChange{Changes: changes})
		if err == nil || !errors.Is(err, server.ErrUnknown) && !errors.Is(err, server.ErrNotLeader) &&
			!errors.Is(err, server.ErrNoLeader) && !errors.Is(err, server.ErrBusy) {
			return at, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Fatal("no answer about the membership")
	return raft.MembershipAt{}, nil
}

func (c *cluster) changed(changes ...raft.Change) raft.Membership {
	c.t.Helper()
	at, err := c.change(changes...)
	require.NoError(c.t, err)
	require.False(c.t, at.Membership.Changing())
	return at.Membership
}

func ids(list []raft.Member) (all []raft.ServerID) {
	for _, m := range list {
		all = append(all, m.ID)
	}
	return all
}

func TestGroupGrowsFromOneToThreeAndShrinksToAnother(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		c.propose("alone")
		two, three := c.join(2, raft.StoreID{2}), c.join(3, raft.StoreID{3})
		require.Equal(t, []raft.ServerID{1, 2, 3}, ids(c.changed(voter(two), voter(three)).Voters))
		c.propose("three")
		c.agree()
		require.Equal(t, []string{"alone", "three"}, machineOf(three.machine).commands())
		at, err := c.leader().server.Members(t.Context(), group)
		require.NoError(t, err)
		require.Equal(t, []raft.ServerID{1, 2, 3}, ids(at.Membership.Voters))
		require.Equal(t, raft.StoreID{3}, at.Membership.Voters[2].Store)

		one := c.members[0]
		sub := one.server.Events(1000)
		require.Equal(t, []raft.ServerID{3}, ids(c.changed(remove(one), remove(two)).Voters))
		require.Same(t, three, c.leader())
		c.propose("only the third")
		require.Equal(t, []string{"alone", "three", "only the third"}, machineOf(three.machine).commands())
		require.Eventually(t, func() bool { st, _ := one.server.GroupStatus(group); return st.Removed }, time.Minute, time.Millisecond)
		st, _ := one.server.GroupStatus(group)
		require.Contains(t, st.Refusal, "server 1 was removed from the group")
		require.Contains(t, kinds(sub), server.EventRemoved)
		require.NoError(t, one.server.Err())

		// A client that knows no other server is sent on.
		_, err = one.server.Propose(t.Context(), group, []byte("sent on"))
		var hint *server.NotLeaderError
		require.ErrorAs(t, err, &hint)
		require.Equal(t, raft.ServerID(3), hint.Leader)
		require.Equal(t, memnet.Address(3), hint.Address)
	})
}

// kinds empties a subscription.
func kinds(sub *server.Subscription) (all []server.EventKind) {
	for {
		select {
		case e := <-sub.Events():
			all = append(all, e.Kind)
		default:
			return all
		}
	}
}

// What a joiner is fed begins with memberships in which it is not: it was never one of them.
func TestServerThatJoinsDoesNotSayThatItWasRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		for n := range 50 {
			c.propose(fmt.Sprint(n))
		}
		two, three := c.join(2, raft.StoreID{2}), c.join(3, raft.StoreID{3})
		second, third := two.server.Events(10_000), three.server.Events(10_000)
		c.changed(voter(two))
		c.changed(voter(three))
		c.agree()
		for _, m := range []*member{two, three} {
			require.False(t, m.status().Removed)
			require.Empty(t, m.status().Refusal)
		}
		require.NotContains(t, kinds(second), server.EventRemoved)
		require.NotContains(t, kinds(third), server.EventRemoved)
		c.changed(remove(two))
		require.Eventually(t, func() bool { return two.status().Removed }, time.Minute, time.Millisecond)
		require.Contains(t, kinds(second), server.EventRemoved)
	})
}

// A server that was removed says what is to be done with it, and goes on running: added again, as it is, it counts again.
func TestServerThatWasRemovedSaysWhatToDoAndIsAddedAgainWithoutARestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		gone := c.others(c.leader())[0]
		sub := gone.server.Events(1000)
		c.changed(remove(gone))
		require.Eventually(t, func() bool { return gone.status().Removed }, time.Minute, time.Millisecond)
		var told error
		for told == nil {
			if e := <-sub.Events(); e.Kind == server.EventRemoved {
				told = e.Err
			}
		}
		require.ErrorContains(t, told, fmt.Sprintf("server %d was removed from the group; stop it, and keep its directory", gone.id))
		require.Equal(t, gone.status().Refusal, told.Error())
		c.propose("without it")
		require.Equal(t, raft.RoleFollower, gone.status().Role)
		c.changed(voter(gone))
		c.agree()
		require.Equal(t, []string{"without it"}, machineOf(gone.machine).commands())
		require.False(t, gone.status().Removed)
		require.Empty(t, gone.status().Refusal)
		for _, m := range c.others(gone) {
			if m != c.leader() {
				m.crash(1)
				break
			}
		}
		c.propose("it counts")
	})
}

// A server that was down when it was removed has a log in which it is a member. It is told, and sends clients to the others all the same.
func TestServerThatWasRemovedWhileItWasDownSendsClientsToTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3, func(c *cluster) {
			c.options = func(o *server.Options) { o.Group.JoinTimeout = 5 * time.Second }
		}).start()
		gone := c.others(c.leader())[0]
		gone.crash(1)
		c.changed(remove(gone))
		require.Eventually(t, func() bool { // it is fed no more, and so does not hear of it by its log
			return !slices.ContainsFunc(c.leader().status().Progress, func(p raft.ProgressStatus) bool { return p.ID == gone.id })
		}, time.Minute, time.Millisecond)
		gone.start()
		require.Eventually(t, func() bool { return gone.status().Removed }, time.Minute, time.Millisecond)
		require.Len(t, gone.status().Membership.Voters, 3)
		named := make(map[raft.ServerID]bool)
		for range 4 {
			_, err := gone.server.Propose(t.Context(), group, []byte("sent on"))
			var hint *server.NotLeaderError
			require.ErrorAs(t, err, &hint)
			require.Equal(t, memnet.Address(hint.Leader), hint.Address)
			named[hint.Leader] = true
		}
		require.Len(t, named, 2)
		require.NotContains(t, named, gone.id)
	})
}

func TestServersOpenAgainWithTheMembershipOfTheirLogsAndSnapshots(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		t.Run(fmt.Sprint("snapshot ", snapshot), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := newCluster(t, 1).start()
				two, three := c.join(2, raft.StoreID{2}), c.join(3, raft.StoreID{3})
				want := c.changed(voter(two), voter(three))
				c.propose("a")
				c.agree()
				for k, m := range c.members {
					if snapshot {
						require.NoError(t, m.server.TakeSnapshot(t.Context(), group))
					}
					m.crash(uint64(k))
				}
				for _, m := range c.members {
					m.start()
					st, _ := m.server.GroupStatus(group)
					require.Equal(t, want, st.Membership)
				}
				c.propose("b")
				c.agree()
				at, err := c.leader().server.Members(t.Context(), group)
				require.NoError(t, err)
				require.Equal(t, want, at.Membership)
				require.NotZero(t, at.Index)
				require.Equal(t, []string{"a", "b"}, machineOf(three.machine).commands())
			})
		})
	}
}

func TestJoinerInstallsTheLeadersSnapshotWhereTheLogIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, func(c *cluster) {
			c.options = func(o *server.Options) { o.Group.SnapshotLogBytes, o.Group.SnapshotKeepBytes = 512, 1 }
		}).start()
		for k := range 200 {
			c.propose(fmt.Sprint("command ", k))
		}
		require.Eventually(t, func() bool { st, _ := c.members[0].server.GroupStatus(group); return st.First > 1 }, time.Minute, time.Millisecond)
		two := c.join(2, raft.StoreID{2})
		c.changed(voter(two))
		c.propose("both")
		c.agree()
		require.Len(t, machineOf(two.machine).commands(), 201)
	})
}

func TestChangesAreRefusedWithAReasonAndAWayOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3, func(c *cluster) {
			c.options = func(o *server.Options) { o.Group.JoinTimeout = 5 * time.Second }
		}).start()
		leader := c.leader()
		ask := func(m raft.MembershipChange) error {
			_, err := leader.server.ChangeMembership(t.Context(), group, m)
			return err
		}
		one := func(kind raft.ChangeKind, m raft.Member) raft.MembershipChange {
			return raft.MembershipChange{Changes: []raft.Change{{Kind: kind, Member: m}}}
		}
		err := ask(one(raft.ChangePromote, raft.Member{ID: 9}))
		require.ErrorIs(t, err, server.ErrChangeImpossible)
		require.EqualError(t, err, "oarlock: impossible membership change: promote server 9: it is no member")
		moved := one(raft.ChangeDemote, raft.Member{ID: 3})
		moved.From = 1 << 40
		require.ErrorIs(t, ask(moved), server.ErrChangeMoved)
		_, err = c.others(leader)[0].server.ChangeMembership(t.Context(), group, one(raft.ChangeDemote, raft.Member{ID: 3}))
		require.ErrorIs(t, err, server.ErrNotLeader)
		_, err = leader.server.ChangeMembership(t.Context(), 9, one(raft.ChangeDemote, raft.Member{ID: 3}))
		require.ErrorIs(t, err, server.ErrNoGroup)

		never := one(raft.ChangeAddVoter, raft.Member{ID: 7, Store: raft.StoreID{7}, Address: memnet.Address(7)})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := ask(never); !errors.Is(err, server.ErrChangeGivenUp) {
				t.Errorf("a newcomer that never came: %v", err)
			}
		})
		synctest.Wait()
		open, err := leader.server.Members(t.Context(), group)
		require.NoError(t, err)
		require.True(t, open.Membership.Changing())
		err = ask(one(raft.ChangeDemote, raft.Member{ID: 3}))
		require.ErrorIs(t, err, server.ErrChangeOpen)
		require.ErrorContains(t, err, "cancel it")
		wg.Wait()
		at, err := leader.server.Members(t.Context(), group)
		require.NoError(t, err)
		require.False(t, at.Membership.Changing())
		require.Len(t, at.Membership.Voters, 3)
		c.propose("as before")
	})
}

// A leader that has had no time to hear of the others cannot say that a change is safe. That is no queue that is full, and it says so.
func TestChangeThatComesTooEarlyIsBusyAndSaysWhatItWaitsFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		old := c.leader()
		down, next := c.others(old)[0], c.others(old)[1]
		down.crash(1)
		require.Eventually(t, func() bool { // a leader that is new itself has not heard of it yet
			return old.server.TransferLeadership(t.Context(), group, next.id) == nil
		}, time.Minute, time.Millisecond)
		require.Eventually(t, func() bool { return c.leader() == next }, time.Minute, time.Millisecond)
		ask := raft.MembershipChange{Changes: []raft.Change{remove(old)}}
		_, err := next.server.ChangeMembership(t.Context(), group, ask)
		require.ErrorIs(t, err, server.ErrBusy)
		require.ErrorIs(t, err, raft.ErrChangeEarly)
		require.ErrorContains(t, err, fmt.Sprintf("server %d is not heard of yet", down.id))
		require.ErrorContains(t, err, "this passes by itself")
		plan, err := next.server.PlanMembership(t.Context(), group, ask)
		require.NoError(t, err)
		require.ErrorIs(t, plan.Refused, server.ErrBusy)
		require.ErrorContains(t, plan.Refused, "this passes by itself")
		require.Eventually(t, func() bool {
			_, err = next.server.ChangeMembership(t.Context(), group, ask)
			return !errors.Is(err, server.ErrBusy)
		}, time.Minute, time.Millisecond)
		require.EqualError(t, err, fmt.Sprintf("%v: 2 of the 2 new voters have to follow: server %d is not heard of (start it); "+
			"force the change only if those are gone for good", server.ErrChangeUnsafe, down.id))
	})
}

func TestPlanSaysWhatWouldHappenAndDoesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		leader := c.leader()
		before, err := leader.server.Members(t.Context(), group)
		require.NoError(t, err)
		gone := c.others(leader)[0]
		gone.crash(1)
		time.Sleep(5 * time.Second)
		leader = c.leader()
		plan, err := leader.server.PlanMembership(t.Context(), group, raft.MembershipChange{Changes: []raft.Change{remove(gone)}})
		require.NoError(t, err)
		require.NoError(t, plan.Refused)
		require.Equal(t, 0, plan.Before, "one of three is gone")
		require.Equal(t, 0, plan.After, "two of two are there")
		require.Len(t, plan.Stages, 3)
		require.Len(t, plan.Members, 3)
		for _, m := range plan.Members {
			require.Equal(t, m.Member.ID != gone.id, m.Heard)
			require.Equal(t, m.Member.ID != gone.id, m.WillVote)
			require.True(t, m.Votes)
		}
		other := c.others(leader)[0]
		if other == gone {
			other = c.others(leader)[1]
		}
		plan, err = leader.server.PlanMembership(t.Context(), group, raft.MembershipChange{Changes: []raft.Change{remove(other)}})
		require.NoError(t, err)
		require.ErrorIs(t, plan.Refused, server.ErrChangeUnsafe)
		require.Equal(t, -1, plan.After)
		after, err := leader.server.Members(t.Context(), group)
		require.NoError(t, err)
		require.Equal(t, before, after)
	})
}

func TestLeaderThatGoesDuringAChangeLeavesItToTheNext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		old := c.leader()
		four := c.format(4, raft.StoreID{4})
		four.joins = true
		change := raft.MembershipChange{Changes: []raft.Change{voter(four)}}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := old.server.ChangeMembership(context.Background(), group, change)
			if !errors.Is(err, server.ErrUnknown) {
				t.Errorf("the old leader: %v", err)
			}
		})
		synctest.Wait()
		time.Sleep(time.Second)
		require.NoError(t, old.server.TransferLeadership(t.Context(), group, 0))
		wg.Wait()
		four.start()
		require.Equal(t, []raft.ServerID{1, 2, 3, 4}, ids(c.changed(voter(four)).Voters))
		c.propose("four")
		c.agree()
	})
}

// slowFetch is a transport by which a snapshot comes in many small parts, each after a while.
type slowFetch struct {
	transport.Transport
	parts int64
	each  time.Duration
}

func (s slowFetch) FetchChunk(ctx context.Context, from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
	time.Sleep(s.each)
	r.BytesMax = min(r.BytesMax, int(r.Snapshot.Size/s.parts)+1)
	return s.Transport.FetchChunk(ctx, from, r)
}

// TestNewcomerIsNotGivenUpWhileItFetchesASnapshot: its log stands still for longer than any patience with one that gets no further.
func TestNewcomerIsNotGivenUpWhileItFetchesASnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const patience = 10 * time.Second // ten JoinTimeouts
		c := newCluster(t, 1, snapshots(10_000, 1)).start()
		for k := range 50 {
			c.propose(fmt.Sprintf("%d %01000d", k, 0))
		}
		time.Sleep(time.Second)
		require.NotEmpty(t, c.members[0].list())
		plain := c.options
		c.options = func(o *server.Options) {
			plain(o)
			o.Group.JoinTimeout = patience / 10
			o.Transport = slowFetch{o.Transport, 20, patience / 5}
		}
		c.members[0].stop()
		c.members[0].start()
		newcomer := c.join(2, raft.StoreID{2})
		began := time.Now()
		require.Len(t, c.changed(voter(newcomer)).Voters, 2)
		require.Greater(t, time.Since(began), 2*patience)
		c.agree()
	})
}
