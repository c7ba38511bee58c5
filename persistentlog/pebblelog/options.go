package pebblelog

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
)

// Options tune a store. The zero value means the defaults.
type Options struct {
	// MemtableBytes is how much is written before it is flushed from memory into tables; two such memtables may exist at
	// once. What is compacted before it is flushed never reaches a table. Default 64 MiB, at least 1 MiB, at most 1 GiB.
	MemtableBytes int
	// CacheBytes bounds the cache of table blocks, which serves followers that lag. Default 8 MiB, at least 1 MiB.
	CacheBytes int
	// OpenFilesMax bounds the table files that are held open. Default 256, at least 16.
	OpenFilesMax int
	// CloseTimeout bounds Close when the disk hangs. Default 10 s.
	CloseTimeout time.Duration
	// WALPrepareBytes is how much of a new write-ahead log is written with zeros before it is used, so that a sync has
	// no growth of the file to record. Zero means an eighth more than MemtableBytes where FS is nil, and nothing where FS
	// is given; a negative value turns it off.
	WALPrepareBytes int
	// Logger receives what Pebble reports about itself, at debug level, and its errors. Default: nothing is logged.
	Logger *slog.Logger
	// FS is the file system; nil means the operating system's. For tests and simulated disks.
	FS vfs.FS
}

const (
	memtableBytesDefault = 64 << 20
	memtableBytesMin     = 1 << 20
	memtableBytesMax     = 1 << 30
	cacheBytesDefault    = 8 << 20
	cacheBytesMin        = 1 << 20
	cacheBytesMax        = min(1<<40, math.MaxInt/2) // of an address space, on 32 bits
	walPrepareBytesMax   = min(2*memtableBytesMax, math.MaxInt)
	openFilesDefault     = 256
	openFilesMin         = 16
	closeTimeoutDefault  = 10 * time.Second
)

// withDefaults returns o with every zero replaced.
func (o Options) withDefaults() Options {
	o.MemtableBytes = orDefault(o.MemtableBytes, memtableBytesDefault)
	o.CacheBytes = orDefault(o.CacheBytes, cacheBytesDefault)
	o.OpenFilesMax = orDefault(o.OpenFilesMax, openFilesDefault)
	if o.CloseTimeout == 0 {
		o.CloseTimeout = closeTimeoutDefault
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.WALPrepareBytes == 0 && o.FS == nil {
		o.WALPrepareBytes = o.MemtableBytes + o.MemtableBytes/8
	}
	o.WALPrepareBytes = max(o.WALPrepareBytes, 0)
	if o.FS == nil {
		o.FS = storedir.PrivateFS(vfs.Default)
	}
	return o
}

func orDefault(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}

// Validate reports every setting that cannot be, with its bounds.
func (o Options) Validate() error {
	var errs []error
	within := func(name string, value, low, high int) {
		if value != 0 && (value < low || value > high) {
			errs = append(errs, fmt.Errorf("pebblelog: %s is %d, must be from %d to %d", name, value, low, high))
		}
	}
	within("MemtableBytes", o.MemtableBytes, memtableBytesMin, memtableBytesMax)
	within("CacheBytes", o.CacheBytes, cacheBytesMin, cacheBytesMax)
	within("OpenFilesMax", o.OpenFilesMax, openFilesMin, 1<<20)
	if o.CloseTimeout < 0 {
		errs = append(errs, fmt.Errorf("pebblelog: CloseTimeout is %s, must not be negative", o.CloseTimeout))
	}
	if o.WALPrepareBytes > walPrepareBytesMax {
		errs = append(errs, fmt.Errorf("pebblelog: WALPrepareBytes is %d, must be at most %d", o.WALPrepareBytes, walPrepareBytesMax))
	}
	return errors.Join(errs...)
}

// pebbleOptions is how Pebble is asked to work for a log: large memtables, tables that follow one another without
// overlap, no compression (most of what is logged is gone before it would be read again), and room in level 0, so that
// a burst does not stall a Save.
func (o Options) pebbleOptions(fs vfs.FS, f *fence) *pebble.Options {
	p := &pebble.Options{
		FS:                          fs,
		FormatMajorVersion:          pebble.FormatNewest,
		CacheSize:                   int64(o.CacheBytes),
		MemTableSize:                uint64(o.MemtableBytes),
		MemTableStopWritesThreshold: 2,
		MaxOpenFiles:                o.OpenFilesMax,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       48,
		LBaseMaxBytes:               4 * int64(o.MemtableBytes),
		FlushSplitBytes:             16 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Merger:                      savesMerger,
		Logger:                      &pebbleLogger{fence: f, logger: o.Logger},
		EventListener:               &pebble.EventListener{BackgroundError: f.background, DataCorruption: f.corruption},
	}
	p.Experimental.CompactionScheduler = &scheduler{fence: f}
	for i := range p.TargetFileSizes {
		p.TargetFileSizes[i] = 16 << 20
	}
	for i := range p.Levels {
		// Small: when a table's block does not read, Pebble looks for a single flipped bit by trying all of them.
		p.Levels[i].BlockSize = 4 << 10
	}
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	return p
}
