package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/kv"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// numbered gives, after a few commands, every one a result that no other copy gives.
type numbered struct {
	*kv.Machine
	given *int
}

func (n numbered) Apply(e statemachine.Entry) []byte {
	if e.Index > 12 {
		*n.given++
	}
	return fmt.Append(nil, "result ", *n.given)
}

func TestTheStoryOfAUsersMachineIsOfItsOwnCommands(t *testing.T) {
	given := 0
	report, err := CheckClusters(func() statemachine.StateMachine { return onlyMachine{numbered{kv.New(), &given}} }, smtest.Options{
		Command:            func(r *rand.Rand) []byte { return fmt.Appendf(nil, "join guest-%d", r.IntN(30)) },
		SnapshotsUnchecked: true,
	}, Clusters{Runs: 5})
	require.NoError(t, err)
	require.Len(t, report.Findings, 1)
	story := report.Findings[0].Story
	require.Regexp(t, `client \d, call \d+: sends the command "join guest-\d+"\n`, story)
	require.Regexp(t, `server \d executes the command at index \d+, "join guest-\d+", with the result "result \d+"`, story)
	require.Regexp(t, `server \d starts, run 1\n`, story)
	require.Regexp(t, `server \d leads, in term \d+\n`, story)
	require.Regexp(t, `FAILS: after .*result `, story)
	for _, own := range []string{"Job", "Heartbeat", "limits {", " of key ", "candidate"} {
		require.NotContains(t, story, own)
	}
}

// onlyMachine hides what a machine has beside the four methods.
type onlyMachine struct{ statemachine.StateMachine }

func TestABrokenRuleOfOarlocksOwnHasTheFullStory(t *testing.T) {
	plan := NewPlan(1)
	plan.guest = &guestPlan{}
	w := &world{plan: plan, guests: &guests{}, story: new(strings.Builder)}
	w.beginPlain()
	w.fullNote("a message")
	w.note("a crash")
	require.Regexp(t, "a message\n.*a crash\n", w.storyTold())
	w.guests.failed = new(guestFailure)
	require.Contains(t, w.storyTold(), "a crash")
	require.NotContains(t, w.storyTold(), "a message")
}

func TestBytesThatCanBePrintedAreShownAsText(t *testing.T) {
	for from, want := range map[string]string{
		"":                       "no bytes",
		"note a1 t22":            `"note a1 t22"`,
		"a\x00":                  "61 00",
		strings.Repeat("x", 101): `"` + strings.Repeat("x", 100) + `" … (101 bytes)`,
	} {
		require.Equal(t, want, text([]byte(from)))
	}
}
