package persistentlog_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/logtest"
	"github.com/oarlock/oarlock/raft"
)

// spineOf applies updates, each of which must be valid.
func spineOf(t *testing.T, updates ...persistentlog.Update) *persistentlog.Spine {
	t.Helper()
	s := new(persistentlog.Spine)
	for _, u := range updates {
		require.NoError(t, s.Validate(u))
		s.Apply(u)
	}
	return s
}

func blocks(first raft.Index, terms ...raft.Term) persistentlog.Update {
	b := &logtest.Builder{Group: 7, Next: first}
	for _, term := range terms {
		b.Commands(term, 5, 5).Single(term, raft.KindMembership)
	}
	return b.Update()
}

func pointer(index raft.Index, term raft.Term, installed bool) persistentlog.Update {
	return persistentlog.Update{Group: 7, Snapshot: &raft.SnapshotMeta{Group: 7, Index: index, Term: term}, Installed: installed}
}

func memberships(s *persistentlog.Spine) (indexes []raft.Index) {
	for _, b := range s.Memberships() {
		indexes = append(indexes, b.First())
	}
	return indexes
}

func TestTheZeroSpineIsANewGroup(t *testing.T) {
	var s persistentlog.Spine
	require.Equal(t, persistentlog.State{First: 1, Next: 1}, s.State(raft.Block{}))
	require.Zero(t, s.TermAt(0))
	require.Zero(t, s.TermAt(1))
	require.NoError(t, s.Compact(0))
}

func TestTheSpineFollowsReplacementsAndCompactions(t *testing.T) {
	s := spineOf(t, blocks(1, 1, 2, 4), blocks(6, 5)) // the last one cuts a membership away
	require.Equal(t, []raft.TermRun{{First: 1, Term: 1}, {First: 4, Term: 2}, {First: 6, Term: 5}}, s.Trail())
	require.Equal(t, []raft.Index{3, 8}, memberships(s))
	require.Equal(t, raft.Index(9), s.Next())

	before := s.Clone()
	require.ErrorIs(t, s.Compact(4), persistentlog.ErrBadUpdate, "no snapshot covers it")
	s.Apply(pointer(7, 5, false))
	require.NoError(t, s.Compact(4))
	require.Equal(t, []raft.TermRun{{First: 5, Term: 2}, {First: 6, Term: 5}}, s.Trail())
	require.Equal(t, []raft.Index{8}, memberships(s))
	require.NoError(t, s.Compact(2), "it never goes back")
	require.Equal(t, raft.Index(5), s.First())
	require.Equal(t, raft.Term(2), s.TermAt(5))
	require.Equal(t, raft.Term(5), s.TermAt(8))
	require.Zero(t, s.TermAt(4))
	require.Zero(t, s.TermAt(9))
	require.Equal(t, []raft.Index{3, 8}, memberships(before), "a clone is on its own")

	again, err := persistentlog.NewSpine(s.State(blocks(6, 5).Blocks[1]))
	require.NoError(t, err)
	require.Equal(t, s, again)
}

func TestAnInstalledSnapshotLowersACommitThatTheLogNoLongerHolds(t *testing.T) {
	committed := blocks(1, 1, 1, 1)
	committed.Commit = 9
	s := spineOf(t, committed, pointer(5, 1, true))
	require.Equal(t, raft.Index(5), s.Commit())
	require.Equal(t, raft.Index(6), s.First())
	require.Equal(t, raft.Index(6), s.Next())
	require.Equal(t, raft.Term(1), s.TermAt(5))
	s = spineOf(t, committed, pointer(50, 1, true))
	require.Equal(t, raft.Index(9), s.Commit(), "a hint that is still true stays")
}

func TestAStateThatNoSaveCanHaveWrittenIsDamage(t *testing.T) {
	good := spineOf(t, blocks(1, 1, 2), pointer(4, 2, false)).State(blocks(1, 1, 2).Blocks[3])
	_, err := persistentlog.NewSpine(good)
	require.NoError(t, err)
	for name, change := range map[string]func(*persistentlog.State){
		"no first index":              func(s *persistentlog.State) { s.First = 0 },
		"the end before the start":    func(s *persistentlog.State) { s.Next = 0 },
		"a gap behind the snapshot":   func(s *persistentlog.State) { s.Snapshot.Index, s.First, s.Trail[0].First = 2, 4, 4 },
		"a log that lost its tail":    func(s *persistentlog.State) { s.Next, s.Trail = 4, s.Trail[:1] },
		"a commit past the end":       func(s *persistentlog.State) { s.Commit = 7 },
		"no terms":                    func(s *persistentlog.State) { s.Trail = nil },
		"terms that begin late":       func(s *persistentlog.State) { s.Trail[0].First = 2 },
		"terms that go back":          func(s *persistentlog.State) { s.Trail[1].Term = 1 },
		"terms past the end":          func(s *persistentlog.State) { s.Trail[1].First = 7 },
		"runs out of order":           func(s *persistentlog.State) { s.Trail[1].First = 1 },
		"memberships out of order":    func(s *persistentlog.State) { s.Memberships[1] = s.Memberships[0] },
		"a membership past the end":   func(s *persistentlog.State) { s.Memberships[1] = blocks(6, 2).Blocks[1] },
		"a command for a membership":  func(s *persistentlog.State) { s.Memberships[0] = blocks(1, 1).Blocks[0] },
		"a membership before the log": func(s *persistentlog.State) { s.First, s.Trail[0].First = 4, 4; s.Trail = s.Trail[1:] },
	} {
		bad := spineOf(t, blocks(1, 1, 2), pointer(4, 2, false)).State(blocks(1, 1, 2).Blocks[3])
		change(&bad)
		_, err := persistentlog.NewSpine(bad)
		require.ErrorIs(t, err, persistentlog.ErrDamaged, name)
	}
}

func TestValidateChangesNothing(t *testing.T) {
	s := spineOf(t, blocks(1, 1, 2))
	want := s.Clone()
	updates := []persistentlog.Update{blocks(3, 3), blocks(6, 3), blocks(7, 2)}
	err := persistentlog.Validate(updates, func(raft.GroupID) *persistentlog.Spine { return s })
	require.ErrorIs(t, err, persistentlog.ErrBadUpdate, "the third goes back in term after the second")
	require.Equal(t, want, s)
	require.NoError(t, persistentlog.Validate(updates[:2], func(raft.GroupID) *persistentlog.Spine { return s }))
	require.Equal(t, want, s)
	require.NoError(t, persistentlog.Validate([]persistentlog.Update{blocks(1, 1), blocks(4, 1)}, func(raft.GroupID) *persistentlog.Spine { return nil }))
}
