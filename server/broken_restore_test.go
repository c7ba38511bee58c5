package server_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
)

// halved is a machine whose Restore fails when half of the state is in it.
type halved struct {
	ledger
	asked, hold chan struct{} // Query: that it was called, and until when it takes
	panics      bool
}

func (h *halved) Query(q []byte) ([]byte, error) {
	if string(q) == "slow" {
		close(h.asked)
		<-h.hold
	}
	return h.ledger.Query(nil)
}

func (h *halved) Restore(r io.Reader) error {
	if _, err := io.ReadAll(r); err != nil {
		return err
	}
	h.mu.Lock()
	h.entries = []string{"half of a state"}
	h.mu.Unlock()
	if h.panics {
		panic("half way")
	}
	return errors.New("its disk is full")
}

// What stands behind a restore in the lane would otherwise be given the half, before the turn that stops the replica.
func TestNobodyReadsWhatAFailedRestoreHasLeft(t *testing.T) {
	for _, panics := range []bool{false, true} {
		t.Run(fmt.Sprintf("panics=%t", panics), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				h := &halved{asked: make(chan struct{}), hold: make(chan struct{}), panics: panics}
				c := newCluster(t, 3, snapshots(10_000, 1), func(c *cluster) {
					c.machine = func(m *member) statemachine.StateMachine {
						if m.id == 3 {
							return h
						}
						return new(ledger)
					}
				}).start()
				c.propose("first")
				far := c.members[2]
				c.lead(c.members[0])
				c.apart(far)
				for k := range 60 {
					c.propose(fmt.Sprintf("%d %s", k, strings.Repeat("x", 1000)))
				}
				time.Sleep(time.Second)
				far.server.SubmitLocal(group, []byte("slow"), completion(func(_ []byte, err error) { require.NoError(t, err) }))
				<-h.asked // the lane is busy, and what comes now stands behind that together
				c.net.Heal()
				time.Sleep(3 * time.Second)
				answers := make(chan error, 5)
				for range cap(answers) {
					far.server.SubmitLocal(group, nil, completion(func(result []byte, err error) {
						if err == nil {
							err = fmt.Errorf("answered: %q", result)
						}
						answers <- err
					}))
				}
				close(h.hold)
				for range cap(answers) {
					require.ErrorIs(t, <-answers, server.ErrFenced)
				}
			})
		})
	}
}

// A query of a server's own state wakes nobody, and in a group that waits for nothing no turn may ever come that would let go of it.
func TestReadsOfAServersOwnStateLeaveNothingBehind(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		c.propose("a")
		s := c.leader().server
		time.Sleep(time.Second)
		for range 1000 {
			_, err := s.QueryLocal(t.Context(), group, nil)
			require.NoError(t, err)
		}
		require.Less(t, server.FinishedJobs(s, group), 10)
	})
}
