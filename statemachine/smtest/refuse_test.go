package smtest_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// reluctant is a ledger that refuses snapshots.
type reluctant struct {
	*ledger
	calls  int
	refuse func(r *reluctant) bool
}

func (r *reluctant) Snapshot() (statemachine.Snapshot, error) {
	if r.calls++; r.refuse(r) {
		return nil, errors.New("later")
	}
	return r.ledger.Snapshot()
}

// reluctantHashed has a hash, too.
type reluctantHashed struct{ *reluctant }

func (r reluctantHashed) StateHash() uint64 { return hashed{r.ledger}.StateHash() }

func reluctance(t *testing.T, withHash bool, refuse func(*reluctant) bool) *smtest.Report {
	t.Helper()
	report, err := smtest.Check(func() statemachine.StateMachine {
		r := &reluctant{ledger: newLedger(""), refuse: refuse}
		if withHash {
			return reluctantHashed{r}
		}
		return r
	}, smtest.Options{Command: ledgerCommand})
	require.NoError(t, err)
	return report
}

func TestASnapshotMayBeRefusedIfItIsTakenLater(t *testing.T) {
	for _, withHash := range []bool{false, true} {
		require.NoError(t, reluctance(t, withHash, func(r *reluctant) bool { return r.calls%5 == 0 }).Err())
		require.NoError(t, reluctance(t, withHash, func(r *reluctant) bool { return r.calls%3 > 0 }).Err())
		require.NoError(t, reluctance(t, withHash, func(r *reluctant) bool { return len(r.values) == 0 }).Err(), "of an empty state")
	}
}

func TestASnapshotThatIsNeverTakenIsAFindingOfThatName(t *testing.T) {
	for _, withHash := range []bool{false, true} {
		for what, refuse := range map[string]func(*reluctant) bool{
			"ever":             func(*reluctant) bool { return true },
			"of a large state": func(r *reluctant) bool { return len(r.values) > 2 },
		} {
			report := reluctance(t, withHash, refuse)
			require.NotEmpty(t, report.Findings, what)
			require.Equal(t, smtest.PromiseSnapshot, report.Findings[0].Check, what)
			require.Contains(t, report.Findings[0].Text, "Snapshot returned an error each time that it was tried: later")
			require.LessOrEqual(t, len(report.Findings[0].Script), 4, "%s", &report.Findings[0])
		}
	}
}

func TestFindingsHaveTheNameOfTheirPromise(t *testing.T) {
	for fault, check := range map[string]string{
		"changes the command":           "bytes are borrowed and given away as documented",
		"is still due":                  "what falls due comes to an end",
		"WriteTo miscounts":             smtest.PromiseSnapshot,
		"Query panics":                  smtest.PromiseReturns,
		"Restore panics":                smtest.PromiseReturns,
		"panics on a malformed command": "every command is executed",
	} {
		report := runReport(t, fault)
		require.NotEmpty(t, report.Findings, fault)
		require.Equal(t, check, report.Findings[0].Check, fault)
	}
}

func runReport(t *testing.T, fault string) *smtest.Report {
	t.Helper()
	return check(t, "plain", fault, smtest.Options{Command: ledgerCommand})
}
