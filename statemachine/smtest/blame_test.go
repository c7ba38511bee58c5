package smtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// photographed is a ledger whose snapshots change it.
type photographed struct{ *ledger }

func (p photographed) Snapshot() (statemachine.Snapshot, error) {
	p.values[0] = append(p.values[0], '.')
	return p.ledger.Snapshot()
}

// photographedHashed has a hash, too.
type photographedHashed struct{ photographed }

func (p photographedHashed) StateHash() uint64 { return hashed{p.ledger}.StateHash() }

func TestASnapshotThatChangesTheStateIsNamedAsWhatItIs(t *testing.T) {
	for _, withHash := range []bool{false, true} {
		report, err := smtest.Check(func() statemachine.StateMachine {
			p := photographed{newLedger("")}
			if withHash {
				return photographedHashed{p}
			}
			return p
		}, smtest.Options{Command: ledgerCommand})
		require.NoError(t, err)
		require.Len(t, report.Findings, 1)
		require.Equal(t, "Snapshot changes nothing", report.Findings[0].Check)
		require.Contains(t, report.Findings[0].Text, "with a snapshot taken after each command the machine comes to something else than without: ")
		require.Len(t, report.Findings[0].Script, 1)
	}
}

// moody is a ledger that gives another result in some runs: of the machines that are made, the ones with these numbers.
type moody struct {
	*ledger
	moody bool
}

func (m moody) Apply(e statemachine.Entry) []byte {
	if m.moody {
		return []byte("not today")
	}
	return m.ledger.Apply(e)
}

func TestAMachineThatDiffersNowAndThenIsNotSaidToKeepBytes(t *testing.T) {
	for first := range 3 {
		made := 0
		report, err := smtest.Check(func() statemachine.StateMachine {
			made++
			return moody{newLedger(""), made == 4+first}
		}, smtest.Options{Command: ledgerCommand})
		require.NoError(t, err)
		require.Len(t, report.Findings, 1)
		require.Equal(t, "the same commands give the same results and state", report.Findings[0].Check, "machine %d", 4+first)
	}
}
