package server

import "sync/atomic"

// Bound is one limit in bytes, with what it has seen. Its counters may be read from any goroutine.
type Bound struct {
	Max     int64
	now     atomic.Int64
	peak    atomic.Int64
	refused atomic.Uint64
}

// BoundStatus is what a Bound looks like at one moment.
type BoundStatus struct {
	Bytes     int64  // queued now
	BytesPeak int64  // the most there ever was
	BytesMax  int64  // the bound
	Refused   uint64 // how many requests it has turned away
}

func (b *Bound) add(n int64) {
	v := b.now.Add(n)
	for n > 0 {
		p := b.peak.Load()
		if v <= p || b.peak.CompareAndSwap(p, v) {
			return
		}
	}
}

// full reports whether n bytes more would pass the bound. What is empty takes anything.
func (b *Bound) full(n int64) bool {
	now := b.now.Load()
	return now > 0 && now+n > b.Max
}

// passes reports whether n bytes, which something that is not empty any more has in part already, would pass the bound.
func (b *Bound) passes(n int64) bool { return b.now.Load()+n > b.Max }

// Status returns the bound's counters.
func (b *Bound) Status() BoundStatus {
	return BoundStatus{Bytes: b.now.Load(), BytesPeak: b.peak.Load(), BytesMax: b.Max, Refused: b.refused.Load()}
}

// bounds are the three queues that are limited, for one group or for a server.
type bounds struct {
	inbox, uncommitted, unapplied Bound
	// behind: something is committed that finds no room on its way to the state machine, so no more should come.
	behind atomic.Bool
}
