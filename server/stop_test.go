package server_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
)

var errDisk = errors.New("the disk is on fire")

// stuckLoad is a log whose Load of one group does not come back before it is let go.
type stuckLoad struct {
	persistentlog.PersistentLog
	loading, letGo chan struct{}
}

func (l *stuckLoad) Load(id raft.GroupID) (persistentlog.State, error) {
	if id == 7 {
		close(l.loading)
		<-l.letGo
	}
	return l.PersistentLog.Load(id)
}

func TestGroupWhoseLoadIsStuckHoldsUpNeitherStatusNorClose(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := &stuckLoad{loading: make(chan struct{}), letGo: make(chan struct{})}
		c := newCluster(t, 1, func(c *cluster) {
			c.options = func(o *server.Options) {
				log.PersistentLog = o.Log
				o.Log = log
			}
		}).start()
		m := c.members[0]
		c.leader()
		opened := make(chan error, 1)
		go func() {
			opened <- m.server.OpenGroup(server.GroupOptions{ID: 7, StateMachine: new(ledger), Founders: c.founders()})
		}()
		<-log.loading
		begin := time.Now()
		require.NoError(t, m.server.Status().Err)
		require.Zero(t, time.Since(begin))
		closed := make(chan error, 1)
		go func() { closed <- m.server.Close() }()
		var err error
		select {
		case err = <-closed:
		case <-time.After(time.Minute):
		}
		require.ErrorContains(t, err, "a group that is being opened")
		close(log.letGo)
		require.ErrorIs(t, <-opened, server.ErrClosed)
		m.server = nil // it has said what was stuck; the log stays open
	})
}

func TestFailedSaveStopsTheReplicaAndTheOthersGoOn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("a")
		leader := c.leader()
		leader.log.Fail(memlog.CallSave, 1, errDisk)
		_, err := leader.server.Propose(t.Context(), group, []byte("b"))
		if err != nil { // the followers' disks may have made a quorum before this one was found out
			require.ErrorIs(t, err, server.ErrUnknown)
		}
		<-leader.server.Done()
		require.ErrorIs(t, leader.server.Err(), errDisk)
		require.ErrorIs(t, leader.server.GroupErr(group), errDisk)
		_, err = leader.server.Propose(t.Context(), group, []byte("c"))
		require.ErrorIs(t, err, server.ErrFenced)
		require.NotErrorIs(t, err, server.ErrUnknown)
		_, err = leader.server.Query(t.Context(), group, nil)
		require.ErrorIs(t, err, server.ErrFenced)
		require.NotSame(t, leader, c.leader())
		c.propose("d")
	})
}

func TestFailedSaveStopsEveryGroupOfTheStore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		s := c.leader().server
		require.NoError(t, s.OpenGroup(server.GroupOptions{ID: 2, StateMachine: new(ledger), Founders: c.founders()}))
		require.Eventually(t, func() bool { return s.Barrier(t.Context(), 2) == nil }, 10*time.Second, 50*time.Millisecond)
		c.members[0].log.Fail(memlog.CallSave, 1, errDisk)
		_, err := s.Propose(t.Context(), 2, []byte("x"))
		require.ErrorIs(t, err, server.ErrUnknown)
		<-s.Done()
		require.ErrorIs(t, s.GroupErr(group), errDisk)
		require.ErrorIs(t, s.GroupErr(2), errDisk)
	})
}

func TestBrokenStateMachineGivesItsReasonToEverybodyAndNoStack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		s := c.leader().server
		_, err := s.Propose(context.Background(), group, []byte("broken"))
		require.ErrorIs(t, err, server.ErrUnknown)
		require.ErrorContains(t, err, "the ledger lost a page")
		time.Sleep(time.Second)
		var broken *statemachine.Broken
		require.ErrorAs(t, s.GroupErr(group), &broken)
		require.NotContains(t, s.GroupErr(group).Error(), "goroutine ")
		_, err = s.Propose(context.Background(), group, []byte("late"))
		require.ErrorIs(t, err, server.ErrFenced)
		require.ErrorContains(t, err, "the ledger lost a page")
	})
}

func TestWhatStandsBehindABrokenApplyHearsWhy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		machine := &ledger{hold: make(chan struct{}), holding: make(chan struct{}, 1)}
		c := newCluster(t, 1, func(c *cluster) { c.machine = func(*member) statemachine.StateMachine { return machine } }).start()
		s := c.leader().server
		var outcomes [4]error
		var asked sync.WaitGroup
		for k, ask := range []func() error{
			func() error { _, err := s.Propose(context.Background(), group, []byte("hold")); return err },
			func() error { _, err := s.Propose(context.Background(), group, []byte("broken")); return err },
			func() error { _, err := s.Query(context.Background(), group, nil); return err },
			func() error { _, err := s.Propose(context.Background(), group, []byte("late")); return err },
		} {
			asked.Go(func() { outcomes[k] = ask() })
			synctest.Wait()
		}
		<-machine.holding
		close(machine.hold)
		asked.Wait()
		require.NoError(t, outcomes[0])
		require.ErrorIs(t, outcomes[1], server.ErrUnknown)
		require.ErrorIs(t, outcomes[2], server.ErrFenced, "a query is not told that this server is behind: it stops")
		require.ErrorIs(t, outcomes[3], server.ErrUnknown)
		require.NotContains(t, strings.Join(machine.entries, ","), "late", "no entry is skipped")
	})
}

func TestPanicOfTheStateMachineStopsItsReplicaAlone(t *testing.T) {
	for name, machine := range map[string]func(*member) statemachine.StateMachine{
		"plain":   func(*member) statemachine.StateMachine { return new(ledger) },
		"batches": func(*member) statemachine.StateMachine { return new(batchLedger) },
		"durable": func(m *member) statemachine.StateMachine { return &vault{disk: &m.disk} },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := newCluster(t, 1, func(c *cluster) { c.machine = machine }).start()
				s := c.leader().server
				require.NoError(t, s.OpenGroup(server.GroupOptions{ID: 2, StateMachine: new(ledger), Founders: c.founders()}))
				require.Eventually(t, func() bool { return s.Barrier(t.Context(), 2) == nil }, 10*time.Second, 50*time.Millisecond)
				var wg sync.WaitGroup
				for _, command := range []string{"a", "panic", "b"} {
					wg.Go(func() {
						_, err := s.Propose(context.Background(), group, []byte(command))
						stopped := errors.Is(err, server.ErrUnknown) || errors.Is(err, server.ErrFenced)
						if !stopped && (command == "panic" || err != nil) {
							t.Errorf("%s: %v", command, err)
						}
					})
				}
				wg.Wait()
				time.Sleep(time.Second)
				require.ErrorContains(t, s.GroupErr(group), "the ledger was told to")
				require.ErrorContains(t, s.GroupErr(group), "entr")
				result, err := s.Propose(t.Context(), 2, []byte("x"))
				require.NoError(t, err)
				require.Equal(t, "1", string(result))
				select {
				case <-s.Done():
					t.Error("the server says that it can do nothing more")
				default:
				}
			})
		})
	}
}

func TestPanicOfAQueryStopsTheReplica(t *testing.T) {
	for name, machine := range map[string]func(*member) statemachine.StateMachine{
		"on the apply lane":      func(*member) statemachine.StateMachine { return new(ledger) },
		"on the caller's behalf": func(*member) statemachine.StateMachine { return new(openLedger) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := newCluster(t, 1, func(c *cluster) { c.machine = machine }).start()
				s := c.leader().server
				_, err := s.Query(t.Context(), group, []byte("panic"))
				require.ErrorIs(t, err, server.ErrFenced)
				<-s.Done()
				require.ErrorContains(t, s.Err(), "the ledger was asked to")
			})
		})
	}
}

func TestMachineThatIsStillDueAfterExpireIsStopped(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		l := machineOf(c.members[0].machine)
		l.mu.Lock()
		l.stuck = true
		l.mu.Unlock()
		c.propose("due 1000000000")
		<-c.members[0].server.Done()
		require.ErrorIs(t, c.members[0].server.Err(), statemachine.ErrStillDue)
	})
}

func TestIdleGroupExpiresAtTheSameEntryEverywhere(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 3, kind).start()
		c.propose("due 5000000000")
		time.Sleep(4 * time.Second)
		require.Empty(t, machineOf(c.members[0].machine).expiries())
		time.Sleep(2 * time.Second)
		c.agree()
		want := machineOf(c.members[0].machine).expiries()
		require.Len(t, want, 1)
		for _, m := range c.members {
			require.Equal(t, want, machineOf(m.machine).expiries())
		}
	})
}

func TestCloseAnswersEverybody(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		leader := c.leader()
		for _, m := range c.others(leader) {
			c.net.Partition([]raft.ServerID{leader.id}, []raft.ServerID{m.id})
		}
		s := leader.server
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := s.Propose(context.Background(), group, []byte("x"))
				if !errors.Is(err, server.ErrUnknown) && !errors.Is(err, server.ErrClosed) {
					t.Errorf("proposal: %v", err)
				}
			})
			wg.Go(func() {
				_, err := s.Query(context.Background(), group, nil)
				if !errors.Is(err, server.ErrClosed) && !errors.Is(err, server.ErrNoLeader) { // it looks for a successor first
					t.Errorf("query: %v", err)
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		leader.stop()
		wg.Wait()
	})
}

func TestCloseNamesAStateMachineThatDoesNotReturn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		m := c.members[0]
		l := machineOf(m.machine)
		l.hold, l.holding = make(chan struct{}), make(chan struct{}, 1)
		s := c.leader().server
		answer := make(chan error, 1)
		s.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: []byte("hold")}, completion(func(_ []byte, err error) { answer <- err }))
		<-l.holding
		begun := time.Now()
		err := s.Close()
		require.EqualError(t, err, "server: close: still under way\nwork beside the loops has not ended\nthe state machine of group 1 does not return",
			"and no part that had no time left to end")
		require.ErrorIs(t, err, server.ErrStuck)
		require.Equal(t, 10*time.Second, time.Since(begun))
		require.ErrorIs(t, s.Close(), server.ErrStuck, "it still does not")
		require.Equal(t, 20*time.Second, time.Since(begun))
		m.server = nil
		close(l.hold)
		require.NoError(t, <-answer, "it did execute in the end")
		require.NoError(t, s.Close(), "what was stuck has ended, and the log is closed")
		require.NoError(t, s.Close())
		require.NoError(t, m.files.Close())
	})
}

func TestClosedServerRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		s := c.leader().server
		c.members[0].stop()
		_, err := s.Propose(t.Context(), group, nil)
		require.ErrorIs(t, err, server.ErrClosed)
		require.NotErrorIs(t, err, server.ErrUnknown)
		require.ErrorIs(t, s.Err(), server.ErrClosed)
		require.ErrorIs(t, s.OpenGroup(server.GroupOptions{ID: 3, StateMachine: new(ledger)}), server.ErrClosed)
		require.ErrorIs(t, s.TakeSnapshot(t.Context(), group), server.ErrClosed)
		<-s.Done()
	})
}
