package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oarlock/oarlock/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// inMemory runs a story with a fake cluster in virtual time; the bubble ends only when every goroutine has.
func inMemory(t *testing.T, story func(t *testing.T, f *fakeCluster)) {
	synctest.Test(t, func(t *testing.T) { story(t, newFakeCluster()) })
}

func TestCallsReachTheLeaderThroughAnyServer(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		f.leader = "s3"
		c := open(t, client.Options{Servers: []string{"down", "s2"}, Dial: f.Dial})
		result, err := c.Propose(t.Context(), []byte("a"))
		require.NoError(t, err)
		require.Equal(t, "done a", string(result))
		result, err = c.Query(t.Context(), []byte("q"))
		require.NoError(t, err)
		require.Equal(t, "q", string(result))
		require.NoError(t, c.Barrier(t.Context()))
		status, err := c.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, status.Server)
	})
}

func TestManyGoroutinesShareOneConnectionWhileTheLeaderMoves(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		c := open(t, client.Options{Servers: []string{"s1", "s2", "s3"}, Dial: f.Dial})
		f.lose = 5
		var callers sync.WaitGroup
		for g := range 600 {
			callers.Go(func() {
				for i := range 3 {
					command := fmt.Sprintf("%d/%d", g, i)
					result, err := c.Propose(t.Context(), []byte(command))
					if err != nil || string(result) != "done "+command {
						t.Errorf("%s: %q, %v", command, result, err)
					}
					if g%200 == 0 {
						f.move(fmt.Sprintf("s%d", 1+(g/200+i)%3))
						f.cut("s1")
					}
				}
			})
		}
		callers.Wait()
		for g := range 600 {
			for i := range 3 {
				require.Equal(t, 1, f.count(fmt.Sprintf("%d/%d", g, i)))
			}
		}
	})
}

func TestWritesOfManyCallersLeaveTogether(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		c := open(t, client.Options{Servers: []string{"s1"}, Dial: f.Dial})
		_, err := c.Propose(t.Context(), []byte("first"))
		require.NoError(t, err)
		gate := make(chan struct{})
		f.gate = gate // while the server is busy, what the callers write has to pile up
		var callers sync.WaitGroup
		for i := range 200 {
			callers.Go(func() {
				if _, err := c.Propose(t.Context(), []byte(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		before, frames := f.requests, f.frames
		close(gate)
		callers.Wait()
		synctest.Wait()
		require.Equal(t, 200, f.requests-before)
		require.Less(t, f.frames-frames, 20)
	})
}

func TestContextThatEndsBeforeAnythingWasSentIsARefusal(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		c := open(t, client.Options{Servers: []string{"down"}, Dial: f.Dial})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.Propose(ctx, []byte("a"))
		require.ErrorIs(t, err, client.ErrNotSent)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "connection to down: nobody there")
		require.NotErrorIs(t, err, client.ErrUnknown)
		_, err = c.Propose(ctx, []byte("b"))
		require.ErrorIs(t, err, client.ErrNotSent)
	})
}

func TestContextThatEndsAfterSendingLeavesTheOutcomeUnknown(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		c := open(t, client.Options{Servers: []string{"s1"}, Dial: f.Dial})
		_, err := c.Propose(t.Context(), []byte("a"))
		require.NoError(t, err)
		f.mu.Lock()
		f.hung = true
		f.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Propose(ctx, []byte("b"))
		require.ErrorIs(t, err, client.ErrUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// A server that accepts everything and answers nothing is as good as dead.
func TestHungServerIsLeftForAnother(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		hung := newFakeCluster()
		hung.hung = true
		dial := func(ctx context.Context, address string) (net.Conn, error) {
			if address == "s2" {
				return hung.Dial(ctx, address)
			}
			return f.Dial(ctx, address)
		}
		c := open(t, client.Options{Servers: []string{"s2", "s1"}, Dial: dial})
		for i := range 5 {
			begin := time.Now()
			_, err := c.Propose(t.Context(), []byte(fmt.Sprint(i)))
			require.NoError(t, err)
			require.Less(t, time.Since(begin), 7*time.Second)
		}
	})
}

func TestCloseAnswersEveryCall(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		c := open(t, client.Options{Servers: []string{"s1"}, Dial: f.Dial})
		_, err := c.Propose(t.Context(), []byte("first"))
		require.NoError(t, err)
		f.mu.Lock()
		f.hung = true
		f.mu.Unlock()
		answers := make(chan error, 300)
		for range 300 {
			go func() {
				_, err := c.Propose(context.Background(), []byte("a"))
				answers <- err
			}()
		}
		synctest.Wait()
		require.NoError(t, c.Close())
		unknown := 0
		for range 300 {
			err := <-answers
			require.ErrorIs(t, err, client.ErrClosed)
			if errors.Is(err, client.ErrUnknown) {
				unknown++
			}
		}
		require.Equal(t, 256, unknown, "a session's window was sent, the rest was not")
		_, err = c.Propose(t.Context(), []byte("b"))
		require.ErrorIs(t, err, client.ErrClosed)
		require.NotErrorIs(t, err, client.ErrUnknown)
	})
}

func TestCloseEndsTheSession(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		c := open(t, client.Options{Servers: []string{"s1"}, Dial: f.Dial})
		_, err := c.Propose(t.Context(), []byte("a"))
		require.NoError(t, err)
		require.Len(t, f.sessions, 1)
		require.NoError(t, c.Close())
		f.running.Wait()
		require.Empty(t, f.sessions)
	})
}

func TestDialThatPanicsIsAFailedAttempt(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		tries := 0
		dial := func(ctx context.Context, address string) (net.Conn, error) {
			switch tries++; tries {
			case 1:
				panic("no")
			case 2:
				return nil, nil
			}
			return f.Dial(ctx, address)
		}
		c := open(t, client.Options{Servers: []string{"s1"}, Dial: dial})
		_, err := c.Propose(t.Context(), []byte("a"))
		require.NoError(t, err)
		require.Equal(t, 3, tries)
	})
}

func TestSessionlessProposalIsNeverSentTwice(t *testing.T) {
	inMemory(t, func(t *testing.T, f *fakeCluster) {
		c := open(t, client.Options{Servers: []string{"s1"}, Dial: f.Dial, Sessionless: true})
		f.lose = 1
		_, err := c.Propose(t.Context(), []byte("a"))
		require.ErrorIs(t, err, client.ErrUnknown)
		require.Equal(t, 1, f.count("a"))
		_, err = c.Propose(t.Context(), []byte("a"))
		require.NoError(t, err)
		require.Equal(t, 2, f.count("a"))
	})
}

func TestOverLoopbackEveryCommandIsAppliedOnce(t *testing.T) {
	f := newFakeCluster()
	one, two := f.listen(t, "s1"), f.listen(t, "s2")
	f.leader = "s2"
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		if address == "s2" { // what the redirect names
			address = two
		}
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	c, err := client.New(client.Options{Servers: []string{one}, Dial: dial})
	require.NoError(t, err)
	f.lose = 3
	var callers sync.WaitGroup
	for g := range 50 {
		callers.Go(func() {
			for i := range 20 {
				command := fmt.Sprintf("%d/%d", g, i)
				if _, err := c.Propose(t.Context(), []byte(command)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	require.NoError(t, c.Close())
	for g := range 50 {
		for i := range 20 {
			require.Equal(t, 1, f.count(fmt.Sprintf("%d/%d", g, i)))
		}
	}
}

func TestOptionsNameWhatCannotWork(t *testing.T) {
	for _, o := range []client.Options{
		{},
		{Servers: []string{""}},
		{Servers: []string{"a"}, OutstandingMax: -1},
		{Servers: []string{"a"}, BackoffMin: time.Minute, BackoffMax: time.Second},
		{Servers: []string{"a"}, CloseTimeout: -1},
	} {
		_, err := client.New(o)
		require.Error(t, err)
	}
}
