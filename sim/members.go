package sim

import (
	"fmt"
	"slices"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// membership is the one in force for whoever has this log: the last one in it.
func (m *image) membership() raft.Membership { return m.latest().Membership }

func (m *image) latest() raft.MembershipAt {
	if len(m.members) == 0 {
		return raft.MembershipAt{}
	}
	return m.members[len(m.members)-1]
}

// membershipAt is what was in force at an index.
func (m *image) membershipAt(i raft.Index) (at raft.MembershipAt, ok bool) {
	for _, at := range slices.Backward(m.members) {
		if at.Index <= i {
			return at, true
		}
	}
	return raft.MembershipAt{}, false
}

// takeMembership takes the membership that a block holds, if it holds one.
func (m *image) takeMembership(o *groupOracle, b *raft.Block) {
	for len(m.members) > 1 && m.latest().Index >= b.First() {
		m.members = m.members[:len(m.members)-1]
	}
	if b.Kind() != raft.KindMembership {
		return
	}
	for body := range b.Entries() {
		value, err := wire.DecodeMembership(body)
		if err != nil {
			o.w.fail(checkInForce, "group %d: the membership at index %d cannot be read: %v", o.group, b.First(), err)
			return
		}
		m.members = append(slices.Clip(m.members), raft.MembershipAt{Index: b.First(), Membership: value})
	}
}

// halves are the lists of voters of which each has to decide.
func halves(m raft.Membership) [][]raft.Member {
	if m.Joint() {
		return [][]raft.Member{m.Voters, m.Outgoing}
	}
	return [][]raft.Member{m.Voters}
}

// decides reports whether a majority of each half satisfies ok.
func decides(m raft.Membership, ok func(raft.Member) bool) bool {
	if len(m.Voters) == 0 {
		return false
	}
	for _, half := range halves(m) {
		count := 0
		for _, v := range half {
			if ok(v) {
				count++
			}
		}
		if count <= len(half)/2 {
			return false
		}
	}
	return true
}

// votes reports whether a server counts in a list.
func (h *host) in(list []raft.Member) bool {
	return slices.ContainsFunc(list, func(m raft.Member) bool { return h.is(m) })
}

// is reports whether a host is a member. A store that was formatted anew is still looked for where it was.
func (h *host) is(m raft.Member) bool {
	return h.id == m.ID && (h.identity.Store == m.Store || h.formats > 1 && m.Store == storeOf(h.number, 1))
}

// hostOf is the host of a member.
func (w *world) hostOf(m raft.Member) *host {
	for _, h := range w.hosts {
		if h.is(m) {
			return h
		}
	}
	return nil
}

func storeOf(number, formats int) raft.StoreID { return raft.StoreID{byte(number), byte(formats)} }

// live are the memberships that may still decide something: the newest that is committed, and those behind it in anybody's log.
// Before the birth it is the founders'.
func (o *groupOracle) live() (list []raft.Membership) {
	list = append(list, o.inForce().Membership)
	settled := o.inForce().Index
	for _, m := range o.mirrors {
		for _, in := range [...]*image{&m.now, &m.disk} {
			for _, at := range in.members {
				if at.Index > settled && !slices.ContainsFunc(list, at.Membership.Equal) {
					list = append(list, at.Membership)
				}
			}
		}
	}
	return list
}

// inForce is the newest membership that is known to be committed; before the birth it is the founders'.
func (o *groupOracle) inForce() raft.MembershipAt {
	if n := len(o.memberships); n > 0 {
		return o.memberships[n-1]
	}
	at := raft.MembershipAt{}
	for _, h := range o.w.hosts[:o.w.plan.Servers] {
		at.Membership.Voters = append(at.Membership.Voters, raft.Member{ID: h.id, Store: h.identity.Store})
	}
	return at
}

// membershipsCommitted notes those up to an index.
func (o *groupOracle) membershipsCommitted(r *replica, commit raft.Index) {
	last := raft.Index(0)
	if n := len(o.memberships); n > 0 {
		last = o.memberships[n-1].Index
	}
	for _, at := range r.mirror.now.members {
		if at.Index <= commit && (at.Index > last || len(o.memberships) == 0) {
			o.memberships = append(o.memberships, at)
		}
	}
}

// successorOf says what is wrong with a membership that follows another one in a log: their majorities have to overlap, so the voters
// are the same, or one is the joint of the other's with new ones; and whoever leaves the joint phase leaves it for its new half.
func successorOf(was, now raft.Membership) error {
	same := func(a, b []raft.Member) bool {
		return slices.EqualFunc(a, b, func(x, y raft.Member) bool { return x.ID == y.ID && x.Store == y.Store })
	}
	switch {
	case now.Joint() && was.Joint():
		return fmt.Errorf("one joint phase follows the other")
	case now.Joint() && !same(now.Outgoing, was.Voters):
		return fmt.Errorf("the old half is not what the voters were")
	case !now.Joint() && !same(now.Voters, was.Voters):
		return fmt.Errorf("other voters without a joint phase")
	}
	return nil
}

// membershipAppended looks at a membership that comes to a log.
func (o *groupOracle) membershipAppended(r *replica, st *look, b *raft.Block) {
	if b.Kind() != raft.KindMembership {
		return
	}
	w, in := o.w, &r.mirror.now
	at, _ := in.membershipAt(b.First())
	was, ok := in.membershipAt(b.First() - 1)
	if !ok || at.Index != b.First() {
		return // a snapshot took the place of what was before
	}
	if at.Index <= raft.FromBirth {
		w.fail(checkInForce, "server %v group %d: a membership is at index %d, which names the one of the birth", r.h, o.group, at.Index)
	}
	if err := successorOf(was.Membership, at.Membership); err != nil {
		w.fail(checkOverlap, "server %v group %d: at index %d %s follows %s of index %d: %v",
			r.h, o.group, at.Index, describeMembership(at.Membership), describeMembership(was.Membership), was.Index, err)
	}
	if st.role != raft.RoleLeader || b.Term() != st.term {
		return
	}
	o.goesOn(r, st, was, at)
	if term, _, ok := in.at(st.commit); was.Index > st.commit || ok && term != st.term {
		w.fail(checkOneChange, "server %v group %d leads term %d and appends a membership at index %d; it knows index %d, term %d to be committed, and the membership before is that of %d",
			r.h, o.group, st.term, at.Index, st.commit, term, was.Index)
	}
}

// snapshotMembership holds the membership of a snapshot against that of the log at its index.
func (o *groupOracle) snapshotMembership(r *replica, s *raft.SnapshotMeta) {
	k := len(o.memberships) - 1
	for k > 0 && o.memberships[k].Index > s.Index {
		k--
	}
	if k < 0 {
		return
	}
	at := o.memberships[k]
	if at.Index != s.MembershipIndex || !at.Membership.Equal(s.Membership) {
		o.w.fail(checkSnapshot, "server %v group %d: the snapshot at %d has the membership of index %d, %s, and that of index %d was in force there, %s",
			r.h, o.group, s.Index, s.MembershipIndex, describeMembership(s.Membership), at.Index, describeMembership(at.Membership))
	}
}

// membershipInForce holds what a replica goes by against what is in its log.
func membershipInForce(r *replica, st *look) error {
	if in := r.mirror.now.membership(); !in.Equal(st.membership) {
		return fmt.Errorf("it goes by %s, and the last in its log is %s", describeMembership(st.membership), describeMembership(in))
	}
	return nil
}

// describeMembership puts a membership into a few characters: voters/outgoing/learners>wanted voters/wanted learners.
func describeMembership(m raft.Membership) string {
	list := func(members []raft.Member) (s string) {
		for i, k := range members {
			if i > 0 {
				s += ","
			}
			s += fmt.Sprint(k.ID)
			if int(k.Store[0]) != int(k.ID) || k.Store[1] != 1 {
				s += fmt.Sprintf("(%d.%d)", k.Store[0], k.Store[1])
			}
		}
		return s
	}
	s := "[" + list(m.Voters)
	if m.Joint() {
		s += " and " + list(m.Outgoing)
	}
	if len(m.Learners) > 0 {
		s += "; learners " + list(m.Learners)
	}
	if m.Changing() {
		s += "; wanted " + list(m.WantedVoters)
		if len(m.WantedLearners) > 0 {
			s += " and learners " + list(m.WantedLearners)
		}
	}
	return s + "]"
}

// wanted are the memberships that somebody has asked for, where nobody knows yet whether they will come about.
func (o *groupOracle) wanted() (list []raft.Membership) {
	for _, h := range o.w.hosts {
		if h.up && int(o.group) <= len(h.replicas) {
			list = append(list, h.replicas[o.group-1].wants...)
		}
	}
	return list
}

// isMember reports whether the newest membership that is committed has a host in it.
func (w *world) isMember(g int, h *host) bool {
	return h.in(w.oracle.groups[g].inForce().Membership.Members())
}

// wasInForce reports whether a membership was ever committed.
func (o *groupOracle) wasInForce(at raft.MembershipAt) bool {
	return slices.ContainsFunc(o.memberships, func(m raft.MembershipAt) bool {
		return m.Index == at.Index && m.Membership.Equal(at.Membership)
	})
}
