package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// logOf returns a log whose entries have these terms.
func logOf(terms ...Term) []entry {
	var entries []entry
	for _, term := range terms {
		entries = append(entries, entry{term: term, kind: KindCommand, body: []byte{byte(len(entries))}})
	}
	return chained(0, entries)
}

// A follower that cannot restore its snapshot has no use for an older one. It has to say what it holds all the same, or the
// leader repeats that offer for ever and sends nothing else (seed 1644 of the random runs).
func TestUselessOfferToAFollowerThatCannotRestoreIsAnsweredAsMatched(t *testing.T) {
	entries := logOf(1, 1, 1, 1, 1, 1)
	p := playAlone(t, 3, nil, func(d *disk) {
		d.hard = HardState{Term: 1}
		d.log.put(1, entries)
		d.log.compact(2)
		d.snapshot = SnapshotMeta{Group: DefaultGroup, Index: 4, Term: 1, Chain: entries[3].chain, Membership: d.birth.Membership}
		d.commit = 5
	})
	p.h.node.NeedSnapshot(p.now, true)
	p.h.needSnapshot = true
	older := SnapshotMeta{Group: DefaultGroup, Index: 3, Term: 1, Chain: entries[2].chain, Membership: p.h.disk.birth.Membership}
	p.says(2, Message{Type: MessageSnapshotOffer, Term: 1, Snapshot: older})
	answers := p.sentTo(2, MessageAppendResponse)
	require.Len(t, answers, 1)
	require.EqualValues(t, 5, answers[0].Match)
	require.True(t, p.h.node.install.Snapshot.IsZero(), "it is not fetched")

	same := older
	same.Index, same.Chain = 4, entries[3].chain
	p.says(2, Message{Type: MessageSnapshotOffer, Term: 1, Snapshot: same})
	require.EqualValues(t, 4, p.h.node.install.Snapshot.Index, "one as new as its own is")
}

// A follower that cannot restore its snapshot is offered the leader's with every heartbeat. Once one is installed the machine is restored
// from it, however long that takes; a second time, behind the entries that are applied by then, would put it back.
func TestSnapshotThatHelpsOutIsInstalledOnce(t *testing.T) {
	entries := logOf(1, 1, 1, 1, 1, 1)
	meta := SnapshotMeta{Group: DefaultGroup, Index: 4, Term: 1, Chain: entries[3].chain}
	p := playAlone(t, 3, nil, func(d *disk) {
		d.hard = HardState{Term: 1}
		d.log.put(1, entries)
		d.log.compact(2)
		meta.Membership = d.birth.Membership
		d.snapshot, d.commit = meta, 5
	})
	p.h.node.NeedSnapshot(p.now, true)
	p.says(2, Message{Type: MessageSnapshotOffer, Term: 1, Snapshot: meta})
	require.EqualValues(t, 4, p.h.node.install.Snapshot.Index)
	require.True(t, p.h.node.Installed(p.now, meta))
	p.h.endTurn()
	p.says(2, Message{Type: MessageSnapshotOffer, Term: 1, Snapshot: meta})
	require.True(t, p.h.node.install.Snapshot.IsZero(), "it is not fetched again")
	require.False(t, p.h.node.Installed(p.now, meta))
}

// While a snapshot was fetched the log came past it: nothing is installed, and the log stays whole.
func TestFetchedSnapshotThatTheLogOvertookIsNotInstalled(t *testing.T) {
	p := follower(t, 1, 1)
	entries := logOf(1, 1, 1, 1)
	meta := SnapshotMeta{Group: DefaultGroup, Index: 3, Term: 1, Chain: entries[2].chain, Membership: p.h.disk.birth.Membership}
	p.says(2, Message{Type: MessageSnapshotOffer, Term: 1, Snapshot: meta})
	require.EqualValues(t, 3, p.h.node.install.Snapshot.Index)
	p.appends(2, 1, 1, 1, 4, entries[1:]...)
	require.EqualValues(t, 4, p.h.node.commit)
	require.False(t, p.h.node.Installed(p.now, meta))
	p.h.endTurn()
	require.Zero(t, p.h.node.snapshot.Index)
	require.EqualValues(t, 1, p.h.node.trail.first)
	require.EqualValues(t, 5, p.h.node.trail.next)
	require.True(t, p.h.node.install.Snapshot.IsZero())
}

// A snapshot that contradicts what is committed here is not installed, not even by a server that cannot restore its own:
// the log would end below its commit index.
func TestSnapshotThatContradictsTheCommittedLogIsNotInstalled(t *testing.T) {
	p := playAlone(t, 3, nil, func(d *disk) {
		d.hard, d.commit = HardState{Term: 2}, 4
		d.log.put(1, logOf(1, 1, 1, 1))
	})
	p.h.node.NeedSnapshot(p.now, true)
	p.h.needSnapshot = true
	meta := SnapshotMeta{Group: DefaultGroup, Index: 3, Term: 2, Membership: p.h.disk.birth.Membership}
	p.says(2, Message{Type: MessageSnapshotOffer, Term: 2, Snapshot: meta})
	require.True(t, p.h.node.install.Snapshot.IsZero())
	require.False(t, p.h.node.Installed(p.now, meta))
	p.h.endTurn()
	require.EqualValues(t, 5, p.h.node.trail.next)
}

// The save of an installed snapshot may take long, and the leader repeats its offer meanwhile. Installed again, it would take
// the state machine back after it has gone on (seed 234 of the simulator).
func TestSnapshotThatIsBeingSavedIsNotFetchedAgain(t *testing.T) {
	entries := logOf(1, 1, 1, 1, 1, 1)
	p := playAlone(t, 3, nil, func(d *disk) {
		d.hard = HardState{Term: 1}
		d.log.put(1, entries)
		d.log.compact(2)
		d.snapshot = SnapshotMeta{Group: DefaultGroup, Index: 4, Term: 1, Chain: entries[3].chain, Membership: d.birth.Membership}
		d.commit = 5
	})
	p.h.node.NeedSnapshot(p.now, true)
	p.h.needSnapshot = true
	same := SnapshotMeta{Group: DefaultGroup, Index: 4, Term: 1, Chain: entries[3].chain, Membership: p.h.disk.birth.Membership}
	p.says(2, Message{Type: MessageSnapshotOffer, Term: 1, Snapshot: same})
	require.EqualValues(t, 4, p.h.node.install.Snapshot.Index)
	require.True(t, p.h.node.Installed(p.now, same))
	p.says(2, Message{Type: MessageSnapshotOffer, Term: 1, Snapshot: same})
	require.True(t, p.h.node.install.Snapshot.IsZero(), "it is on its way to the machine")

	newer := same
	newer.Index, newer.Chain = 5, entries[4].chain
	p.says(2, Message{Type: MessageSnapshotOffer, Term: 1, Snapshot: newer})
	require.EqualValues(t, 5, p.h.node.install.Snapshot.Index, "a newer one is")

	p.h.node.InstallFailed(p.now, newer, false)
	p.h.node.NeedSnapshot(p.now, true) // its file had decayed before the machine was restored from it
	p.says(2, Message{Type: MessageSnapshotOffer, Term: 1, Snapshot: same})
	require.EqualValues(t, 4, p.h.node.install.Snapshot.Index, "and the same again, if it did not help")
}
