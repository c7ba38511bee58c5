package persistentlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// The layout of a snapshot file stands in docs/format.md. In short: a header with the snapshot's description and a
// checksum of its own, then the stream in pieces of one size, each followed by its checksum, so that what is read from
// any offset on can be verified, and so can the part of a transfer that a crash left behind.
const (
	headerMagic   = "oarsnap\x01" // the last byte is the version
	headerFixed   = 20            // magic, piece bytes, header bytes, record bytes
	headerBytes   = 1 << 20       // no header is longer
	pieceBytesMin = 1 << 9
	pieceBytesMax = 1 << 24
	checksumBytes = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// layout says where things stand in one file.
type layout struct {
	header int64 // length of the header: where the first piece begins
	piece  int64 // bytes of the stream in a piece; the last one may hold fewer
}

// at returns where a piece begins in the file.
func (l layout) at(piece int64) int64 { return l.header + piece*(l.piece+checksumBytes) }

// file returns the length of a file whose stream has size bytes.
func (l layout) file(size int64) int64 {
	pieces := (size + l.piece - 1) / l.piece
	return l.header + size + pieces*checksumBytes
}

// pieceChecksum covers the piece's number, so that a piece at another's place is noticed.
func pieceChecksum(piece int64, b []byte) uint32 {
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], uint64(piece))
	return crc32.Update(crc32.Checksum(number[:], castagnoli), castagnoli, b)
}

// newLayout leaves room for the longest size and checksum that the description can get, because those of a snapshot that
// is being taken are known at its end.
func newLayout(meta raft.SnapshotMeta, piece int64) layout {
	meta.Size, meta.Checksum = math.MaxInt64, math.MaxUint32
	return layout{header: headerFixed + int64(len(wire.AppendSnapshotMeta(nil, meta))) + checksumBytes, piece: piece}
}

// encodeHeader returns a header, after making sure that it can be read back.
func encodeHeader(meta raft.SnapshotMeta, l layout) ([]byte, error) {
	h := make([]byte, headerFixed, l.header)
	copy(h, headerMagic)
	h = wire.AppendSnapshotMeta(h, meta)
	record := len(h) - headerFixed
	if int64(len(h)) > l.header-checksumBytes || l.header > headerBytes {
		return nil, fmt.Errorf("the description of %d bytes does not fit in a header of %d bytes, at most %d", record, l.header, headerBytes)
	}
	binary.BigEndian.PutUint32(h[8:], uint32(l.piece))
	binary.BigEndian.PutUint32(h[12:], uint32(l.header))
	binary.BigEndian.PutUint32(h[16:], uint32(record))
	h = h[:l.header-checksumBytes]
	h = binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
	if _, err := wire.DecodeSnapshotMeta(h[headerFixed : headerFixed+record]); err != nil {
		return nil, fmt.Errorf("the description could not be read back: %w", err)
	}
	return h, nil
}

// readHeader reads and checks a file's header. What is not as it was written is an error that matches ErrDamaged; a
// newer version one that matches ErrFormatVersion.
func readHeader(file File) (raft.SnapshotMeta, layout, error) {
	size, err := file.Size()
	if err != nil {
		return raft.SnapshotMeta{}, layout{}, err
	}
	fixed := make([]byte, headerFixed)
	if size < headerFixed {
		return raft.SnapshotMeta{}, layout{}, fmt.Errorf("%w: %d bytes are shorter than a header", ErrDamaged, size)
	}
	if err := readFull(file, fixed, 0); err != nil {
		return raft.SnapshotMeta{}, layout{}, err
	}
	if string(fixed[:8]) != headerMagic {
		if string(fixed[:7]) == headerMagic[:7] && fixed[7] > headerMagic[7] {
			return raft.SnapshotMeta{}, layout{}, fmt.Errorf("%w: snapshot file of version %d", ErrFormatVersion, fixed[7])
		}
		return raft.SnapshotMeta{}, layout{}, fmt.Errorf("%w: not a snapshot file", ErrDamaged)
	}
	l := layout{header: int64(binary.BigEndian.Uint32(fixed[12:])), piece: int64(binary.BigEndian.Uint32(fixed[8:]))}
	record := int64(binary.BigEndian.Uint32(fixed[16:]))
	if l.header > min(size, headerBytes) || headerFixed+record > l.header-checksumBytes || l.piece < pieceBytesMin || l.piece > pieceBytesMax {
		return raft.SnapshotMeta{}, layout{}, fmt.Errorf("%w: header of %d bytes with a record of %d and pieces of %d", ErrDamaged, l.header, record, l.piece)
	}
	h := make([]byte, l.header)
	if err := readFull(file, h, 0); err != nil {
		return raft.SnapshotMeta{}, layout{}, err
	}
	if got, want := crc32.Checksum(h[:l.header-checksumBytes], castagnoli), binary.BigEndian.Uint32(h[l.header-checksumBytes:]); got != want {
		return raft.SnapshotMeta{}, layout{}, fmt.Errorf("%w: header has checksum %08x, want %08x", ErrDamaged, got, want)
	}
	meta, err := wire.DecodeSnapshotMeta(h[headerFixed : headerFixed+record])
	if err != nil {
		return raft.SnapshotMeta{}, layout{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return meta, l, nil
}
