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
		require.Positive(t, sum.leases)
		require.Positive(t, sum.transfers)
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
	elections, truncations, installs, fills, reads, crashes, commits, changes, leases, transfers int
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
	s.leases += o.leases
	s.transfers += o.transfers
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
	changes bool // memberships change

	leases, priorities, transfers bool

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
	r.leases, r.priorities, r.transfers = c.chance(0.5), c.chance(0.3), c.chance(0.5)
	founders := r.voters
	count := r.voters + c.rng.IntN(2)
	preset := c.chance(0.4) || count > founders
	if preset {
		founders = 0
	}
	c.addHosts(count, founders, func(g *Config) {
		if r.leases {
			g.ClockDriftPPM = 1
		}
		if r.priorities {
			g.Priority = uint8(c.rng.IntN(3))
		}
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

// maySucceedHost reports whether a server could lead after this one.
func (n *Node) maySucceedHost(h *host) bool {
	p := n.lead.of(h.id, h.disk.store)
	return p != nil && n.maySucceed(p) && h.node.electable()
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
		h.pausedUntil, h.late, h.hungUntil = min(h.pausedUntil, c.now), 0, min(h.hungUntil, c.now)
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
	c.runUntil(2*leader.node.config.JoinTimeout, "no membership change is open", func() bool {
		leader = c.leader()
		if leader == nil {
			return false
		}
		at := leader.node.memberships[len(leader.node.memberships)-1]
		return !at.Membership.Changing() && at.Index <= leader.node.commit && !leader.node.lead.endAsked && leader.node.lead.transfer == nil
	})
	if r.priorities {
		c.runFor(100 * electionTimeout) // a preferred one takes over, after all that was in vain
		leader = c.leader()
		for _, h := range c.hosts {
			if leader != nil && leader.node.maySucceedHost(h) && h.config.Priority > leader.config.Priority {
				c.fail("server %d leads, and server %d has a higher priority", leader.id, h.id)
			}
		}
	}
	term := leader.node.hard.Term
	c.runFor(5 * electionTimeout)
	if leader.node.role != RoleLeader || leader.node.hard.Term != term {
		c.fail("an election in a healthy cluster")
	}
}
