package main

import (
	"strings"
	"testing"
)

func TestReadsAreJudgedByWhatThreeServersAnswerBesideTheLeader(t *testing.T) {
	trial := &readTrial{rounds: roundsForVerdict, callers: []int{1, 256}, rates: map[string][]float64{}}
	for _, n := range trial.callers {
		for i, way := range readWays {
			trial.rates[readRateKey(way, n)] = []float64{100, float64(100 + 60*i), 1000}
		}
	}
	r := trial.report()
	if len(r.aims) != 1 || !r.aims[0].met || r.aims[0].got != "1.60" {
		t.Fatalf("%+v", r.aims)
	}
	if rows := strings.Count(r.text, "\n"); rows != 1+2*len(readWays) {
		t.Fatalf("%d lines: %s", rows, r.text)
	}
	trial.rates[readRateKey(readWays[1], 256)] = []float64{149}
	trial.rounds = 2
	if a := trial.report().aims[0]; a.met || !strings.Contains(a.note, "2 rounds only") {
		t.Fatalf("%+v", a)
	}
}
