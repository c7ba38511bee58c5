package raft

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// history is what an observer of the whole cluster has seen since its beginning, crashes or not.
type history struct {
	c           *cluster
	played      bool // a test speaks for the other servers: their disks say nothing
	changed     bool // memberships are changed by the module alone, not by a script that jumps
	leaders     map[Term]ServerID
	votes       map[ballot]ServerID
	places      map[place]uint64 // chain hash after each entry that ever stood in a log
	committed   map[Index]uint64 // chain hash after each index that anyone called committed
	commitMax   Index
	committedBy map[Term]Index // by the leader of a term, the most
	readsAt     map[ReadID]readStart
	totals      totals
}

type ballot struct {
	store StoreID
	term  Term
}

type place struct {
	index Index
	term  Term
}

type readStart struct {
	host      ServerID
	commitMax Index
	decided   bool
	lost      bool // its server crashed
}

func newHistory(c *cluster) *history {
	return &history{
		c: c, leaders: map[Term]ServerID{}, votes: map[ballot]ServerID{}, places: map[place]uint64{},
		committed: map[Index]uint64{}, committedBy: map[Term]Index{}, readsAt: map[ReadID]readStart{},
	}
}

// seen is a host as the last check of this run of it left it.
type seen struct {
	role     Role
	term     Term
	commit   Index
	applied  Index
	snapshot Index
	first    Index
	time     int64
	logEnd   Index // in a leader: its log's last entry
	logChain uint64
	members  MembershipAt
}

func (s *seen) begin(h *host) {
	n := h.node
	*s = seen{term: n.hard.Term, commit: n.commit, applied: n.applied, snapshot: n.snapshot.Index, first: n.trail.first, members: n.memberships[len(n.memberships)-1]}
}

// invariants are checked after every turn of every host, against that host.
var invariants = []struct {
	number int
	name   string
	holds  func(c *cluster, h *host) error
}{
	{1, "election safety: at most one leader in a term, ever", electionSafety},
	{28, "nobody is elected while another leader holds a lease", leaseExcludes},
	{5, "leader append-only: within its term a leader only adds to its log", leaderAppendOnly},
	{7, "committed prefix agreement; 8: committed is forever", committedForever},
	{9, "leader completeness: a leader holds what was committed in earlier terms", leaderCompleteness},
	{10, "commit on quorum: own term, durable on a majority of each half", commitOnQuorum},
	{11, "follower commit bound: never past what the message verified", followerCommitBound},
	{12, "monotonic: term, commit, applied, snapshot, first index, cluster time", monotonic},
	{13, "order: first <= snapshot+1, snapshot <= applied <= commit <= last", order},
	{14, "terms do not decrease along the log, and the trail is the log's", trailIsTheLog},
	{18, "the membership in force is the latest in the log", membershipIsTheLatest},
	{19, "a leader has one membership at most that is not committed, and has committed in its term", oneOpenMembership},
	{20, "two memberships that follow one another have majorities that overlap", quorumsOverlap},
	{40, "progress adds up: match < next, bytes in flight, at most one message over the window", progressAddsUp},
	{41, "nothing is overdue at the end of a turn", nothingOverdue},
}

func (c *cluster) checkInvariants(h *host) {
	for _, i := range invariants {
		if err := i.holds(c, h); err != nil {
			c.fail("server %d breaks invariant %d, %s: %v", h.id, i.number, i.name, err)
		}
	}
	n := h.node
	h.seen = seen{
		role: n.role, term: n.hard.Term, commit: n.commit, applied: n.applied, snapshot: n.snapshot.Index,
		first: n.trail.first, time: n.clock.cluster, logEnd: n.trail.last(), members: n.memberships[len(n.memberships)-1],
	}
	h.seen.logChain, _ = h.log.chainAfter(h.seen.logEnd)
	h.bound = 0
}

func electionSafety(c *cluster, h *host) error {
	if h.node.role != RoleLeader {
		return nil
	}
	term := h.node.hard.Term
	if other, ok := c.history.leaders[term]; ok && other != h.id {
		return fmt.Errorf("term %d was led by server %d", term, other)
	}
	if h.seen.role != RoleLeader {
		c.history.totals.elections++
	}
	c.history.leaders[term] = h.id
	return nil
}

func leaseExcludes(c *cluster, h *host) error {
	if h.node.role != RoleLeader || h.seen.role == RoleLeader && h.seen.term == h.node.hard.Term {
		return nil
	}
	for _, other := range c.hosts {
		if other == h || other.node == nil || other.node.hard.Term > h.node.hard.Term { // a late winner of an old term can do nothing
			continue
		}
		n := *other.node // its lease at this moment, without an input
		n.clock.now = c.now
		if _, ok := n.lease(); ok {
			return fmt.Errorf("server %d leads term %d and has a lease until %v", other.id, n.hard.Term, n.lead.leaseEnd)
		}
	}
	return nil
}

func leaderAppendOnly(_ *cluster, h *host) error {
	if h.node.role != RoleLeader || h.seen.role != RoleLeader || h.seen.term != h.node.hard.Term {
		return nil
	}
	if chain, ok := h.log.chainAfter(h.seen.logEnd); !ok || chain != h.seen.logChain {
		return fmt.Errorf("what stood up to %d is another log now", h.seen.logEnd)
	}
	return nil
}

func committedForever(c *cluster, h *host) error {
	for i := h.seen.commit + 1; i <= h.node.commit; i++ {
		chain, ok := h.log.chainAfter(i)
		if !ok {
			continue // covered by a snapshot: its end is checked, and the chain hash covers the rest
		}
		if was, ok := c.history.committed[i]; ok && was != chain {
			return fmt.Errorf("index %d was committed with another history", i)
		}
		c.history.committed[i] = chain
	}
	c.history.commitMax = max(c.history.commitMax, h.node.commit)
	if h.node.role == RoleLeader {
		c.history.committedBy[h.node.hard.Term] = h.node.commit
	}
	return nil
}

func leaderCompleteness(c *cluster, h *host) error {
	if h.node.role != RoleLeader || h.seen.role == RoleLeader && h.seen.term == h.node.hard.Term {
		return nil
	}
	for term, index := range c.history.committedBy {
		if term >= h.node.hard.Term {
			continue
		}
		want, ok := c.history.committed[index]
		if got, known := h.log.chainAfter(index); ok && (index >= h.log.next() || known && got != want) {
			return fmt.Errorf("it lacks index %d, committed in term %d", index, term)
		}
	}
	return nil
}

func commitOnQuorum(c *cluster, h *host) error {
	n := h.node
	if c.history.played || n.role != RoleLeader || n.commit == h.seen.commit || h.seen.role != RoleLeader {
		return nil
	}
	e, ok := h.log.at(n.commit)
	if !ok || e.term != n.hard.Term {
		return fmt.Errorf("index %d is of term %d", n.commit, e.term)
	}
	m := n.membership()
	if last := n.memberships[len(n.memberships)-1]; last.Index > h.seen.logEnd {
		m = h.seen.members.Membership // it was appended after what it was waiting for had been committed
	}
	for _, half := range [][]Member{m.Voters, m.Outgoing} {
		count := 0
		for _, v := range half {
			d := &c.host(v.ID).disk
			if c.host(v.ID).wiped {
				d = &c.host(v.ID).former
			}
			chain, ok := d.log.chainAfter(n.commit)
			if d.store == v.Store && (ok && chain == e.chain || d.snapshot.Index >= n.commit) {
				count++
			}
		}
		if len(half) > 0 && count <= len(half)/2 {
			return fmt.Errorf("index %d is on %d disks of %d", n.commit, count, len(half))
		}
	}
	return nil
}

func oneOpenMembership(_ *cluster, h *host) error {
	n := h.node
	if n.role != RoleLeader {
		return nil
	}
	open := 0
	for _, at := range n.memberships {
		if at.Index > n.commit {
			open++
			if at.Index >= n.lead.noop && n.commit < n.lead.noop {
				return fmt.Errorf("entry %d came before its no-op %d was committed", at.Index, n.lead.noop)
			}
		}
	}
	if open > 1 {
		return fmt.Errorf("%d are not committed", open)
	}
	return nil
}

func quorumsOverlap(c *cluster, h *host) error {
	if !c.history.changed {
		return nil
	}
	for k, at := range h.node.memberships {
		if k == 0 {
			continue
		}
		was, now := h.node.memberships[k-1].Membership, at.Membership
		switch {
		case sameVoters(was.Voters, now.Voters) && sameVoters(was.Outgoing, now.Outgoing): // quorums as before
		case !was.Joint() && now.Joint() && sameVoters(was.Voters, now.Outgoing): // into the joint phase
		case was.Joint() && !now.Joint() && sameVoters(was.Voters, now.Voters): // and out of it
		default:
			return fmt.Errorf("from %v to %v at %d", was, now, at.Index)
		}
	}
	return nil
}

func followerCommitBound(_ *cluster, h *host) error {
	if h.node.role == RoleLeader || h.seen.role == RoleLeader || h.node.commit <= max(h.seen.commit, h.bound) {
		return nil
	}
	return fmt.Errorf("commit went from %d to %d, the messages verified %d", h.seen.commit, h.node.commit, h.bound)
}

func monotonic(_ *cluster, h *host) error {
	n, s := h.node, &h.seen
	for _, x := range []struct {
		name     string
		was, now uint64
	}{
		{"term", uint64(s.term), uint64(n.hard.Term)},
		{"commit", uint64(s.commit), uint64(n.commit)},
		{"applied", uint64(s.applied), uint64(n.applied)},
		{"snapshot", uint64(s.snapshot), uint64(n.snapshot.Index)},
		{"first", uint64(s.first), uint64(n.trail.first)},
		{"cluster time", uint64(s.time), uint64(n.clock.cluster)},
	} {
		if x.now < x.was {
			return fmt.Errorf("%s went from %d back to %d", x.name, x.was, x.now)
		}
	}
	return nil
}

func order(_ *cluster, h *host) error {
	n := h.node
	if n.trail.first > n.snapshot.Index+1 || n.snapshot.Index > n.applied || n.applied > n.commit || n.commit > n.trail.last() {
		return fmt.Errorf("first %d, snapshot %d, applied %d, commit %d, last %d", n.trail.first, n.snapshot.Index, n.applied, n.commit, n.trail.last())
	}
	return nil
}

func trailIsTheLog(_ *cluster, h *host) error {
	t := &h.node.trail
	if t.first != h.log.first || t.next != h.log.next() {
		return fmt.Errorf("trail [%d,%d), log [%d,%d)", t.first, t.next, h.log.first, h.log.next())
	}
	if t.lastTerm() > h.node.hard.Term {
		return fmt.Errorf("the log ends in term %d, the term is %d", t.lastTerm(), h.node.hard.Term)
	}
	for k, run := range t.runs {
		end := t.next
		if k+1 < len(t.runs) {
			end = t.runs[k+1].First
		}
		head, _ := h.log.at(run.First)
		tail, _ := h.log.at(end - 1)
		if head.term != run.Term || tail.term != run.Term || k > 0 && t.runs[k-1].Term >= run.Term {
			return fmt.Errorf("trail %v", t.runs)
		}
	}
	return nil
}

func membershipIsTheLatest(_ *cluster, h *host) error {
	want := MembershipAt{Membership: h.node.birth.value.Membership}
	if s := h.node.snapshot; !s.IsZero() {
		want = MembershipAt{Index: s.MembershipIndex, Membership: s.Membership}
	}
	if k := len(h.log.members); k > 0 && h.log.members[k-1].Index > want.Index {
		want = h.log.members[k-1]
	}
	got := h.node.memberships[len(h.node.memberships)-1]
	if got.Index != want.Index || !got.Membership.Equal(want.Membership) {
		return fmt.Errorf("in force is %+v, the log says %+v", got, want)
	}
	return nil
}

func progressAddsUp(_ *cluster, h *host) error {
	c := &h.node.config
	for _, p := range h.node.lead.progress {
		sum, last := 0, 0
		for _, f := range p.inflight {
			sum, last = sum+f.bytes, f.bytes
		}
		switch {
		case p.match >= p.next || p.next > h.node.trail.next:
			return fmt.Errorf("server %d: match %d, next %d, log ends %d", p.member.ID, p.match, p.next, h.node.trail.last())
		case sum != p.inflightBytes || sum-last >= c.InflightBytesMax && sum > 0 || len(p.inflight) > c.InflightMessagesMax:
			return fmt.Errorf("server %d: %d messages of %d (counted %d) bytes in flight", p.member.ID, len(p.inflight), p.inflightBytes, sum)
		}
	}
	return nil
}

func nothingOverdue(c *cluster, h *host) error {
	if at := h.node.Deadline(); at < c.now {
		return fmt.Errorf("it wants to be woken at %v", at)
	}
	return nil
}

// sent checks what a message claims against the sender's disk, at the moment when it leaves (invariants 2, 3 and 4).
func (y *history) sent(h *host, m Message) {
	hard := h.disk.hard
	claims := m.Term
	switch m.Type {
	case MessagePreVoteRequest, MessageBirthRequest, MessageBirthResponse, MessageRefusal:
		claims = 0
	case MessagePreVoteResponse:
		if !m.Reject {
			claims = 0 // it repeats the candidate's proposal
		}
	}
	if claims > hard.Term {
		y.c.fail("server %d breaks invariant 3, term durable before sent: %s with term %d on disk", h.id, describe(m), hard.Term)
	}
	vote := ServerID(0)
	switch {
	case m.Type == MessageVoteRequest:
		vote = m.From
	case m.Type == MessageVoteResponse && !m.Reject:
		vote = m.To
	}
	if vote != 0 {
		if m.Term == hard.Term && hard.Vote != vote {
			y.c.fail("server %d breaks invariant 3, vote durable before sent: %s with a vote for %d on disk", h.id, describe(m), hard.Vote)
		}
		b := ballot{h.disk.store, m.Term}
		if was, ok := y.votes[b]; ok && was != vote {
			y.c.fail("server %d breaks invariant 2, one vote in a term, ever: for %d and for %d in term %d", h.id, was, vote, m.Term)
		}
		y.votes[b] = vote
	}
	if m.Type == MessageAppendResponse && !m.Reject {
		y.acknowledged(h, m)
	}
}

// acknowledged checks that a match stands on the sender's disk and is the leader's (invariant 4).
func (y *history) acknowledged(h *host, m Message) {
	chain, ok := h.disk.log.chainAfter(m.Match)
	if m.Match >= h.disk.log.next() {
		y.c.fail("server %d breaks invariant 4, durable before acknowledged: match %d, its disk ends at %d", h.id, m.Match, h.disk.log.next()-1)
	}
	leader := y.c.host(m.To)
	if leader.node == nil || leader.node.role != RoleLeader || leader.node.hard.Term != m.Term || !ok {
		return
	}
	if want, ok := leader.log.chainAfter(m.Match); ok && want != chain || m.Match >= leader.log.next() {
		y.c.fail("server %d breaks invariant 4: match %d is not server %d's", h.id, m.Match, m.To)
	}
}

// appended checks log matching for what came to a log (invariant 6).
func (y *history) appended(h *host, u diskUpdate) {
	for k, e := range u.entries {
		p := place{u.first + Index(k), e.term}
		if was, ok := y.places[p]; ok && was != e.chain {
			y.c.fail("server %d breaks invariant 6, log matching, at index %d, term %d", h.id, p.index, p.term)
		}
		y.places[p] = e.chain
	}
}

// applied checks that a state machine holds what was committed there (invariant 15).
func (y *history) applied(h *host, index Index, chain uint64) {
	if was, ok := y.committed[index]; ok && was != chain {
		y.c.fail("server %d breaks invariant 15, state machine safety, at index %d", h.id, index)
	}
}

func (y *history) reading(h *host, id ReadID) {
	y.readsAt[id] = readStart{host: h.id, commitMax: y.commitMax}
}

// crashed notes the reads that a crash took along.
func (y *history) crashed(h *host) {
	for id, r := range y.readsAt {
		if r.host == h.id && !r.decided {
			r.lost = true
			y.readsAt[id] = r
		}
	}
}

// read checks the read-index rule: at least all that was committed anywhere when the read began (invariant 25).
func (y *history) read(h *host, r Read) {
	start, ok := y.readsAt[r.ID]
	if !ok || start.decided {
		y.c.fail("server %d decides read %d, which nobody waits for", h.id, r.ID)
	}
	if r.Err == nil && r.Index < start.commitMax {
		y.c.fail("server %d breaks invariant 25: read %d at %d, when %d was committed", h.id, r.ID, r.Index, start.commitMax)
	}
	start.decided = true
	y.totals.reads++
	y.readsAt[r.ID] = start
}

// undecidedReads returns the reads that were never answered.
func (y *history) undecidedReads() []ReadID {
	var open []ReadID
	for _, id := range slices.Sorted(maps.Keys(y.readsAt)) {
		if !y.readsAt[id].decided {
			open = append(open, id)
		}
	}
	return open
}

const electionTimeout = 600 * time.Millisecond // the longest, by default
