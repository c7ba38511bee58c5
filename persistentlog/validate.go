package persistentlog

import (
	"fmt"

	"github.com/oarlock/oarlock/raft"
)

// Validate checks all updates of one Save before anything of it is written, so that a refused Save has changed nothing:
// each update of a group against what the group's earlier ones in the same Save leave. spine returns a group's spine, or
// nil for a group that was never saved; it is not changed. The error matches ErrBadUpdate and names the group and the rule.
func Validate(updates []Update, spine func(raft.GroupID) *Spine) error {
	if len(updates) == 1 {
		return validateOne(spine(updates[0].Group), updates[0])
	}
	type seen struct {
		spine *Spine // with the earlier updates applied; nil until there is a second one
		first int
	}
	groups := make(map[raft.GroupID]seen, len(updates))
	for i, u := range updates {
		earlier, again := groups[u.Group]
		if !again {
			if err := validateOne(spine(u.Group), u); err != nil {
				return err
			}
			groups[u.Group] = seen{first: i}
			continue
		}
		if earlier.spine == nil {
			earlier.spine = new(Spine)
			if s := spine(u.Group); s != nil {
				earlier.spine = s.Clone()
			}
			earlier.spine.Apply(updates[earlier.first])
		}
		if err := earlier.spine.Validate(u); err != nil {
			return err
		}
		earlier.spine.Apply(u)
		groups[u.Group] = earlier
	}
	return nil
}

func validateOne(s *Spine, u Update) error {
	if s == nil {
		s = new(Spine)
	}
	return s.Validate(u)
}

// Validate reports the first rule of Update that u breaks, with an error that matches ErrBadUpdate. Beyond the log's own
// shape it refuses what no server that follows Raft can ask for and what would lose data: a term that goes back, a
// second vote in a term, a second birth, a replacement of entries that are committed or covered by a snapshot.
func (s *Spine) Validate(u Update) error {
	if u.Group == 0 {
		return badUpdate(u, "0 is no group")
	}
	if err := s.validateRecords(u); err != nil {
		return err
	}
	first, next := s.First(), s.Next()
	if u.Installed {
		if u.Snapshot == nil {
			return badUpdate(u, "a snapshot is installed and not named")
		}
		first, next = u.Snapshot.Index+1, u.Snapshot.Index+1
	}
	next, err := s.validateBlocks(u, first, next)
	if err != nil {
		return err
	}
	if err := s.validateSnapshot(u, next); err != nil {
		return err
	}
	switch {
	case u.Commit == 0:
	case u.Commit >= next:
		return badUpdate(u, "commit %d, and the log ends before %d", u.Commit, next)
	case u.Commit < s.state.Commit && !u.Installed:
		return badUpdate(u, "commit goes back from %d to %d", s.state.Commit, u.Commit)
	}
	return nil
}

func (s *Spine) validateRecords(u Update) error {
	if h, old := u.Hard, s.state.Hard; h != nil {
		switch {
		case h.Term < old.Term:
			return badUpdate(u, "term goes back from %d to %d", old.Term, h.Term)
		case old.Lost && !h.Lost:
			return badUpdate(u, "a log that was lost is taken for whole again")
		case h.Term == old.Term && old.Vote != 0 && h.Vote != old.Vote:
			return badUpdate(u, "vote of term %d goes from server %d to %d", h.Term, old.Vote, h.Vote)
		case h.Term == old.Term && old.Vote != 0 && h.VoteStore != old.VoteStore:
			return badUpdate(u, "vote of term %d for server %d goes from store %s to %s", h.Term, h.Vote, old.VoteStore, h.VoteStore)
		}
	}
	if b, old := u.Birth, s.state.Birth; b != nil {
		switch {
		case len(b.Membership.Voters) == 0:
			return badUpdate(u, "a birth without voters")
		case len(old.Membership.Voters) > 0 && !old.Same(*b):
			return badUpdate(u, "a second birth, other than the first")
		case old.Complete && !b.Complete:
			return badUpdate(u, "a complete birth becomes incomplete")
		}
	}
	return nil
}

// validateBlocks returns where the log ends after the update. The log is [first, next) before the blocks.
func (s *Spine) validateBlocks(u Update, first, next raft.Index) (raft.Index, error) {
	if len(u.Blocks) == 0 {
		return next, nil
	}
	from := u.Blocks[0].First()
	switch {
	case from > next:
		return 0, badUpdate(u, "blocks begin at %d, and the log ends before %d: entries between them are missing", from, next)
	case from < first:
		return 0, badUpdate(u, "blocks begin at %d, before the log's first index %d", from, first)
	}
	var before raft.Term
	if u.Installed {
		before = u.Snapshot.Term
	} else {
		before = s.TermAt(from - 1)
		if from <= s.state.Commit {
			return 0, badUpdate(u, "blocks replace from %d on, and %d is committed", from, s.state.Commit)
		}
		if from <= s.state.Snapshot.Index {
			return 0, badUpdate(u, "blocks replace from %d on, and a snapshot covers %d", from, s.state.Snapshot.Index)
		}
	}
	for i, b := range u.Blocks {
		switch {
		case b.IsBlank():
			return 0, badUpdate(u, "block at %d has no bytes yet", b.First())
		case b.Group() != u.Group:
			return 0, badUpdate(u, "block at %d belongs to group %d", b.First(), b.Group())
		case i > 0 && b.First() != u.Blocks[i-1].Next():
			return 0, badUpdate(u, "block at %d follows one that ends before %d", b.First(), u.Blocks[i-1].Next())
		case b.Term() < before:
			return 0, badUpdate(u, "block at %d has term %d after term %d", b.First(), b.Term(), before)
		}
		before = b.Term()
	}
	return u.Blocks[len(u.Blocks)-1].Next(), nil
}

// validateSnapshot checks the pointer against the log that ends before next once the update's blocks are in it.
func (s *Spine) validateSnapshot(u Update, next raft.Index) error {
	p := u.Snapshot
	if p == nil {
		return nil
	}
	switch {
	case p.Index == 0:
		return badUpdate(u, "a snapshot pointer without an index")
	case p.Group != u.Group:
		return badUpdate(u, "snapshot at %d belongs to group %d", p.Index, p.Group)
	case u.Installed:
		return nil
	case p.Index < s.state.Snapshot.Index:
		return badUpdate(u, "snapshot goes back from %d to %d", s.state.Snapshot.Index, p.Index)
	case p.Index >= next:
		return badUpdate(u, "a snapshot taken at %d, and the log ends before %d", p.Index, next)
	}
	if term := s.termAfter(u, p.Index); term != 0 && term != p.Term {
		return badUpdate(u, "snapshot at %d has term %d, and the log has term %d there", p.Index, p.Term, term)
	}
	return nil
}

// termAfter is TermAt once the update's blocks are in the log.
func (s *Spine) termAfter(u Update, index raft.Index) raft.Term {
	for _, b := range u.Blocks {
		if index >= b.First() && index < b.Next() {
			return b.Term()
		}
	}
	return s.TermAt(index)
}

func badUpdate(u Update, format string, args ...any) error {
	return fmt.Errorf("%w: group %d: %s", ErrBadUpdate, u.Group, fmt.Sprintf(format, args...))
}
