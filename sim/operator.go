package sim

import (
	"errors"
	"slices"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// operator carries out the orders of a plan: it looks who leads and who the members are, works out a change, and asks for it, again if it
// is not answered, as whoever minds a cluster does.
type operator struct {
	w *world
}

// Of an order that is refused for now: how often it is given again.
const orderTries = 8

// request is an order on its way.
type request struct {
	*Order
	w       *world
	group   *groupOracle
	change  raft.MembershipChange
	to      raft.ServerID
	tries   int
	ended   bool
	replica *replica // that was asked last
	term    raft.Term
}

// give carries out an order.
func (p *operator) give(o *Order) {
	w := p.w
	if w.calm || o.Group >= len(w.oracle.groups) {
		return
	}
	if o.Kind == OrderReplace {
		p.replace(o)
		return
	}
	q := &request{Order: o, w: w, group: w.oracle.groups[o.Group]}
	q.ask()
}

// leading is the replica that leads a group, as far as anybody can tell from outside.
func (w *world) leading(g int) *replica {
	if h := w.target(&Fault{Server: leaderServer, N: g}); h != nil {
		return h.replicas[g]
	}
	return nil
}

// ask asks whoever leads.
func (q *request) ask() {
	w := q.w
	if q.ended || w.calm || w.failure != nil {
		return
	}
	if q.tries++; q.tries > orderTries {
		return
	}
	r := w.leading(q.Group)
	if r == nil || !r.seen.born {
		q.later()
		return
	}
	q.replica, q.term = r, r.seen.term
	switch q.Kind {
	case OrderTransfer:
		q.transfer(r)
	case OrderStepDown:
		w.note("ORDER to server %v: step down in group %d", r.h, r.group)
		r.in.StepDown(&reply{request: q})
		if q.N%2 == 0 { // somebody asks for something in the very turn
			r.command()
		}
		r.poke()
	default:
		q.reform(r)
	}
}

// later asks again after a while, or as soon as another leader is there.
func (q *request) later() {
	n := q.tries
	again := func() {
		if q.tries == n {
			q.ask()
		}
	}
	q.group.hopes = append(q.group.hopes, again)
	q.w.after(q.w.plan.ElectionTimeoutMin, again)
}

// elected has those ask at once who wait for a leader.
func (o *groupOracle) elected() {
	hopes := o.hopes
	o.hopes = nil
	for _, ask := range hopes {
		o.w.after(0, ask)
	}
}

// reply is one answer that an order waits for.
type reply struct {
	*request
	given bool
}

// reform asks for a change.
func (q *request) reform(r *replica) {
	if len(q.change.Changes) == 0 && q.Kind != OrderCancel {
		if q.change.Changes = q.compose(r); len(q.change.Changes) == 0 {
			return
		}
	}
	c := q.change
	// A change that is forced may wait for what only a snapshot can bring, and then the leader's has to be one that can be read.
	rotten := slices.ContainsFunc(q.w.hosts, func(h *host) bool { return h.flipped })
	c.Forced, c.Cancel = q.Forced && !rotten, q.Kind == OrderCancel
	if q.N%3 == 0 && q.tries == 1 { // it is asked for as what follows the membership of now, however long that takes
		q.change.From = max(r.seen.membershipIndex, raft.FromBirth) // it is 0 of the membership that the group was born with
		c.From = q.change.From
	}
	after, ok := r.outcomes(c.Changes)
	if !ok || !q.w.bearable(after) {
		return // a change that takes from a group what it can do without already
	}
	r.wants = append(r.wants, after...)
	q.w.note("ORDER to server %v: group %d, %s from %d: %s", r.h, r.group, q.Kind, c.From, describeChanges(c.Changes))
	q.w.orders[q.Kind]++
	if q.Ambush.Stage != stageNone {
		q.group.ambush = &q.Ambush
	}
	r.in.ChangeMembership(c, &reply{request: q})
	r.poke()
}

// outcomes are the memberships to which changes may lead, from what is there or from what an open change makes of it. ok is
// false where there are none.
func (r *replica) outcomes(changes []raft.Change) (list []raft.Membership, ok bool) {
	m := r.seen.membership
	for _, from := range []raft.Membership{
		{Voters: m.Voters, Learners: m.Learners}, {Voters: m.WantedVoters, Learners: m.WantedLearners}, {Voters: m.Outgoing, Learners: m.Learners},
	} {
		if len(from.Voters) == 0 {
			continue
		}
		if after, err := from.After(changes); err == nil {
			list = append(list, after)
		}
	}
	return list, len(changes) == 0 || len(list) > 0
}

// bearable reports whether a majority of the voters is sound in each of several memberships.
func (w *world) bearable(list []raft.Membership) bool {
	return !slices.ContainsFunc(list, func(m raft.Membership) bool {
		return w.harmed(m.Voters, nil) > (len(m.Voters)-1)/2
	})
}

// harmless reports whether a server may be added: nothing has happened to its store.
func (h *host) harmless() bool { return h.gone == nil && !h.budget && h.formats == 1 && !h.retired }

// voters bounds how many a group is given.
const votersMax = 7

// member is a server as a change names it.
func (h *host) member() raft.Member {
	return raft.Member{ID: h.id, Store: h.identity.Store, Address: address(h.number)}
}

func (q *request) transfer(r *replica) {
	voters := r.seen.membership.Voters
	if q.to == 0 && q.Server >= 0 && len(voters) > 0 {
		q.to = voters[q.Server%len(voters)].ID
	}
	q.w.note("ORDER to server %v: hand group %d over to %d", r.h, r.group, q.to)
	q.w.orders[q.Kind]++
	answer := &reply{request: q}
	r.in.TransferLeadership(q.to, answer)
	r.poke()
	q.due(r, answer)
	if k := slices.IndexFunc(voters, func(v raft.Member) bool { return v.ID == q.to }); k >= 0 && q.N%4 == 0 {
		successor := q.w.hostOf(voters[k])
		q.w.after(upTo(q.w.people, q.w.plan.StepMax+q.w.plan.DelayMax), func() { successor.crash(q.For) })
	}
}

// due holds a leader that hands over to answering in time, by its own clock and while it runs.
func (q *request) due(r *replica, answer *reply) {
	w, h, patience := q.w, r.h, 3*q.w.plan.ElectionTimeoutMax
	var look func()
	look = func() {
		switch {
		case answer.given || w.calm || r.seen.ended || r.seen.role != raft.RoleLeader || r.seen.term != q.term:
		case h.pausedUntil > w.now-patience:
			h.after(patience, look)
		default:
			w.fail(checkTransfer, "server %v leads term %d of group %d, and still hands over to %d after %v", h, q.term, r.group, q.to, patience)
		}
	}
	h.after(patience, look)
}

// hostsMax is how many servers a run has at most.
const hostsMax = 11

// replace has a server with a new store take the place of one in every group of which it is a member. The old one is lost, or
// down and comes back, or nothing is wrong with it.
func (p *operator) replace(o *Order) {
	w := p.w
	r := w.leading(o.Group)
	if r == nil || !r.seen.born || len(w.hosts) >= hostsMax {
		return
	}
	var from []*host
	for _, m := range r.seen.membership.Members() {
		if h := w.hostOf(m); h != r.h && h.heir == nil {
			from = append(from, h)
			if !h.harmless() {
				from = append(from, h, h, h) // that is what it is for
			}
		}
	}
	if len(from) == 0 {
		return
	}
	old := from[max(o.Server, o.N)%len(from)]
	forced := o.Forced
	switch {
	case !old.harmless():
	case o.N%3 == 0 && old.mayHarm() && w.hostsBorn():
		old.retired = true
		old.crash(o.For)
	case o.N%3 == 1:
		forced = true
	}
	old.heir = w.addHost(old.id)
	old.heir.joins, old.heir.began = true, true
	w.note("ORDER: server %v takes the place of server %v", old.heir, old)
	w.after(upTo(w.people, w.plan.ElectionTimeoutMax), old.heir.start)
	for g, group := range w.oracle.groups {
		q := &request{Order: o, w: w, group: group}
		q.Order = &Order{At: o.At, Kind: OrderReplace, Group: g, N: o.N, Forced: forced}
		if g == o.Group {
			q.Order.Ambush = o.Ambush
		}
		q.change.Changes = []raft.Change{{Kind: raft.ChangeReplace, Member: old.heir.member()}}
		w.after(upTo(w.people, 2*w.plan.ElectionTimeoutMax), q.ask)
	}
}

// hostsBorn reports whether every group has had a leader, so that its birth is over.
func (w *world) hostsBorn() bool {
	return !slices.ContainsFunc(w.oracle.groups, func(o *groupOracle) bool { return o.termMax == 0 })
}

// Complete implements server.Completion.
func (q *reply) Complete(_ []byte, err error) {
	w := q.w
	w.note("ORDER answered: group %d, %s %s: %s", q.group.group, q.Kind, describeChanges(q.change.Changes), firstLine(err))
	if q.given {
		w.fail(checkAnswered, "the order %v is answered twice: %s", q.Order, firstLine(err))
		return
	}
	if q.given = true; q.ended {
		return
	}
	switch q.Kind {
	case OrderTransfer, OrderStepDown:
		q.transferred(err)
	default:
		q.changed(err)
	}
}

// changed looks at the answer to a change.
func (q *request) changed(err error) {
	w := q.w
	switch {
	case err == nil:
		q.ended = true
		w.after(0, func() { // when the turn that says so has been looked at
			if q.Kind != OrderCancel && !q.group.everHeld(q.change.Changes) {
				w.fail(checkChanged, "group %d was changed by%s, it is said, and no membership that was committed says so", q.group.group, describeChanges(q.change.Changes))
			}
		})
		if w.saw(sawChanged); q.Kind == OrderCancel {
			w.saw(sawCancelOrdered)
		}
	case errors.Is(err, server.ErrChangeGivenUp):
		q.ended = true
		w.saw(sawChangeGivenUp)
	default:
		w.sawOrderRefused(err)
		if errors.Is(err, server.ErrChangeMoved) {
			q.change.From = 0
		}
		q.later()
	}
}

// everHeld reports whether a membership that is committed holds what changes ask for.
func (o *groupOracle) everHeld(changes []raft.Change) bool {
	return slices.ContainsFunc(o.memberships, func(at raft.MembershipAt) bool {
		return !at.Membership.Changing() && at.Membership.Holds(changes)
	})
}

// transferred looks at the answer to a transfer. That leadership was given away is seen in the turn that says so.
func (q *request) transferred(err error) {
	switch {
	case err == nil:
		q.ended = true
	case errors.Is(err, server.ErrTransferFailed):
		q.ended = true
	default:
		if q.tries < 3 {
			q.later()
		}
	}
}

// describeChanges puts changes into words.
func describeChanges(changes []raft.Change) (s string) {
	for _, c := range changes {
		s += sprintf(" %s %d (store %d.%d)", c.Kind, c.Member.ID, c.Member.Store[0], c.Member.Store[1])
	}
	return s
}

var _ server.Completion = (*reply)(nil)
