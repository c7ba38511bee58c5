package logtest

import (
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// What groups may be after a life, and what they are.

// states is what a group is now, as the first of what it may be.
func (t *torture) states(id raft.GroupID) []*model {
	if m, ok := t.groups[id]; ok {
		return []*model{m.clone()}
	}
	return []*model{nil}
}

// options is what each group may be now: the states of an unfinished save, otherwise one.
func (t *torture) options() map[raft.GroupID][]*model {
	all := make(map[raft.GroupID][]*model)
	for id := raft.GroupID(1); id <= 3; id++ {
		if all[id] = t.pending[id]; all[id] == nil {
			all[id] = t.states(id)
		}
	}
	return all
}

// single makes options of one moment of the past.
func single(groups map[raft.GroupID]*model) map[raft.GroupID][]*model {
	all := make(map[raft.GroupID][]*model)
	for id := raft.GroupID(1); id <= 3; id++ {
		all[id] = []*model{groups[id]}
	}
	return all
}

// match finds what each group is, of what it may be. What cannot be read because it is damaged is noticed, and is what it may be.
func (s *script) match(options map[raft.GroupID][]*model) (chosen map[raft.GroupID]*model, noticed, err error) {
	ids, err := s.log.Groups()
	if errors.Is(err, persistentlog.ErrDamaged) {
		return nil, err, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("groups: %w", err)
	}
	found := make(map[raft.GroupID]bool)
	for _, id := range ids {
		found[id] = true
	}
	chosen = make(map[raft.GroupID]*model)
	for id, states := range options {
		m, saw, err := s.matchGroup(id, found[id], states)
		if err != nil {
			return nil, nil, fmt.Errorf("group %d: %w", id, err)
		}
		if saw != nil {
			noticed = saw
		}
		if m != nil {
			chosen[id] = m
		}
		delete(found, id)
	}
	for id := range found {
		return nil, nil, fmt.Errorf("group %d was never saved", id)
	}
	return chosen, noticed, nil
}

func (s *script) matchGroup(id raft.GroupID, there bool, states []*model) (m *model, noticed, err error) {
	var errs []error
	for _, m := range states {
		if m == nil || !there {
			if m == nil && !there {
				return nil, nil, nil
			}
			errs = append(errs, fmt.Errorf("it is there: %t, and should be: %t", there, m != nil))
			continue
		}
		m = m.clone()
		m.reopened()
		err := s.verifyGroup(id, m)
		if err == nil {
			return m, nil, nil
		}
		if errors.Is(err, persistentlog.ErrDamaged) {
			return m, err, nil
		}
		errs = append(errs, err)
	}
	return nil, nil, errors.Join(errs...)
}
