package server_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// snapshots makes servers take one after so many bytes of log and keep little of it.
func snapshots(logBytes, keepBytes int64) func(*cluster) {
	return func(c *cluster) {
		c.options = func(o *server.Options) {
			o.TailBytesMax = 1000
			o.Group.SnapshotLogBytes, o.Group.SnapshotKeepBytes = logBytes, keepBytes
		}
	}
}

func (m *member) status() server.GroupStatus {
	st, _ := m.server.GroupStatus(group)
	return st
}

// list returns the indexes of a member's snapshots, newest first.
func (m *member) list() []raft.Index {
	metas, err := m.files.List(group)
	require.NoError(m.c.t, err)
	var all []raft.Index
	for _, meta := range metas {
		all = append(all, meta.Index)
	}
	return all
}

func TestSnapshotsAreTakenByTheSizeOfTheLogAndTwoAreKept(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 1, snapshots(10_000, 1), kind).start()
		for k := range 100 {
			c.propose(fmt.Sprintf("%d %01000d", k, 0))
		}
		m := c.members[0]
		time.Sleep(time.Second)
		list := m.list()
		require.Len(t, list, 2)
		require.Equal(t, list[0], m.status().Snapshot)
		require.Equal(t, list[1]+1, m.status().First, "the log is compacted through the older of the two")
		before := c.agree()
		m.crash(0)
		m.start()
		c.leader()
		require.Equal(t, before, c.agree())
	})
}

func TestTakeSnapshotReturnsWhenItIsDurable(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		id, err := c.leader().server.OpenSession(t.Context(), group)
		require.NoError(t, err)
		result, err := c.leader().server.ProposeIn(t.Context(), in(id, 1, 1, "a"))
		require.NoError(t, err)
		c.agree()
		for _, m := range c.members {
			require.NoError(t, m.server.TakeSnapshot(t.Context(), group))
			require.Equal(t, []raft.Index{m.status().Snapshot}, m.list())
			require.NoError(t, m.server.TakeSnapshot(t.Context(), group), "nothing new")
			require.Len(t, m.list(), 1)
		}
		for _, m := range c.members {
			m.crash(0)
		}
		for _, m := range c.members {
			m.start()
		}
		again, err := c.leader().server.ProposeIn(t.Context(), in(id, 1, 1, "a"))
		require.NoError(t, err, "sessions travel in snapshots")
		require.Equal(t, result, again)
		c.agree()
		require.Equal(t, []string{"a"}, machineOf(c.members[0].machine).commands())
	})
}

func TestFollowerThatWasAwayTooLongGetsASnapshot(t *testing.T) {
	everyKind(t, func(t *testing.T, kind func(*cluster)) {
		c := newCluster(t, 3, snapshots(10_000, 1), kind).start()
		c.propose("first")
		away := c.others(c.leader())[0]
		away.stop()
		for k := range 100 {
			c.propose(fmt.Sprintf("%d %01000d", k, 0))
			if k%30 == 29 {
				time.Sleep(time.Second) // the files are real, and time stands still while they are written
			}
		}
		require.Greater(t, c.leader().status().First, raft.Index(10))
		away.start()
		c.agree()
		require.Len(t, machineOf(away.machine).commands(), 101)
		require.Greater(t, away.status().First, raft.Index(10), "its log begins behind the snapshot")
		c.propose("last")
		before := c.agree()
		away.crash(0)
		away.start()
		require.Equal(t, before, c.agree())
	})
}

func TestDamagedSnapshotFallsBackToTheOlderOneAndTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, snapshots(10_000, 1)).start()
		for k := range 100 {
			c.propose(fmt.Sprintf("%d %01000d", k, 0))
		}
		time.Sleep(time.Second)
		before := c.agree()
		m := c.members[0]
		newest := m.list()[0]
		m.stop()
		damage(t, m.dir, newest)
		m.start()
		c.leader()
		require.Equal(t, before, c.agree())
		time.Sleep(time.Second)
		require.Greater(t, m.list()[0], newest, "a sound one takes its place")
	})
}

func TestDamagedSnapshotDoesNotTakeThePlaceOfTheSoundOneBehindIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, snapshots(10_000, 1)).start()
		for k := range 100 {
			c.propose(fmt.Sprintf("%d %01000d", k, 0))
		}
		time.Sleep(time.Second)
		before := c.agree()
		m := c.members[0]
		for range 3 { // each time the newest is damaged, the older one serves, and a new one is taken
			newest := m.list()[0]
			m.stop()
			damage(t, m.dir, newest)
			m.start()
			c.leader()
			require.Equal(t, before, c.agree())
			time.Sleep(time.Second)
			list := m.list()
			require.Len(t, list, 2)
			require.Greater(t, list[0], newest)
			require.NotContains(t, list, newest)
		}
	})
}

// damage flips a bit in the middle of a snapshot's file.
func damage(t *testing.T, dir string, index raft.Index) {
	t.Helper()
	found := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(filepath.Base(path), fmt.Sprintf("%016x-", uint64(index))) {
			return err
		}
		found++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 1
		return os.WriteFile(path, b, 0o600)
	}))
	require.Equal(t, 1, found)
}

func TestLoneServerWithoutASoundSnapshotStops(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1, snapshots(10_000, 1)).start()
		for k := range 100 {
			c.propose(fmt.Sprintf("%d %01000d", k, 0))
		}
		time.Sleep(time.Second)
		m := c.members[0]
		list := m.list()
		m.stop()
		for _, index := range list {
			damage(t, m.dir, index)
		}
		m.start()
		<-m.server.Done()
		require.ErrorContains(t, m.server.Err(), "only voter")
		_, err := m.server.Propose(t.Context(), group, []byte("x"))
		require.ErrorIs(t, err, server.ErrFenced)
	})
}

func TestServerWithoutASoundSnapshotGetsTheLeadersAndLeadsNotBefore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3, snapshots(10_000, 1)).start()
		for k := range 100 {
			c.propose(fmt.Sprintf("%d %01000d", k, 0))
		}
		before := c.agree()
		time.Sleep(time.Second)
		m := c.others(c.leader())[0]
		list := m.list()
		require.NotEmpty(t, list)
		m.stop()
		for _, index := range list {
			damage(t, m.dir, index)
		}
		m.start()
		require.Equal(t, before, c.agree())
		require.NoError(t, m.status().NoSnapshot)
	})
}

// A leader reads its own snapshot when it restores it and when another one takes its place, and not between: whoever is to get it
// finds out that it decays.
func TestLeaderWhoseNewestSnapshotIsDamagedTakesAnotherOneForWhoNeedsIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3, snapshots(10_000, 1)).start()
		c.propose("first")
		away := c.others(c.leader())[0]
		away.stop()
		for k := range 100 {
			c.propose(fmt.Sprintf("%d %01000d", k, 0))
			if k%30 == 29 {
				time.Sleep(time.Second) // the files are real, and time stands still while they are written
			}
		}
		leader := c.leader()
		c.propose("last") // behind the snapshot
		damage(t, leader.dir, leader.status().Snapshot)
		away.start()
		c.agree()
		require.Len(t, machineOf(away.machine).commands(), 102)
	})
}

func TestSnapshotThatTheMachineCannotTakeIsAnErrorAndNotTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 1).start()
		c.propose("a")
		l := machineOf(c.members[0].machine)
		l.mu.Lock()
		l.failing = errors.New("not now")
		l.mu.Unlock()
		require.ErrorContains(t, c.members[0].server.TakeSnapshot(t.Context(), group), "not now")
		l.mu.Lock()
		l.failing = nil
		l.mu.Unlock()
		require.Equal(t, "2", c.propose("b"))
		require.NoError(t, c.members[0].server.TakeSnapshot(t.Context(), group))
	})
}
