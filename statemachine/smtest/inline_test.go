package smtest_test

import (
	"bytes"
	"errors"
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

// traveller notes which snapshots were written on another goroutine than the one that took them, and fails there if it is to.
type traveller struct {
	statemachine.StateMachine
	live, fails bool
	abroad      *int
}

func (m traveller) Snapshot() (statemachine.Snapshot, error) {
	s, err := m.StateMachine.Snapshot()
	return travellerSnapshot{s, m, goroutine()}, err
}

type travellerSnapshot struct {
	statemachine.Snapshot
	of   traveller
	home string
}

func (s travellerSnapshot) WriteTo(w io.Writer) (int64, error) {
	if goroutine() != s.home {
		*s.of.abroad++
		if s.of.fails {
			return 0, errors.New("lost abroad")
		}
	}
	if !s.of.live {
		return s.Snapshot.WriteTo(w)
	}
	late, err := s.of.StateMachine.Snapshot()
	if err != nil {
		return 0, err
	}
	return late.WriteTo(w)
}

func travel(t *testing.T, live, fails bool) (*smtest.Report, int) {
	t.Helper()
	abroad := 0
	report, err := smtest.Check(func() statemachine.StateMachine {
		return traveller{newLedger(""), live, fails, &abroad}
	}, smtest.Options{Command: ledgerCommand})
	require.NoError(t, err)
	return report, abroad
}

func TestALiveSnapshotIsFoundAndShrunkWithoutASecondGoroutine(t *testing.T) {
	report, abroad := travel(t, true, false)
	require.Len(t, report.Findings, 1)
	require.Contains(t, report.Findings[0].Text, "what was written beside later commands is not the state at its capture")
	require.LessOrEqual(t, len(report.Findings[0].Script), 4)
	require.Zero(t, abroad)
}

func TestWhatOnlyASecondGoroutineShowsIsFoundAndNotTriedAgain(t *testing.T) {
	report, abroad := travel(t, false, true)
	require.Len(t, report.Findings, 1)
	require.Contains(t, report.Findings[0].Text, "only on a goroutine beside Apply's: with a snapshot being written: lost abroad")
	require.Len(t, report.Findings[0].Script, 300)
	require.Equal(t, 1, abroad)
	report, abroad = travel(t, false, false)
	require.NoError(t, report.Err())
	require.Equal(t, 1, abroad)
}
