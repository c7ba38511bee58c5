// Command mutants puts known bugs back into oarlock, one after the other, and holds the simulator to finding each of them:
// from each of several starts, within a number of seeds. Then it runs the same seeds without any of them, which must find
// nothing. It is `make mutants`; docs/mutants.md tells more.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const (
	bugsDir  = "sim/mutants/bugs"
	buildDir = "build/mutants" // emptied at the beginning, and at the end if it is not to be kept
)

// startGap is how far apart the starts are: no range of one overlaps another's.
const startGap = 2000

type options struct {
	only     string
	runs     uint64
	starts   int
	workers  int
	goTool   string
	markdown string
	keep     bool
}

func main() {
	var o options
	flag.StringVar(&o.only, "only", "", "the bugs to be run, as shell patterns with commas between; empty: all")
	flag.Uint64Var(&o.runs, "runs", startGap, "within how many seeds each has to be found")
	flag.IntVar(&o.starts, "starts", 5, "from how many starts")
	flag.IntVar(&o.workers, "workers", runtime.NumCPU(), "how many are run side by side")
	flag.StringVar(&o.goTool, "go", "go", "the go command")
	flag.StringVar(&o.markdown, "markdown", "", "a page whose table is rewritten if all were run and found")
	flag.BoolVar(&o.keep, "keep", false, "leave what was built in "+buildDir)
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.runs < 1 || o.runs > startGap || o.starts < 1 || o.workers < 1 {
		return fmt.Errorf("-runs is 1 to %d, -starts and -workers at least 1", startGap)
	}
	root, err := moduleRoot(o.goTool)
	if err != nil {
		return err
	}
	bugs, err := readBugs(filepath.Join(root, bugsDir))
	if err != nil {
		return err
	}
	bugs = slices.DeleteFunc(bugs, func(b bug) bool { return !chosen(o.only, b.name) })
	if len(bugs) == 0 {
		return fmt.Errorf("no bug of %s matches %q", bugsDir, o.only)
	}
	dir := filepath.Join(root, buildDir)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	h := newHunt(o, builder{tool: o.goTool, root: root, dir: dir}, bugs)
	err = h.run()
	h.report(os.Stdout)
	if err == nil && o.markdown != "" && o.only == "" {
		err = rewriteTable(o.markdown, h.markdown())
	}
	if o.keep {
		return err
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// chosen reports whether a name matches one of the patterns.
func chosen(patterns, name string) bool {
	for _, p := range strings.Split(patterns, ",") {
		if ok, err := path.Match(p, name); p == "" || err == nil && ok {
			return true
		}
	}
	return false
}

// moduleRoot finds the folder of the module that the current folder is in.
func moduleRoot(tool string) (string, error) {
	out, err := exec.Command(tool, "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	file := strings.TrimSpace(string(out))
	if filepath.Base(file) != "go.mod" {
		return "", errors.New("this is no folder of the module")
	}
	return filepath.Dir(file), nil
}
