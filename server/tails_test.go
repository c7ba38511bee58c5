package server_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// gatedLog is a log whose saves wait while its gate is shut.
type gatedLog struct {
	persistentlog.PersistentLog
	gate chan struct{} // holds a token while it is open
}

func newGatedLog() *gatedLog {
	l := &gatedLog{gate: make(chan struct{}, 1)}
	l.open()
	return l
}

func (l *gatedLog) shut() { <-l.gate }
func (l *gatedLog) open() { l.gate <- struct{}{} }

func (l *gatedLog) Save(updates []persistentlog.Update) error {
	l.shut()
	defer l.open()
	return l.PersistentLog.Save(updates)
}

// countingClock counts how often it is asked, which every turn does once, and stops a replica that asks for ever.
type countingClock struct {
	start time.Time
	asked atomic.Int64
}

const askedTooOften = 100_000

func (c *countingClock) Now() time.Duration {
	if c.asked.Add(1) > askedTooOften {
		panic("the replicas turn and turn and do nothing")
	}
	return time.Hour + time.Since(c.start)
}

func (c *countingClock) NewTimer(d time.Duration) (<-chan time.Time, func() bool) {
	t := time.NewTimer(d)
	return t.C, t.Stop
}

// tailsCluster is one server with two groups whose tails have room for a command and a half between them.
func tailsCluster(t *testing.T) (m *member, log *gatedLog, clock *countingClock) {
	log, clock = newGatedLog(), &countingClock{start: time.Now()}
	c := newCluster(t, 1, func(c *cluster) {
		c.options = func(o *server.Options) {
			log.PersistentLog = o.Log
			o.Log, o.Clock, o.TailBytesMax = log, clock, 30_000
		}
	}).start()
	m = c.members[0]
	require.NoError(t, m.server.OpenGroup(server.GroupOptions{ID: 2, StateMachine: new(ledger), Founders: c.founders()}))
	for id := range raft.GroupID(2) {
		for m.server.Barrier(t.Context(), id+1) != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return m, log, clock
}

func TestGroupsWithUnsavedBlocksDoNotAskEachOtherForRoomWithoutEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log, clock := tailsCluster(t)
		log.shut()
		answers := make(chan error, 2)
		for id := range raft.GroupID(2) {
			m.server.Submit(server.Proposal{Group: id + 1, Kind: raft.KindCommand, Command: make([]byte, 20_000)}, completion(func(_ []byte, err error) { answers <- err }))
		}
		time.Sleep(10 * time.Millisecond)
		require.Greater(t, m.server.Status().TailBytes, int64(40_000), "what is not saved stays, whatever it costs")
		require.Less(t, clock.asked.Load(), int64(1000))
		log.open()
		require.NoError(t, <-answers)
		require.NoError(t, <-answers)
	})
}

func TestGroupGivesUpRoomThatAnotherOneNeeds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, _, _ := tailsCluster(t)
		_, err := m.server.Propose(t.Context(), 1, make([]byte, 28_000))
		require.NoError(t, err)
		st, _ := m.server.GroupStatus(1)
		require.Greater(t, st.TailBytes, int64(28_000), "nobody needed the room")
		// Each of group 2's blocks is below its own share, so that it is group 1 that has to give way.
		for range 3 {
			_, err = m.server.Propose(t.Context(), 2, make([]byte, 4000))
			require.NoError(t, err)
		}
		time.Sleep(10 * time.Millisecond)
		st, _ = m.server.GroupStatus(1)
		require.Less(t, st.TailBytes, int64(15_000))
		require.LessOrEqual(t, m.server.Status().TailBytes, int64(30_000))
	})
}
