package logtest

import (
	"encoding/binary"
	"fmt"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Block encodes entries with these bodies as one block whose first entry has index first; chain is the chain hash before
// it. The bodies are copied.
func Block(group raft.GroupID, first raft.Index, term raft.Term, kind raft.Kind, time int64, chain uint64, bodies ...[]byte) raft.Block {
	size := raft.BlockHeaderSize
	for _, body := range bodies {
		size += len(body) + 5
	}
	buf := make([]byte, raft.BlockHeaderSize, size)
	for _, body := range bodies {
		buf = raft.AppendEntry(buf, body)
	}
	meta := raft.BlockMeta{
		Group: group, First: first, Count: uint32(len(bodies)), Term: term, Kind: kind, Time: time, Chain: chain,
	}
	return raft.NewBlock(meta, buf)
}

// Body returns a command of about size bytes that no other group, index or term has: the longer of size and what it
// takes to say so.
func Body(group raft.GroupID, index raft.Index, term raft.Term, size int) []byte {
	body := fmt.Appendf(make([]byte, 0, max(size, 32)), "%d/%d/%d/", group, index, term)
	x := uint64(group)<<48 ^ uint64(index)<<20 ^ uint64(term)
	for len(body) < size {
		x = x*6364136223846793005 + 1442695040888963407
		body = binary.LittleEndian.AppendUint64(body, x)
	}
	return body[:max(size, min(len(body), 32))]
}

// Builder lays blocks one after the other with the right indexes, times and chain hashes.
type Builder struct {
	Group  raft.GroupID
	Next   raft.Index // where the next block begins
	Chain  uint64     // the chain hash before it
	Blocks []raft.Block
}

// Commands adds a block of commands, one of each size in bytes, and returns the builder.
func (b *Builder) Commands(term raft.Term, sizes ...int) *Builder {
	bodies := make([][]byte, len(sizes))
	for i, size := range sizes {
		bodies[i] = Body(b.Group, b.Next+raft.Index(i), term, size)
	}
	return b.add(term, raft.KindCommand, bodies...)
}

// Single adds a block of one entry of a kind, with a small body unless the kind has none.
func (b *Builder) Single(term raft.Term, kind raft.Kind) *Builder {
	var body []byte
	if kind != raft.KindNoOp && kind != raft.KindClock {
		body = Body(b.Group, b.Next, term, 0)
	}
	return b.add(term, kind, body)
}

// Update returns the blocks so far as an update of their group.
func (b *Builder) Update() persistentlog.Update {
	return persistentlog.Update{Group: b.Group, Blocks: b.Blocks}
}

func (b *Builder) add(term raft.Term, kind raft.Kind, bodies ...[]byte) *Builder {
	time := timeAt(b.Next, term)
	block := Block(b.Group, b.Next, term, kind, time, b.Chain, bodies...)
	b.Blocks = append(b.Blocks, block)
	b.Next, b.Chain = block.Next(), block.ChainAfter()
	return b
}

// timeAt is the cluster time of an entry or a snapshot: never negative, however high the index.
func timeAt(index raft.Index, term raft.Term) int64 { return int64(index%(1<<40))*1000 + int64(term) }
