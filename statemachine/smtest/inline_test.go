package smtest_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/kv"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// goroutine is the number of the one that calls, as a stack's first line has it.
func goroutine() string {
	var stack [64]byte
	return string(bytes.Fields(stack[:runtime.Stack(stack[:], false)])[1])
}

// homebody notes the goroutines that call it.
type homebody struct {
	statemachine.StateMachine
	seen map[string]bool
}

func (h homebody) Apply(e statemachine.Entry) []byte {
	h.seen[goroutine()] = true
	return h.StateMachine.Apply(e)
}

func (h homebody) Snapshot() (statemachine.Snapshot, error) {
	s, err := h.StateMachine.Snapshot()
	return homebodySnapshot{s, h.seen}, err
}

func (h homebody) ConcurrentQuery() {}

func (h homebody) Query(q []byte) ([]byte, error) {
	h.seen[goroutine()] = true
	return h.StateMachine.Query(q)
}

type homebodySnapshot struct {
	statemachine.Snapshot
	seen map[string]bool
}

func (s homebodySnapshot) WriteTo(w io.Writer) (int64, error) {
	s.seen[goroutine()] = true
	return s.Snapshot.WriteTo(w)
}

func TestInlineEverythingIsCalledOnTheGoroutineThatCalledCheck(t *testing.T) {
	seen := make(map[string]bool)
	report, err := smtest.Check(func() statemachine.StateMachine { return homebody{kv.New(), seen} }, smtest.Options{
		Command: func(r *rand.Rand) []byte { return kv.Put([]byte{'a' + byte(r.IntN(9))}, []byte{byte(r.Uint32())}) },
		Query:   func(r *rand.Rand) []byte { return kv.Get([]byte{'a' + byte(r.IntN(9))}) },
		Inline:  true,
	})
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.Equal(t, map[string]bool{goroutine(): true}, seen)
}
