package seglog

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
)

var (
	tortures  = flag.Int("tortures", 200, "how many random histories the tests of this package run")
	firstSeed = flag.Uint64("seed", 0, "the seed of the first random history")
)

// TestRandomCrashesLoseNothingThatWasPromised takes the power away before a random call into the file system, with a
// random part of what was not synced left behind, opens, and goes on with the same history twice more.
func TestRandomCrashesLoseNothingThatWasPromised(t *testing.T) {
	runs := uint64(*tortures)
	if testing.Short() {
		runs = max(1, runs/5)
	}
	for seed := *firstSeed; seed < *firstSeed+runs; seed++ {
		prepared := func(f vfs.FS) (persistentlog.PersistentLog, error) {
			options := testOptions(f)
			options.PrepareSegments = int(seed % 3) // a third of the histories runs on growing files
			return Open(storetest.Dir, options)
		}
		require.NoError(t, storetest.Torture(freshMem(t), seed, prepared, openOn))
	}
}

// TestEveryFailedCallFencesAndIsNeverReportedAsSaved lets each call into the file system fail, once, in the life of a
// store that is opened, written to, compacted and closed, and everything after it succeed.
func TestEveryFailedCallFencesAndIsNeverReportedAsSaved(t *testing.T) {
	base := freshMem(t)
	life := func(at int) int {
		calls, err := storetest.LifeWithFailure(base.CrashClone(vfs.CrashCloneCfg{}), at, openOn, openOn,
			func(persistentlog.PersistentLog) error { return nil })
		require.NoError(t, err)
		return calls
	}
	total := life(-1)
	require.Greater(t, total, 100)
	step := 1
	if testing.Short() {
		step = 7
	}
	for at := 0; at < total; at += step {
		life(at)
	}
}

// TestPowerThatGoesWhileAnUncleanEndIsWrittenAgainIsNoDamage has a process that was killed with its newest save in the kernel's cache
// alone, and takes the power at each sync of the Open that finds it: some pages of the save and of what stands behind it are kept.
func TestPowerThatGoesWhileAnUncleanEndIsWrittenAgainIsNoDamage(t *testing.T) {
	for seed := range uint64(40) {
		mem := freshMem(t)
		w := storetest.NewWriter(1)
		fail, opening := false, false
		var left []*vfs.MemFS
		f := errorfs.Wrap(mem, storetest.OneAtATime(func(op errorfs.Op) error {
			switch {
			case op.Kind != errorfs.OpFileSyncData || !strings.HasSuffix(op.Path, segmentSuffix):
			case fail:
				return storetest.ErrDisk
			case opening:
				left = append(left, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 9))}))
			}
			return nil
		}))
		l := openMem(t, f)
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 100)}))
		acknowledged := w.Next
		fail = true
		require.ErrorIs(t, l.Save([]persistentlog.Update{w.Update(1, 20_000)}), persistentlog.ErrFenced)
		require.NoError(t, l.Close())
		fail, opening = false, true
		require.NoError(t, openMem(t, f).Close())
		require.NotEmpty(t, left)
		for _, disk := range left {
			l, err := Open(storetest.Dir, testOptions(disk))
			require.NoError(t, err, "seed %d", seed)
			state, err := l.Load(1)
			require.NoError(t, err)
			require.False(t, state.Hard.Lost)
			require.GreaterOrEqual(t, state.Next, acknowledged)
			require.NoError(t, l.Close())
		}
	}
}
