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
// Nothing here imports package testing, so the suite also serves outside go test.
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

// Options says how to exercise a machine. Only Command is required.
type Options struct {
	// Command makes one command that the machine understands, from r and nothing else. The suite damages some of them,
	// because what a client sends is not always well-formed, and a panic would stop every replica.
	Command func(r *rand.Rand) []byte
	// Query makes one query. Without it the machine is queried with commands and random bytes.
	Query func(r *rand.Rand) []byte
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
	// Timeout is how long one check may take before it counts as stuck; 0 means 60 seconds. What is stuck is left behind.
	Timeout time.Duration
}

// Validate reports what Run could not work with.
func (o Options) Validate() error {
	switch {
	case o.Command == nil:
		return errors.New("smtest: Options.Command is nil: give a generator of commands")
	case o.Commands < 0 || o.Timeout < 0:
		return fmt.Errorf("smtest: Commands %d and Timeout %s must not be negative", o.Commands, o.Timeout)
	}
	return nil
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
}

var checks = []check{
	{"every command is executed", true, (*suite).checkRecord},
	{"the same commands give the same results and state", true, (*suite).checkDeterminism},
	{"bytes are borrowed and given away as documented", true, (*suite).checkBytes},
	{"Hash tells states apart", false, (*suite).checkHash},
	{"a restored snapshot equals replay", false, (*suite).checkRestore},
	{"a snapshot is the state when it was captured", false, (*suite).checkSnapshotBesideApply},
	{"a snapshot can be closed without being written", false, (*suite).checkSnapshotClose},
	{"a snapshot that cannot be written is an error", false, (*suite).checkSnapshotWriter},
	{"a damaged snapshot is an error", false, (*suite).checkDamage},
	{"Query changes nothing", false, (*suite).checkQuery},
	{"what falls due comes to an end", false, (*suite).checkSchedule},
	{"ApplyBatch equals Apply", false, (*suite).checkBatch},
	{"Query runs beside Apply", false, (*suite).checkConcurrentQuery},
	{"storage keeps index, records and state together", false, (*suite).checkDurable},
	{"RestoreDurable is one transaction", false, (*suite).checkRestoreDurable},
}

// Run checks the machines that factory makes and reports each broken promise as one error. Each call of factory returns
// a new machine without state, with storage of its own if it has any; a machine that is an io.Closer is closed.
func Run(t T, factory func() statemachine.StateMachine, options Options) {
	t.Helper()
	if err := options.Validate(); err != nil {
		t.Errorf("%v", err)
		return
	}
	options = options.withDefaults()
	s := &suite{factory: factory, options: options, script: newScript(options)}
	for i, c := range checks {
		if i == 1 {
			options.Pass()
		}
		err := s.inTime(c)
		if err == nil {
			continue
		}
		t.Errorf("smtest: %s: %v (seed %d)", c.name, err, options.Seed)
		if c.first {
			t.Logf("smtest: the other checks were not run, because they rest on this one")
			return
		}
	}
}

// suite is one call of Run.
type suite struct {
	factory func() statemachine.StateMachine
	options Options
	script  []step
	empty   state     // of a new machine
	want    recording // of the first run, which the others are held against
	doing   atomic.Pointer[string]
}

// errStuck is what a check that does not come back ends with.
var errStuck = errors.New("stuck")

// inTime runs a check on a goroutine of its own, so that a machine that blocks is a finding and not a hanging test.
func (s *suite) inTime(c check) error {
	s.at("the factory")
	done := make(chan error, 1)
	go func() {
		var err error
		// The error of the check comes first: a panic outside the machine's methods would be a bug here or in Options.
		if caught := guard("check", func() { err = c.run(s) }); err == nil {
			err = caught
		}
		done <- err
	}()
	timer := time.NewTimer(s.options.Timeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%w after %s in %s: does it wait for a snapshot to be written or closed?", errStuck, s.options.Timeout, *s.doing.Load())
	}
}

// at notes what is about to be called, for the message of a stuck check.
func (s *suite) at(what string) { s.doing.Store(&what) }

// guard turns a panic of the machine into an error that names the call.
func guard(what string, call func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked, which would stop every replica: %v", what, p)
		}
	}()
	call()
	return nil
}
