package server_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
)

// in makes a proposal in a session.
func in(session, sequence, floor uint64, command string) server.Proposal {
	return server.Proposal{Group: group, Session: session, Sequence: sequence, Floor: floor, Command: []byte(command)}
}

func limits(l raft.GroupLimits) func(*cluster) {
	return func(c *cluster) { c.options = func(o *server.Options) { o.Group.Limits = l } }
}

func batches(c *cluster) {
	c.machine = func(*member) statemachine.StateMachine { return new(batchLedger) }
}

func durable(c *cluster) {
	c.machine = func(m *member) statemachine.StateMachine { return &vault{disk: &m.disk} }
}

// everyKind runs a story with each kind of state machine.
func everyKind(t *testing.T, story func(t *testing.T, kind func(*cluster))) {
	for name, kind := range map[string]func(*cluster){"plain": func(*cluster) {}, "batches": batches, "durable": durable} {
		t.Run(name, func(t *testing.T) { inBubble(t, func(t *testing.T) { story(t, kind) }) })
	}
}

func TestRetryInASessionIsExecutedOnceAndGetsTheSameResult(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 3, kind).start()
		s := c.leader().server
		id, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		first, err := s.ProposeIn(t.Context(), in(id, 1, 1, "a"))
		require.NoError(t, err)
		_, err = s.ProposeIn(t.Context(), in(id, 2, 1, "b"))
		require.NoError(t, err)
		again, err := s.ProposeIn(t.Context(), in(id, 1, 1, "a"))
		require.NoError(t, err)
		require.Equal(t, first, again)
		c.leader().crash(0) // the table is replicated
		again, err = c.leader().server.ProposeIn(t.Context(), in(id, 1, 1, "a"))
		require.NoError(t, err)
		require.Equal(t, first, again)
		require.Equal(t, []string{"a", "b"}, machineOf(c.leader().machine).commands())
	})
}

func TestManyAttemptsAtOnceAreExecutedOnce(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 1, kind).start()
		s := c.leader().server
		id, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		answers := make(chan string, 300)
		for k := range 300 { // they arrive together and become one batch
			s.Submit(server.Proposal{
				Group: group, Kind: raft.KindCommand, Session: id, Sequence: uint64(1 + k%100), Floor: 1, Command: fmt.Append(nil, k%100),
			}, completion(func(result []byte, err error) { answers <- fmt.Sprint(string(result), " ", err) }))
		}
		seen := make(map[string]int)
		for range 300 {
			seen[<-answers]++
		}
		require.Len(t, seen, 100)
		for answer, n := range seen {
			require.Equal(t, 3, n, answer)
		}
		require.Len(t, machineOf(c.members[0].machine).commands(), 100)
	})
}

func TestSequenceBelowTheFloorIsRefusedEvenIfNeverSeen(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 1, kind).start()
		s := c.leader().server
		id, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		_, err = s.ProposeIn(t.Context(), in(id, 5, 5, "a"))
		require.NoError(t, err)
		_, err = s.ProposeIn(t.Context(), in(id, 4, 1, "late"))
		require.ErrorIs(t, err, server.ErrSequence)
		require.NotErrorIs(t, err, server.ErrUnknown)
		_, err = s.ProposeIn(t.Context(), in(id, 5+256, 5, "early"))
		require.ErrorIs(t, err, server.ErrSequence)
		_, err = s.ProposeIn(t.Context(), in(id, 4+256, 5, "just in"))
		require.NoError(t, err)
		require.Equal(t, []string{"a", "just in"}, machineOf(c.members[0].machine).commands())
	})
}

func TestSessionExpiresByClusterTimeAlone(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 3, kind, limits(raft.GroupLimits{SessionExpiryNanos: int64(time.Minute)})).start()
		s := c.leader().server
		kept, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		unused, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		for k := range 3 {
			time.Sleep(40 * time.Second)
			_, err = s.ProposeIn(t.Context(), in(kept, uint64(k+1), 1, "used"))
			require.NoError(t, err)
		}
		_, err = s.ProposeIn(t.Context(), in(unused, 1, 1, "late"))
		require.ErrorIs(t, err, server.ErrSessionExpired)
		st, _ := s.GroupStatus(group)
		require.EqualValues(t, 1, st.Sessions)
		time.Sleep(2 * time.Minute) // nobody proposes anything: a clock entry ends it
		st, _ = s.GroupStatus(group)
		require.EqualValues(t, 0, st.Sessions)
	})
}

func TestLeastRecentlyUsedSessionGivesWay(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 1, kind, limits(raft.GroupLimits{SessionsMax: 2})).start()
		s := c.leader().server
		a, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		b, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		_, err = s.ProposeIn(t.Context(), in(a, 1, 1, "a"))
		require.NoError(t, err)
		_, err = s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		_, err = s.ProposeIn(t.Context(), in(b, 1, 1, "b"))
		require.ErrorIs(t, err, server.ErrSessionExpired)
		_, err = s.ProposeIn(t.Context(), in(a, 2, 1, "a"))
		require.NoError(t, err)
	})
}

func TestClosedSessionIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		s := c.leader().server
		id, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		require.NoError(t, s.CloseSession(t.Context(), group, id))
		require.NoError(t, s.CloseSession(t.Context(), group, id))
		_, err = s.ProposeIn(t.Context(), in(id, 1, 1, "a"))
		require.ErrorIs(t, err, server.ErrSessionExpired)
	})
}

func TestResultThatIsTooLargeIsThatErrorOnEveryTry(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 1, kind, limits(raft.GroupLimits{ResultBytesMax: 100})).start()
		s := c.leader().server
		id, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		for range 2 {
			_, err = s.ProposeIn(t.Context(), in(id, 1, 1, "large 101"))
			require.ErrorIs(t, err, server.ErrResultTooLarge)
		}
		_, err = s.ProposeIn(t.Context(), in(id, 2, 1, "large 100"))
		require.NoError(t, err)
		require.Equal(t, []string{"large 101", "large 100"}, machineOf(c.members[0].machine).commands())
	})
}

func TestSessionWithTooManyBytesOfResultsTakesNothingUntilItsFloorRises(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 1, kind, limits(raft.GroupLimits{SessionResultBytes: 1000})).start()
		s := c.leader().server
		id, err := s.OpenSession(t.Context(), group)
		require.NoError(t, err)
		_, err = s.ProposeIn(t.Context(), in(id, 1, 1, "large 1000"))
		require.NoError(t, err)
		_, err = s.ProposeIn(t.Context(), in(id, 2, 1, "no"))
		require.ErrorIs(t, err, server.ErrSequence)
		_, err = s.ProposeIn(t.Context(), in(id, 2, 2, "yes"))
		require.NoError(t, err)
	})
}

// completion makes a function a Completion.
type completion func([]byte, error)

// Complete implements server.Completion.
func (f completion) Complete(result []byte, err error) { f(result, err) }
