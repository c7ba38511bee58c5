package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A network in which every message takes longer than servers wait for a leader breaks a rule whatever else happens, so
// that everything else can be left out.
func TestShrinkingLeavesOutWhatHasNoPartInTheFailure(t *testing.T) {
	p := NewPlan(3)
	p.Lossy, p.Servers, p.DelayMax = false, 5, 40*p.ElectionTimeoutMax
	r := Run(p, RunOptions{})
	require.NotNil(t, r.Failure)
	require.Equal(t, checkLeader.number, r.Failure.Check, "%v", r.Failure)
	small, result := Shrink(p, r, 60)
	require.Equal(t, checkLeader.number, result.Failure.Check)
	require.Empty(t, small.Faults)
	require.Empty(t, small.Calls)
	require.Equal(t, 2, small.Servers)
	again := Run(small, RunOptions{})
	require.Equal(t, result.Digest, again.Digest, "what was shrunk can be run again")
}

func TestEveryRuleHasANumberOfItsOwn(t *testing.T) {
	seen := map[int]string{}
	EachCheck(func(number int, name string) {
		require.Empty(t, seen[number], "%d", number)
		require.NotEmpty(t, name)
		seen[number] = name
	})
	require.Greater(t, len(seen), 30)
	for k := range faultKinds {
		require.NotEmpty(t, k.String())
	}
	for k, name := range situationNames {
		require.NotEmpty(t, name, "%d", k)
	}
}

// What the oracle of the application says must not be taken on trust: a history in which a read sees a value that was
// replaced before it began has no explanation, and one in which the write was still under way has.
func TestTheCheckerOfHistoriesFindsAStaleRead(t *testing.T) {
	for _, c := range []struct {
		name                 string
		returned, executedAt time.Duration // executedAt 0: nobody saw when
		broken               bool
	}{
		{"a read after the write", 20, 0, true},
		{"a read after the write, with its moment", 20, 15, true},
		{"a read beside the write", 50, 0, false},
		{"a read beside the write, and before its moment", 50, 35, false},
		{"a read beside the write, which was executed before", 50, 20, false}, // no client could know
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(NewPlan(1))
			set := w.newOp(CallSet, 1, w.oracle.groups[0])
			set.ended, set.invoked, set.returned, set.result = true, 10, c.returned, make([]byte, 12)
			if c.executedAt != 0 {
				set.executed, set.executedAt = 1, c.executedAt
			}
			read := w.newOp(CallRead, 1, w.oracle.groups[0])
			read.ended, read.invoked, read.returned, read.result = true, 30, 40, make([]byte, 12)
			w.checkHistories()
			require.Equal(t, c.broken, w.failure != nil)
		})
	}
}
