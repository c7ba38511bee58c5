package sim

import (
	"fmt"
	"io"
)

// Line is the totals in one line.
func (t *Totals) Line() string {
	n := max(1, t.Runs)
	return fmt.Sprintf("%d runs, %.1f a second, %.0f virtual seconds in a real one on one core; a run: %.1f s, %d calls (%d with a known outcome), %.1f faults, %d events; %d failures",
		t.Runs, float64(t.Runs)/max(t.Elapsed.Seconds(), 1e-9), t.rate(), t.Virtual.Seconds()/float64(n),
		t.Calls/n, t.Answered/n, float64(t.Faults)/float64(n), t.Steps/uint64(n), len(t.Failures))
}

// Progress is a line for whoever waits: how far it is, how fast it goes, and what has not come up yet.
func (t *Totals) Progress(of int) string {
	kinds, met, rarest := 0, 0, situation(0)
	for _, n := range t.ByKind {
		if n > 0 {
			kinds++
		}
	}
	for k, n := range t.Coverage {
		if n > 0 {
			met++
		}
		if s := situation(k); n < t.Coverage[rarest] && s != sawCheckUnfinished {
			rarest = s
		}
	}
	return fmt.Sprintf("%d of %d, %.0f a second, %.0f times real time; %d faults of %d of %d kinds; %d of %d situations, rarest (%d): %s; %d failures",
		t.Runs, of, float64(t.Runs)/max(t.Elapsed.Seconds(), 1e-9), t.rate(), t.Faults, kinds, int(faultKinds), met, int(situations),
		t.Coverage[rarest], situationNames[rarest], len(t.Failures))
}

func (t *Totals) rate() float64 { return t.Virtual.Seconds() / max(t.Real.Seconds(), 1e-9) }

// AimsFrom is from how many runs on it is a fault if a run does not reach its aims: fewer seeds need not come into every situation.
const AimsFrom = 10_000

// situationsAtLeast is how often each situation has to come up in AimsFrom runs.
const situationsAtLeast = 50

// unfinishedAtMost is which part of all histories may be too long to be searched through.
const unfinishedAtMost = 1e-4

// Aims calls f with everything that many runs are to reach, and whether these did; a rate in real time is told and not asked for.
func (t *Totals) Aims(f func(reached bool, aim string)) {
	n := float64(max(1, t.Runs))
	for _, a := range [...]struct {
		what string
		is   float64
		aim  float64
	}{
		{"virtual seconds in a run", t.Virtual.Seconds() / n, 30},
		{"calls of clients in a run", float64(t.Calls) / n, 300},
		{"faults in a run", float64(t.Faults) / n, 8},
	} {
		f(a.is >= a.aim, fmt.Sprintf("%.1f %s, aim: %.0f", a.is, a.what, a.aim))
	}
	for k, count := range t.Coverage {
		if s := situation(k); s != sawCheckUnfinished && count < situationsAtLeast {
			f(false, fmt.Sprintf("%d times %s, aim: %d", count, situationNames[s], situationsAtLeast))
		}
	}
	for k, count := range t.ByKind {
		if count < situationsAtLeast {
			f(false, fmt.Sprintf("%d faults of the kind %s, aim: %d", count, FaultKind(k), situationsAtLeast))
		}
	}
	open, checked := float64(t.Coverage[sawCheckUnfinished]), float64(t.Coverage[sawRunChecked])
	f(open <= unfinishedAtMost*checked, fmt.Sprintf("%.0f of %.0f histories undecided, aim: at most %.0f", open, open+checked, unfinishedAtMost*checked))
}

// Verdict says in plain words what came of a seed of the simulator's own that broke no rule.
func (r *Result) Verdict(p *Plan) string {
	passed := "all came to pass"
	if n := len(p.Faults) - r.Faults; n > 0 {
		passed = fmt.Sprintf("%d came to pass (each a line with FAULT), and %d found nothing to do when it was time", r.Faults, n)
	}
	return fmt.Sprintf("seed %d broke no rule.\n", p.Seed) +
		"What ran is oarlock itself with a machine of the simulator's own, and nothing of yours: how to test your machine is in docs/simulation.md.\n" +
		fmt.Sprintf("%v of virtual time, %d events; %d calls planned, and with those that servers and other clients made %d; %d faults planned, of which %s; digest %016x", r.Virtual, r.Steps, len(p.Calls), r.Calls, len(p.Faults), passed, r.Digest)
}

// Report writes the totals with their tables: faults by kind, situations, aims.
func (t *Totals) Report(w io.Writer) {
	fmt.Fprintln(w, "faults that came to pass:")
	for k, n := range t.ByKind {
		fmt.Fprintf(w, "  %9d  %s\n", n, FaultKind(k))
	}
	fmt.Fprintln(w, "situations:")
	t.Coverage.Each(func(name string, count int) { fmt.Fprintf(w, "  %9d  %s\n", count, name) })
	if t.Runs < AimsFrom {
		missed := 0
		t.Aims(func(reached bool, _ string) {
			if !reached {
				missed++
			}
		})
		fmt.Fprintf(w, "Of what %d runs have to come into, %d runs have not come into %d things. This is no failure: so few runs need not.\n", AimsFrom, t.Runs, missed)
		fmt.Fprintln(w, t.Line())
		return
	}
	fmt.Fprintln(w, "aims:")
	t.Aims(func(reached bool, aim string) {
		mark := "reached"
		if !reached {
			mark = "missed"
		}
		fmt.Fprintf(w, "  %9s  %s\n", mark, aim)
	})
	fmt.Fprintln(w, t.Line())
}
