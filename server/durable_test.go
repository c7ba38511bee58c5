package server_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/server"
)

func TestDurableMachineGoesOnFromWhatItKept(t *testing.T) {
	for lost := range 6 {
		t.Run(fmt.Sprint("transactions lost: ", lost), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := newCluster(t, 1, durable).start()
				m := c.members[0]
				s := c.leader().server
				id, err := s.OpenSession(t.Context(), group)
				require.NoError(t, err)
				c.propose("covered by a snapshot")
				require.NoError(t, s.TakeSnapshot(t.Context(), group))
				var results []string
				for k := range 4 {
					result, err := s.ProposeIn(t.Context(), in(id, uint64(k+1), 1, fmt.Sprint("command ", k)))
					require.NoError(t, err)
					results = append(results, string(result))
				}
				before := c.agree()
				m.crash(0)
				m.disk.lose(lost) // what a machine made durable may end before what it had returned
				m.start()
				c.leader()
				require.Equal(t, before, c.agree())
				for k, want := range results {
					got, err := c.leader().server.ProposeIn(t.Context(), in(id, uint64(k+1), 1, "again"))
					require.NoError(t, err)
					require.Equal(t, want, string(got))
				}
				require.Equal(t, before, c.agree())
			})
		})
	}
}

func TestDurableMachineThatClaimsMoreThanTheLogKnowsIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, durable).start()
		m := c.members[0]
		for k := range 5 {
			c.propose(fmt.Sprint(k))
		}
		old := m.log.CrashCopy(0)
		c.propose("behind the copy")
		time.Sleep(time.Second)
		m.stop()
		m.log = old // an operator puts an old copy back
		m.start()
		<-m.server.Done()
		require.ErrorContains(t, m.server.Err(), "older copy")
		_, err := m.server.Propose(t.Context(), group, nil)
		require.ErrorIs(t, err, server.ErrFenced)
	})
}
