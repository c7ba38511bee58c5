package main

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

func TestTallyKeepsTheRulesOfAStateMachine(t *testing.T) {
	smtest.Run(t, func() statemachine.StateMachine { return &tally{counts: map[string]int{}} }, smtest.Options{
		Command:            func(r *rand.Rand) []byte { return fmt.Appendf(nil, "word %d", r.IntN(20)) },
		SnapshotsUnchecked: true, // JSON notices no changed digit; servers checksum snapshots themselves
	})
}
