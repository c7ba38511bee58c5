package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// applyBytesMax is about how much of the tail one ApplyJob holds, so that a read that comes after it waits for no more.
const applyBytesMax = 4 << 20

// dispatch hands what is committed, with those who wait for it, to the apply lane, as far as its bound allows.
func (r *Replica) dispatch() {
	if !r.restored || !r.restoring.IsZero() {
		return
	}
	limit := r.commit + 1
	if r.apply.durable != nil {
		// A durable machine must not be ahead of the log that would be loaded after a crash.
		limit = min(limit, r.tail.saved)
	}
	behind := false
	for r.next < limit {
		if behind = r.jobs > 0 && r.unappliedFull(r.nextBytes()); behind {
			break
		}
		r.dispatchJob(limit)
	}
	r.bounds.behind.Store(behind)
	r.dispatchReads()
}

func (r *Replica) dispatchJob(limit raft.Index) {
	j := r.applyJob()
	j.from, j.to = r.next, limit
	if k := r.tail.find(r.next); k < 0 {
		// What the tail does not hold is durable and is read from the log, beside the loop.
		if r.tail.first() > r.next {
			j.to = min(limit, r.tail.first())
		}
		j.bytes = applyReadBytes
	} else {
		for ; k < len(r.tail.blocks) && r.tail.blocks[k].block.First() < limit; k++ {
			b := r.tail.blocks[k]
			size := int64(b.block.Size())
			if j.bytes > 0 && (j.bytes+size > applyBytesMax || r.bounds.unapplied.passes(j.bytes+size) || r.shared.bounds.unapplied.passes(j.bytes+size)) {
				j.to = b.block.First()
				break
			}
			j.blocks = append(j.blocks, b)
			j.bytes += size
		}
	}
	k := r.waitersHead
	for k < len(r.waiters) && r.waiters[k].index < j.to {
		k++
	}
	j.waitersKept = append(j.waitersKept, r.waiters[r.waitersHead:k]...)
	j.waiters = j.waitersKept
	clear(r.waiters[r.waitersHead:k])
	if r.waitersHead = k; k == len(r.waiters) {
		r.waiters, r.waitersHead = r.waiters[:0], 0
	} else if k > 1024 && k > len(r.waiters)/2 {
		n := copy(r.waiters, r.waiters[k:])
		clear(r.waiters[n:])
		r.waiters, r.waitersHead = r.waiters[:n], 0
	}
	r.next = j.to
	r.jobs++
	r.countQueued(j.bytes)
	r.add(j)
}

// nextBytes is what the next block to be applied adds to the unapplied bytes.
func (r *Replica) nextBytes() int64 {
	if k := r.tail.find(r.next); k >= 0 {
		return int64(r.tail.blocks[k].block.Size())
	}
	return applyReadBytes
}

func (r *Replica) unappliedFull(bytes int64) bool {
	return r.bounds.unapplied.full(bytes) || r.shared.bounds.unapplied.full(bytes)
}

func (r *Replica) countQueued(bytes int64) {
	r.queued += bytes
	r.bounds.unapplied.add(bytes)
	r.shared.bounds.unapplied.add(bytes)
}

// applyJob returns a job to be filled in, one that was used before if there is one.
func (r *Replica) applyJob() *ApplyJob {
	n := len(r.spare)
	if n == 0 {
		return &ApplyJob{a: r.apply, log: r.shared.options.Log, birth: r.birth}
	}
	j := r.spare[n-1]
	r.spare = r.spare[:n-1]
	*j = ApplyJob{a: r.apply, log: r.shared.options.Log, birth: r.birth, blocks: j.blocks[:0], waitersKept: j.waitersKept[:0]}
	return j
}

func (r *Replica) finishApply(now time.Duration, j *ApplyJob) {
	r.jobs--
	r.countQueued(-j.bytes)
	if r.fence != nil {
		return
	}
	switch {
	case j.err != nil:
		r.failRead(j.err)
		return
	case j.gone && r.installed >= j.from:
		// A snapshot was installed meanwhile. Its restore stands behind this job, or will.
	case j.gone:
		r.fail(fmt.Errorf("entry %d is to be applied and is not in the log any more", j.from))
		return
	default:
		r.applied = max(r.applied, j.to-1)
		r.snapshot.logBytes += j.applied
		r.node.Applied(now, r.applied, j.due, j.hasDue)
	}
	if len(r.spare) < 4 {
		clear(j.blocks)
		clear(j.waitersKept)
		r.spare = append(r.spare, j)
	}
}

// restore brings the machine to a snapshot that was installed and whose pointer is durable now.
func (r *Replica) restore(meta raft.SnapshotMeta) {
	r.add(&RestoreJob{
		a: r.apply, log: r.shared.options.Log, snapshots: r.shared.options.Snapshots, birth: r.birth, pointer: meta,
	})
}

func (r *Replica) finishRestore(now time.Duration, j *RestoreJob) {
	switch {
	case errors.Is(j.err, errBeforeMachine) && !j.start && j.pointer.Index < r.restoring.Index:
		return // so long did it wait that newer snapshots took its file's place; the newest one's restore follows
	case j.err != nil:
		r.fail(j.err)
		return
	case j.lost != nil && r.alone():
		r.fail(fmt.Errorf("%w: %w; this server is the group's only voter: put the snapshot's file back from a copy", persistentlog.ErrDamaged, j.lost))
		return
	case j.lost != nil:
		r.lost = j.lost
		r.event(Event{Kind: EventTrouble, Err: j.lost})
		r.node.NeedSnapshot(now, true)
		return
	}
	if j.damaged != nil {
		r.event(Event{Kind: EventTrouble, Err: fmt.Errorf("an older snapshot, at %d, serves instead: %w", j.at, j.damaged)})
		r.snapshot.wanted = true // a sound one, as soon as the log is applied
	}
	if r.lost != nil {
		r.lost = nil
		r.node.NeedSnapshot(now, false)
	}
	if !j.start {
		r.event(Event{Kind: EventInstalled, Index: j.at})
		if j.pointer.Same(r.restoring) {
			r.restoring = raft.SnapshotMeta{}
		}
	}
	r.restored = true
	r.next, r.applied = max(r.next, j.at+1), max(r.applied, j.at)
	r.dropCovered()
	r.node.Applied(now, r.applied, j.due, j.hasDue)
}

// dropCovered answers those who wait for entries that no apply job will bring any more, because a snapshot covers them.
// Whether the entries in it are theirs nobody here can say.
func (r *Replica) dropCovered() {
	k := r.waitersHead
	for ; k < len(r.waiters) && r.waiters[k].index < r.next; k++ {
		r.answer(r.waiters[k].done, nil, ErrUnknown)
		r.waiters[k].done = nil
	}
	r.waitersHead = k
}

// alone reports whether this server is the only voter.
func (r *Replica) alone() bool {
	only := r.membership.Voters
	return len(only) == 1 && !r.membership.Joint() && only[0].ID == r.shared.identity.Server && only[0].Store == r.shared.identity.Store
}
