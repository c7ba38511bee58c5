package pebblelog

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/persistentlog"
)

// retryPause slows down what Pebble tries again and again after the fence.
const retryPause = 20 * time.Millisecond

// fence remembers the first failure of a store, for good. After it nothing may reach the disk and nothing may be
// reported as durable: what a failed fsync left in the kernel's cache is unknown, and a second fsync that succeeds proves
// nothing (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
//
// It may be used by any goroutine.
type fence struct {
	logger  *slog.Logger
	down    atomic.Bool
	closing chan struct{} // closed by Close: nobody is slowed down any more

	mu       sync.Mutex
	cause    error
	inFlight []*operation
}

// operation is a call into the file system that has not returned.
type operation struct {
	name, path string
	since      time.Time
}

func newFence(logger *slog.Logger) *fence {
	return &fence{logger: logger, closing: make(chan struct{})}
}

// fail puts the fence up. Only the first failure counts.
func (f *fence) fail(op, path string, err error) {
	f.mu.Lock()
	first := f.cause == nil
	if first {
		f.cause = fmt.Errorf("%s %s: %w", op, path, err)
		f.down.Store(true)
	}
	f.mu.Unlock()
	if first {
		f.logger.Error("pebblelog: store fenced", "op", op, "path", path, "error", err)
	}
}

// check returns an error that matches ErrFenced and the first failure, or nil.
func (f *fence) check() error {
	if !f.down.Load() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Errorf("%w: %w (the store takes nothing more; look at the disk, then start the server again)",
		persistentlog.ErrFenced, f.cause)
}

// background is Pebble's report that a flush or a compaction failed. It would be tried again, but a disk that failed once
// is not believed again, and a table that does not read is damage that must not wait to be met by a restart.
func (f *fence) background(err error) {
	f.fail("background work", "", mapPebbleError(err))
}

// pause holds up a caller that would try again without end.
func (f *fence) pause() {
	timer := time.NewTimer(retryPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.closing:
	}
}

// begin notes that a call into the file system is under way; end takes the note away.
func (f *fence) begin(op, path string) *operation {
	o := &operation{name: op, path: path, since: time.Now()}
	f.mu.Lock()
	f.inFlight = append(f.inFlight, o)
	f.mu.Unlock()
	return o
}

func (f *fence) end(o *operation) {
	f.mu.Lock()
	if at := slices.Index(f.inFlight, o); at >= 0 {
		f.inFlight = slices.Delete(f.inFlight, at, at+1)
	}
	f.mu.Unlock()
}

// stuck names the calls that have not come back from the kernel.
func (f *fence) stuck() string {
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

// pebbleLogger is where Pebble talks. What it calls fatal puts the fence up instead of ending the process; what Pebble
// does after such a call is of no consequence, because nothing of it reaches the disk or a caller of Save.
type pebbleLogger struct {
	fence  *fence
	logger *slog.Logger
}

func (p *pebbleLogger) Infof(format string, args ...any) {
	if p.logger.Enabled(context.Background(), slog.LevelDebug) {
		p.logger.Debug("pebble: " + fmt.Sprintf(format, args...))
	}
}

func (p *pebbleLogger) Errorf(format string, args ...any) {
	p.logger.Error("pebble: " + fmt.Sprintf(format, args...))
}

func (p *pebbleLogger) Fatalf(format string, args ...any) {
	p.fence.fail("pebble", "", newFatal(format, args))
}

// fatal is what Pebble said when it gave up: the first line of it, because stack traces follow, and the error behind it.
type fatal struct {
	text  string
	cause error // nil: none was given
}

func newFatal(format string, args []any) fatal {
	text, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n")
	f := fatal{text: text}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			f.cause = mapPebbleError(err)
		}
	}
	return f
}

func (f fatal) Error() string { return f.text }
func (f fatal) Unwrap() error { return f.cause }
