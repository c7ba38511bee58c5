package kv

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/google/btree"

	"github.com/oarlock/oarlock/statemachine"
)

// A snapshot is a sequence of MessagePack values, and its first byte is its version:
//
//	1                           version
//	"oarlock.kv"                what it is (fixstr)
//	count                       of keys (uint 64)
//	[key, value, due] ...       count times, in key order (bin, bin, int); due 0 is never
//	checksum                    CRC32C of all bytes before it (uint 32)
const (
	snapshotVersion = 1
	snapshotName    = "oarlock.kv"
)

// ErrBadSnapshot: the stream is not a snapshot of this package, is damaged, or ends early. The state is as it was.
var ErrBadSnapshot = errors.New("kv: damaged snapshot")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot captures the state. It takes the same few hundred nanoseconds for any size: the tree is cloned, and nodes are
// copied by the commands that change them later.
func (m *Machine) Snapshot() (statemachine.Snapshot, error) {
	m.mu.Lock() // Clone changes its receiver, which queries may be reading.
	defer m.mu.Unlock()
	return &snapshot{items: m.state.items.Clone()}, nil
}

type snapshot struct {
	items *btree.BTreeG[item]
}

// Close lets go of the captured state.
func (s *snapshot) Close() error {
	s.items = nil
	return nil
}

// WriteTo writes the captured state. It may run beside anything that the Machine does.
func (s *snapshot) WriteTo(w io.Writer) (int64, error) {
	if s.items == nil {
		return 0, errors.New("kv: snapshot written after Close")
	}
	sum := &summing{w: w}
	out := bufio.NewWriterSize(sum, 64<<10)
	head := []byte{snapshotVersion, 0xa0 | byte(len(snapshotName))}
	head = append(head, snapshotName...)
	head = binary.BigEndian.AppendUint64(append(head, 0xcf), uint64(s.items.Len()))
	out.Write(head) //nolint:errcheck // A bufio.Writer keeps its first error and Flush returns it.
	var buf []byte
	s.items.Ascend(func(it item) bool {
		buf = appendBinHeader(append(buf[:0], 0x93), len(it.key))
		buf = appendBinHeader(append(buf, it.key...), len(it.value))
		out.Write(buf)                                  //nolint:errcheck // As above.
		out.WriteString(it.value)                       //nolint:errcheck // As above.
		_, err := out.Write(appendInt(buf[:0], it.due)) // Stops the walk when the writer has failed.
		return err == nil
	})
	if err := out.Flush(); err != nil {
		return sum.written, fmt.Errorf("kv: writing a snapshot: %w", err)
	}
	_, err := sum.Write(binary.BigEndian.AppendUint32([]byte{0xce}, sum.crc))
	if err != nil {
		err = fmt.Errorf("kv: writing a snapshot: %w", err)
	}
	return sum.written, err
}

// summing passes bytes on and keeps their checksum and number.
type summing struct {
	w       io.Writer
	crc     uint32
	written int64
}

func (s *summing) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.crc = crc32.Update(s.crc, castagnoli, b[:n])
	s.written += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// Restore replaces the state by a snapshot's. It builds the new state aside; with an error, which matches
// ErrBadSnapshot or is the reader's, the old state is untouched.
func (m *Machine) Restore(stream io.Reader) error {
	s := &source{in: bufio.NewReaderSize(stream, 64<<10)}
	next := newState()
	if err := s.restore(next); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = next
	return nil
}

// source reads a snapshot's stream and keeps the checksum of what it has read.
type source struct {
	in      *bufio.Reader
	crc     uint32
	err     error // the first one
	scratch []byte
	small   [8]byte // for number
}

func (s *source) restore(into *state) error {
	head := s.take(12)
	if s.err == nil && (head[0] != snapshotVersion || head[1] != 0xa0|byte(len(snapshotName)) || string(head[2:]) != snapshotName) {
		if head[0] != snapshotVersion && string(head[2:]) == snapshotName {
			return fmt.Errorf("%w: version %d, this program reads %d; use a newer one", ErrBadSnapshot, head[0], snapshotVersion)
		}
		return fmt.Errorf("%w: it begins with % x, not as a snapshot of this store", ErrBadSnapshot, head)
	}
	count := s.number(0xcf, 8)
	last, first := "", true
	for i := uint64(0); i < count && s.err == nil; i++ {
		it := s.item()
		if s.err == nil && !first && it.key <= last {
			return fmt.Errorf("%w: key %d of %d is not above the one before it", ErrBadSnapshot, i, count)
		}
		last, first = it.key, false
		if s.err == nil {
			into.put(it)
		}
	}
	crc := s.crc
	if claimed := s.number(0xce, 4); s.err == nil && uint32(claimed) != crc {
		return fmt.Errorf("%w: checksum %08x, want %08x", ErrBadSnapshot, crc, claimed)
	}
	if s.err == nil {
		if _, err := s.in.ReadByte(); err == nil {
			return fmt.Errorf("%w: bytes after its end", ErrBadSnapshot)
		} else if err != io.EOF {
			return fmt.Errorf("kv: reading a snapshot: %w", err)
		}
	}
	return s.err
}

func (s *source) item() item {
	if tag := s.number(0, 1); s.err == nil && tag != 0x93 {
		s.bad("a key's array begins with %#x", tag)
	}
	key := s.bin(nil, KeyBytesMax)
	both := s.bin(key, ValueBytesMax)
	s.scratch = both
	due := s.due()
	if s.err != nil {
		return item{}
	}
	return newItem(string(both), len(key), due)
}

// bin reads a bin value behind what is in b. Its length is checked against sizeMax before memory is made for it.
func (s *source) bin(b []byte, sizeMax uint64) []byte {
	if b == nil {
		b = s.scratch[:0]
	}
	tag := s.number(0, 1)
	var size uint64
	switch tag {
	case 0xc4:
		size = s.number(0, 1)
	case 0xc5:
		size = s.number(0, 2)
	case 0xc6:
		size = s.number(0, 4)
	default:
		s.bad("%#x where bytes begin", tag)
	}
	if size > sizeMax {
		s.bad("%d bytes where at most %d can be", size, sizeMax)
	}
	if s.err != nil {
		return b
	}
	start := len(b)
	b = append(b, make([]byte, size)...)
	s.fill(b[start:])
	return b
}

func (s *source) due() int64 {
	tag := s.number(0, 1)
	var v uint64
	switch {
	case tag < 0x80:
		return int64(tag)
	case tag >= 0xcc && tag <= 0xcf:
		v = s.number(0, 1<<(tag-0xcc))
	default:
		s.bad("%#x where a time begins", tag)
	}
	if v > 1<<63-1 {
		s.bad("time %d", v)
	}
	return int64(v)
}

// number reads a tag, unless it is 0, and a big-endian number of size bytes.
func (s *source) number(tag byte, size int) uint64 {
	b := s.small[:]
	if tag != 0 {
		if s.fill(b[:1]); s.err == nil && b[0] != tag {
			s.bad("%#x where %#x begins a number", b[0], tag)
		}
	}
	clear(b)
	s.fill(b[8-size:])
	if s.err != nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (s *source) take(n int) []byte {
	b := make([]byte, n)
	s.fill(b)
	return b
}

func (s *source) fill(b []byte) {
	if s.err != nil {
		return
	}
	n, err := io.ReadFull(s.in, b)
	s.crc = crc32.Update(s.crc, castagnoli, b[:n])
	switch {
	case err == nil:
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		s.bad("it ends early")
	default:
		s.err = fmt.Errorf("kv: reading a snapshot: %w", err)
	}
}

func (s *source) bad(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s", ErrBadSnapshot, fmt.Sprintf(format, args...))
	}
}
