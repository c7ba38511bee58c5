package sim_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/sim"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/kv"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// homebody panics away from the goroutine that it was made for.
type homebody struct {
	statemachine.StateMachine
	home string
}

func (h homebody) Apply(e statemachine.Entry) []byte {
	if goroutine() != h.home {
		panic("called on another goroutine")
	}
	return h.StateMachine.Apply(e)
}

// goroutine is the number of the one that calls, as a stack's first line has it.
func goroutine() string {
	var stack [64]byte
	return string(bytes.Fields(stack[:runtime.Stack(stack[:], false)])[1])
}

func TestInlineClustersRunOnTheGoroutineThatAskedForThem(t *testing.T) {
	home := goroutine()
	factory := func() statemachine.StateMachine { return homebody{kv.New(), home} }
	o := smtest.Options{Examples: [][]byte{kv.Put([]byte("a"), []byte("1")), kv.Put([]byte("a"), []byte("2"))}}
	report, err := sim.CheckClusters(factory, o, sim.Clusters{Runs: 2})
	require.NoError(t, err)
	require.ErrorContains(t, report.Err(), "called on another goroutine")
	o.Inline = true
	report, err = sim.CheckClusters(factory, o, sim.Clusters{Runs: 2})
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.Equal(t, 2, report.Runs)
}
