package seglog

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"github.com/oarlock/oarlock/raft"
)

// place is where one block stands in a segment: 16 bytes, because there is one for every block that is kept.
type place struct {
	delta  uint32 // first index, from the part's base on
	count  uint32 // entries
	offset uint32 // of the block in the segment
	size   uint32 // of the block
}

// part is a run of blocks of one group in one segment, by index.
type part struct {
	seg    *segment
	moved  bool // they were moved here
	base   raft.Index
	places []place
}

func (p *part) first(i int) raft.Index { return p.base + raft.Index(p.places[i].delta) }

// holding returns the last place that begins at or before an index, -1 if none does.
func (p *part) holding(at raft.Index) int {
	return sort.Search(len(p.places), func(i int) bool { return p.first(i) > at }) - 1
}

// index is where the blocks of one group stand. A block reaches up to where the next one begins: what stood behind was
// replaced. It keeps the counts of live blocks of the segments.
type index struct {
	parts []part
}

// found is one block of the index.
type found struct {
	seg         *segment
	first, next raft.Index // what the block holds
	end         raft.Index // up to where it counts
	offset      int64
	size        int
}

// drop takes places out of the counts of their segment.
func (p *part) drop(places []place) {
	for _, at := range places {
		p.seg.live -= int64(at.size)
	}
	p.seg.count -= len(places)
}

// append adds a block behind what stands before it, and drops what stands from its first index on.
func (x *index) append(seg *segment, moved bool, first raft.Index, at place) {
	x.truncate(first)
	n := len(x.parts)
	if n == 0 || x.parts[n-1].seg != seg || x.parts[n-1].moved != moved || first-x.parts[n-1].base > 1<<31 {
		x.parts = append(x.parts, part{seg: seg, moved: moved, base: first})
		n++
	}
	p := &x.parts[n-1]
	at.delta = uint32(first - p.base)
	p.places = append(p.places, at)
	seg.live += int64(at.size)
	seg.count++
}

// truncate drops the blocks that begin at an index or behind it.
func (x *index) truncate(from raft.Index) {
	for n := len(x.parts); n > 0; n-- {
		p := &x.parts[n-1]
		keep := p.holding(from-1) + 1
		p.drop(p.places[keep:])
		p.places = p.places[:keep]
		if keep > 0 {
			return
		}
		x.parts[n-1] = part{}
		x.parts = x.parts[:n-1]
	}
}

// cut drops the blocks that end before an index.
func (x *index) cut(first raft.Index) {
	for len(x.parts) > 0 {
		p := &x.parts[0]
		keep := max(p.holding(first), 0)
		if keep == len(p.places)-1 && len(x.parts) > 1 && x.parts[1].first(0) <= first {
			keep++
		}
		p.drop(p.places[:keep])
		p.places = p.places[keep:]
		if len(p.places) > 0 {
			return
		}
		x.parts = slices.Delete(x.parts, 0, 1)
	}
}

func (x *index) clear() {
	for i := range x.parts {
		x.parts[i].drop(x.parts[i].places)
	}
	x.parts = nil
}

// clip drops what does not belong to a log from first up to next.
func (x *index) clip(first, next raft.Index) {
	if first == next {
		x.clear()
		return
	}
	x.truncate(next)
	x.cut(first)
}

// partHolding returns the last part that begins at or before an index, -1 if none does.
func (x *index) partHolding(at raft.Index) int {
	return sort.Search(len(x.parts), func(i int) bool { return x.parts[i].first(0) > at }) - 1
}

// move gives the block that begins at first another place, or puts it between its neighbours if it has none yet.
func (x *index) move(seg *segment, first raft.Index, at place) {
	n := x.partHolding(first)
	var left, right part
	var behind []part
	if n >= 0 {
		p := x.parts[n]
		behind = slices.Clone(x.parts[n+1:])
		k := p.holding(first)
		if p.first(k) == first {
			p.drop(p.places[k : k+1])
			left, right = p, p
			left.places, right.places = p.places[:k:k], p.places[k+1:]
		} else {
			left, right = p, p
			left.places, right.places = p.places[:k+1:k+1], p.places[k+1:]
		}
	} else {
		behind = slices.Clone(x.parts)
		n = 0
	}
	x.parts = x.parts[:n]
	if len(left.places) > 0 {
		x.parts = append(x.parts, left)
	}
	x.append(seg, true, first, at) // nothing stands from first on now, so nothing is dropped
	if len(right.places) > 0 {
		x.parts = append(x.parts, right)
	}
	x.parts = append(x.parts, behind...)
}

// at returns the block at a place of a part. next is where the log ends.
func (x *index) at(n, k int, next raft.Index) found {
	p := &x.parts[n]
	at := p.places[k]
	f := found{seg: p.seg, first: p.first(k), offset: int64(at.offset), size: int(at.size), end: next}
	f.next = f.first + raft.Index(at.count)
	if k+1 < len(p.places) {
		f.end = p.first(k + 1)
	} else if n+1 < len(x.parts) {
		f.end = x.parts[n+1].first(0)
	}
	return f
}

// walk calls do with the blocks from the one that holds an index on, while it returns true. next is where the log ends.
func (x *index) walk(from, next raft.Index, do func(found) bool) {
	n := x.partHolding(from)
	if n < 0 {
		return
	}
	for k := x.parts[n].holding(from); n < len(x.parts); n, k = n+1, 0 {
		for ; k < len(x.parts[n].places); k++ {
			if !do(x.at(n, k, next)) {
				return
			}
		}
	}
}

// in calls do with the blocks that stand in a segment, while it returns true.
func (x *index) in(seg *segment, next raft.Index, do func(found) bool) {
	for n := range x.parts {
		if x.parts[n].seg != seg {
			continue
		}
		for k := range x.parts[n].places {
			if !do(x.at(n, k, next)) {
				return
			}
		}
	}
}

// check reports where the blocks of a log from first up to next leave a gap.
func (x *index) check(first, next raft.Index) (at raft.Index, err error) {
	if first == next {
		return 0, nil
	}
	if x.partHolding(first) < 0 {
		return first, fmt.Errorf("no block holds the index, and the log goes on before %d", next)
	}
	x.walk(first, next, func(f found) bool {
		if f.next < f.end || f.end == next && f.next != next {
			at, err = f.next, fmt.Errorf("the block at %d ends before %d, and the next one or the log's end is at %d", f.first, f.next, f.end)
		}
		return err == nil
	})
	return at, err
}

// appendTo lays out a part as it stands in a seal: the first index that deltas are counted from, and the places.
func (p *part) appendTo(buf []byte) []byte {
	buf = binary.BigEndian.AppendUint64(buf, uint64(p.base))
	for _, at := range p.places {
		buf = binary.BigEndian.AppendUint32(buf, at.delta)
		buf = binary.BigEndian.AppendUint32(buf, at.count)
		buf = binary.BigEndian.AppendUint32(buf, at.offset)
		buf = binary.BigEndian.AppendUint32(buf, at.size)
	}
	return buf
}

// addPart reads a part from a seal and adds its blocks.
func (x *index) addPart(seg *segment, it item) error {
	if len(it.data) < 8 || len(it.data)%16 != 8 {
		return fmt.Errorf("%w: %d bytes of places", errBadBatch, len(it.data))
	}
	base := raft.Index(binary.BigEndian.Uint64(it.data))
	for b := it.data[8:]; len(b) > 0; b = b[16:] {
		at := place{count: binary.BigEndian.Uint32(b[4:]), offset: binary.BigEndian.Uint32(b[8:]), size: binary.BigEndian.Uint32(b[12:])}
		first := base + raft.Index(binary.BigEndian.Uint32(b))
		if it.kind == itemMovedPlace {
			x.move(seg, first, at)
		} else {
			x.append(seg, false, first, at)
		}
	}
	return nil
}
