package logtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// history is which chain hash has ever stood before an index of a group: what a reader beside a saver may meet.
type history struct {
	mu     sync.Mutex
	chains map[place]bool
	done   bool
	failed error
}

type place struct {
	group raft.GroupID
	index raft.Index
	chain uint64
}

func (h *history) add(blocks []raft.Block) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range blocks {
		chain, index := b.Chain(), b.First()
		h.chains[place{b.Group(), index, chain}] = true
		for body := range b.Entries() {
			chain = raft.ChainNext(chain, b.Term(), b.Kind(), b.Time(), body)
			index++
			h.chains[place{b.Group(), index, chain}] = true
		}
	}
}

func (h *history) has(group raft.GroupID, index raft.Index, chain uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.chains[place{group, index, chain}]
}

func (h *history) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = true
	h.failed = errors.Join(h.failed, err)
}

func (h *history) over() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.done
}

// overlapGroups are the groups that concurrency saves, reads and compacts at the same time.
const overlapGroups = 3

// concurrency saves on one goroutine while others load, read and compact. Every answer must be the log of one moment.
func concurrency(s *script) error {
	h := &history{chains: make(map[place]bool)}
	for id := raft.GroupID(1); id <= overlapGroups; id++ {
		b := shape(s.append(id))
		h.add(b.Blocks)
		if err := s.save(b.Update()); err != nil {
			return err
		}
	}
	var others sync.WaitGroup
	compactions := make(chan raft.SnapshotMeta, 1000)
	for seed := range uint64(2) {
		others.Go(func() { h.readAll(s.log, seed) })
	}
	others.Go(func() {
		for p := range compactions {
			if err := s.log.Compact(p.Group, p.Index-1); err != nil {
				h.fail(fmt.Errorf("compact of group %d beside saves: %w", p.Group, err))
			}
		}
	})
	err := s.saveBesideReaders(h, compactions)
	close(compactions)
	h.fail(err)
	others.Wait()
	if h.failed != nil {
		return h.failed
	}
	return s.reload()
}

func (s *script) saveBesideReaders(h *history, compactions chan<- raft.SnapshotMeta) error {
	for round := range raft.Term(200) {
		if h.over() {
			return nil
		}
		term := 10 + round
		var updates []persistentlog.Update
		var pointers []raft.SnapshotMeta
		for id := raft.GroupID(1); id <= overlapGroups; id++ {
			b := s.from(id, s.group(id).next()-raft.Index(round%3))
			b.Commands(term, 10, 200, 3000).Single(term, raft.KindMembership).Commands(term, 7, 7)
			h.add(b.Blocks)
			u := b.Update()
			if round%8 == 7 {
				u.Snapshot = s.taken(id, b.Next-15)
				pointers = append(pointers, *u.Snapshot)
			}
			updates = append(updates, u)
		}
		if err := s.save(updates...); err != nil {
			return err
		}
		for _, p := range pointers {
			s.groups[p.Group].compacted(p.Index - 1)
			compactions <- p
		}
	}
	return nil
}

// readAll loads and reads until the saver is done.
func (h *history) readAll(log persistentlog.PersistentLog, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	for !h.over() {
		id := raft.GroupID(1 + random.IntN(overlapGroups))
		state, err := log.Load(id)
		if err == nil {
			err = h.checkLoad(id, state)
		}
		if err != nil {
			h.fail(fmt.Errorf("load of group %d beside saves: %w", id, err))
			return
		}
		from := state.First + raft.Index(random.Uint64N(uint64(state.Next-state.First)))
		to := from + 1 + raft.Index(random.Uint64N(30))
		blocks, err := log.Blocks(id, from, to, 1<<random.IntN(16))
		switch {
		case errors.Is(err, persistentlog.ErrCompacted) || errors.Is(err, persistentlog.ErrUnavailable):
			continue
		case err == nil:
			err = h.checkBlocks(id, blocks, from, to)
		}
		if err != nil {
			h.fail(fmt.Errorf("blocks of group %d from %d to %d beside saves: %w", id, from, to, err))
			return
		}
	}
}

func (h *history) checkLoad(id raft.GroupID, state persistentlog.State) error {
	if _, err := persistentlog.NewSpine(state); err != nil {
		return err
	}
	if !h.has(id, state.Next, state.Chain) {
		return fmt.Errorf("the chain hash %x never stood at the end %d", state.Chain, state.Next)
	}
	return nil
}

func (h *history) checkBlocks(id raft.GroupID, blocks []raft.Block, from, to raft.Index) error {
	if len(blocks) == 0 {
		return fmt.Errorf("none came, want at least one")
	}
	next, chain := from, blocks[0].Chain()
	for _, b := range blocks {
		if b.First() != next || b.Next() > to || b.Group() != id {
			return fmt.Errorf("a block of group %d from %d to %d, want one of group %d at %d", b.Group(), b.First(), b.Next(), id, next)
		}
		if b.Chain() != chain || !h.has(id, next, chain) {
			return fmt.Errorf("the chain hash %x before %d belongs to another history", b.Chain(), next)
		}
		if _, err := raft.ParseBlock(b.Bytes()); err != nil {
			return err
		}
		next, chain = b.Next(), b.ChainAfter()
	}
	if !h.has(id, next, chain) {
		return fmt.Errorf("the chain hash %x before %d never stood there", chain, next)
	}
	return nil
}
