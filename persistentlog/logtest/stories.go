package logtest

import (
	"fmt"
	"math"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

func emptyStore(s *script) error {
	for range 2 {
		if err := s.verify(); err != nil {
			return err
		}
		state, err := s.log.Load(9)
		if err != nil {
			return fmt.Errorf("load of a group that was never saved: %w", err)
		}
		if err := newModel().checkState(state); err != nil {
			return fmt.Errorf("load of a group that was never saved: %w", err)
		}
		if err := s.refused(9, 1, 2, persistentlog.ErrUnavailable); err != nil {
			return err
		}
		if err := s.refused(9, 0, 1, persistentlog.ErrCompacted); err != nil {
			return err
		}
		if err := s.save(); err != nil {
			return fmt.Errorf("of nothing: %w", err)
		}
		if err := s.compact(9, 0); err != nil {
			return err
		}
		if err := s.destroy(9); err != nil {
			return err
		}
		if err := s.reload(); err != nil {
			return err
		}
	}
	return nil
}

func groupsInOrder(s *script) error {
	// Numbers whose text, little endian or variable length forms sort otherwise.
	for _, id := range []raft.GroupID{300, 1, 255, 256, 2, 1 << 40, 10, math.MaxUint64, 65536, 127, 128} {
		if err := s.save(persistentlog.Update{Group: id, Hard: &raft.HardState{Term: raft.Term(id), Vote: 1}}); err != nil {
			return err
		}
		if err := s.verify(); err != nil {
			return err
		}
	}
	// Groups whose keys are neighbours must not see each other's entries.
	for _, id := range []raft.GroupID{255, 256, 1, 2, math.MaxUint64} {
		if err := s.save(s.append(id).Commands(1, 10, 10).Commands(2, 10).Update()); err != nil {
			return err
		}
	}
	return s.reload()
}

func recordsStand(s *script) error {
	const id = raft.DefaultGroup
	birth := raft.Birth{Membership: membership(3), Limits: raft.GroupLimits{SessionsMax: 5, ResultBytesMax: 1 << 20}}
	complete := birth
	complete.Complete = true
	steps := []persistentlog.Update{
		{Hard: &raft.HardState{Term: 1}},
		{Hard: &raft.HardState{Term: 1, Vote: 2}},
		{Birth: &birth},
		{Hard: &raft.HardState{Term: math.MaxUint64 - 1, Vote: math.MaxUint64}},
		{Birth: &complete},
		s.append(id).Single(3, raft.KindNoOp).Commands(4, 1, 2, 3).Update(),
		{Commit: 2},
		{Hard: &raft.HardState{Term: math.MaxUint64}, Commit: 4},
		{Hard: &raft.HardState{Term: math.MaxUint64, Lost: true}},
	}
	for i, u := range steps {
		u.Group = id
		if err := s.save(u); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		if err := s.reload(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	everything := s.append(id).Commands(5, 9).Update()
	everything.Commit, everything.Snapshot = 5, s.taken(id, 3)
	if err := s.save(everything); err != nil {
		return err
	}
	return s.reload()
}

func blocksOfAnySize(s *script) error {
	const id = raft.DefaultGroup
	thousand := make([]int, 1000)
	for i := range thousand {
		thousand[i] = i
	}
	const big = 4<<20 - raft.BlockHeaderSize - 5
	for range 2 {
		if err := s.save(s.append(id).Commands(1, 0).Single(1, raft.KindNoOp).Update()); err != nil {
			return err
		}
	}
	for _, sizes := range [][]int{thousand, {big}, {255, 256}, {65535, 65536}, {1 << 20, 1 << 20, 2 << 20}} {
		if err := s.save(s.append(id).Commands(2, sizes...).Update()); err != nil {
			return err
		}
		if err := s.verify(); err != nil {
			return err
		}
	}
	// One update with many blocks, about as much as a server puts in one save.
	many := s.append(id).Commands(3, big/2, big/2-16).Commands(3, thousand...).Single(4, raft.KindMembership).Single(4, raft.KindClock)
	for term := raft.Term(5); term < 8; term++ {
		many.Commands(term, big).Single(term, raft.KindSession)
	}
	if err := s.save(many.Update()); err != nil {
		return err
	}
	return s.reload()
}

func manyGroups(s *script) error {
	for round := range 3 {
		var updates []persistentlog.Update
		for id := raft.GroupID(1); id <= 200; id++ {
			u := s.append(id).Commands(raft.Term(round+1), 20, int(id)).Single(raft.Term(round+1), raft.KindNoOp).Update()
			u.Hard = &raft.HardState{Term: raft.Term(round + 1), Vote: raft.ServerID(id)}
			u.Commit = s.group(id).next() - 1
			updates = append(updates, u)
		}
		if err := s.save(updates...); err != nil {
			return err
		}
		if err := s.reload(); err != nil {
			return err
		}
	}
	return nil
}

func updatesInOrder(s *script) error {
	const id = raft.DefaultGroup
	first := s.append(id).Commands(1, 10, 10, 10).Commands(2, 10, 10)
	second := &Builder{Group: id, Next: first.Next, Chain: first.Chain}
	second.Commands(2, 10)
	// The third replaces what the second and a part of what the first one brought.
	third := &Builder{Group: id, Next: 3, Chain: first.Blocks[0].Clip(1, 3).ChainAfter()}
	third.Commands(3, 11).Single(3, raft.KindMembership)
	other := s.append(2).Commands(1, 5)
	last := third.Update()
	last.Hard = &raft.HardState{Term: 3}
	if err := s.save(first.Update(), other.Update(), second.Update(), last); err != nil {
		return err
	}
	if err := s.reload(); err != nil {
		return err
	}
	return s.recordsInOrder(id)
}

// recordsInOrder puts updates of one group, with blocks and without, into one save.
func (s *script) recordsInOrder(id raft.GroupID) error {
	birth := raft.Birth{Membership: membership(3)}
	complete := raft.Birth{Membership: membership(3), Complete: true}
	installed := snapshotMeta(id, 100, 5)
	behind := &Builder{Group: id, Next: 101, Chain: installed.Chain}
	behind.Commands(5, 7).Single(6, raft.KindMembership)
	for _, updates := range []func() []persistentlog.Update{
		func() []persistentlog.Update {
			return []persistentlog.Update{{Hard: &raft.HardState{Term: 4}}, {Hard: &raft.HardState{Term: 4, Vote: 2}}, {Commit: 2}}
		},
		func() []persistentlog.Update {
			return []persistentlog.Update{
				{Birth: &birth}, s.append(id).Commands(4, 9, 9).Update(), {Birth: &complete, Hard: &raft.HardState{Term: 5}}, {Commit: 4},
			}
		},
		func() []persistentlog.Update {
			return []persistentlog.Update{
				{Snapshot: s.taken(id, 3)}, {Commit: 5}, s.append(id).Commands(5, 1).Update(), {Snapshot: s.taken(id, 4)},
			}
		},
		func() []persistentlog.Update {
			return []persistentlog.Update{
				s.append(id).Commands(5, 2).Update(),
				{Snapshot: &installed, Installed: true},
				behind.Update(),
				{Commit: 101, Hard: &raft.HardState{Term: 6}},
			}
		},
	} {
		updates := updates()
		for i := range updates {
			updates[i].Group = id
		}
		if err := s.save(updates...); err != nil {
			return err
		}
		if err := s.reload(); err != nil {
			return err
		}
	}
	return nil
}

// shape is a log of blocks of many sizes, terms and kinds: 20 entries.
func shape(b *Builder) *Builder {
	return b.Single(1, raft.KindMembership).Commands(1, 8, 80, 800).Commands(1, 8).Single(2, raft.KindNoOp).
		Commands(2, 30, 30, 30, 30, 30).Single(2, raft.KindMembership).Single(2, raft.KindClock).
		Commands(5, 100, 200, 300, 400).Single(7, raft.KindMembership).Commands(7, 1, 2)
}

func replacement(s *script) error {
	id := raft.GroupID(1)
	var ids []raft.GroupID
	with := []func(*Builder) *Builder{
		func(b *Builder) *Builder { return b.Commands(8, 5) },
		func(b *Builder) *Builder { return b.Single(8, raft.KindMembership) },
		func(b *Builder) *Builder { return b.Commands(8, 5, 6, 7, 8).Single(9, raft.KindNoOp).Commands(9, 5, 6) },
		func(b *Builder) *Builder { return shapeAfter(b, 8) },
	}
	for from := raft.Index(1); from <= 21; from++ {
		for _, replace := range with {
			if err := s.save(shape(s.append(id)).Update()); err != nil {
				return err
			}
			if err := s.save(replace(s.from(id, from)).Update()); err != nil {
				return err
			}
			if err := s.verifyGroup(id, s.groups[id]); err != nil {
				return fmt.Errorf("after a replacement from %d on: %w", from, err)
			}
			// What was cut must not come back below what is appended next.
			if err := s.save(s.append(id).Commands(20, 3).Update()); err != nil {
				return err
			}
			ids = append(ids, id)
			id++
		}
	}
	if err := s.reload(); err != nil {
		return err
	}
	// A second and a third replacement, each from within what the one before it brought.
	for _, id := range ids {
		next := s.group(id).next()
		if err := s.save(s.from(id, next-1).Commands(21, 1, 2, 3).Update()); err != nil {
			return err
		}
		if err := s.save(s.from(id, next).Commands(22, 1).Update()); err != nil {
			return err
		}
	}
	return s.reload()
}

// shapeAfter is longer than shape, so that a replacement outgrows what it replaces.
func shapeAfter(b *Builder, term raft.Term) *Builder {
	for range 6 {
		b.Commands(term, 10, 20, 30, 40).Single(term, raft.KindMembership)
		term++
	}
	return b
}

func everyRange(s *script) error {
	const id = raft.DefaultGroup
	if err := s.save(shape(s.append(id)).Update()); err != nil {
		return err
	}
	// A replacement in mid-block, so that one of the records is clipped behind.
	if err := s.save(s.from(id, 18).Commands(8, 64, 64, 64).Update()); err != nil {
		return err
	}
	if err := s.ranges(id); err != nil {
		return err
	}
	u := s.append(id).Commands(8, 64).Update()
	u.Snapshot = s.taken(id, 3)
	if err := s.save(u); err != nil {
		return err
	}
	if err := s.compact(id, 3); err != nil {
		return err
	}
	if err := s.verify(); err != nil {
		return err
	}
	if err := s.ranges(id); err != nil {
		return fmt.Errorf("after compaction: %w", err)
	}
	if err := s.reopen(); err != nil {
		return err
	}
	if err := s.verify(); err != nil {
		return err
	}
	return s.ranges(id)
}

// ranges reads every range of a log with limits around the sizes of its blocks.
func (s *script) ranges(id raft.GroupID) error {
	m := s.groups[id]
	for from := m.firstMin; from < m.next(); from++ {
		for to := from + 1; to <= m.next(); to++ {
			whole, err := s.read(id, m, from, to, math.MaxInt)
			if err != nil {
				return err
			}
			size := 0
			limits := []int{-1, 0, 1}
			for _, b := range whole {
				size += b.Size()
				limits = append(limits, size-1, size, size+1)
			}
			for _, limit := range limits {
				if _, err := s.read(id, m, from, to, limit); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
