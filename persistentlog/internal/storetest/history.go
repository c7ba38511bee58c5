package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// History saves to three groups, truncates, compacts and installs, as a seed says, until a Save fails, and remembers
// what each group must hold: want after the last Save that succeeded, tried after the one that failed.
type History struct {
	RNG         *rand.Rand
	writers     map[raft.GroupID]*Writer
	blocks      map[raft.GroupID][]raft.Block // as saved, truncated at whole blocks
	want, tried map[raft.GroupID]expectation
	// Crashing says that the picture of the disk is being taken or was: a Save that returns now may have synced too late.
	Crashing func() bool
}

type expectation struct {
	hard        raft.HardState
	first, next raft.Index
	chain       uint64
}

// NewHistory returns what a seed says.
func NewHistory(seed uint64) *History {
	return &History{
		RNG: rand.New(rand.NewPCG(seed, 3)), writers: map[raft.GroupID]*Writer{}, blocks: map[raft.GroupID][]raft.Block{},
		want: map[raft.GroupID]expectation{}, tried: map[raft.GroupID]expectation{}, Crashing: func() bool { return false },
	}
}

// Step does one call. It reports the call's error.
func (h *History) Step(l persistentlog.PersistentLog) error {
	id := raft.GroupID(1 + h.RNG.IntN(3))
	if h.RNG.IntN(12) == 0 && h.want[id].next > 1 {
		return h.snapshot(l, id)
	}
	updates := []persistentlog.Update{h.update(id)}
	if h.RNG.IntN(3) == 0 {
		updates = append(updates, h.update(id%3+1))
	}
	return h.save(l, updates)
}

func (h *History) save(l persistentlog.PersistentLog, updates []persistentlog.Update) error {
	if err := l.Save(updates); err != nil {
		return err
	}
	if h.Crashing() {
		return ErrDisk
	}
	for _, u := range updates {
		h.want[u.Group] = h.tried[u.Group]
	}
	return nil
}

// update appends some blocks, at times after cutting off some of those that stand.
func (h *History) update(id raft.GroupID) persistentlog.Update {
	w := h.writers[id]
	if w == nil {
		w = NewWriter(id)
		h.writers[id] = w
	}
	if kept := h.blocks[id]; len(kept) > 0 && h.RNG.IntN(4) == 0 {
		cut := h.RNG.IntN(min(3, len(kept))) + 1
		b := kept[len(kept)-cut]
		if b.First() > h.want[id].first {
			w.Next, w.Chain = b.First(), b.Chain()
			h.blocks[id] = kept[:len(kept)-cut]
		}
		w.Term++
	}
	u := persistentlog.Update{Group: id, Hard: &raft.HardState{Term: w.Term, Vote: raft.ServerID(w.Term%3 + 1)}}
	for range 1 + h.RNG.IntN(3) {
		u.Blocks = append(u.Blocks, w.Block(1+h.RNG.IntN(4), h.RNG.IntN(1<<(4+h.RNG.IntN(13)))))
	}
	h.blocks[id] = append(slices.Clone(h.blocks[id]), u.Blocks...)
	h.tried[id] = expectation{hard: *u.Hard, first: max(h.want[id].first, 1), next: w.Next, chain: w.Chain}
	return u
}

// snapshot saves a pointer to a snapshot at the middle of the log and compacts up to it.
func (h *History) snapshot(l persistentlog.PersistentLog, id raft.GroupID) error {
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

// Check opens what a crash left and compares every group: what was promised is there, whole; beyond it only all of what
// the last Save tried.
func (h *History) Check(open func() (persistentlog.PersistentLog, error)) error {
	l, err := open()
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

func (h *History) checkGroup(l persistentlog.PersistentLog, id raft.GroupID) error {
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

// Settle makes what the crash left the beginning of the next life.
func (h *History) Settle(l persistentlog.PersistentLog) error {
	for id := raft.GroupID(1); id <= 3; id++ {
		state, err := l.Load(id)
		if err != nil {
			return err
		}
		e := expectation{hard: state.Hard, first: state.First, next: state.Next, chain: state.Chain}
		h.want[id], h.tried[id] = e, e
		h.blocks[id] = nil
		if state.Next > 1 {
			h.writers[id] = &Writer{Group: id, Next: state.Next, Term: state.Hard.Term, Chain: state.Chain}
		} else {
			delete(h.writers, id)
		}
	}
	return l.Close()
}
