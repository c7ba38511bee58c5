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

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oarlock/oarlock/persistentlog"
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
	formatted, err := exists(l.fs, l.fs.PathJoin(dir, identityName))
	if err != nil {
		return nil, fmt.Errorf("pebblelog: open %s: %w", dir, err)
	}
	if !formatted {
		return nil, fmt.Errorf("%w: %s (a new cluster's server begins with init, one that is added to a cluster with join; "+
			"if the store was there before, see that its disk is mounted)", persistentlog.ErrNotFormatted, dir)
	}
	if private {
		if err := checkModes(dir, options.Logger); err != nil {
			return nil, err
		}
	}
	if l.lock, err = lockDir(l.fs, dir, options.FS); err != nil {
		return nil, err
	}
	if err := l.open(); err != nil {
		l.closed.Store(true)
		close(fence.closing)
		return nil, errors.Join(err, l.release())
	}
	l.ready = true
	return l, nil
}

// open does what needs the lock. What it has opened is released by its caller if it fails.
func (l *Log) open() error {
	text, err := readSmallFile(l.fs, l.fs.PathJoin(l.dir, identityName))
	if err == nil {
		l.identity, err = decodeIdentity(text)
	}
	if err != nil {
		return fmt.Errorf("pebblelog: %s: %w", l.fs.PathJoin(l.dir, identityName), err)
	}
	path := l.fs.PathJoin(l.dir, pebbleName)
	if err := checkTail(l.fs, path); err != nil {
		return err
	}
	if l.options.WALPrepareBytes > 0 {
		l.fs.spare = startSpare(l.fs, path, int64(l.options.WALPrepareBytes))
	}
	if l.db, err = openPebble(path, l.options.pebbleOptions(l.fs, l.fence)); err != nil {
		return err
	}
	if err := l.fence.check(); err != nil {
		return err
	}
	l.batch = l.db.NewBatch(pebble.WithInitialSizeBytes(64<<10), pebble.WithMaxRetainedSizeBytes(8<<20))
	if err := l.checkStore(text); err != nil {
		return err
	}
	return l.writeOpened()
}

// checkStore compares the database with the identity file and reads the save number.
func (l *Log) checkStore(identity []byte) error {
	inside, err := l.read(makeKey(0, kindStore, 0))
	if err != nil {
		return err
	}
	if !bytes.Equal(inside, identity) {
		return l.damaged(0, 0, "the database belongs to another store than the identity file says")
	}
	record, err := l.read(makeKey(0, kindNumber, 0))
	if err != nil {
		return err
	}
	number, err := parseUint64(record)
	if err != nil {
		return l.damaged(0, 0, "save number: %w", err)
	}
	l.number.Store(number)
	return nil
}

// writeOpened writes an empty save, so that a store that cannot be written is known now and not at the first vote. It
// leaves out one number: that of a save that a crash may have torn off, which so is never used for another one.
func (l *Log) writeOpened() error {
	l.writer.Lock()
	defer l.writer.Unlock()
	return l.write(l.number.Load()+2, nil)
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

// lockedHere is how Pebble says that the lock is taken already in this process.
const lockedHere = "lock held by current process"

// lockDir takes the lock of the directory.
func lockDir(f *fenceFS, dir string, inner vfs.FS) (io.Closer, error) {
	path := f.PathJoin(dir, lockName)
	lock, err := inner.Lock(path)
	switch {
	case err == nil:
		return lock, nil
	case !isLocked(err):
		return nil, fmt.Errorf("pebblelog: %s cannot be written: %w", dir, err)
	}
	holder := "another process"
	if strings.Contains(err.Error(), lockedHere) {
		holder = "this process"
	} else if pid := lockHolder(path); pid != 0 {
		holder = fmt.Sprintf("process %d", pid)
	}
	return nil, fmt.Errorf("%w: %s has %s open: a directory serves one process, stop it first (%w)", persistentlog.ErrInUse, holder, dir, err)
}

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
		return damagedWayOut
	}
	return ""
}

// damagedWayOut ends every message about damage.
const damagedWayOut = " (keep the directory for inspection, format a new store in another one, and replace this server in its groups by it)"

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
	case pebble.IsCorruptionError(err), !refused && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", persistentlog.ErrDamaged, err)
	}
	return err
}

// damaged makes an ErrDamaged that names the group and the index, where there are any, the directory, and the way out.
func (l *Log) damaged(g raft.GroupID, index raft.Index, format string, args ...any) error {
	where := l.dir
	if g != 0 {
		where = fmt.Sprintf("group %d in %s", g, l.dir)
		if index != 0 {
			where = fmt.Sprintf("group %d index %d in %s", g, index, l.dir)
		}
	}
	return fmt.Errorf("%w: %s: %w%s", persistentlog.ErrDamaged, where, fmt.Errorf(format, args...), damagedWayOut)
}

// readError is an error of Pebble met while reading.
func (l *Log) readError(g raft.GroupID, index raft.Index, err error) error {
	mapped := mapPebbleError(err)
	if errors.Is(mapped, persistentlog.ErrDamaged) {
		return l.damaged(g, index, "%w", err)
	}
	return fmt.Errorf("pebblelog: group %d index %d in %s: %w", g, index, l.dir, err)
}
