package raft

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A seed expands to a cluster, a load and a schedule of faults; then the faults end, and the cluster has to elect, to
// commit something new and to agree on everything, each within a bounded time. The invariants hold at every turn.
//
//	OARLOCK_SEEDS=5000 go test ./raft -run TestRandomRuns   more seeds, from OARLOCK_SEED on
//	OARLOCK_SEED=17    go test ./raft -run TestRandomRuns   one of them, with its transcript when it fails

const seedsByDefault = 800

func TestRandomRunsKeepEveryInvariantAndHeal(t *testing.T) {
	first, count := uint64(1), uint64(seedsByDefault)
	if testing.Short() {
		count = 25
	}
	if s := os.Getenv("OARLOCK_SEED"); s != "" {
		first, count = number(t, s), 1
	}
	if s := os.Getenv("OARLOCK_SEEDS"); s != "" {
		count = number(t, s)
	}
	var sum totals
	for seed := first; seed < first+count; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			var transcript *strings.Builder
			if count == 1 {
				transcript = &strings.Builder{}
			}
			sum.add(randomRun(t, seed, transcript))
		})
	}
	t.Logf("%d runs: %+v", count, sum)
	if count >= seedsByDefault && !t.Failed() {
		// A generator that stopped to reach what it is for would pass everything.
		require.Positive(t, sum.elections)
		require.Positive(t, sum.truncations)
		require.Positive(t, sum.installs)
		require.Positive(t, sum.fills)
		require.Positive(t, sum.reads)
		require.Positive(t, sum.crashes)
		require.Positive(t, sum.changes)
	}
}

func number(t *testing.T, s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	require.NoError(t, err)
	return n
}

func TestSameSeedGivesTheSameRun(t *testing.T) {
	for seed := uint64(1); seed <= 12; seed++ {
		var a, b strings.Builder
		randomRun(t, seed, &a)
		randomRun(t, seed, &b)
		require.NotEmpty(t, a.String())
		if a.String() != b.String() {
			t.Fatalf("seed %d gave two runs", seed)
		}
	}
}

// totals say what the runs went through.
type totals struct {
	elections, truncations, installs, fills, reads, crashes, commits, changes int
}

func (s *totals) add(o totals) {
	s.elections += o.elections
	s.truncations += o.truncations
	s.installs += o.installs
	s.fills += o.fills
	s.reads += o.reads
	s.crashes += o.crashes
	s.commits += o.commits
	s.changes += o.changes
}

func randomRun(t testing.TB, seed uint64, transcript *strings.Builder) totals {
	c := newCluster(t, seed)
	c.transcript = transcript
	r := &chaos{c: c, voters: 1 + c.rng.IntN(7)}
	r.begin()
	c.history.changed = true
	c.startAll()
	for end := c.now + time.Duration(2+c.rng.IntN(12))*time.Second; c.now < end; {
		c.runFor(time.Duration(1+c.rng.IntN(150)) * time.Millisecond)
		for range 1 + c.rng.IntN(3) {
			r.work()
		}
		if c.chance(r.rate) {
			r.fault()
		}
	}
	r.heal()
	r.converge()
	s := c.history.totals
	s.commits = int(c.history.commitMax)
	s.crashes = r.crashes
	return s
}

// chaos makes the load and the faults of a random run.
type chaos struct {
	c       *cluster
	voters  int
	rate    float64 // chance of a fault at each step
	reads   ReadID
	crashes int
	changes bool  // memberships change
	fragile *host // its snapshot is damaged now and then; nil: nobody's
}

// begin chooses the cluster: born by itself, or found with a history, perhaps in the middle of a membership change.
func (r *chaos) begin() {
	c := r.c
	c.pace.split = c.rng.Float64() / 2
	c.pace.network[1] = time.Duration(1+c.rng.IntN(40)) * time.Millisecond
	c.pace.disk = [2]time.Duration{0, time.Duration(1+c.rng.IntN(30)) * time.Millisecond}
	c.pace.apply = time.Duration(c.rng.IntN(3)) * time.Millisecond
	c.pace.compactLost = 0.5
	c.pace.fillLost = c.rng.Float64() / 4
	r.rate = 0.05 + c.rng.Float64()/4
	r.changes = c.chance(0.5)
	if c.chance(0.5) {
		c.pace.cacheLag = 1 + c.rng.IntN(20)
	}
	small := c.chance(0.3)
	founders := r.voters
	count := r.voters + c.rng.IntN(2)
	preset := c.chance(0.4) || count > founders
	if preset {
		founders = 0
	}
	c.addHosts(count, founders, func(g *Config) {
		if small {
			g.MessageBytesMax, g.InflightBytesMax, g.InflightMessagesMax, g.UncommittedBytesMax = 300, 900, 4, 2000
		}
	})
	if preset {
		r.preset(count)
	} else if r.voters >= 3 && !r.changes { // a change may leave no majority without it
		r.fragile = c.hosts[c.rng.IntN(len(c.hosts))]
	}
	if every := c.rng.IntN(6); every < 3 {
		for _, h := range c.hosts {
			h.dueEvery = int64(every) * int64(time.Second)
		}
	}
}

// preset gives every server a birth, and some a log with an uncommitted membership change at its end: joint, out of it,
// or with learners.
func (r *chaos) preset(count int) {
	c := r.c
	var all []Member
	for id := ServerID(1); int(id) <= count; id++ {
		all = append(all, Member{ID: id, Store: storeOf(id, 1)})
	}
	some := func() Membership {
		m := Membership{}
		for _, v := range all {
			switch {
			case c.chance(0.7):
				m.Voters = append(m.Voters, v)
			default:
				m.Learners = append(m.Learners, v)
			}
		}
		if len(m.Voters) == 0 {
			m.Voters, m.Learners = all, nil
		}
		return m
	}
	old := some()
	base := []entry{{term: 1, kind: KindNoOp}, {term: 1, kind: KindCommand, body: []byte("a")}}
	change := some()
	joint := Membership{Voters: change.Voters, Outgoing: old.Voters, WantedVoters: change.Voters}
	for _, v := range all {
		if !joint.IsVoter(v.ID, v.Store) {
			joint.Learners = append(joint.Learners, v)
		}
	}
	for _, h := range c.hosts {
		h.disk.birth = Birth{Membership: old, Complete: true}
		h.disk.hard = HardState{Term: 1}
		entries := base[:c.rng.IntN(len(base)+1)]
		if c.chance(0.5) {
			entries = append(base[:2:2], entry{term: 1, kind: KindMembership, body: encodeMembership(joint)})
		}
		h.disk.log.put(1, chained(0, entries))
	}
}

// chained fills in the chain hashes of entries that follow one with hash chain.
func chained(chain uint64, entries []entry) []entry {
	out := append([]entry(nil), entries...)
	for k := range out {
		e := &out[k]
		chain = ChainNext(chain, e.term, e.kind, e.time, e.body)
		e.chain = chain
	}
	return out
}

// work is the load: proposals and reads at whoever takes itself for a leader, and snapshots anywhere.
func (r *chaos) work() {
	c := r.c
	h := c.hosts[c.rng.IntN(len(c.hosts))]
	if h.node == nil || c.now < h.pausedUntil {
		return
	}
	kinds := 8
	if r.changes {
		kinds = 10
	}
	switch c.rng.IntN(kinds) {
	case 8, 9:
		if l := c.leader(); l != nil && c.now >= l.pausedUntil {
			h = l
		}
		r.change(h)
	case 0, 1, 2, 3:
		if l := c.leader(); l != nil && c.now >= l.pausedUntil && c.chance(0.8) {
			h = l
		}
		for range 1 + c.rng.IntN(4) {
			if _, err := h.propose(uint32(1 + c.rng.IntN(8))); err != nil {
				break
			}
		}
	case 4, 5:
		if l := c.leader(); l != nil && c.now >= l.pausedUntil {
			h = l
		}
		r.reads++
		if h.read(r.reads) != nil {
			delete(c.history.readsAt, r.reads)
		}
	case 6:
		if meta, ok := h.takeSnapshot(); ok {
			c.schedule(c.now+c.between(c.pace.disk), h.id, h.run, func(h *host) { h.snapshotted(meta) })
		}
	case 7:
		h.node.Unreachable(c.now, ServerID(1+c.rng.IntN(len(c.hosts))))
	}
	h.endTurn()
}

// change asks for a change of one server or of several at once: sensible or not.
func (r *chaos) change(h *host) {
	c := r.c
	change := MembershipChange{Forced: c.chance(0.1)}
	if c.chance(0.3) {
		change.From = h.node.memberships[len(h.node.memberships)-1].Index
	}
	for _, other := range c.hosts {
		if !c.chance(0.3) {
			continue
		}
		change.Changes = append(change.Changes, Change{
			Kind: ChangeKind(1 + c.rng.IntN(int(ChangeAddress))), Member: Member{ID: other.id, Store: other.disk.store},
		})
	}
	before := h.node.trail.next
	err := h.node.ChangeMembership(c.now, change)
	c.logf("%d: change %v: %v", h.id, change, err)
	if err == nil && h.node.trail.next != before {
		c.history.totals.changes++
	}
}

func (r *chaos) fault() {
	c := r.c
	h := c.hosts[c.rng.IntN(len(c.hosts))]
	other := c.hosts[c.rng.IntN(len(c.hosts))]
	switch c.rng.IntN(13) {
	case 0, 1:
		if h.node != nil {
			r.crashes++
			c.logf("%d: crash", h.id)
			h.crash(c.rng.IntN(len(h.pending) + 1))
			h.damaged = h == r.fragile && c.chance(0.5)
			if h == r.fragile && c.history.commitMax > 0 && c.chance(0.2) {
				c.logf("%d: wiped", h.id)
				h.life++
				h.former, h.disk = h.disk, disk{log: logbook{first: 1}}
				h.damaged, h.wiped, r.fragile = false, true, nil
			}
		}
	case 2, 3, 4:
		for _, h := range c.hosts {
			if h.node == nil && c.chance(0.7) {
				c.logf("%d: start", h.id)
				h.start()
			}
		}
	case 5:
		c.net.cut[[2]ServerID{h.id, other.id}] = true // one way
	case 6:
		r.partition()
	case 7, 8:
		clear(c.net.cut)
	case 9:
		if h.node != nil {
			h.pausedUntil = c.now + time.Duration(c.rng.IntN(3000))*time.Millisecond
		}
	case 10:
		c.pace.lose, c.pace.twice = c.rng.Float64()/3, c.rng.Float64()/4
	case 11:
		c.pace.lose, c.pace.twice = 0, 0
		c.pace.disk[1] = time.Duration(1+c.rng.IntN(300)) * time.Millisecond
	case 12:
		h.late = time.Duration(c.rng.IntN(300)) * time.Millisecond
	}
}

// partition splits the servers in two at random.
func (r *chaos) partition() {
	side := r.c.rng.Uint64()
	for _, a := range r.c.hosts {
		for _, b := range r.c.hosts {
			if side>>a.id&1 != side>>b.id&1 {
				r.c.net.cut[[2]ServerID{a.id, b.id}] = true
			}
		}
	}
}

// hasMember reports whether another server follows this leader: a member, on the disk that it is bound to.
func (h *host) hasMember(other *host) bool {
	_, ok := h.node.membership().Member(other.id)
	return ok && !other.wiped
}

// heal ends all faults.
func (r *chaos) heal() {
	c := r.c
	c.logf("heal")
	c.pace.lose, c.pace.twice, c.pace.fillLost = 0, 0, 0
	c.pace.network = [2]time.Duration{time.Millisecond, 5 * time.Millisecond}
	c.pace.disk = [2]time.Duration{0, 5 * time.Millisecond}
	clear(c.net.cut)
	for _, h := range c.hosts {
		h.pausedUntil, h.late = min(h.pausedUntil, c.now), 0
		if h.node == nil {
			h.start()
		}
	}
}

// converge demands what a healed cluster owes (reliability: liveness).
func (r *chaos) converge() {
	c := r.c
	c.runUntil(10*electionTimeout, "a leader with a committed no-op", func() bool {
		l := c.leader()
		return l != nil && l.node.ownTermCommitted()
	})
	c.runFor(5 * electionTimeout) // a late candidate of before the healing may have had its say
	var index Index
	c.runUntil(3*electionTimeout, "a proposal is taken", func() bool {
		l := c.leader()
		if l == nil {
			return false
		}
		at, err := l.propose(1)
		if err == nil {
			index = at
			c.turnNow(l.id)
		}
		return err == nil
	})
	c.runUntil(6*electionTimeout, fmt.Sprintf("index %d is committed and applied by every member", index), func() bool {
		m := c.leader()
		for _, h := range c.hosts {
			if m == nil {
				return false
			}
			if h.needSnapshot && m.machine.index > h.node.snapshot.Index {
				if meta, ok := m.takeSnapshot(); ok { // it needs one that is not older than its own
					m.snapshotted(meta)
					m.endTurn()
				}
			}
			if m.hasMember(h) && (h.node.commit < index || h.machine.index < index) {
				return false
			}
		}
		return true
	})
	c.runUntil(3*electionTimeout, "every member holds the same", func() bool {
		leader := c.leader()
		for _, h := range c.hosts {
			if leader == nil {
				return false
			}
			if leader.hasMember(h) && (h.machine.chain != leader.machine.chain || h.log.next() != leader.log.next()) {
				return false
			}
		}
		return true
	})
	leader := c.leader()
	for index, chain := range c.history.committed {
		if got, ok := leader.log.chainAfter(index); ok && got != chain {
			c.fail("index %d was committed and is another entry now", index)
		}
	}
	if open := c.history.undecidedReads(); len(open) > 0 {
		for _, id := range open {
			if !c.history.readsAt[id].lost {
				c.fail("read %d was never answered", id)
			}
		}
	}
	term := leader.node.hard.Term
	c.runFor(5 * electionTimeout)
	if leader.node.role != RoleLeader || leader.node.hard.Term != term {
		c.fail("an election in a healthy cluster")
	}
}
