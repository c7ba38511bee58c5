package sim

import (
	"fmt"

	"github.com/oarlock/oarlock/raft"
)

// check is one rule that every run has to keep.
type check struct {
	number int
	name   string
	// turn, if it is not nil, looks at a replica after each of its turns. The other rules are held where what they are
	// about happens: see where their variables are used.
	turn func(r *replica, st *look) error
}

// The rules. Numbers up to 40 are those of the list that package raft's own tests use as well. Of these 8, that another entry is never
// committed in the place of one that was, is part of 7; 21, that the joint phase is left only when both halves have it, of 10 and 19.
var (
	checkElection     = &check{1, "at most one leader in a term, ever", electionSafety}
	checkVoteOnce     = &check{2, "one vote in a term, over all restarts", nil}
	checkElected      = &check{23, "a leader was elected by a majority of the membership in its log, each with the store that stands there", electedByMajority}
	checkVoteDurable  = &check{3, "term and vote are durable before they are claimed", nil}
	checkAppend       = &check{4, "entries are durable before they are acknowledged, and are the leader's", nil}
	checkAppendOnly   = &check{5, "within its term a leader only adds to its log", nil}
	checkMatching     = &check{6, "entries of one index and term have the same history everywhere", nil}
	checkCommitted    = &check{7, "what was committed once is committed for ever, everywhere", committedForever}
	checkCompleteness = &check{9, "a leader holds what was committed in earlier terms", leaderCompleteness}
	checkQuorum       = &check{10, "a leader commits what is of its term and durable on a majority", commitOnQuorum}
	checkBound        = &check{11, "a follower commits no more than a message has verified", followerBound}
	checkMonotonic    = &check{12, "term, commit, applied, snapshot, beginning of the log and cluster time never go back", monotonic}
	checkOrder        = &check{13, "beginning <= snapshot+1, snapshot <= applied <= commit <= end", indexOrder}
	checkTerms        = &check{14, "terms do not decrease along the log and are not above the server's", nil}
	checkMachines     = &check{15, "the same state after the same entry on every server", nil}
	checkApplyOrder   = &check{16, "every entry is applied once, in order, and only when it is committed", nil}
	checkSnapshot     = &check{17, "a snapshot is the state at its index, which is committed", nil}
	checkInForce      = &check{18, "the membership in force is the last one in the log", membershipInForce}
	checkOneChange    = &check{19, "a leader appends a membership when it has committed in its term and the last one is committed", nil}
	checkOverlap      = &check{20, "majorities of two memberships in a row overlap", nil}
	checkChanged      = &check{51, "a membership change that is said to be made was committed", nil}
	checkOutside      = &check{22, "who is no voter any more does not lead on", leadsOutside}
	checkLease        = &check{26, "nobody leads a later term while a leader has a lease", leaseHolds}
	checkTransfer     = &check{52, "what is said of a transfer is so", nil}
	checkQuiet        = &check{53, "servers that have left move no term", nil}
	checkCaughtUp     = &check{54, "who is to vote has what the log held when its change began", nil}
	checkHung         = &check{55, "a leader whose disk hangs leads no longer than three election timeouts", hungLeads}
	checkPreferred    = &check{56, "a server with the highest priority leads once nothing fails", nil}
	checkTold         = &check{57, "who has left learns it once nothing fails, and who has not does not", nil}
	checkBack         = &check{58, "one process never shows less than it has shown", nil}
	checkLinear       = &check{24, "histories of clients are linearizable", nil}
	checkRead         = &check{25, "a read sees all that was answered before it was asked", nil}
	checkOnce         = &check{27, "a command is executed at most once, and every answer is that execution's", nil}
	checkPhantom      = &check{28, "what is executed was asked for, and what is read was written", nil}
	checkRefused      = &check{29, "what was refused is never executed", nil}
	checkKept         = &check{30, "what was acknowledged is there in the end, on every member", nil}
	checkLeader       = &check{31, "a leader within ten election timeouts once nothing fails", nil}
	checkServes       = &check{32, "new commands are executed once nothing fails", nil}
	checkConverges    = &check{33, "all members come together once nothing fails", nil}
	checkJoint        = &check{34, "no change of membership is left half done", nil}
	checkOffers       = &check{35, "no follower is offered one snapshot after the other", nil}
	checkStable       = &check{36, "no elections while nothing fails", nil}
	checkStays        = &check{47, "a leader that all but one hear stays, and its term with it", nil}
	checkReplaced     = &check{48, "a leader that hears nobody is replaced", nil}
	checkMessages     = &check{37, "so many messages as there are entries and heartbeats, and no more", nil}
	checkAnswered     = &check{38, "every call is answered, once", waitersDropped}
	checkQueues       = &check{39, "what is queued stays within its bounds", queuesBounded}
	checkFormed       = &check{40, "nobody sends what its peers have to drop", nil}
	checkStart        = &check{42, "a server starts on what its store holds", nil}
	checkFence        = &check{43, "a replica stops only for a fault of its disk, and says so", nil}
	checkDurable      = &check{44, "a store holds after a crash what its saves promised, each update whole", nil}
	checkSilent       = &check{45, "nothing leaves a replica that has stopped", nil}
	checkCompact      = &check{46, "a log keeps what an older snapshot than the newest needs after it", nil}
	checkMute         = &check{50, "a store that has lost its log neither votes nor acknowledges", nil}
	checkWitness      = &check{60, "a log that has lost acknowledged saves is found to have lost its end", nil}
	checkLostLog      = &check{59, "a log is believed to be lost only if a fault has taken something from it", nil}
	checkLearners     = &check{61, "who has no vote is sent what is committed, and no more", nil}
	checkReady        = &check{62, "who is elected has restored its state machine", nil}
	checkStops        = &check{49, "what has lost more than it can do without stands still, and says why", nil}
)

// checks is the table of all rules.
var checks = []*check{
	checkElection, checkElected, checkVoteOnce, checkVoteDurable, checkAppend, checkAppendOnly, checkMatching, checkCommitted, checkCompleteness,
	checkQuorum, checkBound, checkMonotonic, checkOrder, checkTerms, checkMachines, checkApplyOrder, checkSnapshot,
	checkInForce, checkOneChange, checkOverlap, checkOutside, checkLease, checkChanged, checkTransfer, checkQuiet,
	checkCaughtUp, checkHung, checkPreferred, checkTold, checkBack, checkLinear,
	checkRead, checkOnce, checkPhantom, checkRefused, checkKept, checkLeader, checkServes, checkConverges, checkJoint,
	checkOffers, checkStable, checkStays, checkReplaced, checkMessages, checkAnswered, checkQueues, checkFormed, checkStart, checkFence, checkDurable, checkSilent, checkCompact,
	checkStops, checkMute, checkLostLog, checkWitness, checkLearners, checkReady,
}

// turnChecks are those that look at a replica after a turn.
var turnChecks = func() (list []*check) {
	for _, c := range checks {
		if c.turn != nil {
			list = append(list, c)
		}
	}
	return list
}()

// EachCheck calls f with every rule that runs are held to.
func EachCheck(f func(number int, name string)) {
	for _, c := range checks {
		f(c.number, c.name)
	}
}

func electionSafety(r *replica, st *look) error {
	if st.role != raft.RoleLeader {
		return nil
	}
	if other, ok := r.oracle.leaders[st.term]; ok && other != r.h.number {
		return fmt.Errorf("term %d was led by server %v", st.term, r.h.w.hosts[other-1])
	}
	r.oracle.leaders[st.term] = r.h.number
	r.oracle.termMax = max(r.oracle.termMax, st.term)
	return nil
}

// electedByMajority holds a new leader against the votes that were given, each by a server with the store that the membership names.
// Its own is the one on its disk.
func electedByMajority(r *replica, st *look) error {
	if st.role != raft.RoleLeader || r.seen.role == raft.RoleLeader && r.seen.term == st.term {
		return nil
	}
	who := candidate{r.h.id, r.h.identity.Store}
	voted := func(v raft.Member) bool {
		if r.h.is(v) {
			hard := &r.mirror.disk.hard
			return hard.Term == st.term && hard.Vote == who.id && hard.VoteStore == who.store
		}
		return r.oracle.given[given{ballot{v.Store, st.term}, who}]
	}
	if in := r.mirror.now.membership(); !decides(in, voted) {
		return fmt.Errorf("it leads term %d without the votes of a majority of %s", st.term, describeMembership(in))
	}
	return nil
}

func committedForever(r *replica, st *look) error {
	o := r.oracle
	for i := r.seen.commit + 1; i <= st.commit; i++ {
		term, chain, ok := r.mirror.now.at(i)
		switch {
		case !ok: // a snapshot covers it, and the hash at its end covers the rest
			continue
		case i < raft.Index(len(o.committed)) && o.committed[i] != 0:
			if o.committed[i] != chain {
				return fmt.Errorf("index %d was committed with another history", i)
			}
			continue
		}
		o.commit(i, term, chain)
	}
	o.membershipsCommitted(r, st.commit)
	if st.role == raft.RoleLeader {
		o.committedBy[st.term] = st.commit
	}
	return nil
}

func leaderCompleteness(r *replica, st *look) error {
	if st.role != raft.RoleLeader || r.seen.role == raft.RoleLeader && r.seen.term == st.term {
		return nil
	}
	for term, index := range r.oracle.committedBy {
		if term < st.term && index > 0 && !r.mirror.now.holds(index, r.oracle.committed[index]) {
			return fmt.Errorf("it leads term %d and lacks index %d, committed in term %d", st.term, index, term)
		}
	}
	return nil
}

func commitOnQuorum(r *replica, st *look) error {
	if st.role != raft.RoleLeader || r.seen.role != raft.RoleLeader || st.commit == r.seen.commit {
		return nil
	}
	term, chain, ok := r.mirror.now.at(st.commit)
	if !ok || term != st.term {
		return fmt.Errorf("it leads term %d and commits index %d of term %d", st.term, st.commit, term)
	}
	if !r.onMajority(st.commit, chain) {
		return fmt.Errorf("index %d is not on the disks of a majority of %s", st.commit, describeMembership(r.mirror.now.membership()))
	}
	return nil
}

// onMajority reports whether an entry is on the disks of a majority of the membership that a replica counts by. It may go on to
// another one in the turn in which it has counted by the one before.
func (r *replica) onMajority(i raft.Index, chain uint64) bool {
	holds := func(v raft.Member) bool {
		h := r.h.w.hostOf(v)
		if h == nil {
			return false
		}
		m := r.oracle.mirrors[h.number-1]
		return m.disk.holds(i, chain) || m.former != nil && m.former.holds(i, chain)
	}
	return decides(r.mirror.now.membership(), holds) || decides(r.seen.membership, holds)
}

// followerBound is for all who have not led all through the turn. Who has led until now may have committed as a leader before.
func followerBound(r *replica, st *look) error {
	led := r.seen.role == raft.RoleLeader
	if led && st.role == raft.RoleLeader || st.commit <= max(r.seen.commit, r.seen.bound, r.kept) {
		return nil
	}
	if term, chain, ok := r.mirror.now.at(st.commit); led && ok && term == r.seen.term && r.onMajority(st.commit, chain) {
		return nil
	}
	return fmt.Errorf("commit went from %d to %d, and the messages verified %d", r.seen.commit, st.commit, r.seen.bound)
}

func monotonic(r *replica, st *look) error {
	s := &r.seen
	for _, x := range [...]struct {
		name     string
		was, now uint64
	}{
		{"term", uint64(s.term), uint64(st.term)},
		{"commit", uint64(s.commit), uint64(st.commit)},
		{"applied", uint64(s.applied), uint64(st.applied)},
		{"snapshot", uint64(s.snapshot), uint64(st.snapshot)},
		{"beginning", uint64(s.first), uint64(st.first)},
		{"cluster time", uint64(s.time), uint64(st.time)},
	} {
		if x.now < x.was {
			return fmt.Errorf("%s went from %d back to %d", x.name, x.was, x.now)
		}
	}
	return nil
}

func indexOrder(_ *replica, st *look) error {
	if st.first > st.snapshot+1 || st.snapshot > st.applied || st.applied > st.commit || st.commit >= st.next {
		return fmt.Errorf("beginning %d, snapshot %d, applied %d, commit %d, end %d", st.first, st.snapshot, st.applied, st.commit, st.next)
	}
	return nil
}

// weighed is by how much the consensus module may be wrong about the bytes of a range of entries.
const weighed = 8 << 10

// readCounts is what a replica counts a read of old entries as, whose size it does not know. Such a read waits until nothing else
// is on its way, or until there is that much room.
const readCounts = 1 << 20

// readsOver is by how much the reads of so many groups may be over a bound, where as much is on its way as one of them counts: a group
// that has nothing on its way may always read, also where there is no room.
func readsOver(groups int, is int64, atMost int) int {
	switch {
	case is < readCounts:
		return 0
	case atMost >= readCounts: // the first of them had room
		groups--
	}
	return groups * readCounts
}

func queuesBounded(r *replica, st *look) error {
	p := r.h.w.plan
	// What is empty takes anything, and a block more is let in by whoever looked before it came.
	slack := 2 * p.BlockBytesMax
	var uncommitted, unapplied, tails int64
	for _, other := range r.h.replicas {
		l := &other.seen.look
		if other == r {
			l = st
		}
		uncommitted, unapplied, tails = uncommitted+l.uncommitted, unapplied+l.unapplied, tails+l.tail
	}
	all := len(r.h.replicas) * slack
	// The tail also holds what is not saved yet: what a leader takes before it is committed, and what one sends a follower ahead
	// of its answers.
	unsaved := len(r.h.replicas) * (p.UncommittedBytesMax + p.InflightBytesMax)
	for _, q := range [...]struct {
		name    string
		is      int64
		atMost  int
		besides int
	}{
		{"are uncommitted", st.uncommitted, p.UncommittedBytesMax, slack},
		{"are uncommitted on the whole server", uncommitted, p.UncommittedBytesMax * p.ServerBytesFactor, all},
		{"are unapplied", st.unapplied, p.UnappliedBytesMax, slack + readsOver(1, st.unapplied, p.UnappliedBytesMax)},
		{"are unapplied on the whole server", unapplied, p.UnappliedBytesMax * p.ServerBytesFactor, all + readsOver(len(r.h.replicas), unapplied, p.UnappliedBytesMax*p.ServerBytesFactor)},
		{"are in flight to a follower", st.inflight, p.InflightBytesMax, slack + weighed},
		{"are in all tails", tails, p.TailBytesMax, all + unsaved},
	} {
		if q.is > int64(q.atMost+q.besides) {
			return fmt.Errorf("%d bytes %s, bound %d", q.is, q.name, q.atMost)
		}
	}
	return nil
}

// waitersDropped: who does not lead owes nobody an answer for an entry that is not committed, because nobody knows whether it
// ever will be. Who waits for one that an installed snapshot covers is answered when the machine lets go of what it was at.
func waitersDropped(r *replica, st *look) error {
	committed := int(st.commit - st.applied)
	if at := raft.Index(r.machine.index); st.snapshot > at {
		committed = int(st.commit - at)
	}
	if st.role != raft.RoleLeader && r.owedWrites > committed {
		return fmt.Errorf("it does not lead, %d callers wait for entries of its log, and %d are committed and not applied", r.owedWrites, committed)
	}
	return nil
}
