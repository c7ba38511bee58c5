package logtest_test

import (
	"errors"
	"slices"
	"sync"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
)

// bugs are mistakes that a log could well be shipped with.
func bugs() []*bug {
	return slices.Concat(lostRecords(), wrongBorders(), wrongBlocks(), wrongDurability())
}

func lostRecords() []*bug {
	return []*bug{
		{name: "drops the hard state", save: changed(func(u *persistentlog.Update) { u.Hard = nil })},
		{name: "drops a hard state that comes with blocks", save: changed(func(u *persistentlog.Update) {
			if len(u.Blocks) > 0 {
				u.Hard = nil
			}
		})},
		{name: "drops the birth", save: changed(func(u *persistentlog.Update) { u.Birth = nil })},
		{name: "drops the commit", save: changed(func(u *persistentlog.Update) { u.Commit = 0 })},
		{name: "drops a snapshot taken", save: changed(func(u *persistentlog.Update) {
			if !u.Installed {
				u.Snapshot = nil
			}
		})},
		{name: "keeps only the first block of an update", save: changed(func(u *persistentlog.Update) { u.Blocks = u.Blocks[:min(1, len(u.Blocks))] })},
		{name: "loses the vote", load: loaded(func(s *persistentlog.State) { s.Hard.Vote = 0 })},
		{name: "loses the stores of the first voters", load: loaded(func(s *persistentlog.State) {
			s.Birth.Membership = s.Birth.Membership.Clone()
			for i := range s.Birth.Membership.Voters {
				s.Birth.Membership.Voters[i].Store = raft.StoreID{}
			}
		})},
		{name: "loses the limits in the pointer", load: loaded(func(s *persistentlog.State) { s.Snapshot.Limits = raft.GroupLimits{} })},
		{name: "loses the time", load: loaded(func(s *persistentlog.State) { s.Time = 0 })},
		{name: "sorts groups by their text", groups: func(ids []raft.GroupID) []raft.GroupID {
			if i := slices.Index(ids, 10); i > 0 {
				ids[i], ids[i-1] = ids[i-1], ids[i]
			}
			return ids
		}},
		{name: "has another identity", identity: func(id persistentlog.Identity) persistentlog.Identity {
			id.Store = raft.StoreID{}
			return id
		}},
		{name: "keeps a destroyed group", destroy: func(*memlog.Log, raft.GroupID) error { return nil }},
	}
}

func wrongBorders() []*bug {
	return []*bug{
		{name: "forgets the memberships that it loaded last", load: loaded(func(s *persistentlog.State) {
			s.Memberships = s.Memberships[:max(0, len(s.Memberships)-1)]
		})},
		losesMembershipsOnTruncation(),
		{name: "begins the trail at 1 after compaction", load: loaded(func(s *persistentlog.State) {
			if len(s.Trail) > 0 {
				s.Trail[0].First = 1
			}
		})},
		{name: "begins a run a term late", load: loaded(func(s *persistentlog.State) {
			if n := len(s.Trail); n > 1 {
				s.Trail[n-1].First++
			}
		})},
		keepsTail(),
		{name: "drops only what is below an installed snapshot", save: keepsBehindInstall},
		{name: "compacts one entry too many", compact: func(l *memlog.Log, id raft.GroupID, through raft.Index) error {
			state, err := l.Load(id)
			if err != nil {
				return err
			}
			return l.Compact(id, min(through+1, state.Snapshot.Index))
		}},
		{name: "says it compacted and did not tell Load", load: loaded(func(s *persistentlog.State) {
			if len(s.Trail) > 0 && s.First > 3 {
				s.First--
				s.Trail[0].First--
			}
		})},
		{name: "chain hash before the last block", load: loaded(func(s *persistentlog.State) {
			if s.Next > s.First+1 {
				s.Chain ^= 1
			}
		})},
		{name: "empty log has no time", load: loaded(func(s *persistentlog.State) {
			if s.First == s.Next {
				s.Time, s.Chain = 0, 0
			}
		})},
	}
}

// cuts remembers, for each log and group, where entries were replaced last and where the log ended before. Readers look
// while a saver writes.
type cuts struct{ places sync.Map }

type cut struct{ from, next raft.Index }

type cutKey struct {
	log   *memlog.Log
	group raft.GroupID
}

func (c *cuts) of(l *memlog.Log, id raft.GroupID) cut {
	if found, ok := c.places.Load(cutKey{l, id}); ok {
		return found.(cut)
	}
	return cut{}
}

func (c *cuts) save(l *memlog.Log, updates []persistentlog.Update) error {
	for _, u := range updates {
		state, err := l.Load(u.Group)
		if err != nil {
			return err
		}
		if len(u.Blocks) > 0 && !u.Installed && u.Blocks[0].First() < state.Next {
			c.places.Store(cutKey{l, u.Group}, cut{u.Blocks[0].First(), state.Next})
		}
	}
	return l.Save(updates)
}

func losesMembershipsOnTruncation() *bug {
	c := new(cuts)
	return &bug{
		name: "loses the older memberships when it truncates", save: c.save,
		loadOf: func(l *memlog.Log, id raft.GroupID, s persistentlog.State) persistentlog.State {
			s.Memberships = slices.DeleteFunc(s.Memberships, func(b raft.Block) bool { return b.First() < c.of(l, id).from })
			return s
		},
	}
}

func keepsTail() *bug {
	c := new(cuts)
	return &bug{
		name: "keeps the tail that a shorter replacement does not cover", save: c.save,
		loadOf: func(l *memlog.Log, id raft.GroupID, s persistentlog.State) persistentlog.State {
			s.Next = max(s.Next, c.of(l, id).next)
			return s
		},
	}
}

// keepsBehindInstall appends again what stood behind an installed snapshot.
func keepsBehindInstall(l *memlog.Log, updates []persistentlog.Update) error {
	updates = slices.Clone(updates)
	for i, u := range updates {
		if !u.Installed || len(u.Blocks) > 0 {
			continue
		}
		state, err := l.Load(u.Group)
		if err != nil || u.Snapshot == nil || u.Snapshot.Index+1 >= state.Next || u.Snapshot.Index+1 < state.First {
			continue
		}
		kept, err := l.Blocks(u.Group, u.Snapshot.Index+1, state.Next, 1<<30)
		if err != nil || kept[0].Term() < u.Snapshot.Term {
			continue
		}
		updates[i].Blocks = kept
	}
	return l.Save(updates)
}

func wrongBlocks() []*bug {
	var shared []byte
	return []*bug{
		{name: "reads one entry past the end of the range", blocks: func(l *memlog.Log, id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
			return l.Blocks(id, from, to+1, maxBytes)
		}},
		{name: "begins at the block's first entry", blocks: func(l *memlog.Log, id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
			if state, err := l.Load(id); err == nil && from > state.First && from < state.Next {
				from--
			}
			return l.Blocks(id, from, to, maxBytes)
		}},
		{name: "ignores the limit", blocks: func(l *memlog.Log, id raft.GroupID, from, to raft.Index, _ int) ([]raft.Block, error) {
			return l.Blocks(id, from, to, 1<<40)
		}},
		{name: "stops a byte early", blocks: func(l *memlog.Log, id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
			return l.Blocks(id, from, to, maxBytes-1)
		}},
		{name: "stops a byte late", blocks: func(l *memlog.Log, id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
			return l.Blocks(id, from, to, max(maxBytes, maxBytes+1))
		}},
		{name: "returns one block at most", blocks: read(func(b []raft.Block) []raft.Block { return b[:1] })},
		{name: "returns none where the limit is small", blocks: func(l *memlog.Log, id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
			blocks, err := l.Blocks(id, from, to, maxBytes)
			if maxBytes < 1 {
				blocks = nil
			}
			return blocks, err
		}},
		{name: "takes the past for the future", blocks: func(l *memlog.Log, id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
			blocks, err := l.Blocks(id, from, to, maxBytes)
			if errors.Is(err, persistentlog.ErrCompacted) {
				err = persistentlog.ErrUnavailable
			}
			return blocks, err
		}},
		{name: "reuses the memory of the last answer", races: true, blocks: read(func(blocks []raft.Block) []raft.Block {
			size := blocks[0].Size()
			shared = append(shared[:0], blocks[0].Bytes()...)
			first, err := raft.ParseBlock(shared[:size:size])
			if err != nil {
				return blocks
			}
			return append([]raft.Block{first}, blocks[1:]...)
		})},
		{name: "writes into the blocks that it was given", save: func(l *memlog.Log, updates []persistentlog.Update) error {
			// It saves a copy, so that nobody sees it but who looks at his own bytes again.
			err := l.Save(copied(updates))
			for _, u := range updates {
				for _, b := range u.Blocks {
					if err == nil && b.Kind() == raft.KindCommand {
						b.Bytes()[b.Size()-1] ^= 1
					}
				}
			}
			return err
		}},
		{name: "answers with a block without bytes", blocks: read(func(blocks []raft.Block) []raft.Block {
			last := len(blocks) - 1
			blocks[last] = raft.Blank(blocks[last].Meta())
			return blocks
		})},
		{name: "mixes two histories in one answer", blocks: read(func(blocks []raft.Block) []raft.Block {
			for i, b := range blocks[1:] {
				if b.Kind() == raft.KindMembership && b.Term() > 100 {
					meta := b.Meta()
					meta.Chain ^= 1
					blocks[i+1] = raft.NewBlock(meta, slices.Clone(b.Bytes()))
				}
			}
			return blocks
		})},
	}
}

// copied returns the updates over other memory.
func copied(updates []persistentlog.Update) []persistentlog.Update {
	updates = slices.Clone(updates)
	for i, u := range updates {
		updates[i].Blocks = slices.Clone(u.Blocks)
		for j, b := range u.Blocks {
			if !b.IsBlank() {
				updates[i].Blocks[j] = raft.NewBlock(b.Meta(), slices.Clone(b.Bytes()))
			}
		}
	}
	return updates
}

func wrongDurability() []*bug {
	return []*bug{
		{name: "returns before the sync", opened: (*memlog.Log).HoldSyncs},
		{name: "saves an update in two parts", save: func(l *memlog.Log, updates []persistentlog.Update) error {
			// Otherwise right: the whole save is refused or accepted.
			if err := l.CrashCopy(0).Save(updates); err != nil {
				return l.Save(updates)
			}
			return inParts(l, updates)
		}},
		{name: "writes the good part of a bad save", save: inParts},
		{name: "tries a failed write again", save: func(l *memlog.Log, updates []persistentlog.Update) error {
			err := l.Save(updates)
			if errors.Is(err, persistentlog.ErrFenced) {
				return nil
			}
			return err
		}},
		{name: "says that a failed write succeeded", save: func(l *memlog.Log, updates []persistentlog.Update) error {
			if err := l.Save(updates); errors.Is(err, persistentlog.ErrBadUpdate) {
				return err
			}
			return nil
		}},
		{name: "accepts blocks that leave a gap", save: func(l *memlog.Log, updates []persistentlog.Update) error {
			if err := l.Save(updates); err != nil && !errors.Is(err, persistentlog.ErrBadUpdate) {
				return err
			}
			return nil
		}},
	}
}
