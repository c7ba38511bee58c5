package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// story drives a core by hand: what it asks for is taken down, and the test plays the servers.
type story struct {
	t     *testing.T
	core  *Core
	now   time.Duration
	dials []Dial
	hung  []ConnID
	ended map[string]Done
	sent  map[ConnID][]wire.ClientRequest // taken and not answered
	buf   []byte
}

func newStory(t *testing.T, o CoreOptions) *story {
	if len(o.Addresses) == 0 {
		o.Addresses = []string{"one"}
	}
	core, err := NewCore(o)
	require.NoError(t, err)
	return &story{t: t, core: core, ended: map[string]Done{}, sent: map[ConnID][]wire.ClientRequest{}}
}

// act takes down what the core asks for.
func (s *story) act() {
	a := s.core.Actions()
	s.hung = append(s.hung, a.Hangups...)
	s.dials = append(s.dials, a.Dials...)
	for _, id := range a.Writable {
		s.take(id)
	}
	for _, d := range a.Dones {
		d.Result = bytes.Clone(d.Result)
		require.NotContains(s.t, s.ended, d.Tag, "ended twice")
		s.ended[d.Tag.(string)] = d
	}
}

func (s *story) take(id ConnID) {
	s.buf = s.core.TakeOutput(id, nil)
	r := wire.NewClientReader(bytes.NewReader(s.buf), 1<<20, true)
	for {
		raw, err := r.Buffered()
		require.NoError(s.t, err)
		if raw == nil {
			if r.Fill() != nil {
				return
			}
			continue
		}
		request, _, err := wire.ParseClientRequest(r.Keep(raw))
		require.NoError(s.t, err)
		s.sent[id] = append(s.sent[id], request)
	}
}

func (s *story) start(op Op, name string) Handle {
	h := s.core.Start(s.now, op, []byte(name), name)
	s.act()
	return h
}

func (s *story) pass(d time.Duration) {
	s.now += d
	s.core.Tick(s.now)
	s.act()
}

// wake passes the time until the core wants to be woken.
func (s *story) wake() {
	require.NotEqual(s.t, Never, s.core.Deadline())
	s.pass(s.core.Deadline() - s.now)
}

func (s *story) answer(id ConnID, raw []byte) {
	r, err := wire.ParseClientResponse(raw)
	require.NoError(s.t, err)
	s.core.Received(s.now, id, &r)
	s.act()
}

// next takes the oldest request on a connection that was not taken yet.
func (s *story) next(id ConnID, want wire.Method) wire.ClientRequest {
	s.t.Helper()
	require.NotEmpty(s.t, s.sent[id], "nothing was sent")
	r := s.sent[id][0]
	s.sent[id] = s.sent[id][1:]
	require.Equal(s.t, want, r.Method)
	return r
}

func (s *story) fail(id ConnID, r wire.ClientRequest, err error) {
	s.answer(id, wire.AppendClientError(nil, r.ID, err))
}

func (s *story) succeed(id ConnID, r wire.ClientRequest) {
	s.answer(id, wire.AppendClientBytes(nil, r.ID, append([]byte("did "), r.Body...)))
}

// connect plays the making of the last connection that was asked for, up to hello's answer.
func (s *story) connect(address string) ConnID {
	s.t.Helper()
	return s.connectTo(address, 1)
}

// connectTo is connect to a server with that id, which names those members.
func (s *story) connectTo(address string, server uint64, members ...wire.ClientAddress) ConnID {
	s.t.Helper()
	d := s.dials[len(s.dials)-1]
	require.Equal(s.t, address, d.Address)
	s.core.Connected(s.now, d.Conn)
	s.act()
	hello := s.next(d.Conn, wire.MethodHello)
	require.Empty(s.t, s.sent[d.Conn], "nothing is sent before the server has said who it is")
	raw, err := wire.AppendClientValue(nil, hello.ID, wire.ClientHello{Version: 1, Cluster: bytes.Repeat([]byte{1}, 16), Server: server, CommandBytesMax: 1000, Members: members})
	require.NoError(s.t, err)
	s.answer(d.Conn, raw)
	return d.Conn
}

// open plays connect and the opening of session 77.
func (s *story) open(address string) ConnID {
	s.t.Helper()
	id := s.connect(address)
	r := s.next(id, wire.MethodSessionOpen)
	s.answer(id, wire.AppendClientSession(nil, r.ID, wire.ClientSession{Session: 77, ExpiryNanos: int64(time.Hour)}))
	return id
}

func TestRetryCarriesTheSameNumberAndTheLowestAwaitedFloor(t *testing.T) {
	s := newStory(t, CoreOptions{})
	for i := range 3 {
		s.start(OpPropose, fmt.Sprint(i))
	}
	id := s.open("one")
	first, second, third := s.next(id, wire.MethodPropose), s.next(id, wire.MethodPropose), s.next(id, wire.MethodPropose)
	require.Equal(t, [3]uint64{1, 2, 3}, [3]uint64{first.Sequence, second.Sequence, third.Sequence})
	require.Equal(t, [3]uint64{1, 1, 1}, [3]uint64{first.Floor, second.Floor, third.Floor})
	s.succeed(id, first)
	s.core.Disconnected(s.now, id, errors.New("reset"))
	s.act()
	s.wake()
	id = s.connect("one")
	again := s.next(id, wire.MethodPropose)
	require.Equal(t, second.Body, again.Body)
	require.Equal(t, [3]uint64{77, 2, 2}, [3]uint64{again.Session, again.Sequence, again.Floor})
	require.EqualValues(t, 3, s.next(id, wire.MethodPropose).Sequence)
}

func TestThe257thProposalWaitsForTheFloor(t *testing.T) {
	s := newStory(t, CoreOptions{})
	for i := range 300 {
		s.start(OpPropose, fmt.Sprint(i))
	}
	id := s.open("one")
	require.Equal(t, 256, len(s.sent[id]))
	all := s.sent[id]
	s.sent[id] = nil
	s.succeed(id, all[100])
	require.Empty(t, s.sent[id], "the floor is still waited for")
	s.succeed(id, all[0])
	require.Len(t, s.sent[id], 1)
	require.EqualValues(t, 257, s.sent[id][0].Sequence)
	require.EqualValues(t, 2, s.sent[id][0].Floor)
}

func TestRedirectIsFollowedAtOnceAndALoopOfThemIsNot(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: []string{"one"}, Sessionless: true})
	s.start(OpPropose, "a")
	addresses := []string{"one", "two"}
	pauses := 0
	for i := range 8 {
		if len(s.dials) == i {
			require.Greater(t, s.core.Deadline(), s.now)
			s.wake()
			pauses++
		}
		id := s.connect(addresses[i%2])
		s.fail(id, s.next(id, wire.MethodPropose), &wire.NotLeaderError{Leader: raft.ServerID(10 + (i+1)%2), Address: addresses[(i+1)%2]})
		require.Contains(t, s.hung, id)
	}
	require.Equal(t, 5, pauses, "two redirects are free")
	require.Empty(t, s.ended)
}

func TestAddressesOfTheCallerWinOverRedirects(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: []string{"one"}, ByID: map[raft.ServerID]string{2: "front door"}, Sessionless: true, Seed: 1})
	for s.core.lead.target != "one" {
		s.core.rotate(&s.core.lead, "")
	}
	s.start(OpPropose, "a")
	id := s.connect("one")
	s.fail(id, s.next(id, wire.MethodPropose), &wire.NotLeaderError{Leader: 2, Address: "peers only"})
	s.connect("front door")
}

// A server that was replaced may go on running: it has the id of the one that leads, and knows of no leader.
func TestOldCopyOfTheLeaderIsNotAskedForEver(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: []string{"old", "other"}, Sessionless: true, Seed: 1})
	for s.core.lead.target != "old" {
		s.core.rotate(&s.core.lead, "")
	}
	s.start(OpPropose, "a")
	old := s.connectTo("old", 1)
	s.fail(old, s.next(old, wire.MethodPropose), wire.ErrNoLeader)
	s.wake()
	other := s.connectTo("other", 2)
	s.fail(other, s.next(other, wire.MethodPropose), &wire.NotLeaderError{Leader: 1, Address: "new"})
	leader := s.connect("new")
	s.succeed(leader, s.next(leader, wire.MethodPropose))
	require.Len(t, s.ended, 1)
}

// Two servers name each other, and one of them has the id of the one that leads.
func TestCircleOfRedirectsIsLeft(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: []string{"one", "two", "three"}, Sessionless: true, Seed: 1})
	s.start(OpPropose, "a")
	for range 40 {
		if s.core.lead.active == nil {
			s.wake()
		}
		switch to := s.dials[len(s.dials)-1].Address; to {
		case "one":
			id := s.connectTo(to, 1)
			s.fail(id, s.next(id, wire.MethodPropose), &wire.NotLeaderError{Leader: 2, Address: "two"})
		case "two", "three":
			id := s.connectTo(to, 2)
			if to == "three" {
				s.succeed(id, s.next(id, wire.MethodPropose))
				require.Len(t, s.ended, 1)
				return
			}
			s.fail(id, s.next(id, wire.MethodPropose), &wire.NotLeaderError{Leader: 1, Address: "one"})
		}
	}
	t.Fatal("it goes round for ever")
}

func TestSilentServerIsPingedAndThenLeft(t *testing.T) {
	s := newStory(t, CoreOptions{SilenceMax: 3 * time.Second})
	s.start(OpPropose, "a")
	id := s.open("one")
	s.next(id, wire.MethodPropose)
	begin := s.now
	s.wake()
	require.Equal(t, time.Second, s.now-begin)
	s.answer(id, wire.AppendClientTrue(nil, s.next(id, wire.MethodPing).ID))
	s.wake()
	require.Equal(t, 2*time.Second, s.now-begin, "a server that answers pings may take its time")
	s.next(id, wire.MethodPing)
	s.wake()
	require.Equal(t, []ConnID{id}, s.hung)
	require.Equal(t, 4*time.Second, s.now-begin, "silent since the answer of the first ping")
	require.Empty(t, s.ended)
	s.wake()
	require.Len(t, s.dials, 2)
}

func TestServerThatOwesNothingIsNotPinged(t *testing.T) {
	s := newStory(t, CoreOptions{Sessionless: true})
	s.start(OpPropose, "a")
	id := s.connect("one")
	s.succeed(id, s.next(id, wire.MethodPropose))
	require.Equal(t, Never, s.core.Deadline())
}

func TestExpiredSessionIsReplacedAndOnlyWhatMayHaveRunIsUnknown(t *testing.T) {
	s := newStory(t, CoreOptions{})
	s.start(OpPropose, "lost")
	id := s.open("one")
	s.next(id, wire.MethodPropose)
	s.core.Disconnected(s.now, id, errors.New("reset"))
	s.act()
	s.start(OpPropose, "fresh")
	s.wake()
	id = s.connect("one")
	lost, fresh := s.next(id, wire.MethodPropose), s.next(id, wire.MethodPropose)
	s.fail(id, fresh, ErrSessionExpired)
	s.fail(id, lost, ErrSessionExpired)
	require.ErrorIs(t, s.ended["lost"].Err, ErrUnknown)
	require.ErrorIs(t, s.ended["lost"].Err, ErrSessionExpired)
	r := s.next(id, wire.MethodSessionOpen)
	s.answer(id, wire.AppendClientSession(nil, r.ID, wire.ClientSession{Session: 99}))
	again := s.next(id, wire.MethodPropose)
	require.Equal(t, [3]uint64{99, 1, 1}, [3]uint64{again.Session, again.Sequence, again.Floor})
	s.succeed(id, again)
	require.Equal(t, "did fresh", string(s.ended["fresh"].Result))
	require.Empty(t, s.sent[id])
}

func TestSessionIsUsedAtAThirdOfItsExpiry(t *testing.T) {
	s := newStory(t, CoreOptions{})
	s.start(OpPropose, "a")
	id := s.open("one")
	s.pass(time.Second / 2)
	s.succeed(id, s.next(id, wire.MethodPropose))
	s.wake()
	require.Equal(t, 20*time.Minute, s.now, "counted from when the last use was sent")
	keep := s.next(id, wire.MethodSessionKeep)
	require.EqualValues(t, 77, keep.Session)
	s.answer(id, wire.AppendClientTrue(nil, keep.ID))
	s.wake()
	require.Equal(t, 40*time.Minute, s.now)
	// When the connection is gone by then, one is made for it.
	s.core.Disconnected(s.now, id, errors.New("reset"))
	s.act()
	s.wake()
	id = s.connect("one")
	s.fail(id, s.next(id, wire.MethodSessionKeep), ErrSessionExpired)
	require.Equal(t, Never, s.core.Deadline())
	s.start(OpPropose, "b")
	s.next(id, wire.MethodSessionOpen)
}

func TestCommandNeverReachesAnotherCluster(t *testing.T) {
	s := newStory(t, CoreOptions{Cluster: raft.ClusterID{9}})
	s.start(OpPropose, "a")
	s.start(OpQuery, "q")
	id := s.connect("one") // its answer to hello names another cluster
	require.Empty(t, s.sent[id])
	for _, call := range []string{"a", "q"} {
		require.ErrorIs(t, s.ended[call].Err, ErrCluster)
		require.NotErrorIs(t, s.ended[call].Err, ErrUnknown)
	}
	require.Contains(t, s.hung, id)
}

func TestGroupThatNoServerHasEndsTheCall(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: []string{"one", "two"}, Sessionless: true})
	s.start(OpPropose, "a")
	for range 2 {
		require.Empty(t, s.ended)
		id := s.connect(s.dials[len(s.dials)-1].Address)
		s.fail(id, s.next(id, wire.MethodPropose), ErrNoGroup)
		if len(s.ended) == 0 {
			s.wake()
		}
	}
	require.ErrorIs(t, s.ended["a"].Err, ErrNoGroup)
}

func TestBusyServerIsAskedAgainAfterAPause(t *testing.T) {
	s := newStory(t, CoreOptions{BackoffMin: 100 * time.Millisecond})
	s.start(OpPropose, "a")
	id := s.open("one")
	for range 3 {
		r := s.next(id, wire.MethodPropose)
		require.EqualValues(t, 1, r.Sequence)
		s.fail(id, r, ErrBusy)
		require.Empty(t, s.sent[id])
		before := s.now
		s.wake()
		require.GreaterOrEqual(t, s.now-before, 50*time.Millisecond)
	}
	s.succeed(id, s.next(id, wire.MethodPropose))
	require.NoError(t, s.ended["a"].Err)
	require.Len(t, s.dials, 1)
}

func TestWhatTheFormerLeaderStillAnswersCounts(t *testing.T) {
	s := newStory(t, CoreOptions{})
	s.start(OpPropose, "a")
	s.start(OpPropose, "b")
	old := s.open("one")
	a, b := s.next(old, wire.MethodPropose), s.next(old, wire.MethodPropose)
	s.fail(old, b, &wire.NotLeaderError{Leader: 2, Address: "two"})
	id := s.connect("two")
	require.NotContains(t, s.hung, old)
	require.Equal(t, "b", string(s.next(id, wire.MethodPropose).Body))
	require.Empty(t, s.sent[id], "the other one is still in flight")
	s.succeed(old, a)
	require.Equal(t, "did a", string(s.ended["a"].Result))
	require.Contains(t, s.hung, old)
}

func TestRefusalAfterALostAttemptProvesNothing(t *testing.T) {
	refusals := []error{ErrTooLarge, wire.ErrMalformed, ErrSequence, ErrSessionExpired}
	for _, refusal := range refusals {
		s := newStory(t, CoreOptions{})
		s.start(OpPropose, "a")
		id := s.open("one")
		s.next(id, wire.MethodPropose)
		s.core.Disconnected(s.now, id, errors.New("reset"))
		s.act()
		s.wake()
		id = s.connect("one")
		s.fail(id, s.next(id, wire.MethodPropose), refusal)
		require.ErrorIs(t, s.ended["a"].Err, ErrUnknown)
		require.ErrorIs(t, s.ended["a"].Err, refusal)
	}
}

func TestCancelSaysWhatIsKnown(t *testing.T) {
	s := newStory(t, CoreOptions{})
	queued := s.start(OpPropose, "queued")
	s.core.Cancel(s.now, queued, context.Canceled)
	s.act()
	require.ErrorIs(t, s.ended["queued"].Err, ErrNotSent)
	require.ErrorIs(t, s.ended["queued"].Err, context.Canceled)

	flying := s.start(OpPropose, "flying")
	refused := s.start(OpPropose, "refused")
	id := s.open("one")
	r := s.next(id, wire.MethodPropose)
	s.fail(id, s.next(id, wire.MethodPropose), ErrBusy)
	for _, h := range []Handle{flying, refused, flying, queued} {
		s.core.Cancel(s.now, h, context.Canceled)
		s.act()
	}
	require.ErrorIs(t, s.ended["flying"].Err, ErrUnknown)
	require.ErrorIs(t, s.ended["refused"].Err, ErrNotSent)
	require.ErrorIs(t, s.ended["refused"].Err, ErrBusy)
	s.succeed(id, r) // too late, and no harm
	require.Len(t, s.ended, 3)
}

func TestGivenUpCallSaysWhyNoSessionCouldBeOpened(t *testing.T) {
	s := newStory(t, CoreOptions{})
	h := s.start(OpPropose, "a")
	id := s.connect("one")
	s.fail(id, s.next(id, wire.MethodSessionOpen), fmt.Errorf("%w: servers 2 and 3 are missing", wire.ErrNotReady))
	s.wake()
	s.core.Disconnected(s.now, s.dials[len(s.dials)-1].Conn, errors.New("refused"))
	s.act()
	s.core.Cancel(s.now, h, context.DeadlineExceeded)
	s.act()
	require.ErrorIs(t, s.ended["a"].Err, ErrNotSent)
	require.ErrorContains(t, s.ended["a"].Err, "servers 2 and 3 are missing")
	require.NotErrorIs(t, s.ended["a"].Err, wire.ErrNotReady) // that was said to another request
}

// A server that waits to be added is not born. It is no founder, and whoever is one has said what is wrong.
func TestGivenUpCallSaysThatNobodyLeadsAndNotThatABystanderIsNotBorn(t *testing.T) {
	for _, op := range []Op{OpPropose, OpBarrier} {
		s := newStory(t, CoreOptions{Addresses: []string{"one", "two", "three"}})
		h := s.start(op, "a")
		request := map[Op]wire.Method{OpPropose: wire.MethodSessionOpen, OpBarrier: wire.MethodBarrier}[op]
		for _, err := range []error{wire.ErrNotReady, wire.ErrNoLeader, errors.New("refused"), wire.ErrNotReady} {
			at := s.dials[len(s.dials)-1]
			if wire.CodeOf(err) == wire.CodeNoLeader || wire.CodeOf(err) == wire.CodeNotReady {
				id := s.connect(at.Address)
				s.fail(id, s.next(id, request), err)
			} else {
				s.core.Disconnected(s.now, at.Conn, err)
				s.act()
			}
			s.wake()
		}
		s.core.Cancel(s.now, h, context.DeadlineExceeded)
		s.act()
		require.ErrorIs(t, s.ended["a"].Err, ErrNotSent)
		require.ErrorContains(t, s.ended["a"].Err, wire.ErrNoLeader.Error())
		require.NotContains(t, s.ended["a"].Err.Error(), wire.ErrNotReady.Error())
	}
}

func TestTooLongCommandIsRefusedAndNotSent(t *testing.T) {
	s := newStory(t, CoreOptions{})
	s.core.Start(s.now, OpPropose, make([]byte, 1001), "long")
	s.act()
	id := s.open("one")
	require.ErrorIs(t, s.ended["long"].Err, ErrTooLarge)
	require.Empty(t, s.sent[id])
}

func TestBrokenServerIsHungUpOn(t *testing.T) {
	s := newStory(t, CoreOptions{Sessionless: true})
	s.start(OpQuery, "q")
	id := s.connect("one")
	s.answer(id, wire.AppendClientTrue(nil, s.next(id, wire.MethodQuery).ID))
	require.Contains(t, s.hung, id)
	s.wake()
	id = s.connect("one")
	s.answer(id, wire.AppendClientNotice(nil, wire.ErrMalformed))
	require.Contains(t, s.hung, id)
	require.Empty(t, s.ended)
}

func TestCallsAllocateNothingOnceTheyFlow(t *testing.T) {
	s := newStory(t, CoreOptions{})
	s.start(OpPropose, "first")
	id := s.open("one")
	s.succeed(id, s.next(id, wire.MethodPropose))
	body, tag := []byte("command"), any("tag")
	var spare, answer []byte
	request := s.core.find(id).nextID
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		s.core.Start(s.now, OpPropose, body, tag)
		s.core.Actions()
		spare = s.core.TakeOutput(id, spare)
		request++
		answer = wire.AppendClientBytes(answer[:0], request, body)
		r, err := wire.ParseClientResponse(answer)
		if err != nil {
			t.Fatal(err)
		}
		s.core.Received(s.now, id, &r)
		if len(s.core.Actions().Dones) != 1 {
			t.Fatal("not answered")
		}
	}))
}

// What waits to be sent again when its session ends cannot be sent in another: there its number means nothing.
func TestExpiryEndsWhatWaitsToBeSentAgain(t *testing.T) {
	s := newStory(t, CoreOptions{})
	s.start(OpPropose, "lost")
	id := s.open("one")
	s.next(id, wire.MethodPropose)
	s.core.Disconnected(s.now, id, errors.New("reset"))
	s.act()
	s.start(OpPropose, "fresh")
	s.wake()
	id = s.connect("one")
	lost, fresh := s.next(id, wire.MethodPropose), s.next(id, wire.MethodPropose)
	s.fail(id, lost, ErrBusy)
	s.fail(id, fresh, ErrSessionExpired)
	require.ErrorIs(t, s.ended["lost"].Err, ErrUnknown)
	s.wake()
	r := s.next(id, wire.MethodSessionOpen)
	s.answer(id, wire.AppendClientSession(nil, r.ID, wire.ClientSession{Session: 99}))
	require.Equal(t, "fresh", string(s.next(id, wire.MethodPropose).Body))
	require.Empty(t, s.sent[id])
}

func TestNumberRefusedForTheResultsThatAreKeptIsTriedAgainWhileTheFloorCanRise(t *testing.T) {
	s := newStory(t, CoreOptions{})
	s.start(OpPropose, "a")
	s.start(OpPropose, "b")
	id := s.open("one")
	s.core.Disconnected(s.now, id, errors.New("reset"))
	s.act()
	s.sent[id] = nil
	s.wake()
	id = s.connect("one")
	a, b := s.next(id, wire.MethodPropose), s.next(id, wire.MethodPropose)
	s.fail(id, b, ErrSequence)
	s.succeed(id, a)
	s.wake()
	again := s.next(id, wire.MethodPropose)
	require.Equal(t, [2]uint64{2, 2}, [2]uint64{again.Sequence, again.Floor})
	s.succeed(id, again)
	require.NoError(t, s.ended["b"].Err)

	// One that was certainly not applied takes another number, so that the floor can rise.
	s.start(OpPropose, "c")
	s.fail(id, s.next(id, wire.MethodPropose), ErrSequence)
	s.wake()
	again = s.next(id, wire.MethodPropose)
	require.Equal(t, [2]uint64{4, 4}, [2]uint64{again.Sequence, again.Floor})
}
