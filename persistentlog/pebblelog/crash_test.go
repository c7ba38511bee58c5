package pebblelog

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

var tortures = flag.Int("tortures", 25, "how many random histories TestRandomCrashesLoseNothingThatWasPromised runs")

// history saves to three groups, truncates, compacts and installs, as a seed says, until a Save fails, and remembers
// what each group must hold: want after the last Save that succeeded, tried after the one that failed.
type history struct {
	rng         *rand.Rand
	writers     map[raft.GroupID]*writer
	blocks      map[raft.GroupID][]raft.Block // as saved, truncated at whole blocks
	want, tried map[raft.GroupID]expectation
	// crashing says that the picture of the disk is being taken or was: a Save that returns now may have synced too late.
	crashing func() bool
}

type expectation struct {
	hard        raft.HardState
	first, next raft.Index
	chain       uint64
}

func newHistory(seed uint64) *history {
	return &history{
		rng: rand.New(rand.NewPCG(seed, 3)), writers: map[raft.GroupID]*writer{}, blocks: map[raft.GroupID][]raft.Block{},
		want: map[raft.GroupID]expectation{}, tried: map[raft.GroupID]expectation{}, crashing: func() bool { return false },
	}
}

// step does one call. It reports the call's error.
func (h *history) step(l *Log) error {
	id := raft.GroupID(1 + h.rng.IntN(3))
	if h.rng.IntN(12) == 0 && h.want[id].next > 1 {
		return h.snapshot(l, id)
	}
	updates := []persistentlog.Update{h.update(id)}
	if h.rng.IntN(3) == 0 {
		updates = append(updates, h.update(id%3+1))
	}
	return h.save(l, updates)
}

func (h *history) save(l *Log, updates []persistentlog.Update) error {
	if err := l.Save(updates); err != nil {
		return err
	}
	if h.crashing() {
		return errDisk
	}
	for _, u := range updates {
		h.want[u.Group] = h.tried[u.Group]
	}
	return nil
}

// update appends some blocks, at times after cutting off some of those that stand.
func (h *history) update(id raft.GroupID) persistentlog.Update {
	w := h.writers[id]
	if w == nil {
		w = newWriter(id)
		h.writers[id] = w
	}
	if kept := h.blocks[id]; len(kept) > 0 && h.rng.IntN(4) == 0 {
		cut := h.rng.IntN(min(3, len(kept))) + 1
		b := kept[len(kept)-cut]
		if b.First() > h.want[id].first {
			w.next, w.chain = b.First(), b.Chain()
			h.blocks[id] = kept[:len(kept)-cut]
		}
		w.term++
	}
	u := persistentlog.Update{Group: id, Hard: &raft.HardState{Term: w.term, Vote: raft.ServerID(w.term%3 + 1)}}
	for range 1 + h.rng.IntN(3) {
		u.Blocks = append(u.Blocks, w.block(1+h.rng.IntN(4), h.rng.IntN(1<<(4+h.rng.IntN(13)))))
	}
	h.blocks[id] = append(slices.Clone(h.blocks[id]), u.Blocks...)
	h.tried[id] = expectation{hard: *u.Hard, first: max(h.want[id].first, 1), next: w.next, chain: w.chain}
	return u
}

// snapshot saves a pointer to a snapshot at the middle of the log and compacts up to it.
func (h *history) snapshot(l *Log, id raft.GroupID) error {
	e := h.want[id]
	if e.next-e.first < 4 {
		return nil
	}
	at := e.first + (e.next-e.first)/2
	state, err := l.Load(id)
	if err != nil {
		return err
	}
	meta := raft.SnapshotMeta{Group: id, Index: at, Term: termAt(state, at), Chain: 1}
	h.tried[id] = e
	if err := h.save(l, []persistentlog.Update{{Group: id, Snapshot: &meta}}); err != nil {
		return err
	}
	if err := l.Compact(id, at); err != nil {
		return err
	}
	e.first = at + 1
	h.want[id], h.tried[id] = e, e
	h.blocks[id] = slices.DeleteFunc(slices.Clone(h.blocks[id]), func(b raft.Block) bool { return b.First() <= at })
	return nil
}

func termAt(s persistentlog.State, at raft.Index) (term raft.Term) {
	for _, run := range s.Trail {
		if run.First <= at {
			term = run.Term
		}
	}
	return term
}

// check opens what a crash left and compares every group: what was promised is there, whole; beyond it only all of what
// the last Save tried.
func (h *history) check(mem vfs.FS) error {
	l, err := Open(testDir, testOptions(mem))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	for id := raft.GroupID(1); id <= 3; id++ {
		if err := h.checkGroup(l, id); err != nil {
			return errors.Join(fmt.Errorf("group %d: %w", id, err), l.Close())
		}
	}
	return l.Close()
}

func (h *history) checkGroup(l *Log, id raft.GroupID) error {
	state, err := l.Load(id)
	if err != nil {
		return err
	}
	got := expectation{hard: state.Hard, first: state.First, next: state.Next, chain: state.Chain}
	want, tried := h.want[id], h.tried[id]
	// Compaction need not be durable.
	if want.next > 0 && got.first > want.first {
		return fmt.Errorf("the log begins at %d, and only what is before %d was dropped", got.first, want.first)
	}
	got.first, want.first, tried.first = 0, 0, 0
	want.next, tried.next = max(want.next, 1), max(tried.next, 1) // a group that was never saved
	if got != want && got != tried {
		return fmt.Errorf("got %+v, want %+v or %+v", got, want, tried)
	}
	if state.First == state.Next {
		return nil
	}
	blocks, err := l.Blocks(id, state.First, state.Next, 1<<30)
	if err != nil {
		return err
	}
	if end := blocks[len(blocks)-1]; end.Next() != state.Next || end.ChainAfter() != state.Chain {
		return fmt.Errorf("blocks end at %d with chain %x, want %d and %x", end.Next(), end.ChainAfter(), state.Next, state.Chain)
	}
	return nil
}

// TestRandomCrashesLoseNothingThatWasPromised takes the power away before a random call into the file system, with a
// random part of what was not synced left behind, opens, and goes on with the same history twice more.
func TestRandomCrashesLoseNothingThatWasPromised(t *testing.T) {
	for seed := range uint64(*tortures) {
		mem := freshMem(t)
		h := newHistory(seed)
		for life := range 3 {
			var left *vfs.MemFS
			var crashing, lost atomic.Bool
			h.crashing = crashing.Load
			calls := h.rng.IntN(400)
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: h.rng.IntN(101), RNG: rand.New(rand.NewPCG(seed, uint64(life)))}
			f := errorfs.Wrap(mem, oneAtATime(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && !lost.Load() {
					if calls--; calls < 0 {
						crashing.Store(true)
						left = mem.CrashClone(cfg)
						lost.Store(true)
					}
				}
				if lost.Load() && op.Kind != errorfs.OpFileClose {
					return errDisk // nothing happens after the power is gone
				}
				return nil
			}))
			options := testOptions(f)
			options.WALPrepareBytes = int(seed%2) << 17 // half of the histories run on prepared files
			if l, err := Open(testDir, options); err == nil {
				for !lost.Load() && err == nil {
					err = h.step(l)
				}
				require.NotErrorIs(t, err, persistentlog.ErrDamaged, "seed %d", seed)
				_ = l.Close() // the disk is gone; only what it holds matters
			}
			require.True(t, lost.Load(), "seed %d: the disk is there and the store failed", seed)
			mem = left.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: cfg.RNG})
			require.NoError(t, h.check(left), "seed %d life %d", seed, life)
			h.settle(t, mem)
		}
	}
}

// settle makes what the crash left the beginning of the next life.
func (h *history) settle(t *testing.T, mem vfs.FS) {
	l, err := Open(testDir, testOptions(mem))
	require.NoError(t, err)
	for id := raft.GroupID(1); id <= 3; id++ {
		state, err := l.Load(id)
		require.NoError(t, err)
		e := expectation{hard: state.Hard, first: state.First, next: state.Next, chain: state.Chain}
		h.want[id], h.tried[id] = e, e
		h.blocks[id] = nil
		if state.Next > 1 {
			h.writers[id] = &writer{group: id, next: state.Next, term: state.Hard.Term, chain: state.Chain}
		} else {
			delete(h.writers, id)
		}
	}
	require.NoError(t, l.Close())
}

// TestEveryFailedCallFencesAndIsNeverReportedAsSaved lets each call into the file system fail, once, in the life of a
// store that is opened, written to, flushed, compacted and closed, and everything after it succeed.
func TestEveryFailedCallFencesAndIsNeverReportedAsSaved(t *testing.T) {
	base := freshMem(t)
	total := lifeWithFailure(t, base.CrashClone(vfs.CrashCloneCfg{}), -1)
	require.Greater(t, total, 100)
	step := max(1, total/80) // every call when tortured, a sample of them otherwise
	if *tortures > 100 {
		step = 1
	}
	for at := 0; at < total; at += step {
		lifeWithFailure(t, base.CrashClone(vfs.CrashCloneCfg{}), at)
	}
}

// lifeWithFailure returns how many calls that change something there were.
func lifeWithFailure(t *testing.T, mem *vfs.MemFS, at int) int {
	t.Helper()
	calls := 0
	f := errorfs.Wrap(mem, oneAtATime(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose && op.Kind != errorfs.OpFilePreallocate {
			if calls++; calls-1 == at {
				return fmt.Errorf("call %d, %v %s: %w", at, op.Kind, op.Path, errDisk)
			}
		}
		return nil
	}))
	h := newHistory(99)
	l, err := Open(testDir, testOptions(f))
	if err == nil {
		for i := 0; i < 60 && err == nil; i++ {
			err = h.step(l)
		}
		if err == nil && l.fence.Check() == nil {
			err = l.db.Flush()
		}
		if failed := l.fence.Check(); failed != nil {
			require.ErrorIs(t, failed, persistentlog.ErrFenced)
			require.ErrorIs(t, failed, errDisk)
			require.ErrorIs(t, l.Save([]persistentlog.Update{{Group: 9, Hard: &raft.HardState{Term: 1}}}), persistentlog.ErrFenced)
		}
		err = errors.Join(err, l.Close())
	}
	if at >= 0 && err != nil {
		require.ErrorIs(t, err, errDisk, "call %d", at)
	} else {
		require.NoError(t, err)
	}
	// What was reported as saved is there, on the disk as it is and on what a crash would have left of it.
	require.NoError(t, h.check(mem.CrashClone(vfs.CrashCloneCfg{})), "crash after call %d failed", at)
	require.NoError(t, h.check(mem), "call %d failed", at)
	return calls
}

// oneAtATime makes an injector of a function that is not safe for several goroutines.
func oneAtATime(inject func(errorfs.Op) error) errorfs.Injector {
	var mu sync.Mutex
	return errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		return inject(op)
	})
}
