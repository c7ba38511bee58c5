package storedir

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

var testKind = Kind{Name: "testlog", Title: "oarlock test", Version: 1}

var storeID = raft.StoreID{0x57, 15: 2}

// clock is a clock that stands.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func openWitness(t *testing.T, mem *vfs.MemFS, c *clock) *Witness {
	t.Helper()
	w, err := testKind.OpenWitness(mem, "/", storeID, c.now)
	require.NoError(t, err)
	return w
}

func TestAWitnessIsSyncedOnceASecondAndWhenItIsClosed(t *testing.T) {
	mem, c := vfs.NewCrashableMem(), &clock{at: time.Unix(100, 0)}
	require.NoError(t, CreateWitness(mem, "/", storeID, 1, 11))
	afterCrash := func() uint64 {
		w := openWitness(t, mem.CrashClone(vfs.CrashCloneCfg{}), c)
		number, _ := w.Newest()
		require.NoError(t, w.Close(false))
		return number
	}
	w := openWitness(t, mem, c)
	require.NoError(t, w.Note(2, 22))
	require.Equal(t, uint64(1), afterCrash())
	c.at = c.at.Add(999 * time.Millisecond)
	require.NoError(t, w.Note(3, 33))
	require.Equal(t, uint64(1), afterCrash())
	c.at = c.at.Add(time.Millisecond)
	require.NoError(t, w.Note(4, 44))
	require.Equal(t, uint64(4), afterCrash())
	require.NoError(t, w.Note(5, 55))
	require.Equal(t, uint64(4), afterCrash())
	require.NoError(t, w.Close(true))
	require.Equal(t, uint64(5), afterCrash())
	again := openWitness(t, mem, c)
	number, sum := again.Newest()
	require.Equal(t, uint64(5), number, "what was noted is there for the next process")
	require.Equal(t, uint32(55), sum)
	require.NoError(t, again.Check("log", 5))
	require.NoError(t, again.Check("log", 9))
	require.ErrorIs(t, again.Check("log", 4), persistentlog.ErrTailLost)
	require.ErrorIs(t, again.Check("log", 4), persistentlog.ErrDamaged)
	require.NoError(t, again.Close(true))
}

// TestATornSlotLeavesTheOneBefore damages each byte of what was written last.
func TestATornSlotLeavesTheOneBefore(t *testing.T) {
	mem, c := vfs.NewMem(), &clock{}
	require.NoError(t, CreateWitness(mem, "/", storeID, 1, 0))
	w := openWitness(t, mem, c)
	require.NoError(t, w.Note(2, 0))
	require.NoError(t, w.Note(7, 0))
	newest := w.newest
	require.NoError(t, w.Close(true))
	file, err := mem.OpenReadWrite("/"+WitnessName, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	flip := func(slot, at int) {
		b := make([]byte, 1)
		_, err := file.ReadAt(b, int64(slot*witnessSlotBytes+at))
		require.NoError(t, err)
		b[0] ^= 0x10
		_, err = file.WriteAt(b, int64(slot*witnessSlotBytes+at))
		require.NoError(t, err)
	}
	for at := range witnessBytes {
		flip(newest, at)
		w := openWitness(t, mem, c)
		number, _ := w.Newest()
		require.Equal(t, uint64(2), number, "byte %d", at)
		require.NoError(t, w.Close(true))
		flip(newest, at)
	}
	flip(0, 30)
	flip(1, 30)
	_, err = testKind.OpenWitness(mem, "/", storeID, c.now)
	require.ErrorIs(t, err, persistentlog.ErrDamaged)
	require.ErrorContains(t, err, WitnessName)
	require.NoError(t, file.Close())
}

func TestAWitnessOfAnotherStoreIsDamage(t *testing.T) {
	mem, c := vfs.NewMem(), &clock{}
	require.NoError(t, CreateWitness(mem, "/", raft.StoreID{9}, 1, 0))
	_, err := testKind.OpenWitness(mem, "/", storeID, c.now)
	require.ErrorIs(t, err, persistentlog.ErrDamaged)
}

// TestALostEndIsWrittenDownBeforeAnythingElse has the power go after Judge: what it found is there, whatever is saved later.
func TestALostEndIsWrittenDownBeforeAnythingElse(t *testing.T) {
	mem, c := vfs.NewCrashableMem(), &clock{}
	require.NoError(t, CreateWitness(mem, "/", storeID, 1, 0))
	w := openWitness(t, mem, c)
	require.NoError(t, w.Note(7, 70))
	require.NoError(t, w.Close(true))
	w = openWitness(t, mem, c)
	lost, err := w.Judge("log", 7)
	require.NoError(t, err)
	require.NoError(t, lost)
	require.False(t, w.HasLost())
	lost, err = w.Judge("log", 6)
	require.NoError(t, err)
	require.ErrorIs(t, lost, persistentlog.ErrTailLost)
	require.True(t, w.HasLost())
	number, _ := w.Newest()
	require.Equal(t, uint64(7), number, "the lost saves' numbers are not given away again")
	for range 3 {
		mem = mem.CrashClone(vfs.CrashCloneCfg{})
		w = openWitness(t, mem, c)
		require.NoError(t, w.Note(100, 1))
		lost, err = w.Judge("log", 100)
		require.NoError(t, err)
		require.ErrorContains(t, lost, "an earlier start")
	}
}

// TestALostEndIsWrittenDownAgainWhereTheFirstAttemptFailed has the next process find in the system's memory what no sync made durable.
func TestALostEndIsWrittenDownAgainWhereTheFirstAttemptFailed(t *testing.T) {
	mem, c := vfs.NewCrashableMem(), &clock{}
	require.NoError(t, CreateWitness(mem, "/", storeID, 7, 70))
	failed := errors.New("the sync failed")
	w, err := testKind.OpenWitness(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData {
			return failed
		}
		return nil
	})), "/", storeID, c.now)
	require.NoError(t, err)
	_, err = w.Judge("log", 6)
	require.ErrorIs(t, err, failed)

	w = openWitness(t, mem, c)
	lost, err := w.Judge("log", 6)
	require.NoError(t, err)
	require.ErrorIs(t, lost, persistentlog.ErrTailLost)
	w = openWitness(t, mem.CrashClone(vfs.CrashCloneCfg{}), c)
	require.True(t, w.HasLost())
}

// TestAWitnessThatCannotBeLookedForIsNotMissing fails the call that looks for the file.
func TestAWitnessThatCannotBeLookedForIsNotMissing(t *testing.T) {
	mem, c := vfs.NewMem(), &clock{}
	failed := errors.New("the disk failed")
	disk := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpStat {
			return failed
		}
		return nil
	}))
	_, err := testKind.OpenWitness(disk, "/", storeID, c.now)
	require.ErrorIs(t, err, failed)
	require.NotErrorIs(t, err, persistentlog.ErrDamaged)
	_, err = mem.Stat("/" + WitnessName)
	require.ErrorIs(t, err, fs.ErrNotExist, "and none was made in its place")
}
