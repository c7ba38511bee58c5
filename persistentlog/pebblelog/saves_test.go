package pebblelog

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/raft"
)

// keptAll is a disk whose process was killed: what it wrote is there, synced or not.
func keptAll(mem *vfs.MemFS) *vfs.MemFS {
	return mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

// newestNames returns the names in the database's directory that begin and end so, the newest last.
func newestNames(t *testing.T, mem *vfs.MemFS, prefix, suffix string) (dir string, names []string) {
	t.Helper()
	dir = mem.PathJoin(testDir, pebbleName)
	all, err := mem.List(dir)
	require.NoError(t, err)
	slices.Sort(all)
	for _, name := range all {
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	require.NotEmpty(t, names)
	return dir, names
}

// TestAManifestThatLostItsLastEditsBringsBackNoOlderVote puts the manifest of an earlier moment back, with the tables that it names: as a
// last edit leaves it that was damaged, which Pebble takes for one that was never finished. The table with the vote is not named
// any more, and the log from which it was made is gone. Another log follows, whose newest save is the one that the witness knows.
func TestAManifestThatLostItsLastEditsBringsBackNoOlderVote(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	dir, _ := newestNames(t, mem, "MANIFEST-", "")
	require.NoError(t, l.Save([]persistentlog.Update{{Group: 1, Hard: &raft.HardState{Term: 3}}}))
	require.NoError(t, l.db.Flush())
	earlier := keptAll(mem)
	require.NoError(t, l.Save([]persistentlog.Update{{Group: 1, Hard: &raft.HardState{Term: 6, Vote: 3}}}))
	require.NoError(t, l.db.Flush())
	require.NoError(t, l.Save([]persistentlog.Update{newWriter(2).Update(2, 100)}))
	killed := keptAll(mem)
	require.NoError(t, l.Close())
	require.NoError(t, openMem(t, keptAll(killed)).Close(), "it is sound so far")

	_, logs := newestNames(t, killed, "", ".log")
	for _, name := range logs[:len(logs)-1] {
		require.NoError(t, killed.Remove(killed.PathJoin(dir, name))) // as Pebble does, sooner or later
	}
	_, tables := newestNames(t, earlier, "", ".sst")
	_, manifests := newestNames(t, earlier, "MANIFEST-", "")
	for _, name := range append(tables, manifests...) {
		file, err := earlier.Open(earlier.PathJoin(dir, name))
		require.NoError(t, err)
		content, err := io.ReadAll(file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		require.NoError(t, storedir.WriteFile(killed, dir, name, content))
	}
	_, err := Open(testDir, testOptions(killed))
	require.ErrorIs(t, err, persistentlog.ErrDamaged)
	require.ErrorContains(t, err, "are missing, and later ones are there")
}

// TestASaveThatIsMissingInTheMiddleIsDamage takes single saves out of a store, or their order.
func TestASaveThatIsMissingInTheMiddleIsDamage(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	number := l.SaveNumber()
	batch := func(before, after uint64) {
		b := l.db.NewBatch()
		require.NoError(t, mergeSaves(b, before, after))
		require.NoError(t, b.Commit(pebble.Sync))
		require.NoError(t, b.Close())
	}
	batch(number, number+1)
	whole := keptAll(mem)
	batch(number+3, number+4)
	gap := keptAll(mem)
	require.NoError(t, l.Close())
	l, err := Open(testDir, testOptions(whole))
	require.NoError(t, err)
	require.Equal(t, number+3, l.SaveNumber(), "one is left out by each open")
	require.NoError(t, l.Close())
	_, err = Open(testDir, testOptions(gap))
	require.ErrorIs(t, err, persistentlog.ErrDamaged)
	require.ErrorContains(t, err, fmt.Sprintf("saves behind save %d are missing", number+1))
	require.ErrorContains(t, err, "format a new store")
}

// TestALostEndOfTheLogIsNoticed removes the newest write-ahead log of a process that was killed, and of one that was closed, or cuts
// it to nothing.
func TestALostEndOfTheLogIsNoticed(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	w := newWriter(1)
	for range 5 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 100)}))
	}
	killed := keptAll(mem)
	require.NoError(t, l.Close())
	for name, disk := range map[string]*vfs.MemFS{"killed": killed, "closed": mem} {
		for what, edit := range map[string]func(f *vfs.MemFS, path string) error{
			"removed": func(f *vfs.MemFS, path string) error { return f.Remove(path) },
			"emptied": func(f *vfs.MemFS, path string) error {
				return editFile(f, f.PathDir(path), f.PathBase(path), func([]byte) []byte { return nil })
			},
		} {
			broken := keptAll(disk)
			dir, logs := newestNames(t, broken, "", ".log")
			require.NoError(t, edit(broken, broken.PathJoin(dir, logs[len(logs)-1])))
			lost, err := Open(testDir, testOptions(broken))
			require.NoError(t, err, "%s, %s", name, what)
			state, err := lost.Load(1)
			require.NoError(t, err)
			require.True(t, state.Hard.Lost, "%s, %s", name, what)
			require.NoError(t, lost.Close())
		}
	}
}

// TestALostOlderLogIsDamage removes the older one of two write-ahead logs that no table has taken over yet, or cuts it between two
// records. What stood in it alone, a vote, is not in the newer one.
func TestALostOlderLogIsDamage(t *testing.T) {
	mem, gate := freshMem(t), make(chan struct{})
	var opened atomic.Bool
	l := openMem(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") && opened.Load() {
			<-gate // no table is written meanwhile
		}
		return nil
	})))
	opened.Store(true)
	_, before := newestNames(t, mem, "", ".log")
	old := before[len(before)-1]
	require.NoError(t, l.Save([]persistentlog.Update{newWriter(1).Update(1, 10)}))
	info, err := mem.Stat(mem.PathJoin(testDir, pebbleName, old))
	require.NoError(t, err)
	require.NoError(t, l.Save([]persistentlog.Update{{Group: 1, Hard: &raft.HardState{Term: 6, Vote: 3}}}))
	w := newWriter(2)
	for after := before; len(after) == len(before); _, after = newestNames(t, mem, "", ".log") {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 30_000)}))
	}
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 30)}))
	killed := keptAll(mem)
	close(gate)
	require.NoError(t, l.Close())
	for what, edit := range map[string]func(f *vfs.MemFS, dir string) error{
		"untouched": func(*vfs.MemFS, string) error { return nil },
		"removed":   func(f *vfs.MemFS, dir string) error { return f.Remove(f.PathJoin(dir, old)) },
		"cut": func(f *vfs.MemFS, dir string) error {
			return editFile(f, dir, old, func(b []byte) []byte { return b[:info.Size()] })
		},
	} {
		broken := keptAll(killed)
		require.NoError(t, edit(broken, broken.PathJoin(testDir, pebbleName)))
		l, err := Open(testDir, testOptions(broken))
		if what == "untouched" {
			require.NoError(t, err)
			require.NoError(t, l.Close())
			continue
		}
		require.ErrorIs(t, err, persistentlog.ErrDamaged, what)
	}
}

// TestAReadThatFailsIsNotCalledDamage lets every call fail that reads, once, while a store is read that has its blocks in tables. A
// disk that cannot read for a moment must not cost the store: damage is for good.
func TestAReadThatFailsIsNotCalledDamage(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	w := newWriter(1)
	for range 40 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(3, 900)}))
	}
	require.NoError(t, l.db.Flush())
	require.NoError(t, l.Close())
	failed := 0
	for at := 0; ; at++ {
		var reads atomic.Int64 // Pebble reads beside us, too
		var armed atomic.Bool
		disk := keptAll(mem)
		options := testOptions(errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if armed.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsRead && reads.Add(1)-1 == int64(at) {
				return errDisk
			}
			return nil
		})))
		l, err := Open(testDir, options)
		require.NoError(t, err)
		armed.Store(true)
		state, err := l.Load(1)
		if err == nil {
			_, err = l.Blocks(1, 1, state.Next, 1<<30)
		}
		armed.Store(false)
		tripped := reads.Load() > int64(at)
		if err != nil {
			require.ErrorIs(t, err, errDisk, "read %d", at)
			require.NotErrorIs(t, err, persistentlog.ErrDamaged, "read %d", at)
			failed++
			if _, err = l.Blocks(1, 1, w.Next, 1<<30); err != nil { // the read was one of Pebble's own work beside
				require.ErrorIs(t, err, persistentlog.ErrFenced, "it can be read again after read %d failed", at)
				require.NotErrorIs(t, err, persistentlog.ErrDamaged)
				failed--
			}
		}
		if err := l.Close(); err != nil { // the same
			require.True(t, tripped)
			require.ErrorIs(t, err, persistentlog.ErrFenced)
			require.ErrorIs(t, err, errDisk)
		}
		if !tripped {
			break
		}
	}
	require.Greater(t, failed, 5)
}

func TestRangesOfSavesAreMergedInAnyOrder(t *testing.T) {
	k := makeKey(0, kindSaves, 0)
	operand := func(before, number uint64) []byte { return seal(k, saves{before: before, number: number}.append(nil)) }
	finish := func(m pebble.ValueMerger) saves {
		b, _, err := m.Finish(true)
		require.NoError(t, err)
		record, err := unseal(k[:], b)
		require.NoError(t, err)
		all, err := parseSaves(record)
		require.NoError(t, err)
		return all
	}
	newer := func(values [][]byte) saves {
		m, err := savesMerger.Merge(k[:], values[0])
		require.NoError(t, err)
		for _, v := range values[1:] {
			require.NoError(t, m.MergeNewer(v))
		}
		return finish(m)
	}
	older := func(values [][]byte) saves {
		m, err := savesMerger.Merge(k[:], values[len(values)-1])
		require.NoError(t, err)
		for _, v := range slices.Backward(values[:len(values)-1]) {
			require.NoError(t, m.MergeOlder(v))
		}
		return finish(m)
	}
	operands := [][]byte{operand(0, 1), operand(1, 2), operand(2, 4), operand(4, 5)}
	flipped := append([]byte{operands[1][0] ^ 1}, operands[1][1:]...)
	for name, c := range map[string]struct {
		values [][]byte
		want   saves
	}{
		"all":                {operands, saves{number: 5}},
		"a part":             {operands[1:3], saves{before: 1, number: 4}},
		"one is missing":     {[][]byte{operands[0], operands[2], operands[3]}, saves{number: 5, gap: 1}},
		"one is there twice": {[][]byte{operands[0], operands[1], operands[1], operands[2]}, saves{number: 4, gap: 2}},
		"two gaps":           {[][]byte{operands[0], operands[2], operands[2]}, saves{number: 4, gap: 1}},
	} {
		require.Equal(t, c.want, newer(c.values), name)
		require.Equal(t, c.want, older(c.values), name)
		require.Equal(t, c.want.gap == 0 && c.want.before == 0, c.want.check() == nil, name)
	}
	for name, values := range map[string][][]byte{
		"a flipped bit in the middle": {operands[0], flipped, operands[2]},
		"a flipped bit at the start":  {flipped, operands[2]},
		"a flipped bit at the end":    {operands[0], flipped},
		"another record":              {operands[0], seal(k, appendUint64(nil, 2)), operands[2]},
	} {
		require.NotZero(t, newer(values).gap, name)
		require.NotZero(t, older(values).gap, name)
	}
}
