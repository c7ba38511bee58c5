package raft

// quorum counts decisions for one membership. Everything that needs a majority asks it, so that joint consensus
// (dissertation 4.3: a majority of the old half and of the new one) is known in one place. Who counts is a member, id and
// store: the two halves may have one id with two stores.
type quorum struct {
	halves [2][]Member // the second is empty outside a change
}

func quorumOf(m Membership) quorum { return quorum{halves: [2][]Member{m.Voters, m.Outgoing}} }

// reached reports whether a majority of each half satisfies ok.
func (q quorum) reached(ok func(Member) bool) bool {
	for _, half := range q.halves {
		count := 0
		for _, v := range half {
			if ok(v) {
				count++
			}
		}
		if len(half) > 0 && count <= len(half)/2 {
			return false
		}
	}
	return len(q.halves[0]) > 0
}

// largest returns the largest value that a majority of each half has reached: the commit rule for match indexes, the
// confirmation rule for rounds.
func (q quorum) largest(value func(Member) uint64) uint64 {
	result := ^uint64(0)
	for _, half := range q.halves {
		if len(half) == 0 {
			continue
		}
		var room [8]uint64
		sorted := room[:0]
		for _, v := range half {
			x := value(v)
			at := len(sorted)
			sorted = append(sorted, x)
			for ; at > 0 && sorted[at-1] < x; at-- {
				sorted[at] = sorted[at-1]
			}
			sorted[at] = x
		}
		// In descending order, the value in the middle (or just past it) is reached by a majority.
		result = min(result, sorted[len(half)/2])
	}
	if len(q.halves[0]) == 0 {
		return 0
	}
	return result
}

// confirms is the plain recomputation that guards largest: it counts, for one value, who has reached it.
func (q quorum) confirms(x uint64, value func(Member) uint64) bool {
	return q.reached(func(m Member) bool { return value(m) >= x })
}

// lost reports whether so many voters have said no that a majority of some half is out of reach.
func (q quorum) lost(no func(Member) bool) bool {
	for _, half := range q.halves {
		count := 0
		for _, v := range half {
			if no(v) {
				count++
			}
		}
		if len(half) > 0 && len(half)-count <= len(half)/2 {
			return true
		}
	}
	return false
}
