package server

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/oarlock/oarlock/statemachine"
)

// Job is a piece of work that a Replica asks for and that may take long: it waits for the disk, for the network or for
// the application. It is a value with a step function and no goroutine of its own. Whoever drives the replica runs the
// job, Step by Step until it is done, on any goroutine, and then gives it back in the Inputs of a later turn
// (Inputs.Finished). Jobs that were done one after the other are given back in that order.
//
// Which jobs may overlap is a matter of their lanes.
type Job interface {
	// Lane says what the job comes after.
	Lane() Lane
	// Step does the next piece and reports whether the job is done. It does not panic: what the application or a part
	// threw becomes the job's failure, which fences the replica when the job is given back.
	Step() (done bool)
	// Drop ends a job that will not be run, or not further: its waiters are answered. It is given back all the same.
	Drop(why error)
}

// Lane is a queue of jobs of one replica. Jobs of one lane run one at a time in the order in which turns returned
// them, but for LaneFill, whose jobs run in any order and beside each other. Jobs of different lanes overlap freely.
type Lane uint8

const (
	// LaneSave is for SaveJob. Several of them, also of different replicas, may be done in one call of the log.
	LaneSave Lane = 0
	// LaneApply is for what touches the state machine: ApplyJob, QueryJob, RestoreJob, CaptureJob.
	LaneApply Lane = 1
	// LaneFill is for FillJob.
	LaneFill Lane = 2
	// LaneSnapshot is for WriteJob and CompactJob.
	LaneSnapshot Lane = 3
	// LaneFetch is for FetchJob. A newer one cancels the one that is under way and comes after it.
	LaneFetch Lane = 4
)

// outcome is how a job ended, for all of them.
type outcome struct {
	err error // why it failed
}

// Err returns why the job failed; nil while it runs or when it succeeded.
func (o *outcome) Err() error { return o.err }

// errPanic marks what was thrown by the application or by a part.
var errPanic = errors.New("panic")

// guard turns a panic into an error, so that what a plug-in throws never reaches the host's process. what names the
// thing that was done. The stack goes into the error, because nothing else will show it; a machine that gives a reason of
// its own by statemachine.Broken needs none.
func guard(what func() string, err *error) {
	switch r := recover().(type) {
	case nil:
	case *statemachine.Broken:
		*err = fmt.Errorf("%s: %w", what(), r)
	default:
		*err = fmt.Errorf("%s: %w: %v\n%s", what(), errPanic, r, debug.Stack())
	}
}
