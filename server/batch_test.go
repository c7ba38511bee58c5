package server_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

func TestBatchIsAnsweredInOrderEachOnceWithItsOwnRefusals(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		s := c.leader().server
		const n = 100
		answers := make(chan string, 2*n)
		var batch []server.Submission
		for i := range n {
			p := server.Proposal{Group: group, Kind: raft.KindCommand, Command: fmt.Appendf(nil, "command %d", i)}
			if i%10 == 3 {
				p.Group = 77 // there is none
			}
			batch = append(batch, server.Submission{Proposal: p, Done: completion(func(result []byte, err error) {
				if err != nil {
					require.ErrorIs(t, err, server.ErrNoGroup)
					return
				}
				answers <- string(result)
			})})
		}
		s.SubmitBatch(batch)
		clear(batch) // it is the caller's again
		for i := range n * 9 / 10 {
			require.Equal(t, fmt.Sprint(i+1), <-answers, "the ledger counts commands in order")
		}
		require.Empty(t, answers)
	})
}

func TestSubscriptionOfTheOptionsHearsTheFirstEvent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		heard := server.NewSubscription(100)
		c := newCluster(t, 1, func(c *cluster) {
			c.options = func(o *server.Options) { o.Subscription = heard }
		}).start()
		c.leader()
		for e := range heard.Events() {
			if e.Kind == server.EventRole && e.Role == raft.RoleLeader {
				break
			}
		}
		c.members[0].stop()
		for range heard.Events() { // it is closed with the server
		}
		require.Zero(t, heard.Dropped())
	})
}

func TestAnsweringSurroundsTheAnswersOfAStepAlsoOfOneThatPanics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var told []string // on the applying goroutine, as the completions are
		var between atomic.Bool
		c := newCluster(t, 1, func(c *cluster) {
			c.options = func(o *server.Options) {
				o.Answering = func(g raft.GroupID, begins bool) {
					between.Store(begins)
					told = append(told, fmt.Sprint(g, begins))
				}
			}
		}).start()
		s := c.leader().server
		answered := make(chan error, 10)
		for range 3 {
			s.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: []byte("a")}, completion(func(_ []byte, err error) {
				if !between.Load() {
					err = errors.New("an answer outside of a step")
				}
				answered <- err
			}))
		}
		for range 3 {
			require.NoError(t, <-answered)
		}
		s.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: []byte("a")}, completion(func([]byte, error) {
			defer close(answered)
			panic("a waiter's")
		}))
		<-answered
		synctest.Wait()
		require.False(t, between.Load())
		require.NotEmpty(t, told)
		for i, line := range told {
			require.Equal(t, fmt.Sprint(group, i%2 == 0), line)
		}
	})
}
