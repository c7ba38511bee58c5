package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// order is what is asked of a group's members or of its leadership.
type order struct {
	kind   orderKind
	change raft.MembershipChange
	to     raft.ServerID // who is to lead; zero: the best
	done   Completion
}

type orderKind uint8

const (
	orderChange   orderKind = 1
	orderPlan     orderKind = 2
	orderTransfer orderKind = 3
	orderStepDown orderKind = 4
	orderLeave    orderKind = 5 // a transfer to the best, by a server that is to close
)

// ordersMax is how many orders of a kind may be under way in a group. They are a person's, or a tool's.
const ordersMax = 64

// ChangeMembership adds a change of the membership: for those who drive a Replica by themselves. The result is for
// ParseMembership.
func (in *Inputs) ChangeMembership(c raft.MembershipChange, done Completion) {
	in.orders = append(in.orders, order{kind: orderChange, change: c, done: done})
}

// PlanMembership adds the question what a change would do: for those who drive a Replica by themselves. The result is for
// ParsePlan.
func (in *Inputs) PlanMembership(c raft.MembershipChange, done Completion) {
	in.orders = append(in.orders, order{kind: orderPlan, change: c, done: done})
}

// TransferLeadership adds a leadership transfer: for those who drive a Replica by themselves.
func (in *Inputs) TransferLeadership(to raft.ServerID, done Completion) {
	in.orders = append(in.orders, order{kind: orderTransfer, to: to, done: done})
}

// StepDown adds the order to give leadership up: for those who drive a Replica by themselves.
func (in *Inputs) StepDown(done Completion) {
	in.orders = append(in.orders, order{kind: orderStepDown, done: done})
}

// order takes an order. Its bytes count into no bound, because there are few.
func (b *inbox) order(o order) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed != nil:
		return b.closed
	case len(b.in.orders) >= ordersMax:
		return fmt.Errorf("%w: %d orders to this group are waiting", ErrBusy, len(b.in.orders))
	}
	b.in.orders = append(b.in.orders, o)
	return nil
}

// orderState is what the replica's orders wait for.
type orderState struct {
	changes   []order // begun; answered when a membership without an open change is committed
	transfers []order // begun; answered when the transfer has ended
	retiring  []order // to give leadership up without a successor, in the next turn
	to        raft.ServerID
	leaving   []order // leadership is gone; answered when the next leader is known

	inTheWay string // of the newcomer that a change was given up for

	memberships []raft.MembershipAt // the newest that is committed, and those behind it in the log
	removed     bool                // told as an event already
}

// order begins what was asked for in this turn.
func (r *Replica) order(now time.Duration, in *Inputs) {
	for ; in.ordered < len(in.orders); in.ordered++ {
		o := in.orders[in.ordered]
		switch o.kind {
		case orderChange:
			r.orderChange(now, o)
		case orderPlan:
			plan, err := r.node.PlanMembership(now, o.change)
			r.hearNewcomers(&plan)
			refused := r.refuseAddresses(o.change)
			if refused == nil {
				refused = r.changeRefusal(plan.Refused)
			}
			r.answerOrder(o, wire.ClientPlanOf(plan, refused), r.changeRefusal(err))
		case orderTransfer, orderStepDown:
			r.orderTransfer(now, o)
		case orderLeave:
			r.orderLeave(now, o)
		}
	}
}

func (r *Replica) orderChange(now time.Duration, o order) {
	if len(r.orders.changes) >= ordersMax {
		r.answer(o.done, nil, fmt.Errorf("%w: %d callers wait for this group's membership already", ErrBusy, ordersMax))
		return
	}
	if err := r.refuseAddresses(o.change); err != nil {
		r.answer(o.done, nil, err)
		return
	}
	if err := r.node.ChangeMembership(now, o.change); err != nil {
		r.answer(o.done, nil, r.changeRefusal(err))
		return
	}
	r.orders.changes = append(r.orders.changes, o)
}

// answerOrder answers an order with a value, encoded as clients are sent it.
func (r *Replica) answerOrder(o order, value any, err error) {
	if err != nil {
		r.answer(o.done, nil, err)
		return
	}
	result, err := wire.EncodeClientValue(value)
	r.answer(o.done, result, err)
}

// changeEnded answers those who waited for a change: a membership in which none is open is committed.
func (r *Replica) changeEnded(e *raft.ChangeEnded) {
	var why error
	if e.GaveUp != nil {
		why = givenUp(e.GaveUp, r.orders.inTheWay)
		r.event(Event{Kind: EventChangeGivenUp, Index: e.At.Index, Server: e.GaveUp.Member.ID, Err: why})
	} else {
		r.event(Event{Kind: EventChangeEnded, Index: e.At.Index})
	}
	waited := r.orders.changes
	r.orders.changes = nil
	for _, o := range waited {
		switch {
		case o.change.Cancel, e.At.Membership.Holds(o.change.Changes):
			r.answerOrder(o, wire.ClientMembershipOf(e.At), nil)
		case why != nil:
			r.answer(o.done, nil, why)
		default:
			r.answer(o.done, nil, fmt.Errorf("%w: the membership of entry %d has been committed without it", ErrChangeGivenUp, e.At.Index))
		}
	}
}

// givenUp is why a change was given up, in words; inTheWay says more about it, if that is known.
func givenUp(g *raft.GaveUp, inTheWay string) error {
	if g.Member.ID == 0 {
		return fmt.Errorf("%w: %s; the membership is what it was before", ErrChangeGivenUp, g.Reason)
	}
	reason := g.Reason
	if inTheWay != "" {
		reason += " (" + inTheWay + ")"
	}
	return fmt.Errorf("%w because of server %d at %q (store %s): %s; the membership is what it was before. See that the server runs, "+
		"that servers reach each other and that its store has not lost data (its status says so), and ask again", ErrChangeGivenUp, g.Member.ID, g.Member.Address, g.Member.Store, reason)
}

// changeRefusal is what a caller is told of an error of the Node about a change: nothing was begun.
func (r *Replica) changeRefusal(err error) error {
	say := func(sentinel, cause error, way string) error {
		text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), cause.Error()), ": ")
		if text != "" && way != "" {
			text += "; "
		}
		return fmt.Errorf("%w: %s%s", sentinel, text, way)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrChangeOpen):
		return say(ErrChangeOpen, raft.ErrChangeOpen, "wait for its end, or cancel it while it is catching up")
	case errors.Is(err, raft.ErrChangeMoved):
		return say(ErrChangeMoved, raft.ErrChangeMoved, "look at the members again")
	case errors.Is(err, raft.ErrChangeUnsafe):
		return say(ErrChangeUnsafe, raft.ErrChangeUnsafe, "") // each cause has its own way out, which its text names
	case errors.Is(err, raft.ErrChangeEarly):
		return fmt.Errorf("%w: %w; this passes by itself: ask again", ErrBusy, err)
	case errors.Is(err, raft.ErrChange):
		return say(ErrChangeImpossible, raft.ErrChange, "")
	}
	return r.refusal(err)
}

// dropOrders answers those whose order this server cannot bring to its end, because it does not lead any more.
func (r *Replica) dropOrders() {
	changes, going := r.orders.changes, slices.Concat(r.orders.transfers, r.orders.retiring)
	r.orders.changes, r.orders.transfers, r.orders.retiring = nil, nil, nil
	for _, o := range changes {
		r.answer(o.done, nil, errUnknownChange)
	}
	for _, o := range going {
		r.gone(o)
	}
}

var errUnknownChange = fmt.Errorf("%w: leadership was lost while the change was under way; the next leader goes on with it. Ask again: it is safe", ErrUnknown)

// stopOrders answers every order that is under way in a replica that stops.
func (r *Replica) stopOrders(why error) {
	for _, list := range [][]order{r.orders.changes, r.orders.transfers, r.orders.retiring, r.orders.leaving} {
		for _, o := range list {
			r.answer(o.done, nil, unknown(why))
		}
	}
	r.orders.changes, r.orders.transfers, r.orders.retiring, r.orders.leaving = nil, nil, nil, nil
}

// followMembership keeps the newest membership that is committed, and those behind it. In a turn in which they have changed they are all
// taken anew: one turn may cut some off and bring others.
func (r *Replica) followMembership(changed bool) {
	list := r.orders.memberships
	if changed {
		list = r.node.Memberships()
	}
	for len(list) > 1 && list[1].Index <= r.commit {
		list = slices.Delete(list, 0, 1)
	}
	r.orders.memberships = list
	if len(list) > 0 && list[0].Index <= r.commit {
		if c := r.committed.Load(); c == nil || c.Index != list[0].Index || changed {
			first := list[0]
			r.committed.Store(&first)
		}
	}
}

// CommittedMembership returns the newest membership that this replica knows to be committed. Its index is zero, and it has no
// voter, before the group's birth. It may be called from any goroutine.
func (r *Replica) CommittedMembership() raft.MembershipAt {
	if at := r.committed.Load(); at != nil {
		return raft.MembershipAt{Index: at.Index, Membership: at.Membership.Clone()}
	}
	return raft.MembershipAt{}
}

// tellRemoved makes known that this server was removed, or is a member again.
func (r *Replica) tellRemoved() {
	removed := r.role != raft.RoleLeader && r.node.Status().Refused.Reason == raft.RefusalRemoved
	if removed != r.orders.removed {
		r.orders.removed = removed
		if removed {
			self := r.shared.identity.Server
			r.event(Event{
				Kind: EventRemoved, Index: r.CommittedMembership().Index, Server: self, Err: errors.New(refusalText(self, self, raft.RefusalRemoved)),
			})
		}
	}
}

// ParseMembership reads the result of SubmitChange, of SubmitMembers and of Inputs.ChangeMembership. Errors match ErrMalformed.
func ParseMembership(result []byte) (raft.MembershipAt, error) {
	var m wire.ClientMembership
	if err := wire.DecodeClientValue(result, &m); err != nil {
		return raft.MembershipAt{}, err
	}
	return m.MembershipAt()
}

// ParsePlan reads the result of SubmitPlan and of Inputs.PlanMembership. Plan.Refused is one of this package's errors. Errors
// match ErrMalformed.
func ParsePlan(result []byte) (raft.MembershipPlan, error) {
	var p wire.ClientPlan
	if err := wire.DecodeClientValue(result, &p); err != nil {
		return raft.MembershipPlan{}, err
	}
	return p.Plan()
}
