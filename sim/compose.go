package sim

import (
	"slices"

	"github.com/oarlock/oarlock/raft"
)

// compose works out a change for the membership that a leader has.
func (q *request) compose(r *replica) []raft.Change {
	m := r.seen.membership
	if m.Changing() {
		m = raft.Membership{Voters: m.WantedVoters, Learners: m.WantedLearners}
	}
	if q.Kind != OrderSeveral {
		c, ok := q.one(r, m, q.Kind, q.Server)
		if !ok {
			return nil
		}
		return []raft.Change{c}
	}
	var list []raft.Change
	for k := range 2 + q.N%3 {
		n := q.N>>(2*k) + 7*k
		kind := [...]OrderKind{OrderAdd, OrderRemove, OrderAdd, OrderDemote, OrderLearn, OrderPromote, OrderRemove}[n%7]
		c, ok := q.one(r, m, kind, q.Server+n)
		if ok && !slices.ContainsFunc(list, func(o raft.Change) bool { return o.Member.ID == c.Member.ID }) {
			list = append(list, c)
		}
	}
	return list
}

// one makes one change of a kind, of the n-th server that it may be for.
func (q *request) one(r *replica, m raft.Membership, kind OrderKind, n int) (c raft.Change, ok bool) {
	w := q.w
	var from []raft.Member
	switch kind {
	case OrderAdd, OrderLearn:
		if len(m.Voters) >= votersMax {
			return c, false
		}
		for _, h := range w.hosts {
			if _, taken := m.Member(h.id); !taken && h.harmless() {
				from = append(from, h.member())
			}
		}
		if kind == OrderAdd {
			from = append(from, m.Learners...)
		}
	case OrderPromote:
		from = m.Learners
	case OrderDemote:
		from = m.Voters
	default:
		from = m.Members()
	}
	if n < 0 { // the leader, where it can be
		if k := slices.IndexFunc(from, r.h.is); k >= 0 {
			n = k
		} else {
			n = q.N
		}
	}
	if len(from) == 0 {
		return c, false
	}
	c.Member = from[n%len(from)]
	c.Kind = map[OrderKind]raft.ChangeKind{
		OrderAdd: raft.ChangeAddVoter, OrderLearn: raft.ChangeAddLearner, OrderPromote: raft.ChangePromote, OrderDemote: raft.ChangeDemote,
		OrderRemove: raft.ChangeRemove, OrderAddress: raft.ChangeAddress,
	}[kind]
	switch h := w.hostOf(c.Member); kind {
	case OrderAddress:
		c.Member.Address = sprintf("%s.%d", address(h.number), q.N%10)
	case OrderAdd, OrderLearn:
		if !h.began { // it joins late
			h.began = true
			w.after(upTo(w.people, 2*w.plan.ElectionTimeoutMax), h.start)
		}
	case OrderRemove:
		if q.N%4 == 0 && len(m.Voters) > 2 {
			h.crash(q.For) // it learns of it later
		}
	}
	return c, true
}

// lieInWait springs the ambush of a group when a change has come so far.
func (o *groupOracle) lieInWait(r *replica, st *look) {
	a, w := o.ambush, o.w
	if a == nil || st.role != raft.RoleLeader || w.calm {
		return
	}
	at := stageSettled
	switch m := st.membership; {
	case m.Joint():
		at = stageJoint
	case m.Changing():
		at = stageCatchUp
	case st.membershipIndex > st.commit:
		at = stageLeaving
	}
	if at != a.Stage || at == stageSettled && (r.seen.membershipIndex <= r.seen.commit || r.seen.role != raft.RoleLeader) {
		return
	}
	o.ambush = nil
	f := a.Fault
	w.after(f.At, func() { w.strike(&f) })
	if f.N%4 == 1 { // somebody else wants something else, just now
		q := &request{w: w, group: o, Order: &Order{Kind: OrderSeveral, Group: int(o.group - 1), Server: f.N, N: f.N * 977, For: f.For}}
		q.ask()
	}
}
