package storetest

import (
	"fmt"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Commands makes a block of count commands of size bytes.
func Commands(group raft.GroupID, first raft.Index, term raft.Term, chain uint64, count, size int) raft.Block {
	buf := make([]byte, raft.BlockHeaderSize, raft.BlockHeaderSize+count*(size+3))
	body := make([]byte, size)
	for i := range count {
		copy(body, fmt.Sprintf("%d/%d/%d", group, term, int(first)+i))
		buf = raft.AppendEntry(buf, body)
	}
	return raft.NewBlock(raft.BlockMeta{
		Group: group, First: first, Count: uint32(count), Term: term, Kind: raft.KindCommand, Time: int64(first), Chain: chain,
	}, buf)
}

// Writer makes blocks that follow one another.
type Writer struct {
	Group raft.GroupID
	Next  raft.Index
	Term  raft.Term
	Chain uint64
}

// NewWriter begins at index 1 and term 1.
func NewWriter(group raft.GroupID) *Writer { return &Writer{Group: group, Next: 1, Term: 1} }

// Block makes the next block: count commands of size bytes.
func (w *Writer) Block(count, size int) raft.Block {
	b := Commands(w.Group, w.Next, w.Term, w.Chain, count, size)
	w.Next, w.Chain = b.Next(), b.ChainAfter()
	return b
}

// Update makes the next block an update.
func (w *Writer) Update(count, size int) persistentlog.Update {
	return persistentlog.Update{Group: w.Group, Blocks: []raft.Block{w.Block(count, size)}}
}
