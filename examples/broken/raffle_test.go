package broken

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/oarlock/oarlock/sim"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

func TestRaffleIsAStateMachine(t *testing.T) {
	sim.Check(t, func() statemachine.StateMachine { return New() }, raffleOptions(), sim.Clusters{})
}

func raffleOptions() smtest.Options {
	return smtest.Options{
		Command: func(r *rand.Rand) []byte {
			if r.IntN(4) == 0 {
				return []byte("draw")
			}
			return fmt.Appendf(nil, "join guest-%d", r.IntN(30))
		},
		Query:              func(r *rand.Rand) []byte { return fmt.Appendf(nil, "guest-%d", r.IntN(30)) },
		SnapshotsUnchecked: true, // JSON notices no changed digit; servers checksum snapshots themselves
	}
}
