package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/raft"
)

// storeKind is what tells this log's directories from those of other logs.
var storeKind = storedir.Kind{Name: "seglog", Title: "oarlock segments", Version: FormatVersion}

// Log is an open store. It is a persistentlog.PersistentLog; the goroutine rules stand there.
type Log struct {
	dir, segments string // the store's directory, and that of its segments
	options       Options
	identity      persistentlog.Identity
	fence         *storedir.Fence
	fs            vfs.FS
	lock          io.Closer
	witness       *storedir.Witness
	lost          bool // acknowledged saves are missing at the end, now or at an earlier start
	spares        *spares
	spineOf       func(raft.GroupID) *persistentlog.Spine // with mu held

	number     atomic.Uint64 // of the newest durable save
	saves      atomic.Uint64
	syncs      atomic.Uint64
	savedBytes atomic.Uint64
	movedBytes atomic.Uint64
	readBytes  atomic.Uint64
	closed     atomic.Bool
	ready      bool // Open succeeded

	// writer is held by whoever writes a batch, from its first item until it is durable and in force. It is taken before mu.
	writer sync.Mutex
	out    out
	clean  cleaner

	// mu guards what readers see: the groups as the durable saves left them, with what Compact has dropped since. It is
	// never held across a call into the file system.
	mu     sync.Mutex
	groups map[raft.GroupID]*group
	files  []*segment     // by number; the last one is written to
	noted  []raft.GroupID // compacted, and no batch says so yet
}

var _ persistentlog.PersistentLog = (*Log)(nil)

// group is what is kept in memory of a group.
type group struct {
	spine *persistentlog.Spine
	index index
	noted bool // it is among the log's noted ones
}

// Format makes a store of the directory, which must not exist or be empty, and gives it its identity, once and for ever. A store id
// of zero stands for a random one. It is the only way to get a store: Open never makes one, so a disk that was not
// mounted is not taken for a new server.
//
// The error matches ErrFormatted if there is a store already and ErrInUse if another process is at it. A Format that was
// interrupted left no store behind and can be repeated.
func Format(dir string, identity persistentlog.Identity, options Options) (err error) {
	if err := options.Validate(); err != nil {
		return err
	}
	options = options.withDefaults()
	if identity, err = storeKind.NewIdentity(identity); err != nil {
		return err
	}
	if err := storeKind.Claim(options.FS, dir, segmentsName, storedir.WitnessName); err != nil {
		return err
	}
	lock, err := storeKind.Lock(options.FS, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := fill(dir, identity, options); err != nil {
		return fmt.Errorf("seglog: format %s: %w", dir, err)
	}
	return nil
}

// fill writes the store. The name identity appears last: a directory without it is not a store.
func fill(dir string, identity persistentlog.Identity, options Options) (err error) {
	f := options.FS
	if err := storedir.WriteFile(f, dir, storedir.IdentityUnfinished, storeKind.EncodeIdentity(identity)); err != nil {
		return err
	}
	segments := f.PathJoin(dir, segmentsName)
	if err := f.RemoveAll(segments); err != nil && !isNotExist(err) {
		return err
	}
	if err := f.MkdirAll(segments, storedir.DirMode); err != nil {
		return err
	}
	if err := storedir.SyncDir(f, dir); err != nil {
		return err
	}
	salt, err := drawSalt(options.Random)
	if err != nil {
		return err
	}
	seg := &segment{number: 1, salt: salt, path: f.PathJoin(segments, segmentName(1))}
	if options.PrepareSegments > 0 {
		if err := storedir.WriteZeros(f, seg.path, int64(options.SegmentBytes), nil); err != nil {
			return err
		}
	}
	if err := seg.openWrite(f); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, seg.close()) }()
	b := make([]byte, headerSize)
	header{number: 1, salt: salt, store: identity.Store}.put(b)
	b = beginBatch(b)
	sum := sealBatch(b[headerSize:], salt, headerSize, 1, batchCheckpoint, 0)
	if _, err := seg.file.WriteAt(b, 0); err != nil {
		return err
	}
	if err := seg.file.Sync(); err != nil {
		return err
	}
	if err := storedir.SyncDir(f, segments); err != nil {
		return err
	}
	if err := storedir.CreateWitness(f, dir, identity.Store, 1, sum); err != nil {
		return err
	}
	return storedir.Finish(f, dir)
}

func drawSalt(random io.Reader) (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return 0, fmt.Errorf("salt of a segment: %w", err)
	}
	return binary.BigEndian.Uint64(b[:]) | 1, nil // never zero, which is what an unused file holds
}

// Open opens a formatted store. The error matches ErrNotFormatted, ErrFormatVersion, ErrInUse (with the id of the process
// that has it, where the system tells), ErrTailLost or ErrDamaged where it is one of these. A log of which only the end is missing opens, and
// every group in it is Lost (persistentlog.State).
func Open(dir string, options Options) (_ *Log, err error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	private := options.FS == nil
	options = options.withDefaults()
	l := &Log{
		dir: dir, segments: options.FS.PathJoin(dir, segmentsName), options: options, fs: options.FS,
		fence: storeKind.NewFence(options.Logger), groups: make(map[raft.GroupID]*group),
	}
	l.spineOf = func(id raft.GroupID) *persistentlog.Spine {
		if g := l.groups[id]; g != nil {
			return g.spine
		}
		return nil
	}
	if err := storeKind.CheckFormatted(l.fs, dir); err != nil {
		return nil, err
	}
	if private {
		if err := storeKind.CheckModes(dir, options.Logger); err != nil {
			return nil, err
		}
	}
	if l.lock, err = storeKind.Lock(l.fs, dir); err != nil {
		return nil, err
	}
	if err := l.open(); err != nil {
		l.closed.Store(true)
		return nil, errors.Join(err, l.release())
	}
	l.ready = true
	return l, nil
}

// open does what needs the lock. What it has opened is released by its caller if it fails.
func (l *Log) open() (err error) {
	if l.identity, _, err = storeKind.ReadIdentity(l.fs, l.dir); err != nil {
		return err
	}
	if l.witness, err = storeKind.OpenWitness(l.fs, l.dir, l.identity.Store, l.options.Now); err != nil {
		return err
	}
	l.writer.Lock()
	defer l.writer.Unlock()
	return l.recover()
}

// Identity returns who the store is.
func (l *Log) Identity() (persistentlog.Identity, error) { return l.identity, nil }

// SaveNumber returns the number of the newest save that is durable. It rises with every save and no number is ever given to
// two saves of a store.
func (l *Log) SaveNumber() uint64 { return l.number.Load() }

// Close writes what Compact noted and syncs the witness. It returns within Options.CloseTimeout: if the disk hangs until then,
// the error names the calls that have not come back, and their goroutines stay behind with what they hold. A second Close
// does nothing.
func (l *Log) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	return l.release()
}

func (l *Log) release() error { return l.fence.WithTimeout(l.dir, l.options.CloseTimeout, l.shut) }

func (l *Log) shut() error {
	l.writer.Lock()
	defer l.writer.Unlock()
	whole := l.ready && !l.fence.Down()
	if whole && len(l.noted) > 0 {
		// An error is the fence's, which is asked below.
		_ = l.write(nil)
	}
	l.spares.close()
	var errs []error
	for _, seg := range l.files {
		errs = append(errs, seg.close())
	}
	if l.witness != nil {
		o := l.fence.Begin("close", l.witness.Path())
		errs = append(errs, l.witness.Close(whole && !l.fence.Down()))
		l.fence.End(o)
	}
	errs = append(errs, l.lock.Close())
	if whole {
		errs = append(errs, l.fence.Check())
	}
	return l.fence.Closed(l.dir, errors.Join(errs...))
}

// usable returns the reason why nothing can be done any more.
func (l *Log) usable() error {
	if l.closed.Load() {
		return fmt.Errorf("%w: %s", persistentlog.ErrClosed, l.dir)
	}
	return l.fence.Check()
}

// damaged makes an ErrDamaged that names the directory and the way out.
func (l *Log) damaged(format string, args ...any) error {
	return storedir.Damaged(l.segments, 0, 0, format, args...)
}
