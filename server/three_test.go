package server_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/transport/memnet"
)

func TestThreeServersExecuteTheSame(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		for k := range 20 {
			require.Equal(t, fmt.Sprint(k+1), c.propose(fmt.Sprint("command ", k)))
		}
		c.agree()
		require.Len(t, machineOf(c.members[2].machine).commands(), 20)
	})
}

func TestFollowerRefusesAndNamesTheLeader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		leader := c.leader()
		for _, m := range c.others(leader) {
			_, err := m.server.Propose(t.Context(), group, []byte("x"))
			require.ErrorIs(t, err, server.ErrNotLeader)
			var hint *server.NotLeaderError
			require.ErrorAs(t, err, &hint)
			require.Equal(t, leader.id, hint.Leader)
			require.Equal(t, memnet.Address(leader.id), hint.Address)
		}
		require.Empty(t, machineOf(leader.machine).commands())
	})
}

func TestWhatWasAnsweredSurvivesTheLeadersCrash(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		var want []string
		for k := range 6 {
			command := fmt.Sprint("before crash ", k)
			c.propose(command)
			want = append(want, command)
			leader := c.leader()
			leader.crash(uint64(k))
			require.NotSame(t, leader, c.leader())
			leader.start()
		}
		c.agree()
		require.Equal(t, want, machineOf(c.leader().machine).commands())
	})
}

func TestLeaderCutOffAnswersUnknownAndServesNoRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("a")
		old := c.leader()
		var rest []raft.ServerID
		for _, m := range c.others(old) {
			rest = append(rest, m.id)
		}
		c.net.Partition([]raft.ServerID{old.id}, rest)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := old.server.Propose(context.Background(), group, []byte("lost"))
			if !errors.Is(err, server.ErrUnknown) {
				t.Errorf("proposal at a leader without a quorum: %v", err)
			}
		})
		wg.Go(func() {
			_, err := old.server.Query(context.Background(), group, nil)
			if !errors.Is(err, server.ErrNotLeader) && !errors.Is(err, server.ErrNoLeader) {
				t.Errorf("read at a leader without a quorum: %v", err)
			}
		})
		wg.Wait()
		require.NotSame(t, old, c.leader())
		c.propose("b")
		c.net.Heal()
		c.agree()
		require.Equal(t, []string{"a", "b"}, machineOf(old.machine).commands())
	})
}

func TestMinorityTakesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		leader := c.leader()
		for _, m := range c.others(leader) {
			m.stop()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := leader.server.Propose(ctx, group, []byte("alone"))
		require.ErrorIs(t, err, server.ErrUnknown)
		_, err = leader.server.Propose(ctx, group, []byte("alone"))
		require.ErrorIs(t, err, server.ErrNoLeader)
		for _, m := range c.others(leader) {
			m.start()
		}
		c.propose("together")
		c.agree()
	})
}

func TestFollowerThatWasAwayCatchesUpFromTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3, func(c *cluster) {
			c.options = func(o *server.Options) { o.TailBytesMax = 10_000 } // so that most of it is read from the log
		}).start()
		away := c.others(c.leader())[0]
		away.stop()
		for k := range 50 {
			c.propose(fmt.Sprintf("%d %01000d", k, 0))
		}
		require.Less(t, c.leader().server.Status().TailBytes, int64(20_000))
		away.start()
		c.agree()
		require.Len(t, machineOf(away.machine).commands(), 50)
	})
}

func TestProposalsSurviveABadNetworkOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.leader()
		require.NoError(t, c.net.SetFaults(memnet.Faults{Loss: 0.05, Duplicate: 0.1, DelayMax: 5 * time.Millisecond, Reorder: 0.1}))
		answered := make(map[string]bool)
		for k := range 100 {
			command := fmt.Sprint(k)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			_, err := c.leader().server.Propose(ctx, group, []byte(command))
			cancel()
			if err == nil {
				answered[command] = true
			}
		}
		require.NoError(t, c.net.SetFaults(memnet.Faults{}))
		c.agree()
		seen := make(map[string]int)
		for _, command := range machineOf(c.leader().machine).commands() {
			seen[command]++
		}
		for command := range answered {
			require.Equal(t, 1, seen[command], command)
		}
		require.Greater(t, len(answered), 50)
	})
}

func TestWholeClusterComesBackAfterAPowerCut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		for k := range 10 {
			c.propose(fmt.Sprint(k))
		}
		before := c.agree()
		for k, m := range c.members {
			m.crash(uint64(k))
		}
		for _, m := range c.members {
			m.start()
		}
		c.leader()
		require.Equal(t, before, c.agree())
	})
}

func TestUnbornGroupNamesWhoIsMissing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.members[0].start()
		c.members[1].start()
		time.Sleep(5 * time.Second)
		_, err := c.members[0].server.Propose(t.Context(), group, []byte("x"))
		require.ErrorIs(t, err, server.ErrNotReady)
		require.ErrorContains(t, err, "[3]")
		st, _ := c.members[0].server.GroupStatus(group)
		require.False(t, st.Born)
		require.Equal(t, []raft.ServerID{3}, st.BirthMissing)
		c.members[2].start()
		require.Equal(t, "1", c.propose("x"))
	})
}
