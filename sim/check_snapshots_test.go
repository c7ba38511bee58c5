package sim

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/kv"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// busy refuses every other snapshot, and each one of an empty state.
type busy struct {
	statemachine.StateMachine
	calls, commands int
}

func (b *busy) Apply(e statemachine.Entry) []byte {
	b.commands++
	return b.StateMachine.Apply(e)
}

func (b *busy) Snapshot() (statemachine.Snapshot, error) {
	if b.calls++; b.calls%2 == 1 || b.commands == 0 {
		return nil, errors.New("later")
	}
	return b.StateMachine.Snapshot()
}

func TestAMachineThatRefusesASnapshotNowAndThenPasses(t *testing.T) {
	for _, plain := range []bool{false, true} {
		factory := func() statemachine.StateMachine {
			if plain {
				return &busy{StateMachine: newCounters("")}
			}
			return &busy{StateMachine: kv.New()}
		}
		o := counterOptions()
		if !plain {
			o = smtest.Options{Examples: [][]byte{kv.Put([]byte("a"), []byte("1")), kv.Delete([]byte("a")), kv.Put([]byte("b"), []byte("2"))}}
		}
		report, err := CheckClusters(factory, o, Clusters{Runs: 10})
		require.NoError(t, err)
		require.NoError(t, report.Err())
		require.Positive(t, report.Snapshots)
		require.Positive(t, report.Restores)
	}
}

func TestBytesThatDifferInAClusterAreShown(t *testing.T) {
	for fault, says := range map[string]string{
		"random":                      " bytes that differ from byte ",
		"Restore forgets what is due": " bytes that differ from byte ",
		"snapshot is live":            " bytes that differ from byte ",
	} {
		f := clusters(t, "plain", fault, counterOptions(), Clusters{Runs: 40}).Findings[0]
		require.Contains(t, f.Text, says, fault)
		require.Contains(t, f.Text, "; snapshots of ", fault)
	}
}
