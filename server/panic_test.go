package server_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// touchy is a Completion that panics whenever it is called, and counts that.
func touchy(called *int) completion {
	return func([]byte, error) {
		*called++
		panic("a completion that panics")
	}
}

func TestCompletionThatPanicsStopsTheReplicaAndNotTheProcess(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 1, kind).start()
		s := c.leader().server
		var called [6]int
		answers := make(chan error, 3)
		good := completion(func(_ []byte, err error) { answers <- err })
		propose := func(done server.Completion) {
			s.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: []byte("x")}, done)
		}
		// The replica may have stopped before the last of them arrive: then they are answered here, and panic here.
		try := func(f func()) {
			defer func() { _ = recover() }()
			f()
		}
		for k := range 3 {
			try(func() { propose(touchy(&called[k])) })
			propose(good)
		}
		try(func() { s.SubmitQuery(group, nil, touchy(&called[3])) })
		try(func() { s.SubmitQuery(group, nil, touchy(&called[4])) })
		time.Sleep(time.Second)
		require.ErrorContains(t, s.Err(), "a completion that panics")
		for range 3 {
			if err := <-answers; err != nil {
				require.ErrorIs(t, err, server.ErrFenced)
			}
		}
		require.Equal(t, []int{1, 1, 1, 1, 1}, called[:5], "each is answered once")
		require.Panics(t, func() { propose(touchy(&called[5])) }, "on the caller's own goroutine it is the caller's")
	})
}

func TestCompletionsThatPanicWhenTheServerIsClosedDoNotEndTheProcess(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		leader := c.leader()
		for _, m := range c.others(leader) {
			m.stop()
		}
		var called [4]int
		for k := range 2 {
			leader.server.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: []byte("x")}, touchy(&called[k]))
			leader.server.SubmitQuery(group, nil, touchy(&called[2+k]))
		}
		time.Sleep(10 * time.Millisecond)
		leader.stop()
		require.Equal(t, [4]int{1, 1, 1, 1}, called)
	})
}
