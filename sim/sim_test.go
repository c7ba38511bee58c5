package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	simRuns  = flag.Int("sim.runs", 0, "how many seeds are run, if not the usual number")
	simFrom  = flag.Uint64("sim.from", 1, "the first of them")
	simSeed  = flag.Uint64("sim.seed", 0, "one seed to be run alone, with its story")
	simMost  = flag.Int("sim.failures", 1, "after how many failures no further seed is begun")
	simQuiet = flag.Bool("sim.quiet", false, "no story of a seed, only what came of it")
)

// A run makes much garbage and holds little: four times as much of it as Go lets lie takes a quarter of the time away.
func TestMain(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	os.Exit(m.Run())
}

// width is how much of a line of progress is shown, so that the next one covers it.
const width = 190

// usualRuns is how many seeds go test runs.
const usualRuns = 300

func TestNoSeedBreaksARule(t *testing.T) {
	if *simSeed != 0 {
		replay(t, *simSeed)
		return
	}
	m := Many{From: *simFrom, Runs: usualRuns, Workers: runtime.GOMAXPROCS(0), FailuresMax: *simMost, Now: time.Now}
	if testing.Short() {
		m.Runs = usualRuns / 5
	}
	if *simRuns > 0 {
		m.Runs = *simRuns
		m.Progress = func(_ int, totals *Totals) { fmt.Fprintf(os.Stderr, "\r%-*.*s", width, width, totals.Progress(m.Runs)) }
	}
	totals := m.Run()
	if *simRuns > 0 {
		fmt.Fprintln(os.Stderr)
		totals.Report(os.Stderr)
	}
	t.Log(totals.Line())
	if len(totals.Failures) == 0 && totals.Runs >= AimsFrom {
		totals.Aims(func(reached bool, aim string) {
			if !reached {
				t.Errorf("missed: %s", aim)
			}
		})
	}
	for _, seed := range totals.Failures {
		tell(t, seed)
	}
}

// tell shrinks a failure and tells its story.
func tell(t *testing.T, seed uint64) {
	plan := NewPlan(seed)
	r := Run(plan, RunOptions{})
	if r.Failure == nil {
		t.Errorf("seed %d fails in one run and not in the next: something in it is left to chance", seed)
		return
	}
	t.Errorf("seed %d: %v", seed, r.Failure)
	small, _ := Shrink(plan, r, 300)
	r = Run(small, RunOptions{Story: true})
	file := fmt.Sprintf("%s/oarlock-sim-%d.txt", os.TempDir(), seed)
	if err := os.WriteFile(file, []byte(r.Story), 0o600); err != nil {
		t.Error(err)
	}
	t.Logf("shrunk: %v\n%v\nits story is in %s, the whole one is told by: go test ./sim -run TestNoSeed -sim.seed=%d -v", r.Failure, small, file, seed)
}

func replay(t *testing.T, seed uint64) {
	plan := NewPlan(seed)
	r := Run(plan, RunOptions{Story: !*simQuiet})
	fmt.Fprint(os.Stdout, r.Story)
	if r.Failure != nil {
		t.Logf("%v of virtual time, %d events, %d calls, %d of %d faults, digest %016x", r.Virtual, r.Steps, r.Calls, r.Faults, len(plan.Faults), r.Digest)
		tell(t, seed)
		return
	}
	less := ""
	if !*simQuiet {
		less = fmt.Sprintf("\nWithout the story above: make sim SEED=%d QUIET=1", seed)
	}
	t.Log(r.Verdict(plan) + less)
}

func TestTheVerdictTellsPlannedFaultsFromThoseThatCameToPass(t *testing.T) {
	plan := NewPlan(17)
	r := Run(plan, RunOptions{SkipHistories: true})
	require.Less(t, r.Faults, len(plan.Faults))
	verdict := r.Verdict(plan)
	require.Contains(t, verdict, "seed 17 broke no rule")
	require.Contains(t, verdict, fmt.Sprintf("%d faults planned, of which %d came to pass", len(plan.Faults), r.Faults))
	require.Contains(t, verdict, "docs/simulation.md")
}

func TestAReportOfFewRunsSaysThatMissedAimsAreNoFailure(t *testing.T) {
	var said strings.Builder
	(&Totals{Runs: 200}).Report(&said)
	require.Regexp(t, `200 runs have not come into \d+ things. This is no failure`, said.String())
}

func TestTheSameSeedTellsTheSameStoryByteForByte(t *testing.T) {
	for seed := uint64(1); seed <= 12; seed++ {
		one, two := Run(NewPlan(seed), RunOptions{Story: true}), Run(NewPlan(seed), RunOptions{Story: true})
		require.Equal(t, one.Digest, two.Digest, "seed %d", seed)
		require.True(t, one.Story == two.Story, "seed %d tells two stories", seed)
		quiet := Run(NewPlan(seed), RunOptions{})
		require.Equal(t, one.Digest, quiet.Digest, "seed %d does something else while nobody looks", seed)
	}
}
