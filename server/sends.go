package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// carrySend lets a message leave, or holds it until what it claims is durable.
func (r *Replica) carrySend(s *raft.Send) {
	if s.Wait > r.saves.done {
		r.hold(s)
		return
	}
	r.send(&s.Message)
}

// send fills an append's range in from the tail. A range that the tail has lost meanwhile is read beside the loop.
func (r *Replica) send(m *raft.Message) {
	if m.Type != raft.MessageAppendRequest || m.First == m.Next {
		r.work.Sends = append(r.work.Sends, *m)
		return
	}
	// Followers that keep up are sent the same range in the same turn, and may share the slice.
	if last := len(r.work.Sends) - 1; last >= 0 {
		if l := &r.work.Sends[last]; l.Type == m.Type && l.First == m.First && l.Next == m.Next && len(l.Blocks) > 0 {
			r.work.Sends = append(r.work.Sends, *m)
			r.work.Sends[last+1].Blocks = r.work.Sends[last].Blocks
			return
		}
	}
	blocks, ok := r.tail.slice(nil, m.First, m.Next)
	if ok {
		r.work.Sends = append(r.work.Sends, *m)
		r.work.Sends[len(r.work.Sends)-1].Blocks = blocks
		return
	}
	late := *m
	r.add(&FillJob{
		log: r.shared.options.Log, group: r.group.ID, late: &late,
		fill: raft.Fill{To: m.To, ToStore: m.ToStore, First: m.First, Next: m.Next, MaxBytes: r.shared.options.InflightBytesMax},
	})
}

func (r *Replica) carryFill(f raft.Fill) {
	j := &FillJob{log: r.shared.options.Log, group: r.group.ID, fill: f}
	// The tail may hold the beginning after all, and what is not saved yet stands nowhere else.
	if k := r.tail.find(f.First); k >= 0 {
		bytes, next := 0, f.First
		for ; k < len(r.tail.blocks) && next < f.Next && (bytes == 0 || bytes+r.tail.blocks[k].block.Size() <= f.MaxBytes); k++ {
			bytes += r.tail.blocks[k].block.Size()
			next = min(f.Next, r.tail.blocks[k].block.Next())
		}
		if blocks, ok := r.tail.slice(nil, f.First, next); ok {
			j.blocks, j.result = blocks, raft.FillRead
		}
	}
	r.add(j)
}

func (r *Replica) finishFill(now time.Duration, j *FillJob) {
	if j.err != nil {
		r.event(Event{Kind: EventTrouble, Server: j.fill.To, Err: j.err})
		if r.failIfDamaged(j.err); r.fence != nil {
			return
		}
		j.result = raft.FillDropped
	}
	next, bytes := j.read()
	if j.late == nil {
		m, send := r.node.Filled(now, j.fill.To, j.fill.ToStore, j.fill.Seq, j.result, next, bytes)
		if send {
			m.Blocks = j.blocks
			r.work.Sends = append(r.work.Sends, m)
		}
		return
	}
	// A message that came late is as good as one that the network delayed, if nothing has changed in between.
	if j.result == raft.FillRead && r.role == raft.RoleLeader && r.term == j.late.Term {
		m := *j.late
		m.Next, m.Blocks = next, j.blocks
		r.work.Sends = append(r.work.Sends, m)
		return
	}
	r.node.Unreachable(now, j.fill.To, j.fill.ToStore)
}

func (r *Replica) carryInstall(install raft.Install) {
	if r.fetch != nil {
		r.fetch.Cancel()
	}
	r.fetch = newFetchJob(r.shared.options.Transport, r.shared.options.Snapshots, install)
	r.add(r.fetch)
	r.event(Event{Kind: EventSnapshotFetch, Server: install.From, Index: install.Snapshot.Index})
}

func (r *Replica) finishFetch(now time.Duration, j *FetchJob) {
	if j.err != nil {
		r.fail(fmt.Errorf("fetch snapshot: %w", j.err))
		return
	}
	if j != r.fetch {
		return // a newer one has taken its place
	}
	r.fetch = nil
	if j.soft != nil {
		r.event(Event{Kind: EventTrouble, Server: j.install.From, Err: j.soft})
		spoilt := errors.Is(j.soft, transport.ErrChunkRefused) || errors.Is(j.soft, persistentlog.ErrDamaged)
		r.node.InstallFailed(now, j.install.Snapshot, spoilt)
		return
	}
	r.node.Installed(now, j.install.Snapshot)
}
