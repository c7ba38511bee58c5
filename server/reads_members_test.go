package server_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/transport/memnet"
)

// TestALeaseEndsBeforeLeadershipIsHandedOver: the successor's votes are asked for in spite of the promises that the lease rests on.
func TestALeaseEndsBeforeLeadershipIsHandedOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3, func(c *cluster) {
			c.options = func(o *server.Options) { o.Group.ClockDriftPPM = 1000 }
		}).start()
		c.propose("a")
		time.Sleep(time.Second)
		old := c.leader()
		lease := server.Consistency{Level: server.Lease}
		_, err := old.query(lease)
		require.NoError(t, err)
		require.EqualValues(t, 1, old.status().Reads.Leased)

		var written sync.Mutex
		answered := "a"
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 500 {
				written.Lock()
				want := answered
				written.Unlock()
				if got, err := old.query(lease); err == nil && !contains(got, want) {
					t.Errorf("by lease, after %q was answered elsewhere: %q", want, got)
				}
				time.Sleep(time.Millisecond)
			}
		})
		time.Sleep(20 * time.Millisecond)
		to := c.others(old)[0]
		require.NoError(t, old.server.TransferLeadership(t.Context(), group, to.id))
		for {
			if _, err := to.server.Propose(t.Context(), group, []byte("b")); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		written.Lock()
		answered = "b"
		written.Unlock()
		wg.Wait()
		require.Positive(t, old.status().Reads.Leased)
		got, err := old.query(lease)
		require.NoError(t, err)
		require.Contains(t, got, "b")
	})
}

// contains looks for a command in what a ledger answers.
func contains(answer, command string) bool {
	for line := range strings.Lines(answer) {
		if _, c, _ := strings.Cut(strings.TrimSpace(line), " "); c == command {
			return true
		}
	}
	return false
}

func TestRemovedServerAnswersNoReadThatNeedsTheGroup(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("a")
		c.agree()
		gone := c.others(c.leader())[0]
		c.changed(remove(gone))
		c.propose("b")
		time.Sleep(10 * time.Second)
		for _, bad := range []server.Consistency{{}, {Level: server.Lease}, {Level: server.Bounded, MaxAge: time.Second}} {
			_, err := gone.query(bad)
			refusedRead(t, err)
		}
		got, err := gone.query(server.Consistency{Level: server.Stale})
		require.NoError(t, err)
		require.Contains(t, got, "a")
	})
}

// TestLearnerAnswersLinearizably: it has no vote, and as much to say as anybody.
func TestLearnerAnswersLinearizably(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("a")
		learner := c.others(c.leader())[0]
		c.changed(raft.Change{Kind: raft.ChangeDemote, Member: raft.Member{ID: learner.id}})
		for _, command := range []string{"b", "c", "d"} {
			c.propose(command)
			got, err := learner.query(server.Consistency{})
			require.NoError(t, err)
			require.True(t, contains(got, command), "%q in %q", command, got)
		}
	})
}

// TestReadsAtAServerThatRestoresASnapshotWaitOrAreRefused: nothing that it answers meanwhile lacks what was answered before.
func TestReadsAtAServerThatRestoresASnapshotWaitOrAreRefused(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 3, snapshots(10_000, 1), kind).start()
		c.propose("first")
		away := c.others(c.leader())[0]
		away.stop()
		for k := range 100 {
			c.propose(fmt.Sprintf("%d %01000d", k, 0))
			if k%30 == 29 {
				time.Sleep(time.Second) // the files are real, and time stands still while they are written
			}
		}
		c.propose("last")
		require.NoError(t, c.net.SetFaults(memnet.Faults{DelayMax: 20 * time.Millisecond}))
		away.start()
		for {
			got, err := away.query(server.Consistency{})
			if err == nil {
				require.True(t, contains(got, "last"))
				require.Len(t, strings.Split(got, "\n"), 102)
				break
			}
			refusedRead(t, err)
			if got, err := away.query(server.Consistency{Level: server.Stale}); err == nil {
				require.True(t, contains(got, "first"), "what it had, or all")
			}
		}
		require.Greater(t, away.status().First, raft.Index(10), "it was a snapshot")
	})
}
