package main

import (
	"fmt"
	"slices"
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

// markdown is the table with what one must know to read it.
func (p plan) markdown(outcomes []outcome) string {
	return fmt.Sprintf("Turns of %s, %d rounds; numbers are medians, *slowest* and *fastest* are single rounds; each log retains about %d MiB.\n\n",
		p.turn, p.rounds, p.retain>>20) + markdownTable(columns, rows(outcomes), 2)
}
