package server_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
)

// durableStory opens a session, has commands executed in it, and returns what they were answered.
func durableStory(t *testing.T, c *cluster, snapshot bool) (session uint64, results []string) {
	s := c.leader().server
	session, err := s.OpenSession(t.Context(), group)
	require.NoError(t, err)
	c.propose("outside of the session")
	for k := range 6 {
		if snapshot && k == 2 {
			require.NoError(t, s.TakeSnapshot(t.Context(), group))
		}
		result, err := s.ProposeIn(t.Context(), in(session, uint64(k+1), 1, fmt.Sprint("command ", k)))
		require.NoError(t, err)
		results = append(results, string(result))
	}
	return session, results
}

func TestDurableMachineGoesOnFromWhatItKeptAndExecutesNothingTwice(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		for lost := range 14 {
			t.Run(fmt.Sprintf("snapshot %t, transactions lost %d", snapshot, lost), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					c := newCluster(t, 1, durable).start()
					m := c.members[0]
					id, results := durableStory(t, c, snapshot)
					before := c.agree()
					m.crash(0)
					m.disk.lose(lost) // what a machine made durable may end before what it had returned
					m.start()
					c.leader()
					require.Equal(t, before, c.agree())
					// The last one first: nothing that comes later may be what brought its result back.
					for k := len(results) - 1; k >= 0; k-- {
						got, err := c.leader().server.ProposeIn(t.Context(), in(id, uint64(k+1), 1, "again"))
						require.NoError(t, err)
						require.Equal(t, results[k], string(got))
					}
					require.Equal(t, before, c.agree())
				})
			})
		}
	}
}

func TestDurableMachineKeepsTheFloorThatACommandRaised(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, durable).start()
		m := c.members[0]
		s := c.leader().server
		id, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		for sequence := range uint64(2) {
			_, err = s.ProposeIn(t.Context(), in(id, sequence+1, sequence+1, fmt.Sprint("command ", sequence)))
			require.NoError(t, err)
		}
		before := c.agree()
		m.crash(0)
		m.start()
		// Its result has gone with the second command's floor, so only the floor tells that it was executed.
		_, err = c.leader().server.ProposeIn(t.Context(), in(id, 1, 1, "command 0"))
		require.ErrorIs(t, err, server.ErrSequence)
		require.Equal(t, before, c.agree())
	})
}

func TestDurableMachineThatBreaksInAnyTransactionGoesOnAfterARestart(t *testing.T) {
	for _, after := range []bool{false, true} {
		for at := 1; at <= 8; at++ {
			t.Run(fmt.Sprintf("transaction %d, committed %t", at, after), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					c := newCluster(t, 1, durable)
					m := c.members[0]
					m.disk.breakAt, m.disk.breakAfter = at, after
					c.start()
					var session uint64
					var want []string
					for k := 0; len(want) < 6; {
						s := m.server
						var result []byte
						var err error
						if session == 0 {
							session, err = s.OpenSession(t.Context(), group)
						} else if result, err = s.ProposeIn(t.Context(), in(session, uint64(k+1), 1, fmt.Sprint("command ", k))); err == nil {
							want, k = append(want, string(result)), k+1
						}
						if errors.Is(err, server.ErrUnknown) || errors.Is(err, server.ErrFenced) {
							<-s.Done()
							require.ErrorIs(t, s.Err(), errVaultBroke)
							m.crash(0)
							m.start()
						} else if err != nil {
							time.Sleep(20 * time.Millisecond) // no leader yet
						}
					}
					require.Equal(t, []string{"1", "2", "3", "4", "5", "6"}, want, "each was executed once, and answered as if for the first time")
					require.Zero(t, m.disk.breakAt, "the machine was to break on the way")
				})
			})
		}
	}
}

func TestDurableMachineThatIsAheadOfWhatTheLogKnowsToBeCommittedMayTakeASnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, durable).start()
		m := c.members[0]
		c.propose("a") // the log hears that it is committed with the next save, which does not come
		m.crash(0)
		m.start()
		require.NoError(t, m.server.TakeSnapshot(t.Context(), group), "asked for before there is a leader")
		require.Equal(t, "2", c.propose("b"))
	})
}

func TestDurableMachineBehindADamagedSnapshotGoesOnByTheLog(t *testing.T) {
	for _, lost := range []int{4, 100} { // the machine is behind the snapshot, or as good as new
		inBubble(t, func(t *testing.T) {
			c := newCluster(t, 1, durable).start()
			m := c.members[0]
			for k := range 5 {
				c.propose(fmt.Sprint(k))
			}
			require.NoError(t, m.server.TakeSnapshot(t.Context(), group))
			c.propose("behind the snapshot")
			want := c.agree()
			list, err := m.files.List(group)
			require.NoError(t, err)
			m.crash(0)
			damage(t, m.dir, list[0].Index)
			m.disk.lose(lost)
			m.start()
			c.leader()
			require.Equal(t, want, c.agree())
		})
	}
}

// silent is a vault that keeps its state and never asks for the records.
type silent struct{ vault }

func (s *silent) ApplyDurable(entries []statemachine.Entry, results [][]byte, _ uint64, _ func() []statemachine.Record) error {
	for i, e := range entries {
		results[i] = s.Apply(e)
	}
	return nil
}

func TestDurableMachineThatDoesNotAskForTheRecordsIsStopped(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, func(c *cluster) {
			c.machine = func(m *member) statemachine.StateMachine { return &silent{vault{disk: &m.disk}} }
		}).start()
		s := c.members[0].server
		<-s.Done()
		require.ErrorContains(t, s.Err(), "without having called changes")
	})
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

// An older copy may be as long as the log was, and hold at its end what was replaced later.
func TestDurableMachineBesideALogWithAnotherHistoryIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, durable).start()
		m := c.members[0]
		c.propose("in both")
		old := m.log.CrashCopy(0)
		c.propose("here")
		time.Sleep(time.Second)
		m.stop()
		kept := m.disk.steps
		m.log, m.disk.steps = old, nil
		m.start()
		c.propose("there")
		c.propose("there, and more")
		time.Sleep(time.Second)
		m.stop()
		m.disk.steps = kept
		m.start()
		<-m.server.Done()
		require.ErrorContains(t, m.server.Err(), "another log")
	})
}
