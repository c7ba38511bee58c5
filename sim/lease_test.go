package sim

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A lease is worth what its bound on clocks is: where they differ by more, and nobody makes allowances for it, runs break a rule of reads.
// It shows that these rules look at leases, and that the runs that keep them come that far.
func TestClocksThatDifferByMoreThanWasSaidBreakLeases(t *testing.T) {
	tried := 0
	for seed := uint64(1); tried < 200; seed++ {
		p := NewPlan(seed)
		if !p.Drifts {
			continue
		}
		tried++
		p.Drifts = false // which is not true
		if r := Run(p, RunOptions{}); r.Failure != nil {
			require.True(t, slices.Contains([]int{checkLinear.number, checkRead.number, checkLease.number}, r.Failure.Check), "seed %d: %v", seed, r.Failure)
			t.Logf("plan %d of this kind, of seed %d: %v", tried, seed, r.Failure)
			return
		}
	}
	t.Fatalf("%d plans have clocks that differ by more than was said, and no lease was broken", tried)
}
