package logtest

import (
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// life is a short history of two groups with every kind of call; each step stands on those before it.
func life() []func(*script) error {
	save := func(update func(*script) persistentlog.Update) func(*script) error {
		return func(s *script) error { return s.save(update(s)) }
	}
	return []func(*script) error{
		save(func(*script) persistentlog.Update {
			return persistentlog.Update{Group: 1, Birth: &raft.Birth{Membership: membership(3)}}
		}),
		save(func(*script) persistentlog.Update {
			return persistentlog.Update{Group: 1, Hard: &raft.HardState{Term: 1, Vote: 3}}
		}),
		save(func(s *script) persistentlog.Update { return shape(s.append(1)).Update() }),
		save(func(s *script) persistentlog.Update { return shape(s.append(2)).Update() }),
		save(func(s *script) persistentlog.Update { return s.from(1, 12).Commands(8, 4, 4).Update() }),
		save(func(s *script) persistentlog.Update {
			return persistentlog.Update{Group: 1, Snapshot: s.taken(1, 8), Commit: 9}
		}),
		func(s *script) error { return s.compact(1, 8) },
		save(func(s *script) persistentlog.Update { return s.from(1, 11).Commands(9, 50).Update() }),
		save(func(*script) persistentlog.Update {
			meta := snapshotMeta(2, 15, 5)
			return persistentlog.Update{Group: 2, Snapshot: &meta, Installed: true, Hard: &raft.HardState{Term: 9}}
		}),
		save(func(s *script) persistentlog.Update { return s.append(2).Commands(9, 5).Update() }),
		func(s *script) error { return s.compact(1, 4) },
		func(s *script) error { return s.destroy(1) },
		save(func(s *script) persistentlog.Update { return s.append(1).Commands(1, 5).Update() }),
	}
}

// crashBetweenCalls loses power once after each number of calls, and then after every call.
func crashBetweenCalls(factory Factory) error {
	steps := life()
	for at := 0; at <= len(steps)+1; at++ {
		err := once(func(s *script) error {
			for i, step := range steps {
				if i == at || at > len(steps) {
					if err := s.crash(); err != nil {
						return err
					}
					if err := s.verify(); err != nil {
						return fmt.Errorf("a crash before call %d: %w", i, err)
					}
				}
				if err := step(s); err != nil {
					return fmt.Errorf("call %d: %w", i, err)
				}
			}
			if err := s.crash(); err != nil {
				return err
			}
			return s.verify()
		})(factory)
		if err != nil {
			return err
		}
	}
	return nil
}

// crashWithinSave loses power in a save of several groups, at many moments.
func crashWithinSave(factory Factory) error {
	for seed := range uint64(32) {
		err := once(func(s *script) error {
			for id := raft.GroupID(1); id <= 3; id++ {
				if err := s.save(shape(s.append(id)).Update()); err != nil {
					return err
				}
			}
			for round := range raft.Term(3) {
				if err := s.crashInSave(s.unfinished(10+2*round), seed<<8|uint64(round)); err != nil {
					return fmt.Errorf("seed %d: %w", seed, err)
				}
			}
			return s.reload()
		})(factory)
		if err != nil {
			return err
		}
	}
	return nil
}

// unfinished returns updates that change everything an update can change, two of one group among them.
func (s *script) unfinished(term raft.Term) []persistentlog.Update {
	replaced := s.from(1, s.group(1).next()-2).Commands(term, 30, 30, 30).Single(term, raft.KindMembership)
	first := replaced.Update()
	first.Hard = &raft.HardState{Term: term, Vote: 1}
	again := (&Builder{Group: 1, Next: replaced.Next, Chain: replaced.Chain}).Commands(term+1, 3, 3).Update()
	again.Hard = &raft.HardState{Term: term + 1, Vote: 2}
	meta := snapshotMeta(2, s.group(2).next()+5, term)
	installed := persistentlog.Update{Group: 2, Snapshot: &meta, Installed: true, Commit: meta.Index, Hard: &raft.HardState{Term: term}}
	taken := s.append(3).Commands(term, 100).Single(term, raft.KindMembership).Update()
	taken.Snapshot = s.taken(3, s.group(3).next()-1)
	fresh := (&Builder{Group: raft.GroupID(term), Next: s.group(raft.GroupID(term)).next()}).Commands(1, 8).Update()
	return []persistentlog.Update{first, installed, taken, again, fresh}
}

func (s *script) crashInSave(updates []persistentlog.Update, seed uint64) error {
	crasher, ok := s.store.(SaveCrasher)
	if !ok {
		return notOffered("crashes within a save")
	}
	for _, u := range updates {
		s.hold(u.Blocks)
	}
	s.log = nil
	if err := crasher.CrashInSave(updates, seed); err != nil {
		return fmt.Errorf("crash in a save: %w", err)
	}
	if err := s.open(); err != nil {
		return err
	}
	return s.settle(updates)
}

// saysLost reports whether the store says of every group, also of one that was never saved, that acknowledged saves are missing.
func (s *script) saysLost() bool {
	for id := raft.GroupID(1); id <= 4; id++ {
		if st, err := s.log.Load(id); err != nil || !st.Hard.Lost {
			return false
		}
	}
	return true
}

// damage changes what is stored and accepts three answers: the data as it was, ErrDamaged, or a store that says that it has lost its end.
func damage(factory Factory) error {
	offered := false
	for _, kind := range []Damage{FlippedBit, LostTail, LostRecord} {
		for seed := range uint64(64) {
			did := false
			err := once(func(s *script) (err error) {
				did, err = s.damageOnce(kind, seed)
				return err
			})(factory)
			if err != nil {
				return fmt.Errorf("damage of kind %d, seed %d: %w", kind, seed, err)
			}
			if !did {
				break
			}
			offered = true
		}
	}
	if !offered {
		return notOffered("damage")
	}
	return nil
}

func (s *script) damageOnce(kind Damage, seed uint64) (bool, error) {
	damager, ok := s.store.(Damager)
	if !ok {
		return false, nil
	}
	for id := raft.GroupID(1); id <= 3; id++ {
		u := shapeAfter(shape(s.append(id)), 10).Update()
		u.Hard = &raft.HardState{Term: 20, Vote: 1}
		if err := s.save(u); err != nil {
			return false, err
		}
		if err := s.save(persistentlog.Update{Group: id, Snapshot: s.taken(id, 12), Commit: 15}); err != nil {
			return false, err
		}
	}
	err := s.log.Close()
	s.log = nil
	if err != nil {
		return false, fmt.Errorf("close: %w", err)
	}
	did, err := damager.Damage(kind, seed)
	if err != nil || !did {
		return did, err
	}
	if err := s.open(); err != nil {
		if errors.Is(err, persistentlog.ErrDamaged) {
			return true, nil
		}
		return true, fmt.Errorf("want an error that matches %q: %w", persistentlog.ErrDamaged, err) //nolint:errorlint // a report of what came, not a cause
	}
	if s.saysLost() {
		return true, s.log.Close()
	}
	if err := s.verify(); err != nil && !errors.Is(err, persistentlog.ErrDamaged) {
		return true, fmt.Errorf("damage was taken for data: %w", err)
	}
	// Closing a damaged store may fail; nothing more is expected of it.
	_ = s.log.Close()
	s.log = nil
	return true, nil
}
