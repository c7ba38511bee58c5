package pebblelog

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// TestAManifestThatLosesItsEndAfterAPowerCutIsNoticed has the power go at every moment of a start, when the saves of the process before are
// going from a write-ahead log into a table, and then damages the manifest, so that it does not name the table any more.
// Nothing but the witness can tell then that there was one, if the log is gone from which it was made.
func TestAManifestThatLosesItsEndAfterAPowerCutIsNoticed(t *testing.T) {
	mem := freshMem(t)
	require.NoError(t, openMem(t, mem).Close()) // whose the store is stands in a table of its own from then on
	l := openMem(t, mem)
	w := newWriter(1)
	for range 5 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 100)}))
	}
	first := mem.CrashClone(vfs.CrashCloneCfg{}) // what was saved is synced, the witness of it is not
	require.NoError(t, l.Close())

	refused, whole := 0, 0
	for _, disk := range everyMoment(t, first) {
		for _, damaged := range manifestsCut(t, disk) {
			l, err := Open(testDir, testOptions(damaged))
			if err != nil {
				require.ErrorIs(t, err, persistentlog.ErrDamaged)
				refused++
				continue
			}
			state, err := l.Load(1)
			require.NoError(t, err)
			if !state.Hard.Lost {
				require.Equal(t, raft.Index(11), state.Next, "what was saved is missing, and nothing tells")
				whole++
			}
			require.NoError(t, l.Close())
		}
	}
	require.Positive(t, refused)
	require.Positive(t, whole)
}

// everyMoment opens and closes a store and returns what a power cut may leave before each of the calls that change something.
func everyMoment(t *testing.T, disk *vfs.MemFS) (moments []*vfs.MemFS) {
	t.Helper()
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(1, 7))
	live := disk.CrashClone(vfs.CrashCloneCfg{})
	l := openMem(t, errorfs.Wrap(live, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			for range 2 {
				moments = append(moments, live.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng}))
			}
		}
		return nil
	})))
	require.NoError(t, l.Close())
	mu.Lock()
	defer mu.Unlock()
	return moments
}

// manifestsCut returns copies of a disk, each with the newest manifest cut somewhere.
func manifestsCut(t *testing.T, disk *vfs.MemFS) (damaged []*vfs.MemFS) {
	t.Helper()
	dir, names := newestNames(t, disk, "MANIFEST-", "")
	name := names[len(names)-1]
	info, err := disk.Stat(disk.PathJoin(dir, name))
	require.NoError(t, err)
	for at := info.Size() / 8; at < info.Size(); at += 23 {
		copied := disk.CrashClone(vfs.CrashCloneCfg{})
		require.NoError(t, editFile(copied, dir, name, func(b []byte) []byte { return b[:at] }))
		damaged = append(damaged, copied)
	}
	return damaged
}

// TestALogFileGoesWhenTheWitnessIsDurable looks at the order of the calls: no write-ahead log is removed or used again before the witness
// was synced behind the newest save in it.
func TestALogFileGoesWhenTheWitnessIsDurable(t *testing.T) {
	var mu sync.Mutex
	noted, behind, removed, reused := false, false, 0, 0
	before := 0 // files that had gone when the last save was noted
	var early []string
	l := openMem(t, errorfs.Wrap(freshMem(t), errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.HasSuffix(op.Path, "witness") && op.Kind == errorfs.OpFileWriteAt:
			noted, behind, before = true, removed+reused > before, removed+reused
		case strings.HasSuffix(op.Path, "witness") && op.Kind == errorfs.OpFileSyncData:
			noted, behind = false, false
		case op.Kind == errorfs.OpRemove && strings.HasSuffix(op.Path, ".log"):
			removed++
		case op.Kind == errorfs.OpReuseForWrite && strings.HasSuffix(op.Path, ".log"):
			reused++
		default:
			return nil
		}
		if noted && (op.Kind == errorfs.OpRemove || op.Kind == errorfs.OpReuseForWrite) {
			early = append(early, op.Path)
		}
		return nil
	})))
	w := newWriter(2)
	for i := range 300 {
		size := 30_000
		if i%20 == 0 {
			size = 600_000 // a memtable of its own, whose flush may be through before the save is reported
		}
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, size)}))
		mu.Lock()
		require.False(t, behind, "save %d is reported, its log may be gone, and the witness of it is not durable", i)
		mu.Unlock()
	}
	require.NoError(t, l.Close())
	mu.Lock()
	defer mu.Unlock()
	require.Positive(t, reused)
	require.Empty(t, early)
	t.Logf("%d removed, %d used again", removed, reused)
}
