package seglog

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
	"github.com/oarlock/oarlock/raft"
)

// snapshotAndCompact drops a group's log up to the last few entries.
func snapshotAndCompact(t *testing.T, l *Log, w *storetest.Writer) {
	t.Helper()
	at := w.Next - 3
	require.NoError(t, l.Save([]persistentlog.Update{{
		Group: w.Group, Snapshot: &raft.SnapshotMeta{Group: w.Group, Index: at, Term: w.Term, Chain: 1},
	}}))
	require.NoError(t, l.Compact(w.Group, at))
}

func TestOldSegmentsAreUsedAgainWhenTheirGroupsHaveCompacted(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	w := storetest.NewWriter(1)
	most := 0
	for i := range 400 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 2000)}))
		if i%20 == 19 {
			snapshotAndCompact(t, l, w)
		}
		most = max(most, l.Stats().Segments)
	}
	require.LessOrEqual(t, most, 4)
	require.Zero(t, l.Stats().BytesMoved, "nothing had to be moved")
	require.Greater(t, l.head().number, uint64(20))
	names, err := mem.List(l.segments)
	require.NoError(t, err)
	require.LessOrEqual(t, len(names), most+sparesMax)
	require.NoError(t, l.Close())
	l = openMem(t, mem)
	state, err := l.Load(1)
	require.NoError(t, err)
	require.Equal(t, w.Chain, state.Chain)
}

// TestAGroupThatNeverCompactsDoesNotPinEverything has one group that is written once and kept, and one that is written and
// compacted all the time; and a third that takes turns with it.
func TestAGroupThatNeverCompactsDoesNotPinEverything(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	cold, hot, odd := storetest.NewWriter(1), storetest.NewWriter(2), storetest.NewWriter(3)
	for range 20 {
		require.NoError(t, l.Save([]persistentlog.Update{cold.Update(3, 1000)}))
	}
	before, err := l.Blocks(1, 1, cold.Next, 1<<30)
	require.NoError(t, err)
	most := int64(0)
	for i := range 600 {
		updates := []persistentlog.Update{hot.Update(2, 2000)}
		if i%50 == 0 {
			updates = append(updates, odd.Update(1, 10))
		}
		require.NoError(t, l.Save(updates))
		if i%10 == 9 {
			snapshotAndCompact(t, l, hot)
		}
		if i%150 == 149 {
			require.NoError(t, l.Close())
			l = openMem(t, mem)
		}
		most = max(most, l.Stats().UsedBytes)
	}
	require.Less(t, most, int64(10*segmentBytesMin))
	require.Greater(t, l.files[0].number, uint64(10), "the first segments are still there")
	after, err := l.Blocks(1, 1, cold.Next, 1<<30)
	require.NoError(t, err)
	require.Equal(t, entries(before), entries(after))
	crashed := openMem(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	for _, w := range []*storetest.Writer{cold, hot, odd} {
		state, err := crashed.Load(w.Group)
		require.NoError(t, err)
		require.Equal(t, w.Next, state.Next)
		require.Equal(t, w.Chain, state.Chain)
		_, err = crashed.Blocks(w.Group, state.First, state.Next, 1<<30)
		require.NoError(t, err)
	}
}

// TestABlockThatDoesNotReadIsNotMovedAndStaysDamaged damages a block that would be moved.
func TestABlockThatDoesNotReadIsNotMovedAndStaysDamaged(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	cold, hot := storetest.NewWriter(1), storetest.NewWriter(2)
	require.NoError(t, l.Save([]persistentlog.Update{cold.Update(3, 1000)}))
	at := l.groups[1].index.parts[0].places[0].offset
	first := l.head().path
	require.NoError(t, l.Close())
	file, err := mem.OpenReadWrite(first, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	l = openMem(t, mem)
	for i := range 300 {
		if i == 40 { // its segment is sealed now
			_, err = file.WriteAt([]byte("decay"), int64(at)+500)
			require.NoError(t, err)
			require.NoError(t, file.Close())
		}
		require.NoError(t, l.Save([]persistentlog.Update{hot.Update(2, 2000)}))
		if i%10 == 9 {
			snapshotAndCompact(t, l, hot)
		}
	}
	_, err = l.Blocks(1, 1, 4, 1<<20)
	require.ErrorIs(t, err, persistentlog.ErrDamaged)
	require.ErrorContains(t, err, "group 1 index 1 in "+first)
	require.NoError(t, l.Close())
}

// TestASegmentIsNotTakenFromItsReaders holds a reading open while its segment loses its last live block.
func TestASegmentIsNotTakenFromItsReaders(t *testing.T) {
	l := openMem(t, freshMem(t))
	w := storetest.NewWriter(1)
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 2000)}))
	l.mu.Lock()
	read := reading{log: l, id: 1, trail: []raft.TermRun{{First: 1, Term: 1}}}
	read.add(&l.groups[1].index, 1, 3, 3, 1<<20)
	l.mu.Unlock()
	for range 100 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 2000)}))
		snapshotAndCompact(t, l, w)
	}
	require.Equal(t, uint64(1), l.files[0].number)
	blocks, err := read.blocks(1, 3, 1<<20)
	require.NoError(t, err)
	require.Len(t, blocks, 1)
	read.done()
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 2000)}))
	require.Greater(t, l.files[0].number, uint64(1))
}

// TestAMovedBlockBehindTheOneThatFollowsItIsRead has two saves move two blocks each, and reads them with what the first of the
// saves appended.
func TestAMovedBlockBehindTheOneThatFollowsItIsRead(t *testing.T) {
	options := testOptions(freshMem(t))
	options.SegmentBytes = 1 << 20
	l, err := Open(storetest.Dir, options)
	require.NoError(t, err)
	w := storetest.NewWriter(1)
	for range 4 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 40<<10)}))
	}
	l.writer.Lock()
	require.NoError(t, l.rotate())
	l.writer.Unlock()
	for range 2 {
		l.writer.Lock()
		l.clean.victim, l.clean.groups = l.files[0], []raft.GroupID{1}
		l.writer.Unlock()
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 100)}))
	}
	require.Greater(t, l.Stats().BytesMoved, uint64(160<<10))
	for to := raft.Index(2); to <= w.Next; to++ {
		blocks, err := l.Blocks(1, 1, to, 1<<20)
		require.NoError(t, err)
		require.Len(t, blocks, int(to-1))
	}
	require.Len(t, l.files, 1, "the old segment has gone")
	require.NoError(t, l.Close())
}
