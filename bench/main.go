// Command bench measures oarlock: beside the limit of what this machine can do, when it starts again, and while more is
// asked of it than it can do. It runs on Linux.
//
//	go run .                             all parts but bindings
//	go run . throughput -rounds 7 -bytes 128,1024 -clients 1,256 -reads 256
//	go run . reads -callers 256
//	go run . restart -rounds 3 -blocks 1,64
//	go run . memory -default-bounds
//	go run . bindings -clients 1,256     after make lib
//	go run . -markdown ../docs/performance.md    also write the tables into the page
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// part is one thing that is measured. flags are registered before run is called.
type part struct {
	name  string
	about string
	make  func(f *flag.FlagSet) func(e *environment) (report, error)
}

var parts = []part{
	{"throughput", "writes and linearizable reads a second, beside the limit of this machine", throughput},
	{"reads", "reads a second by their consistency, from the leader and from all three servers", reads},
	{"restart", "from the start of three processes to the first linearizable read", restart},
	{"memory", "queues and memory of a leader from which too much is asked", memory},
	{"bindings", "one counter in Go, C and Python", bindings},
}

// environment is what all parts have in common.
type environment struct {
	dir      string // where files go; empty: the directory for temporary files
	markdown string
	quiet    bool
}

// say tells how the measuring goes.
func (e *environment) say(format string, args ...any) {
	if !e.quiet {
		fmt.Fprintf(os.Stderr, format, args...)
	}
}

func (e *environment) flags(f *flag.FlagSet) {
	f.StringVar(&e.dir, "dir", "", "where the files are; empty: the directory for temporary files, which must be a real disk")
	f.StringVar(&e.markdown, "markdown", "", "also write the tables into this page, between their marks (../docs/performance.md)")
	f.BoolVar(&e.quiet, "quiet", false, "do not tell how it goes")
}

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	switch name {
	case memberCommand:
		return runMember(args)
	case counterCommand:
		return runCounter(args)
	}
	var chosen []part
	for _, p := range parts {
		if name == p.name || name == "" && p.name != "bindings" { // which needs the library and has a target of its own
			chosen = append(chosen, p)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("there is no part %q; there are throughput, reads, restart, memory and bindings, and without a name all but the last run", name)
	}
	e := &environment{}
	f := flag.NewFlagSet("bench "+name, flag.ContinueOnError)
	e.flags(f)
	var runs []func(*environment) (report, error)
	for _, p := range chosen {
		own := f
		if name == "" { // parts have flags of the same name; all of them together run as they are
			own = flag.NewFlagSet(p.name, flag.ContinueOnError)
		}
		runs = append(runs, p.make(own))
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%q is not understood; flags come behind the part's name, -h lists them", f.Arg(0))
	}
	return e.run(chosen, runs)
}

func (e *environment) run(chosen []part, runs []func(*environment) (report, error)) error {
	var aims []aim
	for i, p := range chosen {
		start := time.Now()
		e.say("\n%s: %s\n", p.name, p.about)
		before, err := thisMachine(e.dir)
		if err != nil {
			return err
		}
		e.say("  on %s\n", before)
		r, err := runs[i](e)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		e.say("  took %s\n\n", time.Since(start).Round(time.Second))
		fmt.Println(r.text)
		writeAims(os.Stdout, r.aims)
		fmt.Println()
		aims = append(aims, r.aims...)
		if e.markdown != "" {
			if err := rewrite(e.markdown, p.name, before.line()+"\n\n"+r.markdown+aimsMarkdown(r.aims)); err != nil {
				return err
			}
		}
	}
	if len(chosen) > 1 {
		fmt.Println("all aims")
		writeAims(os.Stdout, aims)
	}
	return nil
}
