package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// served runs a story with a fake backend in virtual time. The bubble ends only when every goroutine has.
func served(t *testing.T, o ClientOptions, story func(t *testing.T, f *fakeDoor, c *clients)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDoor()
		c := newClients(f, o, nil)
		t.Cleanup(c.close)
		story(t, f, c)
	})
}

func TestEveryMethodIsAnswered(t *testing.T) {
	served(t, ClientOptions{}, func(t *testing.T, f *fakeDoor, c *clients) {
		v := visit(t, c)
		var hello wire.ClientHello
		r := v.ask(wire.ClientRequest{ID: 1, Method: wire.MethodHello, Version: 1})
		require.NoError(t, r.Err)
		require.NoError(t, r.ClientValue(&hello))
		require.Equal(t, f.hello(), hello)

		r = v.ask(wire.ClientRequest{ID: 2, Method: wire.MethodSessionOpen, Group: 1})
		session, err := r.ClientSession()
		require.NoError(t, err)
		require.Equal(t, wire.ClientSession{Session: 77, ExpiryNanos: int64(time.Hour), Window: 256}, session)

		r = v.ask(wire.ClientRequest{ID: 3, Method: wire.MethodPropose, Group: 1, Session: 77, Sequence: 1, Floor: 1, Body: []byte("x")})
		b, err := r.ClientBytes()
		require.NoError(t, err)
		require.Equal(t, "did x", string(b))

		for level, want := range map[raft.Level]string{Linearizable: "read q", Stale: "local q"} {
			r = v.ask(wire.ClientRequest{ID: 4, Method: wire.MethodQuery, Group: 1, Body: []byte("q"), Consistency: Consistency{Level: level}})
			b, err = r.ClientBytes()
			require.NoError(t, err)
			require.Equal(t, want, string(b))
		}
		for _, m := range []wire.Method{wire.MethodSessionKeep, wire.MethodBarrier, wire.MethodPing, wire.MethodStatus, wire.MethodMembers, wire.MethodSessionClose} {
			require.NoError(t, v.ask(wire.ClientRequest{ID: 5, Method: m, Group: 1, Session: 77}).Err, m)
		}
		require.Equal(t, []string{"x"}, f.applied, "nothing but the command was executed")
	})
}

// TestAnswersCarryTheirIndexWhereItIsAskedFor: of commands and queries, small ones and those that are not copied.
func TestAnswersCarryTheirIndexWhereItIsAskedFor(t *testing.T) {
	served(t, ClientOptions{}, func(t *testing.T, f *fakeDoor, c *clients) {
		v := visit(t, c)
		for _, want := range []string{"short", string(make([]byte, 2*outboxResultMin))} {
			f.result = []byte(want)
			for _, request := range []wire.ClientRequest{
				{ID: 1, Method: wire.MethodPropose, Group: 1, Body: []byte("x"), Indexed: true},
				{ID: 2, Method: wire.MethodQuery, Group: 1, Body: []byte("q"), Indexed: true},
				{ID: 3, Method: wire.MethodQuery, Group: 1, Body: []byte("q"), Indexed: true, Any: true, Consistency: Consistency{Level: Bounded, MinIndex: 8}},
			} {
				r := v.ask(request)
				index, b, err := r.ClientIndexed()
				require.NoError(t, err)
				require.EqualValues(t, 8, index)
				require.Equal(t, want, string(b))
			}
		}
		for _, asked := range []bool{true, false} {
			r := v.ask(wire.ClientRequest{ID: 8, Method: wire.MethodPropose, Group: 1, Body: []byte("large"), Indexed: asked})
			require.ErrorIs(t, r.Err, ErrResultTooLarge)
			require.Equal(t, asked, r.Index == 8, "of an error that is an answer, too")
		}
		ahead := wire.ClientRequest{ID: 4, Method: wire.MethodQuery, Group: 1, Indexed: true, Any: true, Consistency: Consistency{Level: Bounded, MinIndex: 9}}
		require.ErrorIs(t, v.ask(ahead).Err, ErrBehind)

		f.leader = false
		for any, want := range map[bool]error{false: ErrNotLeader, true: nil} {
			r := v.ask(wire.ClientRequest{ID: 5, Method: wire.MethodQuery, Group: 1, Indexed: true, Any: any})
			require.ErrorIs(t, r.Err, want)
		}
		require.ErrorIs(t, v.ask(wire.ClientRequest{ID: 6, Method: wire.MethodQuery, Group: 1}).Err, ErrNotLeader, "the older form means the leader")
		stale := v.ask(wire.ClientRequest{ID: 7, Method: wire.MethodQuery, Group: 1, Indexed: true, Consistency: Consistency{Level: Stale}})
		require.NoError(t, stale.Err, "whoever is asked")
	})
}

func TestRefusalsReachTheClientWithTheirMeaning(t *testing.T) {
	served(t, ClientOptions{}, func(t *testing.T, f *fakeDoor, c *clients) {
		v := visit(t, c)
		require.ErrorIs(t, v.ask(wire.ClientRequest{ID: 1, Method: wire.MethodPropose, Group: 9}).Err, ErrNoGroup)
		require.ErrorIs(t, v.ask(wire.ClientRequest{ID: 2, Method: wire.MethodSessionKeep, Group: 1, Session: 5}).Err, ErrSessionExpired)
		require.ErrorIs(t, v.ask(wire.ClientRequest{ID: 3, Method: wire.MethodStatus, Group: 9}).Err, ErrNoGroup)
		// Session 0 in these would be a proposal that opens a session, or one outside of any.
		require.ErrorIs(t, v.ask(wire.ClientRequest{ID: 4, Method: wire.MethodSessionKeep, Group: 1}).Err, wire.ErrMalformed)
		require.ErrorIs(t, v.ask(wire.ClientRequest{ID: 5, Method: wire.MethodSessionClose, Group: 1}).Err, wire.ErrMalformed)
		f.leader = false
		var hint *NotLeaderError
		require.ErrorAs(t, v.ask(propose(6, "x")).Err, &hint)
		require.Equal(t, NotLeaderError{Leader: 2, Address: "two.example:7400"}, *hint)
		_, err := v.conn.Write([]byte("\x94\x00\x07\xa7destroy\x90"))
		require.NoError(t, err)
		r := v.hear()
		require.EqualValues(t, 7, r.ID)
		require.ErrorIs(t, r.Err, wire.ErrMalformed)
		require.NoError(t, v.ask(wire.ClientRequest{ID: 8, Method: wire.MethodPing}).Err, "the connection goes on")
		require.Empty(t, f.applied)
	})
}

func TestAnswersComeInTheOrderOfCompletionAndNotificationsGetNone(t *testing.T) {
	served(t, ClientOptions{}, func(t *testing.T, f *fakeDoor, c *clients) {
		v := visit(t, c)
		f.hold = true
		quiet := propose(0, "quiet")
		quiet.Notification = true
		v.say(propose(1, "a"), quiet, propose(2, "b"), wire.ClientRequest{ID: 3, Method: wire.MethodPing})
		require.EqualValues(t, 3, v.hear().ID, "what needs no log does not wait for what does")
		f.release(3)
		require.EqualValues(t, 1, v.hear().ID)
		require.EqualValues(t, 2, v.hear().ID)
		require.Equal(t, []string{"a", "quiet", "b"}, f.applied)
	})
}

func TestWrongClusterOrVersionEndsTheConnectionBeforeAnythingBehindIt(t *testing.T) {
	for want, hello := range map[error]wire.ClientRequest{
		wire.ErrCluster: {ID: 1, Method: wire.MethodHello, Version: 1, Cluster: raft.ClusterID{1}},
		wire.ErrVersion: {ID: 1, Method: wire.MethodHello, Version: 2},
	} {
		served(t, ClientOptions{}, func(t *testing.T, f *fakeDoor, c *clients) {
			v := visit(t, c)
			v.say(hello, propose(2, "x"))
			require.ErrorIs(t, v.hear().Err, want)
			v.gone()
			require.Empty(t, f.applied)
		})
	}
}

func TestGarbageIsToldWhyAndDropped(t *testing.T) {
	for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00", "\x93\x00\x01\x02", "\xc1", "\x94\x00\x01\xc1"} {
		served(t, ClientOptions{}, func(t *testing.T, _ *fakeDoor, c *clients) {
			v := visit(t, c)
			_, err := v.conn.Write([]byte(garbage))
			require.NoError(t, err)
			r := v.hear()
			require.True(t, r.Notification, "%q", garbage)
			require.ErrorIs(t, r.Err, wire.ErrMalformed)
			v.gone()
		})
	}
}

func TestRequestThatClaimsTooMuchIsRefusedBeforeItsBytesCome(t *testing.T) {
	served(t, ClientOptions{}, func(t *testing.T, _ *fakeDoor, c *clients) {
		v := visit(t, c)
		_, err := v.conn.Write([]byte("\x94\x00\x09\xa7propose\x95\x01\x00\x00\x00\xc6\xff\xff\xff\xff"))
		require.NoError(t, err)
		r := v.hear()
		require.EqualValues(t, 9, r.ID)
		require.ErrorIs(t, r.Err, ErrTooLarge)
		v.gone()
	})
}

func TestConnectionIsNotReadWhileTooMuchIsOutstanding(t *testing.T) {
	bounds := map[string]ClientOptions{
		"requests": {OutstandingMax: 10}, "bytes": {OutstandingBytesMax: 10 * (1 + clientRequestOverhead)},
	}
	for name, o := range bounds {
		served(t, o, func(t *testing.T, f *fakeDoor, c *clients) {
			v := visit(t, c)
			f.hold = true
			go func() { // the pipe has no room of its own, so this blocks until all is read
				for id := range uint32(100) {
					r := propose(id, "x")
					if _, err := v.conn.Write(wire.AppendClientRequest(nil, &r)); err != nil {
						t.Error(err)
					}
				}
			}()
			for answered := 0; answered < 100; {
				synctest.Wait()
				n := f.count()
				require.LessOrEqual(t, n, 10, name)
				require.Positive(t, n, name)
				f.release(n)
				for range n {
					require.NoError(t, v.hear().Err)
				}
				answered += n
			}
		})
	}
}

func TestClientThatDoesNotReadIsNotReadAndThenDropped(t *testing.T) {
	served(t, ClientOptions{UnreadBytesMax: 100_000}, func(t *testing.T, f *fakeDoor, c *clients) {
		f.result = make([]byte, 10_000)
		v := visit(t, c)
		wrote := make(chan int)
		go func() {
			n := 0
			for id := range uint32(1000) {
				r := propose(id, "x")
				if _, err := v.conn.Write(wire.AppendClientRequest(nil, &r)); err != nil {
					break
				}
				n++
			}
			wrote <- n
		}()
		begin := time.Now()
		require.Less(t, <-wrote, 30)
		require.Equal(t, 10*time.Second, time.Since(begin))
		<-v.over
	})
}

// Results that nobody reads are withheld at a bound, and what is said of them is true: a proposal was applied, so its
// outcome is for the client unknown, and never refused.
func TestResultsThatPileUpAreWithheldAsUnknown(t *testing.T) {
	served(t, ClientOptions{UnreadBytesMax: 8000}, func(t *testing.T, f *fakeDoor, c *clients) {
		f.hold = true
		v := visit(t, c)
		var all []wire.ClientRequest
		for id := range uint32(100) {
			all = append(all, propose(id, "x"))
		}
		v.say(all...)
		synctest.Wait()
		f.result = make([]byte, 500)
		f.release(100)
		withheld := 0
		for range 100 {
			if r := v.hear(); r.Err != nil {
				require.ErrorIs(t, r.Err, ErrUnknown)
				withheld++
			}
		}
		require.Positive(t, withheld)
		require.Less(t, withheld, 90)
		require.Len(t, f.applied, 100)
	})
}

// What was carried out is never answered as refused, however much is unread. A short answer takes no more room than its refusal, and comes.
func TestWhatWasCarriedOutIsNotAnsweredAsRefused(t *testing.T) {
	served(t, ClientOptions{UnreadBytesMax: 1000}, func(t *testing.T, f *fakeDoor, c *clients) {
		f.result = make([]byte, 5000)
		v := visit(t, c)
		v.say(propose(0, "x"))
		synctest.Wait()
		require.Greater(t, only(c).unreadNow(), 1000)
		answers := []struct {
			method wire.Method
			result []byte
			err    error
		}{
			{wire.MethodStepDown, nil, nil},
			{wire.MethodTransferLeadership, nil, nil},
			{wire.MethodBarrier, nil, nil},
			{wire.MethodSessionOpen, wire.AppendSessionID(nil, 77), nil},
			{wire.MethodSessionKeep, nil, nil},
			{wire.MethodSessionClose, nil, nil},
			{wire.MethodPropose, []byte("short"), nil},
			{wire.MethodPropose, make([]byte, 200), ErrUnknown},
			{wire.MethodChangeMembership, make([]byte, 200), ErrUnknown},
			{wire.MethodQuery, make([]byte, 200), ErrBusy},
			{wire.MethodPlanMembership, make([]byte, 200), ErrBusy},
			{wire.MethodMembers, make([]byte, 200), ErrBusy},
		}
		for id, a := range answers { // each was asked for before so much was unread
			only(c).newCall(&wire.ClientRequest{ID: uint32(id), Method: a.method}).Complete(a.result, nil)
		}
		require.NoError(t, v.hear().Err)
		for _, a := range answers {
			if r := v.hear(); a.err == nil {
				require.NoError(t, r.Err, a.method)
			} else {
				require.Equal(t, wire.CodeOf(a.err), wire.CodeOf(r.Err), a.method)
			}
		}
	})
}

func TestSlowlorisIsDroppedAndASlowLinkIsNot(t *testing.T) {
	served(t, ClientOptions{}, func(t *testing.T, f *fakeDoor, c *clients) {
		v := visit(t, c)
		begin := time.Now()
		go func() {
			r := propose(1, strings.Repeat("x", 1000))
			for _, b := range wire.AppendClientRequest(nil, &r) {
				time.Sleep(time.Second)
				if _, err := v.conn.Write([]byte{b}); err != nil {
					return
				}
			}
		}()
		<-v.over
		require.Equal(t, 10*time.Second, time.Since(begin))

		f.commands = 1 << 20
		slow := visit(t, c)
		go func() {
			r := propose(1, strings.Repeat("x", 1<<20))
			for raw := wire.AppendClientRequest(nil, &r); len(raw) > 0; {
				n := min(len(raw), 10_000)
				time.Sleep(time.Second)
				if _, err := slow.conn.Write(raw[:n]); err != nil {
					t.Error(err)
					return
				}
				raw = raw[n:]
			}
		}()
		require.NoError(t, slow.hear().Err)
	})
}

func TestIdleConnectionEndsAndAWaitingOneDoesNot(t *testing.T) {
	served(t, ClientOptions{}, func(t *testing.T, f *fakeDoor, c *clients) {
		idle, waiting, silent := visit(t, c), visit(t, c), visit(t, c)
		require.NoError(t, idle.ask(wire.ClientRequest{ID: 1, Method: wire.MethodPing}).Err)
		f.hold = true
		waiting.say(propose(1, "x"))
		begin := time.Now()
		<-silent.over
		require.Equal(t, 10*time.Second, time.Since(begin))
		<-idle.over
		require.Equal(t, 10*time.Minute, time.Since(begin))
		time.Sleep(30 * time.Minute)
		f.release(1)
		require.NoError(t, waiting.hear().Err)
		<-waiting.over
	})
}

func TestCloseLetsAnswersOutAndEndsEveryConnection(t *testing.T) {
	served(t, ClientOptions{}, func(t *testing.T, f *fakeDoor, c *clients) {
		f.hold = true
		v, stuck := visit(t, c), visit(t, c)
		v.say(propose(1, "x"))
		stuck.say(wire.ClientRequest{ID: 1, Method: wire.MethodPing}) // and never reads
		synctest.Wait()
		f.held[0].done.Complete(nil, fmt.Errorf("%w: %w", ErrUnknown, ErrClosed))
		begin := time.Now()
		go c.close()
		r := v.hear()
		require.ErrorIs(t, r.Err, ErrUnknown)
		<-v.over
		<-stuck.over
		require.LessOrEqual(t, time.Since(begin), clientLastWords)
		late := visit(t, c)
		<-late.over
	})
}

func TestCompletionAfterTheConnectionEndedIsHarmless(t *testing.T) {
	served(t, ClientOptions{}, func(t *testing.T, f *fakeDoor, c *clients) {
		f.hold = true
		v := visit(t, c)
		v.say(propose(1, "a"), propose(2, "b"))
		synctest.Wait()
		require.NoError(t, v.conn.Close())
		<-v.over
		f.release(2)
		require.Equal(t, []string{"a", "b"}, f.applied)
	})
}

type panickyDoor struct{ *fakeDoor }

func (panickyDoor) status(raft.GroupID) (wire.ClientStatus, error) { panic("no status") }

func TestPanicEndsTheConnectionAndNotTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := newClients(panickyDoor{newFakeDoor()}, ClientOptions{}, slog.New(slog.NewTextHandler(&log, nil)))
		v := visit(t, c)
		v.say(wire.ClientRequest{ID: 1, Method: wire.MethodStatus})
		<-v.over
		require.Contains(t, log.String(), "no status")
		c.close()
	})
}

func TestLogOfBadClientsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := newClients(newFakeDoor(), ClientOptions{}, slog.New(slog.NewTextHandler(&log, nil)))
		bad := func() {
			v := visit(t, c)
			_, err := v.conn.Write([]byte("GET"))
			require.NoError(t, err)
			v.gone()
		}
		for range 50 {
			bad()
		}
		require.Equal(t, logLinesMax, strings.Count(log.String(), "\n"))
		time.Sleep(time.Minute)
		bad()
		require.Contains(t, log.String(), "not_logged=40")
		c.close()
	})
}

func TestConnectionsBeyondTheBoundAreClosedAtOnce(t *testing.T) {
	served(t, ClientOptions{ConnectionsMax: 2}, func(t *testing.T, _ *fakeDoor, c *clients) {
		one, two := visit(t, c), visit(t, c)
		require.NoError(t, one.ask(wire.ClientRequest{ID: 1, Method: wire.MethodPing}).Err)
		require.NoError(t, two.ask(wire.ClientRequest{ID: 1, Method: wire.MethodPing}).Err)
		visit(t, c).gone()
		require.NoError(t, one.conn.Close())
		<-one.over
		require.NoError(t, visit(t, c).ask(wire.ClientRequest{ID: 1, Method: wire.MethodPing}).Err)
	})
}

func TestServeAcceptsUntilItIsClosed(t *testing.T) {
	c := newClients(newFakeDoor(), ClientOptions{}, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error)
	go func() { ended <- c.serve(listener) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	v := &visitor{t: t, conn: conn, r: wire.NewClientReader(conn, 1<<20, true)}
	require.NoError(t, v.ask(wire.ClientRequest{ID: 1, Method: wire.MethodPing}).Err)
	// A client that has said all that it has to say is still answered.
	v.say(propose(2, "x"))
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	require.NoError(t, v.hear().Err)
	_, err = v.next()
	require.ErrorIs(t, err, io.EOF)
	c.close()
	require.ErrorIs(t, <-ended, ErrClosed)
	require.ErrorIs(t, c.serve(listener), ErrClosed)
	require.NoError(t, conn.Close())
}

func TestServeThatComesAfterTheCloseClosesItsListener(t *testing.T) {
	c := newClients(newFakeDoor(), ClientOptions{}, nil)
	c.close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.ErrorIs(t, c.serve(listener), ErrClosed)
	require.ErrorIs(t, listener.Close(), net.ErrClosed)
}

// failingListener fails as often as it is told, and then for good.
type failingListener struct {
	net.Listener
	errors []error
}

func (l *failingListener) Accept() (net.Conn, error) {
	err := l.errors[0]
	l.errors = l.errors[1:]
	return nil, err
}

// transientErrors are failures of Accept as the operating system words them.
func transientErrors(n int) (all []error) {
	for i := range n {
		errno := []syscall.Errno{syscall.EMFILE, syscall.ECONNABORTED, syscall.ENOBUFS}[i%3]
		all = append(all, &net.OpError{Op: "accept", Net: "tcp", Err: errno})
	}
	return all
}

func TestServeOutlivesWhatPassesAndReportsWhatDoesNot(t *testing.T) {
	served(t, ClientOptions{}, func(t *testing.T, _ *fakeDoor, c *clients) {
		broken := errors.New("broken for good")
		begin := time.Now()
		err := c.serve(&failingListener{errors: append(transientErrors(20), broken)})
		require.ErrorIs(t, err, broken)
		require.Greater(t, time.Since(begin), 5*time.Second)
		require.Less(t, time.Since(begin), 20*time.Second)
	})
}

func TestHotPathAllocatesForWhatArrivedAndNotForEachRequest(t *testing.T) {
	f := newFakeDoor()
	f.result = []byte("one")
	k := newClientConn(newClients(sinkDoor{f}, ClientOptions{}, nil), nil)
	k.requests = wire.NewClientReader(nil, 1<<20, true)
	request := propose(1, "set x 1")
	raw := wire.AppendClientRequest(nil, &request)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
		if err := k.request(raw); err != nil {
			t.Fatal(err)
		}
		k.out.reset()
	}), 0.1)
}

// sinkDoor completes without keeping anything.
type sinkDoor struct{ *fakeDoor }

func (s sinkDoor) Submit(_ Proposal, done Completion) { done.Complete(s.result, nil) }
