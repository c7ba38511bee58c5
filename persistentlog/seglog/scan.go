package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog"
)

const scanBytes = 1 << 20

// scan reads batches of a segment, one behind the other.
type scan struct {
	file vfs.File
	salt uint64
	size int64 // of the file
	at   int64 // where the next batch begins

	buf   []byte // bytes of the file from bufAt on
	bufAt int64
}

func newScan(file vfs.File, salt uint64, at int64) (*scan, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return &scan{file: file, salt: salt, size: info.Size(), at: at}, nil
}

// bytes returns n bytes from offset at on, fewer at the file's end. They are valid until the next call.
func (s *scan) bytes(at int64, n int) ([]byte, error) {
	n = int(max(min(int64(n), s.size-at), 0))
	if at < s.bufAt || at+int64(n) > s.bufAt+int64(len(s.buf)) {
		want := int(min(int64(max(n, scanBytes)), s.size-at))
		if cap(s.buf) < want {
			s.buf = make([]byte, want)
		}
		s.buf, s.bufAt = s.buf[:max(want, 0)], at
		if got, err := s.file.ReadAt(s.buf, at); got < len(s.buf) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	from := int(at - s.bufAt)
	return s.buf[from : from+n], nil
}

// next reads the batch at the current place and goes behind it. The error is errNoBatch if none stands there, or matches
// errBadBatch, or is one of the disk. raw is the batch as it stands, valid until the next call.
func (s *scan) next() (b batch, raw []byte, err error) {
	head, err := s.bytes(s.at, batchHeaderSize)
	if err != nil {
		return batch{}, nil, err
	}
	size, err := batchSize(head, s.salt)
	if err != nil || int64(size) > s.size-s.at {
		return batch{}, nil, errNoBatch
	}
	if raw, err = s.bytes(s.at, size); err != nil {
		return batch{}, nil, err
	}
	if b, err = parseBatch(raw, s.salt, s.at); err != nil {
		return batch{}, nil, err
	}
	s.at += int64(size)
	return b, raw, nil
}

// follower looks behind the current place, where no batch reads, for anything that was written later: the header of a batch
// with the segment's salt, whatever else of it reads. A batch is written only when the one before it has been synced. The salt
// is random, so nothing else can look like it: no earlier life of the file, and no command of a client.
func (s *scan) follower() (at int64, found bool, err error) {
	salt := binary.BigEndian.AppendUint64(nil, s.salt)
	const saltAt = 8
	for from := s.at + batchAlign + saltAt; from < s.size; {
		b, err := s.bytes(from, scanBytes)
		if err != nil {
			return 0, false, err
		}
		for skip := 0; ; {
			n := bytes.Index(b[skip:], salt)
			if n < 0 {
				break
			}
			skip += n
			if at := from + int64(skip) - saltAt; at%batchAlign == 0 {
				return at, true, nil
			}
			skip++
		}
		if len(b) <= len(salt) {
			break
		}
		from += int64(len(b) - len(salt) + 1)
	}
	return 0, false, nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func isTooShort(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// readHeader reads the header of a segment and checks that it is what the file's name and the store say. What does not
// read, or belongs to another segment, is errNoHeader: the file is of no segment yet, or damaged.
func (l *Log) readHeader(seg *segment) (h header, err error) {
	file, err := seg.reader(l.fs)
	if err != nil {
		return h, fmt.Errorf("seglog: %s: %w", seg.path, err)
	}
	b := make([]byte, headerSize)
	if _, err := file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return h, fmt.Errorf("seglog: %s: %w", seg.path, err)
	}
	if h, err = parseHeader(b); errors.Is(err, persistentlog.ErrFormatVersion) {
		return h, fmt.Errorf("seglog: %s: %w", seg.path, err)
	} else if err != nil {
		return h, fmt.Errorf("%w: %w", errNoHeader, err)
	}
	if h.number != seg.number || h.store != l.identity.Store {
		return h, fmt.Errorf("%w: it is segment %d of store %s", errNoHeader, h.number, h.store)
	}
	seg.salt = h.salt
	return h, nil
}

var errNoHeader = errors.New("no header of this segment")
