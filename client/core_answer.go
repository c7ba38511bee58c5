package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// Received tells that a response has come. The Core keeps nothing of it but what Done refers to.
func (c *Core) Received(now time.Duration, conn ConnID, r *wire.ClientResponse) {
	c.turn(now)
	l := c.find(conn)
	if l == nil || c.closed {
		return
	}
	l.heard, l.pinged = c.now, false
	if r.Notification {
		why := r.Err
		if why == nil {
			why = wire.ErrMalformed
		}
		c.broken(l, why)
		c.pump()
		return
	}
	// A call that was given up is not in the flight any more, and its answer interests nobody.
	if k := l.byID[r.ID]; k != nil {
		if k.op.own() {
			c.answerOwn(l, k, r)
		} else {
			c.answer(l, k, r)
		}
	}
	c.pump()
}

// broken gives up a connection whose other side does not keep to the protocol, or says that we do not.
func (c *Core) broken(l *link, why error) {
	c.actions.Hangups = append(c.actions.Hangups, l.id)
	c.lost(l, why)
}

func (c *Core) answer(l *link, k *call, r *wire.ClientResponse) {
	if r.Err != nil {
		c.seen = max(c.seen, r.Index) // an answer may be an error
		if k.op == OpPropose {
			c.proposalFailed(l, k, r.Err)
		} else {
			c.readFailed(l, k, r.Err)
		}
		return
	}
	result := r.Result
	if k.op == OpPropose || k.op.queries() {
		var index raft.Index
		var err error
		if k.indexed {
			index, result, err = r.ClientIndexed()
		} else {
			result, err = r.ClientBytes()
		}
		if err != nil {
			c.broken(l, err)
			return
		}
		c.seen = max(c.seen, index)
	}
	c.succeeded(k)
	c.finish(k, result, nil)
}

// succeeded takes an answer to a call in flight.
func (c *Core) succeeded(k *call) {
	k.link.route.succeeded()
	if k.session != 0 && k.session == c.session {
		c.sessionUsed = max(c.sessionUsed, k.sent)
	}
}

// readFailed deals with an error of a request that can be repeated without harm. A verdict on an order, or that it is wrong, is about
// the attempt that it answers: an earlier one of unknown fate may have been carried out, and undone by somebody since.
func (c *Core) readFailed(l *link, k *call, err error) {
	class := wire.ClassOf(err)
	switch {
	case class == wire.ClassResult || wire.CodeOf(err).Outcome():
		c.succeeded(k)
		c.finish(k, nil, err)
	case wire.CodeOf(err).Verdict():
		c.succeeded(k)
		c.giveUp(k, err)
	case class == wire.ClassUsage:
		c.giveUp(k, err)
	case class == wire.ClassUnknown && k.once():
		c.finish(k, nil, err)
	default:
		k.maybe = k.maybe || class == wire.ClassUnknown
		k.last = l.route.telling(err)
		c.lift(k)
		if wire.CodeOf(err) == wire.CodeBehind {
			c.behind(l, k)
			return
		}
		c.requeue(k)
		c.react(l, err)
	}
}

// proposalFailed decides between the three answers and a further attempt. The rule above all: once an attempt is of
// unknown fate (maybe), a later refusal of another attempt proves nothing about the command.
func (c *Core) proposalFailed(l *link, k *call, err error) {
	class, code := wire.ClassOf(err), wire.CodeOf(err)
	if class == wire.ClassResult {
		c.succeeded(k)
		c.finish(k, nil, err)
		return
	}
	if class == wire.ClassUnknown {
		k.maybe = true
	}
	if class == wire.ClassUsage {
		c.giveUp(k, err)
		return
	}
	if code == wire.CodeSessionExpired {
		c.sessionLost(k.session)
	}
	k.last = l.route.telling(err)
	// A number means something in its session alone: outside of one, or when it has ended, an attempt of unknown fate
	// cannot be repeated, and one that was refused begins anew.
	again := k.session != 0 && k.session == c.session
	if code == wire.CodeSequence && again {
		again = c.sequenceRefused(k)
	}
	switch {
	case again:
		c.lift(k)
		c.wait(k)
	case k.maybe:
		if class != wire.ClassUnknown {
			err = unknown(err)
		}
		c.finish(k, nil, err)
	default:
		c.lift(k)
		c.requeue(k)
	}
	if code != wire.CodeSessionExpired {
		c.react(l, err)
	}
}

// cancelled is how a call ends whose caller waits no longer.
func (c *Core) cancelled(k *call, cause error) error {
	outcome, r := ErrNotSent, c.routeOf(k)
	if k.op.acts() && (k.maybe || k.state == callFlying) {
		outcome = ErrUnknown
	}
	switch {
	case k.last != nil && (errors.Is(outcome, ErrUnknown) || wire.ClassOf(k.last) == wire.ClassRefused):
		return fmt.Errorf("%w: %w (%w)", outcome, cause, k.last)
	case r.trouble != nil:
		return fmt.Errorf("%w: %w (%s)", outcome, cause, r.trouble.Error())
	case errors.Is(outcome, ErrNotSent) && (r.active == nil || !r.active.up):
		return fmt.Errorf("%w: %w (no server has answered)", ErrNotSent, cause)
	}
	return fmt.Errorf("%w: %w", outcome, cause)
}

// sequenceRefused deals with a number that was refused though it is in the window: the session's kept results fill their
// bound, and they are kept for this very window. Waiting helps while the floor can still rise without this call, and
// then the number may be tried again (true). Once the floor waits for this call alone, its number has to go: the call
// begins anew with another one, or, when its fate is unknown, has to end.
func (c *Core) sequenceRefused(k *call) (again bool) {
	if k.maybe && k.sequence > c.window.floor {
		return true
	}
	c.window.drop(k)
	c.stray++ // in flight still, and not of the window any more
	k.session = 0
	return false
}

// sessionLost ends the session. Proposals of it that are in flight get answers of their own; those that wait to be sent
// again are decided here.
func (c *Core) sessionLost(session uint64) {
	if session == 0 || session != c.session {
		return
	}
	c.session = 0
	for s := c.window.floor; s < c.window.next; s++ {
		k := c.window.at(s)
		switch {
		case k == nil:
		case k.state == callFlying:
			c.stray++
		case k.maybe:
			c.finish(k, nil, unknown(ErrSessionExpired))
		default:
			c.lift(k)
			c.requeue(k)
		}
	}
	c.window.reset()
}

// react draws from an error what it says about the server. The first of a burst decides: the others come from a server
// that was left already, or during the pause.
func (c *Core) react(l *link, err error) {
	r := l.route
	if l != r.active {
		return
	}
	if wire.CodeOf(err) != wire.CodeNotLeader {
		r.trouble = r.telling(err)
	}
	switch wire.CodeOf(err) {
	case wire.CodeNotLeader:
		var hint *wire.NotLeaderError
		if !errors.As(err, &hint) {
			hint = new(wire.NotLeaderError)
		}
		c.redirect(l, hint)
	case wire.CodeBusy, wire.CodeUnknown, wire.CodeSequence:
		if c.now >= r.holdUntil {
			r.holdUntil = c.now + c.pause(r)
		}
	case wire.CodeNoGroup, wire.CodeCluster, wire.CodeVersion:
		c.judge(l, err)
	default:
		c.leave(l)
	}
}

// answerOwn deals with the answers to what the core asked for itself.
func (c *Core) answerOwn(l *link, k *call, r *wire.ClientResponse) {
	op, session, sent := k.op, k.session, k.sent
	c.ownEnded(k)
	c.finish(k, nil, nil)
	switch op {
	case opHello:
		c.greeted(l, r)
	case opSessionOpen:
		c.sessionOpened(l, r, sent)
	case opSessionKeep:
		switch {
		case r.Err == nil:
			if session == c.session {
				c.sessionUsed = max(c.sessionUsed, sent)
			}
		case wire.CodeOf(r.Err) == wire.CodeSessionExpired:
			c.sessionLost(session)
		case wire.ClassOf(r.Err) == wire.ClassUsage:
			c.sessionExpiry = 0 // a server that cannot: the session lives as long as it is used
		default:
			c.react(l, r.Err)
		}
	case opPing, opSessionClose: // an answer of any kind is what was wanted
	}
}

// ownEnded notes that a request of the core's own is not under way any more.
func (c *Core) ownEnded(k *call) {
	switch k.op {
	case opSessionOpen:
		c.sessionOpening = false
	case opSessionKeep:
		c.sessionKeeping = false
	}
}

func (c *Core) greeted(l *link, r *wire.ClientResponse) {
	if r.Err != nil {
		if wire.ClassOf(r.Err) == wire.ClassUsage {
			c.judge(l, r.Err)
		} else {
			c.leave(l)
		}
		return
	}
	var hello wire.ClientHello
	if err := r.ClientValue(&hello); err != nil || len(hello.Cluster) != len(c.cluster) || hello.Version != wire.ClientVersion {
		c.broken(l, wire.ErrMalformed)
		return
	}
	switch cluster := raft.ClusterID(hello.Cluster); {
	case c.cluster.IsZero():
		c.cluster = cluster
	case c.cluster != cluster:
		// Sessions and sequence numbers mean nothing there: a command must never reach it.
		c.judge(l, wire.ErrCluster)
		return
	}
	l.up, l.indexes = true, hello.Indexes
	c.know(raft.ServerID(hello.Server), l.address)
	c.meet(hello.Members)
	if hello.CommandBytesMax > 0 {
		c.limit = hello.CommandBytesMax
	}
}

func (c *Core) sessionOpened(l *link, r *wire.ClientResponse, sent time.Duration) {
	if r.Err != nil {
		if wire.ClassOf(r.Err) == wire.ClassUsage {
			c.endProposals(r.Err)
			return
		}
		c.react(l, r.Err)
		return
	}
	session, err := r.ClientSession()
	if err != nil {
		c.broken(l, err)
		return
	}
	l.route.succeeded()
	if c.session == 0 {
		c.session, c.sessionExpiry, c.sessionUsed = session.Session, time.Duration(session.ExpiryNanos), sent
		if session.Window > 0 {
			c.window.size = min(session.Window, wire.SequenceWindow)
		}
	}
}
