package logtest

import (
	"bytes"
	"fmt"
	"math"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

func compaction(s *script) error {
	for through := raft.Index(1); through <= 20; through++ {
		id := raft.GroupID(through)
		if err := s.save(shape(s.append(id)).Update()); err != nil {
			return err
		}
		if err := s.save(persistentlog.Update{Group: id, Snapshot: s.taken(id, through), Commit: through}); err != nil {
			return err
		}
		if err := s.verify(); err != nil {
			return fmt.Errorf("before compaction through %d: %w", through, err)
		}
		// In two steps, and again what is gone already.
		for _, step := range []raft.Index{through / 2, through, through, 1} {
			if err := s.compact(id, step); err != nil {
				return err
			}
			if err := s.verifyGroup(id, s.groups[id]); err != nil {
				return fmt.Errorf("after compaction through %d: %w", step, err)
			}
		}
	}
	if err := s.reload(); err != nil {
		return err
	}
	for through := raft.Index(1); through <= 20; through++ {
		id := raft.GroupID(through)
		// After a crash the front may be back; then it is dropped again.
		if err := s.compact(id, through); err != nil {
			return err
		}
		next := max(through+1, 19) // replaces a part of what was kept, where there is any
		if err := s.save(s.from(id, next).Commands(9, 10, 20).Single(10, raft.KindMembership).Update()); err != nil {
			return err
		}
	}
	if err := s.reload(); err != nil {
		return err
	}
	return wholeLogCompacted(s, 30)
}

// wholeLogCompacted empties a log from the front, goes on behind it and empties it again.
func wholeLogCompacted(s *script, id raft.GroupID) error {
	for range 3 {
		if err := s.save(shape(s.append(id)).Update()); err != nil {
			return err
		}
		last := s.group(id).next() - 1
		if err := s.save(persistentlog.Update{Group: id, Snapshot: s.taken(id, last), Commit: last}); err != nil {
			return err
		}
		if err := s.compact(id, last); err != nil {
			return err
		}
		if err := s.reload(); err != nil {
			return err
		}
		if err := s.save(shapeAfter(s.append(id), 30).Update()); err != nil {
			return err
		}
		if err := s.reload(); err != nil {
			return err
		}
		id++
	}
	return nil
}

func takenSnapshot(s *script) error {
	const id = raft.DefaultGroup
	if err := s.save(shape(s.append(id)).Update()); err != nil {
		return err
	}
	for _, index := range []raft.Index{1, 4, 4, 13, 20} {
		u := persistentlog.Update{Group: id, Snapshot: s.taken(id, index)}
		u.Snapshot.Size++ // the same index, taken again, is another file
		if err := s.save(u); err != nil {
			return err
		}
		if err := s.reload(); err != nil {
			return err
		}
	}
	return nil
}

func installedSnapshot(s *script) error {
	installs := []struct {
		name   string
		index  raft.Index
		blocks func(*Builder) *Builder
	}{
		{"within the log", 10, nil},
		{"within the log, with blocks", 10, func(b *Builder) *Builder { return b.Commands(9, 5, 5).Single(9, raft.KindMembership) }},
		{"at the end of the log", 20, nil},
		{"behind the log", 1000, nil},
		{"behind the log, with blocks", 1000, func(b *Builder) *Builder { return b.Single(9, raft.KindNoOp) }},
		{"far behind the log", math.MaxUint64 >> 2, func(b *Builder) *Builder { return b.Commands(9, 1, 2, 3) }},
	}
	for i, install := range installs {
		for _, begun := range []bool{true, false} { // a log with entries and an empty one
			id := raft.GroupID(2*i + 1)
			if begun {
				id++
				if err := s.save(shape(s.append(id)).Update()); err != nil {
					return err
				}
			}
			meta := snapshotMeta(id, install.index, 8)
			u := persistentlog.Update{Group: id, Snapshot: &meta, Installed: true, Commit: install.index, Hard: &raft.HardState{Term: 9}}
			if install.blocks != nil {
				u.Blocks = install.blocks(&Builder{Group: id, Next: install.index + 1, Chain: meta.Chain}).Blocks
			}
			if err := s.save(u); err != nil {
				return fmt.Errorf("%s: %w", install.name, err)
			}
			if err := s.reload(); err != nil {
				return fmt.Errorf("%s: %w", install.name, err)
			}
			if err := s.save(s.append(id).Commands(9, 7, 7).Update()); err != nil {
				return fmt.Errorf("%s: %w", install.name, err)
			}
		}
	}
	if err := s.reload(); err != nil {
		return err
	}
	return installedTwice(s)
}

// installedTwice installs over what followed an install, and compacts what follows that.
func installedTwice(s *script) error {
	const id = 50
	for _, index := range []raft.Index{5, 6, 40} {
		meta := snapshotMeta(id, index, 3)
		if err := s.save(persistentlog.Update{Group: id, Snapshot: &meta, Installed: true}); err != nil {
			return err
		}
		if err := s.save(shapeAfter(s.append(id), 3).Update()); err != nil {
			return err
		}
		if err := s.save(persistentlog.Update{Group: id, Snapshot: s.taken(id, index+7)}); err != nil {
			return err
		}
		if err := s.compact(id, index+7); err != nil {
			return err
		}
		if err := s.reload(); err != nil {
			return err
		}
	}
	return nil
}

func termsAndMemberships(s *script) error {
	const id = raft.DefaultGroup
	for term := raft.Term(1); term <= 40; term++ {
		b := s.append(id)
		if term%3 == 0 {
			b = s.from(id, b.Next-2) // takes the membership before it away
		}
		b.Single(term, raft.KindNoOp).Single(term, raft.KindMembership).Commands(term, 4, 4).Single(term, raft.KindMembership)
		if err := s.save(b.Update()); err != nil {
			return err
		}
		if term%7 == 0 {
			at := b.Next - 8
			if err := s.save(persistentlog.Update{Group: id, Snapshot: s.taken(id, at), Commit: at}); err != nil {
				return err
			}
			if err := s.compact(id, at-raft.Index(term%5)); err != nil {
				return err
			}
		}
		if err := s.reload(); err != nil {
			return fmt.Errorf("term %d: %w", term, err)
		}
	}
	return nil
}

func destroyed(s *script) error {
	for id := raft.GroupID(1); id <= 3; id++ {
		u := shape(s.append(id)).Update()
		u.Hard, u.Birth = &raft.HardState{Term: 7, Vote: 2}, &raft.Birth{Membership: membership(3)}
		u.Commit = 19
		if err := s.save(u); err != nil {
			return err
		}
		if err := s.save(persistentlog.Update{Group: id, Snapshot: s.taken(id, 6)}); err != nil {
			return err
		}
	}
	if err := s.compact(2, 3); err != nil {
		return err
	}
	for range 2 { // the second time it does not exist
		if err := s.destroy(2); err != nil {
			return err
		}
		if err := s.reload(); err != nil {
			return err
		}
	}
	if err := s.refused(2, 1, 2, persistentlog.ErrUnavailable); err != nil {
		return err
	}
	// The next life of the group begins at 1, with terms lower than the first one ended.
	if err := s.save(s.append(2).Commands(1, 3, 3).Update()); err != nil {
		return err
	}
	if err := s.reload(); err != nil {
		return err
	}
	for _, id := range []raft.GroupID{1, 2, 3} {
		if err := s.destroy(id); err != nil {
			return err
		}
	}
	return s.reload()
}

// bytesStay keeps blocks over everything that could make a log write to their memory again.
func bytesStay(s *script) error {
	const id = raft.DefaultGroup
	if err := s.save(shape(s.append(id)).Update()); err != nil {
		return err
	}
	for round := raft.Term(10); round < 40; round++ {
		m := s.groups[id]
		if _, err := s.read(id, m, m.firstMin, m.next(), math.MaxInt); err != nil {
			return err
		}
		next := m.next()
		if err := s.save(s.from(id, next-2).Commands(round, 20, 20).Single(round, raft.KindMembership).Commands(round, 900, 900).Update()); err != nil {
			return err
		}
		if err := s.save(persistentlog.Update{Group: id, Snapshot: s.taken(id, next-4)}); err != nil {
			return err
		}
		if err := s.compact(id, next-6); err != nil {
			return err
		}
		if err := s.verify(); err != nil {
			return err
		}
		if err := s.checkHeld(); err != nil {
			return err
		}
	}
	// Bytes outlive the log that they came from.
	blocks, err := s.read(id, s.groups[id], s.groups[id].firstMin, s.groups[id].next(), math.MaxInt)
	if err != nil {
		return err
	}
	want := bytes.Clone(blocks[0].Bytes())
	if err := s.reopen(); err != nil {
		return err
	}
	if !bytes.Equal(blocks[0].Bytes(), want) {
		return fmt.Errorf("the bytes of a block changed when the log was closed")
	}
	return nil
}
