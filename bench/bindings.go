package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oarlock/oarlock/config"
)

// bindings measures one counter in Go, C and Python: three servers in a process of each language, which take turns.
func bindings(f *flag.FlagSet) func(*environment) (report, error) {
	rounds := f.Int("rounds", roundsForVerdict, "how many turns each language has")
	seconds := f.Float64("seconds", 2, "how long a turn is")
	clients := f.String("clients", "1,256", "numbers of clients")
	languages := f.String("languages", "Go,C,Python", "what to measure; ratios refer to the first")
	library := f.String("library", "../build/lib", "the folder of liboarlock.so (make lib)")
	python := f.String("python", "../build/venv/bin/python", "a Python with the package; without one Python is left out")
	return func(e *environment) (_ report, err error) {
		numbers, err := numbers("-clients", *clients, 1)
		if err != nil {
			return report{}, err
		}
		b := &bindingsTrial{e: e, rounds: *rounds, seconds: *seconds, clients: numbers, rates: make(map[string][]float64)}
		defer func() { err = errors.Join(err, b.end()) }()
		if err := b.begin(strings.Split(*languages, ","), *library, *python); err != nil {
			return report{}, err
		}
		if err := b.measure(); err != nil {
			return report{}, err
		}
		return b.report(), nil
	}
}

// bindingsTrial is one run of this part.
type bindingsTrial struct {
	e         *environment
	rounds    int
	seconds   float64
	clients   []int
	dir       string
	languages []*counterProcess
	rates     map[string][]float64 // by language, clients and way
}

// counterProcess is the counter in one language.
type counterProcess struct {
	name    string
	process *exec.Cmd
	ask     io.WriteCloser
	answers *bufio.Reader
}

// ways are how a client proposes: it waits for each result, or is told of it and goes on from there.
var ways = []string{"wait", "async"}

func (b *bindingsTrial) begin(names []string, library, python string) (err error) {
	if b.dir, err = os.MkdirTemp(b.e.dir, "oarlock-bench-"); err != nil {
		return err
	}
	for i, name := range names {
		dir := filepath.Join(b.dir, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		c, err := newConfig(dir, func(*config.Config) {})
		if err != nil {
			return err
		}
		command, err := b.command(name, c.Path(), library, python)
		if err != nil {
			return err
		}
		if command == nil {
			b.e.say("  %s is left out: there is no %s (make test-python makes it)\n", name, python)
			continue
		}
		p := &counterProcess{name: name, process: command}
		if err := p.start(); err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
		b.languages = append(b.languages, p)
	}
	return nil
}

func (b *bindingsTrial) command(name, conf, library, python string) (*exec.Cmd, error) {
	library, err := filepath.Abs(library)
	if err != nil {
		return nil, err
	}
	switch name {
	case "Go":
		self, err := os.Executable()
		return exec.Command(self, counterCommand, conf), err
	case "C":
		program := filepath.Join(b.dir, "counter")
		compile := exec.Command("gcc", "-O2", "-std=gnu11", "-pthread", "-I../bindings/c/include", "bindings/counter.c", "-L"+library,
			"-loarlock", "-Wl,-rpath,"+library, "-o", program)
		compile.Stderr = os.Stderr
		if err := compile.Run(); err != nil {
			return nil, fmt.Errorf("compiling bindings/counter.c (make lib builds what it links): %w", err)
		}
		return exec.Command(program, conf), nil
	case "Python":
		if _, err := os.Stat(python); err != nil {
			return nil, nil
		}
		command := exec.Command(python, "bindings/counter.py", conf)
		command.Env = append(os.Environ(), "OARLOCK_LIBRARY="+filepath.Join(library, "liboarlock.so.1"), "PYTHONPATH=../bindings/python")
		return command, nil
	}
	return nil, fmt.Errorf("-languages: there is no counter in %q; there are Go, C and Python", name)
}

func (p *counterProcess) start() (err error) {
	p.process.Stderr = os.Stderr
	if p.ask, err = p.process.StdinPipe(); err != nil {
		return err
	}
	out, err := p.process.StdoutPipe()
	if err != nil {
		return err
	}
	p.answers = bufio.NewReader(out)
	if err := p.process.Start(); err != nil {
		return err
	}
	line, err := p.answers.ReadString('\n')
	if err == nil && strings.TrimSpace(line) != "ready" {
		err = fmt.Errorf("it says %q", line)
	}
	return err
}

// turn returns proposals a second.
func (p *counterProcess) turn(seconds float64, clients int, way string) (float64, error) {
	if _, err := fmt.Fprintf(p.ask, "run %g %d %s\n", seconds, clients, way); err != nil {
		return 0, err
	}
	line, err := p.answers.ReadString('\n')
	if err != nil {
		return 0, err
	}
	var answered, took float64
	if _, err := fmt.Sscan(line, &answered, &took); err != nil {
		return 0, fmt.Errorf("it says %q: %w", line, err)
	}
	return answered / took, nil
}

func (b *bindingsTrial) measure() error {
	for round := range b.rounds + 1 {
		for _, n := range b.clients {
			for _, way := range ways {
				for i := range b.languages {
					if err := b.turn(b.languages[(i+round)%len(b.languages)], n, way, round > 0); err != nil {
						return err
					}
				}
			}
		}
		b.e.say("  round %d of %d\n", round, b.rounds)
	}
	return nil
}

// bare is what the kernel needs for threads that wait: as many sleep and are woken as with wait, and nothing else is done.
const bare = "bare"

// turn lets one process work; count is false for a turn that warms up.
func (b *bindingsTrial) turn(p *counterProcess, clients int, way string, count bool) error {
	kinds := []string{way}
	if p.name == "C" && way == "wait" {
		kinds = append(kinds, bare)
	}
	for _, kind := range kinds {
		rate, err := p.turn(b.seconds, clients, kind)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if count {
			key := rateKey(p.name, clients, kind)
			b.rates[key] = append(b.rates[key], rate)
		}
	}
	return nil
}

func rateKey(language string, clients int, way string) string {
	return fmt.Sprint(language, clients, way)
}

func (b *bindingsTrial) report() report {
	columns := []string{"clients", "way", "language", "ops/s", "of the first", "slowest", "fastest"}
	var rows [][]string
	var aims []aim
	for _, n := range b.clients {
		for _, way := range ways {
			base := 0.0
			for i, p := range b.languages {
				rates := b.rates[rateKey(p.name, n, way)]
				rate := median(rates)
				if i == 0 {
					base = rate
				}
				rows = append(rows, b.row(n, way, p.name, rates, base))
				if slept := b.rates[rateKey(p.name, n, bare)]; way == "wait" && len(slept) > 0 {
					rows = append(rows, b.row(n, bare, p.name, slept, base))
				}
				if p.name == "C" && b.languages[0].name == "Go" {
					aims = append(aims, b.aim(n, way, rate/base))
				}
			}
		}
	}
	what := fmt.Sprintf("Turns of %g s, %d rounds; numbers are medians, *slowest* and *fastest* are single rounds. Commands and results have 8 bytes.\n\n", b.seconds, b.rounds)
	return report{text: textTable(columns, rows, 3), markdown: what + markdownTable(columns, rows, 3), aims: aims}
}

func (b *bindingsTrial) row(clients int, way, language string, rates []float64, base float64) []string {
	rate := median(rates)
	return []string{
		fmt.Sprint(clients), way, language, count(rate), fmt.Sprintf("%.2f", rate/base), count(slices.Min(rates)), count(slices.Max(rates)),
	}
}

func (b *bindingsTrial) aim(clients int, way string, ratio float64) aim {
	a := aim{
		what: fmt.Sprintf("C / Go, clients: %d, %s", clients, way), got: fmt.Sprintf("%.2f", ratio), want: "at least 0.85", met: ratio >= 0.85,
	}
	if b.rounds < roundsForVerdict {
		a.note = fmt.Sprintf("of %d rounds only, %d make a verdict", b.rounds, roundsForVerdict)
	}
	return a
}

func (b *bindingsTrial) end() (err error) {
	for _, p := range b.languages {
		err = errors.Join(err, p.ask.Close(), p.process.Wait())
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}
