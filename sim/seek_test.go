package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

var simSeek = flag.Uint64("sim.seek", 0, "the first of -sim.runs seeds to be run one after the other until one fails, for make mutants")

// What `make mutants` runs, once with each known bug: it says which seed it begins, and at last which one has failed.
func TestSeekOfTheFirstSeedThatBreaksARule(t *testing.T) {
	if *simSeek == 0 {
		t.Skip("this is for make mutants")
	}
	for seed := *simSeek; seed < *simSeek+uint64(*simRuns); seed++ {
		fmt.Fprintln(os.Stdout, "seed", seed)
		if f := runOne(seed); f != nil {
			found, err := json.Marshal(map[string]any{"Seed": seed, "Check": f.Check, "Name": f.Name, "Text": f.Text})
			require.NoError(t, err)
			fmt.Fprintf(os.Stdout, "found %s\n", found)
			return
		}
	}
	fmt.Fprintln(os.Stdout, "none")
}

// runOne runs a seed. Code that panics has failed.
func runOne(seed uint64) (f *Failure) {
	defer func() {
		if what := recover(); what != nil {
			f = &Failure{Name: "the code does not panic", Text: fmt.Sprint(what)}
		}
	}()
	return Run(NewPlan(seed), RunOptions{}).Failure
}
