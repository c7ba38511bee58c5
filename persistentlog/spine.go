package persistentlog

import (
	"fmt"
	"slices"
	"sort"

	"github.com/oarlock/oarlock/raft"
)

// Spine is what an implementation of PersistentLog has to remember of one group besides the bytes: where the log begins
// and ends, which term stands where, which of its blocks are memberships, and the records beside the log. It knows the
// rules of Update, so that every log refuses the same things. Its zero value is a group that was never saved.
//
// The methods that only look may run at the same time, the others need a lock of the owner.
type Spine struct {
	state State // First of 0 stands for 1; Time and Chain stay zero: State fills them in from the last block
}

// NewSpine returns the spine of a group as it was loaded; Time and Chain of state are not looked at. What cannot have
// been written by any run of saves is an error that matches ErrDamaged.
func NewSpine(state State) (*Spine, error) {
	if err := checkState(state); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	s := &Spine{state: state}
	s.state.Trail = slices.Clone(state.Trail)
	s.state.Memberships = slices.Clone(state.Memberships)
	s.state.Time, s.state.Chain = 0, 0
	return s, nil
}

func checkState(s State) error {
	switch {
	case s.First == 0 || s.First > s.Next:
		return fmt.Errorf("log from %d to %d", s.First, s.Next)
	case s.First > s.Snapshot.Index+1:
		return fmt.Errorf("log begins at %d and the snapshot ends at %d: entries between them are missing", s.First, s.Snapshot.Index)
	case s.Next <= s.Snapshot.Index:
		return fmt.Errorf("log ends before %d and the snapshot at %d", s.Next, s.Snapshot.Index)
	case s.Commit >= s.Next:
		return fmt.Errorf("log ends before %d and %d is committed", s.Next, s.Commit)
	case (s.First < s.Next) != (len(s.Trail) > 0):
		return fmt.Errorf("log from %d to %d with %d runs of terms", s.First, s.Next, len(s.Trail))
	case len(s.Trail) > 0 && s.Trail[0].First != s.First:
		return fmt.Errorf("log begins at %d and its terms at %d", s.First, s.Trail[0].First)
	}
	for i, run := range s.Trail {
		if run.First >= s.Next || run.Term == 0 || i > 0 && (run.First <= s.Trail[i-1].First || run.Term <= s.Trail[i-1].Term) {
			return fmt.Errorf("term %d at %d is out of order in the log from %d to %d", run.Term, run.First, s.First, s.Next)
		}
	}
	for i, b := range s.Memberships {
		if b.Kind() != raft.KindMembership || b.First() < s.First || b.Next() > s.Next || i > 0 && b.First() < s.Memberships[i-1].Next() {
			return fmt.Errorf("membership block of kind %s at %d in the log from %d to %d", b.Kind(), b.First(), s.First, s.Next)
		}
	}
	return nil
}

// First returns the index of the first entry in the log, or where it would begin.
func (s *Spine) First() raft.Index { return max(s.state.First, 1) }

// Next returns the index after the last entry: the log covers the half-open range from First to Next.
func (s *Spine) Next() raft.Index { return max(s.state.Next, 1) }

// Snapshot returns the pointer saved last.
func (s *Spine) Snapshot() raft.SnapshotMeta { return s.state.Snapshot }

// Commit returns the commit hint.
func (s *Spine) Commit() raft.Index { return s.state.Commit }

// Hard returns term and vote.
func (s *Spine) Hard() raft.HardState { return s.state.Hard }

// Birth returns the birth record; it has no voters when none was saved.
func (s *Spine) Birth() raft.Birth { return s.state.Birth }

// Trail returns the term runs of the log. They are the spine's, to be read before its next change.
func (s *Spine) Trail() []raft.TermRun { return s.state.Trail }

// Memberships returns the membership blocks in the log. They are the spine's, to be read before its next change.
func (s *Spine) Memberships() []raft.Block { return s.state.Memberships }

// TermAt returns the term of the entry at an index of the log, or that of the snapshot's last entry at its index, and
// zero where neither is known.
func (s *Spine) TermAt(index raft.Index) raft.Term {
	if index >= s.state.First && index < s.state.Next {
		trail := s.state.Trail
		after := sort.Search(len(trail), func(i int) bool { return trail[i].First > index })
		return trail[after-1].Term
	}
	if index == s.state.Snapshot.Index {
		return s.state.Snapshot.Term
	}
	return 0
}

// State returns what Load has to return, with slices of its own. last is the log's last block as far as it reaches
// (Block.Clip); it is not looked at when the log is empty.
func (s *Spine) State(last raft.Block) State {
	state := s.state
	state.First, state.Next = s.First(), s.Next()
	state.Trail = slices.Clone(s.state.Trail)
	state.Memberships = slices.Clone(s.state.Memberships)
	if state.First < state.Next {
		state.Time, state.Chain = last.Time(), last.ChainAfter()
	} else {
		state.Time, state.Chain = state.Snapshot.Time, state.Snapshot.Chain
	}
	return state
}

// Clone returns a spine that shares nothing with s that either will change.
func (s *Spine) Clone() *Spine {
	c := *s
	c.state.Trail = slices.Clone(s.state.Trail)
	c.state.Memberships = slices.Clone(s.state.Memberships)
	return &c
}

// Apply carries out an update that Validate let pass.
func (s *Spine) Apply(u Update) {
	s.prepare()
	if u.Hard != nil {
		s.state.Hard = *u.Hard
	}
	if u.Birth != nil {
		s.state.Birth = *u.Birth
	}
	if u.Snapshot != nil {
		s.state.Snapshot = *u.Snapshot
	}
	if u.Installed {
		at := u.Snapshot.Index
		s.state.First, s.state.Next = at+1, at+1
		s.state.Trail, s.state.Memberships = nil, nil
		// The hint promises that the log holds what is committed. What stood behind the snapshot is gone.
		s.state.Commit = min(s.state.Commit, at)
	}
	for _, b := range u.Blocks {
		s.truncate(b.First())
		s.append(b)
	}
	if u.Commit != 0 {
		s.state.Commit = u.Commit
	}
}

// Compact moves the front of the log to the entry after through and drops the terms and memberships before it; it never
// moves back and never past the end. A log that keeps some of the entries passes the index up to which it drops them.
// Compacting what no snapshot covers is refused with an error that matches ErrBadUpdate.
func (s *Spine) Compact(through raft.Index) error {
	s.prepare()
	if through < s.state.First {
		return nil
	}
	if through > s.state.Snapshot.Index {
		return fmt.Errorf("%w: compact through %d, and the snapshot ends at %d: save the snapshot's pointer first",
			ErrBadUpdate, through, s.state.Snapshot.Index)
	}
	first := min(through+1, s.state.Next)
	trail := s.state.Trail
	if first == s.state.Next {
		s.state.Trail = nil
	} else {
		// The run that holds the new first entry is kept and begins there.
		keep := sort.Search(len(trail), func(i int) bool { return trail[i].First > first }) - 1
		s.state.Trail = slices.Clone(trail[keep:])
		s.state.Trail[0].First = first
	}
	s.state.Memberships = slices.DeleteFunc(s.state.Memberships, func(b raft.Block) bool { return b.First() < first })
	s.state.First = first
	return nil
}

func (s *Spine) prepare() {
	s.state.First, s.state.Next = s.First(), s.Next()
}

func (s *Spine) truncate(from raft.Index) {
	if from >= s.state.Next {
		return
	}
	trail := s.state.Trail
	s.state.Trail = trail[:sort.Search(len(trail), func(i int) bool { return trail[i].First >= from })]
	s.state.Memberships = slices.DeleteFunc(s.state.Memberships, func(b raft.Block) bool { return b.First() >= from })
	s.state.Next = from
}

func (s *Spine) append(b raft.Block) {
	if n := len(s.state.Trail); n == 0 || s.state.Trail[n-1].Term != b.Term() {
		s.state.Trail = append(s.state.Trail, raft.TermRun{First: b.First(), Term: b.Term()})
	}
	if b.Kind() == raft.KindMembership {
		s.state.Memberships = append(s.state.Memberships, b)
	}
	s.state.Next = b.Next()
}
