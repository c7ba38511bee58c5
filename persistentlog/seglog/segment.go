package seglog

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	segmentsName     = "segments"
	segmentSuffix    = ".segment"
	spareSuffix      = ".spare"
	unfinishedSuffix = ".tmp"
)

// segment is one file of the log.
type segment struct {
	number uint64
	salt   uint64
	path   string
	begin  int64 // where its first batch behind the checkpoint begins; known of the newest one
	used   int64 // up to where batches stand

	// The log's mu guards these.
	live    int64 // bytes of blocks that the index points to
	count   int   // how many they are
	readers int   // calls that are reading it; it is not used again meanwhile

	opening sync.Mutex
	file    vfs.File // nil: not open
}

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, segmentSuffix) }

// parseSegmentName returns the number in a segment's name.
func parseSegmentName(name string) (number uint64, ok bool) {
	digits, is := strings.CutSuffix(name, segmentSuffix)
	if !is || len(digits) != 16 {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 16, 64)
	return number, err == nil && number > 0 && segmentName(number) == name
}

// reader returns the open file, which is for reading only unless the segment is the newest.
func (s *segment) reader(f vfs.FS) (vfs.File, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.file == nil {
		file, err := f.Open(s.path, vfs.RandomReadsOption)
		if err != nil {
			return nil, err
		}
		s.file = file
	}
	return s.file, nil
}

// openWrite opens the file for writing.
func (s *segment) openWrite(f vfs.FS) error {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.file != nil {
		if err := s.file.Close(); err != nil {
			return err
		}
		s.file = nil
	}
	file, err := f.OpenReadWrite(s.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	s.file = file
	return nil
}

func (s *segment) close() error {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file = nil
	return file.Close()
}
