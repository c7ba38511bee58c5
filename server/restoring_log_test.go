package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// replacedLog has given way to a snapshot.
type replacedLog struct{ persistentlog.PersistentLog }

func (replacedLog) Blocks(_ raft.GroupID, from, _ raft.Index, _ int) ([]raft.Block, error) {
	return nil, fmt.Errorf("%w: index %d", persistentlog.ErrCompacted, from)
}

// While a durable machine is being opened, which may take long, the log that it was to be compared with may go: a snapshot is installed,
// and the machine restored from it next (sim seed 15, with slow restores).
func TestDurableMachineThatIsOpenedSlowlySurvivesTheInstallOfASnapshot(t *testing.T) {
	j := &RestoreJob{a: &applier{group: 1}, log: replacedLog{}, first: 1, next: 50}
	require.NoError(t, j.follows(14, wire.Applied{Index: 14, Term: 1}))
}

// Two snapshots that were installed in the meantime must not take the file from under a restore that has not begun (sim seed 3300, with slow
// restores).
func TestNoSnapshotGoesBeforeTheMachineIsRestored(t *testing.T) {
	r := newReplica(t)
	compacts := func() (count int) {
		for _, j := range r.work.Jobs {
			if _, ok := j.(*CompactJob); ok {
				count++
			}
		}
		return count
	}
	r.pointerSaved(time.Hour, raft.SnapshotMeta{Group: 1, Index: 24})
	require.Zero(t, compacts())
	r.restored = true
	r.pointerSaved(time.Hour, raft.SnapshotMeta{Group: 1, Index: 26})
	require.Equal(t, 1, compacts())
}
