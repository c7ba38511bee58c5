package pebblelog

import (
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

func TestOneSaveIsOneSyncHoweverManyGroupsAndBlocks(t *testing.T) {
	l := openMem(t, freshMem(t))
	before := l.Stats()
	var updates []persistentlog.Update
	for id := raft.GroupID(1); id <= 50; id++ {
		w := newWriter(id)
		updates = append(updates, persistentlog.Update{Group: id, Hard: &raft.HardState{Term: 1}, Blocks: []raft.Block{w.Block(1, 9), w.Block(7, 9)}})
	}
	require.NoError(t, l.Save(updates))
	after := l.Stats()
	require.Equal(t, before.Syncs+1, after.Syncs)
	require.Equal(t, before.Saves+1, after.Saves)
	require.Equal(t, before.SaveNumber+1, after.SaveNumber)
	require.Greater(t, after.BytesSaved, uint64(50*2*raft.BlockHeaderSize))
	require.Positive(t, after.MemtableBytes)
	require.NoError(t, after.Fenced)
}

// compacted saves 30 blocks of 3 entries with a pointer at 50 and compacts through it.
func compacted(t *testing.T, mem vfs.FS) *Log {
	t.Helper()
	l := openMem(t, mem)
	w := newWriter(1)
	for range 30 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(3, 100)}))
	}
	require.NoError(t, l.Save([]persistentlog.Update{{Group: 1, Snapshot: &raft.SnapshotMeta{Group: 1, Index: 50, Term: 1}}}))
	require.NoError(t, l.Compact(1, 50))
	return l
}

func blockKeys(t *testing.T, l *Log) (first []raft.Index) {
	t.Helper()
	r, err := l.reader(1)
	require.NoError(t, err)
	seek := makeKey(1, kindBlock, 0)
	for valid := r.it.SeekGE(seek[:]); valid; valid = r.it.Next() {
		at, ok := r.at(kindBlock)
		require.True(t, ok)
		first = append(first, at)
	}
	r.close(&err)
	require.NoError(t, err)
	return first
}

func TestCompactionCostsNoSyncAndGoesWithTheNextBatch(t *testing.T) {
	mem := freshMem(t)
	l := compacted(t, mem)
	syncs := l.Stats().Syncs
	state, err := l.Load(1)
	require.NoError(t, err)
	require.Equal(t, raft.Index(51), state.First)
	_, err = l.Blocks(1, 50, 60, 1<<20)
	require.ErrorIs(t, err, persistentlog.ErrCompacted)
	blocks, err := l.Blocks(1, 51, 91, 1<<20)
	require.NoError(t, err)
	require.Equal(t, raft.Index(51), blocks[0].First(), "within a block that begins at 49")
	require.Len(t, blockKeys(t, l), 30, "nothing was written yet")
	require.Equal(t, syncs, l.Stats().Syncs)
	require.NoError(t, l.Save([]persistentlog.Update{{Group: 2, Hard: &raft.HardState{Term: 1}}}))
	require.Equal(t, raft.Index(49), blockKeys(t, l)[0], "the save of another group took it along")
	require.NoError(t, l.Close())
	state, err = openMem(t, mem).Load(1)
	require.NoError(t, err)
	require.Equal(t, raft.Index(51), state.First)
}

func TestCloseTakesCompactionAlong(t *testing.T) {
	mem := freshMem(t)
	require.NoError(t, compacted(t, mem).Close())
	l := openMem(t, mem)
	state, err := l.Load(1)
	require.NoError(t, err)
	require.Equal(t, raft.Index(51), state.First)
	require.Equal(t, raft.Index(49), blockKeys(t, l)[0])
}

func TestWhatWasCompactedBeforeItIsFlushedReachesNoTable(t *testing.T) {
	l := openMem(t, freshMem(t))
	w := newWriter(1)
	for range 40 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 8<<10)}))
	}
	last := w.Next - 1
	require.NoError(t, l.Save([]persistentlog.Update{{Group: 1, Snapshot: &raft.SnapshotMeta{Group: 1, Index: last, Term: 1}}}))
	require.NoError(t, l.Compact(1, last))
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 10)}))
	require.NoError(t, l.db.Flush())
	var flushed int64
	levels := l.db.Metrics().Levels
	for i := range levels {
		flushed += int64(levels[i].TablesSize)
	}
	require.Less(t, flushed, int64(40*8<<10/2), "320 KiB were saved and dropped")
}

// hangingFS is a disk whose syncs do not come back until it is let go.
type hangingFS struct {
	vfs.FS
	hang  atomic.Bool
	letGo chan struct{}
}

func (h *hangingFS) wait(op errorfs.Op) error {
	if h.hang.Load() && op.Kind == errorfs.OpFileSyncData {
		<-h.letGo
	}
	return nil
}

func TestCloseReturnsWhenTheDiskHangsAndNamesTheCall(t *testing.T) {
	h := &hangingFS{letGo: make(chan struct{})}
	options := testOptions(errorfs.Wrap(freshMem(t), errorfs.InjectorFunc(h.wait)))
	options.CloseTimeout = 20 * time.Millisecond
	l, err := Open(testDir, options)
	require.NoError(t, err)
	h.hang.Store(true)
	saved := make(chan error)
	go func() { saved <- l.Save([]persistentlog.Update{newWriter(1).Update(1, 1)}) }()
	for len(strings.Split(l.fence.Stuck(), "sync")) < 2 {
		runtime.Gosched()
	}
	err = l.Close()
	require.ErrorContains(t, err, "sync")
	require.ErrorContains(t, err, ".log")
	close(h.letGo)
	require.NoError(t, <-saved)
	// The goroutine that was left behind ends now; goleak sees to it that it does.
}

func TestAfterTheFenceNothingReachesTheDisk(t *testing.T) {
	mem := freshMem(t)
	var failing atomic.Bool
	var changes atomic.Int64
	f := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpFileClose {
			return nil
		}
		changes.Add(1)
		if failing.Load() {
			return errDisk
		}
		return nil
	}))
	l, err := Open(testDir, testOptions(f))
	require.NoError(t, err)
	w := newWriter(1)
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(100, 1000)}))
	failing.Store(true)
	err = l.Save([]persistentlog.Update{w.Update(1, 1)})
	require.ErrorIs(t, err, persistentlog.ErrFenced)
	require.ErrorIs(t, err, errDisk)
	for !l.fence.Idle() { // what was on its way to the disk when the fence went up
		runtime.Gosched()
	}
	failing.Store(false) // the disk is well again, and not believed
	at := changes.Load()
	require.ErrorIs(t, l.Save([]persistentlog.Update{w.Update(1, 1)}), errDisk, "the first cause stays")
	require.NoError(t, l.db.Flush(), "Pebble is told that all is well")
	_, err = l.Load(1)
	require.ErrorIs(t, err, persistentlog.ErrFenced)
	require.ErrorIs(t, l.Stats().Fenced, errDisk)
	require.NoError(t, l.Close())
	require.Equal(t, at, changes.Load())
	state, err := openMem(t, mem).Load(1)
	require.NoError(t, err)
	require.Equal(t, raft.Index(101), state.Next)
}

func TestAPanicAndAFatalCallOfPebbleFenceAndLeaveTheProcessAlone(t *testing.T) {
	l := openMem(t, freshMem(t))
	l.db.Metrics() // the database is there
	(&pebbleLogger{fence: l.fence, logger: l.options.Logger}).Fatalf("commit %d: %v", 7, errDisk)
	err := l.Save([]persistentlog.Update{newWriter(1).Update(1, 1)})
	require.ErrorIs(t, err, persistentlog.ErrFenced)
	require.ErrorContains(t, err, "commit 7")
	require.ErrorIs(t, err, errDisk)
	require.NoError(t, l.Close())
	l = openMem(t, freshMem(t))
	require.ErrorContains(t, commitBatch(l.batch), "pebble panicked: pebble: batch already", "Open used this batch, and a used batch panics")
}

func TestClosedLogsSaySo(t *testing.T) {
	l := openMem(t, freshMem(t))
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Save([]persistentlog.Update{newWriter(1).Update(1, 1)}), persistentlog.ErrClosed)
	require.ErrorIs(t, l.Compact(1, 1), persistentlog.ErrClosed)
	require.ErrorIs(t, l.Destroy(1), persistentlog.ErrClosed)
	for _, f := range []func() error{
		func() error { _, err := l.Load(1); return err },
		func() error { _, err := l.Groups(); return err },
		func() error { _, err := l.Blocks(1, 1, 2, 1); return err },
	} {
		require.ErrorIs(t, f(), persistentlog.ErrClosed)
	}
}

func TestWhatCannotBeReadBackIsRefused(t *testing.T) {
	l := openMem(t, freshMem(t))
	err := l.Save([]persistentlog.Update{{Group: 1, Installed: true, Snapshot: &raft.SnapshotMeta{Group: 1, Index: 3, Term: 1, Size: -1}}})
	require.ErrorIs(t, err, persistentlog.ErrBadUpdate)
	groups, err := l.Groups()
	require.NoError(t, err)
	require.Empty(t, groups)
}

func TestWriteAheadLogsRunOnPreparedFiles(t *testing.T) {
	mem := freshMem(t)
	options := testOptions(mem)
	options.WALPrepareBytes = 2 << 20
	for life := range 2 {
		l, err := Open(testDir, options)
		require.NoError(t, err)
		for !l.fs.spare.longerThan(0) {
			runtime.Gosched()
		}
		size, _, err := walSize(mem)
		require.NoError(t, err)
		if life == 1 { // in the first life the spare may or may not be ready when Pebble makes its first log
			require.GreaterOrEqual(t, size, int64(2<<20), "the spare of the first life is the write-ahead log of the second")
		}
		w := newWriter(raft.GroupID(life + 1))
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(5, 100)}))
		require.NoError(t, l.Close())
		left := openMem(t, mem.CrashClone(vfs.CrashCloneCfg{}))
		state, err := left.Load(w.Group)
		require.NoError(t, err)
		require.Equal(t, raft.Index(6), state.Next)
		require.NoError(t, left.Close())
	}
}

// TestRecordsStayAsTheyWereLaidOut writes one of everything and compares every key and value with what docs/format.md says.
func TestRecordsStayAsTheyWereLaidOut(t *testing.T) {
	l := openMem(t, freshMem(t))
	member := raft.AppendEntry(make([]byte, raft.BlockHeaderSize), []byte{0x92, 1, 0x93, 0x90, 0x90, 0x90})
	block := raft.NewBlock(raft.BlockMeta{Group: 5, First: 1, Count: 1, Term: 3, Kind: raft.KindMembership, Time: 9}, member)
	require.NoError(t, l.Save([]persistentlog.Update{{
		Group: 5, Hard: &raft.HardState{Term: 3, Vote: 2}, Blocks: []raft.Block{block}, Commit: 1,
		Snapshot: &raft.SnapshotMeta{Group: 5, Index: 1, Term: 3},
	}}))
	it, err := l.db.NewIter(nil)
	require.NoError(t, err)
	var got []string
	for valid := it.First(); valid; valid = it.Next() {
		value, err := it.ValueAndErr()
		require.NoError(t, err)
		got = append(got, hex.EncodeToString(it.Key())+" "+hex.EncodeToString(value))
	}
	require.NoError(t, it.Close())
	blockHex := hex.EncodeToString(block.Bytes())
	require.Equal(t, strings.ReplaceAll(strings.TrimSpace(goldenRecords), "BLOCK", blockHex), strings.Join(got, "\n"),
		"a change of the format needs a new FormatVersion")
	require.Equal(t, fmt.Sprintf("%x", storeKind.EncodeIdentity(testIdentity)), strings.Fields(got[0])[1][:2*len(storeKind.EncodeIdentity(testIdentity))])
}
