package smtest_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// umpire calls the fourth strike out. Its snapshots forget the third.
type umpire struct{ strikes, others int }

func (u *umpire) Apply(e statemachine.Entry) []byte {
	if string(e.Command) != "strike" {
		u.others++
		return []byte("ball")
	}
	if u.strikes++; u.strikes > 3 {
		return []byte("out")
	}
	return []byte("strike")
}

func (u *umpire) Query([]byte) ([]byte, error) { return nil, nil }

func (u *umpire) Snapshot() (statemachine.Snapshot, error) {
	return statemachine.Encoded(fmt.Appendf(nil, "%d %d.", min(u.strikes, 2), u.others)), nil
}

func (u *umpire) Restore(r io.Reader) error {
	var restored umpire
	if _, err := fmt.Fscanf(r, "%d %d.", &restored.strikes, &restored.others); err != nil {
		return err
	}
	*u = restored
	return nil
}

func TestNoCommandStaysOnlyToKeepTheSnapshotInItsPlace(t *testing.T) {
	found := 0
	for seed := range uint64(10) {
		report, err := smtest.Check(func() statemachine.StateMachine { return &umpire{} }, smtest.Options{
			Command: func(r *rand.Rand) []byte {
				if r.IntN(50) == 0 {
					return []byte("strike")
				}
				return fmt.Appendf(nil, "ball %d", r.IntN(10))
			},
			Seed: seed + 1, SnapshotsUnchecked: true,
		})
		require.NoError(t, err)
		for _, f := range report.Findings {
			require.Equal(t, "a restored snapshot equals replay", f.Check)
			require.Len(t, f.Script, 4, "%s", &f)
		}
		found += len(report.Findings)
	}
	require.Greater(t, found, 2)
}
