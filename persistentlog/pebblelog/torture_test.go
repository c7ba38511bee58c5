package pebblelog

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
	"github.com/oarlock/oarlock/persistentlog/logtest"
)

// victim is a logtest.Victim.
type victim struct{ *storetest.Victim }

func (v victim) Copy() (logtest.Victim, error) {
	copied, err := v.Victim.Copy()
	return victim{copied}, err
}

// TestTorturedLogLosesNothingSilently runs logtest.Torture: see there for what it holds a log to.
func TestTorturedLogLosesNothingSilently(t *testing.T) {
	var toll logtest.Toll
	runs := uint64(*tortures)
	if testing.Short() {
		runs /= 5
	}
	for seed := *firstSeed; seed < *firstSeed+runs; seed++ {
		prepared := func(f vfs.FS) (persistentlog.PersistentLog, error) {
			options := testOptions(f)
			options.WALPrepareBytes = int(seed%2) << 17 // half of the runs are on prepared files
			// In a damaged block of a MB Pebble looks for the flipped bit for seconds, and for longer on a busy machine.
			options.CloseTimeout = 10 * time.Minute
			return Open(testDir, options)
		}
		one, err := logtest.Torture(func() (logtest.Victim, error) { return victim{storetest.NewVictim(freshMem(t), prepared)}, nil }, seed)
		require.NoError(t, err)
		toll.Add(one)
	}
	t.Log(toll)
}
