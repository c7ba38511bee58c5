package servertest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/server/servertest"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/kv"
	"github.com/oarlock/oarlock/transport/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func machines(raft.ServerID) statemachine.StateMachine { return kv.New() }

// story runs a cluster in the bubble of synctest.
func story(t *testing.T, o servertest.Options, tell func(t *testing.T, ctx context.Context, c *servertest.Cluster)) {
	synctest.Test(t, func(t *testing.T) {
		if o.Machine == nil {
			o.Machine = machines
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		tell(t, ctx, servertest.Start(t, o))
	})
}

func put(ctx context.Context, t *testing.T, c *servertest.Cluster, key, value string) {
	t.Helper()
	_, err := c.Propose(ctx, kv.Put([]byte(key), []byte(value)))
	require.NoError(t, err)
}

func get(ctx context.Context, t *testing.T, c *servertest.Cluster, key string) string {
	t.Helper()
	result, err := c.Query(ctx, kv.Get([]byte(key)))
	require.NoError(t, err)
	value, _, err := kv.DecodeGet(result)
	require.NoError(t, err)
	return string(value)
}

func TestWhatWasAcknowledgedOutlivesTheLeadersCrash(t *testing.T) {
	story(t, servertest.Options{}, func(t *testing.T, ctx context.Context, c *servertest.Cluster) {
		for round := range 4 {
			value := fmt.Sprint(round)
			put(ctx, t, c, "a", value)
			leader, err := c.Leader(ctx)
			require.NoError(t, err)
			require.NoError(t, c.Crash(leader))
			require.Nil(t, c.Server(leader))
			require.ErrorIs(t, c.Crash(leader), servertest.ErrDown)
			require.Equal(t, value, get(ctx, t, c, "a"))
			require.NoError(t, c.Start(leader))
			require.ErrorIs(t, c.Start(leader), servertest.ErrRunning)
		}
		require.NoError(t, c.Settle(ctx))
		hash := c.Machine(1).(*kv.Machine).StateHash()
		for _, id := range c.IDs() {
			require.Equal(t, hash, c.Machine(id).(*kv.Machine).StateHash())
		}
	})
}

// TestEveryServerCrashesAtAnyMomentAndNothingAcknowledgedIsLost keeps proposing while servers crash and start.
func TestEveryServerCrashesAtAnyMomentAndNothingAcknowledgedIsLost(t *testing.T) {
	story(t, servertest.Options{Configure: func(_ raft.ServerID, o *server.Options) {
		o.Group.SnapshotLogBytes, o.Group.SnapshotKeepBytes = 2000, 1
	}}, func(t *testing.T, ctx context.Context, c *servertest.Cluster) {
		// Time in a bubble goes on only while everybody waits.
		require.NoError(t, c.Network().SetFaults(memnet.Faults{DelayMin: time.Millisecond, DelayMax: 5 * time.Millisecond}))
		r := rand.New(rand.NewPCG(1, 1))
		acked := make(chan int, 1)
		stop := make(chan struct{})
		go func() {
			n := 0
			defer func() { acked <- n }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.Propose(ctx, kv.Put(fmt.Append(nil, n), []byte("x"))); err != nil {
					t.Errorf("command %d: %v", n, err)
					return
				}
				n++
			}
		}()
		for range 30 {
			time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
			all := c.IDs()
			if r.IntN(4) > 0 {
				all = []raft.ServerID{all[r.IntN(len(all))]}
			}
			for _, id := range all {
				require.NoError(t, c.Crash(id))
			}
			for _, id := range all {
				require.NoError(t, c.Start(id))
			}
		}
		close(stop)
		n := <-acked
		require.Greater(t, n, 100)
		require.NoError(t, c.Settle(ctx))
		for _, id := range c.IDs() {
			require.GreaterOrEqual(t, c.Machine(id).(*kv.Machine).Len(), n)
		}
	})
}

func TestALoneServerKeepsWhatItHasAcknowledged(t *testing.T) {
	story(t, servertest.Options{Servers: 1}, func(t *testing.T, ctx context.Context, c *servertest.Cluster) {
		for k := range 20 {
			key := fmt.Sprint(k)
			put(ctx, t, c, key, key)
			require.NoError(t, c.Crash(1))
			require.NoError(t, c.Start(1))
			require.Equal(t, key, get(ctx, t, c, key))
		}
		require.NoError(t, c.Stop(1))
		require.ErrorIs(t, c.Stop(1), servertest.ErrDown)
		require.NoError(t, c.Start(1))
		require.Equal(t, "19", get(ctx, t, c, "19"))
	})
}

func TestALeaderThatIsCutOffLeadsNobody(t *testing.T) {
	story(t, servertest.Options{Servers: 5}, func(t *testing.T, ctx context.Context, c *servertest.Cluster) {
		old, err := c.Leader(ctx)
		require.NoError(t, err)
		c.Isolate(old)
		next, err := c.Leader(ctx)
		require.NoError(t, err)
		require.NotEqual(t, old, next)
		put(ctx, t, c, "a", "b")
		c.Heal()
		require.NoError(t, c.Settle(ctx))

		c.Partition([]raft.ServerID{1, 2}, []raft.ServerID{3, 4, 5})
		leader, err := c.Leader(ctx)
		require.NoError(t, err)
		require.GreaterOrEqual(t, leader, raft.ServerID(3))
	})
}

func TestWithoutAMajorityThereIsNoLeaderUntilTheContextEnds(t *testing.T) {
	story(t, servertest.Options{}, func(t *testing.T, ctx context.Context, c *servertest.Cluster) {
		_, err := c.Leader(ctx)
		require.NoError(t, err)
		c.Isolate(1)
		c.Isolate(2)
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		for _, wait := range []func() error{
			func() error { _, err := c.Leader(short); return err },
			func() error { return c.Settle(short) },
		} {
			err := wait()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, "no server leads a majority")
		}
	})
}

// broken panics on its first command.
type broken struct{ *kv.Machine }

func (broken) Apply(statemachine.Entry) []byte { panic("broken") }
func (b broken) ApplyBatch(_ []statemachine.Entry, _ [][]byte) {
	panic("broken")
}

func TestSettleSaysWhichServerHasStopped(t *testing.T) {
	o := servertest.Options{FailuresExpected: true, Machine: func(id raft.ServerID) statemachine.StateMachine {
		if id == 2 {
			return broken{kv.New()}
		}
		return kv.New()
	}}
	story(t, o, func(t *testing.T, ctx context.Context, c *servertest.Cluster) {
		put(ctx, t, c, "a", "b")
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		err := c.Settle(short)
		require.ErrorContains(t, err, "server 2 has stopped")
	})
}

func TestClientsOfOnesOwnAreClosedWithTheCluster(t *testing.T) {
	story(t, servertest.Options{}, func(t *testing.T, ctx context.Context, c *servertest.Cluster) {
		mine, err := c.NewClient(client.Options{Sessionless: true})
		require.NoError(t, err)
		_, err = mine.Propose(ctx, kv.Put([]byte("a"), nil))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		_, err = mine.Propose(ctx, kv.Put([]byte("a"), nil))
		require.ErrorIs(t, err, client.ErrClosed)
		require.ErrorIs(t, c.Start(1), server.ErrClosed)
		after, err := c.NewClient(client.Options{})
		require.NoError(t, err)
		_, err = after.Query(ctx, nil)
		require.ErrorIs(t, err, client.ErrClosed)
	})
}

func TestOptionsThatCannotBeAreNamed(t *testing.T) {
	for _, o := range []servertest.Options{{}, {Machine: machines, Servers: -1}, {Machine: machines, Servers: 65}} {
		_, err := servertest.Open(o)
		require.ErrorContains(t, err, "servertest: Options.")
	}
	o := servertest.Options{Machine: machines, Configure: func(_ raft.ServerID, o *server.Options) { o.BlockBytesMax = 1 }}
	_, err := servertest.Open(o)
	require.ErrorContains(t, err, "server 1 does not start")
	c := servertest.Start(t, servertest.Options{Machine: machines})
	for _, do := range []func(raft.ServerID) error{c.Start, c.Stop, c.Crash} {
		require.ErrorIs(t, do(4), servertest.ErrNoServer)
	}
	require.Nil(t, c.Server(0))
	require.Nil(t, c.Machine(4))
}

// held is a value, of which every server has one of its own.
type held struct{ statemachine.StateMachine }

// nothing takes no room, so that two of them may have one address.
type nothing struct{}

func (*nothing) Apply(statemachine.Entry) []byte          { return nil }
func (*nothing) Query([]byte) ([]byte, error)             { return nil, nil }
func (*nothing) Snapshot() (statemachine.Snapshot, error) { return nil, errors.New("not this one") }
func (*nothing) Restore(io.Reader) error                  { return nil }

func TestAFactoryThatGivesOneMachineToSeveralServersIsRefused(t *testing.T) {
	shared := kv.New()
	o := servertest.Options{Machine: func(raft.ServerID) statemachine.StateMachine { return shared }}
	_, err := servertest.Open(o)
	require.ErrorContains(t, err, "the factory gave the machine of server 1 to server 2 too: make a new one each time")

	c, err := servertest.New(o)
	require.NoError(t, err)
	require.NoError(t, c.Start(2))
	require.ErrorContains(t, c.Start(3), "the factory gave the machine of server 2 to server 3 too")
	require.NoError(t, c.Stop(2))
	require.NoError(t, c.Start(3), "the other server does not run any more")
	require.NoError(t, c.Close())

	for _, machine := range []statemachine.StateMachine{new(nothing), held{kv.New()}} {
		c, err := servertest.Open(servertest.Options{Machine: func(raft.ServerID) statemachine.StateMachine { return machine }})
		require.NoError(t, err, "%T: nobody can tell", machine)
		require.NoError(t, c.Close())
	}
}

func TestInANewClusterNothingRunsUntilItIsStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := servertest.New(servertest.Options{Machine: machines})
		require.NoError(t, err)
		for _, id := range c.IDs() {
			require.Nil(t, c.Server(id))
			require.ErrorIs(t, c.Stop(id), servertest.ErrDown)
			require.NoError(t, c.Start(id))
		}
		put(t.Context(), t, c, "a", "1")
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.Start(1), server.ErrClosed)
	})
}

func TestServersAreAddedReplacedAndRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servertest.Start(t, servertest.Options{Machine: machines, Servers: 1})
		put(t.Context(), t, c, "a", "1")
		change := func(kind raft.ChangeKind, m raft.Member) {
			t.Helper()
			_, err := c.Client().ChangeMembership(t.Context(), raft.MembershipChange{Changes: []raft.Change{{Kind: kind, Member: m}}})
			require.NoError(t, err)
		}
		for id := raft.ServerID(2); id <= 3; id++ {
			added, err := c.Add()
			require.NoError(t, err)
			require.Equal(t, id, added.ID)
			require.Nil(t, c.Server(id), "it does not run yet")
			require.NoError(t, c.Start(id))
			change(raft.ChangeAddVoter, added)
		}
		require.Equal(t, []raft.ServerID{1, 2, 3}, c.IDs())

		_, err := c.Replace(2)
		require.ErrorIs(t, err, servertest.ErrRunning)
		_, err = c.Replace(4)
		require.ErrorIs(t, err, servertest.ErrNoServer)
		require.NoError(t, c.Crash(2))
		put(t.Context(), t, c, "b", "2")
		again, err := c.Replace(2)
		require.NoError(t, err)
		require.NoError(t, c.Start(2))
		time.Sleep(time.Second) // until the others do not hear the old one any more
		change(raft.ChangeReplace, again)
		require.NoError(t, c.Settle(t.Context()))
		result, err := c.Server(2).QueryLocal(t.Context(), raft.DefaultGroup, kv.Get([]byte("b")))
		require.NoError(t, err)
		require.Contains(t, string(result), "2")

		leader, err := c.Leader(t.Context())
		require.NoError(t, err)
		change(raft.ChangeRemove, raft.Member{ID: leader%3 + 1})
		put(t.Context(), t, c, "c", "3")
		require.NoError(t, c.Settle(t.Context()), "who was removed is not waited for")
		members, err := c.Client().Members(t.Context())
		require.NoError(t, err)
		require.Len(t, members.Membership.Voters, 2)
	})
}
