package smtest_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

func TestAPanicOnACommandThatIsCutIsFoundWithEverySeed(t *testing.T) {
	for seed := range uint64(20) {
		report := check(t, "plain", "panics on a command without its value", smtest.Options{Command: ledgerCommand, Seed: seed + 1})
		require.Len(t, report.Findings, 1, "seed %d", seed+1)
		f := report.Findings[0]
		require.Equal(t, "every command is executed", f.Check)
		require.Len(t, f.Script, 1)
		require.Equal(t, "cut", f.Script[0].Damage)
		require.Equal(t, f.Script[0], *f.Command)
	}
}

// scribe notes the commands that it is given.
type scribe struct {
	statemachine.StateMachine
	seen  map[string]int
	total *int
}

func (s scribe) Apply(e statemachine.Entry) []byte {
	s.seen[string(e.Command)]++
	*s.total++
	return s.StateMachine.Apply(e)
}

func TestEveryBeginningOfAFewCommandsOfEveryKindIsTried(t *testing.T) {
	const rare = "rare command with a name"
	long, total, seen := strings.Repeat("long", 1000), 0, map[string]int{}
	made := 0
	o := smtest.Options{Commands: 50, Command: func(r *rand.Rand) []byte {
		switch made++; made {
		case 20:
			return []byte(rare)
		case 30:
			return []byte(long)
		}
		return ledgerCommand(r)
	}}
	report, err := smtest.Check(func() statemachine.StateMachine { return scribe{newLedger(""), seen, &total} }, o)
	require.NoError(t, err)
	require.NoError(t, report.Err())
	for n := range rare {
		require.NotZero(t, seen[rare[:n]], "%q is not tried", rare[:n])
	}
	require.NotZero(t, seen[long[:1]])
	require.NotZero(t, seen[long[:len(long)-1]])
}

func TestCutsAreFewHoweverManyKindsOfCommandsThereAre(t *testing.T) {
	var totals []*int
	_, err := smtest.Check(func() statemachine.StateMachine {
		totals = append(totals, new(int))
		return scribe{newLedger(""), map[string]int{}, totals[len(totals)-1]}
	}, smtest.Options{Commands: 1000, Command: func(r *rand.Rand) []byte {
		command := make([]byte, 2+r.IntN(3000))
		command[0] = byte(r.Uint32())
		return command
	}})
	require.NoError(t, err)
	require.Equal(t, 1000, *totals[0], "the first machine executes the script and nothing else")
	require.Equal(t, 1000+400, *totals[1])
}
