package server_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

func bounded(c *cluster) {
	c.options = func(o *server.Options) {
		o.CommandBytesMax, o.BlockBytesMax, o.FrameBytesMax, o.InflightBytesMax = 1000, 10_000, 20_000, 30_000
		o.InboxBytesMax, o.UncommittedBytesMax, o.UnappliedBytesMax = 40_000, 40_000, 40_000
		o.InboxServerBytesMax, o.UncommittedServerBytesMax, o.UnappliedServerBytesMax = 50_000, 50_000, 50_000
		o.TailBytesMax = 10_000
	}
}

// flood submits n proposals of 1,000 bytes and returns how many were refused as busy. The others go on.
func flood(s *server.Server, n int) (busy int, rest chan error) {
	rest = make(chan error, n)
	refused := make(chan error, n)
	for range n {
		door := true
		s.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: make([]byte, 1000)}, completion(func(_ []byte, err error) {
			if door && errors.Is(err, server.ErrBusy) {
				refused <- err
				return
			}
			rest <- err
		}))
		_ = door
	}
	time.Sleep(100 * time.Millisecond)
	return len(refused), rest
}

func TestMachineThatIsSlowMakesTheDoorRefuseAndForgetsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, bounded).start()
		s := c.leader().server
		l := machineOf(c.members[0].machine)
		l.hold, l.holding = make(chan struct{}), make(chan struct{}, 1)
		held := make(chan error, 1)
		s.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: []byte("hold")}, completion(func(_ []byte, err error) { held <- err }))
		<-l.holding
		busy, taken := 0, 0
		var rests []chan error
		for range 20 {
			b, rest := flood(s, 20)
			busy += b
			taken += 20 - b
			rests = append(rests, rest)
			st := s.Status()
			require.LessOrEqual(t, st.Unapplied.Bytes, int64(60_000))
			require.LessOrEqual(t, st.Inbox.BytesPeak, int64(50_000))
		}
		require.Positive(t, busy)
		st, _ := s.GroupStatus(group)
		require.Positive(t, st.Unapplied.Refused+st.Inbox.Refused+st.Uncommitted.Refused)
		close(l.hold)
		require.NoError(t, <-held)
		for k := 0; k < taken; {
			for _, rest := range rests {
				for len(rest) > 0 {
					require.NoError(t, <-rest)
					k++
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		_, err := s.Propose(t.Context(), group, []byte("again"))
		require.NoError(t, err)
		require.Len(t, l.commands(), taken+2)
		time.Sleep(time.Second)
		require.Zero(t, s.Status().Unapplied.Bytes)
		require.Zero(t, s.Status().Uncommitted.Bytes)
		require.Zero(t, s.Status().Inbox.Bytes)
	})
}

func TestLeaderWithoutAQuorumTakesNoMoreThanItsBound(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3, bounded).start()
		leader := c.leader()
		for _, m := range c.others(leader) {
			m.stop()
		}
		busy, rest := flood(leader.server, 200)
		require.Positive(t, busy)
		require.LessOrEqual(t, leader.server.Status().Uncommitted.Bytes, int64(40_000))
		time.Sleep(5 * time.Second)
		for range 200 - busy {
			err := <-rest
			if !errors.Is(err, server.ErrUnknown) && !errors.Is(err, server.ErrBusy) {
				t.Fatalf("%v", err)
			}
		}
		require.Zero(t, leader.server.Status().Uncommitted.Bytes)
	})
}

func TestProposalGivenUpByItsCallerIsUnknown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		leader := c.leader()
		for _, m := range c.others(leader) {
			m.stop()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := leader.server.Propose(ctx, group, []byte("x"))
		require.ErrorIs(t, err, server.ErrUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestOptionsThatClashAreNamedBoth(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, func(c *cluster) {
			c.options = func(o *server.Options) { o.BlockBytesMax, o.FrameBytesMax = 9<<20, 8<<20 }
		})
		err := c.members[0].open()
		require.ErrorContains(t, err, "BlockBytesMax")
		require.ErrorContains(t, err, "FrameBytesMax")
		c.members[0].server = nil
		require.NoError(t, c.members[0].files.Close())
	})
}
