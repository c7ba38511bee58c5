package raft

import "sort"

// weights knows about how many bytes a range of recent entries takes, so that the Node can keep its windows without
// holding a byte of them. It keeps a point at every block that is large and else at every few KiB, and interpolates
// between points: a range is off by less than granule at either end, and where the log was cut inside it, and a large
// block is never split.
type weights struct {
	points []point
	next   Index
	total  uint64
}

// point says how many bytes lie before index.
type point struct {
	index Index
	bytes uint64
}

// granule is the distance of points, in bytes: 16 B of bookkeeping for each.
const granule = 4 << 10

// add appends a block.
func (w *weights) add(first, next Index, bytes int) {
	if len(w.points) == 0 || bytes >= granule || w.total-w.points[len(w.points)-1].bytes >= granule {
		w.points = append(w.points, point{index: first, bytes: w.total})
	}
	w.total += uint64(bytes)
	w.next = next
}

// span returns the points around i: the last one at or below it and the one after that, or the end.
func (w *weights) span(i Index) (p, q point, k int) {
	k = sort.Search(len(w.points), func(k int) bool { return w.points[k].index > i }) - 1
	q = point{index: w.next, bytes: w.total}
	if k+1 < len(w.points) {
		q = w.points[k+1]
	}
	return w.points[max(k, 0)], q, k
}

// before returns about how many bytes lie before index i, counted from an arbitrary start.
func (w *weights) before(i Index) uint64 {
	if len(w.points) == 0 || i >= w.next {
		return w.total
	}
	p, q, k := w.span(i)
	if k < 0 || q.index == p.index {
		return p.bytes
	}
	return p.bytes + (q.bytes-p.bytes)*uint64(i-p.index)/uint64(q.index-p.index)
}

// size returns about how many bytes the entries from index from up to, not including, index to take.
func (w *weights) size(from, to Index) int {
	if from >= to {
		return 0
	}
	return int(w.before(to) - w.before(from))
}

// cut returns where a message that begins at from ends, so that it takes at most about bytesMax bytes and at least one
// entry, and does not end inside a large block.
func (w *weights) cut(from, to Index, bytesMax int) Index {
	if w.size(from, to) <= bytesMax {
		return to
	}
	target := w.before(from) + uint64(bytesMax)
	k := sort.Search(len(w.points), func(k int) bool { return w.points[k].bytes > target }) - 1
	end := w.next
	if k >= 0 && w.points[k].index > from {
		end = w.points[k].index
	} else if k+1 < len(w.points) {
		end = w.points[k+1].index
	}
	return max(from+1, min(end, to))
}

func (w *weights) truncate(from Index) {
	if from >= w.next {
		return
	}
	w.total = w.before(from)
	for len(w.points) > 0 && w.points[len(w.points)-1].index >= from {
		w.points = w.points[:len(w.points)-1]
	}
	w.next = from
}

// forget drops the points that only describe entries below first.
func (w *weights) forget(first Index) {
	k := sort.Search(len(w.points), func(k int) bool { return w.points[k].index > first }) - 1
	if k > len(w.points)/2 { // amortised: each point is moved at most twice
		w.points = append(w.points[:0], w.points[k:]...)
	}
}
