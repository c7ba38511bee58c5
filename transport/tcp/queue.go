package tcp

import (
	"net"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// batch is what waits to be written to one connection: the frames' heads one after the other in one buffer, and the
// blocks that go between them, which are never copied. Two batches take turns on a lane, so that in a steady state
// nothing is allocated.
type batch struct {
	heads  []byte
	blocks []raft.Block
	items  []item
	bytes  int
}

// item is one frame of a batch. Its head and its blocks begin where those of the item before it end.
type item struct {
	headsEnd  int
	blocksEnd int
	bytes     int
	message   bool // counts as a message; false for frames of the transport's own
	store     raft.StoreID
}

// headsKeepBytes is the largest heads buffer that an emptied batch keeps.
const headsKeepBytes = 1 << 20

func (b *batch) addMessage(m *raft.Message) {
	at := len(b.heads)
	b.heads = wire.AppendMessage(b.heads, m)
	b.blocks = append(b.blocks, m.Blocks...)
	b.close(item{bytes: len(b.heads) - at + blockBytes(m), message: true, store: m.ToStore})
}

// addFrame adds a whole frame without blocks.
func (b *batch) addFrame(frame []byte) {
	b.heads = append(b.heads, frame...)
	b.close(item{bytes: len(frame)})
}

func (b *batch) close(i item) {
	i.headsEnd, i.blocksEnd = len(b.heads), len(b.blocks)
	b.items = append(b.items, i)
	b.bytes += i.bytes
}

func (b *batch) messages() (n uint64) {
	for _, i := range b.items {
		if i.message {
			n++
		}
	}
	return n
}

// reset empties the batch and lets go of its blocks.
func (b *batch) reset() {
	clear(b.blocks)
	b.blocks, b.items, b.heads, b.bytes = b.blocks[:0], b.items[:0], b.heads[:0], 0
	if cap(b.heads) > headsKeepBytes {
		b.heads = nil
	}
}

// vector lists the batch's bytes in order, in vec, leaving out the messages that are meant for another store than the
// one that the connection leads to, and frames that the peer would not read. It returns how many messages are in it,
// and how many were left out for each reason.
func (b *batch) vector(vec net.Buffers, store raft.StoreID, frameBytesMax int) (_ net.Buffers, sent, strangers, tooLarge uint64) {
	run, headsAt, blocksAt := 0, 0, 0
	flush := func(end int) {
		if end > run {
			vec = append(vec, b.heads[run:end])
		}
	}
	for _, i := range b.items {
		stranger := !i.store.IsZero() && i.store != store
		switch {
		case stranger || i.bytes > frameBytesMax:
			if stranger {
				strangers++
			} else {
				tooLarge++
			}
			flush(headsAt)
			run = i.headsEnd
		case i.blocksEnd > blocksAt:
			flush(i.headsEnd)
			run = i.headsEnd
			for k := blocksAt; k < i.blocksEnd; k++ {
				vec = append(vec, b.blocks[k].Bytes())
			}
			sent++
		case i.message:
			sent++
		}
		headsAt, blocksAt = i.headsEnd, i.blocksEnd
	}
	flush(len(b.heads))
	return vec, sent, strangers, tooLarge
}

func blockBytes(m *raft.Message) (n int) {
	for i := range m.Blocks {
		n += m.Blocks[i].Size()
	}
	return n
}
