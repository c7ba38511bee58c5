package client

import (
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// Consistency is what the answer of a query has to reflect; its zero value is linearizable.
type Consistency = raft.Consistency

// The levels of consistency, with the names and meanings that they have in package raft.
const (
	Linearizable = raft.Linearizable // everything that was answered to anyone before the query began
	Stale        = raft.Stale        // whatever the asked server has applied
	Lease        = raft.Lease        // as Linearizable, on the word of the servers' clocks
	Bounded      = raft.Bounded      // what is older than MaxAge, and the log up to MinIndex
)

// ReadFrom says which servers answer queries.
type ReadFrom uint8

const (
	// ReadLeader: the leader, and Stale whoever the client is connected to.
	ReadLeader ReadFrom = 0
	// ReadAny: any server, over a connection of its own. The client draws one by its seed, so that many clients spread over all
	// servers that they know, and keeps to it as long as it answers; after some minutes it draws anew. A server that does
	// not lead asks the leader for what the consistency of a query demands and answers by itself.
	ReadAny ReadFrom = 1
)

// route is a way to servers: that of proposals, to the leader, and with ReadAny another one for queries.
type route struct {
	any      bool     // no server is better than another
	reads    callList // what goes this way and is neither a proposal nor in flight, and may be sent
	resting  callList // the same, but not to be sent yet: the next one first
	active   *link    // where requests go; nil while there is none
	target   string
	rotation int
	moveAt   time.Duration // when another server is drawn though nothing is wrong with this one

	retryAt   time.Duration
	holdUntil time.Duration
	stumbles  int   // failures since the last success, which space out the attempts
	redirects int   // redirects since the last success
	verdicts  int   // servers in a row that can never serve this client
	trouble   error // what kept the last attempt from success; nil after one. For its words alone: its class is another request's
	unled     error // the last ErrNoLeader since a success, in the same way
}

// succeeded forgets the failures before it.
func (r *route) succeeded() {
	r.stumbles, r.redirects, r.verdicts, r.trouble, r.unled = 0, 0, 0, nil, nil
}

// telling returns what to say of a refusal if nothing better comes. A server that waits to be added says that it is not born, which is
// not what is wrong with a group of which another one says that it has no leader.
func (r *route) telling(err error) error {
	switch wire.CodeOf(err) {
	case wire.CodeNoLeader:
		r.unled = err
	case wire.CodeNotReady:
		if r.unled != nil {
			return r.unled
		}
	}
	return err
}

// routes returns those that there are.
func (c *Core) routes() []*route {
	if c.near.any {
		return []*route{&c.lead, &c.near}
	}
	return []*route{&c.lead}
}

// routeOf returns which way a call goes.
func (c *Core) routeOf(k *call) *route {
	if c.near.any && k.op.queries() {
		return &c.near
	}
	return &c.lead
}

// startNear draws the first server for queries.
func (c *Core) startNear() {
	c.near.any = true
	c.near.rotation = c.random.IntN(len(c.addresses))
	c.near.target = c.addresses[c.near.rotation]
}

// moveMin and as much again at most is how long a server that was drawn is kept: one that was down and has come back gets its share.
const moveMin = 5 * time.Minute

// rotate aims at another server than the given one, if there is one: at the next, or, where none is better than another, at one that
// is drawn, so that those whose server has failed do not all meet at its neighbour.
func (c *Core) rotate(r *route, not string) {
	step := 1
	if n := len(c.addresses); r.any && n > 2 {
		step += c.random.IntN(n - 1)
	}
	for range 2 {
		r.rotation = (r.rotation + step) % len(c.addresses)
		r.target = c.addresses[r.rotation]
		if r.target != not {
			return
		}
		step = 1
	}
}

// pause counts a failure and returns how long to wait after it: doubling with every round through the servers, and
// random, so that many clients that lost one leader do not come back together.
func (c *Core) pause(r *route) time.Duration {
	rounds := r.stumbles / len(c.addresses)
	r.stumbles++
	return c.backoff(rounds)
}

// backoff returns how long to wait once more, after so many rounds in vain before.
func (c *Core) backoff(rounds int) time.Duration {
	rounds = min(rounds, 30)
	d := c.o.BackoffMax
	if c.o.BackoffMin < c.o.BackoffMax>>rounds {
		d = c.o.BackoffMin << rounds
	}
	return d/2 + time.Duration(c.random.Int64N(int64(d/2)+1))
}

// dial asks for a connection to where a route aims.
func (c *Core) dial(r *route) {
	c.conns++
	l := &link{id: c.conns, route: r, address: r.target, opened: c.now, byID: make(map[uint32]*call)}
	c.links = append(c.links, l)
	r.active = l
	if r.any {
		r.moveAt = c.now + moveMin + time.Duration(c.random.Int64N(int64(moveMin)))
	}
	c.actions.Dials = append(c.actions.Dials, Dial{Conn: l.id, Address: l.address})
}

// moveOn draws another server when it is time, in between two queries.
func (c *Core) moveOn(r *route) {
	if l := r.active; r.any && l != nil && l.up && c.now >= r.moveAt && len(c.addresses) > 1 {
		c.detach(l)
		c.rotate(r, l.address)
	}
}

// Seen returns the highest index of the log that an answer to this client has reflected. A query with Bounded and that MinIndex, of this
// client or another, sees at least as much.
func (c *Core) Seen() raft.Index { return c.seen }
