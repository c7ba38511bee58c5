package pebblelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/raft"
)

// Log is an open store. It is a persistentlog.PersistentLog; the goroutine rules stand there.
type Log struct {
	dir      string
	options  Options
	identity persistentlog.Identity
	fence    *fence
	fs       *fenceFS
	db       *pebble.DB
	lock     io.Closer
	witness  *storedir.Witness // writer's
	salt     uint32            // of this life: every batch carries it in the write-ahead log; never 0
	lost     bool              // acknowledged saves are missing at the end, now or at an earlier start

	number     atomic.Uint64 // of the newest durable save
	saves      atomic.Uint64
	savedBytes atomic.Uint64
	readBytes  atomic.Uint64
	closed     atomic.Bool
	ready      bool // Open succeeded

	// writer is held by whoever writes a batch, from its first record until it is durable. It is taken before mu.
	writer sync.Mutex
	batch  *pebble.Batch // reused; writer's

	mu        sync.Mutex // never held across a call into Pebble that may wait for the disk
	groups    map[raft.GroupID]*group
	compacted map[raft.GroupID]compaction // noted by Compact, taken along by the next batch
}

var _ persistentlog.PersistentLog = (*Log)(nil)

// group is what is kept in memory of a group that was loaded or saved.
type group struct {
	spine *persistentlog.Spine // as it will be when the batch under way is durable
	has   uint64               // hasHard, hasBirth, hasSnapshot
}

// Open opens a formatted store. The error matches ErrNotFormatted, ErrFormatVersion, ErrInUse (with the id of the process
// that has it, where the system tells) or ErrDamaged where it is one of these.
func Open(dir string, options Options) (_ *Log, err error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	private := options.FS == nil
	options = options.withDefaults()
	fence := newFence(options.Logger)
	l := &Log{
		dir: dir, options: options, fence: fence, fs: newFenceFS(options.FS, fence),
		groups: make(map[raft.GroupID]*group), compacted: make(map[raft.GroupID]compaction),
	}
	if err := storeKind.CheckFormatted(l.fs, dir); err != nil {
		return nil, err
	}
	if private {
		if err := storeKind.CheckModes(dir, options.Logger); err != nil {
			return nil, err
		}
	}
	if l.lock, err = storeKind.Lock(options.FS, dir); err != nil {
		return nil, err
	}
	if err := l.open(); err != nil {
		l.closed.Store(true)
		close(fence.closing)
		return nil, errors.Join(fence.reason(err), l.release())
	}
	l.ready = true
	return l, nil
}

// open does what needs the lock. What it has opened is released by its caller if it fails.
func (l *Log) open() error {
	identity, text, err := storeKind.ReadIdentity(l.fs, l.dir)
	if err != nil {
		return err
	}
	l.identity = identity
	if l.witness, err = storeKind.OpenWitness(l.fs, l.dir, l.identity.Store, time.Now); err != nil {
		return err
	}
	_, before := l.witness.Newest()
	if l.salt, err = drawSalt(); err != nil {
		return err
	}
	path := l.fs.PathJoin(l.dir, pebbleName)
	if err := checkTail(l.fs, path, before); err != nil {
		return err
	}
	if l.options.WALPrepareBytes > 0 {
		l.fs.spare = startSpare(l.fs, path, int64(l.options.WALPrepareBytes))
	}
	l.fs.used = new(usedLogs)
	pebbleOptions := l.options.pebbleOptions(l.fs, l.fence)
	pebbleOptions.ErrorIfNotExists = true // a database whose beginning is gone is not begun anew
	if l.db, err = openPebble(path, pebbleOptions); err != nil {
		return err
	}
	if err := l.fence.Check(); err != nil {
		return err
	}
	l.batch = l.db.NewBatch(pebble.WithInitialSizeBytes(64<<10), pebble.WithMaxRetainedSizeBytes(8<<20))
	if err := l.checkStore(text); err != nil {
		return err
	}
	if err := l.askWitness(); err != nil {
		return err
	}
	if err := l.writeOpened(); err != nil {
		return err
	}
	return l.letGo()
}

// checkStore compares the database with the identity file, and sees that no save is missing up to the newest.
func (l *Log) checkStore(identity []byte) error {
	inside, err := l.read(makeKey(0, kindStore, 0))
	if err != nil {
		return err
	}
	if !bytes.Equal(inside, identity) {
		return l.damaged(0, 0, "the database belongs to another store than the identity file says")
	}
	record, err := l.read(makeKey(0, kindSaves, 0))
	if err != nil {
		return err
	}
	all, err := parseSaves(record)
	if err == nil {
		err = all.check()
	}
	if err != nil {
		return l.damaged(0, 0, "%w", err)
	}
	l.number.Store(all.number)
	return nil
}

// writeOpened writes an empty save, so that a store that cannot be written is known now and not at the first vote. It
// leaves out one number: that of a save that a crash may have torn off, which so is never used for another one. Both slots of the witness
// have this life's salt, durably, before anybody's bytes can stand behind it.
func (l *Log) writeOpened() error {
	l.writer.Lock()
	defer l.writer.Unlock()
	seen, _ := l.witness.Newest() // lower than the log's own, unless that has lost its end
	number := max(l.number.Load(), seen) + 2
	if err := l.write(number, nil); err != nil {
		return err
	}
	if err := errors.Join(l.witness.Note(number, l.salt), l.witness.Sync()); err != nil {
		l.fence.Fail("note in", l.witness.Path(), err)
	}
	return l.fence.Check()
}

// askWitness compares the database with the witness. If the log's end is missing the store opens all the same, for every group to be told
// that it has lost what it had acknowledged.
func (l *Log) askWitness() error {
	lost, err := l.witness.Judge(l.dir, l.number.Load())
	if err != nil {
		l.fence.Fail("note in", l.witness.Path(), err)
		return err
	}
	if lost != nil {
		l.lost = true
		l.options.Logger.Error("the log has lost its end", "error", lost)
	}
	return nil
}

// read returns a small record that must be there, without its checksum.
func (l *Log) read(k key) (record []byte, err error) {
	value, closer, err := l.db.Get(k[:])
	if err != nil {
		g, kind, at, _ := parseKey(k[:])
		if errors.Is(err, pebble.ErrNotFound) {
			return nil, l.damaged(g, at, "record of kind %#x is missing", uint8(kind))
		}
		return nil, l.readError(g, at, err)
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	record, err = unseal(k[:], value)
	if err != nil {
		g, kind, at, _ := parseKey(k[:])
		return nil, l.damaged(g, at, "record of kind %#x: %w", uint8(kind), err)
	}
	return bytes.Clone(record), nil
}

// Identity returns who the store is.
func (l *Log) Identity() (persistentlog.Identity, error) { return l.identity, nil }

// SaveNumber returns the number of the newest save that is durable. It rises with every save and no number is ever given to
// two saves of a store.
func (l *Log) SaveNumber() uint64 { return l.number.Load() }

// openPebble opens the database. Damage makes Pebble panic in places; that is an error here.
func openPebble(path string, options *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s: pebble panicked: %v", persistentlog.ErrDamaged, path, r)
		}
	}()
	db, err = pebble.Open(path, options)
	if err != nil {
		return nil, fmt.Errorf("pebblelog: %s: %w%s", path, mapPebbleError(err), wayOut(err))
	}
	if s, ok := options.Experimental.CompactionScheduler.(*scheduler); ok {
		s.open()
	}
	return db, nil
}

func wayOut(err error) string {
	if errors.Is(mapPebbleError(err), persistentlog.ErrDamaged) {
		return storedir.DamagedWayOut
	}
	return ""
}

// mapPebbleError marks what Pebble calls corruption, and what it says of files that are missing or make no sense, as
// ErrDamaged. What the operating system refused stays what it is: no permission, no space and an I/O error may pass.
func mapPebbleError(err error) error {
	var errno syscall.Errno
	refused := errors.As(err, &errno) && !errors.Is(err, fs.ErrNotExist)
	switch {
	case errors.Is(err, persistentlog.ErrDamaged) || errors.Is(err, persistentlog.ErrFenced):
		return err
	case strings.Contains(err.Error(), "unknown format major version"):
		return fmt.Errorf("%w: %w", persistentlog.ErrFormatVersion, err)
	case pebble.IsCorruptionError(err), !refused && errors.Is(err, fs.ErrNotExist), unmarked(err):
		return fmt.Errorf("%w: %w", persistentlog.ErrDamaged, err)
	}
	return err
}

// unmarked reports whether an error is one of a damaged database that Pebble does not mark as corruption.
func unmarked(err error) bool {
	var elsewhere pebble.ErrMissingWALRecoveryDir
	switch {
	case errors.Is(err, pebble.ErrDBDoesNotExist), errors.Is(err, pebble.ErrDBNotPristine): // the file that names the others is gone
	case errors.As(err, &elsewhere), strings.Contains(err.Error(), "name from file"): // what OPTIONS says was never written there
	case strings.Contains(err.Error(), "object size mismatch"): // a table that was cut
	default:
		return false
	}
	return true
}

// damaged makes an ErrDamaged that names the group and the index, where there are any, the directory, and the way out. Behind a fence it
// is the fence's error.
func (l *Log) damaged(g raft.GroupID, index raft.Index, format string, args ...any) error {
	return l.fence.reason(storedir.Damaged(l.dir, g, index, format, args...))
}

// readError is an error of Pebble met while reading.
func (l *Log) readError(g raft.GroupID, index raft.Index, err error) error {
	mapped := mapPebbleError(err)
	if errors.Is(mapped, persistentlog.ErrDamaged) {
		return l.damaged(g, index, "%w", err)
	}
	return l.fence.reason(fmt.Errorf("pebblelog: group %d index %d in %s: %w", g, index, l.dir, err))
}
