package server_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

func TestContextThatHadEndedBeforeTheCallLeavesNothingUnknown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		s := c.leader().server
		why := errors.New("the caller's reason")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		for name, call := range map[string]func() error{
			"Propose":      func() error { _, err := s.Propose(ctx, group, nil); return err },
			"ProposeIn":    func() error { _, err := s.ProposeIn(ctx, in(1, 1, 1, "x")); return err },
			"Query":        func() error { _, err := s.Query(ctx, group, nil); return err },
			"QueryLocal":   func() error { _, err := s.QueryLocal(ctx, group, nil); return err },
			"Barrier":      func() error { return s.Barrier(ctx, group) },
			"OpenSession":  func() error { _, err := s.OpenSession(ctx, group); return err },
			"KeepSession":  func() error { return s.KeepSession(ctx, group, 1) },
			"CloseSession": func() error { return s.CloseSession(ctx, group, 1) },
			"TakeSnapshot": func() error { return s.TakeSnapshot(ctx, group) },
		} {
			err := call()
			require.ErrorIs(t, err, server.ErrNotSent, name)
			require.ErrorIs(t, err, why, name)
			require.NotErrorIs(t, err, server.ErrUnknown, name)
			require.Equal(t, wire.ClassRefused, wire.ClassOf(err), name)
		}
		require.Empty(t, machineOf(c.members[0].machine).commands())
	})
}

func TestProposalThatIsGivenUpOnTheWayIsUnknownAndAReadIsNot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		leader := c.leader()
		for _, m := range c.others(leader) {
			m.stop()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := leader.server.Propose(ctx, group, []byte("x"))
		require.ErrorIs(t, err, server.ErrUnknown)
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = leader.server.Query(ctx, group, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, wire.ClassRefused, wire.ClassOf(err))
	})
}

func TestLocalReadNeedsNoLeaderAndShowsWhatThisServerHas(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.members[0].start()
		_, err := c.members[0].server.QueryLocal(t.Context(), group, nil)
		require.ErrorIs(t, err, server.ErrNotReady)
		for _, m := range c.members[1:] {
			m.start()
		}
		c.propose("a")
		c.agree()
		for _, m := range c.members[1:] {
			m.stop()
		}
		time.Sleep(5 * time.Second)
		_, err = c.members[0].server.Query(t.Context(), group, nil)
		require.ErrorIs(t, err, server.ErrNoLeader)
		got, err := c.members[0].server.QueryLocal(t.Context(), group, nil)
		require.NoError(t, err)
		require.Equal(t, machineOf(c.members[0].machine).all(), string(got))
		_, err = c.members[0].server.QueryLocal(t.Context(), 9, nil)
		require.ErrorIs(t, err, server.ErrNoGroup)
	})
}

// askUntilBusy asks queries of 900 bytes while the machine stands still: most are refused as busy, none for another reason,
// and all that were taken are answered once the machine goes on.
func askUntilBusy(t *testing.T, ask func(s *server.Server, q []byte, done server.Completion)) {
	c := newCluster(t, 1, bounded).start()
	s := c.leader().server
	l := machineOf(c.members[0].machine)
	l.hold, l.holding = make(chan struct{}), make(chan struct{}, 1)
	s.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: []byte("hold")}, completion(func([]byte, error) {}))
	<-l.holding
	const n = 500
	answers := make(chan error, n)
	for range n {
		ask(s, make([]byte, 900), completion(func(_ []byte, err error) { answers <- err }))
		time.Sleep(time.Millisecond) // each is taken up by itself
	}
	st := s.Status()
	require.Less(t, st.Inbox.Bytes+st.Unapplied.Bytes, int64(100_000))
	close(l.hold)
	busy := 0
	for range n {
		if err := <-answers; err != nil {
			require.ErrorIs(t, err, server.ErrBusy)
			busy++
		}
	}
	require.Greater(t, busy, n/2)
	require.Less(t, busy, n)
	time.Sleep(time.Second)
	st = s.Status()
	require.Zero(t, st.Inbox.Bytes)
	require.Zero(t, st.Unapplied.Bytes)
	answered := make(chan error, 1)
	ask(s, nil, completion(func(_ []byte, err error) { answered <- err }))
	require.NoError(t, <-answered)
}

func TestLocalReadsThatWaitAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		askUntilBusy(t, func(s *server.Server, q []byte, done server.Completion) { s.SubmitLocal(group, q, done) })
	})
}

func TestReadsThatWaitForTheMachineAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		askUntilBusy(t, func(s *server.Server, q []byte, done server.Completion) { s.SubmitQuery(group, q, done) })
	})
}

func TestSessionThatIsKeptDoesNotExpire(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 3, kind, limits(raft.GroupLimits{SessionExpiryNanos: int64(time.Minute)})).start()
		s := c.leader().server
		kept, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		unused, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		for range 5 {
			time.Sleep(40 * time.Second)
			require.NoError(t, s.KeepSession(t.Context(), group, kept))
		}
		require.ErrorIs(t, s.KeepSession(t.Context(), group, unused), server.ErrSessionExpired)
		require.ErrorIs(t, s.KeepSession(t.Context(), group, 0), server.ErrMalformed)
		_, err = s.ProposeIn(t.Context(), in(kept, 1, 1, "a"))
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, machineOf(c.leader().machine).commands(), "to keep a session executes nothing")
	})
}
