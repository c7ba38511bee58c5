package server_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
)

// A follower whose machine stands still is a healthy follower: it takes the log, and the others go on without it. What it has not
// executed yet it reads again from its log and does not keep in memory.
func TestFollowerWithASlowMachineHoldsNoMoreThanItsBounds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3, bounded).start()
		leader := c.leader()
		slow := c.others(leader)[0]
		l := machineOf(slow.machine)
		hold := make(chan struct{})
		for _, m := range c.members {
			other := machineOf(m.machine)
			other.hold, other.holding = make(chan struct{}), make(chan struct{}, 1)
			if m != slow {
				close(other.hold)
			}
		}
		l.hold = hold
		c.propose("hold")
		<-l.holding
		commands := 0
		for commands < 400 {
			busy, rest := flood(leader.server, 20)
			require.Less(t, busy, 20, "what was answered before may still count as on its way, but makes room")
			for range 20 - busy {
				require.NoError(t, <-rest)
			}
			commands += 20 - busy
			st := slow.server.Status()
			require.LessOrEqual(t, st.Unapplied.Bytes, int64(60_000))
			require.LessOrEqual(t, st.TailBytes, int64(30_000))
			require.LessOrEqual(t, st.Inbox.BytesPeak, int64(50_000))
		}
		require.Empty(t, l.commands())
		require.Greater(t, slow.status().Commit, raft.Index(200), "it follows all the same")
		require.Same(t, leader, c.leader())
		close(hold)
		c.agree()
		require.Len(t, l.commands(), commands+1)
		synctest.Wait() // what is applied is counted off by the turn that follows
		require.Zero(t, slow.server.Status().Unapplied.Bytes)
	})
}

// slowImage is an image whose writing stops in the middle until its gate opens.
type slowImage struct {
	ledgerImage
	writing chan struct{}
	gate    chan struct{}
}

func (i slowImage) WriteTo(w io.Writer) (int64, error) {
	half := len(i.data) / 2
	n, err := w.Write(i.data[:half])
	if err != nil {
		return int64(n), err
	}
	i.writing <- struct{}{}
	<-i.gate
	more, err := w.Write(i.data[half:])
	return int64(n + more), err
}

// slowWriter is a ledger that takes its time to write a snapshot, and to restore one.
type slowWriter struct {
	ledger
	writing, gate     chan struct{}
	restoring, resume chan struct{} // resume is nil: Restore does not wait
}

func (l *slowWriter) Snapshot() (statemachine.Snapshot, error) {
	image, err := l.ledger.Snapshot()
	if err != nil {
		return nil, err
	}
	return slowImage{image.(ledgerImage), l.writing, l.gate}, nil
}

func (l *slowWriter) Restore(r io.Reader) error {
	if l.resume != nil {
		l.restoring <- struct{}{}
		<-l.resume
	}
	return l.ledger.Restore(r)
}

func newSlowWriter(*member) statemachine.StateMachine {
	gate := make(chan struct{})
	return &slowWriter{writing: make(chan struct{}, 1), gate: gate, restoring: make(chan struct{}, 1)}
}

// A server that is closed in the middle of a snapshot waits for whoever writes it, answers whoever asked for it, and leaves
// nothing behind that could be taken for a snapshot (hashicorp/raft#268).
func TestCloseInTheMiddleOfASnapshotReturnsAndLeavesNoHalfOfIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, func(c *cluster) { c.machine = newSlowWriter }).start()
		m := c.members[0]
		for k := range 20 {
			c.propose(fmt.Sprintf("%d", k))
		}
		l := m.machine.(*slowWriter)
		asked := make(chan error, 1)
		s := m.server
		go func() { asked <- s.TakeSnapshot(t.Context(), group) }()
		<-l.writing
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		time.Sleep(time.Second)
		close(l.gate)
		require.NoError(t, <-closed)
		if err := <-asked; err != nil {
			require.ErrorIs(t, err, server.ErrClosed)
		}
		m.server = nil
		require.NoError(t, m.files.Close())
		m.log = reopened(t, m.log)
		c.machine = func(*member) statemachine.StateMachine { return new(ledger) }
		m.start()
		c.leader()
		require.Len(t, machineOf(m.machine).commands(), 20)
		metas, err := m.files.List(group)
		require.NoError(t, err)
		for _, meta := range metas {
			file, err := m.files.Open(meta, 0)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, file)
			require.NoError(t, err, "what is listed is whole")
			require.NoError(t, file.Close())
		}
	})
}

// The same in the middle of a restore, which the start of a server does beside everything else.
func TestCloseInTheMiddleOfARestoreReturns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		m := c.members[0]
		for k := range 20 {
			c.propose(fmt.Sprintf("%d", k))
		}
		require.NoError(t, m.server.TakeSnapshot(t.Context(), group))
		m.stop()
		c.machine = func(m *member) statemachine.StateMachine {
			l := newSlowWriter(m).(*slowWriter)
			l.resume = make(chan struct{})
			return l
		}
		m.start()
		l := m.machine.(*slowWriter)
		<-l.restoring
		closed := make(chan error, 1)
		s := m.server
		go func() { closed <- s.Close() }()
		asked := make(chan error, 1)
		go func() {
			_, err := s.Query(t.Context(), group, nil)
			asked <- err
		}()
		time.Sleep(time.Second)
		close(l.resume)
		require.NoError(t, <-closed)
		err := <-asked
		if !errors.Is(err, server.ErrClosed) && !errors.Is(err, server.ErrNotLeader) && !errors.Is(err, server.ErrNoLeader) {
			t.Errorf("a read while the server was closed: %v", err)
		}
		m.server = nil
		require.NoError(t, m.files.Close())
		m.log = reopened(t, m.log)
	})
}
