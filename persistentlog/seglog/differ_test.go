package seglog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
	"github.com/oarlock/oarlock/persistentlog/logtest"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
)

// pair is a segment log and a log in memory that are told the same.
type pair struct {
	rng    *rand.Rand
	mem    *vfs.MemFS
	seg    *Log
	memory *memlog.Log
	chains map[raft.GroupID]map[raft.Index]uint64 // chain hash before each index, as saved last
}

const pairGroups = 5

func newPair(t *testing.T, seed uint64) *pair {
	t.Helper()
	p := &pair{
		rng: rand.New(rand.NewPCG(seed, 7)), mem: freshMem(t), memory: memlog.New(storetest.Identity),
		chains: make(map[raft.GroupID]map[raft.Index]uint64),
	}
	p.seg = openMem(t, p.mem)
	return p
}

// update draws what the group's state allows.
func (p *pair) update(id raft.GroupID, s persistentlog.State) persistentlog.Update {
	u := persistentlog.Update{Group: id}
	term := max(s.Hard.Term, s.Snapshot.Term, 1)
	if n := len(s.Trail); n > 0 {
		term = max(term, s.Trail[n-1].Term)
	}
	if p.rng.IntN(4) == 0 {
		term++
		u.Hard = &raft.HardState{Term: term, Vote: raft.ServerID(p.rng.IntN(3))}
	}
	if p.rng.IntN(25) == 0 {
		at := s.Snapshot.Index + 1 + raft.Index(p.rng.IntN(40))
		u.Snapshot = &raft.SnapshotMeta{Group: id, Index: at, Term: term, Chain: uint64(at) * 31, Time: int64(at)}
		u.Installed = true
		return u
	}
	from := s.Next
	if lowest := max(s.First, s.Commit+1, s.Snapshot.Index+1); lowest < from && p.rng.IntN(4) == 0 {
		from = lowest + raft.Index(p.rng.Uint64N(uint64(from-lowest)))
		term++
	}
	chains := p.chains[id]
	if chains == nil {
		chains = make(map[raft.Index]uint64)
		p.chains[id] = chains
	}
	chain := chains[from]
	if from == s.Next {
		chain = s.Chain
	}
	b := &logtest.Builder{Group: id, Next: from, Chain: chain}
	for range p.rng.IntN(4) {
		switch p.rng.IntN(5) {
		case 0:
			b.Single(term, raft.KindMembership)
		case 1:
			b.Single(term, raft.KindNoOp)
		default:
			b.Commands(term, make([]int, 1+p.rng.IntN(5))...)
			if p.rng.IntN(5) == 0 {
				b.Commands(term, p.rng.IntN(12_000))
			}
		}
	}
	u.Blocks = b.Blocks
	for _, block := range u.Blocks {
		at, chain := block.First(), block.Chain()
		for body := range block.Entries() {
			chains[at] = chain
			chain = raft.ChainNext(chain, block.Term(), block.Kind(), block.Time(), body)
			at++
		}
	}
	if len(u.Blocks) == 0 && s.Commit+1 < s.Next {
		u.Commit = s.Commit + 1 + raft.Index(p.rng.Uint64N(uint64(s.Next-s.Commit-1)))
		if at := max(s.Snapshot.Index, u.Commit/2); at > s.Snapshot.Index && at >= s.First {
			u.Snapshot = &raft.SnapshotMeta{Group: id, Index: at, Term: termAt(s, at), Chain: 9}
		}
	}
	return u
}

func termAt(s persistentlog.State, at raft.Index) (term raft.Term) {
	for _, run := range s.Trail {
		if run.First <= at {
			term = run.Term
		}
	}
	return term
}

// step tells both the same.
func (p *pair) step() error {
	id := raft.GroupID(1 + p.rng.IntN(pairGroups))
	state, err := p.memory.Load(id)
	if err != nil {
		return err
	}
	logs := [2]persistentlog.PersistentLog{p.memory, p.seg}
	var errs [2]error
	switch what := p.rng.IntN(100); {
	case what < 80:
		updates := []persistentlog.Update{p.update(id, state)}
		if other := id%pairGroups + 1; p.rng.IntN(3) == 0 {
			if state, err = p.memory.Load(other); err != nil {
				return err
			}
			updates = append(updates, p.update(other, state))
		}
		for i, l := range logs {
			errs[i] = l.Save(updates)
		}
	case what < 92:
		through := raft.Index(p.rng.Uint64N(uint64(state.Snapshot.Index) + 1))
		for i, l := range logs {
			errs[i] = l.Compact(id, through)
		}
	case what < 93:
		for i, l := range logs {
			errs[i] = l.Destroy(id)
		}
		delete(p.chains, id)
	default:
		return p.reopen(id)
	}
	return errors.Join(errs[:]...)
}

// reopen closes the segment log, or takes its power away.
func (p *pair) reopen(id raft.GroupID) (err error) {
	left := p.mem
	if p.rng.IntN(2) == 0 {
		nothing := []persistentlog.Update{{Group: id}} // what was compacted is durable with the next save
		if err := errors.Join(p.seg.Save(nothing), p.memory.Save(nothing)); err != nil {
			return err
		}
		left = p.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: p.rng.IntN(101), RNG: p.rng})
	}
	if err := p.seg.Close(); err != nil { // which makes compactions durable, too
		return err
	}
	p.mem = left
	p.seg, err = Open(storetest.Dir, testOptions(p.mem))
	return err
}

// compare looks at every group in both.
func (p *pair) compare() error {
	want, err := p.memory.Groups()
	if err != nil {
		return err
	}
	got, err := p.seg.Groups()
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("groups are %v, want %v: %w", got, want, err)
	}
	for _, id := range want {
		if err := p.compareGroup(id); err != nil {
			return fmt.Errorf("group %d: %w", id, err)
		}
	}
	return nil
}

func (p *pair) compareGroup(id raft.GroupID) error {
	want, err := p.memory.Load(id)
	if err != nil {
		return err
	}
	got, err := p.seg.Load(id)
	if err != nil {
		return err
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		return fmt.Errorf("state is %+v, want %+v", got, want)
	}
	if want.First == want.Next {
		return nil
	}
	from := want.First + raft.Index(p.rng.Uint64N(uint64(want.Next-want.First)))
	to := from + 1 + raft.Index(p.rng.Uint64N(uint64(want.Next-from)))
	a, err := p.memory.Blocks(id, from, to, 1<<30)
	if err != nil {
		return err
	}
	b, err := p.seg.Blocks(id, from, to, 1<<30)
	if err != nil {
		return err
	}
	if x, y := entries(a), entries(b); x != y {
		return fmt.Errorf("entries from %d to %d differ", from, to)
	}
	return nil
}

// entries are what blocks hold, whatever their borders.
func entries(blocks []raft.Block) string {
	var text []byte
	for _, b := range blocks {
		at := b.First()
		for body := range b.Entries() {
			text = fmt.Appendf(text, "%d %d %d %d %q\n", at, b.Term(), b.Kind(), b.Time(), body)
			at++
		}
	}
	return string(text)
}

// TestASegmentLogAndALogInMemoryAreTheSame tells both the same random calls and looks at both.
func TestASegmentLogAndALogInMemoryAreTheSame(t *testing.T) {
	moved, rotated := uint64(0), 0
	for seed := *firstSeed; seed < *firstSeed+uint64(max(*tortures/10, 5)); seed++ {
		p := newPair(t, seed)
		for call := range 400 {
			require.NoError(t, p.step(), "seed %d call %d", seed, call)
			if call%8 == 0 {
				require.NoError(t, p.compare(), "seed %d call %d", seed, call)
			}
		}
		s := p.seg.Stats()
		moved += s.BytesMoved
		rotated += int(p.seg.head().number)
		require.NoError(t, p.seg.Close())
	}
	t.Logf("%d bytes moved, %d segments", moved, rotated)
	require.Greater(t, rotated, 50)
}
