package smtest

import (
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/statemachine"
)

// Promises that no check is about alone. An error that breaks one of them says so, whichever check came upon it.
const (
	promiseSame     = "the same commands give the same results and state"
	promiseExecuted = "every command is executed"
	promiseBytes    = "bytes are borrowed and given away as documented"
	promiseDue      = "what falls due comes to an end"
	promiseStorage  = "storage keeps index, records and state together"

	// These are also what package sim calls them.
	PromiseSnapshot = "a snapshot can be taken, at the latest when it is tried again"
	PromiseFactory  = "the factory makes a new machine each time"
	PromiseReturns  = "every call returns"
	PromiseInTime   = "the check ends in time"
)

// promised is an error that breaks a promise of a name. Its text is the error's.
type promised struct {
	name string
	err  error
}

func (p *promised) Error() string { return p.err.Error() }
func (p *promised) Unwrap() error { return p.err }

// breaks says which promise an error breaks. What is inside and says so itself stays.
func breaks(name string, err error) error {
	var inner *promised
	if err == nil || errors.As(err, &inner) {
		return err
	}
	return &promised{name, err}
}

func isPromised(err error) bool {
	var p *promised
	return errors.As(err, &p)
}

// promise is the one that an error of a check breaks.
func (c check) promise(err error) string {
	var p *promised
	if errors.As(err, &p) {
		return p.name
	}
	return c.name
}

// SnapshotTries is how often a snapshot is tried at once, where a server would try it again after more commands.
const SnapshotTries = 12

// TakeSnapshot calls Snapshot until it returns no error, or has returned so many. For those who build on this suite.
func TakeSnapshot(machine statemachine.StateMachine) (snapshot statemachine.Snapshot, err error) {
	return takeSnapshot(machine, SnapshotTries)
}

func takeSnapshot(machine statemachine.StateMachine, tries int64) (snapshot statemachine.Snapshot, err error) {
	for range tries {
		if snapshot, err = machine.Snapshot(); err == nil {
			return snapshot, nil
		}
	}
	return nil, err
}

// errRefused is a machine that will not take a snapshot: what is expected of one that is not to be used any more.
var errRefused = errors.New("Snapshot returned an error")

func refused(err error) error {
	return breaks(PromiseSnapshot, fmt.Errorf("%w each time that it was tried: %w", errRefused, err))
}

// refusalsMax is how many snapshots in a row may be refused, each as often as it was tried, until one is tried once only: a machine
// that takes none at all is known by then, and its calls may be slow.
const refusalsMax = 5

// isRefused reports whether there is no snapshot because the machine refused one. It may, as long as it takes one later, and is
// held to that in the end of a run.
func isRefused(err error) bool { return errors.Is(err, errRefused) }
