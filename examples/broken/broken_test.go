package broken

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/sim"
	"github.com/oarlock/oarlock/statemachine"
)

// mistakes are the wrong raffles, with what is said of them by the machine alone, and by clusters.
var mistakes = []struct {
	name     string
	machine  func() statemachine.StateMachine
	alone    string
	clusters string
}{
	{
		"MapOrder", func() statemachine.StateMachine { return MapOrder{New()} },
		"the same commands give the same results and state: first difference at command", "the same results of the same commands: the command at index",
	},
	{
		"RandomNumbers", func() statemachine.StateMachine { return RandomNumbers{New()} },
		"the same commands give the same results and state: first difference at command", "the same results of the same commands: the command at index",
	},
	{
		"WallClock", func() statemachine.StateMachine { return WallClock{New()} },
		"the same commands give the same results and state: first difference at command", "the same results of the same commands: the command at index",
	},
	{
		"LiveSnapshot", func() statemachine.StateMachine { return LiveSnapshot{New(), new(sync.Mutex)} },
		"a snapshot is the state when it was captured: what was written beside later commands is not the state at its capture",
		"a snapshot is the state when it was captured, and restores to it: the snapshot of server",
	},
	{
		"LiveMap", func() statemachine.StateMachine { return LiveMap{New()} },
		"a snapshot is the state when it was captured: what was written beside later commands is not the state at its capture",
		"a snapshot is the state when it was captured, and restores to it: the snapshot of server",
	},
	{
		"Forgetful", func() statemachine.StateMachine { return Forgetful{New()} },
		"a restored snapshot equals replay: snapshot after", "a snapshot is the state when it was captured, and restores to it: the snapshot of server",
	},
	{
		"KeptBytes", func() statemachine.StateMachine { return &KeptBytes{Raffle: New()} },
		"the machine keeps bytes of Entry.Command after Apply; copy what you keep", "the same state after the same entries: server",
	},
	{
		"WritingQuery", func() statemachine.StateMachine { return WritingQuery{New()} },
		"Query changes nothing: the query", "Query changes nothing, and answers the same in the same state: the query",
	},
}

func TestEveryMistakeIsCaughtAloneWithFewCommands(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			report, err := sim.CheckMachine(m.machine, raffleOptions(), sim.Clusters{})
			require.NoError(t, err)
			require.NotEmpty(t, report.Findings)
			f := &report.Findings[0]
			t.Log(f)
			require.Contains(t, f.String(), m.alone)
			require.LessOrEqual(t, len(f.Script), 6)
			require.Zero(t, report.Runs, "clusters are for machines that pass alone")
		})
	}
}

func TestEveryMistakeIsCaughtInClustersToo(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			report, err := sim.CheckClusters(m.machine, raffleOptions(), sim.Clusters{})
			require.NoError(t, err)
			require.Len(t, report.Findings, 1)
			t.Log(&report.Findings[0])
			require.Contains(t, report.Findings[0].String(), m.clusters)
		})
	}
}

func TestReadmeNamesEveryMistakeWithItsMessage(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, m := range mistakes {
		row := ""
		for line := range strings.SplitSeq(string(readme), "\n") {
			if strings.HasPrefix(line, "| `"+m.name+"` |") {
				row = line
			}
		}
		promise, _, _ := strings.Cut(m.alone, ":")
		require.Contains(t, row, promise, m.name)
	}
}

// TestChapterShowsWhatRunsHere holds docs/simulation.md to the code in this folder, and to what the checks really say.
func TestChapterShowsWhatRunsHere(t *testing.T) {
	chapter, err := os.ReadFile("../../docs/simulation.md")
	require.NoError(t, err)
	for _, name := range []string{"raffle_test.go", "cluster_test.go"} {
		code, err := os.ReadFile(name)
		require.NoError(t, err)
		_, tests, _ := strings.Cut(string(code), "\nfunc Test")
		require.Contains(t, string(chapter), "```go\nfunc Test"+tests+"```\n", "docs/simulation.md and %s differ", name)
	}
	report, err := sim.CheckMachine(func() statemachine.StateMachine { return Forgetful{New()} }, raffleOptions(), sim.Clusters{})
	require.NoError(t, err)
	require.Contains(t, string(chapter), "```\n"+report.Findings[0].String()+"\n```\n", "docs/simulation.md shows another failure")
}
