package sim

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

func TestSettingsOfAProgramThatIsWrongAreNamedAsWhatTheyAre(t *testing.T) {
	right := func() statemachine.StateMachine { return newCounters("") }
	for _, check := range []func(func() statemachine.StateMachine, smtest.Options, Clusters) (*MachineReport, error){CheckMachine, CheckClusters} {
		_, err := check(nil, counterOptions(), Clusters{Runs: 1})
		require.ErrorContains(t, err, "the factory is nil")
		o := counterOptions()
		o.Command = func(*rand.Rand) []byte { panic("no command") }
		_, err = check(right, o, Clusters{Runs: 1})
		require.ErrorContains(t, err, "Options.Command panicked: no command, at ")
		require.ErrorContains(t, err, "check_misuse_test.go:")
		o = counterOptions()
		o.Query = func(*rand.Rand) []byte { panic("no query") }
		_, err = check(right, o, Clusters{Runs: 1})
		require.ErrorContains(t, err, "Options.Query panicked: no query, at ")
		for says, factory := range map[string]func() statemachine.StateMachine{
			"the factory made no machine: it returned nil":                 func() statemachine.StateMachine { return nil },
			"the factory made no machine: it returned a nil *sim.counters": func() statemachine.StateMachine { return (*counters)(nil) },
			"the factory panicked: no machine, at ":                        func() statemachine.StateMachine { panic("no machine") },
		} {
			report, err := check(factory, counterOptions(), Clusters{Runs: 1})
			require.NoError(t, err)
			require.Len(t, report.Findings, 1)
			require.Equal(t, smtest.PromiseFactory, report.Findings[0].Check)
			require.Contains(t, report.Findings[0].Text, says)
		}
	}
}

// leaver is counters that end the goroutine that they are called on.
type leaver struct{ *counters }

func (l leaver) Apply(statemachine.Entry) []byte {
	runtime.Goexit()
	return nil
}

func TestAMachineThatEndsItsGoroutineInAClusterIsNoticedAtOnce(t *testing.T) {
	o := counterOptions()
	o.Timeout = 24 * time.Hour
	report, err := CheckClusters(func() statemachine.StateMachine { return leaver{newCounters("")} }, o, Clusters{Runs: 1})
	require.NoError(t, err)
	require.Len(t, report.Findings, 1)
	require.Contains(t, report.Findings[0].Text, "did not return, and its goroutine was ended")
	require.Contains(t, report.Findings[0].Text, "Apply: the command at index")
}

func TestAClusterThatIsSlowIsNotStuck(t *testing.T) {
	w := new(watch)
	w.at("Apply")
	require.Equal(t, smtest.PromiseInTime, w.late(time.Hour).Check)
	w.since = time.Now().Add(-time.Hour)
	require.Equal(t, smtest.PromiseReturns, w.late(time.Hour).Check)
}
