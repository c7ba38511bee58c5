package smtest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
)

// stopwatch notes the calls of a check, so that one that does not end in time can be told why.
type stopwatch struct {
	mu    sync.Mutex
	doing string
	since time.Time
	calls map[string]*called // by method
	left  bool               // the check is left behind: nothing is called any more
}

// called is how often a method was called, and how long that took.
type called struct {
	times int
	took  time.Duration
}

// at notes what is about to be called. In a check that was left behind it does not return.
func (s *suite) at(what string) {
	w := s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left {
		runtime.Goexit()
	}
	w.stop()
	w.doing, w.since = what, time.Now()
}

// stop counts the call that was noted last.
func (w *stopwatch) stop() {
	if w.calls == nil {
		w.calls = map[string]*called{}
	}
	method, _, _ := strings.Cut(w.doing, " ")
	if w.calls[method] == nil {
		w.calls[method] = new(called)
	}
	c := w.calls[method]
	c.times++
	c.took += time.Since(w.since)
}

// begin is for a new check.
func (w *stopwatch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doing, w.since, w.calls = theFactory, time.Now(), nil
}

// now is what was called last.
func (w *stopwatch) now() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doing
}

// theFactory is what is called when a machine is made.
const theFactory = "the factory"

// A check that is not through in time is stuck in a call, or has made many.
var (
	errStuck = errors.New("stuck")
	errSlow  = errors.New("it took longer than Options.Timeout")
	errGone  = errors.New("its goroutine was ended")
)

// isStuck reports whether a check did not end by itself. It is not tried again.
func isStuck(err error) bool {
	return errors.Is(err, errStuck) || errors.Is(err, errSlow) || errors.Is(err, errGone)
}

// late says why a check is not through. A call counts as stuck when it has been under way for most of the time.
func (w *stopwatch) late(timeout time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.since) > timeout/2 {
		return breaks(PromiseReturns, fmt.Errorf("%w after %s in %s: does it wait for a snapshot to be written or closed?", errStuck, timeout, w.doing))
	}
	w.left = true
	all, most, method := 0, called{}, ""
	for name, c := range w.calls {
		if all += c.times; c.took > most.took {
			most, method = *c, name
		}
	}
	return breaks(PromiseInTime, fmt.Errorf("%w, %s, and nothing is stuck: %s were made, most of the time went to %s of %s, which takes %s on average; "+
		"raise Timeout or lower Commands", errSlow, timeout, count(all, "call"), count(most.times, "call"), method, mean(most)))
}

func mean(c called) time.Duration {
	return (c.took / time.Duration(max(c.times, 1))).Round(time.Microsecond)
}

// gone is an error about a call that ended its goroutine.
func gone(what string) error {
	return breaks(PromiseReturns, fmt.Errorf("%s did not return, and %w: by runtime.Goexit, as t.Fatal, t.FailNow and t.Skip do", what, errGone))
}

// inTime runs a check on a goroutine of its own, so that a machine that blocks is a finding and not a hanging test.
func (s *suite) inTime(c check) error {
	s.watch.begin()
	done := make(chan error, 1)
	s.options.Start(func() {
		returned := false
		var err error
		defer func() {
			if !returned {
				err = gone(s.watch.now())
			}
			done <- err
		}()
		// The error of the check comes first. A panic outside the machine's methods is one of the factory, of Options or a bug here.
		if caught := guard("", func() { err = c.run(s) }); err == nil && caught != nil {
			err = fmt.Errorf("a panic that is none of a method's, after %s: %w", s.watch.now(), caught)
		}
		returned = true
	})
	timer := time.NewTimer(s.options.Timeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return s.watch.late(s.options.Timeout)
	}
}
