package raft

import (
	"math"
	"time"
)

// Never is a Deadline that does not come.
const Never = time.Duration(math.MaxInt64)

// clock keeps the two times that a Node knows: its server's monotonic one, which it is told, and the group's cluster
// time, which only a leader moves.
type clock struct {
	now  time.Duration // the latest input's
	wake time.Duration // the Deadline at the end of the last turn; zero before the first

	// cluster is the largest cluster time that stood in the log, came with a heartbeat or was stamped here.
	cluster int64
	// base and baseAt anchor a leader's cluster time: base at baseAt, advancing with the monotonic clock.
	base   int64
	baseAt time.Duration
	ticks  bool // true in a leader with authority

	due    int64
	hasDue bool

	// What the last turn ended with: neither ever goes back (checked at the end of each turn).
	seenTerm   Term
	seenCommit Index
}

func (c *clock) start(now time.Duration, cluster int64) { c.now, c.cluster = now, cluster }

// heard takes a cluster time from the log or from a leader. It never goes back.
func (c *clock) heard(cluster int64) { c.cluster = max(c.cluster, cluster) }

// run makes cluster time advance from where it stands.
func (c *clock) run(now time.Duration) { c.base, c.baseAt, c.ticks = c.cluster, now, true }

// stop makes cluster time stand still.
func (c *clock) stop() {
	if c.ticks {
		c.stamp()
		c.ticks = false
	}
}

// read returns cluster time at now.
func (c *clock) read(now time.Duration) int64 {
	if !c.ticks || now <= c.baseAt {
		return c.cluster
	}
	elapsed := int64(now - c.baseAt)
	if c.base > math.MaxInt64-elapsed {
		return math.MaxInt64
	}
	return max(c.cluster, c.base+elapsed)
}

// stamp returns cluster time for something that is made now.
func (c *clock) stamp() int64 {
	c.cluster = c.read(c.now)
	return c.cluster
}

// passTime takes the time of an input. A server that was to be woken at a time and hears of nothing until much later was
// paused, or its clock jumped: that is no silence of the others, so election timers start again; a leader cannot know
// whether it was deposed meanwhile, so it has no authority until a round that begins now; and the pause is no cluster time.
// One pause excuses the silence before it. If it is late again and has heard nothing in between it is slow, not paused:
// then time counts, or else a loaded group would never elect, a leader that nobody answers would never step down, and one
// whose disk hangs would never be found.
func (n *Node) passTime(now time.Duration) {
	c := &n.clock
	if now <= c.now {
		return
	}
	jumped := c.wake != 0 && c.wake != Never && now-c.wake > n.config.ElectionTimeoutMin/2
	if jumped {
		n.trace(Trace{Kind: TraceTimeJump, Elapsed: now - c.wake})
		if n.role == RoleLeader {
			n.lead.slept(now - max(c.now, c.wake))
			c.now = max(c.now, min(now, c.wake))
			c.stamp()
			c.base, c.baseAt = c.cluster, now
			n.lead.authority = n.lead.round + 1
			n.lead.confirmedAt, n.lead.leaseEnd = 0, 0
			for k := range n.lead.rounds {
				n.lead.rounds[k].basis = 0
			}
			if !n.lead.excused {
				n.lead.quorumAt, n.lead.excused = now, true
			}
		} else if !n.election.excused {
			n.restartElectionTimer(now)
			n.election.excused = true
		}
		c.wake = now
		if !n.saves.excused { // the storage may have been paused, too
			n.saves.movedAt, n.saves.excused = now, true
		}
	}
	c.now = now
}

// slept takes out of a leader's reckoning what it was late: nobody was silent meanwhile, and nobody failed to catch up. However often it
// is late, the time for which it was not counts.
func (l *leadState) slept(late time.Duration) {
	l.electedAt += late
	for _, p := range l.progress {
		p.heardAt, p.addedAt, p.grewAt, p.leftAt = p.heardAt+late, p.addedAt+late, p.grewAt+late, p.leftAt+late
	}
}

// ClusterTime returns the group's time as this server knows it, in nanoseconds since the group was born. In a leader it
// advances; elsewhere it is the latest heard.
func (n *Node) ClusterTime(now time.Duration) int64 { return n.clock.read(now) }

// Deadline returns when the Node wants its next Tick: the earliest thing that time alone brings about. It is Never when
// there is none.
func (n *Node) Deadline() time.Duration {
	switch {
	case n.fault != nil:
		return Never
	case !n.born:
		if n.birth.value.IsZero() && len(n.config.Founders) == 0 {
			return n.askDeadline() // a server that joins waits to be spoken to
		}
		return min(n.birth.at, n.askDeadline())
	case n.role != RoleLeader:
		switch {
		case n.fed():
			return min(n.election.at, n.askDeadline())
		case !n.electable() && !n.wonders():
			return n.askDeadline()
		}
		return min(n.election.at, n.askDeadline())
	}
	l := &n.lead
	at := min(l.heartbeatAt, l.quorumAt+n.config.ElectionTimeoutMax)
	if t := l.transfer; t != nil {
		at = min(at, t.startedAt+n.config.ElectionTimeoutMax)
	}
	if n.alone() {
		// Nobody waits for a heartbeat. While something may fall due the Node still looks at the clock now and then,
		// or else it could not tell a pause from time that passed.
		at = Never
		if n.clock.hasDue {
			at = n.clock.now + n.config.ElectionTimeoutMin
		}
	}
	if n.clock.hasDue && l.clockEntry == 0 && !n.handing() && n.ownTermCommitted() {
		wait := max(0, n.clock.due-n.clock.read(n.clock.now))
		if wait < int64(Never-n.clock.now) {
			at = min(at, n.clock.now+time.Duration(wait))
		}
	}
	return at
}

// Tick tells the Node that time has passed. Calling it early or twice does no harm.
func (n *Node) Tick(now time.Duration) {
	if !n.input(now) {
		return
	}
	now = n.clock.now
	switch {
	case !n.born:
		if now >= n.birth.at {
			n.seekBirth(now)
		}
	case n.role == RoleLeader:
		n.tickLeader(now)
	case now < n.election.at:
	case n.electable():
		n.preCampaign(now)
	case n.wonders():
		n.wonder(now)
	}
}

func (n *Node) tickLeader(now time.Duration) {
	l := &n.lead
	if now-l.quorumAt >= n.config.ElectionTimeoutMax && !n.alone() {
		n.stepDown(now, "no quorum answered for an election timeout")
		return
	}
	if now >= l.heartbeatAt {
		l.beat = true
	}
	if n.clock.hasDue && l.clockEntry == 0 && !n.handing() && n.ownTermCommitted() && n.clock.read(now) >= n.clock.due {
		l.clockEntry = n.trail.next
		n.appendOwn(KindClock, 1, BlockHeaderSize)
	}
}
