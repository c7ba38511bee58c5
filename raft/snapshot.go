package raft

import "time"

// Snapshotted reports that the server has taken a snapshot itself and that its file is durable. The pointer to it comes
// out in the next save, unless a newer snapshot was installed meanwhile: the pointer never goes back (hashicorp/raft#248).
// After that save the log may be compacted.
func (n *Node) Snapshotted(now time.Duration, meta SnapshotMeta) {
	if !n.input(now) || meta.Index <= n.snapshot.Index {
		return
	}
	term, ok := n.trail.termAt(meta.Index)
	if meta.Index > n.applied || meta.Index > n.commit || meta.Index >= n.saves.durable || !ok || term != meta.Term {
		n.breakRule("a snapshot covers what is not applied, not committed or not saved")
		return
	}
	n.snapshot = meta
	n.save.Snapshot, n.save.Installed = &meta, false
}

// Compacted reports that the log dropped the entries up to and including through.
func (n *Node) Compacted(now time.Duration, through Index) {
	if !n.input(now) {
		return
	}
	if through > n.snapshot.Index {
		n.breakRule("the log was compacted past its snapshot")
		return
	}
	n.trail.compact(through)
	n.weights.forget(n.trail.first)
	n.dropOldMemberships()
}

// dropOldMemberships keeps the newest membership at or below the beginning of the log, and all after it.
func (n *Node) dropOldMemberships() {
	k := 0
	for k+1 < len(n.memberships) && n.memberships[k+1].Index < n.trail.first {
		k++
	}
	n.memberships = append(n.memberships[:0], n.memberships[k:]...)
}

// needsSnapshot turns to a snapshot for a member whose next entry is no longer in the log.
func (n *Node) needsSnapshot(p *progress) {
	if n.snapshot.IsZero() {
		n.breakRule("the log was compacted and there is no snapshot")
		return
	}
	n.offerSnapshot(p, n.snapshot)
}

// offerSnapshot tells a member what it can fetch. The same offer is repeated as long as the member lives and does not
// have it, even when a newer snapshot is there: a transfer that is under way is worth more than a newer one to begin.
func (n *Node) offerSnapshot(p *progress, meta SnapshotMeta) {
	if p.state != ProgressSnapshot || !p.offered.Same(meta) {
		p.enter(ProgressSnapshot, meta.Index+1)
		p.offered = meta
		n.trace(Trace{Kind: TraceSnapshotOffered, Server: p.member.ID, Index: meta.Index})
	}
	p.offeredAt = n.clock.now
	n.sendOffer(p, meta)
}

func (n *Node) sendOffer(p *progress, meta SnapshotMeta) {
	n.sendNow(Message{
		Type: MessageSnapshotOffer, To: p.member.ID, ToStore: p.member.Store, Term: n.hard.Term, Snapshot: meta, Time: n.clock.stamp(),
		Round: n.lead.round, Confirmed: n.lead.confirmed, Commit: n.commit,
	}, 0)
}

// Fetched tells a leader that a member was given the bytes of an offered snapshot before offset. Its log stands still meanwhile, and it is
// not given up while this grows.
func (n *Node) Fetched(now time.Duration, peer ServerID, store StoreID, meta SnapshotMeta, offset int64) {
	if !n.input(now) || n.role != RoleLeader {
		return
	}
	p := n.lead.of(peer, store)
	if p != nil && p.state == ProgressSnapshot && p.offered.Same(meta) && offset > p.fetched {
		p.fetched, p.grewAt = offset, n.clock.now
	}
}

// handleSnapshotOffer answers what is known already as matched, at once and positively (RATIS-2084), and else asks the
// server to fetch it.
func (n *Node) handleSnapshotOffer(now time.Duration, m *Message) {
	if !n.heardLeader(now, m) {
		return
	}
	meta := m.Snapshot
	term, known := n.trail.termAt(meta.Index)
	// To restore from, although the log is here. Not the one again whose save is still under way: the state machine would be taken
	// back to it after it has gone on.
	useful := n.election.needSnapshot && meta.Index >= n.snapshot.Index && meta.Index > n.election.fetched && (meta.Index > n.commit || known && term == meta.Term)
	switch {
	case useful:
	case meta.Index <= n.commit:
		n.acknowledge(m, n.commit)
		return
	case known && term == meta.Term:
		n.commitTo(meta.Index) // what a snapshot covers is committed
		n.acknowledge(m, meta.Index)
		return
	}
	if n.install.From == m.From && n.install.Snapshot.Same(meta) {
		return
	}
	n.install = Install{From: m.From, FromStore: m.FromStore, Snapshot: meta}
	n.actions().Install = n.install
}

// Installed reports that a fetched snapshot is durable as a file. It returns false if it is not wanted any more: the log
// caught up meanwhile. Otherwise the pointer comes out in the next save, Actions.Restore with it, and the answer to the
// leader waits for that save.
func (n *Node) Installed(now time.Duration, meta SnapshotMeta) bool {
	if !n.input(now) || n.hard.Lost {
		return false
	}
	if n.install.Snapshot.Same(meta) {
		n.install = Install{}
	}
	term, known := n.trail.termAt(meta.Index)
	holds := known && term == meta.Term
	contradicts := meta.Index <= n.commit && !holds // the log would end below what is committed
	// A second restore from it would put the machine back.
	again := n.election.needSnapshot && meta.Index <= n.election.fetched
	if !n.election.needSnapshot && (meta.Index <= n.commit || holds) || meta.Index < n.snapshot.Index || contradicts || again {
		return false
	}
	n.snapshot = meta
	n.save.Snapshot, n.save.Installed = &meta, !holds
	if !holds {
		n.save.Blocks = n.save.Blocks[:0]
		n.saves.installed(meta.Index + 1)
		n.trail.reset(meta.Index, meta.Term)
		n.weights = weights{next: n.trail.next}
		n.cacheFirst = n.trail.next
		n.memberships = append(n.memberships[:0], MembershipAt{Index: meta.MembershipIndex, Membership: meta.Membership})
		n.membershipChanged()
	}
	if n.election.needSnapshot {
		n.election.fetched = meta.Index
	}
	n.clock.heard(meta.Time)
	n.commit, n.applied = max(n.commit, meta.Index), max(n.applied, meta.Index)
	n.actions().Restore, n.election.restoring = meta, true
	n.trace(Trace{Kind: TraceInstalled, Index: meta.Index})
	if n.role == RoleFollower && n.leader != (peer{}) {
		n.acknowledge(&Message{From: n.leader.id, FromStore: n.leader.store}, meta.Index)
	}
	return true
}

// InstallFailed reports that a fetch was given up. The leader is told, so that it can offer a newer snapshot. spoilt says that it is
// no use to try again: the leader cannot give this one away (its file is damaged, say), and should take another one.
func (n *Node) InstallFailed(now time.Duration, meta SnapshotMeta, spoilt bool) {
	if !n.input(now) || !n.install.Snapshot.Same(meta) {
		return
	}
	from := n.install.From
	n.install = Install{}
	if n.leader.id == from && n.role == RoleFollower {
		n.send(Message{
			Type: MessageAppendResponse, To: from, ToStore: n.leader.store, Term: n.hard.Term, Reject: true, PrevIndex: meta.Index,
			LastIndex: n.trail.last(), WantSnapshot: spoilt,
		}, 0)
	}
}

// Offered returns the indexes of the snapshots that were offered to members which were heard within the last alive and have not got
// them yet: their files are wanted, however old they are. There is one for a member at most.
func (n *Node) Offered(now, alive time.Duration) (indexes []Index) {
	for _, p := range n.lead.progress {
		if p.state == ProgressSnapshot && p.heard && now-p.heardAt <= alive && !p.lost {
			indexes = append(indexes, p.offered.Index)
		}
	}
	return indexes
}

// KeepFrom returns the first index that a member which was heard within the last alive still needs from this leader's
// log; the end of the log where there is none, or where this server does not lead. A member that receives a snapshot
// needs what follows that snapshot.
func (n *Node) KeepFrom(now, alive time.Duration) Index {
	keep := n.trail.next
	for _, p := range n.lead.progress {
		if !p.heard || now-p.heardAt > alive || p.lost {
			continue
		}
		if p.state == ProgressSnapshot {
			keep = min(keep, p.offered.Index+1)
			continue
		}
		keep = min(keep, p.match+1)
	}
	return keep
}
