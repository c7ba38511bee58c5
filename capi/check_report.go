//go:build cgo

package main

import (
	"errors"
	"fmt"
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

func (r *checkReport) add(f smtest.Finding, seed uint64, clustered bool) {
	f.Check, f.Text, f.Story = inC(f.Check), inC(f.Text), inC(f.Story)
	f.Repeat = fmt.Sprintf("seed=%d", seed)
	if clustered {
		f.Repeat = fmt.Sprintf("clusters_from=%d, clusters=1", seed)
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
