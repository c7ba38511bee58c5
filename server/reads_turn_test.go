package server

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

// heard keeps the errors of answers, and how many came.
type heard struct {
	n    int
	last error
}

func (h *heard) Complete(_ []byte, err error) { h.n, h.last = h.n+1, err }

func TestReadsOfOneTurnAreOneQuestion(t *testing.T) {
	r := newReplica(t)
	var h heard
	for k := range 100 {
		r.read(time.Hour, []query{{done: &h, query: []byte{byte(k)}}, {done: &h, confirm: true}, {done: &h, consistency: Consistency{Level: Lease}}})
	}
	require.Len(t, r.reads, 100, "each turn asks once")
	require.EqualValues(t, 100, r.Status().Reads.Confirmed)
	// A bounded read asks nothing if one that is under way was asked late enough.
	bounded := func(age time.Duration) []query {
		return []query{{done: &h, consistency: Consistency{Level: Bounded, MaxAge: age}}}
	}
	r.read(time.Hour+10, bounded(10))
	require.Len(t, r.reads, 100)
	require.Len(t, r.reads[99].queries, 4)
	r.read(time.Hour+10, bounded(9))
	require.Len(t, r.reads, 101)
	require.Zero(t, h.n)

	r.now = time.Hour + 20
	var decided []raft.Read
	for k := range r.reads[:100] {
		decided = append(decided, raft.Read{ID: r.reads[k].id, Index: raft.Index(7 + k)})
	}
	r.carryReads(decided)
	require.Equal(t, confirmation{known: true, at: time.Hour, index: 106}, r.latest)
	r.carryReads([]raft.Read{{ID: r.reads[0].id, Err: raft.ErrNotLeader}})
	require.Equal(t, 1, h.n)
	require.Equal(t, confirmation{known: true, at: time.Hour, index: 106}, r.latest, "a refusal confirms nothing")

	// Who does not lead gives up on what does not come.
	deadline := time.Hour + 20 + readPatience*r.group.ElectionTimeoutMax
	require.Equal(t, deadline, r.readsDeadline())
	r.expireReads(deadline - 1)
	require.Equal(t, 1, h.n)
	r.expireReads(deadline)
	require.Equal(t, 302, h.n)
	require.ErrorIs(t, h.last, ErrBehind)
	require.Equal(t, raft.Never, r.readsDeadline())
	require.EqualValues(t, 0, r.bounds.unapplied.Status().Bytes, "what was counted is given back")
}

// TestEachReadIsDecidedOnceAndTheOthersWaitOn, in whatever order a turn decides.
func TestEachReadIsDecidedOnceAndTheOthersWaitOn(t *testing.T) {
	r := newReplica(t)
	hs := make([]heard, 6)
	for k := range hs {
		r.read(time.Hour, []query{{done: &hs[k]}})
	}
	refused := func(ids ...raft.ReadID) (reads []raft.Read) {
		for _, id := range ids {
			reads = append(reads, raft.Read{ID: id, Err: raft.ErrNotLeader})
		}
		return reads
	}
	waiting := func() (ids []raft.ReadID) {
		for k := range r.reads {
			ids = append(ids, r.reads[k].id)
		}
		return ids
	}
	r.carryReads(refused(5, 2, 5, 9))
	require.Equal(t, []raft.ReadID{1, 3, 4, 6}, waiting())
	r.carryReads(refused(2, 7))
	require.Equal(t, []raft.ReadID{1, 3, 4, 6}, waiting())
	r.carryReads(refused(1, 6))
	require.Equal(t, []raft.ReadID{3, 4}, waiting())
	r.read(time.Hour, []query{{done: &hs[0]}})
	r.carryReads(refused(7, 4, 3))
	require.Empty(t, waiting())
	for k, n := range []int{2, 1, 1, 1, 1, 1} {
		require.Equal(t, n, hs[k].n, "read %d", k+1)
		require.Error(t, hs[k].last)
	}
	require.EqualValues(t, 0, r.bounds.unapplied.Status().Bytes)
}

// TestReadAtALeaderIsRefusedUnlessItsIndexIsCommitted: a leader may have learned the index before it was elected, and needs the others
// to commit it.
func TestReadAtALeaderIsRefusedUnlessItsIndexIsCommitted(t *testing.T) {
	r := newReplica(t)
	patience := readPatience * r.group.ElectionTimeoutMax
	var h heard
	r.role, r.commit, r.next, r.applied = raft.RoleLeader, 90, 50, 49
	bounded := []query{{done: &h, consistency: Consistency{Level: Bounded, MaxAge: time.Minute}}}
	r.confirms(time.Hour, 100)
	r.read(time.Hour, bounded)
	require.Equal(t, time.Hour+patience, r.readsDeadline())
	r.expireReads(time.Hour + patience)
	require.Equal(t, 1, h.n)
	require.ErrorIs(t, h.last, ErrBehind)
	require.EqualValues(t, 0, r.bounds.unapplied.Status().Bytes)

	// What is committed only waits for the machine, for as long as this server leads.
	r.commit = 100
	r.read(time.Hour, bounded)
	for k := range time.Duration(10) {
		require.Equal(t, time.Hour+(k+1)*patience, r.readsDeadline())
		r.expireReads(time.Hour + (k+1)*patience)
	}
	require.Equal(t, 1, h.n)
	r.role = raft.RoleFollower
	r.expireReads(time.Hour + 11*patience)
	require.Equal(t, 2, h.n)
	require.ErrorIs(t, h.last, ErrBehind)
	require.Equal(t, raft.Never, r.readsDeadline())
}

// TestAnAnswerThatComesLateDoesNotMakeOlderWhatIsConfirmed: what was asked first may be answered last.
func TestAnAnswerThatComesLateDoesNotMakeOlderWhatIsConfirmed(t *testing.T) {
	r := newReplica(t)
	var h heard
	r.read(time.Hour, []query{{done: &h}})
	r.read(2*time.Hour, []query{{done: &h}})
	first, second := r.reads[0].id, r.reads[1].id
	r.carryReads([]raft.Read{{ID: second, Index: 9}, {ID: first, Index: 5}})
	require.Equal(t, confirmation{known: true, at: 2 * time.Hour, index: 9}, r.latest)
}

// TestAQueryWhoseEntriesWereTakenAwayIsRefused: a snapshot has taken the place of entries that the apply lane was given, and its
// restore stands behind the query.
func TestAQueryWhoseEntriesWereTakenAwayIsRefused(t *testing.T) {
	r := newReplica(t)
	var h heard
	j := &QueryJob{a: r.apply, index: 5, counted: [2]*Bound{&r.bounds.unapplied, &r.shared.bounds.unapplied}, queries: []query{{done: &h, query: []byte("x")}, {done: &h, confirm: true}}}
	r.apply.through = 4
	require.True(t, j.Step())
	require.NoError(t, j.err)
	require.Equal(t, 2, h.n)
	require.ErrorIs(t, h.last, ErrBehind)
}
