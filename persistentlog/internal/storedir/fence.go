package storedir

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/persistentlog"
)

// Fence remembers the first failure of a store, for good. After it nothing may reach the disk and nothing may be
// reported as durable: what a failed fsync left in the kernel's cache is unknown, and a second fsync that succeeds proves
// nothing (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
//
// It may be used by any goroutine.
type Fence struct {
	name   string
	logger *slog.Logger
	down   atomic.Bool

	mu       sync.Mutex
	cause    error
	inFlight []*Operation
}

// Operation is a call into the file system that has not returned.
type Operation struct {
	name, path string
	since      time.Time
}

// NewFence returns the fence of a store that has not failed.
func (k Kind) NewFence(logger *slog.Logger) *Fence { return &Fence{name: k.Name, logger: logger} }

// Fail puts the fence up. Only the first failure counts.
func (f *Fence) Fail(op, path string, err error) {
	f.mu.Lock()
	first := f.cause == nil
	if first {
		f.cause = fmt.Errorf("%s %s: %w", op, path, err)
		f.down.Store(true)
	}
	f.mu.Unlock()
	if first {
		f.logger.Error(f.name+": store fenced", "op", op, "path", path, "error", err)
	}
}

// Down reports whether the store has failed.
func (f *Fence) Down() bool { return f.down.Load() }

// Check returns an error that matches ErrFenced and the first failure, or nil.
func (f *Fence) Check() error {
	if !f.down.Load() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Errorf("%w: %w (the store takes nothing more; look at the disk, then start the server again)",
		persistentlog.ErrFenced, f.cause)
}

// Begin notes that a call into the file system is under way; End takes the note away.
func (f *Fence) Begin(op, path string) *Operation {
	o := &Operation{name: op, path: path, since: time.Now()}
	f.mu.Lock()
	f.inFlight = append(f.inFlight, o)
	f.mu.Unlock()
	return o
}

// End says that a call has come back.
func (f *Fence) End(o *Operation) {
	f.mu.Lock()
	if at := slices.Index(f.inFlight, o); at >= 0 {
		f.inFlight = slices.Delete(f.inFlight, at, at+1)
	}
	f.mu.Unlock()
}

// Do makes one call that changes something, unless the fence is up, and puts it up if the call fails. The error matches
// ErrFenced.
func (f *Fence) Do(op, path string, call func() error) error {
	if f.down.Load() {
		return f.Check()
	}
	o := f.Begin(op, path)
	err := call()
	f.End(o)
	if err != nil {
		f.Fail(op, path, err)
		return f.Check()
	}
	return nil
}

// Idle reports that no call into the file system is under way.
func (f *Fence) Idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.inFlight) == 0
}

// Stuck names the calls that have not come back from the kernel.
func (f *Fence) Stuck() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.inFlight) == 0 {
		return "no call into the file system is under way"
	}
	var names []string
	for _, o := range f.inFlight {
		names = append(names, fmt.Sprintf("%s %s for %s", o.name, o.path, time.Since(o.since).Round(time.Millisecond)))
	}
	return strings.Join(names, "; ")
}

// WithTimeout runs shut, which closes a store, and returns when it is done or after a time, with the calls that have not come
// back by then.
func (f *Fence) WithTimeout(dir string, timeout time.Duration, shut func() error) error {
	done := make(chan error, 1)
	go func() { done <- shut() }()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%s: close %s: not done after %s: %s", f.name, dir, timeout, f.Stuck())
	}
}

// Closed makes the error of a Close that failed.
func (f *Fence) Closed(dir string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: close %s: %w", f.name, dir, err)
	}
	return nil
}
