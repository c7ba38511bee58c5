package main

import (
	"strings"
	"testing"

	"github.com/oarlock/oarlock/config"
)

func TestOnlyWhatStandsBetweenTheMarksIsReplaced(t *testing.T) {
	page := "# Page\n\n<!-- bench a -->\nold\n<!-- bench end a -->\n\ntext\n\n<!-- bench b -->\nkept\n<!-- bench end b -->\n"
	got, err := between(page, "a", "new\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(page, "\nold\n", "\n\nnew\n\n", 1); got != want {
		t.Fatal(got)
	}
	if again, err := between(got, "a", "new"); err != nil || again != got {
		t.Fatalf("%v: %s", err, again)
	}
	if _, err := between(page, "c", "new"); err == nil {
		t.Fatal("marks that are not there were found")
	}
}

func TestMissedAimIsALineThatSaysSo(t *testing.T) {
	var b strings.Builder
	writeAims(&b, []aim{{what: "speed", got: "3", want: "4"}, {what: "size", got: "3", want: "2", met: true}})
	lines := strings.Split(b.String(), "\n")
	if !strings.Contains(lines[0], "SHORT OF THE AIM") || !strings.Contains(lines[1], "PASS") || strings.Contains(lines[1], "SHORT") {
		t.Fatal(b.String())
	}
}

func TestThroughputAimsAreJudgedByTheRatioOfMedians(t *testing.T) {
	o := outcome{load: load{bytes: 128, clients: 1}, systems: []string{"limit", "limit-pebble", "oarlock"}, samples: map[string][]sample{
		"limit": {{perSecond: 2000}}, "limit-pebble": {{perSecond: 900}, {perSecond: 1000}, {perSecond: 5000}}, "oarlock": {{perSecond: 710}},
	}}
	aims := plan{rounds: 7}.report([]outcome{o}).aims
	if len(aims) != 1 || !aims[0].met || !strings.HasPrefix(aims[0].got, "0.71") || aims[0].note != "" {
		t.Fatalf("%+v", aims)
	}
	o.samples["oarlock"][0].perSecond = 690
	if aims := (plan{rounds: 3}).report([]outcome{o}).aims; aims[0].met || aims[0].note == "" {
		t.Fatalf("%+v", aims)
	}
}

func TestQueueAboveItsBoundAndMemoryAboveTheSumAreFound(t *testing.T) {
	judged := func(change func(*seen)) []aim {
		s := seen{Led: 9, Samples: 9, Idle: 50 << 20, Peak: 60 << 20, Queues: []queueSeen{{Name: "inbox", Max: 100, Sampled: 90, Counted: 100}}}
		change(&s)
		tr := trial{config: config.Default(), storm: &storm{}, mute: &mute{}}
		return tr.report(s).aims
	}
	if a := judged(func(*seen) {}); !a[0].met || !a[1].met {
		t.Errorf("%+v", a)
	}
	if a := judged(func(s *seen) { s.Queues[0].Counted = 101 }); a[0].met || !a[1].met {
		t.Errorf("%+v", a)
	}
	if a := judged(func(s *seen) { s.Peak = 4 << 30 }); !a[0].met || a[1].met {
		t.Errorf("%+v", a)
	}
	if a := judged(func(s *seen) { s.Led = 1 }); a[0].note == "" {
		t.Errorf("%+v", a)
	}
}
