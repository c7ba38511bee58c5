package raft

import "time"

// work is the load: proposals and reads at whoever takes itself for a leader, and snapshots anywhere.
func (r *chaos) work() {
	c := r.c
	h := c.hosts[c.rng.IntN(len(c.hosts))]
	if h.node == nil || c.now < h.pausedUntil {
		return
	}
	kinds := 11
	if r.changes {
		kinds = 13
	}
	switch c.rng.IntN(kinds) {
	case 8, 9:
		r.lease(h)
	case 10:
		if r.transfers {
			r.transfer()
		}
	case 11, 12:
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
		if l := c.leader(); l != nil && c.now >= l.pausedUntil && c.chance(0.5) {
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
		peer := c.hosts[c.rng.IntN(len(c.hosts))]
		h.node.Unreachable(c.now, peer.id, peer.disk.store)
	}
	h.endTurn()
}

// lease looks whether a leader holds a lease: then nothing can be committed that it does not know (6.4.1).
func (r *chaos) lease(h *host) {
	c := r.c
	if l := c.leader(); l != nil && c.now >= l.pausedUntil && c.chance(0.5) {
		h = l
	}
	index, ok := h.node.Lease(c.now)
	if !ok {
		return
	}
	c.history.totals.leases++
	if index < c.history.commitMax {
		c.fail("server %d has a lease at %d, when %d was committed", h.id, index, c.history.commitMax)
	}
}

// transfer hands leadership to anybody.
func (r *chaos) transfer() {
	c := r.c
	l := c.leader()
	if l == nil || c.now < l.pausedUntil {
		return
	}
	if c.chance(0.1) {
		c.logf("%d: is to step down", l.id)
		if err := l.node.StepDown(c.now); err != nil {
			c.fail("a leader does not step down: %v", err)
		}
		l.endTurn()
		return
	}
	to := ServerID(c.rng.IntN(len(c.hosts) + 1))
	err := l.node.TransferLeadership(c.now, to)
	c.logf("%d: transfer to %d: %v", l.id, to, err)
	if err == nil {
		c.history.totals.transfers++
	}
	l.endTurn()
}

// change asks for a change of one server or of several at once: sensible or not.
func (r *chaos) change(h *host) {
	c := r.c
	change := MembershipChange{Forced: c.chance(0.1)}
	if c.chance(0.1) {
		c.logf("%d: cancel: %v", h.id, h.node.ChangeMembership(c.now, MembershipChange{Cancel: true}))
		return
	}
	if c.chance(0.3) {
		change.From = h.node.memberships[len(h.node.memberships)-1].from()
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
	plan, _ := h.node.PlanMembership(c.now, change)
	err := h.node.ChangeMembership(c.now, change)
	if (plan.Refused == nil) != (err == nil) && h.node.role == RoleLeader {
		c.fail("the plan of %v says %v, and the change %v", change, plan.Refused, err)
	}
	for _, s := range plan.Stages {
		if s.Validate() != nil {
			c.fail("the plan of %v has the stage %v", change, s)
		}
	}
	c.logf("%d: change %v: %v", h.id, change, err)
	if err == nil && h.node.trail.next != before {
		c.history.totals.changes++
	}
}

func (r *chaos) fault() {
	c := r.c
	h := c.hosts[c.rng.IntN(len(c.hosts))]
	other := c.hosts[c.rng.IntN(len(c.hosts))]
	switch c.rng.IntN(16) {
	case 14, 15: // so quickly that nobody has noticed
		if h.node != nil && h != r.fragile {
			r.crashes++
			c.logf("%d: crash, and start", h.id)
			h.crash(c.rng.IntN(len(h.pending) + 1))
			h.start()
		}
	case 13:
		h.hungUntil = c.now + time.Duration(c.rng.IntN(5000))*time.Millisecond
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
