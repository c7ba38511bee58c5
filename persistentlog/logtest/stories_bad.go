package logtest

import (
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// badUpdates tries what Validate refuses, alone and behind an update that is right.
func badUpdates(s *script) error {
	const id, compacted = raft.GroupID(1), raft.GroupID(2)
	birth := &raft.Birth{Membership: membership(3), Complete: true}
	for _, g := range []raft.GroupID{id, compacted} {
		u := shape(s.append(g)).Update()
		u.Hard, u.Birth = &raft.HardState{Term: 7, Vote: 2}, birth
		if err := s.save(u); err != nil {
			return err
		}
		if err := s.save(persistentlog.Update{Group: g, Snapshot: s.taken(g, 6), Commit: 9}); err != nil {
			return err
		}
	}
	if err := s.compact(compacted, 6); err != nil {
		return err
	}
	if err := s.reload(); err != nil {
		return err
	}
	for _, bad := range s.badUpdates(id, compacted) {
		good := s.append(3).Commands(1, 4).Update()
		for _, updates := range [][]persistentlog.Update{bad.updates, append([]persistentlog.Update{good}, bad.updates...)} {
			err := s.log.Save(updates)
			if !errors.Is(err, persistentlog.ErrBadUpdate) {
				return fmt.Errorf("%s: error %v, want one that matches %q", bad.name, err, persistentlog.ErrBadUpdate) //nolint:errorlint // a report of what came, not a cause
			}
			if err := s.verify(); err != nil {
				return fmt.Errorf("after a refused save (%s): %w", bad.name, err)
			}
		}
		if err := s.reload(); err != nil {
			return fmt.Errorf("after a refused save (%s): %w", bad.name, err)
		}
	}
	return nil
}

type badCase struct {
	name    string
	updates []persistentlog.Update
}

func (s *script) badUpdates(id, compacted raft.GroupID) []badCase {
	one := func(name string, u persistentlog.Update) badCase { return badCase{name, []persistentlog.Update{u}} }
	next := s.group(id).next()
	hole := s.append(id).Commands(8, 1)
	hole.Next++
	hole.Commands(8, 1)
	stranger := s.append(id).Commands(8, 1).Update()
	stranger.Group = compacted
	blank := persistentlog.Update{Group: id, Blocks: []raft.Block{
		raft.Blank(raft.BlockMeta{Group: id, First: next, Count: 1, Term: 8, Kind: raft.KindNoOp}),
	}}
	otherBirth := &raft.Birth{Membership: membership(5)}
	incomplete := &raft.Birth{Membership: membership(3)}
	foreign := snapshotMeta(compacted, 7, 2)
	beyond := snapshotMeta(id, next, 8)
	wrongTerm := *s.taken(id, 7)
	wrongTerm.Term++
	nowhere := snapshotMeta(id, 0, 0)
	installed := snapshotMeta(id, 100, 8)
	afterInstall := &Builder{Group: id, Next: 102}
	beforeInstall := &Builder{Group: id, Next: 100}
	gap := &Builder{Group: id, Next: next + 1}
	return []badCase{
		one("group 0", persistentlog.Update{Hard: &raft.HardState{Term: 8}}),
		one("blocks that leave a gap", gap.Commands(8, 1).Update()),
		one("blocks of a new group that begin at 2", (&Builder{Group: 5, Next: 2}).Commands(1, 1).Update()),
		one("blocks with a hole between them", hole.Update()),
		one("blocks of another group", stranger),
		one("a blank block", blank),
		one("blocks before the log", (&Builder{Group: compacted, Next: 1}).Commands(8, 1).Update()),
		one("blocks in place of committed entries", s.from(id, 9).Commands(8, 1).Update()),
		one("blocks whose term goes back", s.append(id).Commands(6, 1).Update()),
		one("blocks whose term goes back within an update", s.append(id).Commands(9, 1).Commands(8, 1).Update()),
		one("an installed snapshot without a name", persistentlog.Update{Group: id, Installed: true}),
		one("a gap behind an installed snapshot", persistentlog.Update{
			Group: id, Snapshot: &installed, Installed: true, Blocks: afterInstall.Commands(8, 1).Blocks,
		}),
		one("a block over an installed snapshot", persistentlog.Update{
			Group: id, Snapshot: &installed, Installed: true, Blocks: beforeInstall.Commands(8, 1).Blocks,
		}),
		one("a snapshot of another group", persistentlog.Update{Group: id, Snapshot: &foreign}),
		one("a snapshot behind the log", persistentlog.Update{Group: id, Snapshot: &beyond}),
		one("a snapshot of another term", persistentlog.Update{Group: id, Snapshot: &wrongTerm}),
		one("a snapshot of nothing", persistentlog.Update{Group: id, Snapshot: &nowhere}),
		one("an older snapshot", persistentlog.Update{Group: id, Snapshot: s.taken(id, 5)}),
		one("a commit that goes back", persistentlog.Update{Group: id, Commit: 8}),
		one("a commit behind the log", persistentlog.Update{Group: id, Commit: next}),
		one("a term that goes back", persistentlog.Update{Group: id, Hard: &raft.HardState{Term: 6}}),
		one("a second vote", persistentlog.Update{Group: id, Hard: &raft.HardState{Term: 7, Vote: 3}}),
		one("a vote taken back", persistentlog.Update{Group: id, Hard: &raft.HardState{Term: 7}}),
		one("another birth", persistentlog.Update{Group: id, Birth: otherBirth}),
		one("a birth no longer complete", persistentlog.Update{Group: id, Birth: incomplete}),
		one("a birth without voters", persistentlog.Update{Group: 5, Birth: &raft.Birth{}}),
		{"a lost log that is lost no more", []persistentlog.Update{
			{Group: id, Hard: &raft.HardState{Term: 9, Lost: true}}, {Group: id, Hard: &raft.HardState{Term: 10}},
		}},
		{"a term that goes back behind an earlier update", []persistentlog.Update{
			{Group: id, Hard: &raft.HardState{Term: 9}}, {Group: id, Hard: &raft.HardState{Term: 8}},
		}},
		{"a second vote behind an earlier update", []persistentlog.Update{
			{Group: id, Hard: &raft.HardState{Term: 9, Vote: 1}}, {Group: id, Commit: 10}, {Group: id, Hard: &raft.HardState{Term: 9, Vote: 2}},
		}},
		{"a commit that goes back behind an earlier update", []persistentlog.Update{{Group: id, Commit: 11}, {Group: id, Commit: 10}}},
		{"a second update that leaves a gap behind the first", []persistentlog.Update{
			s.from(id, next-1).Commands(8, 1).Update(), (&Builder{Group: id, Next: next + 2}).Commands(8, 1).Update(),
		}},
	}
}

// failedSave lets the disk fail and looks what is left.
func failedSave(factory Factory) error {
	for round := range 4 {
		err := once(func(s *script) error { return s.failOnce(round) })(factory)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *script) failOnce(round int) error {
	failer, ok := s.store.(Failer)
	if !ok {
		return notOffered("failing writes")
	}
	for id := raft.GroupID(1); id <= 2; id++ {
		if err := s.save(shape(s.append(id)).Update()); err != nil {
			return err
		}
	}
	for range round {
		if err := s.save(s.append(1).Commands(8, 5).Update()); err != nil {
			return err
		}
	}
	if err := failer.FailNextSave(); err != nil {
		return fmt.Errorf("fail the next save: %w", err)
	}
	updates := []persistentlog.Update{s.from(1, 18).Commands(9, 5).Update(), s.append(2).Commands(9, 5, 5).Update()}
	err := s.log.Save(updates)
	if err == nil || errors.Is(err, persistentlog.ErrBadUpdate) {
		return fmt.Errorf("a save on a failing disk returned %v", err) //nolint:errorlint // a report of what came, not a cause
	}
	again := s.append(2).Commands(10, 6).Update()
	for call, err := range map[string]error{
		"save":                     s.log.Save([]persistentlog.Update{again}),
		"save of the failed again": s.log.Save(updates),
		"destroy":                  s.log.Destroy(1),
	} {
		if !errors.Is(err, persistentlog.ErrFenced) {
			return fmt.Errorf("%s after a failed save returned %v, want an error that matches %q", call, err, persistentlog.ErrFenced) //nolint:errorlint // a report of what came, not a cause
		}
	}
	// The log is of no use any more, and whether Close can still write is its own affair.
	_ = s.log.Close()
	s.log = nil
	if err := s.open(); err != nil {
		return err
	}
	return s.settle(updates)
}

// settle finds out which of the updates of a save that did not return are there: of each group, the first so many.
func (s *script) settle(updates []persistentlog.Update) error {
	byGroup := make(map[raft.GroupID][]persistentlog.Update)
	for _, u := range updates {
		byGroup[u.Group] = append(byGroup[u.Group], u)
	}
	ids, err := s.log.Groups()
	if err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	found := make(map[raft.GroupID]bool)
	for _, id := range ids {
		found[id] = true
	}
	for id, sequence := range byGroup {
		m := s.group(id)
		err := s.verifyGroup(id, m)
		settled := err == nil && (found[id] == (s.groups[id] != nil))
		for _, u := range sequence {
			if settled {
				break
			}
			m = m.clone()
			m.apply(u)
			m.reopened()
			if now := s.verifyGroup(id, m); now == nil {
				s.groups[id], settled = m, true
			} else {
				err = errors.Join(err, now)
			}
		}
		if !settled {
			return fmt.Errorf("group %d holds neither all of an unfinished update nor none of it (%s): %w", id, describe(sequence), err)
		}
	}
	return s.verify()
}
