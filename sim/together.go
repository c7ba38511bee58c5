package sim

import "github.com/oarlock/oarlock/raft"

// together returns what says in what the members of a group differ still. Clients keep their sessions, so that a group is never quiet:
// members are together when each has executed what its leader held as this was called, or led first after that.
func (w *world) together() func() string {
	targets := make([]raft.Index, len(w.oracle.groups))
	return func() string {
		for g := range targets {
			leader := w.leaderOf(g)
			if leader == nil {
				return sprintf("group %d has no leader", w.oracle.groups[g].group)
			}
			want := leader.look()
			if targets[g] == 0 {
				targets[g] = want.next - 1
			}
			if what := w.apart(g, leader, &want, targets[g]); what != "" {
				return sprintf("group %d: %s", w.oracle.groups[g].group, what)
			}
		}
		return ""
	}
}

// apart says which member of a group has not executed everything to an index, or differs from its leader.
func (w *world) apart(g int, leader *replica, want *look, target raft.Index) string {
	if want.membership.Changing() {
		return "an open change, " + describeMembership(want.membership)
	}
	for _, m := range want.membership.Members() {
		h := w.hostOf(m)
		if !h.sound() {
			continue
		}
		if !h.up {
			return sprintf("server %v is down", h)
		}
		r := h.replicas[g]
		got := r.look()
		switch {
		case !got.membership.Equal(want.membership):
			return sprintf("server %v goes by %s, and the leader by %s", h, describeMembership(got.membership), describeMembership(want.membership))
		case got.applied < target:
			return sprintf("server %v has its log to %d, committed %d, applied %d, and the leader its log to %d, committed %d",
				h, got.next-1, got.commit, got.applied, want.next-1, want.commit)
		case got.applied == want.applied && r.machine.hash() != leader.machine.hash():
			return sprintf("server %v is in state %016x, and the leader in %016x", h, r.machine.hash(), leader.machine.hash())
		case leader.machine.due != 0 && want.time > leader.machine.due+dueLate:
			return sprintf("something was due at %d, cluster time is %d, and it was not executed", leader.machine.due, want.time)
		case got.needsBackup:
			return sprintf("server %v still needs the leader's snapshot", h)
		}
	}
	return ""
}
