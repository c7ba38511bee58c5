package sim

// How long the end of the second phase disturbs a group, in election timeouts.
const (
	deafTimeouts  = 5
	afterTimeouts = 2
)

// disturb is the end of the second phase: one thing goes wrong, alone, so that it can be said exactly what must come of it.
func (w *world) disturb() {
	if w.failure != nil {
		return
	}
	voters, sound := w.oracle.groups[0].inForce().Membership.Voters, 0
	for _, v := range voters {
		if w.hostOf(v).sound() {
			sound++
		}
	}
	if sound <= len(voters)/2+1 {
		return // without one of them there is no majority
	}
	switch w.plan.Seed % 3 {
	case 0:
		w.deafFollower()
	case 1:
		w.deafLeader()
	default:
		w.quiet()
	}
}

// deafFollower has one follower not hear its leader, and everybody else, and then again. It asks the others for their votes
// all the time; they follow a leader, so that one has to stay.
func (w *world) deafFollower() {
	o, leader := w.oracle.groups[0], w.leaderOf(0)
	term := leader.seen.term
	deaf := leader.h.number%len(w.hosts) + 1
	for w.hosts[deaf-1].gone != nil || !w.hosts[deaf-1].sound() || !w.isMember(0, w.hosts[deaf-1]) {
		deaf = deaf%len(w.hosts) + 1
	}
	if deaf == leader.h.number {
		return
	}
	w.note("server %d does not hear server %d any more", deaf, leader.h.id)
	end := w.net.addCut(func(from, to int) bool { return from == leader.h.number && to == deaf })
	w.run(w.now + deafTimeouts*w.plan.ElectionTimeoutMax)
	end()
	w.run(w.now + afterTimeouts*w.plan.ElectionTimeoutMax)
	if r := w.leaderOf(0); w.failure == nil && (r != leader || r.seen.term != term) {
		w.fail(checkStays, "group %d: server %d led term %d, and all but server %d heard it", o.group, leader.h.id, term, deaf)
	}
}

// deafLeader has a leader hear nobody, while everybody hears it. It has to give up, or else nobody else could begin.
func (w *world) deafLeader() {
	o, leader := w.oracle.groups[0], w.leaderOf(0)
	w.note("server %d hears nobody any more", leader.h.id)
	end := w.net.addCut(func(_, to int) bool { return to == leader.h.number })
	w.wait(electionTimeouts*w.plan.ElectionTimeoutMax, checkReplaced, func() string {
		if r := w.leaderOf(0); r == nil || r == leader {
			return sprintf("group %d has no leader but server %d, which hears nobody", o.group, leader.h.id)
		}
		return ""
	})
	end()
	w.wait(convergesWithin, checkConverges, w.together())
}
