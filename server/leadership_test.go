package server_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

func TestProposalsDuringATransferAreHeldAndNotLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("first")
		old := c.leader()
		to := c.others(old)[1]
		var wg sync.WaitGroup
		var mu sync.Mutex
		done, refused := 0, 0
		for k := range 50 {
			wg.Go(func() {
				time.Sleep(time.Duration(k) * time.Millisecond)
				_, err := old.server.Propose(t.Context(), group, fmt.Append(nil, "command ", k))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					done++
				case errors.Is(err, server.ErrUnknown):
					t.Errorf("command %d: %v", k, err)
				default:
					refused++
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		require.NoError(t, old.server.TransferLeadership(t.Context(), group, to.id))
		wg.Wait()
		require.Same(t, to, c.leader())
		require.NoError(t, to.server.TransferLeadership(t.Context(), group, to.id), "it leads already")
		c.agree()
		require.Len(t, machineOf(to.machine).commands(), 1+done, "%d were refused", refused)
		require.Positive(t, done)
		require.Positive(t, refused)
	})
}

func TestTransferToWhoCannotLeadIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		leader := c.leader()
		err := leader.server.TransferLeadership(t.Context(), group, 9)
		require.ErrorIs(t, err, server.ErrTransferTarget)
		err = c.others(leader)[0].server.TransferLeadership(t.Context(), group, leader.id)
		require.ErrorIs(t, err, server.ErrNotLeader)
		require.ErrorIs(t, leader.server.StepDown(t.Context(), 9), server.ErrNoGroup)
		require.Same(t, leader, c.leader())
		c.propose("as before")
	})
}

func TestTransferInVainEndsAndWhatWasHeldIsProposed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		leader := c.leader()
		c.propose("first")
		to := c.others(leader)[0]
		// It answers, but nothing that would catch it up arrives.
		c.net.Partition([]raft.ServerID{to.id}, []raft.ServerID{leader.id, c.others(leader)[1].id})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := leader.server.TransferLeadership(t.Context(), group, to.id); !errors.Is(err, server.ErrTransferFailed) {
				t.Errorf("transfer to a server that is cut off: %v", err)
			}
		})
		time.Sleep(time.Millisecond)
		result, err := leader.server.Propose(t.Context(), group, []byte("held"))
		require.NoError(t, err)
		require.Equal(t, "2", string(result))
		wg.Wait()
		st, _ := leader.server.GroupStatus(group)
		require.Equal(t, raft.RoleLeader, st.Role)
		require.Zero(t, st.Uncommitted.Bytes)
	})
}

func TestLeaderStepsDownAlsoWhereNobodyTakesOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		old := c.leader()
		require.NoError(t, old.server.StepDown(t.Context(), group))
		next := c.leader()
		require.NotSame(t, old, next)
		for k, m := range c.others(next) {
			m.crash(uint64(k))
		}
		time.Sleep(200 * time.Millisecond)
		// It may have noticed by itself that it leads nobody.
		if err := next.server.StepDown(t.Context(), group); err != nil {
			require.ErrorIs(t, err, server.ErrNoLeader)
		}
		st, _ := next.server.GroupStatus(group)
		require.NotEqual(t, raft.RoleLeader, st.Role)
	})
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		c.propose("alone")
		require.NoError(t, c.leader().server.StepDown(t.Context(), group))
		c.propose("and again")
	})
}
