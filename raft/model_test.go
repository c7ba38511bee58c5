package raft

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The small data structures of the core against the plainest thing that does the same.

func TestTrailIsAListOfTerms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := Index(rapid.IntRange(1, 5).Draw(t, "first"))
		base := Term(0)
		if first > 1 {
			base = 1
		}
		s := State{First: first, Next: first, Snapshot: SnapshotMeta{Index: first - 1, Term: base}}
		tr := newTrail(s)
		terms := []Term{base} // of first-1 and on
		at := first - 1
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			last := at + Index(len(terms)) - 1
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1, 2:
				term := terms[len(terms)-1] + Term(rapid.IntRange(0, 2).Draw(t, "more"))
				term = max(term, 1)
				count := rapid.IntRange(1, 4).Draw(t, "count")
				tr.append(last+1+Index(count), term)
				for range count {
					terms = append(terms, term)
				}
			case 3:
				from := at + 1 + Index(rapid.IntRange(0, len(terms)-1).Draw(t, "cut"))
				tr.truncate(from)
				terms = terms[:from-at]
			case 4:
				through := at + Index(rapid.IntRange(0, len(terms)-1).Draw(t, "through"))
				tr.compact(through)
				terms = terms[through-at:]
				at = through
			case 5:
				term := terms[len(terms)-1] + 1
				at = last + 3
				terms = []Term{term}
				tr.reset(at, term)
			}
			checkTrail(t, &tr, at, terms)
		}
	})
}

func checkTrail(t *rapid.T, tr *trail, at Index, terms []Term) {
	next := at + Index(len(terms))
	if tr.first != at+1 || tr.next != next || tr.last() != next-1 || tr.lastTerm() != terms[len(terms)-1] {
		t.Fatalf("[%d,%d) term %d, want [%d,%d) term %d", tr.first, tr.next, tr.lastTerm(), at+1, next, terms[len(terms)-1])
	}
	for i := Index(0); i < next+2; i++ {
		term, ok := tr.termAt(i)
		known := i == 0 || i >= at && i < next
		if ok != known || known && i > 0 && term != terms[i-at] {
			t.Fatalf("term at %d is %d %v in %v from %d", i, term, ok, terms, at)
		}
		if i > at && i < next {
			end := i + 1
			for end < next && terms[end-at] == term {
				end++
			}
			if tr.runEnd(i) != end {
				t.Fatalf("run of %d ends at %d, want %d", i, tr.runEnd(i), end)
			}
		}
		for want := Term(0); want < 5; want++ {
			index, found := tr.floor(i, want)
			k := min(i, next-1)
			for k > at && terms[k-at] > want {
				k--
			}
			if k < at || k == at && terms[0] > want || k == 0 {
				k = 0
			}
			if index != k || k > 0 && found != terms[k-at] {
				t.Fatalf("floor(%d, %d) is %d/%d, want %d in %v from %d", i, want, index, found, k, terms, at)
			}
		}
	}
}

// Weights interpolate: a range is off by less than a granule at either end and at each place where the log was cut, and a
// message never ends inside a large block.
func TestWeightsAreRightWithinAGranule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := Index(rapid.IntRange(1, 9).Draw(t, "first"))
		w := weights{next: first}
		type block struct {
			first, next Index
			bytes       int
		}
		var blocks []block
		slack := 2 * granule
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if len(blocks) > 0 && rapid.IntRange(0, 9).Draw(t, "what") == 0 {
				k := rapid.IntRange(0, len(blocks)-1).Draw(t, "cut")
				w.truncate(blocks[k].first)
				blocks = blocks[:k]
				slack += granule
				continue
			}
			size := rapid.OneOf(rapid.IntRange(1, 200), rapid.IntRange(3000, 9000), rapid.Just(1<<20)).Draw(t, "bytes")
			b := block{first: w.next, next: w.next + Index(rapid.IntRange(1, 9).Draw(t, "count")), bytes: size}
			w.add(b.first, b.next, size)
			blocks = append(blocks, b)
		}
		for a := range blocks {
			sum := 0
			for _, b := range blocks[a:] {
				sum += b.bytes
				if got := w.size(blocks[a].first, b.next); got < sum-slack || got > sum+slack {
					t.Fatalf("[%d,%d) takes %d, got %d", blocks[a].first, b.next, sum, got)
				}
			}
			limit := rapid.IntRange(1, 20000).Draw(t, "limit")
			end := w.cut(blocks[a].first, w.next, limit)
			if end <= blocks[a].first || end > w.next {
				t.Fatalf("cut of [%d,%d) at %d", blocks[a].first, w.next, end)
			}
			took := 0
			for k, b := range blocks[a:] {
				if b.first >= end {
					break
				}
				if b.bytes >= granule && b.next > end {
					t.Fatalf("cut at %d inside a block of %d bytes [%d,%d)", end, b.bytes, b.first, b.next)
				}
				if k > 0 {
					took += b.bytes
				}
			}
			if took > limit+slack {
				t.Fatalf("cut for %d bytes takes %d beside its first block", limit, took)
			}
		}
	})
}

// Durable is what the present log and the disk have in common, whatever was cut and sent again meanwhile.
func TestDurableIsWhatDiskAndLogShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type save struct {
			from   int
			labels []int
		}
		s := saves{durable: 1}
		var log, disk []int // labels: no two appends share one
		var queue []save
		label := 0
		open := save{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1: // append, perhaps over what stood there
				from := len(log)
				if rapid.Bool().Draw(t, "cut") {
					from = rapid.IntRange(0, len(log)).Draw(t, "from")
				}
				if from < len(log) {
					s.truncated(Index(from + 1))
					log = log[:from]
				}
				count := rapid.IntRange(1, 4).Draw(t, "count")
				s.appended(Index(from+1), Index(from+1+count))
				for range count {
					label++
					log = append(log, label)
				}
				if len(open.labels) == 0 || from < open.from {
					open.from, open.labels = from, nil
				}
				open.labels = append(open.labels[:from-open.from:from-open.from], log[from:]...)
			case 2: // the turn ends
				if len(open.labels) > 0 {
					s.issued++
					queue = append(queue, open)
					open = save{}
				}
			case 3, 4:
				if len(queue) > 0 {
					disk = append(disk[:queue[0].from:queue[0].from], queue[0].labels...)
					queue = queue[1:]
					s.saved(0, s.issued-SaveSeq(len(queue)))
				}
			}
			shared := 0
			for shared < len(log) && shared < len(disk) && log[shared] == disk[shared] {
				shared++
			}
			if int(s.durable) != shared+1 {
				t.Fatalf("durable %d, log %v, disk %v", s.durable, log, disk)
			}
			for match := range len(log) {
				// The first save after which everything up to match is on the disk.
				want, state := SaveSeq(0), slices.Clone(disk)
				covered := func() bool { return len(state) > match && slices.Equal(state[:match+1], log[:match+1]) }
				done := s.issued - SaveSeq(len(queue))
				for k := 0; !covered(); k++ {
					u := open
					if k < len(queue) {
						u = queue[k]
					}
					want = done + SaveSeq(k) + 1
					state = append(state[:u.from:u.from], u.labels...)
				}
				if got := s.waitFor(Index(match + 1)); got != want {
					t.Fatalf("match %d waits for save %d, want %d", match+1, got, want)
				}
			}
		}
	})
}

// Quorum decisions against counting every candidate value in every half.
func TestQuorumIsAPlainCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		half := func(name string, least int) []Member {
			ids := rapid.SliceOfNDistinct(rapid.IntRange(1, 12), least, 9, rapid.ID[int]).Draw(t, name)
			var members []Member
			for _, id := range ids {
				members = append(members, Member{ID: ServerID(id % 7), Store: StoreID{byte(id)}}) // one id, two stores
			}
			return members
		}
		m := Membership{Voters: half("voters", 0), Outgoing: half("outgoing", 0)}
		values := rapid.SliceOfN(rapid.Uint64Range(0, 6), 13, 13).Draw(t, "values")
		value := func(m Member) uint64 { return values[m.Store[0]] }
		q := quorumOf(m)
		count := func(half []Member, ok func(Member) bool) int {
			n := 0
			for _, v := range half {
				if ok(v) {
					n++
				}
			}
			return n
		}
		majority := func(ok func(Member) bool) bool {
			return len(m.Voters) > 0 && 2*count(m.Voters, ok) > len(m.Voters) &&
				(len(m.Outgoing) == 0 || 2*count(m.Outgoing, ok) > len(m.Outgoing))
		}
		want := uint64(0)
		for x := uint64(1); x <= 7; x++ {
			atLeast := func(m Member) bool { return value(m) >= x }
			if majority(atLeast) {
				want = x
			}
			if q.reached(atLeast) != majority(atLeast) || q.confirms(x, value) != majority(atLeast) {
				t.Fatalf("value %d of %v in %v", x, values, m)
			}
			// Who has said no cannot say yes: the election is lost when the rest is no majority.
			no := func(m Member) bool { return value(m) >= x }
			rest := func(m Member) bool { return !no(m) }
			if len(m.Voters) > 0 && q.lost(no) == majority(rest) {
				t.Fatalf("lost with %d of %v in %v", x, values, m)
			}
		}
		if got := q.largest(value); got != want {
			t.Fatalf("largest is %d, want %d of %v in %v", got, want, values, m)
		}
	})
}
