package server

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/transport"
)

// nothing is a state machine without a state, and a transport and a snapshot store without anything behind them.
type nothing struct {
	statemachine.StateMachine
	transport.Transport
	persistentlog.Snapshots
}

func newReplica(t *testing.T) *Replica {
	log := memlog.New(persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: 1, Store: raft.StoreID{1}})
	shared, err := NewShared(Options{Log: log, Snapshots: nothing{}, Transport: nothing{}})
	require.NoError(t, err)
	r, err := NewReplica(shared, GroupOptions{ID: 1, StateMachine: nothing{}, Founders: []raft.Member{{ID: 1, Address: "one"}}}, time.Hour)
	require.NoError(t, err)
	return r
}

// received makes a block of count entries that continues a log whose chain hash is chain.
func received(first raft.Index, count uint32, term raft.Term, chain uint64) raft.Block {
	buf := make([]byte, raft.BlockHeaderSize)
	for range count {
		buf = raft.AppendEntry(buf, []byte("x"))
	}
	return raft.NewBlock(raft.BlockMeta{Group: 1, First: first, Count: count, Term: term, Kind: raft.KindCommand, Chain: chain}, buf)
}

// save has the replica ask for a save of blocks and returns its job, which nobody has run.
func (r *Replica) save(t *testing.T, seq raft.SaveSeq, blocks ...raft.Block) *SaveJob {
	r.carrySave(&raft.Actions{Save: raft.Save{Seq: seq, Blocks: blocks}})
	require.NoError(t, r.Err())
	return r.work.Jobs[len(r.work.Jobs)-1].(*SaveJob)
}

func TestWhatWasCutOffAndReplacedIsNotTakenForSaved(t *testing.T) {
	for _, when := range []string{"before the cut", "after the cut"} {
		r := newReplica(t)
		old := received(1, 9, 1, 0)
		one := r.save(t, 1, old)
		require.EqualValues(t, 1, r.tail.saved, "it is on its way")
		if when == "before the cut" {
			r.finishSave(time.Hour, one)
			require.EqualValues(t, 10, r.tail.saved)
		}
		two := r.save(t, 2, received(5, 3, 2, old.Clip(1, 5).ChainAfter()))
		if when == "after the cut" {
			r.finishSave(time.Hour, one)
		}
		require.EqualValues(t, 5, r.tail.saved, "what is on disk from 5 on is not this log: %s", when)
		r.finishSave(time.Hour, two)
		require.EqualValues(t, 8, r.tail.saved)
	}
}

func TestReadWaitsUntilAllThatItHasToSeeIsOnItsWayToTheMachine(t *testing.T) {
	r := newReplica(t)
	r.work.reset()
	answered := 0
	done := completed(func() { answered++ })
	r.decided = []readBatch{{index: 5, queries: []query{{confirm: true, done: done}}}}
	r.next, r.applied = 5, 4
	r.dispatchReads()
	require.Len(t, r.decided, 1)
	require.Empty(t, r.work.Jobs)
	require.Zero(t, answered)
	r.next = 6 // given to the machine, which has not said that it was done
	r.dispatchReads()
	require.Empty(t, r.decided)
	require.Zero(t, answered)
	require.Len(t, r.work.Jobs, 1, "it stands behind the entry, in the same lane")
	r.decided = []readBatch{{index: 5, queries: []query{{confirm: true, done: done}}}}
	r.applied = 5
	r.dispatchReads()
	require.Equal(t, 1, answered)
}

type completed func()

// Complete implements Completion.
func (f completed) Complete([]byte, error) { f() }

type answerKept struct{ err error }

// Complete implements Completion.
func (a *answerKept) Complete(_ []byte, err error) { a.err = err }

func TestWaiterIsNotAnsweredWithTheResultOfTheEntryThatTookThePlaceOfItsOwn(t *testing.T) {
	a := newApplier(1, nothing{})
	b := received(7, 2, 3, 0)
	var deposed, early, own answerKept
	w := []waiting{{index: 6, term: 3, done: &early}, {index: 7, term: 2, done: &deposed}, {index: 8, term: 3, done: &own}}
	require.Nil(t, a.waiter(&w, b, 7))
	require.ErrorIs(t, deposed.err, ErrUnknown)
	require.ErrorIs(t, early.err, ErrUnknown)
	require.Same(t, &own, a.waiter(&w, b, 8))
	require.Empty(t, w)
}

// shelf is a snapshot store that only lists, and notes what is removed.
type shelf struct {
	persistentlog.Snapshots
	list    []raft.SnapshotMeta
	damaged []raft.Index
	removed []raft.Index
}

func (s *shelf) Open(meta raft.SnapshotMeta, _ int64) (io.ReadCloser, error) {
	if slices.Contains(s.damaged, meta.Index) {
		return io.NopCloser(iotest.ErrReader(fmt.Errorf("%w: snapshot at %d", persistentlog.ErrDamaged, meta.Index))), nil
	}
	return io.NopCloser(strings.NewReader("state")), nil
}

func (s *shelf) List(raft.GroupID) ([]raft.SnapshotMeta, error) { return s.list, nil }

func (s *shelf) Remove(meta raft.SnapshotMeta) error {
	s.removed = append(s.removed, meta.Index)
	return nil
}

// cutter is a log that notes how far it was compacted.
type cutter struct {
	persistentlog.PersistentLog
	through raft.Index
}

func (c *cutter) Compact(_ raft.GroupID, through raft.Index) error {
	c.through = through
	return nil
}

func TestLogIsCutBehindTheOlderOfTwoSnapshotsThatAPointerNamed(t *testing.T) {
	for _, c := range []struct {
		name               string
		list               []raft.Index
		damaged            []raft.Index
		keepFrom, overflow raft.Index
		through            raft.Index
		removed, offered   []raft.Index
	}{
		{"two", []raft.Index{60, 40}, nil, 1000, 0, 40, nil, nil},
		{"one", []raft.Index{60}, nil, 1000, 0, 0, nil, nil},
		{"more", []raft.Index{60, 40, 20, 10}, nil, 1000, 0, 40, []raft.Index{20, 10}, nil},
		{"a file that no pointer names is none of the two, and stays", []raft.Index{90, 60, 40, 20}, nil, 1000, 0, 40, []raft.Index{20}, nil},
		{"a follower still needs 30", []raft.Index{60, 40, 20}, nil, 30, 0, 29, []raft.Index{20}, nil},
		{"a follower needs 10, which is too far back", []raft.Index{60, 40}, nil, 10, 35, 35, nil, nil},
		{"a damaged one is none of the two", []raft.Index{60, 50, 40, 20}, []raft.Index{50}, 1000, 0, 40, []raft.Index{50, 20}, nil},
		{"all older ones are damaged: nothing goes", []raft.Index{60, 50, 40}, []raft.Index{50, 40}, 1000, 0, 0, nil, nil},
		{"another one of the same entry is none of the two, and stays", []raft.Index{60, 60, 40, 20}, nil, 1000, 0, 40, []raft.Index{20}, nil},
		{"two of the same entry are one", []raft.Index{60, 60}, nil, 1000, 0, 0, nil, nil},
		{"nothing is left to be cut", []raft.Index{60, 40}, nil, 1, 0, 0, nil, nil},
		{"a follower fetches 20", []raft.Index{60, 40, 20, 10}, nil, 21, 0, 20, []raft.Index{10}, []raft.Index{20, 60}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, l := &shelf{damaged: c.damaged}, new(cutter)
			for _, index := range c.list {
				s.list = append(s.list, raft.SnapshotMeta{Group: 1, Index: index})
			}
			j := &CompactJob{log: l, snapshots: s, group: 1, newest: 60, keepFrom: c.keepFrom, overflow: c.overflow, offered: c.offered}
			require.True(t, j.Step())
			require.NoError(t, j.Err())
			require.Equal(t, c.through, l.through)
			require.Equal(t, c.through, j.through)
			require.Equal(t, c.removed, s.removed)
			require.Equal(t, len(c.damaged) > 0, errors.Is(j.soft, persistentlog.ErrDamaged), "and the damage is told")
		})
	}
}
