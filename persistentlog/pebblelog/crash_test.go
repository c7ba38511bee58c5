package pebblelog

import (
	"flag"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
)

var (
	tortures  = flag.Int("tortures", 25, "how many random histories the tests of this package run")
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
			options.WALPrepareBytes = int(seed%2) << 17 // half of the histories run on prepared files
			return Open(testDir, options)
		}
		require.NoError(t, storetest.Torture(freshMem(t), seed, prepared, openOn))
	}
}

// TestEveryFailedCallFencesAndIsNeverReportedAsSaved lets each call into the file system fail, once, in the life of a
// store that is opened, written to, flushed, compacted and closed, and everything after it succeed.
func TestEveryFailedCallFencesAndIsNeverReportedAsSaved(t *testing.T) {
	base := freshMem(t)
	life := func(at int) int {
		calls, err := storetest.LifeWithFailure(base.CrashClone(vfs.CrashCloneCfg{}), at, openOn, openOn, func(l persistentlog.PersistentLog) error {
			log := l.(*Log)
			if err := log.fence.Check(); err != nil {
				return err
			}
			if err := log.db.Flush(); err != nil {
				return err
			}
			return log.fence.Check()
		})
		require.NoError(t, err)
		return calls
	}
	total := life(-1)
	require.Greater(t, total, 100)
	step := max(1, total/80) // every call when tortured, a sample of them otherwise
	switch {
	case *tortures > 100:
		step = 1
	case testing.Short():
		step *= 5
	}
	for at := 0; at < total; at += step {
		life(at)
	}
}
