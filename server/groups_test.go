package server_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

func TestManyGroupsOfOneServerShareTheirSyncs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		const groups, each = 20, 20
		for id := raft.GroupID(2); id <= groups; id++ {
			for _, m := range c.members {
				require.NoError(t, m.server.OpenGroup(server.GroupOptions{ID: id, StateMachine: new(ledger), Founders: c.founders()}))
			}
		}
		time.Sleep(10 * time.Second)
		leaders := make(map[raft.GroupID]*server.Server)
		for _, m := range c.members {
			for _, st := range m.server.Status().Groups {
				if st.Role == raft.RoleLeader {
					leaders[st.Group] = m.server
				}
			}
		}
		require.Len(t, leaders, groups)
		var wg sync.WaitGroup
		for id, s := range leaders {
			for k := range each {
				wg.Go(func() {
					if _, err := s.Propose(t.Context(), id, fmt.Append(nil, k)); err != nil {
						t.Errorf("group %d: %v", id, err)
					}
				})
			}
		}
		wg.Wait()
		time.Sleep(time.Second)
		for _, m := range c.members {
			st := m.server.Status()
			require.Len(t, st.Groups, groups)
			require.Less(t, st.SaveCalls, st.Saves, "saves of several groups go into one call")
			for _, g := range st.Groups {
				require.EqualValues(t, each, g.Commands, "group %d", g.Group)
			}
		}
	})
}

func TestGroupIsOpenedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		require.ErrorContains(t, c.members[0].server.OpenGroup(server.GroupOptions{ID: group, StateMachine: new(ledger)}), "open already")
		require.ErrorContains(t, c.members[0].server.OpenGroup(server.GroupOptions{ID: 9}), "StateMachine")
	})
}

func TestSlowSubscriberIsToldHowMuchItMissed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.leader()
		m := c.members[0]
		slow, fast := m.server.Events(2), m.server.Events(10_000)
		for range 5 {
			leader := c.leader()
			if leader == m {
				c.net.Partition([]raft.ServerID{m.id}, []raft.ServerID{2, 3})
				time.Sleep(2 * time.Second)
				c.net.Heal()
			} else {
				leader.stop()
				time.Sleep(2 * time.Second)
				leader.start()
			}
			time.Sleep(2 * time.Second)
		}
		missed := slow.Dropped()
		require.Positive(t, missed)
		require.Zero(t, fast.Dropped())
		<-slow.Events()
		<-slow.Events()
		m.stop() // tells more, and closes both
		var told uint64
		for e := range slow.Events() {
			if e.Kind == server.EventDroppedEvents {
				told += e.Dropped
			}
		}
		require.GreaterOrEqual(t, told, missed)
		kinds := make(map[server.EventKind]int)
		for e := range fast.Events() {
			kinds[e.Kind]++
		}
		require.Positive(t, kinds[server.EventLeader])
		require.Equal(t, 1, kinds[server.EventFenced])
	})
}
