package server

import (
	"time"

	"github.com/oarlock/oarlock/raft"
)

// readBatch is the reads of one turn, which are confirmed by one round.
type readBatch struct {
	id      raft.ReadID
	index   raft.Index
	queries []query
	bytes   int64 // what they count as until they are answered
}

func (r *Replica) answerBatch(b *readBatch, err error) {
	for i := range b.queries {
		r.answer(b.queries[i].done, nil, err)
	}
	clear(b.queries)
	r.countReads(-b.bytes)
}

// read has the Node confirm everything that arrived in this turn at once (dissertation 6.4).
func (r *Replica) read(now time.Duration, qs []query) {
	if len(qs) == 0 {
		return
	}
	r.readID++
	err := raft.ErrNotLeader
	if r.role == raft.RoleLeader {
		err = r.node.ReadIndex(now, r.readID)
	}
	if err != nil {
		err = r.refusal(err)
		for i := range qs {
			r.answer(qs[i].done, nil, err)
		}
		return
	}
	var bytes int64
	for i := range qs {
		bytes += qs[i].size()
	}
	r.countReads(bytes)
	var memory []query
	if n := len(r.idle); n > 0 {
		memory = r.idle[n-1]
		r.idle = r.idle[:n-1]
	}
	r.reads = append(r.reads, readBatch{id: r.readID, queries: append(memory[:0], qs...), bytes: bytes})
}

func (r *Replica) countReads(bytes int64) {
	r.bounds.unapplied.add(bytes)
	r.shared.bounds.unapplied.add(bytes)
}

func (r *Replica) carryRead(read raft.Read) {
	for k := range r.reads {
		if r.reads[k].id != read.ID {
			continue
		}
		b := r.reads[k]
		r.reads = append(r.reads[:k], r.reads[k+1:]...)
		if read.Err != nil {
			r.answerBatch(&b, r.refusal(read.Err))
			r.recycle(b.queries)
			return
		}
		b.index = read.Index
		r.decided = append(r.decided, b)
		return
	}
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
			a: r.apply, queries: b.queries, memory: b.queries, bytes: b.bytes,
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

func (r *Replica) recycle(qs []query) {
	if len(r.idle) < 8 {
		r.idle = append(r.idle, qs)
	}
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
