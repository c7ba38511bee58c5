package pebblelog

import (
	"errors"
	"io/fs"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
)

const (
	// spareName is the prepared file; Pebble takes no notice of names that it does not know.
	spareName = "wal-spare"
	// spareUnfinished is one that is still being written.
	spareUnfinished = "wal-spare.tmp"
)

// spare keeps one file of zeros, written and synced, ready to become the next file of the write-ahead log. A sync of a
// file that grows has to record its new length and the blocks it got, preallocated or not; a sync within written blocks
// only writes the data (on an idle ext4, at the median: 153 µs and 82 µs for 500 bytes). Pebble uses its old files again for the same reason, but it
// starts with none, and with small ones.
type spare struct {
	fs      *fenceFS
	dir     string
	bytes   int64
	work    chan struct{} // one slot: a file is wanted
	done    chan struct{} // closed when the goroutine has ended
	stop    chan struct{}
	stopped sync.Once

	mu    sync.Mutex
	ready bool
}

// startSpare looks for a spare that an earlier run left in dir and starts the goroutine that makes new ones.
func startSpare(f *fenceFS, dir string, bytes int64) *spare {
	s := &spare{
		fs: f, dir: dir, bytes: bytes,
		work: make(chan struct{}, 1), done: make(chan struct{}), stop: make(chan struct{}),
	}
	if info, err := f.FS.Stat(f.PathJoin(dir, spareName)); err == nil && info.Size() >= bytes {
		s.ready = true
	} else {
		s.work <- struct{}{}
	}
	go s.run()
	return s
}

func (s *spare) run() {
	defer close(s.done)
	for {
		select {
		case <-s.stop:
			return
		case <-s.work:
			if err := s.make(); err != nil {
				select {
				case <-s.stop:
					return // closed meanwhile
				default:
				}
				// Not a failure of the store: it goes on with files that grow, only slower. A full disk must not fence it.
				s.fs.fence.logger.Warn("pebblelog: no file prepared for the write-ahead log", "dir", s.dir, "error", err)
				continue
			}
			s.mu.Lock()
			s.ready = true
			s.mu.Unlock()
		}
	}
}

// make writes a spare. It goes past the fence's bookkeeping on purpose: until the spare is renamed by take it is nobody's.
func (s *spare) make() (err error) {
	inner := s.fs.FS
	path := inner.PathJoin(s.dir, spareUnfinished)
	if s.fs.fence.Down() {
		return s.fs.fence.Check()
	}
	if err := storedir.WriteZeros(inner, path, s.bytes, s.stop); err != nil {
		return err
	}
	return inner.Rename(path, inner.PathJoin(s.dir, spareName))
}

// take gives the spare the name and opens it for writing at its start. ok is false if there is none. Pebble syncs the
// directory before it uses the file.
func (s *spare) take(name string) (file vfs.File, ok bool) {
	if s == nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		return nil, false
	}
	s.ready = false
	inner := s.fs.FS
	file, err := inner.ReuseForWrite(inner.PathJoin(s.dir, spareName), name, walCategory)
	if err != nil {
		// Nothing is lost yet: a plain file is created in its place, and if that fails too the fence goes up.
		s.fs.fence.logger.Warn("pebblelog: prepared file not usable", "dir", s.dir, "error", err)
		if removed := inner.Remove(name); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
			s.fs.fence.logger.Warn("pebblelog: prepared file not removed", "path", name, "error", removed)
		}
	}
	select {
	case s.work <- struct{}{}:
	default:
	}
	return file, err == nil
}

// longerThan reports whether a spare is ready and longer than size.
func (s *spare) longerThan(size int64) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready && s.bytes > size
}

// close ends the goroutine. What it was writing is left behind and overwritten by the next run.
func (s *spare) close() {
	if s == nil {
		return
	}
	s.stopped.Do(func() { close(s.stop) })
	<-s.done
}
