package servertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server/servertest"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// heard is a T that keeps what it is told.
type heard struct {
	mu       sync.Mutex
	errors   []string
	cleanups []func()
}

func (*heard) Helper()                           {}
func (h *heard) Cleanup(f func())                { h.cleanups = append(h.cleanups, f) }
func (h *heard) Fatalf(format string, of ...any) { h.Errorf(format, of...) }
func (h *heard) Errorf(format string, of ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errors = append(h.errors, fmt.Sprintf(format, of...))
}

func (h *heard) end() []string {
	for _, f := range h.cleanups {
		f()
	}
	return h.errors
}

// fragile panics when it is told to, unless it is mended.
type fragile struct {
	*kv.Machine
	mended *atomic.Bool
}

func (f fragile) ApplyBatch(entries []statemachine.Entry, results [][]byte) {
	for _, e := range entries {
		if string(e.Command) == "boom" && !f.mended.Load() {
			f.fall(len(e.Command))
		}
	}
	f.Machine.ApplyBatch(entries, results)
}

func (fragile) fall(n int) int { return []int{1, 2}[n] }

// fragileStory runs a cluster whose machines panic at the command "boom", on those servers that are named or on all, and returns what
// the test was told.
func fragileStory(t *testing.T, o servertest.Options, tell func(t *testing.T, c *servertest.Cluster, mended *atomic.Bool), on ...raft.ServerID) (told []string) {
	synctest.Test(t, func(t *testing.T) {
		var mended, sound atomic.Bool
		sound.Store(true)
		o.Machine = func(id raft.ServerID) statemachine.StateMachine {
			if len(on) > 0 && !slices.Contains(on, id) {
				return fragile{kv.New(), &sound}
			}
			return fragile{kv.New(), &mended}
		}
		h := new(heard)
		tell(t, servertest.Start(h, o), &mended)
		told = h.end()
	})
	return told
}

func TestMachinesThatPanicFailTheTestAndEndItsCalls(t *testing.T) {
	told := fragileStory(t, servertest.Options{}, func(t *testing.T, c *servertest.Cluster, _ *atomic.Bool) {
		mine := make(chan error, 1)
		put(t.Context(), t, c, "a", "b")
		for _, call := range []func() error{
			func() error { _, err := c.Propose(t.Context(), []byte("boom")); return err },
			func() error { _, err := c.Propose(t.Context(), []byte("boom")); return err },
			func() error { _, err := c.Query(t.Context(), kv.Get([]byte("a"))); return err },
			func() error { _, err := c.Leader(t.Context()); return err },
		} {
			err := call()
			require.ErrorIs(t, err, servertest.ErrStopped)
			require.Regexp(t, `server \d: apply entries \d+ to \d+: panic: runtime error: index out of range \[4\] with length 2, in \S+fragile\S* at \S+failures_test\.go:\d+`, err.Error())
		}
		go func() {
			_, err := c.Client().Propose(t.Context(), []byte("boom"))
			mine <- err
		}()
		require.ErrorIs(t, <-mine, client.ErrClosed, "a client would go on trying")
	})
	require.GreaterOrEqual(t, len(told), 2)
	for _, each := range told {
		require.Regexp(t, `^servertest: server \d has stopped: apply entries \d+ to \d+: panic: runtime error: index out of range`, each)
		require.Regexp(t, `(?m)^ +\S+fragile\S*fall at \S+failures_test\.go:\d+$`, each)
		require.Regexp(t, `(?m)^ +\S+fragile\S*ApplyBatch at \S+failures_test\.go:\d+$`, each)
		require.NotContains(t, each, "server/group.go", "where oarlock stood says nothing to whoever has written the machine")
	}
}

func TestOneMachineThatPanicsFailsTheTestAndTheOthersGoOn(t *testing.T) {
	told := fragileStory(t, servertest.Options{}, func(t *testing.T, c *servertest.Cluster, _ *atomic.Bool) {
		_, err := c.Propose(t.Context(), []byte("boom"))
		require.NotErrorIs(t, err, servertest.ErrStopped)
		put(t.Context(), t, c, "a", "b")
		require.ErrorContains(t, c.Settle(t.Context()), "server 2 has stopped")
	}, 2)
	require.Len(t, told, 1)
	require.True(t, strings.HasPrefix(told[0], "servertest: server 2 has stopped: apply entries "), told[0])
}

func TestMachinesThatBreakOnPurposeAreNoFailureOfTheTest(t *testing.T) {
	told := fragileStory(t, servertest.Options{FailuresExpected: true}, func(t *testing.T, c *servertest.Cluster, mended *atomic.Bool) {
		require.Empty(t, c.Failures())
		_, err := c.Propose(t.Context(), []byte("boom"))
		require.ErrorIs(t, err, servertest.ErrStopped)
		require.ErrorIs(t, err, client.ErrUnknown)
		require.GreaterOrEqual(t, len(c.Failures()), 2)
		require.ErrorContains(t, c.Failures()[0], "has stopped: apply entries ")

		mended.Store(true)
		for _, id := range c.IDs() {
			if err := c.Stop(id); !errors.Is(err, servertest.ErrDown) {
				require.NoError(t, err)
			}
			require.NoError(t, c.Start(id))
		}
		put(t.Context(), t, c, "a", "b")
		require.NoError(t, c.Settle(t.Context()))
	})
	require.Empty(t, told)
}

func TestServersThatAreCrashedAndStoppedAreNoFailures(t *testing.T) {
	told := fragileStory(t, servertest.Options{}, func(t *testing.T, c *servertest.Cluster, _ *atomic.Bool) {
		put(t.Context(), t, c, "a", "b")
		for _, id := range c.IDs() {
			require.NoError(t, c.Crash(id))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("enough"))
		_, err := c.Leader(ctx)
		require.NotErrorIs(t, err, servertest.ErrStopped, "they may be started again")
		for _, id := range c.IDs() {
			require.NoError(t, c.Start(id))
		}
		require.Equal(t, "b", get(t.Context(), t, c, "a"))
		require.NoError(t, c.Stop(1))
		require.Empty(t, c.Failures())
	})
	require.Empty(t, told)
}
