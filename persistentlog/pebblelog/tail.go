package pebblelog

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
)

// Pebble's write-ahead log is a row of pieces of walBlockSize; no chunk crosses their borders. A record is one full chunk, or
// a first one, middle ones and a last one. A chunk begins with a masked CRC32C of all that follows the length (4 bytes), the
// length of its payload (2), its kind (1), the number of the log (4) and in the newest format how much was synced (8), all
// little endian.
const (
	walBlockSize    = 32 << 10
	walPlainHeader  = 11
	walSyncedHeader = 19

	walPlainFull, walPlainFirst, walPlainLast    = 5, 6, 8
	walSyncedFull, walSyncedFirst, walSyncedLast = 9, 10, 12
)

// Where a record of this store has its salt: behind Pebble's header of the batch (sequence number and count) and that of its first entry.
const (
	batchHeaderSize = 12
	logDataKind     = 3
	saltSize        = 4
	saltEnd         = batchHeaderSize + 2 + saltSize
)

// drawSalt returns what the batches of one life have in common and nobody else knows: a command of a client may hold bytes that
// look like a record of the write-ahead log, and with the salt they do not.
func drawSalt() (uint32, error) {
	var b [saltSize]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("pebblelog: salt: %w", err)
	}
	return binary.LittleEndian.Uint32(b[:]) | 1, nil
}

// saltIn returns the salt of a record of which the payload is the beginning; 0: it has none there.
func saltIn(payload []byte) uint32 {
	if len(payload) < saltEnd || payload[batchHeaderSize] != logDataKind || payload[batchHeaderSize+1] != saltSize {
		return 0
	}
	return binary.LittleEndian.Uint32(payload[batchHeaderSize+2:])
}

// checkTail looks at the end of the newest write-ahead log before Pebble does. Pebble takes a record that does not read
// for the end of the log, and drops all that follows, unless a later chunk in another piece of the file claims a synced
// length beyond it; and that length is counted without what was written in whole pieces. This store knows more: it writes a
// record only when every earlier one has been synced. So if any record of the store begins behind a place that does not read, what
// stood there had been promised. It is known by its salt: that of the records in front, otherwise the one that the witness has; 0 stands for
// one that nobody knows, and then any record counts. Only the last record cannot be judged so; docs/format.md says what that leaves open. (The
// mark of a closed log is no witness: Pebble writes it behind a very large record that is not synced yet.)
func checkTail(f vfs.FS, dir string, salt uint32) (err error) {
	name, number, err := newestWAL(f, dir)
	if err != nil || name == "" {
		return err
	}
	path := f.PathJoin(dir, name)
	file, err := f.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("pebblelog: %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	s := tailScan{number: uint32(number), salt: salt, broken: -1}
	piece := make([]byte, walBlockSize)
	for at := int64(0); ; at += walBlockSize {
		n, err := io.ReadFull(file, piece)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("pebblelog: %s: %w", path, err)
		}
		if begin, found := s.piece(piece[:n], at); found {
			return fmt.Errorf("%w: %s does not read at offset %d, and a record that was saved later begins at %d%s",
				persistentlog.ErrDamaged, path, s.broken, begin, storedir.DamagedWayOut)
		}
		if s.ended || n < walBlockSize {
			return nil
		}
	}
}

// newestWAL finds the write-ahead log with the highest number; the name is empty if there is none.
func newestWAL(f vfs.FS, dir string) (name string, number uint64, err error) {
	names, err := f.List(dir)
	if err != nil {
		return "", 0, fmt.Errorf("pebblelog: %s: %w", dir, mapPebbleError(err))
	}
	for _, n := range names {
		digits, ok := strings.CutSuffix(n, walSuffix)
		if !ok {
			continue
		}
		if v, err := strconv.ParseUint(digits, 10, 64); err == nil && (name == "" || v > number) {
			name, number = n, v
		}
	}
	return name, number, nil
}

// tailScan walks over the pieces of one log.
type tailScan struct {
	number uint32
	salt   uint32 // 0: not known
	broken int64  // offset of the first place that does not read; -1: none yet
	ended  bool   // the log was closed here

	// A record that begins at the end of a piece, too short there to show its salt.
	begun   []byte
	begunAt int64
}

// piece looks at one piece of the file, which begins at offset. found says that a record begins (at begin) behind a place
// that does not read.
func (s *tailScan) piece(b []byte, offset int64) (begin int64, found bool) {
	at := 0
	for len(b)-at >= walPlainHeader {
		if s.broken < 0 && bytes.HasPrefix(b[at:], s.closed()) {
			s.ended = true
			return 0, false
		}
		c, ok := s.chunk(b[at:])
		if ok && s.follows(c, at, offset) {
			return s.begunAt, true
		}
		if !ok {
			s.begun = nil
			break
		}
		at += c.size
	}
	rest := b[at:]
	if len(b) == walBlockSize && len(rest) < walSyncedHeader && len(bytes.Trim(rest, "\x00")) == 0 {
		return 0, false // no header fits: filled up
	}
	if s.broken < 0 && len(rest) > 0 {
		s.broken = offset + int64(at)
	}
	if s.broken < 0 {
		return 0, false
	}
	return s.search(b, at, offset)
}

// follows takes a chunk, which stands at a place of the piece at offset. It reports whether a record of the store, which begins at
// begunAt, is known to be behind the place that does not read.
func (s *tailScan) follows(c chunk, at int, offset int64) bool {
	switch {
	case c.first:
		s.begun, s.begunAt = c.payload, offset+int64(at)
	case at == 0 && s.begun != nil:
		s.begun = append(s.begun[:len(s.begun):len(s.begun)], c.payload...)
	default:
		return false
	}
	salt := saltIn(s.begun)
	if len(s.begun) < saltEnd && at+c.size == walBlockSize {
		s.begun = bytes.Clone(s.begun) // it goes on in the next piece, in the same memory
	} else {
		s.begun = nil
	}
	if s.broken < 0 {
		if salt != 0 {
			s.salt = salt
		}
		return false
	}
	return c.first && s.salt == 0 || salt != 0 && salt == s.salt
}

// search tries every place behind a chunk that does not read: its length cannot be believed, so the next one may begin
// anywhere. The log's number, which each header carries, is what it looks for.
func (s *tailScan) search(b []byte, from int, offset int64) (begin int64, found bool) {
	number := binary.LittleEndian.AppendUint32(nil, s.number)
	for at := from; at+walPlainHeader <= len(b); at++ {
		next := bytes.Index(b[at+7:], number)
		if next < 0 {
			return 0, false
		}
		at += next
		if c, ok := s.chunk(b[at:]); ok && s.follows(c, at, offset) {
			return s.begunAt, true
		}
	}
	return 0, false
}

// chunk is a piece of a record, as it stands in the log.
type chunk struct {
	size    int    // with its header
	first   bool   // a record begins with it
	payload []byte // a part of the piece
}

// chunk reads the chunk at the start of b.
func (s *tailScan) chunk(b []byte) (c chunk, ok bool) {
	if len(b) < walPlainHeader {
		return chunk{}, false
	}
	header := 0
	switch kind := b[6]; {
	case kind >= walPlainFull && kind <= walPlainLast:
		header, c.first = walPlainHeader, kind <= walPlainFirst
	case kind >= walSyncedFull && kind <= walSyncedLast:
		header, c.first = walSyncedHeader, kind <= walSyncedFirst
	default:
		return chunk{}, false
	}
	c.size = header + int(binary.LittleEndian.Uint16(b[4:]))
	if c.size > len(b) || binary.LittleEndian.Uint32(b[7:]) != s.number {
		return chunk{}, false
	}
	crc := crc32.Checksum(b[6:c.size], castagnoli)
	if binary.LittleEndian.Uint32(b) != (crc>>15|crc<<17)+0xa282ead8 {
		return chunk{}, false
	}
	c.payload = b[header:c.size]
	return c, true
}

// closed is the mark at the end of a log that was closed: an empty chunk with the next log's number and no checksum.
func (s *tailScan) closed() []byte {
	return binary.LittleEndian.AppendUint32([]byte{6: walPlainFull}, s.number+1)
}
