package pebblelog

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// savedOnDisk formats a store in a directory and saves blocks one by one. The copy of the directory that it returns was taken while
// the store was open, as a killed process leaves it; the second return value is the offset in the write-ahead log where
// each save ends.
func savedOnDisk(t *testing.T, saves, size int) (dir, wal string, ends []int64) {
	t.Helper()
	live := formatDisk(t)
	l, err := Open(live, diskOptions())
	require.NoError(t, err)
	name, _, err := newestWAL(vfs.Default, filepath.Join(live, pebbleName))
	require.NoError(t, err)
	w := newWriter(1)
	for range saves {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, size)}))
		info, err := os.Stat(filepath.Join(live, pebbleName, name))
		require.NoError(t, err)
		ends = append(ends, info.Size())
	}
	dir = filepath.Join(t.TempDir(), "killed")
	require.NoError(t, os.CopyFS(dir, os.DirFS(live)))
	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, l.Close())
	return dir, filepath.Join(dir, pebbleName, name), ends
}

// loadedNext opens the directory and returns where the log ends.
func loadedNext(dir string) (raft.Index, error) {
	l, err := Open(dir, diskOptions())
	if err != nil {
		return 0, err
	}
	state, err := l.Load(1)
	if err == nil && state.Next > 1 {
		_, err = l.Blocks(1, 1, state.Next, 1<<30)
	}
	if err == nil && state.Hard.Lost {
		err = persistentlog.ErrTailLost
	}
	if closed := l.Close(); err == nil {
		err = closed
	}
	return state.Next, err
}

// staysLost looks at a store that has lost its end: it says so of every group, also of one that it knows nothing of, at every start,
// however much was saved since.
func staysLost(t *testing.T, dir, name string) {
	t.Helper()
	var text bytes.Buffer
	options := diskOptions()
	options.Logger = slog.New(slog.NewTextHandler(&text, nil))
	for life := range 3 {
		l, err := Open(dir, options)
		require.NoError(t, err, name)
		for _, id := range []raft.GroupID{1, 77} {
			state, err := l.Load(id)
			require.NoError(t, err, name)
			require.True(t, state.Hard.Lost, "%s: group %d, life %d", name, id, life)
		}
		for term := range raft.Term(40) {
			require.NoError(t, l.Save([]persistentlog.Update{{Group: 1, Hard: &raft.HardState{Term: 100 + 40*raft.Term(life) + term, Lost: true}}}), name)
		}
		require.NoError(t, l.Close(), name)
	}
	require.Contains(t, text.String(), "acknowledged saves are missing", name)
	require.Contains(t, text.String(), "format a new store", name)
}

// TestDamageInTheWriteAheadLogIsNeverTakenForItsEnd edits the write-ahead log of a killed process. All that is refused here
// Pebble by itself takes for the end of the log where nothing in another 32 KiB of the file vouches for it.
func TestDamageInTheWriteAheadLogIsNeverTakenForItsEnd(t *testing.T) {
	const saves = 60
	dir, wal, ends := savedOnDisk(t, saves, 900)
	original, err := os.ReadFile(wal)
	require.NoError(t, err)
	at := func(save int) int { return int(ends[save]) }
	zero := func(from, to int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[from:to]); return b }
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 0x10; return b }
	}
	cases := []struct {
		name    string
		edit    func([]byte) []byte
		damaged bool
		lost    bool       // the witness says so, and nothing else does
		next    raft.Index // where it is neither
	}{
		{"untouched", func(b []byte) []byte { return b }, false, false, saves + 1},
		{"a bit in the first save", flip(at(0) - 100), true, false, 0},
		{"a bit in the length of a chunk in the middle", flip(at(30) + 4), true, false, 0},
		{"a bit in the last save but one", flip(at(saves-2) - 100), true, false, 0},
		{"a sector of zeros in the middle", zero(at(20)&^511, at(20)&^511+512), true, false, 0},
		{"zeros from the middle up to the last save", zero(at(30), at(saves-2)), true, false, 0},
		{"32 KiB of zeros at the start", zero(0, 32<<10), true, false, 0},
		// A record that nothing follows may be one that was never synced. Only the witness tells that it had been.
		{"a bit in the last save", flip(at(saves-1) - 100), false, true, 0},
		{"the last save torn off in the middle", func(b []byte) []byte { return b[:at(saves-1)-450] }, false, true, 0},
		{"zeros behind the last save", func(b []byte) []byte { return append(b, make([]byte, 200<<10)...) }, false, false, saves + 1},
		{"garbage behind the last save", func(b []byte) []byte { return append(b, "torn write of a save"...) }, false, false, saves + 1},
		{"cut after an older save", func(b []byte) []byte { return b[:at(29)] }, false, true, 0},
	}
	for i, c := range cases {
		copied := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
		require.NoError(t, os.Chmod(copied, 0o700))
		edited := c.edit(append([]byte(nil), original...))
		require.NoError(t, os.WriteFile(filepath.Join(copied, pebbleName, filepath.Base(wal)), edited, 0o600))
		next, err := loadedNext(copied)
		if c.lost {
			require.ErrorIs(t, err, persistentlog.ErrTailLost, "case %d: %s", i, c.name)
			staysLost(t, copied, c.name)
			continue
		}
		if !c.damaged {
			require.NoError(t, err, "case %d: %s", i, c.name)
			require.Equal(t, c.next, next, "case %d: %s", i, c.name)
			continue
		}
		require.ErrorIs(t, err, persistentlog.ErrDamaged, "case %d: %s", i, c.name)
		require.ErrorContains(t, err, filepath.Base(wal), c.name)
		require.ErrorContains(t, err, "format a new store", c.name)
	}
}

// TestEverySingleFlippedByteBeforeTheLastSaveIsNoticed walks over the whole write-ahead log of a closed store.
func TestEverySingleFlippedByteBeforeTheLastSaveIsNoticed(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	w := newWriter(1)
	for range 8 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 30)}))
	}
	saved, _, err := walSize(mem)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	for at := int64(0); at < saved; at += 1 + at%3 {
		broken := mem.CrashClone(vfs.CrashCloneCfg{})
		require.NoError(t, editWAL(broken, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b }))
		_, err := Open(testDir, testOptions(broken))
		require.ErrorIs(t, err, persistentlog.ErrDamaged, "byte %d of %d", at, saved)
	}
}

func walSize(f vfs.FS) (int64, string, error) {
	dir := f.PathJoin(testDir, pebbleName)
	name, _, err := newestWAL(f, dir)
	if err != nil {
		return 0, "", err
	}
	info, err := f.Stat(f.PathJoin(dir, name))
	if err != nil {
		return 0, "", err
	}
	return info.Size(), name, nil
}

// TestAFlippedByteInATableIsFoundWhenItIsRead damages the tables of a flushed store at many places.
func TestAFlippedByteInATableIsFoundWhenItIsRead(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	w := newWriter(1)
	for range 30 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(3, 500)}))
	}
	require.NoError(t, l.db.Flush())
	state, err := l.Load(1)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	dir := mem.PathJoin(testDir, pebbleName)
	names, err := mem.List(dir)
	require.NoError(t, err)
	tables, noticed := 0, 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		tables++
		info, err := mem.Stat(mem.PathJoin(dir, name))
		require.NoError(t, err)
		for at := int64(0); at < info.Size(); at += 331 {
			broken := mem.CrashClone(vfs.CrashCloneCfg{})
			require.NoError(t, editFile(broken, dir, name, func(b []byte) []byte { b[at] ^= 8; return b }))
			if readAll(t, broken, state) {
				noticed++
			}
		}
	}
	require.Positive(t, tables)
	require.Greater(t, noticed, 50)
}

// readAll reads the group and reports whether damage was met; anything that was read must be what was saved.
func readAll(t *testing.T, mem vfs.FS, want persistentlog.State) bool {
	t.Helper()
	l, err := Open(testDir, testOptions(mem))
	if err != nil {
		require.ErrorIs(t, err, persistentlog.ErrDamaged)
		return true
	}
	defer func() { _ = l.Close() }() // what a damaged store says on closing is of no interest
	state, err := l.Load(1)
	if err == nil {
		require.Equal(t, want, state)
		_, err = l.Blocks(1, 1, state.Next, 1<<30)
	}
	if err != nil {
		require.ErrorIs(t, err, persistentlog.ErrDamaged)
	}
	return err != nil
}

func TestAMissingOrCutTableAndAMissingManifestAreDamage(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	require.NoError(t, l.Save([]persistentlog.Update{newWriter(1).Update(3, 500)}))
	require.NoError(t, l.db.Flush())
	require.NoError(t, l.Close())
	dir := mem.PathJoin(testDir, pebbleName)
	names, err := mem.List(dir)
	require.NoError(t, err)
	slices.Sort(names)
	removed, manifest := 0, ""
	for _, name := range names {
		if strings.HasPrefix(name, "MANIFEST-") {
			manifest = name // the last one is in force
		}
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") && name != manifest {
			continue
		}
		broken := mem.CrashClone(vfs.CrashCloneCfg{})
		require.NoError(t, broken.Remove(broken.PathJoin(dir, name)))
		_, err := Open(testDir, testOptions(broken))
		require.ErrorIs(t, err, persistentlog.ErrDamaged, name)
		removed++
		if strings.HasSuffix(name, ".sst") {
			broken = mem.CrashClone(vfs.CrashCloneCfg{})
			require.NoError(t, editFile(broken, dir, name, func(b []byte) []byte { return b[:len(b)/2] }))
			_, err = Open(testDir, testOptions(broken))
			require.ErrorIs(t, err, persistentlog.ErrDamaged, "%s cut in half", name)
		}
	}
	require.GreaterOrEqual(t, removed, 2)
}

// TestARecordThatWasLostOrMovedIsNamed changes single records in the database, each with checksums that match.
func TestARecordThatWasLostOrMovedIsNamed(t *testing.T) {
	w := newWriter(1)
	first, second, third := w.Block(3, 20), w.Block(2, 20), w.Block(4, 20)
	w.Term = 2
	fourth := w.Block(1, 20)
	member := commands(1, 3, 1, 0, 1, 5) // a command where a membership should stand
	other := newWriter(2).Block(2, 20)
	wrongChain := commands(1, 4, 1, 77, 2, 20)
	set := func(k key, value []byte) func(*pebble.Batch) error {
		return func(b *pebble.Batch) error { return b.Set(k[:], value, nil) }
	}
	remove := func(k key) func(*pebble.Batch) error {
		return func(b *pebble.Batch) error { return b.Delete(k[:], nil) }
	}
	number := func(k key, v uint64) func(*pebble.Batch) error { return set(k, seal(k, appendUint64(nil, v))) }
	log := func(r logRecord) func(*pebble.Batch) error {
		k := makeKey(1, kindLog, 0)
		return set(k, seal(k, r.append(nil)))
	}
	moved := makeKey(1, kindHard, 0)
	for name, c := range map[string]struct {
		change func(*pebble.Batch) error
		says   string
	}{
		"last block lost":            {remove(makeKey(1, kindBlock, fourth.First())), "ends before 10"},
		"middle block lost":          {remove(makeKey(1, kindBlock, second.First())), "index 4"},
		"first block lost":           {remove(makeKey(1, kindBlock, 1)), "index 1"},
		"block of another group":     {set(makeKey(1, kindBlock, 4), other.Bytes()), "of group 2 index 1"},
		"block of another index":     {set(makeKey(1, kindBlock, 4), third.Bytes()), "of group 1 index 6"},
		"block with another chain":   {set(makeKey(1, kindBlock, 4), wrongChain.Bytes()), "chain hash"},
		"block of another term":      {number(makeKey(1, kindRun, 4), 5), "term"},
		"term run lost":              {remove(makeKey(1, kindRun, fourth.First())), "term runs"},
		"first term run lost":        {remove(makeKey(1, kindRun, 1)), "term"},
		"hard state lost":            {remove(makeKey(1, kindHard, 0)), "term and vote"},
		"hard state of another key":  {set(moved, seal(makeKey(3, kindHard, 0), []byte{0x93, 1, 1, 0})), "checksum"},
		"hard state unreadable":      {set(moved, seal(moved, []byte{0x93, 9, 9, 9})), "term and vote"},
		"membership that is none":    {set(makeKey(1, kindMembership, 3), member.Bytes()), "memberships"},
		"log record lost":            {remove(makeKey(1, kindLog, 0)), "where the log begins"},
		"log record of a later kind": {set(makeKey(1, kindLog, 0), seal(makeKey(1, kindLog, 0), []byte{0x97})), "log record"},
		"log ends too early":         {log(logRecord{first: 1, next: 10, has: hasHard, runs: 2}), "term runs"},
		"commit behind the end":      {log(logRecord{first: 1, next: 11, commit: 11, has: hasHard, runs: 2}), "committed"},
		"birth promised":             {log(logRecord{first: 1, next: 11, has: hasHard | hasBirth, runs: 2}), "birth"},
	} {
		mem := freshMem(t)
		l := openMem(t, mem)
		require.NoError(t, l.Save([]persistentlog.Update{{
			Group: 1, Hard: &raft.HardState{Term: 2, Vote: 1}, Blocks: []raft.Block{first, second, third, fourth},
		}}))
		batch := l.db.NewBatch()
		require.NoError(t, c.change(batch))
		require.NoError(t, batch.Commit(pebble.Sync))
		require.NoError(t, batch.Close())
		require.NoError(t, l.Close())
		l = openMem(t, mem)
		state, err := l.Load(1)
		if err == nil {
			_, err = l.Blocks(1, 1, state.Next, 1<<30)
		}
		require.ErrorIs(t, err, persistentlog.ErrDamaged, name)
		require.ErrorContains(t, err, "group 1", name)
		require.ErrorContains(t, err, testDir, name)
		require.ErrorContains(t, err, c.says, name)
		require.NoError(t, l.Close())
	}
}
