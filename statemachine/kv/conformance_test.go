package kv

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

func randomKey(r *rand.Rand) []byte { return fmt.Appendf(nil, "key/%d", r.IntN(40)) }

func randomValue(r *rand.Rand) []byte { return make([]byte, r.IntN(3)*r.IntN(200)) }

func randomCommand(r *rand.Rand) []byte {
	switch r.IntN(8) {
	case 0:
		return Append(randomKey(r), randomValue(r))
	case 1:
		return CompareAndSet(randomKey(r), nil, randomValue(r))
	case 2:
		return CompareAndSetExpiring(randomKey(r), []byte{}, randomValue(r), r.Int64N(1e6))
	case 3:
		return Delete(randomKey(r))
	case 4:
		return CompareAndDelete(randomKey(r), []byte{})
	case 5:
		return Put(randomKey(r), randomValue(r))
	}
	return PutExpiring(randomKey(r), randomValue(r), r.Int64N(5_000))
}

func randomQuery(r *rand.Rand) []byte {
	switch r.IntN(3) {
	case 0:
		return Scan(randomKey(r), nil, 1+r.IntN(20))
	case 1:
		return Count(randomKey(r), randomKey(r))
	}
	return Get(randomKey(r))
}

func TestMachineKeepsThePromisesOfAStateMachine(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			smtest.Run(t, func() statemachine.StateMachine { return New() }, smtest.Options{
				Command: randomCommand, Query: randomQuery, Commands: 1000, Seed: seed + 1,
				Pass: func() { time.Sleep(24 * time.Hour) },
			})
		})
	}
}
