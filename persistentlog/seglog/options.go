package seglog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
)

// Options tune a store. The zero value means the defaults.
type Options struct {
	// SegmentBytes is how long a segment is. A save that does not fit into one gets a longer one. Default 64 MiB, at least
	// 64 KiB, at most 1 GiB.
	SegmentBytes int
	// PrepareSegments is how many segments are kept ready, written with zeros, so that a sync has no growth of the file to
	// record. Zero means one where FS is nil, and none where FS is given; a negative value turns it off. Used ones that are
	// ready for another life count.
	PrepareSegments int
	// CloseTimeout bounds Close when the disk hangs. Default 10 s.
	CloseTimeout time.Duration
	// Logger receives what the store has to say about itself. Default: nothing is logged.
	Logger *slog.Logger
	// FS is the file system; nil means the operating system's. For tests and simulated disks.
	FS vfs.FS
	// Random gives the salts of segments; nil means the operating system's randomness. For simulations.
	Random io.Reader
	// Now is the clock by which the witness is synced; nil means time.Now. For simulations.
	Now func() time.Time
}

const (
	segmentBytesDefault = 64 << 20
	segmentBytesMin     = 64 << 10
	segmentBytesMax     = 1 << 30
	prepareSegmentsMax  = 16
	closeTimeoutDefault = 10 * time.Second
)

// withDefaults returns o with every zero replaced.
func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = segmentBytesDefault
	}
	if o.PrepareSegments == 0 && o.FS == nil {
		o.PrepareSegments = 1
	}
	o.PrepareSegments = max(o.PrepareSegments, 0)
	if o.CloseTimeout == 0 {
		o.CloseTimeout = closeTimeoutDefault
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = storedir.PrivateFS(vfs.Default)
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Validate reports every setting that cannot be, with its bounds.
func (o Options) Validate() error {
	var errs []error
	if n := o.SegmentBytes; n != 0 && (n < segmentBytesMin || n > segmentBytesMax) {
		errs = append(errs, fmt.Errorf("seglog: SegmentBytes is %d, must be from %d to %d", n, segmentBytesMin, segmentBytesMax))
	}
	if o.PrepareSegments > prepareSegmentsMax {
		errs = append(errs, fmt.Errorf("seglog: PrepareSegments is %d, must be at most %d", o.PrepareSegments, prepareSegmentsMax))
	}
	if o.CloseTimeout < 0 {
		errs = append(errs, fmt.Errorf("seglog: CloseTimeout is %s, must not be negative", o.CloseTimeout))
	}
	return errors.Join(errs...)
}
