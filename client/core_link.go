package client

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// addressesMax bounds how many addresses are learned.
const addressesMax = 64

// link is one connection, from the wish for it to its end.
type link struct {
	id       ConnID
	route    *route
	address  string
	opened   time.Duration
	made     bool // the connection stands
	up       bool // and the server has answered hello,
	indexes  bool // in which it says that it can tell the index that an answer reflects
	draining bool // nothing more is sent; answers are awaited until drainBy
	drainBy  time.Duration

	nextID uint32
	byID   map[uint32]*call
	flight callList // what was sent and not answered, in order
	reads  int      // how many of them are neither proposals nor the core's own
	out    []byte
	heard  time.Duration // when the server was last heard, or began to owe an answer
	pinged bool          // since then
}

var (
	errSilent      = errors.New("the server was silent for too long")
	errDialTimeout = errors.New("connecting took too long")
	errDrain       = errors.New("the former leader did not answer in time")
)

func (c *Core) find(conn ConnID) *link {
	for _, l := range c.links {
		if l.id == conn {
			return l
		}
	}
	return nil
}

// Connected tells that a Dial succeeded. Nothing but hello is sent before the server has named its cluster.
func (c *Core) Connected(now time.Duration, conn ConnID) {
	c.turn(now)
	if l := c.find(conn); l != nil && !l.made {
		l.made = true
		c.sendOwn(l, opHello)
	}
	c.pump()
}

// Disconnected tells that a Dial failed, or that a connection ended, and why. What was sent by it and not answered is
// now of unknown fate.
func (c *Core) Disconnected(now time.Duration, conn ConnID, why error) {
	c.turn(now)
	if l := c.find(conn); l != nil {
		c.lost(l, why)
	}
	c.pump()
}

// Heard tells that a connection is alive though no whole message came: bytes have arrived, or were taken by the peer.
func (c *Core) Heard(now time.Duration, conn ConnID) {
	c.turn(now)
	if l := c.find(conn); l != nil {
		l.heard, l.pinged = c.now, false
	}
}

func (c *Core) forget(l *link) {
	c.links = slices.DeleteFunc(c.links, func(o *link) bool { return o == l })
	if l.route.active == l {
		l.route.active = nil
	}
}

func (c *Core) hangUp(l *link) {
	c.actions.Hangups = append(c.actions.Hangups, l.id)
	c.forget(l)
}

// lost deals with the end of a connection.
func (c *Core) lost(l *link, why error) {
	r := l.route
	wasActive, idle := r.active == l, l.up && l.flight.n == 0
	c.forget(l)
	if c.closed {
		return
	}
	why = fmt.Errorf("connection to %s: %w", l.address, why)
	if wasActive && r.trouble == nil { // what a server has said says more
		r.trouble = why
	}
	for k := l.flight.first; k != nil; k = l.flight.first {
		switch {
		case k.op.own():
			c.ownEnded(k)
			c.finish(k, nil, nil)
		case k.once():
			c.finish(k, nil, unknown(why))
		case k.op != OpPropose:
			k.maybe = true
			c.lift(k)
			c.requeue(k)
		case k.session == 0 || k.session != c.session:
			c.finish(k, nil, unknown(why))
		default:
			k.maybe = true
			c.lift(k)
			c.wait(k)
		}
	}
	if !l.up {
		// It may have moved; the next hint says where to.
		c.unknow(l.address)
	}
	if wasActive && !idle {
		c.rotate(r, l.address)
		r.retryAt = c.now + c.pause(r)
	}
}

// wait puts a proposal whose number stands in the window back to be sent with that number.
func (c *Core) wait(k *call) {
	k.state, k.link = callWaiting, nil
	c.window.waiting++
	c.bytes += len(k.body)
}

// linkDeadline returns when checkLinks has something to do for l.
func (c *Core) linkDeadline(l *link) time.Duration {
	d := Never
	if !l.up {
		d = l.opened + c.o.DialTimeout
	}
	if l.draining {
		d = min(d, l.drainBy)
	}
	if l.flight.n > 0 {
		silence := c.o.SilenceMax
		if !l.pinged && l.up {
			silence /= 3
		}
		d = min(d, l.heard+silence)
	}
	return d
}

func (c *Core) checkLinks() {
	for i := 0; i < len(c.links); i++ {
		l := c.links[i]
		if c.now < c.linkDeadline(l) {
			continue
		}
		var why error
		switch {
		case !l.up && c.now >= l.opened+c.o.DialTimeout:
			why = errDialTimeout
		case l.draining && c.now >= l.drainBy:
			why = errDrain
		case c.now >= l.heard+c.o.SilenceMax:
			why = errSilent
		default:
			l.pinged = true
			c.sendOwn(l, opPing)
			continue
		}
		c.actions.Hangups = append(c.actions.Hangups, l.id)
		c.lost(l, why)
		i--
	}
}

// learn adds an address to those that are tried. Where there is no room it takes the place of the one that was learned first; the
// client's own list stays.
func (c *Core) learn(address string) {
	if address == "" || slices.Contains(c.addresses, address) {
		return
	}
	if len(c.addresses) >= addressesMax {
		if c.given >= addressesMax {
			return
		}
		c.addresses = slices.Delete(c.addresses, c.given, c.given+1)
	}
	c.addresses = append(c.addresses, address)
}

// meet takes the members that a server has named. A client that looks at one server, and asks for nothing but what that one has, stays
// with it.
func (c *Core) meet(members []wire.ClientAddress) {
	c.named = c.named[:0]
	for _, m := range members {
		if c.o.ByID[raft.ServerID(m.ID)] == "" { // where it is reached is known
			c.named = append(c.named, m.Address)
		}
	}
	if c.roams {
		c.roam()
	}
}

// wants takes a call's wish: whatever is more than one server's own view may be anybody's to answer.
func (c *Core) wants(k *call) {
	if k.op != OpStatus && k.consistency.Level != Stale {
		c.roam()
	}
}

// roam has every server tried that was named.
func (c *Core) roam() {
	c.roams = true
	for _, address := range c.named {
		c.learn(address)
	}
	c.named = c.named[:0]
}

// detach stops sending by l. What it still owes may come.
func (c *Core) detach(l *link) {
	l.route.active, l.route.holdUntil = nil, 0
	l.draining, l.drainBy = true, c.now+c.o.SilenceMax
}

// leave gives up a server that cannot help now, for the next one. Who is reached there is open again: it may be an old copy, whose id
// another server has taken over at another address, and the next hint is followed to that one.
func (c *Core) leave(l *link) {
	if !l.route.any { // where nobody asks for the leader, a refusal says nothing of who it is
		c.unknow(l.address)
	}
	c.detach(l)
	c.rotate(l.route, l.address)
	l.route.retryAt = c.now + c.pause(l.route)
}

// redirectsMax is how many hints in a row are followed. Those who give more of them go round in a circle: a server that was left behind
// names the leader of then for ever, and may have the id of the leader of now.
const redirectsMax = 8

// redirect follows a hint, on the way to the leader; who would be content with any server goes to another one, so that not all meet at
// the leader in bad times. Servers that point at each other, each believing in the other's leadership, are asked no
// faster than others that fail.
func (c *Core) redirect(l *link, hint *wire.NotLeaderError) {
	// Where the server was reached before is better than where other servers reach it.
	address := c.o.ByID[hint.Leader]
	if address == "" {
		address = c.byID[hint.Leader]
	}
	if address == "" {
		address = hint.Address
	}
	if address != "" {
		c.learn(address)
	}
	r := l.route
	if address == "" && hint.Leader != 0 {
		r.trouble = hint // whoever is asked next may know no more
	}
	if r.any || address == "" || address == l.address {
		c.leave(l)
		return
	}
	if r.redirects++; r.redirects > redirectsMax {
		clear(c.byID)
		r.redirects = 0
		c.leave(l)
		return
	}
	c.detach(l)
	r.target = address
	r.retryAt = c.now
	if r.redirects > 2 {
		r.retryAt += c.pause(r)
	}
}

func (c *Core) know(id raft.ServerID, address string) {
	if _, known := c.byID[id]; known || len(c.byID) < addressesMax {
		c.byID[id] = address
	}
}

func (c *Core) unknow(address string) {
	maps.DeleteFunc(c.byID, func(_ raft.ServerID, known string) bool { return known == address })
}

// judge leaves a server that can never serve this client. When every server has said so, in a row, waiting is no use.
func (c *Core) judge(l *link, why error) {
	c.leave(l)
	r := l.route
	r.trouble = why
	r.verdicts++
	if r.verdicts < len(c.addresses) {
		return
	}
	r.verdicts = 0
	c.endQueued(r, why)
}

// endQueued ends every call that would go this way and is not in flight.
func (c *Core) endQueued(r *route, why error) {
	if !r.any {
		c.endProposals(why)
	}
	for r.reads.first != nil {
		c.giveUp(r.reads.first, why)
	}
	for r.resting.first != nil {
		c.giveUp(r.resting.first, why)
	}
}

func (c *Core) endProposals(why error) {
	for s := c.window.floor; s < c.window.next && c.window.waiting > 0; s++ {
		if k := c.window.at(s); k != nil && k.state == callWaiting {
			c.giveUp(k, why)
		}
	}
	for c.proposals.first != nil {
		c.finish(c.proposals.first, nil, why)
	}
}
