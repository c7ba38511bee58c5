package client

import (
	"fmt"
	"math"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
)

// Never is the Deadline of a core that waits for nothing but events.
const Never time.Duration = math.MaxInt64

// pump ends an event: it sends what can be sent now, and asks for a connection if one is wanted.
func (c *Core) pump() {
	if c.closed {
		return
	}
	c.pumped = c.now
	for i := 0; i < len(c.links); i++ {
		if l := c.links[i]; l.draining && l.flight.n == 0 {
			c.hangUp(l)
			i--
		}
	}
	c.pumpRoute(&c.lead)
	if c.near.any {
		c.pumpRoute(&c.near)
	}
}

func (c *Core) pumpRoute(r *route) {
	c.wake(r)
	if r.reads.n > 0 {
		c.moveOn(r)
	}
	l := r.active
	switch {
	case l == nil:
		if c.now >= r.retryAt && c.wanted(r) {
			c.dial(r)
		}
	case l.up && c.now >= r.holdUntil:
		switch {
		case r.any:
		case c.o.Sessionless:
			c.sendSessionless(l)
		default:
			c.sendInSession(l)
		}
		for k := r.reads.first; k != nil && l.reads < c.o.OutstandingMax; k = r.reads.first {
			if c.fits(k) {
				c.lift(k)
				l.reads++
				c.send(l, k)
			}
		}
	}
}

// wanted reports whether there is something to send by a route.
func (c *Core) wanted(r *route) bool {
	if r.any {
		return r.reads.n > 0
	}
	return c.proposals.n+r.reads.n+c.window.waiting > 0 || c.now >= c.keepAt()
}

// keepAt is when the session should be used again so that it does not expire. Cluster time never runs ahead of ours by
// more than clocks drift, so that a third of the expiry leaves room for two more attempts.
func (c *Core) keepAt() time.Duration {
	if c.session == 0 || c.sessionExpiry == 0 || c.sessionKeeping {
		return Never
	}
	return c.sessionUsed + c.sessionExpiry/3
}

func (c *Core) sendSessionless(l *link) {
	for k := c.proposals.first; k != nil && c.stray < c.o.OutstandingMax && c.room(k); k = c.proposals.first {
		if c.fits(k) {
			c.lift(k)
			c.stray++
			c.sendProposal(l, k)
		}
	}
}

func (c *Core) sendInSession(l *link) {
	if c.session == 0 {
		if c.proposals.n > 0 && !c.sessionOpening {
			c.sessionOpening = true
			c.sendOwn(l, opSessionOpen)
		}
		return
	}
	if c.now >= c.keepAt() {
		c.sessionKeeping = true
		c.sendOwn(l, opSessionKeep)
	}
	// What was sent before goes first and with its old number: that is what makes a retry harmless.
	for s := c.window.floor; s < c.window.next && c.window.waiting > 0; s++ {
		if k := c.window.at(s); k != nil && k.state == callWaiting && c.fits(k) {
			c.lift(k)
			c.sendProposal(l, k)
		}
	}
	for k := c.proposals.first; k != nil && !c.window.full() && c.room(k); k = c.proposals.first {
		if c.fits(k) {
			c.lift(k)
			k.session = c.session
			c.window.add(k)
			c.sendProposal(l, k)
		}
	}
}

// room reports whether one more body may be outstanding. One always may.
func (c *Core) room(k *call) bool {
	return c.bytes == 0 || c.bytes+len(k.body) <= c.o.OutstandingBytesMax
}

// fits ends a call whose body is longer than the server takes. Sent all the same, it would end the connection.
func (c *Core) fits(k *call) bool {
	if len(k.body) <= c.limit {
		return true
	}
	c.giveUp(k, fmt.Errorf("%w: %d bytes, the server takes %d", ErrTooLarge, len(k.body), c.limit))
	return false
}

// giveUp ends a call for a reason that a further attempt would meet again, and that says nothing of earlier ones.
func (c *Core) giveUp(k *call, why error) {
	if k.maybe && k.op.acts() {
		why = unknown(why)
	}
	c.finish(k, nil, why)
}

func (c *Core) sendProposal(l *link, k *call) {
	c.bytes += len(k.body)
	c.send(l, k)
}

func (c *Core) sendOwn(l *link, op Op) {
	k := c.newCall(op)
	if op == opSessionKeep || op == opSessionClose {
		k.session = c.session
	}
	c.send(l, k)
}

// send encodes a request behind what the connection has yet to write, and puts the call, which is in no list, into the
// connection's flight.
func (c *Core) send(l *link, k *call) {
	for l.nextID++; l.byID[l.nextID] != nil; l.nextID++ {
	}
	if l.flight.n == 0 {
		l.heard, l.pinged = c.now, false // nothing was owed until now, so nothing was overdue
	}
	k.state, k.link, k.id, k.sent = callFlying, l, l.nextID, c.now
	l.flight.push(k)
	l.byID[k.id] = k
	request := wire.ClientRequest{
		ID: k.id, Method: opMethods[k.op], Group: c.o.Group, Session: k.session, Sequence: k.sequence, Body: k.body,
		Version: wire.ClientVersion, Cluster: c.cluster,
	}
	if k.op == OpPropose && k.session != 0 {
		request.Floor = c.window.floor
	}
	if k.op == OpTransferLeadership {
		request.To = transferTo(k.body)
	}
	c.consistencyOf(k, l, &request)
	if len(l.out) == 0 {
		c.actions.Writable = append(c.actions.Writable, l.id)
	}
	l.out = wire.AppendClientRequest(l.out, &request)
}

// consistencyOf says what the answer has to reflect. A server that does not know all that can be said is asked for more than is wanted,
// which any answer of the leader's is. No bounded query goes behind what this client has seen.
func (c *Core) consistencyOf(k *call, l *link, request *wire.ClientRequest) {
	if k.op != OpPropose && !k.op.queries() {
		return
	}
	k.indexed = l.indexes
	request.Indexed = l.indexes
	if !k.op.queries() {
		return
	}
	request.Any = l.route.any
	request.Consistency = k.consistency
	switch {
	case !l.indexes && k.consistency.Level != Stale:
		request.Consistency = Consistency{}
	case k.consistency.Level == Bounded:
		request.Consistency.MinIndex = max(request.Consistency.MinIndex, c.seen)
	}
}

// Deadline returns when Tick is wanted: Never if no time has to pass for anything to happen.
func (c *Core) Deadline() time.Duration {
	if c.closed {
		return Never
	}
	d := Never
	for _, l := range c.links {
		d = min(d, c.linkDeadline(l))
	}
	// What was past then waits for an event: a connection that is being made, an answer.
	if at := c.keepAt(); at > c.pumped {
		d = min(d, at)
	}
	for _, r := range c.routes() {
		if k := r.resting.first; k != nil {
			d = min(d, k.restsUntil)
		}
		for _, at := range [...]time.Duration{r.retryAt, r.holdUntil} {
			if at > c.pumped && at < d && c.wanted(r) {
				d = at
			}
		}
	}
	return d
}
