package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrBadBlock is what every failure to read a block matches: a length, a checksum or a field that cannot be.
var ErrBadBlock = errors.New("raft: damaged block")

// BlockVersion is the format that NewBlock writes and ParseBlock reads.
const BlockVersion = 1

// BlockHeaderSize is the length of a block's header in bytes; the entries' bytes follow it. The header is a MessagePack
// array of eleven values, each written at its full width so that it can be laid out in place, and the last of them is
// the length of a bin value that holds the entries: a block is one MessagePack value that any reader can take apart.
//
//	offset size value
//	0      1    0x9b           array of 11
//	1      1    version        1
//	2      5    crc            CRC32C (Castagnoli) of everything from offset 7 to the end of the block
//	7      9    group
//	16     9    first          index of the first entry
//	25     9    term
//	34     1    kind
//	35     9    time           cluster time of every entry in the block, nanoseconds, signed and not negative
//	44     5    count          number of entries, at least 1
//	49     9    chain          chain hash before the first entry
//	58     9    reserved       0
//	67     5    entries        bin 32: the entries, each a bin value (8, 16 or 32, the shortest that fits)
const BlockHeaderSize = 72

// BlockMeta is what a block says of itself without its entries being looked at.
type BlockMeta struct {
	Group GroupID
	First Index  // index of the first entry
	Count uint32 // how many entries, at least 1
	Term  Term   // term of every entry
	Kind  Kind   // kind of every entry; all but KindCommand stand alone
	Time  int64  // cluster time of every entry, in nanoseconds since the group was born
	Chain uint64 // chain hash before the first entry
}

// Block is a contiguous run of entries of one term and one kind, encoded once in its life: the same bytes are saved,
// sent, saved again by the follower and pointed into by the commands that a state machine is given. A Block is a small
// value; copying it copies no entries. Its bytes are never changed after they were made and may be shared by
// goroutines without a lock. A block whose bytes are nil is a *blank*: the Node names with it what its server has yet
// to encode.
type Block struct {
	meta    BlockMeta
	encoded []byte // header and entries; nil for a blank
}

// Blank returns a block that has a place in the log and no bytes yet.
func Blank(meta BlockMeta) Block { return Block{meta: meta} }

// NewBlock completes a block in place: buf holds BlockHeaderSize bytes of room and then the entries as AppendEntry laid
// them. It takes ownership of buf, which must not be written to afterwards.
func NewBlock(meta BlockMeta, buf []byte) Block {
	b := Block{meta: meta, encoded: buf}
	putHeader(buf[:BlockHeaderSize], meta, len(buf)-BlockHeaderSize)
	return b
}

// AppendEntry appends one entry's body to the entries of a block under construction and returns the extended buffer.
func AppendEntry(buf, body []byte) []byte {
	return append(AppendEntryHeader(buf, len(body)), body...)
}

// AppendEntryHeader appends the length in front of an entry's body of size bytes; the caller appends the body itself.
// It is for callers that lay a body out of several parts without copying them together first.
func AppendEntryHeader(buf []byte, size int) []byte {
	switch {
	case size < 1<<8:
		return append(buf, 0xc4, byte(size))
	case size < 1<<16:
		return append(buf, 0xc5, byte(size>>8), byte(size))
	}
	return append(buf, 0xc6, byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
}

// ParseBlock reads one whole block and verifies its checksum, its fields and the borders of its entries. The block
// refers to record, which must stay as it is. Every error matches ErrBadBlock.
func ParseBlock(record []byte) (Block, error) {
	meta, size, err := ParseBlockHeader(record)
	if err != nil {
		return Block{}, err
	}
	if len(record) != BlockHeaderSize+size {
		return Block{}, fmt.Errorf("%w: %d bytes, its header says %d", ErrBadBlock, len(record), BlockHeaderSize+size)
	}
	if got, want := crc32.Checksum(record[7:], castagnoli), binary.BigEndian.Uint32(record[3:]); got != want {
		return Block{}, fmt.Errorf("%w: group %d index %d: checksum %08x, want %08x", ErrBadBlock, meta.Group, meta.First, got, want)
	}
	b := Block{meta: meta, encoded: record}
	rest := record[BlockHeaderSize:]
	for i := uint32(0); i < meta.Count; i++ {
		_, next, ok := splitEntry(rest)
		if !ok {
			return Block{}, fmt.Errorf("%w: group %d index %d: entry runs past the end", ErrBadBlock, meta.Group, meta.First+Index(i))
		}
		rest = next
	}
	if len(rest) != 0 {
		return Block{}, fmt.Errorf("%w: group %d index %d: %d bytes after the last entry", ErrBadBlock, meta.Group, meta.First, len(rest))
	}
	return b, nil
}

// ParseBlockHeader reads the header alone, so that a reader of a stream learns how many bytes of entries follow
// (size). It checks the fields and not the checksum, for which the whole block is needed.
func ParseBlockHeader(record []byte) (meta BlockMeta, size int, err error) {
	if len(record) < BlockHeaderSize {
		return meta, 0, fmt.Errorf("%w: %d bytes are shorter than a header", ErrBadBlock, len(record))
	}
	h := record[:BlockHeaderSize]
	if h[0] != 0x9b || h[2] != 0xce || h[7] != 0xcf || h[16] != 0xcf || h[25] != 0xcf || h[35] != 0xd3 ||
		h[44] != 0xce || h[49] != 0xcf || h[58] != 0xcf || h[67] != 0xc6 {
		return meta, 0, fmt.Errorf("%w: not a block header", ErrBadBlock)
	}
	if h[1] != BlockVersion {
		return meta, 0, fmt.Errorf("%w: format %d, this version reads %d", ErrBadBlock, h[1], BlockVersion)
	}
	meta = BlockMeta{
		Group: GroupID(binary.BigEndian.Uint64(h[8:])),
		First: Index(binary.BigEndian.Uint64(h[17:])),
		Term:  Term(binary.BigEndian.Uint64(h[26:])),
		Kind:  Kind(h[34]),
		Time:  int64(binary.BigEndian.Uint64(h[36:])),
		Count: binary.BigEndian.Uint32(h[45:]),
		Chain: binary.BigEndian.Uint64(h[50:]),
	}
	size = int(binary.BigEndian.Uint32(h[68:]))
	if err := meta.validate(size); err != nil {
		return meta, 0, err
	}
	if binary.BigEndian.Uint64(h[59:]) != 0 {
		return meta, 0, fmt.Errorf("%w: reserved field is not zero", ErrBadBlock)
	}
	return meta, size, nil
}

func (m BlockMeta) validate(size int) error {
	switch {
	case m.Group == 0 || m.First == 0 || m.Term == 0 || m.Kind == 0 || m.Kind > 127:
		return fmt.Errorf("%w: group %d, index %d, term %d, kind %d", ErrBadBlock, m.Group, m.First, m.Term, m.Kind)
	case m.Time < 0:
		return fmt.Errorf("%w: negative time %d", ErrBadBlock, m.Time)
	case m.Count == 0 || m.Count > 1 && m.Kind != KindCommand:
		return fmt.Errorf("%w: %d entries of kind %s", ErrBadBlock, m.Count, m.Kind)
	case uint64(m.First)+uint64(m.Count) < uint64(m.First):
		return fmt.Errorf("%w: index %d and %d entries overflow", ErrBadBlock, m.First, m.Count)
	case int64(size) < 2*int64(m.Count):
		return fmt.Errorf("%w: %d entries in %d bytes", ErrBadBlock, m.Count, size)
	}
	return nil
}

func putHeader(h []byte, m BlockMeta, size int) {
	h[0], h[1] = 0x9b, BlockVersion
	h[2] = 0xce
	put64 := func(at int, tag byte, v uint64) {
		h[at] = tag
		binary.BigEndian.PutUint64(h[at+1:], v)
	}
	put64(7, 0xcf, uint64(m.Group))
	put64(16, 0xcf, uint64(m.First))
	put64(25, 0xcf, uint64(m.Term))
	h[34] = byte(m.Kind)
	put64(35, 0xd3, uint64(m.Time))
	h[44] = 0xce
	binary.BigEndian.PutUint32(h[45:], m.Count)
	put64(49, 0xcf, m.Chain)
	put64(58, 0xcf, 0)
	h[67] = 0xc6
	binary.BigEndian.PutUint32(h[68:], uint32(size))
	// The checksum covers the entries too, which follow the header in the same buffer.
	whole := h[7 : BlockHeaderSize+size : BlockHeaderSize+size]
	binary.BigEndian.PutUint32(h[3:], crc32.Checksum(whole, castagnoli))
}

// Meta returns the block's header.
func (b Block) Meta() BlockMeta { return b.meta }

// Group returns the group that the block belongs to.
func (b Block) Group() GroupID { return b.meta.Group }

// First returns the index of the first entry.
func (b Block) First() Index { return b.meta.First }

// Next returns the index after the last entry: the block covers the half-open range from First to Next.
func (b Block) Next() Index { return b.meta.First + Index(b.meta.Count) }

// Term returns the term of every entry in the block.
func (b Block) Term() Term { return b.meta.Term }

// Kind returns the kind of every entry in the block.
func (b Block) Kind() Kind { return b.meta.Kind }

// Time returns the cluster time of every entry in the block, in nanoseconds.
func (b Block) Time() int64 { return b.meta.Time }

// Chain returns the chain hash before the first entry.
func (b Block) Chain() uint64 { return b.meta.Chain }

// IsBlank reports whether the block has no bytes yet.
func (b Block) IsBlank() bool { return b.encoded == nil }

// Bytes returns the whole block in its encoded form, header and entries: what a log stores and a transport sends. The
// bytes are shared and must not be changed. They are nil for a blank.
func (b Block) Bytes() []byte { return b.encoded }

// Size returns the length of Bytes.
func (b Block) Size() int { return len(b.encoded) }

// Clip returns the part of the block from index from up to, not including, index to. Both are first cut to the block's
// own range; an empty part is the zero Block. The whole block is returned as it is; any other part gets a header of its
// own and a copy of its entries, because header and entries stand next to each other.
func (b Block) Clip(from, to Index) Block {
	from, to = max(from, b.First()), min(to, b.Next())
	if from >= to {
		return Block{}
	}
	if from == b.First() && to == b.Next() {
		return b
	}
	meta := b.meta
	meta.First, meta.Count = from, uint32(to-from)
	if b.IsBlank() {
		return Blank(meta)
	}
	rest := b.encoded[BlockHeaderSize:]
	for i := b.First(); i < from; i++ {
		body, next, _ := splitEntry(rest)
		meta.Chain = ChainNext(meta.Chain, meta.Term, meta.Kind, meta.Time, body)
		rest = next
	}
	end := rest
	for i := from; i < to; i++ {
		_, end, _ = splitEntry(end)
	}
	part := rest[:len(rest)-len(end)]
	buf := make([]byte, BlockHeaderSize+len(part))
	copy(buf[BlockHeaderSize:], part)
	return NewBlock(meta, buf)
}

// ChainAfter returns the chain hash after the block's last entry. It reads every entry.
func (b Block) ChainAfter() uint64 {
	chain := b.meta.Chain
	for body := range b.Entries() {
		chain = ChainNext(chain, b.meta.Term, b.meta.Kind, b.meta.Time, body)
	}
	return chain
}

// Entries yields the bodies of the block's entries in order. Each refers to the block's bytes.
func (b Block) Entries() func(yield func(body []byte) bool) {
	return func(yield func(body []byte) bool) {
		if b.IsBlank() {
			return
		}
		rest := b.encoded[BlockHeaderSize:]
		for i := uint32(0); i < b.meta.Count; i++ {
			body, next, ok := splitEntry(rest)
			if !ok || !yield(body) {
				return
			}
			rest = next
		}
	}
}

// splitEntry takes the first entry off rest. ok is false where rest does not begin with a whole entry.
func splitEntry(rest []byte) (body, next []byte, ok bool) {
	if len(rest) < 2 {
		return nil, nil, false
	}
	size, at := 0, 0
	switch {
	case rest[0] == 0xc4:
		size, at = int(rest[1]), 2
	case rest[0] == 0xc5 && len(rest) >= 3:
		size, at = int(binary.BigEndian.Uint16(rest[1:])), 3
	case rest[0] == 0xc6 && len(rest) >= 5:
		size, at = int(binary.BigEndian.Uint32(rest[1:])), 5
	default:
		return nil, nil, false
	}
	if size < 0 || size > len(rest)-at { // size is negative where an int has 32 bits
		return nil, nil, false
	}
	return rest[at : at+size : at+size], rest[at+size:], true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ChainNext returns the chain hash after an entry, given the hash before it. Two logs that agree on the hash after an
// index agree on every entry up to it, its cluster time included (Raft's Log Matching property, checked in one
// comparison). It guards against
// bugs and decay, not against an adversary: each entry goes in by its CRC32C, spread by a 64-bit finaliser.
func ChainNext(chain uint64, term Term, kind Kind, time int64, body []byte) uint64 {
	x := chain ^ uint64(crc32.Checksum(body, castagnoli)) ^ uint64(len(body))<<32
	x = mix64(x + uint64(term)*0x9e3779b97f4a7c15)
	return mix64(x + uint64(time) + uint64(kind)<<56)
}

// mix64 is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
func mix64(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
