package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// FormatVersion is the version of what stands in a store. A store of a newer one is refused.
const FormatVersion = 1

// A segment is a header page and then batches. Integers are big endian, checksums CRC32C. docs/format.md has the table.
const (
	headerSize  = 4096
	headerMagic = "oarsegm"

	batchHeaderSize = 40
	batchAlign      = 8
	batchBytesMax   = 1 << 30
	itemHeaderSize  = 16
)

// header is the first page of a segment.
type header struct {
	number uint64 // of the segment; never given to two that were used
	salt   uint64 // random; in each of its batches
	store  raft.StoreID
	// The segment before this one, and where its seal stands. All zero in the first segment of a store.
	before     uint64
	sealOffset uint64
	sealSize   uint32
}

func (h header) put(b []byte) {
	clear(b[:headerSize])
	copy(b, headerMagic)
	b[7] = FormatVersion
	binary.BigEndian.PutUint64(b[8:], h.number)
	binary.BigEndian.PutUint64(b[16:], h.salt)
	copy(b[24:], h.store[:])
	binary.BigEndian.PutUint64(b[40:], h.before)
	binary.BigEndian.PutUint64(b[48:], h.sealOffset)
	binary.BigEndian.PutUint32(b[56:], h.sealSize)
	binary.BigEndian.PutUint32(b[headerSize-4:], crc32.Checksum(b[:headerSize-4], castagnoli))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func parseHeader(b []byte) (h header, err error) {
	if len(b) < headerSize || string(b[:7]) != headerMagic {
		return h, errors.New("it does not begin like a segment")
	}
	if got := crc32.Checksum(b[:headerSize-4], castagnoli); got != binary.BigEndian.Uint32(b[headerSize-4:]) {
		return h, errors.New("the header does not pass its checksum")
	}
	if b[7] != FormatVersion {
		return h, fmt.Errorf("%w: a segment of version %d, this version reads %d", persistentlog.ErrFormatVersion, b[7], FormatVersion)
	}
	h.number, h.salt = binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	copy(h.store[:], b[24:40])
	h.before, h.sealOffset = binary.BigEndian.Uint64(b[40:]), binary.BigEndian.Uint64(b[48:])
	h.sealSize = binary.BigEndian.Uint32(b[56:])
	return h, nil
}

// batchKind says what a batch is for.
type batchKind uint8

const (
	batchSave       batchKind = 1 // updates, or nothing
	batchCheckpoint batchKind = 2 // the small state of every group; the first batch of each segment, and only that
	batchSeal       batchKind = 3 // the last one of a segment that another one follows
)

// batch is one that was read and passed its checksum.
type batch struct {
	kind   batchKind
	number uint64 // the save's
	sum    uint32
	size   int // with header and padding
	count  uint32
	items  []byte // with padding
}

var (
	// errNoBatch: here stands none, or one that is not whole.
	errNoBatch = errors.New("no whole batch")
	// errBadBatch: a batch that passes its checksum and makes no sense.
	errBadBatch = errors.New("malformed batch")
)

// beginBatch leaves room for the header of a batch.
func beginBatch(buf []byte) []byte { return append(buf, make([]byte, batchHeaderSize)...) }

// padBatch fills a batch that begins at offset begin up to its full size.
func padBatch(buf []byte, begin int) []byte {
	var zeros [batchAlign]byte
	return append(buf, zeros[:-(len(buf)-begin)&(batchAlign-1)]...)
}

// sealBatch writes the header of a padded batch that will stand at an offset of a segment, and returns its checksum.
func sealBatch(b []byte, salt uint64, offset int64, number uint64, kind batchKind, count int) (sum uint32) {
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)))
	binary.BigEndian.PutUint64(b[8:], salt)
	binary.BigEndian.PutUint64(b[16:], number)
	binary.BigEndian.PutUint32(b[24:], uint32(kind)<<24)
	binary.BigEndian.PutUint32(b[28:], uint32(offset))
	binary.BigEndian.PutUint32(b[32:], uint32(count))
	binary.BigEndian.PutUint32(b[36:], 0)
	sum = crc32.Checksum(b[4:], castagnoli)
	binary.BigEndian.PutUint32(b, sum)
	return sum
}

// batchSize returns how long the batch is that begins like this, if it can be one of a segment with this salt.
func batchSize(b []byte, salt uint64) (int, error) {
	if len(b) < batchHeaderSize || binary.BigEndian.Uint64(b[8:]) != salt {
		return 0, errNoBatch
	}
	size := binary.BigEndian.Uint32(b[4:])
	if size < batchHeaderSize || size%batchAlign != 0 || size > batchBytesMax {
		return 0, errNoBatch
	}
	return int(size), nil
}

// parseBatch reads the batch at the start of b, which stands at an offset of a segment. The error is errNoBatch, or matches
// errBadBatch.
func parseBatch(b []byte, salt uint64, offset int64) (batch, error) {
	size, err := batchSize(b, salt)
	if err != nil || size > len(b) {
		return batch{}, errNoBatch
	}
	b = b[:size]
	sum := crc32.Checksum(b[4:], castagnoli)
	if sum != binary.BigEndian.Uint32(b) || uint32(offset) != binary.BigEndian.Uint32(b[28:]) {
		return batch{}, errNoBatch
	}
	p := batch{
		kind: batchKind(b[24]), number: binary.BigEndian.Uint64(b[16:]), sum: sum, size: size,
		count: binary.BigEndian.Uint32(b[32:]), items: b[batchHeaderSize:],
	}
	if p.kind < batchSave || p.kind > batchSeal || b[25]|b[26]|b[27]|b[36]|b[37]|b[38]|b[39] != 0 {
		return batch{}, fmt.Errorf("%w: header %x", errBadBatch, b[24:batchHeaderSize])
	}
	rest := p.items
	for range p.count {
		if _, rest, err = splitItem(rest); err != nil {
			return batch{}, err
		}
	}
	if len(rest) >= batchAlign || len(bytes.Trim(rest, "\x00")) != 0 {
		return batch{}, fmt.Errorf("%w: %d bytes behind %d items", errBadBatch, len(rest), p.count)
	}
	return p, nil
}

// itemKind says what one item of a batch is.
type itemKind uint8

const (
	itemHard      itemKind = 1  // a hard state record
	itemBirth     itemKind = 2  // a birth record
	itemTaken     itemKind = 3  // a snapshot description: a snapshot that was taken here
	itemInstalled itemKind = 4  // a snapshot description: a snapshot from another server; drops the group's log
	itemCommit    itemKind = 5  // index, 8 bytes
	itemBlock     itemKind = 6  // a block; replaces what stands from its first index on
	itemCompact   itemKind = 7  // index of the first entry that is kept, 8 bytes
	itemDestroy   itemKind = 8  // nothing
	itemMoved     itemKind = 9  // a block that stood in an older segment; replaces nothing but that
	itemNothing   itemKind = 10 // nothing: an update without content, which the group exists by

	itemGroup      itemKind = 16 // in checkpoints, first of a group: first, next, commit, 8 bytes each
	itemRuns       itemKind = 17 // in checkpoints: first index and term of each run, 8 bytes each
	itemMembership itemKind = 18 // in checkpoints: a membership block

	itemNext       itemKind = 32 // in seals, once, group 0: number and salt of the next segment, 8 bytes each
	itemPlaces     itemKind = 33 // in seals: where live blocks stand
	itemMovedPlace itemKind = 34 // in seals: where live blocks stand that were moved here
)

// item is a part of a batch.
type item struct {
	kind  itemKind
	group raft.GroupID
	data  []byte
}

// appendItem appends an item's header, with a length to be filled in by endItem.
func appendItem(buf []byte, kind itemKind, group raft.GroupID) []byte {
	buf = append(buf, byte(kind), 0, 0, 0, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint64(buf, uint64(group))
}

// endItem fills in the length of the item whose header begins at offset at.
func endItem(buf []byte, at int) []byte {
	binary.BigEndian.PutUint32(buf[at+4:], uint32(len(buf)-at-itemHeaderSize))
	return buf
}

func splitItem(b []byte) (it item, rest []byte, err error) {
	if len(b) < itemHeaderSize {
		return it, nil, fmt.Errorf("%w: %d bytes are too short for an item", errBadBatch, len(b))
	}
	size := int64(binary.BigEndian.Uint32(b[4:]))
	if b[1] != 0 || b[2] != 0 || b[3] != 0 || size > int64(len(b)-itemHeaderSize) {
		return it, nil, fmt.Errorf("%w: an item of %d bytes in %d", errBadBatch, size, len(b))
	}
	end := itemHeaderSize + int(size)
	it = item{kind: itemKind(b[0]), group: raft.GroupID(binary.BigEndian.Uint64(b[8:])), data: b[itemHeaderSize:end:end]}
	return it, b[end:], nil
}

// each calls do with each item and the offset of its data in the batch.
func (p batch) each(do func(it item, offset int) error) error {
	rest := p.items
	for range p.count {
		offset := p.size - len(rest) + itemHeaderSize
		it, next, err := splitItem(rest)
		if err == nil {
			err = do(it, offset)
		}
		if err != nil {
			return err
		}
		rest = next
	}
	return nil
}

// numbers reads an item that is count numbers.
func (it item) numbers(count int) ([]uint64, error) {
	if len(it.data) != 8*count {
		return nil, fmt.Errorf("%w: an item of kind %d with %d bytes", errBadBatch, it.kind, len(it.data))
	}
	values := make([]uint64, count)
	for i := range values {
		values[i] = binary.BigEndian.Uint64(it.data[8*i:])
	}
	return values, nil
}
