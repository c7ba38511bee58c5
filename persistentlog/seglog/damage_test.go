package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
	"github.com/oarlock/oarlock/raft"
)

// storedText is all that a store says, or the error. The error of a disk that is whole is nil or ErrDamaged.
func storedText(f vfs.FS) (string, error) {
	l, err := Open(storetest.Dir, testOptions(f))
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }() // what a damaged store says on closing is of no interest
	groups, err := l.Groups()
	text := fmt.Sprint(groups)
	for _, id := range groups {
		state, loadErr := l.Load(id)
		if loadErr != nil {
			return "", loadErr
		}
		if state.Hard.Lost {
			return "", persistentlog.ErrTailLost
		}
		text += fmt.Sprintf("%+v\n", state)
		if state.First == state.Next {
			continue
		}
		blocks, readErr := l.Blocks(id, state.First, state.Next, 1<<30)
		if readErr != nil {
			return "", readErr
		}
		text += entries(blocks)
	}
	return text, err
}

// smallStore writes some of everything and returns the disk as a process that was killed leaves it. With segments it is of
// several, without it is one.
func smallStore(t *testing.T, segments bool) *vfs.MemFS {
	t.Helper()
	mem := freshMem(t)
	l := openMem(t, mem)
	size := 10
	if segments {
		size = 9000
	}
	one, two := storetest.NewWriter(1), storetest.NewWriter(2)
	birth := raft.Birth{Membership: raft.Membership{Voters: []raft.Member{{ID: 1, Store: storetest.Identity.Store, Address: "a:1"}}}}
	for i := range 8 {
		updates := []persistentlog.Update{one.Update(2, size), two.Update(1, size/2)}
		updates[0].Hard = &raft.HardState{Term: 1, Vote: 1}
		if i == 0 {
			updates[0].Birth = &birth
		}
		require.NoError(t, l.Save(updates))
		if i == 5 {
			at := raft.Index(4)
			meta := raft.SnapshotMeta{Group: 1, Index: at, Term: 1, Chain: 1}
			require.NoError(t, l.Save([]persistentlog.Update{{Group: 1, Snapshot: &meta, Commit: 9}}))
			require.NoError(t, l.Compact(1, at))
		}
	}
	killed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	require.NoError(t, l.Close())
	return killed
}

// storeFiles are the files of a store that can decay.
func storeFiles(t *testing.T, mem *vfs.MemFS) (dirs, names []string) {
	t.Helper()
	segments, err := segmentNames(mem)
	require.NoError(t, err)
	for _, name := range segments {
		dirs, names = append(dirs, mem.PathJoin(storetest.Dir, segmentsName)), append(names, name)
	}
	for _, name := range []string{storedir.IdentityName, storedir.WitnessName} {
		dirs, names = append(dirs, storetest.Dir), append(names, name)
	}
	return dirs, names
}

// TestEverySingleFlippedBitIsHarmlessOrNoticed flips every bit of a store of one segment, and some of a store of several.
func TestEverySingleFlippedBitIsHarmlessOrNoticed(t *testing.T) {
	for _, segments := range []bool{false, true} {
		mem := smallStore(t, segments)
		want, err := storedText(mem.CrashClone(vfs.CrashCloneCfg{}))
		require.NoError(t, err)
		dirs, names := storeFiles(t, mem)
		rng := rand.New(rand.NewPCG(*firstSeed, 5))
		noticed, harmless := 0, 0
		for i, name := range names {
			content, err := readFile(mem, mem.PathJoin(dirs[i], name))
			require.NoError(t, err)
			step := 1
			if segments {
				step = 61
			}
			if *tortures < 1000 { // a sample
				step = 61 * step
			}
			for bit := rng.IntN(step); bit < 8*len(content); bit += 1 + rng.IntN(2*step-1) {
				broken := mem.CrashClone(vfs.CrashCloneCfg{})
				require.NoError(t, editFile(broken, dirs[i], name, func(b []byte) []byte {
					b[bit/8] ^= 1 << (bit % 8)
					return b
				}))
				switch got, err := storedText(broken); {
				case errors.Is(err, persistentlog.ErrDamaged):
					noticed++
				case err != nil:
					require.NoError(t, err, "%s bit %d", name, bit)
				default:
					require.Equal(t, want, got, "%s bit %d", name, bit)
					harmless++
				}
			}
		}
		t.Logf("%d noticed, %d harmless", noticed, harmless)
		require.Greater(t, noticed, 100)
	}
}

// TestDamageIsNamed edits the only segment of a store of ten saves.
func TestDamageIsNamed(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	w := storetest.NewWriter(1)
	var ends []int
	for range 10 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 600)}))
		ends = append(ends, int(l.head().used))
	}
	killed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	stale := mem.CrashClone(vfs.CrashCloneCfg{}) // its witness was not synced
	require.NoError(t, l.Close())
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 4; return b }
	}
	for _, c := range []struct {
		name string
		disk *vfs.MemFS
		edit func([]byte) []byte
		want error
		says string
		next raft.Index // where there is no error
	}{
		{"untouched", killed, func(b []byte) []byte { return b }, nil, "", 21},
		{"the magic", killed, flip(3), persistentlog.ErrDamaged, "offset 0", 0},
		{"the header's zeros", killed, flip(1000), persistentlog.ErrDamaged, "offset 0", 0},
		{"a later version", killed, func(b []byte) []byte {
			h, err := parseHeader(b)
			require.NoError(t, err)
			h.put(b)
			b[7]++
			return b
		}, persistentlog.ErrDamaged, "checksum", 0},
		{"the checkpoint", killed, flip(headerSize + 20), persistentlog.ErrDamaged, "offset 4096", 0},
		{"a save in the middle", killed, flip(ends[4] - 100), persistentlog.ErrDamaged, fmt.Sprintf("offset %d: no batch reads, and one that was saved later begins at %d", ends[3], ends[4]), 0},
		{"the length of a save in the middle", killed, flip(ends[4] + 6), persistentlog.ErrDamaged, fmt.Sprintf("offset %d", ends[4]), 0},
		{"the last save but one", killed, flip(ends[7] + 50), persistentlog.ErrDamaged, fmt.Sprintf("offset %d", ends[7]), 0},
		{"zeros from the middle up to the last save", killed, func(b []byte) []byte { clear(b[ends[4]:ends[8]]); return b }, persistentlog.ErrDamaged, fmt.Sprintf("begins at %d", ends[8]), 0},
		{"the last save", killed, flip(ends[9] - 100), persistentlog.ErrTailLost, "was acknowledged", 0},
		{"cut after an older save", killed, func(b []byte) []byte { return b[:ends[5]] }, persistentlog.ErrTailLost, "was acknowledged", 0},
		{"an older save twice", killed, func(b []byte) []byte {
			return slices.Concat(b[:ends[5]], b[ends[4]:ends[5]])
		}, persistentlog.ErrTailLost, "", 0},
		// Without the witness the end is the end: nothing tells that it had been further on.
		{"the last save torn off, the witness stale", stale, flip(ends[9] - 100), nil, "", 19},
		{"garbage behind the last save", killed, func(b []byte) []byte { return append(b, "torn write of a save, and more of it"...) }, nil, "", 21},
		{"zeros behind the last save", killed, func(b []byte) []byte { return append(b, make([]byte, 5000)...) }, nil, "", 21},
	} {
		disk := c.disk.CrashClone(vfs.CrashCloneCfg{})
		require.NoError(t, editNewest(disk, c.edit), c.name)
		if errors.Is(c.want, persistentlog.ErrTailLost) {
			staysLost(t, disk, c.name)
			continue
		}
		l, err := Open(storetest.Dir, testOptions(disk))
		if c.want != nil {
			require.ErrorIs(t, err, c.want, c.name)
			require.ErrorContains(t, err, segmentName(1), c.name)
			require.ErrorContains(t, err, c.says, c.name)
			require.ErrorContains(t, err, "format a new store", c.name)
			continue
		}
		require.NoError(t, err, c.name)
		state, err := l.Load(1)
		require.NoError(t, err, c.name)
		require.Equal(t, c.next, state.Next, c.name)
		// What follows is written over the torn end, and is there after another crash.
		more := &storetest.Writer{Group: 1, Next: state.Next, Term: 1, Chain: state.Chain}
		require.NoError(t, l.Save([]persistentlog.Update{more.Update(1, 10)}), c.name)
		again := openMem(t, disk.CrashClone(vfs.CrashCloneCfg{}))
		state, err = again.Load(1)
		require.NoError(t, err, c.name)
		require.Equal(t, more.Next, state.Next, c.name)
		require.NoError(t, l.Close())
	}
}

// staysLost looks at a store that has lost its end: it says so of every group, also of one that it knows nothing of, at every start,
// however much was saved since, and whenever the power goes.
func staysLost(t *testing.T, disk *vfs.MemFS, name string) {
	t.Helper()
	var text bytes.Buffer
	for life := range 4 {
		options := testOptions(disk)
		options.Logger = slog.New(slog.NewTextHandler(&text, nil))
		l, err := Open(storetest.Dir, options)
		require.NoError(t, err, name)
		crashed := disk.CrashClone(vfs.CrashCloneCfg{})
		for _, id := range []raft.GroupID{1, 77} {
			state, err := l.Load(id)
			require.NoError(t, err, name)
			require.True(t, state.Hard.Lost, "%s: group %d, life %d", name, id, life)
		}
		for term := range raft.Term(20) {
			require.NoError(t, l.Save([]persistentlog.Update{{Group: 1, Hard: &raft.HardState{Term: 100 + 20*raft.Term(life) + term, Lost: true}}}), name)
		}
		require.NoError(t, l.Close(), name)
		if life == 1 {
			disk = crashed
		}
	}
	require.Contains(t, text.String(), "was acknowledged", name)
	require.Contains(t, text.String(), "format a new store", name)
}

// TestAMissingFileIsDamage removes each file of a store of several segments.
func TestAMissingFileIsDamage(t *testing.T) {
	mem := smallStore(t, true)
	dirs, names := storeFiles(t, mem)
	require.Greater(t, len(names), 5)
	for i, name := range names {
		broken := mem.CrashClone(vfs.CrashCloneCfg{})
		require.NoError(t, broken.Remove(broken.PathJoin(dirs[i], name)))
		_, err := Open(storetest.Dir, testOptions(broken))
		if name == storedir.IdentityName {
			require.ErrorIs(t, err, persistentlog.ErrNotFormatted)
			continue
		}
		require.ErrorIs(t, err, persistentlog.ErrDamaged, name)
	}
}

// TestAFileOfAnotherStoreOrTimeIsDamage puts files of another disk, or of an earlier moment, in the place of a store's own.
func TestAFileOfAnotherStoreOrTimeIsDamage(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	w := storetest.NewWriter(1)
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 600)}))
	older, err := readFile(mem, l.head().path)
	require.NoError(t, err)
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 600)}))
	require.NoError(t, l.Close())
	rolled := mem.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, editNewest(rolled, func([]byte) []byte { return older }))
	staysLost(t, rolled, "an earlier moment")

	other := vfs.NewCrashableMem()
	identity := storetest.Identity
	identity.Store[0]++
	require.NoError(t, Format(storetest.Dir, identity, testOptions(other)))
	foreign, err := readFile(other, other.PathJoin(storetest.Dir, segmentsName, segmentName(1)))
	require.NoError(t, err)
	mixed := mem.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, editNewest(mixed, func([]byte) []byte { return foreign }))
	_, err = Open(storetest.Dir, testOptions(mixed))
	require.ErrorIs(t, err, persistentlog.ErrDamaged)
	require.ErrorContains(t, err, identity.Store.String())

	witness, err := readFile(other, other.PathJoin(storetest.Dir, storedir.WitnessName))
	require.NoError(t, err)
	mixed = mem.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, editFile(mixed, storetest.Dir, storedir.WitnessName, func([]byte) []byte { return witness }))
	_, err = Open(storetest.Dir, testOptions(mixed))
	require.ErrorIs(t, err, persistentlog.ErrDamaged)
	require.ErrorContains(t, err, "belongs to store")
}

// TestAReadThatFailsIsNotCalledDamage lets every call fail that reads, once, while a store of several segments is opened and read. A
// disk that cannot read for a moment must not cost the store: damage is for good.
func TestAReadThatFailsIsNotCalledDamage(t *testing.T) {
	mem := smallStore(t, true)
	want, err := storedText(mem.CrashClone(vfs.CrashCloneCfg{}))
	require.NoError(t, err)
	failed := 0
	for at := 0; ; at++ {
		reads := 0
		disk := mem.CrashClone(vfs.CrashCloneCfg{})
		_, err := storedText(errorfs.Wrap(disk, storetest.OneAtATime(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
				if reads++; reads-1 == at {
					return storetest.ErrDisk
				}
			}
			return nil
		})))
		if err != nil {
			require.ErrorIs(t, err, storetest.ErrDisk, "read %d", at)
			require.NotErrorIs(t, err, persistentlog.ErrDamaged, "read %d", at)
			failed++
		}
		got, err := storedText(disk)
		require.NoError(t, err, "after read %d failed", at)
		require.Equal(t, want, got, "after read %d failed", at)
		if reads <= at {
			break
		}
	}
	require.Greater(t, failed, 20)
}
