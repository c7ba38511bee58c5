package seglog

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
)

// TestCloseReturnsWhenTheDiskHangsAndNamesTheCall hangs in the sync of a segment, and in that of the witness, of a save and of Close
// itself.
func TestCloseReturnsWhenTheDiskHangsAndNamesTheCall(t *testing.T) {
	for _, c := range []struct {
		suffix string
		saves  bool
	}{{segmentSuffix, true}, {storedir.WitnessName, true}, {storedir.WitnessName, false}} {
		hanging, letGo := make(chan struct{}, 10), make(chan struct{})
		var hang, late atomic.Bool
		options := testOptions(errorfs.Wrap(freshMem(t), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if hang.Load() && op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, c.suffix) {
				hanging <- struct{}{}
				<-letGo
			}
			return nil
		})))
		begun := time.Now()
		options.Now = func() time.Time {
			if late.Load() {
				return begun.Add(time.Minute) // the witness is to be synced
			}
			return begun
		}
		options.CloseTimeout = 20 * time.Millisecond
		l, err := Open(storetest.Dir, options)
		require.NoError(t, err)
		w := storetest.NewWriter(1)
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 1)}))
		hang.Store(true)
		saved := make(chan error, 1)
		if c.saves {
			late.Store(true)
			go func() { saved <- l.Save([]persistentlog.Update{w.Update(1, 1)}) }()
			<-hanging
		}
		require.ErrorContains(t, l.Close(), c.suffix)
		close(letGo)
		if c.saves {
			require.NoError(t, <-saved)
		}
		// What was left behind ends now; goleak sees to it that it does.
	}
}
