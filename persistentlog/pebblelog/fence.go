package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
)

// retryPause slows down what Pebble tries again and again after the fence.
const retryPause = 20 * time.Millisecond

// fence is the store's, with what Pebble needs of it.
type fence struct {
	*storedir.Fence
	logger  *slog.Logger
	closing chan struct{} // closed by Close: nobody is slowed down any more
}

func newFence(logger *slog.Logger) *fence {
	return &fence{Fence: storeKind.NewFence(logger), logger: logger, closing: make(chan struct{})}
}

// reason returns why a call failed: err, or the failure of the disk that put the fence up where err is only what Pebble made of it.
// Told that all went well, Pebble misses what was never written, and calls that damage. Damage that put the fence up itself stays what
// it is, with the place that err names.
func (f *fence) reason(err error) error {
	fenced := f.Check()
	if err == nil || fenced == nil || errors.Is(fenced, persistentlog.ErrDamaged) {
		return err
	}
	return fenced
}

// background is Pebble's report that a flush or a compaction failed. It would be tried again, but a disk that failed once
// is not believed again, and a table that does not read is damage that must not wait to be met by a restart.
func (f *fence) background(err error) {
	f.Fail("background work", "", mapPebbleError(err))
}

// corruption is Pebble's report that it met damage, by whichever read that was. It comes before the reader has its error.
func (f *fence) corruption(info pebble.DataCorruptionInfo) {
	f.Fail("read", info.Path, fmt.Errorf("%w: %w", persistentlog.ErrDamaged, info.Details))
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
	p.fence.Fail("pebble", "", newFatal(format, args))
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
