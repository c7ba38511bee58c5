package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"
)

// throughput measures operations a second of all systems, in turns.
func throughput(f *flag.FlagSet) func(*environment) (report, error) {
	rounds := f.Int("rounds", roundsForVerdict, "how many turns each system has")
	seconds := f.Float64("seconds", 2, "how long a turn is")
	sizes := f.String("bytes", "128", "sizes of commands in bytes, for instance 16,128,1024,16384")
	clients := f.String("clients", "1,16,256", "numbers of clients that write, for instance 1,16,256,2048; empty: none")
	readers := f.String("reads", "1,256", "numbers of clients that read; empty: none")
	systems := f.String("systems", strings.Join(systemNames(), ","), "what to measure; ratios refer to the first")
	retain := f.Int64("retain", 32, "how much of each log is kept, in MiB")
	cpu := f.String("cpuprofile", "", "write a profile of the processor's time to this file; name one system and one load")
	return func(e *environment) (_ report, err error) {
		loads, err := parseLoads(*sizes, *clients, *readers)
		if err != nil {
			return report{}, err
		}
		if *rounds < 1 || *seconds <= 0 || *retain < 1 {
			return report{}, fmt.Errorf("-rounds %d, -seconds %g and -retain %d must be positive", *rounds, *seconds, *retain)
		}
		p := plan{
			dir: e.dir, rounds: *rounds, turn: time.Duration(*seconds * float64(time.Second)), retain: *retain << 20,
			systems: strings.Split(*systems, ","), say: e.say,
		}
		stop, err := profile(*cpu)
		if err != nil {
			return report{}, err
		}
		defer func() { err = errors.Join(err, stop()) }()
		var outcomes []outcome
		for _, l := range loads {
			o, err := p.run(l)
			if err != nil {
				return report{}, err
			}
			outcomes = append(outcomes, o)
		}
		return p.report(outcomes), nil
	}
}

// profile begins a profile of the processor's time, if a file for it is named.
func profile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// roundsForVerdict is how many rounds make a median that says something on a machine with noise.
const roundsForVerdict = 7

// throughputAims are the ratios that count: oarlock to the limit that stores its log in the same way and, for reads, to
// the limit.
var throughputAims = []struct {
	load  load
	of    string
	ratio float64
}{
	{load{bytes: 128, clients: 1}, "limit-pebble", 0.7},
	{load{bytes: 128, clients: 256}, "limit-pebble", 0.4},
	{load{reads: true, clients: 256}, "limit", 0.2},
}

func (p plan) report(outcomes []outcome) report {
	r := report{text: textTable(columns, rows(outcomes), 2), markdown: p.markdown(outcomes)}
	for _, t := range throughputAims {
		k := slices.IndexFunc(outcomes, func(o outcome) bool { return o.load == t.load })
		if k < 0 || outcomes[k].rate("oarlock") == 0 || outcomes[k].rate(t.of) == 0 {
			continue
		}
		o := outcomes[k]
		ratio := o.rate("oarlock") / o.rate(t.of)
		a := aim{
			what: fmt.Sprintf("%s: oarlock / %s", t.load.words(), t.of),
			got:  fmt.Sprintf("%.2f", ratio), want: fmt.Sprintf("at least %.1f", t.ratio), met: ratio >= t.ratio,
		}
		if file := o.rate("limit"); t.of != "limit" && file > 0 {
			a.got += fmt.Sprintf(" (of the file limit: %.2f)", o.rate("oarlock")/file)
		}
		if p.rounds < roundsForVerdict {
			a.note = fmt.Sprintf("of %d rounds only, %d make a verdict", p.rounds, roundsForVerdict)
		}
		r.aims = append(r.aims, a)
	}
	return r
}

// rate is the median of a system's rounds; 0 where it was not measured.
func (o outcome) rate(system string) float64 {
	return median(of(o.samples[system], func(s sample) float64 { return s.perSecond }))
}

func (l load) words() string {
	what := fmt.Sprintf("writes of %d bytes", l.bytes)
	if l.reads {
		what = "reads"
	}
	if l.clients == 1 {
		return what + ", 1 client"
	}
	return fmt.Sprintf("%s, %d clients", what, l.clients)
}

func parseLoads(sizes, clients, readers string) ([]load, error) {
	allSizes, err := numbers("-bytes", sizes, 0)
	if err != nil {
		return nil, err
	}
	writers, err := numbers("-clients", clients, 1)
	if err != nil {
		return nil, err
	}
	queriers, err := numbers("-reads", readers, 1)
	if err != nil {
		return nil, err
	}
	var loads []load
	for _, size := range allSizes {
		for _, n := range writers {
			loads = append(loads, load{bytes: size, clients: n})
		}
	}
	for _, n := range queriers {
		loads = append(loads, load{reads: true, clients: n})
	}
	if len(loads) == 0 {
		return nil, fmt.Errorf("nothing to measure: give -clients with -bytes, or -reads")
	}
	return loads, nil
}

func numbers(flag, list string, least int) ([]int, error) {
	var all []int
	for field := range strings.SplitSeq(list, ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		n, err := strconv.Atoi(field)
		if err != nil || n < least {
			return nil, fmt.Errorf("%s: %q is not a number from %d on", flag, field, least)
		}
		all = append(all, n)
	}
	return all, nil
}
