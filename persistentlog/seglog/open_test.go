package seglog

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
	"github.com/oarlock/oarlock/persistentlog/logtest"
	"github.com/oarlock/oarlock/persistentlog/pebblelog"
	"github.com/oarlock/oarlock/raft"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// diskOptions are for stores on the operating system's file system.
func diskOptions() Options { return Options{SegmentBytes: segmentBytesMin} }

func formatDisk(t testing.TB, options Options) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a", "store")
	require.NoError(t, Format(dir, storetest.Identity, options))
	return dir
}

func TestOpenNeverMakesAStore(t *testing.T) {
	empty := t.TempDir()
	for _, dir := range []string{empty, filepath.Join(empty, "missing")} {
		_, err := Open(dir, Options{})
		require.ErrorIs(t, err, persistentlog.ErrNotFormatted)
	}
	names, err := os.ReadDir(empty)
	require.NoError(t, err)
	require.Empty(t, names, "Open left something behind")
}

func TestFormatHappensOnceAndOnlyInAnEmptyDirectory(t *testing.T) {
	dir := formatDisk(t, diskOptions())
	require.ErrorIs(t, Format(dir, storetest.Identity, diskOptions()), persistentlog.ErrFormatted)
	foreign := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "thesis.tex"), nil, 0o600))
	require.ErrorContains(t, Format(foreign, storetest.Identity, diskOptions()), "thesis.tex")
	require.Error(t, Format(filepath.Join(foreign, "x"), persistentlog.Identity{Server: 1}, diskOptions()), "no cluster")
	l, err := Open(dir, diskOptions())
	require.NoError(t, err)
	_, err = Open(dir, diskOptions())
	require.ErrorIs(t, err, persistentlog.ErrInUse)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close(), "a second Close does nothing")
	_, err = l.Load(1)
	require.ErrorIs(t, err, persistentlog.ErrClosed)
}

// TestStoresOfTwoKindsOfLogAreToldApart opens each kind with the other's code.
func TestStoresOfTwoKindsOfLogAreToldApart(t *testing.T) {
	mem := vfs.NewMem()
	require.NoError(t, pebblelog.Format(storetest.Dir, storetest.Identity, pebblelog.Options{FS: mem}))
	_, err := Open(storetest.Dir, testOptions(mem))
	require.ErrorContains(t, err, "log.kind")
	require.NotErrorIs(t, err, persistentlog.ErrDamaged)
	_, err = pebblelog.Open(storetest.Dir, pebblelog.Options{FS: freshMem(t)})
	require.ErrorContains(t, err, "log.kind")
	require.NotErrorIs(t, err, persistentlog.ErrDamaged)
}

// TestAFormatThatLostPowerIsNoStoreAndCanBeRepeated crashes Format before each of its calls into the file system.
func TestAFormatThatLostPowerIsNoStoreAndCanBeRepeated(t *testing.T) {
	var disks []*vfs.MemFS
	mem := vfs.NewCrashableMem()
	f := errorfs.Wrap(mem, storetest.OneAtATime(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			disks = append(disks, mem.CrashClone(vfs.CrashCloneCfg{}))
		}
		return nil
	}))
	require.NoError(t, Format(storetest.Dir, storetest.Identity, testOptions(f)))
	for i, disk := range disks {
		if _, err := Open(storetest.Dir, testOptions(disk)); err != nil {
			require.ErrorIs(t, err, persistentlog.ErrNotFormatted, "call %d", i)
			require.NoError(t, Format(storetest.Dir, storetest.Identity, testOptions(disk)), "call %d", i)
			require.NoError(t, openMem(t, disk).Close())
		}
	}
	require.Greater(t, len(disks), 10)
}

// TestAFormatThatWasKilledLosesNothingLater kills Format before each of its calls, and takes the power from whoever came after it.
func TestAFormatThatWasKilledLosesNothingLater(t *testing.T) {
	kills, err := storetest.KilledFormats(func(f vfs.FS) error { return Format(storetest.Dir, storetest.Identity, testOptions(f)) }, openOn)
	require.NoError(t, err)
	require.Greater(t, kills, 10)
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("mode bits say nothing on Windows")
	}
	dir := formatDisk(t, diskOptions())
	l, err := Open(dir, diskOptions())
	require.NoError(t, err)
	w := storetest.NewWriter(1)
	for range 100 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(4, 1000)}))
		snapshotAndCompact(t, l, w)
	}
	require.NoError(t, l.Close())
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, "%s has mode %v", path, info.Mode())
		return nil
	}))
	require.NoError(t, os.Chmod(dir, 0o770))
	_, err = Open(dir, diskOptions())
	require.ErrorContains(t, err, "chmod 700")
}

func TestOptionsNameTheirBounds(t *testing.T) {
	require.NoError(t, Options{}.Validate())
	err := Options{SegmentBytes: 5, PrepareSegments: 99, CloseTimeout: -1}.Validate()
	for _, name := range []string{"SegmentBytes", "PrepareSegments", "CloseTimeout"} {
		require.ErrorContains(t, err, name)
	}
	require.Error(t, Format(t.TempDir(), storetest.Identity, Options{SegmentBytes: 5}))
	_, err = Open(t.TempDir(), Options{SegmentBytes: 5})
	require.Error(t, err)
}

func TestASaveThatDoesNotFitIntoASegmentGetsALongerOne(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	w := storetest.NewWriter(1)
	for _, size := range []int{10, 3 * segmentBytesMin, 10, 2 * segmentBytesMin, segmentBytesMin - headerSize, 10} {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, size)}))
	}
	require.NoError(t, l.Close())
	l = openMem(t, mem)
	blocks, err := l.Blocks(1, 1, w.Next, 1<<30)
	require.NoError(t, err)
	require.Len(t, blocks, 6)
}

// TestAnUncleanEndIsWrittenAgainBeforeAnythingRestsOnIt has a process that was killed with its newest save in the kernel's cache
// alone: after the next Open, a power cut must not take it.
func TestAnUncleanEndIsWrittenAgainBeforeAnythingRestsOnIt(t *testing.T) {
	mem := freshMem(t)
	w := storetest.NewWriter(1)
	fail := false
	l := openMem(t, errorfs.Wrap(mem, storetest.OneAtATime(func(op errorfs.Op) error {
		if fail && op.Kind == errorfs.OpFileSyncData {
			return storetest.ErrDisk
		}
		return nil
	})))
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 10)}))
	fail = true
	require.ErrorIs(t, l.Save([]persistentlog.Update{w.Update(1, 5000)}), persistentlog.ErrFenced)
	require.NoError(t, l.Close())

	again := openMem(t, mem)
	state, err := again.Load(1)
	require.NoError(t, err)
	require.Equal(t, w.Next, state.Next, "the newest save was written, though not synced")
	after := openMem(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	state, err = after.Load(1)
	require.NoError(t, err)
	require.Equal(t, w.Next, state.Next, "it was shown, and a power cut took it")
}

// zeros is no randomness.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

var _ io.Reader = zeros{}

// TestSegmentsStayAsTheyWereLaidOut compares a store with the golden file.
func TestSegmentsStayAsTheyWereLaidOut(t *testing.T) {
	mem := vfs.NewMem()
	options := testOptions(mem)
	options.Random = zeros{}
	require.NoError(t, Format(storetest.Dir, storetest.Identity, options))
	l, err := Open(storetest.Dir, options)
	require.NoError(t, err)
	birth := raft.Birth{Membership: raft.Membership{Voters: []raft.Member{{ID: 1, Store: storetest.Identity.Store, Address: "a:1"}}}}
	b := &logtest.Builder{Group: 5, Next: 1}
	b.Single(3, raft.KindMembership).Commands(3, 1, 2)
	require.NoError(t, l.Save([]persistentlog.Update{
		{Group: 5, Hard: &raft.HardState{Term: 3, Vote: 2}, Birth: &birth, Blocks: b.Blocks, Commit: 2},
		{Group: 9},
	}))
	require.NoError(t, l.Save([]persistentlog.Update{{Group: 5, Snapshot: &raft.SnapshotMeta{Group: 5, Index: 1, Term: 3, Chain: 7}}}))
	require.NoError(t, l.Compact(5, 1))
	require.NoError(t, l.Destroy(9))
	l.writer.Lock()
	require.NoError(t, l.rotate())
	l.writer.Unlock()
	installed := raft.SnapshotMeta{Group: 6, Index: 8, Term: 3, Chain: 7}
	require.NoError(t, l.Save([]persistentlog.Update{{Group: 6, Snapshot: &installed, Installed: true}}))
	require.NoError(t, l.Close())
	var text strings.Builder
	for _, path := range []string{"identity", "witness", "segments/0000000000000001.segment", "segments/0000000000000002.segment"} {
		content, err := readFile(mem, mem.PathJoin(storetest.Dir, path))
		require.NoError(t, err)
		fmt.Fprintf(&text, "%s, %d bytes\n", path, len(content))
		for at := 0; at < len(content); at += 16 {
			line := content[at:min(at+16, len(content))]
			if strings.Trim(string(line), "\x00") != "" {
				fmt.Fprintf(&text, "%06x  %x\n", at, line)
			}
		}
	}
	golden := filepath.Join("testdata", "store.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(text.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), text.String(), "the format changed: a decision, a new version, and -update")
}
