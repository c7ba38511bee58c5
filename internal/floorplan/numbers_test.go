package floorplan

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// made runs a target whose go command is echo, so that nothing is built, and returns what was said.
func made(t *testing.T, arguments string) (said string, failed bool) {
	t.Helper()
	command := exec.Command("make", append([]string{"--no-print-directory", "GO=echo"}, strings.Split(arguments, "|")...)...)
	command.Dir = moduleRoot(t)
	command.Env = slices.DeleteFunc(os.Environ(), func(set string) bool { // this test may run below make, and somebody may have set one
		name, _, _ := strings.Cut(set, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "RUNS", "FROM", "SEED", "LONG", "QUIET"}, name)
	})
	out, err := command.CombinedOutput()
	return string(out), err != nil
}

func needsMake(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"make", "sh", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s", tool)
		}
	}
}

func TestSettingsOfTargetsThatCannotBeAreNamedBeforeAnythingIsBuilt(t *testing.T) {
	needsMake(t)
	const seed, runs = `SEED must be a number from 1 to 2^64-1: "`, `RUNS must be a number from 1 to 1000000000: "`
	for arguments, want := range map[string]string{
		"sim|SEED=abc":                  seed + `abc"`,
		"sim|SEED=-1":                   seed + `-1"`,
		"sim|SEED=":                     seed + `"`,
		"sim|SEED=0":                    seed + `0"`,
		"sim|SEED=0x11":                 seed + `0x11"`,
		"sim|SEED=18446744073709551616": seed + `18446744073709551616"`,
		"sim|SEED=99999999999999999999": seed + `99999999999999999999"`,
		"sim|SEED=1 2":                  seed + `1 2"`,
		"sim|RUNS=1.5":                  runs + `1.5"`,
		"sim|RUNS=1e3":                  runs + `1e3"`,
		"sim|RUNS=0":                    runs + `0"`,
		"sim|RUNS=-5":                   runs + `-5"`,
		"sim|RUNS=":                     runs + `"`,
		"sim|RUNS=10000000000000000000": runs + `10000000000000000000"`,
		"sim|FROM=abc":                  `FROM must be a number from 1 to 2^64-1: "abc"`,
		"sim|FROM=18446744073709551615": `FROM must leave room for RUNS=1000 seeds below 2^64: "18446744073709551615"`,
		"sim|SEED=17|RUNS=3":            `SEED runs one seed alone: leave out RUNS and FROM, or SEED`,
		"torture|RUNS=x":                runs + `x"`,
		"torture|FROM=0":                `FROM must be a number from 1 to 2^64-1: "0"`,
		"soak|LONG=5":                   `LONG must be a time such as 90s, 5m or 1h30m: "5"`,
		"soak|LONG=0s":                  `LONG must be a time such as 90s, 5m or 1h30m: "0s"`,
		"soak|SEED=x":                   seed + `x"`,
		"mutants|RUNS=2001":             `RUNS must be a number from 1 to 2000: "2001"`,
	} {
		said, failed := made(t, arguments)
		if first, _, _ := strings.Cut(said, "\n"); !failed || first != want || strings.Contains(said, "test ./") {
			t.Errorf("make %s: %q, want %q", arguments, said, want)
		}
	}
}

func TestSettingsOfTargetsArePassedOn(t *testing.T) {
	needsMake(t)
	for arguments, want := range map[string]string{
		"sim":                                  "-sim.runs=1000 -sim.from=1 -sim.seed=0",
		"sim|SEED=18446744073709551615":        "-sim.seed=18446744073709551615",
		"sim|SEED=17":                          "-sim.quiet=false",
		"sim|SEED=17|QUIET=1":                  "-sim.quiet=true",
		"sim|FROM=18446744073709551615|RUNS=1": "-sim.runs=1 -sim.from=18446744073709551615",
		"sim|FROM=18446744073709550616":        "-sim.from=18446744073709550616",
		"torture|RUNS=7|FROM=10000000000":      "-tortures=7 -seed=10000000000",
		"soak|LONG=1h30m|SEED=5":               "OARLOCK_SOAK=1h30m OARLOCK_SOAK_SEED=5 ",
		"mutants":                              "-runs=2000",
	} {
		if said, failed := made(t, arguments); failed || !strings.Contains(said, want) {
			t.Errorf("make %s: %q, want %q", arguments, said, want)
		}
	}
}
