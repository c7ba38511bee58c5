package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Turn takes everything that arrived since the last one and returns what is to be done. Messages and completions come
// before time, so that a reply that is there already is not taken for missing; proposals and reads come last, so that
// they meet the replica as it is now.
func (r *Replica) Turn(now time.Duration, in *Inputs) *Work {
	if r.started {
		r.work.reset()
	}
	r.started, r.now = true, now
	for i := range in.Messages {
		r.step(now, &in.Messages[i])
	}
	for _, j := range in.Finished {
		r.finish(now, j)
	}
	if in.stop != nil {
		r.fail(in.stop)
	}
	if r.fence != nil {
		r.refuseAll(in)
		return r.stopped()
	}
	r.offerWritten(now)
	for _, peer := range in.Unreachable {
		r.node.Unreachable(now, peer.ID, peer.Store)
	}
	for i := range in.Fetched {
		f := &in.Fetched[i]
		r.node.Fetched(now, f.By.ID, f.By.Store, f.Snapshot, f.Offset)
	}
	if now >= r.node.Deadline() {
		r.node.Tick(now)
	}
	r.retire(now)
	if !in.mayWait || r.resume || !r.Holds() {
		r.propose(now, in)
	}
	in.asked = true
	r.read(now, in.queries)
	r.order(now, in)
	r.wantSnapshots(in)
	r.node.CacheFrom(r.tail.first())
	actions := r.node.Actions()
	r.noteGivenUp(actions.GaveUp)
	r.carry(actions)
	if r.fence != nil {
		return r.stopped()
	}
	r.answerLeaving()
	r.dispatch()
	r.expireReads(now)
	r.startSnapshot()
	r.tail.evict()
	if r.fence != nil {
		return r.stopped()
	}
	r.work.Deadline = min(r.node.Deadline(), r.readsDeadline())
	if r.resumes() {
		r.work.Deadline = now
	}
	return &r.work
}

// resumes reports whether something waits for the next turn and for nothing else.
func (r *Replica) resumes() bool { return r.resume && len(r.parked) > 0 || len(r.orders.retiring) > 0 }

// step gives the Node a message, after what it cannot do by itself: decoding memberships, and checking that received
// blocks continue this very log where the tail knows what stands before them.
func (r *Replica) step(now time.Duration, m *raft.Message) {
	if r.fence != nil {
		return
	}
	if m.Type == raft.MessageAppendRequest && len(m.Blocks) > 0 {
		if err := r.inspect(m); err != nil {
			r.event(Event{Kind: EventDropped, Server: m.From, Err: err})
			return
		}
	}
	if m.WantSnapshot && (m.Type != raft.MessageAppendResponse || m.PrevIndex >= r.snapshot.pointer) {
		r.helpOut(now)
	}
	r.node.Step(now, m)
}

func (r *Replica) inspect(m *raft.Message) error {
	first := m.Blocks[0]
	chain, term, ok := r.tail.chainBefore(first.First())
	// Where the terms differ the logs part before these blocks, and the Node will say so.
	if ok && term == m.PrevTerm && chain != first.Chain() {
		return fmt.Errorf("entries from %d do not follow entry %d of this log, although index and term match: chain hash %016x, want %016x",
			first.First(), m.PrevIndex, first.Chain(), chain)
	}
	m.Memberships = nil
	for i, b := range m.Blocks {
		if i+1 < len(m.Blocks) && b.ChainAfter() != m.Blocks[i+1].Chain() {
			return fmt.Errorf("entries from %d do not follow those before them in one message", m.Blocks[i+1].First())
		}
		if b.Kind() != raft.KindMembership {
			continue
		}
		for body := range b.Entries() {
			decoded, err := wire.DecodeMembership(body)
			if err != nil {
				return err
			}
			m.Memberships = append(m.Memberships, raft.MembershipAt{Index: b.First(), Membership: decoded})
		}
	}
	return nil
}

// finish takes a job back.
func (r *Replica) finish(now time.Duration, j Job) {
	switch j := j.(type) {
	case *ApplyJob:
		r.finishApply(now, j)
	case *SaveJob:
		if r.fence == nil {
			r.finishSave(now, j)
		}
	case *QueryJob:
		r.finishQuery(j)
	case *CaptureJob:
		r.finishCapture(j)
	case *FillJob:
		if r.fence == nil {
			r.finishFill(now, j)
		}
	case *RestoreJob:
		if r.fence == nil {
			r.finishRestore(now, j)
		}
	case *WriteJob:
		if r.fence == nil {
			r.finishWrite(j)
		}
	case *CompactJob:
		if r.fence == nil {
			r.finishCompact(now, j)
		}
	case *FetchJob:
		if r.fence == nil {
			r.finishFetch(now, j)
		}
	}
}

// fail stops the replica for good. The turn goes on to its end, where everybody who waits is answered.
func (r *Replica) fail(why error) {
	if r.fence == nil && why != nil {
		r.fence = why
	}
}

// failStore stops the replica, and every other one on the same store.
func (r *Replica) failStore(why error) {
	if r.fence == nil {
		r.work.StoreFailed = true
	}
	r.fail(why)
}

// failIfDamaged stops every replica on the store if an error says that acknowledged data is damaged.
func (r *Replica) failIfDamaged(err error) {
	if errors.Is(err, persistentlog.ErrDamaged) {
		r.failStore(err)
	}
}

// failRead stops the replica, and if acknowledged data is damaged every other one on the same store.
func (r *Replica) failRead(why error) {
	r.failIfDamaged(why)
	r.fail(why)
}

// stopped ends a turn of a replica that has stopped: nothing leaves it any more, and everybody is answered.
func (r *Replica) stopped() *Work {
	why := fenced(r.fence)
	clear(r.work.Sends)
	r.work.Sends = r.work.Sends[:0]
	for _, j := range r.work.Jobs {
		if a, ok := j.(*ApplyJob); ok {
			r.countQueued(-a.bytes) // it will not be given back
		}
		j.Drop(why)
	}
	clear(r.work.Jobs)
	r.work.Jobs = r.work.Jobs[:0]
	r.work.Deadline = raft.Never
	if r.ended {
		// Everybody was told, also where the turn never came to forgetting what the one before had said.
		r.work.Fenced, r.work.StoreFailed = nil, false
		return &r.work
	}
	r.ended = true
	r.work.Fenced = r.fence
	r.event(Event{Kind: EventFenced, Err: r.fence})
	r.waiters = append(r.waiters, r.fresh...)
	r.fresh = nil
	for _, w := range r.waiters[r.waitersHead:] {
		r.answer(w.done, nil, unknown(why))
	}
	r.waiters, r.waitersHead = nil, 0
	for _, list := range [][]readBatch{r.reads, r.decided} {
		for i := range list {
			r.answerBatch(&list[i], why)
		}
	}
	r.reads, r.decided, r.held = nil, nil, nil
	r.answerSnapshots(why)
	r.stopOrders(why)
	r.dropParked(why)
	if r.fetch != nil {
		r.fetch.Cancel()
	}
	r.countOwn(-r.ownBytes)
	r.tail.reset(r.tail.next, r.tail.chain)
	r.shared.tails.replicas.Add(-1)
	return &r.work
}

// refuseAll answers what arrived at a replica that has stopped. None of it was appended.
func (r *Replica) refuseAll(in *Inputs) {
	why := fenced(r.fence)
	for i := range in.proposals {
		r.answer(in.proposals[i].done, nil, why)
	}
	in.proposed, in.asked = len(in.proposals), true
	for i := range in.queries {
		r.answer(in.queries[i].done, nil, why)
	}
	for ; in.ordered < len(in.orders); in.ordered++ {
		r.answer(in.orders[in.ordered].done, nil, why)
	}
	for _, done := range in.snapshots {
		r.answer(done, nil, why)
	}
}
