package limit

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame on the wire is also the record on disk: length of what follows, CRC32C of what follows the checksum, kind, number,
// commit, and for a batch its entries, each with its length.
const (
	frameHeaderBytes = 4 + 4 + 1 + 8 + 8
	frameBytesMax    = 64 << 20
)

const (
	kindBatch   = 1 // number: of the batch; commit: the newest batch that two have
	kindConfirm = 2 // number: of the round; answered at once
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errFrame = errors.New("limit: damaged frame")

// sealFrame fills in the header of b, whose first bytes were left free for it.
func sealFrame(b []byte, kind byte, number, commit uint64) {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	b[8] = kind
	binary.LittleEndian.PutUint64(b[9:], number)
	binary.LittleEndian.PutUint64(b[17:], commit)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
}

func appendEntry(b, command []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(command))), command...)
}

// readFrame reads a frame into buf, which grows as needed.
func readFrame(in *bufio.Reader, buf []byte) ([]byte, error) {
	head, err := in.Peek(4)
	if err != nil {
		return nil, err
	}
	size := int(binary.LittleEndian.Uint32(head))
	if size < frameHeaderBytes-4 || size > frameBytesMax {
		return nil, fmt.Errorf("%w: %d bytes", errFrame, size)
	}
	if cap(buf) < 4+size {
		buf = make([]byte, (4+size)*5/4)
	}
	buf = buf[:4+size]
	if _, err := io.ReadFull(in, buf); err != nil {
		return nil, err
	}
	if crc32.Checksum(buf[8:], castagnoli) != binary.LittleEndian.Uint32(buf[4:]) {
		return nil, fmt.Errorf("%w: checksum", errFrame)
	}
	return buf, nil
}

// buffered reports whether a whole frame has arrived already, so that it can share a sync with the one before it.
func buffered(in *bufio.Reader) bool {
	if in.Buffered() < 4 {
		return false
	}
	head, err := in.Peek(4)
	return err == nil && in.Buffered() >= 4+int(binary.LittleEndian.Uint32(head))
}

// machine is the application: it counts commands and folds their bytes, which is about as little as one can do with them.
type machine struct {
	count uint64
	fold  uint32
}

// apply executes the entries of a batch.
func (m *machine) apply(frame []byte) error {
	rest := frame[frameHeaderBytes:]
	for len(rest) > 0 {
		if len(rest) < 4 || len(rest)-4 < int(binary.LittleEndian.Uint32(rest)) {
			return fmt.Errorf("%w: an entry runs past the end", errFrame)
		}
		size := int(binary.LittleEndian.Uint32(rest))
		m.count++
		if size > 0 {
			m.fold = m.fold*31 + uint32(rest[4])
		}
		rest = rest[4+size:]
	}
	return nil
}
