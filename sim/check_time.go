package sim

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/statemachine/smtest"
)

// watch notes the calls of a machine, so that a cluster that does not end in time can be told why.
type watch struct {
	mu    sync.Mutex
	doing string
	since time.Time
	calls int
}

func (w *watch) at(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doing, w.since = what, time.Now()
	w.calls++
}

func (w *watch) now() (what string, since time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doing, time.Since(w.since)
}

// late says why a cluster is not through. A call counts as stuck when it has been under way for most of the time.
func (w *watch) late(timeout time.Duration) *smtest.Finding {
	what, since := w.now()
	calls := w.calls
	if since > timeout/2 {
		return &smtest.Finding{Check: guestReturns.name, Text: fmt.Sprintf("a cluster did not come to its end in %s; the last call was %s, which has not returned for %s",
			timeout, what, since.Round(time.Millisecond))}
	}
	return &smtest.Finding{Check: smtest.PromiseInTime, Text: fmt.Sprintf("a cluster took longer than Options.Timeout, %s, and nothing is stuck: %d calls were made; raise Timeout", timeout, calls)}
}

// inTime runs a plan on a goroutine of its own, so that a machine that blocks is a finding and not a hanging test.
func (c *checker) inTime(p *Plan, o RunOptions) (r *Result, late *smtest.Finding) {
	c.watch.at(theFactory)
	done := make(chan *Result, 1)
	c.options.Start(func() {
		var r *Result
		defer func() { done <- r }()
		r = Run(p, o)
	})
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	select {
	case r = <-done:
		if r == nil {
			what, _ := c.watch.now()
			return nil, &smtest.Finding{Check: guestReturns.name, Text: what + " did not return, and its goroutine was ended: by runtime.Goexit, as t.Fatal, t.FailNow and t.Skip do"}
		}
		return r, nil
	case <-timer.C:
		return nil, c.watch.late(c.timeout)
	}
}

// shrink makes a failure smaller, in the time that one cluster has. ok is false where a run is stuck and left behind.
func (c *checker) shrink(p *Plan, r *Result) (_ *Plan, _ *Result, ok bool) {
	type smaller struct {
		plan   *Plan
		result *Result
	}
	done, stop := make(chan smaller, 1), new(atomic.Bool)
	c.options.Start(func() {
		p, r := shrink(p, r, c.clusters.ShrinkRuns, stop)
		done <- smaller{p, r}
	})
	for range 2 { // the second time is for the run that is under way when time is up
		timer := time.NewTimer(c.timeout)
		select {
		case s := <-done:
			timer.Stop()
			return s.plan, s.result, true
		case <-timer.C:
			stop.Store(true)
		}
	}
	return p, r, false
}

// tell runs a plan that has failed again, for its story. A machine that leaves things to chance may behave this time.
func (c *checker) tell(p *Plan, r *Result) (*Result, string) {
	for range 3 {
		told, late := c.inTime(p, RunOptions{Story: true, SkipHistories: true})
		if late != nil {
			break
		}
		if told.Failure != nil && told.Failure.Check == r.Failure.Check {
			return told, told.Story
		}
	}
	return r, "Run three times more, for its story, it did not happen again: the machine leaves something to chance, or waits.\n"
}
