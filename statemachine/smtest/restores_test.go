package smtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// words counts them, and keeps them as JSON, in which what is no text is not what it was.
type words map[string]int

func (w words) Apply(e statemachine.Entry) []byte {
	w[string(e.Command)]++
	return fmt.Append(nil, w[string(e.Command)])
}

func (w words) Query(q []byte) ([]byte, error) { return fmt.Append(nil, w[string(q)]), nil }

func (w words) Snapshot() (statemachine.Snapshot, error) {
	b, err := json.Marshal(w)
	return statemachine.Encoded(b), err
}

func (w words) Restore(r io.Reader) error {
	restored := words{}
	if err := json.NewDecoder(r).Decode(&restored); err != nil {
		return err
	}
	clear(w)
	for k, v := range restored {
		w[k] = v
	}
	return nil
}

func TestWhatASnapshotCannotHoldIsFoundByDamagedCommands(t *testing.T) {
	for seed := range uint64(20) {
		report, err := smtest.Check(func() statemachine.StateMachine { return words{} }, smtest.Options{
			Command:            func(r *rand.Rand) []byte { return fmt.Appendf(nil, "word %d", r.IntN(30)) },
			SnapshotsUnchecked: true, Seed: seed + 1, Commands: 50,
		})
		require.NoError(t, err)
		require.NotEmpty(t, report.Findings, "seed %d", seed+1)
		require.Equal(t, "a restored snapshot equals replay", report.Findings[0].Check)
		require.LessOrEqual(t, len(report.Findings[0].Script), 3)
		require.NotEmpty(t, report.Findings[0].Script[0].Damage)
	}
}
