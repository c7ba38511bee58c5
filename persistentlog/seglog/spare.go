package seglog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
)

// sparesMax bounds how many used segments wait for another life.
const sparesMax = 2

// spares are files that will be segments: used ones, and, if it is wished, new ones of zeros. What stands in them is of no
// consequence, because a segment's salt is drawn when its life begins.
type spares struct {
	log  *Log
	want int
	work chan struct{} // one slot: one may be missing
	done chan struct{} // closed when the goroutine has ended
	stop chan struct{}
	once sync.Once

	mu    sync.Mutex
	names []string
	next  uint64 // in the name of the next one
}

// newSpares takes over what an earlier run left in the directory: ready ones. Others are removed.
func newSpares(l *Log, names []string) *spares {
	s := &spares{
		log: l, want: l.options.PrepareSegments,
		work: make(chan struct{}, 1), done: make(chan struct{}), stop: make(chan struct{}),
	}
	slices.Sort(names)
	for _, name := range names {
		var number uint64
		if _, err := fmt.Sscanf(name, "%d", &number); err == nil {
			s.next = max(s.next, number+1)
		}
		path := l.fs.PathJoin(l.segments, name)
		if strings.HasSuffix(name, spareSuffix) && len(s.names) < max(sparesMax, s.want) {
			if info, err := l.fs.Stat(path); err == nil && info.Size() >= int64(l.options.SegmentBytes) {
				s.names = append(s.names, path)
				continue
			}
		}
		l.remove(path)
	}
	if s.want == 0 {
		close(s.done)
		return s
	}
	go s.run()
	return s
}

// remove deletes a file that is of no use. That it does not go is no failure of the store: it is tried again at the next Open.
func (l *Log) remove(path string) {
	if err := l.fs.Remove(path); err != nil {
		l.options.Logger.Warn("seglog: file not removed", "path", path, "error", err)
	}
}

func (s *spares) run() {
	defer close(s.done)
	for {
		select {
		case <-s.stop:
			return
		case <-s.work:
		}
		for s.missing() {
			if err := s.make(); err != nil {
				if !errors.Is(err, storedir.ErrStopped) {
					// Not a failure of the store: it goes on with files that grow, only slower. A full disk must not fence it.
					s.log.options.Logger.Warn("seglog: no segment prepared", "dir", s.log.segments, "error", err)
				}
				break
			}
		}
	}
}

func (s *spares) missing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.names) < s.want
}

func (s *spares) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.log.fs.PathJoin(s.log.segments, fmt.Sprintf("%08d%s", s.next, spareSuffix))
}

func (s *spares) make() error {
	path := s.name()
	l := s.log
	if err := storedir.WriteZeros(l.fs, path+unfinishedSuffix, int64(l.options.SegmentBytes), s.stop); err != nil {
		return err
	}
	if err := l.fs.Rename(path+unfinishedSuffix, path); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, path)
	return nil
}

// give takes a segment that is not needed any more, under the fence. It is closed.
func (s *spares) give(seg *segment) error {
	l := s.log
	s.mu.Lock()
	full := len(s.names) >= max(sparesMax, s.want)
	s.mu.Unlock()
	if full || seg.used > 2*int64(l.options.SegmentBytes) {
		return l.fence.Do("remove", seg.path, func() error { return l.fs.Remove(seg.path) })
	}
	path := s.name()
	if err := l.fence.Do("rename", seg.path, func() error { return l.fs.Rename(seg.path, path) }); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, path)
	return nil
}

// wake has a new one made if too few are ready. It is called when the newest segment is half full: a store that is hardly
// written to needs none, and one that begins has better things to do with its disk.
func (s *spares) wake() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// take makes a spare the file of a new segment and opens it; without one the file is a new one that grows. The name is
// durable when it returns, and nothing was written to the file: after a crash it is seen to be of no segment yet.
func (s *spares) take(seg *segment) error {
	s.mu.Lock()
	from := ""
	if n := len(s.names); n > 0 {
		from = s.names[n-1]
		s.names = s.names[:n-1]
	}
	s.mu.Unlock()
	l := s.log
	if from == "" {
		file, err := l.fs.Create(seg.path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	} else if err := l.fs.Rename(from, seg.path); err != nil {
		return err
	}
	if err := storedir.SyncDir(l.fs, l.segments); err != nil {
		return err
	}
	return seg.openWrite(l.fs)
}

// close ends the goroutine. What it was writing is removed by the next run.
func (s *spares) close() {
	if s == nil {
		return
	}
	s.once.Do(func() { close(s.stop) })
	<-s.done
}
