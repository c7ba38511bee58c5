package raft

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"time"
)

// cluster runs Nodes on a virtual clock, over a network and disks that the test plays. Nothing in it is random but rng,
// so that a seed gives the same run, byte for byte.
type cluster struct {
	t       testing.TB
	rng     *rand.Rand
	now     time.Duration
	hosts   []*host // hosts[k] has id k+1
	events  []event // sorted by time, then by number
	eventNo uint64
	net     network
	pace    pace
	history *history
	words   int // commands proposed: each has a body of its own
	idle    int // instants since time moved last

	transcript *strings.Builder // nil: nobody reads it
	hide       map[string]bool  // message types left out of the transcript
}

// pace is how long things take in a cluster, and how often they go wrong.
type pace struct {
	network     [2]time.Duration // shortest and longest
	disk        [2]time.Duration
	apply       time.Duration
	fill        time.Duration // in addition to the disk's
	lose, twice float64       // share of messages
	fillLost    float64       // share of fills
	split       float64       // chance that a turn ends after one input although more have come
	cacheLag    int           // blocks further back than this many entries are read from the disk
	compactLost float64       // share of compactions that the disk forgets in a crash
}

func steadyPace() pace {
	return pace{
		network: [2]time.Duration{time.Millisecond, time.Millisecond}, disk: [2]time.Duration{time.Millisecond, time.Millisecond},
		cacheLag: 1 << 30,
	}
}

// event is an input for one host at one time. It reaches only the run that it was made for; run 0 is any.
type event struct {
	at   time.Duration
	no   uint64
	host ServerID
	run  RunID
	do   func(h *host)
}

func newCluster(t testing.TB, seed uint64) *cluster {
	c := &cluster{t: t, rng: rand.New(rand.NewPCG(seed, 0x0a41)), pace: steadyPace()}
	c.net = newNetwork()
	c.history = newHistory(c)
	return c
}

// addHosts adds servers with empty disks; founders of them are the first voters.
func (c *cluster) addHosts(count, founders int, change func(*Config)) {
	var members []Member
	for id := 1; id <= founders; id++ {
		members = append(members, Member{ID: ServerID(id)})
	}
	for range count {
		id := ServerID(len(c.hosts) + 1)
		h := &host{
			c: c, id: id, life: 1,
			config: Config{Group: DefaultGroup, ID: id, Founders: members, Seed: c.rng.Uint64()},
		}
		h.disk.log.first = 1
		h.disk.store = storeOf(id, 1)
		if change != nil {
			change(&h.config)
		}
		c.hosts = append(c.hosts, h)
	}
}

func (c *cluster) startAll() {
	for _, h := range c.hosts {
		if h.node == nil {
			h.start()
		}
	}
}

func (c *cluster) host(id ServerID) *host { return c.hosts[id-1] }

// schedule brings an input to a host later; those of one time stay in order.
func (c *cluster) schedule(at time.Duration, id ServerID, run RunID, do func(h *host)) {
	c.eventNo++
	e := event{at: at, no: c.eventNo, host: id, run: run, do: do}
	k := sort.Search(len(c.events), func(k int) bool { return c.events[k].at > at })
	c.events = append(c.events, event{})
	copy(c.events[k+1:], c.events[k:])
	c.events[k] = e
}

func (c *cluster) between(span [2]time.Duration) time.Duration {
	if span[1] <= span[0] {
		return span[0]
	}
	return span[0] + time.Duration(c.rng.Int64N(int64(span[1]-span[0])))
}

func (c *cluster) chance(p float64) bool { return p > 0 && c.rng.Float64() < p }

// run lets time pass until then, with all that happens meanwhile.
func (c *cluster) run(until time.Duration) {
	for {
		at := c.nextAt()
		if at > until {
			c.now = max(c.now, until)
			return
		}
		c.moveTo(at)
		c.instant()
	}
}

func (c *cluster) runFor(d time.Duration) { c.run(c.now + d) }

// runUntil lets time pass until ok, and fails the test after limit.
func (c *cluster) runUntil(limit time.Duration, what string, ok func() bool) {
	c.t.Helper()
	end := c.now + limit
	for !ok() {
		at := c.nextAt()
		if at > end {
			c.fail("not within %v: %s", limit, what)
		}
		c.moveTo(at)
		c.instant()
	}
}

// moveTo moves time, which has to get on: a Node that always wants to be woken at once would spin its server.
func (c *cluster) moveTo(at time.Duration) {
	c.idle++
	if at > c.now {
		c.now, c.idle = at, 0
	}
	if c.idle > 10000 {
		c.fail("time does not move any more")
	}
}

// nextAt is when something happens next.
func (c *cluster) nextAt() time.Duration {
	at := Never
	if len(c.events) > 0 {
		at = c.events[0].at
	}
	for _, h := range c.hosts {
		if h.node != nil {
			at = min(at, h.wake())
		}
	}
	return at
}

// instant carries out all that is due now, host by host.
func (c *cluster) instant() {
	due := sort.Search(len(c.events), func(k int) bool { return c.events[k].at > c.now })
	events := append([]event(nil), c.events[:due]...)
	c.events = c.events[due:]
	for _, h := range c.hosts {
		var mine []event
		for _, e := range events {
			if e.host == h.id {
				mine = append(mine, e)
			}
		}
		h.instant(mine)
	}
}

// turnNow lets one host end a turn outside of the run: after a direct call of its Node.
func (c *cluster) turnNow(id ServerID) { c.host(id).endTurn() }

func (c *cluster) logf(format string, args ...any) {
	if c.transcript != nil {
		fmt.Fprintf(c.transcript, format+"\n", args...)
	}
}

func (c *cluster) fail(format string, args ...any) {
	c.t.Helper()
	if c.transcript != nil {
		text := c.transcript.String()
		if len(text) > 20000 {
			text = "...\n" + text[len(text)-20000:]
		}
		c.t.Logf("the run so far:\n%s", text)
	}
	for _, h := range c.hosts {
		if h.node != nil {
			c.t.Log(h.look())
		}
	}
	c.t.Fatalf("at %v: %s", c.now, fmt.Sprintf(format, args...))
}

// leader returns the host that leads in the newest term, nil if nobody does.
func (c *cluster) leader() *host {
	var leader *host
	for _, h := range c.hosts {
		if h.node != nil && h.node.role == RoleLeader && (leader == nil || h.node.hard.Term > leader.node.hard.Term) {
			leader = h
		}
	}
	return leader
}
