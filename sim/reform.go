package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// reformed looks at what a turn shows of membership and leadership.
func (o *groupOracle) reformed(r *replica, st *look, work *server.Work) {
	for i := range work.Events {
		switch e := &work.Events[i]; e.Kind {
		case server.EventTrace:
			o.w.traceLead(&e.Trace)
		case server.EventTransferEnded:
			o.transferEnded(r, st, e)
		case server.EventRemoved:
			o.w.saw(sawRemovedTold)
		}
	}
	if st.role == raft.RoleLeader && r.seen.role != raft.RoleLeader {
		o.elected()
		o.leasesOf(r, st.term)
		for _, h := range o.w.hosts {
			if h.up && h != r.h && h.replicas[o.group-1].restores > 0 {
				o.w.saw(sawSlowRestore)
			}
		}
		if r.restores > 0 {
			o.w.fail(checkReady, "server %v group %d is elected in term %d while its machine is being restored", r.h, o.group, st.term)
		}
	}
	o.lieInWait(r, st)
	o.meetTwins(r, st)
}

func (w *world) traceLead(t *raft.Trace) {
	switch {
	case t.Kind == raft.TraceTransfer && t.Reason == "it has a higher priority":
		w.saw(sawPriority)
	case t.Kind == raft.TraceTransfer && t.Reason == "its storage hangs":
		w.saw(sawHungLeader)
	}
}

// transferEnded looks at the end of a transfer that somebody asked for.
func (o *groupOracle) transferEnded(r *replica, st *look, e *server.Event) {
	leads := st.role == raft.RoleLeader && st.term == r.seen.term
	switch {
	case e.Err == nil && st.term == r.seen.term:
		o.w.fail(checkTransfer, "server %v group %d says that it has handed leadership over, and is %s of the same term %d", r.h, o.group, st.role, st.term)
	case e.Err == nil:
		o.w.saw(sawTransferred)
	case errors.Is(e.Err, server.ErrUnknown) && leads:
		o.w.fail(checkTransfer, "server %v group %d says that it leads no more, and leads term %d", r.h, o.group, st.term)
	case errors.Is(e.Err, server.ErrUnknown):
	case !leads:
		o.w.fail(checkTransfer, "server %v group %d says that nobody has taken over, and is %s of term %d", r.h, o.group, st.role, st.term)
	default:
		o.w.saw(sawTransferTimeout)
	}
}

// leadsOutside: a leader that is no voter any more leads no longer than it takes to hand over, once everybody may know.
func leadsOutside(r *replica, st *look) error {
	out := st.role == raft.RoleLeader && !st.membership.Changing() && st.membershipIndex <= st.commit && !r.h.in(st.membership.Voters)
	if !out {
		r.outside = 0
		return nil
	}
	now := r.h.local()
	if r.outside == 0 {
		r.outside = now
	}
	if d := now - r.outside; d > 2*r.h.w.plan.ElectionTimeoutMax {
		return fmt.Errorf("it still leads %v after the membership without it was committed", d)
	}
	return nil
}

// hungLeads: a leader whose saves do not complete gives leadership away, or up.
func hungLeads(r *replica, st *look) error {
	if st.role != raft.RoleLeader || r.saves == 0 {
		return nil
	}
	if len(st.membership.Voters) == 1 { // the only voter leads on: nobody else can
		r.savedAt = r.h.local()
	}
	if d := r.h.local() - r.savedAt; d > 3*r.h.w.plan.ElectionTimeoutMax {
		return fmt.Errorf("it still leads, and none of its saves has completed for %v", d)
	}
	return nil
}

// leasesOf holds a leader that was elected in this moment against the leases of others, each by its own clock. Who is paused can
// answer nobody.
func (o *groupOracle) leasesOf(elected *replica, term raft.Term) {
	w := o.w
	for _, h := range w.hosts {
		if !h.up || h == elected.h || h.pausedUntil > w.now {
			continue
		}
		switch s := &h.replicas[o.group-1].seen; {
		case !s.lease || s.ended || s.term > term || h.local() >= s.leaseEnd: // who was paused may be elected late, in a term that is over
		case w.plan.Drifts:
			w.saw(sawLeaseOvertaken)
		default:
			w.fail(checkLease, "server %v group %d is elected in term %d, and server %v, which leads term %d, has a lease for another %v",
				elected.h, o.group, term, h, s.term, s.leaseEnd-h.local())
		}
	}
}

// leaseHolds: while a leader has a lease nobody leads a later term, as long as clocks differ by no more than was promised.
func leaseHolds(r *replica, st *look) error {
	o := r.oracle
	if !st.lease || r.h.local() >= st.leaseEnd || o.w.plan.Drifts { // the first is as of its last input
		return nil
	}
	if !r.seen.lease {
		o.w.saw(sawLease)
	}
	if o.termMax > st.term {
		return fmt.Errorf("it leads term %d with a lease, and server %v leads term %d", st.term, o.w.hosts[o.leaders[o.termMax]-1], o.termMax)
	}
	return nil
}

// noteReform counts what a crash interrupts.
func (h *host) noteReform() {
	w := h.w
	for g, r := range h.replicas {
		switch m := r.seen.membership; {
		case r.seen.role != raft.RoleLeader:
		case m.Joint():
			w.saw(sawCrashInJoint)
		case m.Changing():
			w.saw(sawCrashInCatchUp)
		}
		if l := w.leading(g); l != nil && l != r && l.r.Err() == nil {
			if s := l.r.Status(); s.Transferring && s.Successor == h.id {
				w.saw(sawSuccessorCrashed)
			}
		}
	}
}

// goesOn counts what the entries of a change show, as a leader appends them.
func (o *groupOracle) goesOn(r *replica, st *look, was, now raft.MembershipAt) {
	w := o.w
	if began, _, ok := r.mirror.now.at(was.Index); ok && was.Membership.Changing() && began != st.term {
		w.saw(sawChangeInherited)
	}
	m := now.Membership
	if !m.Changing() && was.Membership.Joint() && !r.h.in(m.Voters) {
		w.saw(sawLeaderLeft)
	}
	if !m.Joint() {
		return
	}
	for _, v := range m.Voters {
		h := w.hostOf(v)
		if h.in(m.Outgoing) || h == r.h {
			continue
		}
		if h.installed {
			w.saw(sawPromotedAfterSnapshot)
		}
		if disk := &o.mirrors[h.number-1].disk; h.harmless() && disk.next() <= was.Index {
			w.fail(checkCaughtUp, "server %v group %d makes server %v a voter, whose disk ends at %d; the change began at %d", r.h, o.group, h, disk.next()-1, was.Index)
		}
	}
	for _, v := range m.Outgoing {
		if h := w.hostOf(v); !h.in(m.Voters) && slices.ContainsFunc(m.Voters, func(n raft.Member) bool { return n.ID == v.ID }) {
			w.saw(sawReplaced)
		}
	}
}

// sawOrderRefused counts why a change was refused.
func (w *world) sawOrderRefused(err error) {
	switch {
	case errors.Is(err, server.ErrChangeUnsafe):
		w.saw(sawChangeUnsafe)
	case errors.Is(err, server.ErrChangeOpen):
		w.saw(sawChangeOpen)
	case errors.Is(err, server.ErrChangeMoved):
		w.saw(sawChangeMoved)
	case errors.Is(err, server.ErrUnknown):
		w.saw(sawChangeUnknown)
	}
}

// told says which server has left a group and does not know it.
func (w *world) told() string {
	for g, o := range w.oracle.groups {
		for _, h := range w.hosts {
			if h.up && h.gone == nil && w.isMember(g, h) && h.replicas[g].r.Status().Removed {
				return sprintf("group %d: server %v is a member and says that it was removed", o.group, h)
			}
			if !h.up || h.gone != nil || h.formats > 1 || w.isMember(g, h) || !o.wasMember(h) || o.mirrors[h.number-1].now.hard.Lost {
				continue
			}
			st := h.replicas[g].r.Status()
			asks := slices.Concat(st.Status.Membership.Voters, st.Status.Membership.Outgoing)
			if !slices.ContainsFunc(asks, func(v raft.Member) bool { return w.isMember(g, w.hostOf(v)) }) {
				continue // all whom it asks have left as well, and may know of their own leaving only
			}
			switch st.Refused.Reason {
			case raft.RefusalRemoved, raft.RefusalStranger: // the latter if its id has another store now
			default:
				return sprintf("group %d: server %v goes by %s and says %q of itself", o.group, h, describeMembership(st.Status.Membership), st.Refusal)
			}
		}
	}
	return ""
}

// wasMember reports whether a server has known itself to be one. It does not count if it goes by an addition that was cut off: whatever is in
// force is older than that, and so nobody can tell it.
func (o *groupOracle) wasMember(h *host) bool {
	return o.wasInForce(o.mirrors[h.number-1].now.latest()) && slices.ContainsFunc(o.mirrors[h.number-1].now.members, func(at raft.MembershipAt) bool { return h.in(at.Membership.Members()) })
}

// quiet is the end of the second phase for groups that servers have left: they start again, and nobody minds.
func (w *world) quiet() {
	var left []*host
	for _, h := range w.hosts {
		if h.gone == nil && h.up && !slices.ContainsFunc(w.oracle.groups, func(o *groupOracle) bool { return w.isMember(int(o.group-1), h) }) {
			left = append(left, h)
		}
	}
	if len(left) == 0 {
		return
	}
	terms := make([]raft.Term, len(w.oracle.groups))
	for g := range w.oracle.groups {
		r := w.leaderOf(g)
		if r == nil {
			return
		}
		terms[g] = r.seen.term
	}
	for _, h := range left {
		w.note("server %v, which has left, starts again", h)
		h.crash(0)
	}
	w.run(w.now + (deafTimeouts+afterTimeouts)*w.plan.ElectionTimeoutMax)
	w.saw(sawQuiet)
	for g, o := range w.oracle.groups {
		if r := w.leaderOf(g); w.failure == nil && (r == nil || r.seen.term != terms[g]) {
			w.fail(checkQuiet, "group %d: term %d has ended, and nothing happened but that servers that have left started again", o.group, terms[g])
		}
	}
}
