package server

import (
	"fmt"
	"sort"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// Consistency is what the answer of a query has to reflect; its zero value is linearizable.
type Consistency = raft.Consistency

// The levels of consistency, with the names and meanings that they have in package raft.
const (
	Linearizable = raft.Linearizable // everything that was answered to anyone before the query began
	Stale        = raft.Stale        // whatever this server has applied
	Lease        = raft.Lease        // as Linearizable, on the word of the servers' clocks
	Bounded      = raft.Bounded      // what is older than MaxAge, and the log up to MinIndex
)

// readBatch is reads that wait for the same thing.
type readBatch struct {
	id      raft.ReadID
	asked   time.Duration // when the Node was asked: what it confirms is as new as that
	index   raft.Index    // what the machine must have executed, once that is known
	by      time.Duration // when it is refused if it does not have it then
	queries []query
	bytes   int64 // what they count as until they are answered
	over    bool  // the Node has decided what it was asked
}

// confirmation is what is known of the past: all that was answered to anyone before at is within the log up to index.
type confirmation struct {
	known bool
	at    time.Duration
	index raft.Index
}

// confirms takes what was confirmed to have been so at a time.
func (r *Replica) confirms(at time.Duration, index raft.Index) {
	if !r.latest.known || at >= r.latest.at {
		r.latest = confirmation{known: true, at: at, index: index}
	}
}

// heldLease is the leader's lease in one turn, looked at when the first read wants it.
type heldLease struct {
	asked, held bool
	index       raft.Index
}

func (r *Replica) lease(now time.Duration, l *heldLease) (raft.Index, bool) {
	if !l.asked {
		l.asked = true
		if l.index, l.held = r.node.Lease(now); l.held {
			r.confirms(now, l.index)
		}
	}
	return l.index, l.held
}

// readPatience is how many of the longest election timeouts a read waits for entries that this server does not have yet.
const readPatience = 2

func (r *Replica) countReads(bytes int64) {
	r.bounds.unapplied.add(bytes)
	r.shared.bounds.unapplied.add(bytes)
}

// join puts a query into a batch, and its bytes, which are counted for all that join in a turn.
func (r *Replica) join(b *readBatch, q *query) {
	if b.queries == nil {
		if n := len(r.idle); n > 0 {
			b.queries = r.idle[n-1][:0]
			r.idle = r.idle[:n-1]
		}
	}
	b.queries = append(b.queries, *q)
	b.bytes += q.size()
}

// answerBatch refuses everybody in a batch.
func (r *Replica) answerBatch(b *readBatch, err error) {
	for i := range b.queries {
		r.answer(b.queries[i].done, nil, err)
	}
	clear(b.queries)
	r.countReads(-b.bytes)
	r.recycle(b.queries)
}

func (r *Replica) recycle(qs []query) {
	if cap(qs) > 0 && len(r.idle) < 8 {
		r.idle = append(r.idle, qs)
	}
}

// read takes the reads of a turn. now was read after they had arrived: a lease, or an age, that is judged at another time
// says nothing of them. What has to be confirmed is confirmed at once for all (dissertation 6.4).
func (r *Replica) read(now time.Duration, qs []query) {
	if len(qs) == 0 {
		return
	}
	var ready, asked readBatch
	var lease heldLease
	var refused error
	for i := range qs {
		q := &qs[i]
		r.counts.levels[q.consistency.Level&3].Add(1)
		if q.leader && r.role != raft.RoleLeader && q.consistency.Level != raft.Stale {
			if refused == nil {
				refused = r.notLeader()
			}
			r.answer(q.done, nil, refused)
			continue
		}
		if index, ok := r.knows(now, q, &lease); ok {
			r.join(&ready, q)
			ready.index = max(ready.index, index)
		} else if under := r.underWay(now, q); under != nil {
			r.join(under, q)
			r.countReads(q.size())
		} else {
			r.join(&asked, q)
		}
	}
	r.countReads(ready.bytes + asked.bytes)
	if len(asked.queries) > 0 {
		r.readID++
		r.counts.confirmed.Add(1)
		asked.id, asked.asked = r.readID, now
		if err := r.node.ReadIndex(now, r.readID); err != nil {
			r.answerBatch(&asked, r.refusal(err))
		} else {
			r.reads = append(r.reads, asked)
		}
	}
	if len(ready.queries) > 0 {
		r.decide(now, ready)
	}
}

// knows returns what a read has to see, if nobody has to be asked for it.
func (r *Replica) knows(now time.Duration, q *query, l *heldLease) (raft.Index, bool) {
	c := &q.consistency
	switch {
	case c.Level == raft.Stale, c.Level == raft.Bounded && c.MaxAge == 0:
		return 0, true
	case c.Level == raft.Bounded && r.latest.known && r.latest.at >= now-c.MaxAge:
		return r.latest.index, true
	case c.Level == raft.Lease, c.Level == raft.Bounded:
		index, ok := r.lease(now, l)
		if ok {
			r.counts.leased.Add(1)
		}
		return index, ok
	}
	return 0, false
}

// underWay returns the reads that a bounded one may join, because they asked late enough.
func (r *Replica) underWay(now time.Duration, q *query) *readBatch {
	if n := len(r.reads); n > 0 && q.consistency.Level == raft.Bounded && r.reads[n-1].asked >= now-q.consistency.MaxAge {
		return &r.reads[n-1]
	}
	return nil
}

// carryReads takes the reads that the Node has decided in a turn: without a leader all that wait may be given up in one.
func (r *Replica) carryReads(reads []raft.Read) {
	first := len(r.reads)
	for _, read := range reads {
		k := sort.Search(len(r.reads), func(k int) bool { return r.reads[k].id >= read.ID })
		if k == len(r.reads) || r.reads[k].id != read.ID || r.reads[k].over {
			continue
		}
		first = min(first, k)
		r.reads[k].over = true
		r.carryRead(r.reads[k], read)
	}
	kept := r.reads[:first]
	for k := first; k < len(r.reads); k++ {
		if !r.reads[k].over {
			kept = append(kept, r.reads[k])
		}
	}
	clear(r.reads[len(kept):])
	r.reads = kept
}

func (r *Replica) carryRead(b readBatch, read raft.Read) {
	if read.Err != nil {
		r.answerBatch(&b, r.refusal(read.Err))
		return
	}
	r.confirms(b.asked, read.Index)
	b.index = read.Index
	r.decide(r.now, b)
}

// decide takes reads whose index is known. Who has asked for a later one waits for that by itself and holds nobody up.
func (r *Replica) decide(now time.Duration, b readBatch) {
	b.by = now + readPatience*r.group.ElectionTimeoutMax
	kept := b.queries[:0]
	for _, q := range b.queries {
		if q.consistency.MinIndex < r.next || q.consistency.MinIndex <= b.index {
			kept = append(kept, q)
			b.index = max(b.index, q.consistency.MinIndex)
			continue
		}
		b.bytes -= q.size()
		r.decided = append(r.decided, readBatch{index: q.consistency.MinIndex, by: b.by, queries: []query{q}, bytes: q.size()})
	}
	clear(b.queries[len(kept):])
	if b.queries = kept; len(kept) == 0 {
		r.recycle(kept)
		return
	}
	r.decided = append(r.decided, b)
}

// dispatchReads puts reads into the apply lane once everything that they have to see stands before them there. What only
// waits for the moment is answered from here when that has passed.
func (r *Replica) dispatchReads() {
	if len(r.decided) == 0 {
		return
	}
	kept := r.decided[:0]
	for _, b := range r.decided {
		if b.index >= r.next {
			kept = append(kept, b)
			continue
		}
		if b.index <= r.applied {
			b.queries = r.confirmed(b.queries)
		}
		if len(b.queries) == 0 {
			r.countReads(-b.bytes)
			r.recycle(b.queries)
			continue
		}
		r.add(&QueryJob{
			a: r.apply, index: b.index, queries: b.queries, memory: b.queries, bytes: b.bytes,
			counted: [2]*Bound{&r.bounds.unapplied, &r.shared.bounds.unapplied},
		})
	}
	clear(r.decided[len(kept):])
	r.decided = kept
}

// confirmed answers the queries that ask for no more than the moment and returns the others.
func (r *Replica) confirmed(qs []query) []query {
	kept := qs[:0]
	for _, q := range qs {
		if q.confirm {
			r.answer(q.done, nil, nil)
			continue
		}
		kept = append(kept, q)
	}
	clear(qs[len(kept):])
	return kept
}

// expireReads refuses the reads that have waited for too long: another server may have what this one does not get. Where a
// leader has committed it there is nothing to wait for but the machine, and no other server to ask; but a leader may have been
// told of an index above its commit index, before it was elected, and may be deposed before it has committed that.
func (r *Replica) expireReads(now time.Duration) {
	kept := r.decided[:0]
	for _, b := range r.decided {
		if now >= b.by && r.role == raft.RoleLeader && b.index <= r.commit {
			b.by = now + readPatience*r.group.ElectionTimeoutMax
		}
		if now < b.by {
			kept = append(kept, b)
			continue
		}
		r.counts.behind.Add(uint64(len(b.queries)))
		if b.index <= r.applied {
			r.answerBatch(&b, fmt.Errorf("%w: a snapshot is being restored", ErrBehind))
			continue
		}
		r.answerBatch(&b, behind(b.index, r.applied))
	}
	clear(r.decided[len(kept):])
	r.decided = kept
}

// readsDeadline is when the first of the reads that wait is refused.
func (r *Replica) readsDeadline() time.Duration {
	at := raft.Never
	for i := range r.decided {
		at = min(at, r.decided[i].by)
	}
	return at
}

// behind says what a read would have had to see.
func behind(index, applied raft.Index) error {
	return fmt.Errorf("%w: the answer has to reflect entry %d, and %d is applied", ErrBehind, index, applied)
}

func (r *Replica) finishQuery(j *QueryJob) {
	if r.fence != nil {
		return
	}
	if j.err != nil {
		r.fail(j.err)
		return
	}
	if j.memory != nil {
		clear(j.memory)
		r.recycle(j.memory)
	}
}

// readCounters count reads; local ones are counted without a turn.
type readCounters struct {
	levels            [4]atomic.Uint64
	leased, confirmed atomic.Uint64
	behind            atomic.Uint64
}

// ReadCounts are a replica's queries and barriers since its start.
type ReadCounts struct {
	Linearizable, Lease, Bounded, Stale uint64 // by what they asked for, refused ones too

	Leased    uint64 // rested on the leader's lease, of those that asked for Lease or Bounded
	Confirmed uint64 // how often the leader was asked to confirm that it leads: each time for all reads that waited
	Behind    uint64 // refused, because this server did not have in time what they had to see
}

func (c *readCounters) read() ReadCounts {
	return ReadCounts{
		Linearizable: c.levels[raft.Linearizable].Load(), Lease: c.levels[raft.Lease].Load(), Bounded: c.levels[raft.Bounded].Load(),
		Stale: c.levels[raft.Stale].Load(), Leased: c.leased.Load(), Confirmed: c.confirmed.Load(), Behind: c.behind.Load(),
	}
}
