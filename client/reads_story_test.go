package client

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// meet plays the making of the last connection that was asked for, with a server that knows indexes.
func (s *story) meet() (ConnID, string) {
	s.t.Helper()
	d := s.dials[len(s.dials)-1]
	s.core.Connected(s.now, d.Conn)
	s.act()
	hello := s.next(d.Conn, wire.MethodHello)
	raw, err := wire.AppendClientValue(nil, hello.ID, wire.ClientHello{
		Version: 1, Cluster: bytes.Repeat([]byte{1}, 16), Server: uint64(d.Conn), CommandBytesMax: 1000, Indexes: true,
	})
	require.NoError(s.t, err)
	s.answer(d.Conn, raw)
	return d.Conn, d.Address
}

// reflect answers a command or a query with an index.
func (s *story) reflect(id ConnID, r wire.ClientRequest, index raft.Index) {
	require.True(s.t, r.Indexed)
	s.answer(id, wire.AppendClientIndexed(nil, r.ID, index, r.Body))
}

func (s *story) query(name string, c Consistency) {
	s.core.Start(s.now, OpQuery, []byte(name), name, c)
	s.act()
}

var three = []string{"one", "two", "three"}

func TestQueriesGoToAnyServerAndCommandsToTheLeader(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: three, ReadFrom: ReadAny, Sessionless: true, Seed: 5})
	s.query("q", Consistency{Level: Bounded, MaxAge: time.Second})
	near, at := s.meet()
	r := s.next(near, wire.MethodQuery)
	require.True(t, r.Any)
	require.Equal(t, Consistency{Level: Bounded, MaxAge: time.Second}, r.Consistency)
	s.reflect(near, r, 7)
	require.EqualValues(t, 7, s.core.Seen())
	require.NoError(t, s.ended["q"].Err)

	s.start(OpPropose, "a")
	require.Len(t, s.dials, 2, "commands have a connection of their own")
	lead, _ := s.meet()
	s.fail(lead, s.next(lead, wire.MethodPropose), &wire.NotLeaderError{Leader: 9, Address: "four"})
	lead, leader := s.meet()
	require.Equal(t, "four", leader)
	s.reflect(lead, s.next(lead, wire.MethodPropose), 30)

	s.query("own", Consistency{Level: Bounded, MinIndex: 9})
	r = s.next(near, wire.MethodQuery)
	require.EqualValues(t, 30, r.Consistency.MinIndex, "it sees the command that was answered")
	// A server that cannot is left for another one, and a hint to the leader is not followed.
	s.fail(near, r, &wire.NotLeaderError{Leader: 9, Address: "four"})
	s.wake()
	near, next := s.meet()
	require.NotEqual(t, at, next)
	s.fail(near, s.next(near, wire.MethodQuery), wire.ErrBehind)
	s.wake()
	near, last := s.meet()
	require.NotEqual(t, next, last)
	s.reflect(near, s.next(near, wire.MethodQuery), 31)
	require.NoError(t, s.ended["own"].Err)

	s.query("stays", Consistency{})
	r = s.next(near, wire.MethodQuery)
	require.Zero(t, r.Consistency, "a linearizable query needs no minimum")
	s.reflect(near, r, 29)
	require.EqualValues(t, 31, s.core.Seen())
}

// A command whose result is too large was executed, and a query that the machine answered with an error was answered: what is read
// from now on reflects them.
func TestErrorsThatAreAnswersAreSeen(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: three, Sessionless: true})
	s.start(OpPropose, "a")
	id, _ := s.meet()
	r := s.next(id, wire.MethodPropose)
	s.answer(id, wire.AppendClientErrorAt(nil, r.ID, 40, wire.ErrResultTooLarge))
	require.ErrorIs(t, s.ended["a"].Err, ErrResultTooLarge)
	require.EqualValues(t, 40, s.core.Seen())
	s.query("q", Consistency{Level: Bounded, MinIndex: 9})
	r = s.next(id, wire.MethodQuery)
	require.EqualValues(t, 40, r.Consistency.MinIndex)
	s.answer(id, wire.AppendClientErrorAt(nil, r.ID, 41, fmt.Errorf("%w: no such key", wire.ErrQuery)))
	require.ErrorIs(t, s.ended["q"].Err, ErrQuery)
	require.EqualValues(t, 41, s.core.Seen())
}

// Half of an answer on one connection moves the clock beyond the moment of another dial: that is due then, and not forgotten.
func TestWhatFallsDueWhileBytesComeInIsDue(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: three, ReadFrom: ReadAny, Sessionless: true, Seed: 5})
	s.query("q", Consistency{Level: Stale})
	near, _ := s.meet()
	s.start(OpPropose, "a")
	lead := s.dials[len(s.dials)-1]
	dials := len(s.dials)
	s.core.Disconnected(s.now, lead.Conn, errors.New("refused"))
	s.act()
	require.Len(t, s.dials, dials)
	s.now = s.core.Deadline() + 1
	s.core.Heard(s.now, near)
	require.LessOrEqual(t, s.core.Deadline(), s.now)
	s.core.Tick(s.now)
	s.act()
	require.Len(t, s.dials, dials+1)
}

func TestQueriesForTheLeaderSaySo(t *testing.T) {
	s := newStory(t, CoreOptions{Sessionless: true})
	s.query("q", Consistency{Level: Lease})
	id, _ := s.meet()
	r := s.next(id, wire.MethodQuery)
	require.False(t, r.Any)
	require.Equal(t, Lease, r.Consistency.Level)
	s.fail(id, r, &wire.NotLeaderError{Leader: 2, Address: "two"})
	id, address := s.meet()
	require.Equal(t, "two", address)
	s.reflect(id, s.next(id, wire.MethodQuery), 1)
}

// A server that does not know what is wanted is asked for more than that.
func TestServersThatTellNoIndexAreAskedForALinearizableAnswer(t *testing.T) {
	s := newStory(t, CoreOptions{Sessionless: true})
	s.query("bounded", Consistency{Level: Bounded, MaxAge: time.Hour})
	id := s.connect("one")
	r := s.next(id, wire.MethodQuery)
	require.False(t, r.Indexed)
	require.Zero(t, r.Consistency)
	s.succeed(id, r)
	s.start(OpQueryLocal, "stale")
	r = s.next(id, wire.MethodQuery)
	require.Equal(t, Stale, r.Consistency.Level)
	s.succeed(id, r)
	require.NoError(t, s.ended["bounded"].Err)
	require.NoError(t, s.ended["stale"].Err)
}

func TestManyReadersSpreadAndSpreadAgainWhenTheirServerFails(t *testing.T) {
	first, second := map[string]int{}, map[[2]string]int{}
	for seed := range uint64(600) {
		s := newStory(t, CoreOptions{Addresses: three, ReadFrom: ReadAny, Seed: seed})
		s.query("q", Consistency{})
		id, at := s.meet()
		first[at]++
		s.core.Disconnected(s.now, id, errSilent)
		s.act()
		s.wake()
		_, next := s.meet()
		require.NotEqual(t, at, next)
		second[[2]string{at, next}]++
	}
	for _, a := range three {
		require.Greater(t, first[a], 150)
		for _, b := range three {
			if a != b {
				require.Greater(t, second[[2]string{a, b}], 60, "from %s to %s", a, b)
			}
		}
	}
}

// A server that has come back gets its share of the readers, without an error for anybody.
func TestReadersDrawAnewAfterSomeMinutes(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: three, ReadFrom: ReadAny, Seed: 1})
	s.query("first", Consistency{})
	id, at := s.meet()
	s.reflect(id, s.next(id, wire.MethodQuery), 1)
	s.now += moveMin - 1
	s.query("under way", Consistency{})
	require.Len(t, s.dials, 1)
	s.now += moveMin + 1
	s.query("second", Consistency{})
	require.Len(t, s.dials, 2)
	s.reflect(id, s.next(id, wire.MethodQuery), 2)
	require.NoError(t, s.ended["under way"].Err)
	require.Contains(t, s.hung, id, "when all that it owed has come")
	next, address := s.meet()
	require.NotEqual(t, at, address)
	s.reflect(next, s.next(next, wire.MethodQuery), 3)
	require.NoError(t, s.ended["second"].Err)
}

func TestConsistencyBelongsToQueries(t *testing.T) {
	s := newStory(t, CoreOptions{})
	for name, c := range map[string][]Consistency{"unknown": {{Level: 4}}, "two": {{}, {}}, "no bound": {{Level: Bounded}}} {
		s.core.Start(s.now, OpQuery, nil, name, c...)
		s.act()
		require.ErrorIs(t, s.ended[name].Err, ErrMalformed)
	}
	s.core.Start(s.now, OpPropose, nil, "command", Consistency{})
	s.act()
	require.ErrorIs(t, s.ended["command"].Err, ErrMalformed)
	require.ErrorContains(t, CoreOptions{Addresses: three, ReadFrom: 2}.Validate(), "ReadFrom")
}

// A query that waits for what the group has not reached yet is put off alone: the server leads, and owes others their answers.
func TestQueryThatIsAheadOfTheLeaderHoldsNobodyElseUp(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: three, Sessionless: true, BackoffMin: 100 * time.Millisecond, BackoffMax: time.Second, Seed: 5})
	s.start(OpPropose, "slow")
	s.core.Start(s.now, OpStepDown, nil, "down")
	s.query("ahead", Consistency{Level: Bounded, MinIndex: 1000})
	lead, _ := s.meet()
	slow, down := s.next(lead, wire.MethodPropose), s.sent[lead][0]
	s.sent[lead] = s.sent[lead][1:]
	require.Equal(t, wire.MethodStepDown, down.Method)
	for _, least := range []time.Duration{50, 100, 200, 400, 500, 500} {
		s.fail(lead, s.next(lead, wire.MethodQuery), wire.ErrBehind)
		require.Empty(t, s.sent[lead], "it is asked again after a pause that grows")
		s.query("meanwhile", Consistency{Level: Bounded, MinIndex: 1})
		s.reflect(lead, s.next(lead, wire.MethodQuery), 7)
		require.NoError(t, s.ended["meanwhile"].Err)
		delete(s.ended, "meanwhile")
		rests := s.core.Deadline() - s.now
		require.GreaterOrEqual(t, rests, least*time.Millisecond)
		require.LessOrEqual(t, rests, 2*least*time.Millisecond)
		s.pass(rests)
	}
	require.Len(t, s.dials, 1)
	require.Empty(t, s.hung)
	s.reflect(lead, slow, 1000)
	s.answer(lead, wire.AppendClientTrue(nil, down.ID))
	s.reflect(lead, s.next(lead, wire.MethodQuery), 1000)
	for _, name := range []string{"slow", "down", "ahead"} {
		require.NoError(t, s.ended[name].Err)
	}
	require.Equal(t, Never, s.core.Deadline())
}

func TestQueryThatIsPutOffEndsLikeAnyOther(t *testing.T) {
	put := func() (*story, Handle, ConnID) {
		s := newStory(t, CoreOptions{Addresses: three, Sessionless: true, Seed: 5})
		h := s.core.Start(s.now, OpQuery, nil, "ahead", Consistency{Level: Bounded, MinIndex: 1000})
		s.act()
		lead, _ := s.meet()
		s.fail(lead, s.next(lead, wire.MethodQuery), wire.ErrBehind)
		return s, h, lead
	}
	s, h, _ := put()
	s.core.Cancel(s.now, h, errSilent)
	s.act()
	require.ErrorIs(t, s.ended["ahead"].Err, ErrNotSent)
	require.ErrorIs(t, s.ended["ahead"].Err, wire.ErrBehind)
	require.Equal(t, Never, s.core.Deadline())

	s, _, _ = put()
	s.core.Close(s.now)
	s.act()
	require.ErrorIs(t, s.ended["ahead"].Err, ErrClosed)

	s, _, lead := put() // its leader is gone when it is time: the next one is asked
	s.core.Disconnected(s.now, lead, errSilent)
	s.act()
	require.Len(t, s.dials, 1)
	s.wake()
	lead, _ = s.meet()
	s.reflect(lead, s.next(lead, wire.MethodQuery), 1000)
	require.NoError(t, s.ended["ahead"].Err)
}

// Who goes on to a server that has more leaves the other answers time: a query that takes long would begin anew, again and again.
func TestReadersThatLeaveAServerThatIsBehindAwaitItsAnswers(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: three, ReadFrom: ReadAny, Seed: 5})
	s.query("slow", Consistency{})
	s.query("ahead", Consistency{Level: Bounded, MinIndex: 1000})
	left, _ := s.meet()
	slow := s.next(left, wire.MethodQuery)
	s.fail(left, s.next(left, wire.MethodQuery), wire.ErrBehind)
	s.wake()
	near, _ := s.meet()
	require.NotEqual(t, left, near)
	s.reflect(near, s.next(near, wire.MethodQuery), 1000)
	require.NoError(t, s.ended["ahead"].Err)
	for range 10 {
		s.wake()
		s.answer(left, wire.AppendClientTrue(nil, s.next(left, wire.MethodPing).ID))
	}
	s.reflect(left, slow, 8)
	require.NoError(t, s.ended["slow"].Err)
	require.Equal(t, []ConnID{left}, s.hung)
	require.Len(t, s.dials, 2)
}
