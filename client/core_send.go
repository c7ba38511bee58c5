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
	for i := 0; i < len(c.links); i++ {
		if l := c.links[i]; l.draining && l.flight.n == 0 {
			c.hangUp(l)
			i--
		}
	}
	l := c.active
	switch {
	case l == nil:
		if c.now >= c.retryAt && c.wanted() {
			c.dial()
		}
	case l.up && c.now >= c.holdUntil:
		if c.o.Sessionless {
			c.sendSessionless(l)
		} else {
			c.sendInSession(l)
		}
		for k := c.reads.first; k != nil && l.reads < c.o.OutstandingMax; k = c.reads.first {
			if c.fits(k) {
				c.lift(k)
				l.reads++
				c.send(l, k)
			}
		}
	}
}

// wanted reports whether there is something to send.
func (c *Core) wanted() bool {
	return c.proposals.n+c.reads.n+c.window.waiting > 0 || c.now >= c.keepAt()
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

// giveUp ends a call for a reason that a further attempt would meet again.
func (c *Core) giveUp(k *call, why error) {
	if k.maybe {
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
	if k.op == OpQueryLocal {
		request.Consistency = wire.ConsistencyLocal
	}
	if len(l.out) == 0 {
		c.actions.Writable = append(c.actions.Writable, l.id)
	}
	l.out = wire.AppendClientRequest(l.out, &request)
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
	// What is past waits for an event: a connection that is being made, an answer.
	for _, at := range [...]time.Duration{c.retryAt, c.holdUntil, c.keepAt()} {
		if at > c.now && at < d && (at == c.keepAt() || c.wanted()) {
			d = at
		}
	}
	return d
}
