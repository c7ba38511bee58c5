package raft

import "time"

// saves knows which of the log's entries, and which hard state, a crash now would leave. Saves complete in order and
// are counted by a number that is never reused, not by (term, index): an entry that was cut off and sent again must
// not be acknowledged by the completion of its first life.
type saves struct {
	issued SaveSeq // the newest number handed out; issued+1 is the save under construction
	done   SaveSeq // the newest number reported durable
	// durable is the index after the last entry of the present log that is known to be on disk.
	durable Index
	pending []pendingSave
	movedAt time.Duration // when a save last completed, or the first of those under way was issued
	excused bool          // movedAt began again after a pause, and neither has happened since
	hard    SaveSeq       // the save that holds the present hard state
	birth   SaveSeq       // the save that holds the present birth
}

// pendingSave is a range of entries that a save not yet reported holds. Truncation shortens it.
type pendingSave struct {
	seq         SaveSeq
	first, next Index
}

// open is the number of the save under construction.
func (s *saves) open() SaveSeq { return s.issued + 1 }

// appended notes that the open save holds entries from first to next.
func (s *saves) appended(first, next Index) {
	if k := len(s.pending) - 1; k >= 0 && s.pending[k].seq == s.open() && s.pending[k].next == first {
		s.pending[k].next = next
		return
	}
	s.pending = append(s.pending, pendingSave{seq: s.open(), first: first, next: next})
}

// truncated voids what was saved, or is being saved, from index from on.
func (s *saves) truncated(from Index) {
	s.durable = min(s.durable, from)
	for k := range s.pending {
		s.pending[k].first = min(s.pending[k].first, from)
		s.pending[k].next = min(s.pending[k].next, from)
	}
}

// installed notes that the open save replaces the log by a snapshot that ends before next.
func (s *saves) installed(next Index) {
	s.durable = 1
	s.pending = append(s.pending[:0], pendingSave{seq: s.open(), first: 0, next: next})
}

// saved takes the completion of every save up to seq.
func (s *saves) saved(now time.Duration, seq SaveSeq) {
	s.done, s.movedAt, s.excused = max(s.done, seq), now, false
	k := 0
	for ; k < len(s.pending) && s.pending[k].seq <= seq; k++ {
		if p := s.pending[k]; p.next > p.first {
			s.durable = max(s.durable, p.next)
		}
	}
	s.pending = append(s.pending[:0], s.pending[k:]...)
}

// wait returns the save that a message must wait for: seq, unless it is done.
func (s *saves) wait(seq SaveSeq) SaveSeq {
	if seq <= s.done {
		return 0
	}
	return seq
}

// waitFor returns the newest save that holds an entry at or below match, zero when all of them are durable. It may be
// one of an earlier turn: a repeated append is not acknowledged while its entries are still on their way to the disk.
func (s *saves) waitFor(match Index) SaveSeq {
	if match < s.durable {
		return 0
	}
	for k := len(s.pending) - 1; k >= 0; k-- {
		if p := s.pending[k]; p.next > p.first && p.first <= match {
			return s.wait(p.seq)
		}
	}
	return 0
}
