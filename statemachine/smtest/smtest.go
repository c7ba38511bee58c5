// Package smtest checks a state machine against the promises of package statemachine. A machine that passes can still be
// wrong about what it is for; one that fails would, sooner or later, make servers of one group differ, or stop them.
//
// Call Run in a test with a factory and a generator of commands:
//
//	func TestMachineKeepsItsPromises(t *testing.T) {
//		smtest.Run(t, func() statemachine.StateMachine { return mine.New() }, smtest.Options{
//			Command: func(r *rand.Rand) []byte { return mine.Put(r.IntN(100), r.Uint64()) },
//		})
//	}
//
// Run it with -race, too: that is how a snapshot or a concurrent query that shares memory with Apply is found for certain.
// Nothing here imports package testing, so the suite also serves outside go test, and Check returns what it found as a
// value.
//
// It looks at one machine alone, in milliseconds, and is what to run after each change. Package sim runs it too, and then
// whole clusters of the machine through crashes and restores, in seconds (sim.Check): run that before you trust a machine.
// docs/simulation.md is the way in.
package smtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/statemachine"
)

// T is what the suite needs of a *testing.T. It is called on the goroutine that called Run.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// Options says how to exercise a machine. The zero value works, and finds little in a machine that refuses random bytes:
// give Command, or at least Examples.
type Options struct {
	// Command makes one command that the machine understands, from r and nothing else. The suite damages some of them,
	// because what a client sends is not always well-formed, and a panic would stop every replica. Of a few of each kind (by
	// the first byte and the length) it tries every beginning, the empty one included. The clusters of package sim damage some, too.
	Command func(r *rand.Rand) []byte
	// Examples are commands to choose from and to put new ones together from, where Command is nil. Without both,
	// commands are random bytes.
	Examples [][]byte
	// Query makes one query. Without it the machine is queried with QueryExamples, or else with commands.
	Query func(r *rand.Rand) []byte
	// QueryExamples are queries to choose from, where Query is nil.
	QueryExamples [][]byte
	// Commands is how many commands a run has; 0 means 300.
	Commands int
	// Seed chooses commands, queries and damage; 0 means 1. The same seed makes the same run.
	Seed uint64
	// Pass is called between two runs of the same commands that must not differ. Under testing/synctest a time.Sleep of a day in
	// it finds a machine that looks at the clock and keeps only the hour.
	Pass func()
	// Reopen is required for a Durable machine: it drops machine as a crash would (what is not durable is lost, Close is
	// not called) and returns a new one on the same storage.
	Reopen func(machine statemachine.StateMachine) (statemachine.StateMachine, error)
	// SnapshotsUnchecked accepts a damaged byte inside a snapshot that Restore does not notice, for machines whose
	// format carries no checksum: servers check the whole file before they restore from it. A stream that ends early
	// must be noticed all the same.
	SnapshotsUnchecked bool
	// SnapshotsVary accepts that equal states have different snapshots, of a machine that writes them in the order of a map
	// for instance. States are then compared by StateHash; of a machine that is no Hasher only by the answers to queries.
	SnapshotsVary bool
	// Timeout is how long one check may take; 0 means 60 seconds. A call that takes most of it counts as stuck, and is left behind.
	Timeout time.Duration
	// Inline has every call made on the goroutine that called Check, one after the other, for machines that belong to one
	// thread. What would run beside something runs before it, and a machine that does not return is no finding: Check does
	// not return either.
	Inline bool
}

// Validate reports what Run could not work with.
func (o Options) Validate() error {
	if o.Commands < 0 || o.Timeout < 0 {
		return fmt.Errorf("smtest: Commands %d and Timeout %s must not be negative", o.Commands, o.Timeout)
	}
	return nil
}

// Start runs f on a goroutine of its own or, if Inline, here and now. For those who build on this suite.
func (o Options) Start(f func()) {
	if o.Inline {
		f()
		return
	}
	go f()
}

func (o Options) withDefaults() Options {
	if o.Commands == 0 {
		o.Commands = 300
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Pass == nil {
		o.Pass = func() {}
	}
	return o
}

// check is one promise. first ones are those without which the others would only say the same again.
type check struct {
	name  string
	first bool
	run   func(*suite) error
	whole bool // it is about all commands together, so that fewer of them say nothing
}

var checks = []check{
	{"every command is executed", true, (*suite).checkRecord, false},
	{"the same commands give the same results and state", true, (*suite).checkDeterminism, false},
	{"Snapshot changes nothing", true, (*suite).checkSnapshotEffect, false},
	{"bytes are borrowed and given away as documented", true, (*suite).checkBytes, false},
	{"commands do something", true, (*suite).checkEffect, true},
	{"Hash tells states apart", false, (*suite).checkHash, true},
	{"a restored snapshot equals replay", false, (*suite).checkRestore, false},
	{"a snapshot is the state when it was captured", false, (*suite).checkSnapshotBesideApply, false},
	{"a snapshot can be closed without being written", false, (*suite).checkSnapshotClose, false},
	{"a snapshot that cannot be written is an error", false, (*suite).checkSnapshotWriter, false},
	{"a damaged snapshot is an error", false, (*suite).checkDamage, false},
	{"Query changes nothing", false, (*suite).checkQuery, false},
	{"what falls due comes to an end", false, (*suite).checkSchedule, false},
	{"ApplyBatch equals Apply", false, (*suite).checkBatch, false},
	{"Query runs beside Apply", false, (*suite).checkConcurrentQuery, false},
	{"storage keeps index, records and state together", false, (*suite).checkDurable, false},
	{"RestoreDurable is one transaction", false, (*suite).checkRestoreDurable, false},
}

// Run checks the machines that factory makes and reports each broken promise as one error. Each call of factory returns
// a new machine without state, with storage of its own if it has any; a machine that is an io.Closer is closed.
func Run(t T, factory func() statemachine.StateMachine, options Options) {
	t.Helper()
	report, err := Check(factory, options)
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	for i := range report.Findings {
		t.Errorf("smtest: %s", &report.Findings[i])
	}
	for _, what := range report.Unchecked {
		t.Logf("smtest: not checked: %s", what)
	}
}

// Check is Run with its outcome as a value. The error is about options that cannot be used, never about the machine. It
// may be called on any goroutine; the machines are called on goroutines of its own, one at a time but where the checks
// of snapshots and of concurrent queries say so.
func Check(factory func() statemachine.StateMachine, options Options) (*Report, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if factory == nil {
		return nil, errors.New("smtest: the factory is nil: give a function that makes a new machine")
	}
	options = options.withDefaults()
	report := &Report{Commands: options.Commands}
	s := &suite{factory: factory, options: options, watch: new(stopwatch)}
	err := Generated(func() {
		s.script = newScript(options)
		s.cuts = newCuts(s.script)
		s.queries = newQueries(options, queriesMax)
	})
	if err != nil {
		return nil, err
	}
	script := s.script // A check may lengthen it, for what is shown of a failure.
	for i, c := range checks {
		if i == 1 {
			options.Pass()
		}
		report.Checks++
		err := s.inTime(c)
		if err == nil {
			continue
		}
		report.Findings = append(report.Findings, s.shrink(c, err))
		s.script, s.broken = script, spot{}
		if errors.Is(err, errSlow) {
			report.Unchecked = append(report.Unchecked, "the promises after this one, because there was no time")
			break
		}
		if c.first {
			report.Unchecked = append(report.Unchecked, "the other promises, because they rest on this one")
			break
		}
	}
	if sum, ok := s.want.final.fingerprint(); ok {
		report.Final = fmt.Sprintf("%016x", sum)
	}
	report.Unchecked = append(report.Unchecked, s.unchecked()...)
	return report, nil
}

// suite is one call of Run.
type suite struct {
	factory   func() statemachine.StateMachine
	options   Options
	script    []step
	cuts      []step // damaged commands that follow it, once
	queries   [][]byte
	thorough  bool         // compare states after every command, whatever that takes
	shrinking bool         // something was found: risk nothing for it
	empty     state        // of a new machine
	want      recording    // of the first run, which the others are held against
	blind     string       // what StateHash was found not to see
	broken    spot         // where the latest failure was, if there is a place
	asked     answers      // what came of queries
	watch     *stopwatch   // on the calls
	refusals  atomic.Int64 // snapshots that were refused, since one was taken
}

// unchecked says what these options and this machine leave out.
func (s *suite) unchecked() (list []string) {
	o := s.options
	switch {
	case o.Command != nil:
	case len(o.Examples) > 0:
		list = append(list, "commands that no example is like: give Options.Command, a generator")
	default:
		list = append(list, "commands that the machine understands: they were random bytes; give Options.Command or Options.Examples")
	}
	if s.blind != "" {
		list = append(list, s.blind)
	}
	if what := s.asked.missing(); what != "" {
		list = append(list, what)
	}
	if o.SnapshotsVary && !s.empty.hashed {
		if o.Query == nil && o.QueryExamples == nil {
			list = append(list, "the state, but for what results show of it: be a statemachine.Hasher, or give Options.Query")
		} else {
			list = append(list, "the state, but for what results and the answers to queries show of it: be a statemachine.Hasher")
		}
	}
	return list
}
