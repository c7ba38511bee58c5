package raft

import "time"

// What a host does beside its turns: apply, fill, take and fetch snapshots, compact.

// step gives the Node a message, after what a server checks before: that its blocks continue the log they claim to.
func (h *host) step(m Message) {
	m.Memberships = nil
	for _, b := range m.Blocks {
		if b.Kind() == KindMembership {
			m.Memberships = append(m.Memberships, MembershipAt{Index: b.First(), Membership: decodeMembership(entriesOf(b)[0].body)})
		}
	}
	switch m.Type {
	case MessageAppendRequest:
		h.bound = max(h.bound, m.Next-1)
	case MessageHeartbeatRequest:
		h.bound = max(h.bound, m.PrevIndex)
	case MessageSnapshotOffer:
		h.bound = max(h.bound, m.Snapshot.Index)
	}
	h.node.Step(h.c.now, &m)
}

// apply brings the state machine to the commit index, some time later.
func (h *host) apply(commit Index) {
	if commit <= h.appliedTo || h.restore != nil || h.needSnapshot {
		return
	}
	h.appliedTo = commit
	h.c.schedule(h.c.now+h.c.pace.apply, h.id, h.run, func(h *host) { h.applyNow(commit) })
}

func (h *host) applyNow(commit Index) {
	m := &h.machine
	for m.index < commit {
		e, ok := h.log.at(m.index + 1)
		if !ok {
			return // a snapshot was installed meanwhile: restoring takes its place
		}
		if e.chain != ChainNext(m.chain, e.term, e.kind, e.time, e.body) {
			h.c.fail("server %d applies %d out of order", h.id, m.index+1)
		}
		m.index, m.term, m.time, m.chain = m.index+1, e.term, e.time, e.chain
		if e.kind == KindMembership {
			m.membership, m.membershipAt = decodeMembership(e.body), m.index
		}
		h.c.history.applied(h, m.index, m.chain)
	}
	if m.membershipAt == 0 && len(m.membership.Voters) == 0 {
		m.membership = h.node.birth.value.Membership
	}
	h.applied()
}

// restoreMachine puts the state machine where an installed snapshot is.
func (h *host) restoreMachine() {
	s := *h.restore
	h.restore = nil
	if s.Index > h.machine.index || h.needSnapshot {
		h.machine = machine{s.Index, s.Term, s.Time, s.Chain, s.Membership, s.MembershipIndex}
		h.c.history.applied(h, s.Index, s.Chain)
	}
	if h.needSnapshot {
		h.needSnapshot = false
		h.node.NeedSnapshot(h.c.now, false)
	}
	h.appliedTo = h.machine.index
	h.applied()
}

// fill reads old entries for a follower, from the disk: not more than a few blocks at once.
func (h *host) fill(f Fill) {
	c, d := h.c, &h.disk.log
	result, next, bytes := FillRead, f.First, 0
	var blocks []Block
	switch {
	case c.chance(c.pace.fillLost) || f.First >= d.next():
		result = FillDropped
	case f.First < d.first:
		result = FillCompacted
	default:
		next = min(f.Next, d.next(), f.First+Index(1+c.rng.IntN(20)))
		blocks = d.blocks(f.First, next)
		for _, b := range blocks {
			bytes += b.Size()
		}
	}
	m, send := h.node.Filled(c.now, f.To, f.ToStore, f.Seq, result, next, bytes)
	if c.transcript != nil {
		c.logf("%d: fill for %d [%d,%d) %s, send %v", h.id, f.To, f.First, next, [...]string{"", "read", "dropped", "compacted"}[result], send)
	}
	if !send {
		return
	}
	if own, ok := h.log.chainAfter(next - 1); ok && own != blocks[len(blocks)-1].ChainAfter() {
		c.fail("server %d: what it reads back is not its log", h.id)
	}
	m.Blocks = blocks
	c.transmit(h, m)
}

// takeSnapshot takes one of the machine as it is, if all that it holds is saved; its file is durable at once.
func (h *host) takeSnapshot() (SnapshotMeta, bool) {
	m := h.machine
	if h.node == nil || h.restore != nil || m.index == 0 || m.index <= h.node.snapshot.Index || m.index >= h.node.saves.durable {
		return SnapshotMeta{}, false
	}
	return SnapshotMeta{
		Group: DefaultGroup, Index: m.index, Term: m.term, Time: m.time, Chain: m.chain, Membership: m.membership,
		MembershipIndex: m.membershipAt, Size: int64(m.index), Checksum: uint32(m.chain),
	}, true
}

// snapshotted tells the Node of a snapshot that was taken.
func (h *host) snapshotted(meta SnapshotMeta) { h.node.Snapshotted(h.c.now, meta) }

// fetch gets a snapshot from where it was offered. A broken transfer is given up.
func (h *host) fetch(i Install) {
	c := h.c
	c.schedule(c.now+4*c.between(c.pace.network)+time.Millisecond, h.id, h.run, func(h *host) {
		from := c.host(i.From)
		cut := c.net.cut[[2]ServerID{i.From, h.id}] || c.net.cut[[2]ServerID{h.id, i.From}]
		if from.node == nil || cut || c.chance(c.pace.lose) || !from.disk.snapshot.Same(i.Snapshot) && !from.disk.older.Same(i.Snapshot) {
			c.logf("%d: fetch of snapshot %d failed", h.id, i.Snapshot.Index)
			h.node.InstallFailed(c.now, i.Snapshot, false)
			return
		}
		h.bound = max(h.bound, i.Snapshot.Index)
		wanted := h.node.Installed(c.now, i.Snapshot)
		c.logf("%d: fetched snapshot %d, wanted %v", h.id, i.Snapshot.Index, wanted)
	})
}

// compact drops the log through the older of the two snapshots that are kept.
func (h *host) compact() { h.compactTo(h.disk.older.Index) }

func (h *host) compactTo(through Index) {
	if through <= h.compactedTo {
		return
	}
	h.compactedTo = through
	h.log.compact(through)
	if !h.c.chance(h.c.pace.compactLost) {
		h.disk.log.compact(through)
	}
	h.node.Compacted(h.c.now, through)
}
