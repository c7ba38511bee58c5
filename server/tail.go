package server

import (
	"sort"
	"sync/atomic"

	"github.com/oarlock/oarlock/raft"
)

// tailBudget is the room that the tails of all of a server's replicas share. A replica that finds it exceeded drops
// what it holds above its even share; nobody is asked to drop what is not yet saved.
type tailBudget struct {
	max      int64
	bytes    atomic.Int64
	replicas atomic.Int64
}

func (b *tailBudget) share() int64 { return b.max / max(1, b.replicas.Load()) }

func (b *tailBudget) exceeded() bool { return b.bytes.Load() > b.max }

// chained is a block and the chain hash after its last entry.
type chained struct {
	block raft.Block
	after uint64
}

// tail holds a replica's recent blocks, contiguous up to the end of its log: followers are fed from it and commands are
// applied from it. What is not yet saved is always in it, so a range that it lacks can be read from the log.
type tail struct {
	blocks []chained // from head on
	head   int
	next   raft.Index // the end of the log, also when no block is held
	chain  uint64     // the chain hash there
	saved  raft.Index // below it everything is durable
	bytes  int64
	own    atomic.Int64 // bytes, for those who look from other goroutines
	budget *tailBudget
}

func (t *tail) held() []chained { return t.blocks[t.head:] }

// first is the first index that is held; next when there is none.
func (t *tail) first() raft.Index {
	if t.head == len(t.blocks) {
		return t.next
	}
	return t.blocks[t.head].block.First()
}

// reset empties the tail at the end of a log that begins anew.
func (t *tail) reset(next raft.Index, chain uint64) {
	t.add(-t.bytes)
	clear(t.blocks)
	t.blocks, t.head = t.blocks[:0], 0
	t.next, t.chain = next, chain
}

func (t *tail) add(bytes int64) {
	t.bytes += bytes
	t.own.Store(t.bytes)
	t.budget.bytes.Add(bytes)
}

// append puts a block at the end of the log; it first cuts what the block replaces. The block's chain hash must be the
// one that stands before it here, which is false only where two logs that match by index and term do not hold the same.
func (t *tail) append(b raft.Block) bool {
	if b.First() < t.next && !t.truncate(b.First(), b.Chain()) {
		return false
	}
	if b.First() != t.next || b.Chain() != t.chain {
		return false
	}
	t.makeRoom(int64(b.Size()))
	t.chain, t.next = b.ChainAfter(), b.Next()
	t.blocks = append(t.blocks, chained{block: b, after: t.chain})
	t.add(int64(b.Size()))
	return true
}

// truncate cuts the log's end from index from on. chain is the hash before it, which is believed where the tail does not
// reach back so far.
func (t *tail) truncate(from raft.Index, chain uint64) bool {
	for len(t.blocks) > t.head {
		last := &t.blocks[len(t.blocks)-1]
		if last.block.Next() <= from {
			break
		}
		t.add(-int64(last.block.Size()))
		part := last.block.Clip(last.block.First(), from)
		if part.Meta().Count > 0 {
			*last = chained{block: part, after: part.ChainAfter()}
			t.add(int64(part.Size()))
			break
		}
		*last = chained{}
		t.blocks = t.blocks[:len(t.blocks)-1]
	}
	t.next, t.chain = from, chain
	t.saved = min(t.saved, from)
	if n := len(t.blocks); n > t.head {
		return t.blocks[n-1].after == chain
	}
	return true
}

// find returns the position of the block that holds index, or -1.
func (t *tail) find(index raft.Index) int {
	held := t.held()
	if index >= t.next || len(held) == 0 || index < held[0].block.First() {
		return -1
	}
	return t.head + sort.Search(len(held), func(k int) bool { return held[k].block.Next() > index })
}

// slice appends the blocks that hold the entries from index from up to, not including, index to, clipped at both ends.
// It appends nothing and reports false when part of the range is not held.
func (t *tail) slice(dst []raft.Block, from, to raft.Index) ([]raft.Block, bool) {
	k := t.find(from)
	if k < 0 || to > t.next {
		return dst, false
	}
	for ; k < len(t.blocks) && t.blocks[k].block.First() < to; k++ {
		dst = append(dst, t.blocks[k].block.Clip(from, to))
	}
	return dst, true
}

// chainBefore returns the chain hash before index and the term of the entry in front of it, where the tail knows both.
func (t *tail) chainBefore(index raft.Index) (chain uint64, term raft.Term, ok bool) {
	k := t.find(index - 1)
	if k < 0 {
		return 0, 0, false
	}
	b := t.blocks[k]
	if b.block.Next() == index {
		return b.after, b.block.Term(), true
	}
	return b.block.Clip(b.block.First(), index).ChainAfter(), b.block.Term(), true
}

// unsaved returns how many bytes of blocks are not durable yet.
func (t *tail) unsaved() (bytes int64) {
	for k := len(t.blocks) - 1; k >= t.head && t.blocks[k].block.Next() > t.saved; k-- {
		bytes += int64(t.blocks[k].block.Size())
	}
	return bytes
}

// evict drops blocks from the front while the budget is exceeded and the tail holds more than its share. What is not
// saved stays; how much that can be is bounded elsewhere, by what a leader takes and what it sends ahead of the answers.
func (t *tail) evict() { t.makeRoom(0) }

// makeRoom is evict for what is about to come.
func (t *tail) makeRoom(bytes int64) {
	for t.head < len(t.blocks) && t.budget.bytes.Load()+bytes > t.budget.max && t.bytes+bytes > t.budget.share() {
		front := t.blocks[t.head]
		if front.block.Next() > t.saved {
			break
		}
		t.add(-int64(front.block.Size()))
		t.blocks[t.head] = chained{}
		t.head++
	}
	if t.head > 32 && t.head > len(t.blocks)/2 {
		n := copy(t.blocks, t.blocks[t.head:])
		clear(t.blocks[n:])
		t.blocks, t.head = t.blocks[:n], 0
	}
}
