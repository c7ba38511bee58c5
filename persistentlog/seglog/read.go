package seglog

import (
	"fmt"
	"slices"
	"sort"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/raft"
)

// Groups returns the groups of the store in ascending order.
func (l *Log) Groups() ([]raft.GroupID, error) {
	if err := l.usable(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sorted(), nil
}

// Load returns what is in memory of a group, and reads its last block.
func (l *Log) Load(id raft.GroupID) (persistentlog.State, error) {
	if err := l.usable(); err != nil {
		return persistentlog.State{}, err
	}
	l.mu.Lock()
	g := l.groups[id]
	if g == nil {
		l.mu.Unlock()
		return persistentlog.State{First: 1, Next: 1, Hard: raft.HardState{Lost: l.lost}}, nil
	}
	state := g.spine.State(raft.Block{})
	state.Hard.Lost = state.Hard.Lost || l.lost
	if state.First == state.Next {
		l.mu.Unlock()
		return state, nil
	}
	read := reading{log: l, id: id, trail: slices.Clone(g.spine.Trail())}
	read.add(&g.index, state.Next-1, state.Next, state.Next, 1)
	l.mu.Unlock()
	defer read.done()
	blocks, err := read.blocks(state.Next-1, state.Next, 1)
	if err != nil {
		return persistentlog.State{}, err
	}
	state.Time, state.Chain = blocks[0].Time(), blocks[0].ChainAfter()
	return state, nil
}

// Blocks reads entries. It checks each block's checksum, its place, its term against the trail, and the chain hash from
// block to block.
func (l *Log) Blocks(id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
	if err := l.usable(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	g := l.groups[id]
	first, next := raft.Index(1), raft.Index(1)
	if g != nil {
		first, next = g.spine.First(), g.spine.Next()
	}
	if err := storeKind.CheckRange(id, first, next, from, to); err != nil {
		l.mu.Unlock()
		return nil, err
	}
	to = min(to, next)
	read := reading{log: l, id: id, trail: runsOf(g.spine.Trail(), from, to)}
	read.add(&g.index, from, to, next, maxBytes)
	l.mu.Unlock()
	defer read.done()
	return read.blocks(from, to, maxBytes)
}

// runsOf copies the runs that hold the range from up to to.
func runsOf(trail []raft.TermRun, from, to raft.Index) []raft.TermRun {
	begin := sort.Search(len(trail), func(i int) bool { return trail[i].First > from }) - 1
	end := sort.Search(len(trail), func(i int) bool { return trail[i].First >= to })
	return slices.Clone(trail[begin:end])
}

// reading is one call that reads blocks. What it reads cannot be taken away before it is done.
type reading struct {
	log   *Log
	id    raft.GroupID
	trail []raft.TermRun
	found []found
	held  []*segment
}

// add notes where the blocks stand that hold a range, or so much of it that they hold maxBytes bytes of it. The caller holds mu.
func (r *reading) add(x *index, from, to, next raft.Index, maxBytes int) {
	bytes := 0
	x.walk(from, next, func(f found) bool {
		if f.first >= to {
			return false
		}
		r.found = append(r.found, f)
		if n := len(r.held); n == 0 || r.held[n-1] != f.seg {
			f.seg.readers++
			r.held = append(r.held, f.seg)
		}
		if f.first >= from && f.end >= f.next && f.next <= to {
			bytes += f.size // of a block that is cut, nobody knows yet how much is left
		}
		return bytes < maxBytes
	})
}

func (r *reading) done() {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	for _, seg := range r.held {
		seg.readers--
	}
}

// runBytes is how much is read with one call, so that small blocks do not cost a call each.
const runBytes = 256 << 10

// run returns how many of the blocks stand so close together that they are read at once.
func run(blocks []found) (count int) {
	begin, before, wanted := blocks[0].offset, blocks[0].offset, int64(0)
	for _, f := range blocks {
		end := f.offset + int64(f.size)
		wanted += int64(f.size)
		// A block that was moved may stand behind one that follows it in the log.
		if count > 0 && (f.seg != blocks[0].seg || f.offset < before || end-begin > runBytes || end-begin > 2*wanted) {
			break
		}
		before = end
		count++
	}
	return count
}

func (r *reading) blocks(from, to raft.Index, maxBytes int) (blocks []raft.Block, err error) {
	collected := 0
	var chain uint64
	for rest := r.found; len(rest) > 0; {
		n := run(rest)
		begin, last := rest[0].offset, rest[n-1]
		b := make([]byte, last.offset+int64(last.size)-begin)
		if err := r.log.readAt(rest[0].seg, b, begin); err != nil {
			return nil, r.readError(rest[0], err)
		}
		for _, f := range rest[:n] {
			at := f.offset - begin
			part, err := r.block(f, b[at:at+int64(f.size):at+int64(f.size)], from, min(f.end, to))
			if err != nil {
				return nil, err
			}
			if len(blocks) > 0 && part.Chain() != chain {
				return nil, r.damaged(f, "chain hash %016x does not follow %016x: an entry before is not the one that was saved", part.Chain(), chain)
			}
			blocks = append(blocks, part)
			from = part.Next()
			if collected += part.Size(); from >= to || collected >= maxBytes {
				return blocks, nil
			}
			chain = part.ChainAfter()
		}
		rest = rest[n:]
	}
	if len(blocks) == 0 {
		return nil, storedir.Damaged(r.log.segments, r.id, from, "no block holds the index")
	}
	return blocks, nil
}

// block checks a block that was read and returns the part of it that is wanted.
func (r *reading) block(f found, record []byte, from, to raft.Index) (raft.Block, error) {
	r.log.readBytes.Add(uint64(len(record)))
	whole, err := raft.ParseBlock(record)
	if err != nil {
		return raft.Block{}, r.damaged(f, "%w", err)
	}
	if whole.Group() != r.id || whole.First() != f.first || whole.Next() != f.next {
		return raft.Block{}, r.damaged(f, "here stands a block of group %d from %d to %d", whole.Group(), whole.First(), whole.Next())
	}
	part := whole.Clip(from, to)
	if from >= to || part.First() != from || part.Next() != to {
		return raft.Block{}, r.damaged(f, "the block ends before %d, and none follows until %d", whole.Next(), to)
	}
	for len(r.trail) > 1 && r.trail[1].First <= from {
		r.trail = r.trail[1:]
	}
	if r.trail[0].Term != whole.Term() || len(r.trail) > 1 && r.trail[1].First < to {
		return raft.Block{}, r.damaged(f, "the block has term %d, and the trail %v", whole.Term(), r.trail)
	}
	return part, nil
}

// damaged names the file and the offset too.
func (r *reading) damaged(f found, format string, args ...any) error {
	return storedir.Damaged(fmt.Sprintf("%s offset %d", f.seg.path, f.offset), r.id, f.first, format, args...)
}

// readError is damage if the file is too short or not there, and else what the disk says.
func (r *reading) readError(f found, err error) error {
	if isTooShort(err) || isNotExist(err) {
		return r.damaged(f, "%w", err)
	}
	return fmt.Errorf("seglog: group %d index %d in %s: %w", r.id, f.first, f.seg.path, err)
}
