package server

import (
	"fmt"
	"testing"

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
