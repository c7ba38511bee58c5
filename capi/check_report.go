//go:build cgo

package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/oarlock/oarlock/sim"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// checkReport is what came of a check, as JSON.
type checkReport struct {
	Findings  []checkFinding `json:"findings"`
	Unchecked []string       `json:"unchecked"` // what could not be looked at, and what would change that
	Checks    int            `json:"checks"`    // promises that were looked at
	Commands  int            `json:"commands"`  // of a run
	Final     string         `json:"final"`     // hash of the state after them, as in smtest.Report
	// Of the clusters, all together.
	Clusters  int           `json:"clusters"`
	Changes   int           `json:"changes"`
	Queries   int           `json:"queries"`
	Snapshots int           `json:"snapshots"`
	Restores  int           `json:"restores"`
	Faults    int           `json:"faults"`
	Virtual   time.Duration `json:"virtual_nanos"`
}

// checkFinding is a finding with the seed that repeats it: of the commands or, in a cluster, of the cluster.
type checkFinding struct {
	smtest.Finding
	Seed      uint64 `json:"seed"`
	Clustered bool   `json:"clustered"`
	Whole     string `json:"whole"` // all of it in words, but the story
}

// inGo are words of the suites that mean something to Go programs, and what they are called here.
var inGo = strings.NewReplacer(
	"be a Hasher or set SnapshotsVary", "have a state_hash, or say that snapshots vary",
	"be a statemachine.Hasher, or give Options.Query", "have a state_hash, or give queries",
	"be a statemachine.Hasher", "have a state_hash",
	"give Options.Command or Options.Examples", "give commands",
	"set Options.SnapshotsUnchecked", "say that snapshots are unchecked",
	"have Snapshot return an error from then on", "have the capture of a snapshot fail from then on",
	"give Options.Command, a generator", "give a generator of commands",
	"ApplyBatch equals Apply", "a batch equals its commands one by one",
	" panicked, which would stop", " failed, which would stop",
	" panicked on server", " failed on server",
)

// noAnswer is a query whose answer was none. To a server that is an error for whoever asked, and stops nothing.
var noAnswer = regexp.MustCompile(`(?s)^Query of (.*?) panicked(, which would stop every replica| on server \d+, which would stop it): `)

// inC has a text of the suites speak of what oarlock.h has.
func inC(text string) string { return inGo.Replace(noAnswer.ReplaceAllString(text, "the query $1 got no answer: ")) }

func (r *checkReport) add(f smtest.Finding, seed uint64, clustered bool) {
	f.Check, f.Text = inC(f.Check), inC(f.Text)
	f.Repeat = fmt.Sprintf("seed %d", seed)
	if clustered {
		f.Repeat = fmt.Sprintf("clusters_from %d and 1 of clusters", seed)
	}
	r.Findings = append(r.Findings, checkFinding{f, seed, clustered, f.String()})
}

func (r *checkReport) note(what string) {
	what = inC(what)
	for _, known := range r.Unchecked {
		if known == what {
			return
		}
	}
	r.Unchecked = append(r.Unchecked, what)
}

// alone takes what was found by calling one machine after the other.
func (r *checkReport) alone(from *smtest.Report, seed uint64) {
	r.Checks, r.Commands, r.Final = from.Checks, from.Commands, from.Final
	for i := range from.Findings {
		r.add(from.Findings[i], seed, false)
	}
	for _, what := range from.Unchecked {
		r.note(what)
	}
}

// cluster takes what was found in one cluster.
func (r *checkReport) cluster(from *sim.MachineReport, seed uint64) {
	for i := range from.Findings {
		r.add(from.Findings[i], seed, true)
	}
	for _, what := range from.Unchecked {
		r.note(what)
	}
	r.Clusters += from.Runs
	r.Changes += from.Changes
	r.Queries += from.Queries
	r.Snapshots += from.Snapshots
	r.Restores += from.Restores
	r.Faults += from.Faults
	r.Virtual += from.Virtual
}

// err is nil for a machine that passed.
func (r *checkReport) err() error {
	if len(r.Findings) == 0 {
		return nil
	}
	all := make([]error, len(r.Findings))
	for i := range r.Findings {
		all[i] = errors.New(r.Findings[i].Whole)
	}
	return fmt.Errorf("%w: %w", errCheck, errors.Join(all...))
}
