package server_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// An application that takes its time is an event of its own: from outside it would look like a slow cluster.
func TestSlowApplyIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		s := c.leader().server
		events := s.Events(256)
		defer events.Close()
		l := machineOf(c.members[0].machine)
		l.hold, l.holding = make(chan struct{}), make(chan struct{}, 1)
		held := make(chan error, 1)
		s.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: []byte("hold")}, completion(func(_ []byte, err error) { held <- err }))
		<-l.holding
		time.Sleep(3 * time.Second)
		close(l.hold)
		require.NoError(t, <-held)
		time.Sleep(time.Second)
		var slow []server.Event
		for len(events.Events()) > 0 {
			if e := <-events.Events(); e.Kind == server.EventSlowApply {
				slow = append(slow, e)
			}
		}
		require.Len(t, slow, 1)
		require.GreaterOrEqual(t, slow[0].Elapsed, 3*time.Second)
		require.Equal(t, group, slow[0].Group)
		require.NotZero(t, slow[0].Index)
	})
}
