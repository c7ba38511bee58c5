package smtest_test

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

func TestAFactoryOrAGeneratorThatFailsIsNamedAsWhatItIs(t *testing.T) {
	_, err := smtest.Check(nil, smtest.Options{})
	require.ErrorContains(t, err, "the factory is nil")
	right := machines["plain"]
	_, err = smtest.Check(func() statemachine.StateMachine { return right("") }, smtest.Options{Command: func(*rand.Rand) []byte { panic("none") }})
	require.ErrorContains(t, err, "Options.Command panicked: none, at ")
	require.ErrorContains(t, err, "misuse_test.go:")
	_, err = smtest.Check(func() statemachine.StateMachine { return right("") }, smtest.Options{Query: func(*rand.Rand) []byte { panic("none") }})
	require.ErrorContains(t, err, "Options.Query panicked: none, at ")
	for says, factory := range map[string]func() statemachine.StateMachine{
		"the factory made no machine: it returned nil":                       func() statemachine.StateMachine { return nil },
		"the factory made no machine: it returned a nil *smtest_test.ledger": func() statemachine.StateMachine { return (*ledger)(nil) },
		"the factory panicked: none, at ":                                    func() statemachine.StateMachine { panic("none") },
	} {
		report, err := smtest.Check(factory, smtest.Options{})
		require.NoError(t, err)
		require.Len(t, report.Findings, 1)
		require.Equal(t, smtest.PromiseFactory, report.Findings[0].Check)
		require.Contains(t, report.Findings[0].Text, says)
		require.Empty(t, report.Findings[0].Script, "commands have nothing to do with it")
	}
}

func TestAPanicIsToldWithItsPlace(t *testing.T) {
	f := check(t, "plain", "panics on a malformed command", smtest.Options{Command: ledgerCommand}).Findings[0]
	require.Contains(t, f.Text, "panicked, which would stop every replica: runtime error: index out of range")
	require.Regexp(t, `, at .*ledger_test\.go:\d+$`, f.Text)
}

// leaver is a ledger that ends the goroutine that it is called on, in one of its methods.
type leaver struct {
	*ledger
	method string
}

func (l leaver) Apply(e statemachine.Entry) []byte {
	if l.method == "Apply" {
		runtime.Goexit()
	}
	return l.ledger.Apply(e)
}

func (l leaver) Snapshot() (statemachine.Snapshot, error) {
	if l.method == "Snapshot" {
		runtime.Goexit()
	}
	return l.ledger.Snapshot()
}

func TestAMachineThatEndsItsGoroutineIsNoticedAtOnce(t *testing.T) {
	for _, method := range []string{"Apply", "Snapshot"} {
		report, err := smtest.Check(func() statemachine.StateMachine { return leaver{newLedger(""), method} },
			smtest.Options{Command: ledgerCommand, Timeout: 24 * time.Hour})
		require.NoError(t, err)
		require.Len(t, report.Findings, 1)
		require.Equal(t, smtest.PromiseReturns, report.Findings[0].Check)
		require.Regexp(t, "^"+method+".* did not return, and its goroutine was ended", report.Findings[0].Text)
	}
}

// slow is a ledger that takes its time.
type slow struct{ *ledger }

func (s slow) Apply(e statemachine.Entry) []byte {
	time.Sleep(7 * time.Second)
	return s.ledger.Apply(e)
}

func TestAMachineThatIsSlowIsNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // until what was left behind has noticed
		report, err := smtest.Check(func() statemachine.StateMachine { return slow{newLedger("")} }, smtest.Options{Command: ledgerCommand})
		require.NoError(t, err)
		require.Len(t, report.Findings, 1)
		require.Equal(t, smtest.PromiseInTime, report.Findings[0].Check)
		require.Contains(t, report.Findings[0].Text, "it took longer than Options.Timeout, 1m0s, and nothing is stuck: ")
		require.Contains(t, report.Findings[0].Text, "8 calls of Apply, which takes 7s on average; raise Timeout or lower Commands")
	})
}
