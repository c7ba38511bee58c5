package raft

import "sort"

// trail is the spine of the log: which term stands at which index, as a short list of runs. It never holds a command.
type trail struct {
	runs        []TermRun
	first, next Index // half open
	// base is an index below first whose term is still known: where the last compaction or snapshot ended.
	base     Index
	baseTerm Term
}

func newTrail(s State) trail {
	t := trail{runs: append([]TermRun(nil), s.Trail...), first: s.First, next: s.Next}
	if t.first == 0 {
		t.first, t.next = 1, 1
	}
	t.base, t.baseTerm = s.Snapshot.Index, s.Snapshot.Term
	return t
}

// last returns the index of the last entry, or the one before the log where it is empty.
func (t *trail) last() Index { return t.next - 1 }

// lastTerm returns the term at last.
func (t *trail) lastTerm() Term {
	term, _ := t.termAt(t.last())
	return term
}

// termAt returns the term of the entry at i; ok is false where it is not known: past the end, or compacted.
func (t *trail) termAt(i Index) (term Term, ok bool) {
	switch {
	case i == 0:
		return 0, true
	case i >= t.first && i < t.next:
		return t.runs[t.run(i)].Term, true
	case i == t.base:
		return t.baseTerm, true
	}
	return 0, false
}

// run returns the position of the run that holds i, which must be in the log.
func (t *trail) run(i Index) int {
	if last := len(t.runs) - 1; t.runs[last].First <= i {
		return last // nearly every question is about the end of the log
	}
	return sort.Search(len(t.runs), func(k int) bool { return t.runs[k].First > i }) - 1
}

// runEnd returns the index after the run that holds i, which must be in the log.
func (t *trail) runEnd(i Index) Index {
	if k := t.run(i); k+1 < len(t.runs) {
		return t.runs[k+1].First
	}
	return t.next
}

func (t *trail) append(next Index, term Term) {
	if len(t.runs) == 0 || t.runs[len(t.runs)-1].Term != term {
		t.runs = append(t.runs, TermRun{First: t.next, Term: term})
	}
	t.next = next
}

// truncate drops the entries from index from on.
func (t *trail) truncate(from Index) {
	for len(t.runs) > 0 && t.runs[len(t.runs)-1].First >= from {
		t.runs = t.runs[:len(t.runs)-1]
	}
	t.next = from
}

// compact drops the entries up to and including through, and remembers the term of through.
func (t *trail) compact(through Index) {
	if through < t.first || through >= t.next {
		return
	}
	k := t.run(through)
	t.base, t.baseTerm = through, t.runs[k].Term
	t.first = through + 1
	if t.runEnd(through) == t.first {
		k++
	}
	t.runs = append(t.runs[:0], t.runs[k:]...)
	if len(t.runs) > 0 {
		t.runs[0].First = t.first
	}
}

// reset makes the log empty after index, which had term.
func (t *trail) reset(index Index, term Term) {
	t.runs = t.runs[:0]
	t.first, t.next = index+1, index+1
	t.base, t.baseTerm = index, term
}

// floor returns the last index at or below i whose term is at most term, and that term: where two logs can still agree
// when the other one has term at i. It steps over whole terms, so that a conflict is found in one message a term
// (dissertation 3.5, the optimisation at its end). It returns zeros when nothing in the log qualifies.
func (t *trail) floor(i Index, term Term) (Index, Term) {
	i = min(i, t.last())
	for i >= t.first && i < t.next {
		k := t.run(i)
		if t.runs[k].Term <= term {
			return i, t.runs[k].Term
		}
		i = t.runs[k].First - 1
	}
	if i > 0 && i == t.base && t.baseTerm <= term {
		return i, t.baseTerm
	}
	return 0, 0
}
