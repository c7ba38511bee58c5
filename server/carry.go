package server

import (
	"fmt"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// carry carries the Node's actions out, in the order in which their fields stand.
func (r *Replica) carry(a *raft.Actions) {
	for i := range a.Traces {
		r.event(Event{Kind: EventTrace, Trace: a.Traces[i], Server: a.Traces[i].Server})
		if a.Traces[i].Kind == raft.TraceRefusedByPeer {
			r.tellRefusal(&a.Traces[i])
			r.tellRemoved()
		}
	}
	if a.Fault != nil {
		r.fail(a.Fault)
		return
	}
	r.releaseCommitted(a.Commit) // before new blocks are counted
	if a.Save.Seq != 0 {
		if r.carrySave(a); r.fence != nil {
			return
		}
	}
	r.snapshotOffered(&a.Save)
	if a.ChangeEnded != nil {
		r.changeEnded(a.ChangeEnded)
	}
	if a.TransferEnded != nil {
		r.resume = true
		r.transferEnded(a.TransferEnded)
	}
	was := r.role
	r.carryRole(a)
	for i := range a.Sends {
		r.carrySend(&a.Sends[i])
	}
	for i := range a.Fills {
		r.carryFill(a.Fills[i])
	}
	moved, left := r.commit != a.Commit, was == raft.RoleLeader && r.role != was
	r.commit = a.Commit
	if len(a.Reads) > 0 {
		r.carryReads(a.Reads)
	}
	if !a.Install.Snapshot.IsZero() {
		r.carryInstall(a.Install)
	}
	if a.Membership != nil {
		r.membership = a.Membership.Membership
		r.event(Event{Kind: EventMembership, Index: a.Membership.Index})
	}
	news := a.Membership != nil || moved && len(r.orders.memberships) > 1
	if news {
		r.followMembership(a.Membership != nil)
		r.work.Members = r.members()
	}
	if news || left {
		r.tellRemoved()
	}
}

// saveProgress knows which saves are under way and what each makes durable.
type saveProgress struct {
	done    raft.SaveSeq
	pending []pendingSave
}

type pendingSave struct {
	seq     raft.SaveSeq
	next    raft.Index // with it the present log is durable up to here; zero: it adds nothing
	pointer *raft.SnapshotMeta
	restore bool
}

func (s *saveProgress) truncated(from raft.Index) {
	for k := range s.pending {
		s.pending[k].next = min(s.pending[k].next, from)
	}
}

// carrySave completes the Node's blanks, keeps the blocks in the tail, and asks for them to be made durable.
func (r *Replica) carrySave(a *raft.Actions) {
	s := &a.Save
	p := pendingSave{seq: s.Seq, pointer: s.Snapshot, restore: !a.Restore.IsZero() && s.Snapshot != nil}
	if s.Birth != nil {
		r.birth = s.Birth
	}
	if s.Installed {
		r.saves.truncated(0)
		r.tail.reset(s.Snapshot.Index+1, s.Snapshot.Chain)
		r.tail.saved = 0
		r.installed = s.Snapshot.Index
		p.next = s.Snapshot.Index + 1
	}
	if p.restore {
		r.restoring = a.Restore
	}
	blocks := make([]raft.Block, len(s.Blocks))
	for i, b := range s.Blocks {
		if b.First() < r.tail.next {
			r.saves.truncated(b.First())
		}
		if b.IsBlank() {
			var err error
			if b, err = r.complete(b, a.Membership); err != nil {
				r.fail(err)
				return
			}
		}
		if !r.tail.append(b) {
			r.fail(fmt.Errorf("entries from %d do not follow this log, which ends before %d: two logs that match by index and term differ", b.First(), r.tail.next))
			return
		}
		r.snapshot.appended(b, r.group.SnapshotKeepBytes)
		blocks[i], p.next = b, b.Next()
	}
	r.built = r.built[:0]
	r.saves.pending = append(r.saves.pending, p)
	r.add(newSaveJob(r.shared.options.Log, r.group.ID, s, blocks))
}

// complete makes one of the leader's own blocks from the Node's word for it.
func (r *Replica) complete(b raft.Block, m *raft.MembershipAt) (raft.Block, error) {
	meta := b.Meta()
	meta.Chain = r.tail.chain
	switch meta.Kind {
	case raft.KindCommand, raft.KindSession:
		for k := range r.built {
			if r.built[k].first == meta.First {
				buf := r.built[k].buf
				r.built[k].buf = nil
				r.ownAppended(meta, len(buf))
				return raft.NewBlock(meta, buf), nil
			}
		}
	case raft.KindMembership:
		if m != nil && m.Index == meta.First {
			body := wire.AppendMembership(nil, m.Membership)
			return raft.NewBlock(meta, raft.AppendEntry(make([]byte, raft.BlockHeaderSize, raft.BlockHeaderSize+5+len(body)), body)), nil
		}
	case raft.KindNoOp, raft.KindClock:
		return raft.NewBlock(meta, raft.AppendEntry(make([]byte, raft.BlockHeaderSize, raft.BlockHeaderSize+2), nil)), nil
	}
	return b, fmt.Errorf("the consensus module appended a %s entry at %d that nobody proposed", meta.Kind, meta.First)
}

func (r *Replica) finishSave(now time.Duration, j *SaveJob) {
	if j.err != nil {
		r.failStore(fmt.Errorf("save: %w", j.err))
		return
	}
	r.saves.done = j.seq
	k := 0
	for ; k < len(r.saves.pending) && r.saves.pending[k].seq <= j.seq; k++ {
		p := r.saves.pending[k]
		r.tail.saved = max(r.tail.saved, min(p.next, r.tail.next))
		if p.pointer != nil {
			r.pointerSaved(now, *p.pointer)
		}
		if p.restore {
			r.restore(*p.pointer)
		}
	}
	r.saves.pending = append(r.saves.pending[:0], r.saves.pending[k:]...)
	r.node.Saved(now, j.seq)
	r.release()
}

// carryRole answers those who wait for entries of a leadership that has ended. What is committed will still be executed.
func (r *Replica) carryRole(a *raft.Actions) {
	for i := range r.fresh {
		r.fresh[i].term = a.Term
	}
	r.waiters = append(r.waiters, r.fresh...) // before they are looked at: leadership may have ended in the turn that appended them
	clear(r.fresh)
	r.fresh = r.fresh[:0]
	lost := a.Role != raft.RoleLeader || a.Term != r.term
	if lost {
		r.dropWaiters(a.Commit)
	}
	if a.Role != r.role || a.Leader != r.leader || a.Term != r.term {
		if a.Role != r.role {
			r.event(Event{Kind: EventRole, Term: a.Term, Role: a.Role, Server: a.Leader})
		}
		if a.Leader != r.leader {
			r.event(Event{Kind: EventLeader, Term: a.Term, Role: a.Role, Server: a.Leader})
		}
		if a.Term != r.term {
			r.termEnded()
		}
		r.role, r.term, r.leader = a.Role, a.Term, a.Leader
	}
	if lost {
		r.dropOrders()
		if len(r.parked) > 0 {
			r.dropParked(r.notLeader())
		}
	}
}

// dropWaiters gives up on entries above the commit index.
func (r *Replica) dropWaiters(commit raft.Index) {
	k := len(r.waiters)
	for k > r.waitersHead && r.waiters[k-1].index > commit {
		k--
	}
	lost := r.waiters[k:]
	for i := range lost {
		r.answer(lost[i].done, nil, errUnknownDeposed)
	}
	clear(lost)
	r.waiters = r.waiters[:k]
	r.countOwn(-r.ownBytes)
	r.own, r.ownNext = r.own[:0], 0 // where they ended says nothing of a later leadership, whose log may be shorter
}

// releaseCommitted takes what a quorum has off the uncommitted bytes.
func (r *Replica) releaseCommitted(commit raft.Index) {
	k, bytes := 0, int64(0)
	for ; k < len(r.own) && r.own[k].next <= commit+1; k++ {
		bytes += r.own[k].bytes
	}
	if k > 0 {
		r.countOwn(-bytes)
		r.own = append(r.own[:0], r.own[k:]...)
	}
}
