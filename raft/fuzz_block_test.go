package raft

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// FuzzBlock gives ParseBlock any bytes: an error that matches ErrBadBlock, or a block that is what NewBlock would have
// made of its parts, and whose clipped parts add up to it.
func FuzzBlock(f *testing.F) {
	whole := sampleBlock(3, []byte("a"), nil, bytes.Repeat([]byte("long"), 100))
	f.Add(whole.Bytes(), uint8(1), uint8(2))
	f.Add(whole.Bytes()[:40], uint8(0), uint8(0))
	f.Add(sampleBlock(1, nil).Bytes(), uint8(0), uint8(9))
	f.Fuzz(func(t *testing.T, record []byte, from, size uint8) {
		if len(record) >= BlockHeaderSize {
			// A fuzzer does not find checksums; what lies behind them is to be found too.
			repaired := bytes.Clone(record)
			binary.BigEndian.PutUint32(repaired[3:], crc32.Checksum(repaired[7:], castagnoli))
			checkParse(t, repaired, from, size)
		}
		checkParse(t, record, from, size)
	})
}

func checkParse(t *testing.T, record []byte, from, size uint8) {
	b, err := ParseBlock(record)
	if err != nil {
		require.ErrorIs(t, err, ErrBadBlock)
		return
	}
	buf := make([]byte, BlockHeaderSize)
	canonical := true
	count := 0
	at := BlockHeaderSize
	for body := range b.Entries() {
		count++
		was := len(buf)
		buf = AppendEntry(buf, body)
		canonical = canonical && at+len(buf)-was <= len(record) && bytes.Equal(record[at:at+len(buf)-was], buf[was:])
		at += len(buf) - was
	}
	require.EqualValues(t, b.Meta().Count, count)
	if canonical {
		require.Equal(t, record, NewBlock(b.Meta(), buf).Bytes())
	}
	lo := b.First() + Index(from)%Index(count+1)
	hi := lo + Index(size)
	part := b.Clip(lo, hi)
	if part.Meta().Count == 0 {
		require.True(t, lo >= b.Next() || size == 0)
		return
	}
	again, err := ParseBlock(part.Bytes())
	require.NoError(t, err)
	require.Equal(t, b.ChainAfter(), b.Clip(min(hi, b.Next()), b.Next()).chainAfterOr(again.ChainAfter()))
}

// chainAfterOr is ChainAfter, and of an empty part what stands before it.
func (b Block) chainAfterOr(before uint64) uint64 {
	if b.Meta().Count == 0 {
		return before
	}
	if b.Chain() != before {
		return ^b.ChainAfter() // the parts do not meet
	}
	return b.ChainAfter()
}

func sampleBlock(first Index, bodies ...[]byte) Block {
	buf := make([]byte, BlockHeaderSize)
	for _, body := range bodies {
		buf = AppendEntry(buf, body)
	}
	meta := BlockMeta{Group: 1, First: first, Count: uint32(len(bodies)), Term: 2, Kind: KindCommand, Time: 5, Chain: 99}
	return NewBlock(meta, buf)
}

// A chain hash runs over entries, never over borders of blocks: two servers that cut differently agree.
func TestClippedPartsOfABlockAddUpToItsChain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bodies := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 12).Draw(t, "bodies")
		b := sampleBlock(Index(rapid.Uint64Range(1, 1<<40).Draw(t, "first")), bodies...)
		at, chain := b.First(), b.Chain()
		for at < b.Next() {
			next := at + Index(rapid.IntRange(1, len(bodies)).Draw(t, "size"))
			part := b.Clip(at, next)
			if part.First() != at || part.Next() != min(next, b.Next()) || part.Chain() != chain {
				t.Fatalf("part %+v from %d to %d", part.Meta(), at, next)
			}
			k := int(at - b.First())
			for body := range part.Entries() {
				if !bytes.Equal(body, bodies[k]) {
					t.Fatalf("entry %d", k)
				}
				k++
			}
			at, chain = part.Next(), part.ChainAfter()
		}
		if chain != b.ChainAfter() {
			t.Fatalf("chain %x, want %x", chain, b.ChainAfter())
		}
	})
}

// Every single flipped bit of a block is noticed.
func TestBlockWithAFlippedBitIsRefused(t *testing.T) {
	record := sampleBlock(7, []byte("abc"), []byte("d")).Bytes()
	for k := range len(record) * 8 {
		flipped := bytes.Clone(record)
		flipped[k/8] ^= 1 << (k % 8)
		_, err := ParseBlock(flipped)
		require.ErrorIs(t, err, ErrBadBlock, "bit %d", k)
	}
}

// Decoding a blank is a caller's mistake that must not crash it.
func TestBlankBlockHasNoEntriesAndClipsToBlanks(t *testing.T) {
	b := Blank(BlockMeta{Group: 1, First: 4, Count: 3, Term: 1, Kind: KindCommand})
	require.True(t, b.IsBlank())
	require.Nil(t, b.Bytes())
	for range b.Entries() {
		t.Fatal("an entry")
	}
	part := b.Clip(5, 6)
	require.True(t, part.IsBlank())
	require.EqualValues(t, 1, part.Meta().Count)
	require.Equal(t, Block{}, b.Clip(7, 9))
}
