package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

var columns = []string{"load", "system", "ops/s", "of the first", "slowest", "fastest", "syncs/op", "CPU us/op", "allocs/op", "retries", "fdatasync", "round trip"}

// rows are the table's cells: a line for each system and load, ratios to the first system of the load.
func rows(outcomes []outcome) [][]string {
	var all [][]string
	for _, o := range outcomes {
		base := 0.0
		for i, name := range o.systems {
			s := o.samples[name]
			rates := of(s, func(s sample) float64 { return s.perSecond })
			rate := median(rates)
			if i == 0 {
				base = rate
			}
			all = append(all, []string{
				o.load.String(), name, count(rate), fmt.Sprintf("%.2f", rate/base), count(slices.Min(rates)), count(slices.Max(rates)),
				fmt.Sprintf("%.3f", median(of(s, func(s sample) float64 { return s.syncs }))),
				fmt.Sprintf("%.1f", median(of(s, func(s sample) float64 { return s.cpu }))),
				fmt.Sprintf("%.1f", median(of(s, func(s sample) float64 { return s.allocs }))),
				count(sum(of(s, func(s sample) float64 { return float64(s.retries) }))), micros(o.fsync), micros(o.trip),
			})
		}
	}
	return all
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}

// count writes a number with thousands set apart.
func count(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func micros(d time.Duration) string { return fmt.Sprintf("%.0f us", float64(d.Nanoseconds())/1000) }

// writeText writes the table for a terminal.
func writeText(w io.Writer, outcomes []outcome) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{columns}, rows(outcomes)...) {
		if _, err := fmt.Fprintln(t, strings.Join(row, "\t")+"\t"); err != nil {
			return err
		}
	}
	return t.Flush()
}

// writeMarkdown writes the table with what one must know to read it.
func writeMarkdown(w io.Writer, p plan, outcomes []outcome) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\nWritten by `go run .` in `bench/`; run it on your own machine before you compare with it.\n\n")
	fmt.Fprintf(&b, "Three members in one process, real TCP on loopback, real files, a sync before anything is acknowledged. Load is bytes x\n"+
		"clients; clients are goroutines that call the leader in the process and wait for the result. Systems took turns of %s for\n"+
		"%d rounds; numbers are medians, *slowest* and *fastest* are of single rounds. CPU and allocations are those of the whole\n"+
		"process, clients included; *retries* are operations tried again in all rounds, because the leader had changed. Each log retains about %d MiB. %s, %s/%s, %d cores, %s.\n\n",
		p.turn, p.rounds, p.retain>>20, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	fmt.Fprintf(&b, "*limit* is a primary with two backups that frames, replicates, appends with one fdatasync a batch on each of the\n"+
		"three, and applies when two have it: no elections, no terms. *limit-pebble* is the same with a Pebble record for each batch.\n\n")
	b.WriteString("| " + strings.Join(columns, " | ") + " |\n|---|---|" + strings.Repeat("---:|", len(columns)-2) + "\n")
	for _, row := range rows(outcomes) {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
