package server_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
)

func TestSingleServerExecutesAndAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		require.Equal(t, "1", c.propose("a"))
		require.Equal(t, "2", c.propose("b"))
		got, err := c.members[0].server.Query(t.Context(), group, nil)
		require.NoError(t, err)
		require.Equal(t, c.agree(), string(got))
		require.Equal(t, []string{"a", "b"}, machineOf(c.members[0].machine).commands())
	})
}

func TestSingleServerHasEverythingAgainAfterACrash(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		for _, command := range []string{"a", "b", "c"} {
			c.propose(command)
		}
		before := c.agree()
		c.members[0].crash(0)
		c.members[0].start()
		c.leader()
		require.Equal(t, before, c.agree())
		require.Equal(t, "4", c.propose("d"))
	})
}

func TestQueryErrorGoesBackAndHasNoOtherEffect(t *testing.T) {
	for name, machine := range map[string]func(*member) statemachine.StateMachine{
		"on the apply lane":      func(*member) statemachine.StateMachine { return new(ledger) },
		"on the caller's behalf": func(*member) statemachine.StateMachine { return new(openLedger) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := newCluster(t, 1, func(c *cluster) { c.machine = machine }).start()
				c.propose("a")
				_, err := c.leader().server.Query(t.Context(), group, []byte("error"))
				require.ErrorIs(t, err, server.ErrQuery)
				require.ErrorContains(t, err, "the ledger has no answer")
				got, err := c.leader().server.Query(t.Context(), group, nil)
				require.NoError(t, err)
				require.Equal(t, c.agree(), string(got))
			})
		})
	}
}

func TestCommandThatIsTooLargeIsRefusedAtTheDoor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		s := c.leader().server
		_, err := s.Propose(t.Context(), group, make([]byte, 2<<20+1))
		require.ErrorIs(t, err, server.ErrTooLarge)
		_, err = s.Propose(t.Context(), group, make([]byte, 2<<20))
		require.NoError(t, err)
		_, err = s.Propose(t.Context(), 99, nil)
		require.ErrorIs(t, err, server.ErrNoGroup)
	})
}

func TestIdleServerSavesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		c.leader()
		before := c.members[0].server.Status().Saves
		time.Sleep(time.Hour)
		require.Equal(t, before, c.members[0].server.Status().Saves)
	})
}
