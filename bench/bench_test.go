package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEverySystemIsMeasured runs the harness for a moment, so that a change of an API is found by a test.
func TestEverySystemIsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	p := plan{dir: t.TempDir(), rounds: 2, turn: 50 * time.Millisecond, retain: 1 << 20, systems: systemNames(), say: t.Logf}
	loads, err := parseLoads("16", "4", "4")
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []outcome
	for _, l := range loads {
		o, err := p.run(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range systemNames() {
			for _, s := range o.samples[name] {
				if s.perSecond <= 0 || s.cpu <= 0 || !l.reads && (s.syncs <= 0 || s.syncs > 6) {
					t.Errorf("%s, %s: %+v", name, l, s)
				}
			}
		}
		outcomes = append(outcomes, o)
	}
	r := p.report(outcomes)
	for _, name := range systemNames() {
		if strings.Count(r.text, name) == 0 || strings.Count(r.markdown, "| "+name+" |") != len(loads) {
			t.Errorf("%s is missing:\n%s\n%s", name, r.text, r.markdown)
		}
	}
	left, err := filepath.Glob(filepath.Join(p.dir, "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// brokenSystem answers with an error after a while.
type brokenSystem struct{ limitSystem }

var errBroken = errors.New("broken")

func (b *brokenSystem) Propose([]byte) error { return errBroken }

func TestSystemThatFailsIsNotMeasured(t *testing.T) {
	if _, err := drive(&brokenSystem{}, load{clients: 3}, time.Minute); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
}

func TestLoadsAreParsedOrRefused(t *testing.T) {
	loads, err := parseLoads("16, 128", "1,256", "8")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range loads {
		all = append(all, l.String())
	}
	if got := strings.Join(all, "; "); got != "16 x 1; 16 x 256; 128 x 1; 128 x 256; reads x 8" {
		t.Fatal(got)
	}
	for _, bad := range [][3]string{{"x", "1", ""}, {"1", "0", ""}, {"1", "", "-1"}, {"1", "", ""}, {"-1", "1", ""}} {
		if _, err := parseLoads(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if _, err := newSystems([]string{"limit", "etcd"}, 1); err == nil {
		t.Error("a system that is not there was accepted")
	}
}

func TestNumbersInTablesCanBeRead(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.4: "1,234,567"} {
		if got := count(v); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := median([]float64{5, 1, 9}); got != 5 {
		t.Errorf("median %f", got)
	}
}
