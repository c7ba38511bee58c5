package server

import (
	"context"
	"fmt"
	"slices"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// ChangeMembership takes the group from the membership that it has to another one and waits until that is committed: all of
// change, or nothing of it. Newcomers receive the log first and count once they have caught up. Only the leader takes it.
// Asking for what is so already, or is under way already, is no error, so that whoever lost an answer asks again: after
// ErrUnknown, and after a NotLeaderError at the leader that it names. ErrChangeGivenUp says that the group went back to what it was;
// after ErrChangeImpossible, ErrChangeOpen, ErrChangeMoved and ErrChangeUnsafe nothing was begun. So it is after an ErrBusy that matches
// raft.ErrChangeEarly, too: the leader does not know enough yet; the text says what it waits for, which passes by itself. If ctx ends
// first the error matches ErrUnknown and ctx's, and the change goes on.
func (s *Server) ChangeMembership(ctx context.Context, group raft.GroupID, change raft.MembershipChange) (raft.MembershipAt, error) {
	if ctx.Err() != nil {
		return raft.MembershipAt{}, notSent(ctx)
	}
	w := s.waiter()
	s.SubmitChange(group, change, w)
	result, err := w.wait(ctx, ErrUnknown)
	if err != nil {
		return raft.MembershipAt{}, err
	}
	return ParseMembership(result)
}

// PlanMembership says what ChangeMembership would do now, and does nothing. Only the leader knows. An error leaves nothing
// behind; why the change would be refused stands in the plan (ErrBusy: the leader cannot begin yet, which passes by itself). A
// newcomer counts as heard of (raft.PlanMember.Heard) where the transport can tell (transport.VisitTeller) that one with that id and that
// store is connected with this server. It need not be: the change looks for it at its address.
func (s *Server) PlanMembership(ctx context.Context, group raft.GroupID, change raft.MembershipChange) (raft.MembershipPlan, error) {
	if ctx.Err() != nil {
		return raft.MembershipPlan{}, notSent(ctx)
	}
	w := s.waiter()
	s.SubmitPlan(group, change, w)
	result, err := w.wait(ctx, ErrNotSent)
	if err != nil {
		return raft.MembershipPlan{}, err
	}
	return ParsePlan(result)
}

// Members returns the membership that is committed, as it was at some moment after the call began, like a Query. A change that is
// open shows in it once it has begun.
func (s *Server) Members(ctx context.Context, group raft.GroupID) (raft.MembershipAt, error) {
	if ctx.Err() != nil {
		return raft.MembershipAt{}, notSent(ctx)
	}
	w := s.waiter()
	s.SubmitMembers(group, w)
	result, err := w.wait(ctx, ErrNotSent)
	if err != nil {
		return raft.MembershipAt{}, err
	}
	return ParseMembership(result)
}

// TransferLeadership has this server, which leads, hand leadership to another voter, or with to zero to the best, and
// returns when leadership is gone. The other one catches up first; what is proposed meanwhile waits and is not lost. It ends
// within an election timeout (GroupOptions.ElectionTimeoutMax): after ErrTransferFailed this server still leads, after ErrUnknown it does not, and
// nobody is known to have taken over. ErrTransferTarget and ErrTransferOpen say that nothing was begun. It is no error if to leads already.
func (s *Server) TransferLeadership(ctx context.Context, group raft.GroupID, to raft.ServerID) error {
	return s.leave(ctx, func(w *waiter) { s.SubmitTransfer(group, to, w) })
}

// StepDown has this server, which leads, give leadership up: to the best successor, or, if there is none, to nobody. Then the
// group has no leader until one is elected.
func (s *Server) StepDown(ctx context.Context, group raft.GroupID) error {
	return s.leave(ctx, func(w *waiter) { s.SubmitStepDown(group, w) })
}

func (s *Server) leave(ctx context.Context, submit func(*waiter)) error {
	if ctx.Err() != nil {
		return notSent(ctx)
	}
	w := s.waiter()
	submit(w)
	_, err := w.wait(ctx, ErrUnknown)
	return err
}

// SubmitChange is ChangeMembership for a caller that does not wait. The result is for ParseMembership.
func (s *Server) SubmitChange(group raft.GroupID, change raft.MembershipChange, done Completion) {
	change.Changes = slices.Clone(change.Changes)
	s.submitOrder(group, order{kind: orderChange, change: change, done: done})
}

// SubmitPlan is PlanMembership for a caller that does not wait. The result is for ParsePlan.
func (s *Server) SubmitPlan(group raft.GroupID, change raft.MembershipChange, done Completion) {
	change.Changes = slices.Clone(change.Changes)
	s.submitOrder(group, order{kind: orderPlan, change: change, done: done})
}

// SubmitTransfer is TransferLeadership for a caller that does not wait. The result says nothing.
func (s *Server) SubmitTransfer(group raft.GroupID, to raft.ServerID, done Completion) {
	s.submitOrder(group, order{kind: orderTransfer, to: to, done: done})
}

// SubmitStepDown is StepDown for a caller that does not wait. The result says nothing.
func (s *Server) SubmitStepDown(group raft.GroupID, done Completion) {
	s.submitOrder(group, order{kind: orderStepDown, done: done})
}

// SubmitMembers is Members for a caller that does not wait. The result is for ParseMembership.
func (s *Server) SubmitMembers(group raft.GroupID, done Completion) {
	g := s.group(group)
	if g == nil {
		done.Complete(nil, fmt.Errorf("%w: %d", ErrNoGroup, group))
		return
	}
	s.SubmitBarrier(group, g.replica.MembersAfter(done))
}

// MembersAfter returns what is to be given to Inputs.Barrier so that done gets the members that are committed then, for
// ParseMembership: for those who drive a Replica by themselves.
func (r *Replica) MembersAfter(done Completion) Completion { return membersAsked{r, done} }

// membersAsked answers with the members once the moment has come from which on the answer is linearizable.
type membersAsked struct {
	r    *Replica
	done Completion
}

// Complete implements Completion.
func (m membersAsked) Complete(_ []byte, err error) {
	var result []byte
	if err == nil {
		result, err = wire.EncodeClientValue(wire.ClientMembershipOf(m.r.CommittedMembership()))
	}
	m.done.Complete(result, err)
}

func (s *Server) submitOrder(group raft.GroupID, o order) {
	g := s.group(group)
	if g == nil {
		o.done.Complete(nil, fmt.Errorf("%w: %d", ErrNoGroup, group))
		return
	}
	if err := g.inbox.order(o); err != nil {
		o.done.Complete(nil, err)
		return
	}
	g.wake()
}
