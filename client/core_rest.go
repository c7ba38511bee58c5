package client

// behind deals with a query whose answer has to reflect more than its server has applied. Of the server that leads it says nothing but that
// the query comes early. Where any server may answer another one may have more; what the one that is left still owes is not given up for it.
func (c *Core) behind(l *link, k *call) {
	r := l.route
	switch {
	case l != r.active: // it was left already
		c.requeue(k)
	case r.any:
		c.requeue(k)
		r.trouble = k.last
		c.leave(l)
		l.drainBy = Never
	default:
		c.rest(k)
	}
}

// requeue puts a call that is in no list back to be sent anew.
func (c *Core) requeue(k *call) {
	k.state, k.link, k.session, k.sequence = callQueued, nil, 0, 0
	c.listOf(k).putBack(k)
}

// rest puts a call that is in no list aside until it is time to send it anew. The others that go its way are not held up.
func (c *Core) rest(k *call) {
	k.state, k.link = callResting, nil
	k.restsUntil = c.now + c.backoff(k.rests)
	k.rests++
	resting := &c.routeOf(k).resting
	after := resting.last
	for after != nil && after.restsUntil > k.restsUntil {
		after = after.before
	}
	resting.insert(after, k)
}

// wake queues the calls that have rested.
func (c *Core) wake(r *route) {
	for k := r.resting.first; k != nil && k.restsUntil <= c.now; k = r.resting.first {
		c.lift(k)
		c.requeue(k)
	}
}
