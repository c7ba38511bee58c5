package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// orderTransfer begins to hand leadership over, or joins the transfer to the same server that is under way.
func (r *Replica) orderTransfer(now time.Duration, o order) {
	self := r.shared.identity.Server
	err := r.node.TransferLeadership(now, o.to)
	switch {
	case len(r.orders.transfers) >= ordersMax:
		err = fmt.Errorf("%w: %d callers wait for this group's leadership already", ErrBusy, ordersMax)
	case err == nil:
		r.orders.to = o.to
	case errors.Is(err, raft.ErrTransferOpen) && len(r.orders.transfers) > 0 && (o.kind == orderStepDown || r.orders.to == o.to):
		err = nil
	case errors.Is(err, raft.ErrTransferTarget) && o.kind == orderStepDown:
		// Nobody can take over. What was asked for is that this server does not lead.
		if err = r.node.StepDown(now); err == nil {
			r.answer(o.done, nil, nil)
			return
		}
	case errors.Is(err, raft.ErrTransferTarget) && o.to == self:
		r.answer(o.done, nil, nil) // it leads: asked again after it took over
		return
	}
	if err != nil {
		r.answer(o.done, nil, r.transferRefusal(err))
		return
	}
	r.orders.transfers = append(r.orders.transfers, o)
}

// transferRefusal is what a caller is told of an error of the Node about leadership: nothing was begun.
func (r *Replica) transferRefusal(err error) error {
	text := func(cause error) string {
		return strings.TrimPrefix(strings.TrimPrefix(err.Error(), cause.Error()), ": ")
	}
	switch {
	case errors.Is(err, raft.ErrTransferOpen):
		return fmt.Errorf("%w: it ends within %v; ask again then", ErrTransferOpen, r.group.ElectionTimeoutMax)
	case errors.Is(err, raft.ErrTransferTarget):
		return fmt.Errorf("%w: %s", ErrTransferTarget, text(raft.ErrTransferTarget))
	}
	return r.refusal(err)
}

// transferEnded answers those who waited for the end of a transfer.
func (r *Replica) transferEnded(e *raft.TransferEnded) {
	waited := r.orders.transfers
	r.orders.transfers, r.orders.to = nil, 0
	why := r.transferFailure(e)
	r.event(Event{Kind: EventTransferEnded, Server: e.To, Err: why})
	leads := errors.Is(why, ErrTransferFailed)
	for _, o := range waited {
		switch {
		case why == nil:
			r.gone(o)
		case o.kind == orderStepDown && leads:
			r.orders.retiring = append(r.orders.retiring, o)
		case o.kind == orderStepDown:
			r.answer(o.done, nil, nil) // it leads no more, as was asked for
		default:
			r.answer(o.done, nil, why)
		}
	}
}

// transferFailure is what those who waited are told of a transfer that nobody is known to have followed; nil if leadership was given away.
func (r *Replica) transferFailure(e *raft.TransferEnded) error {
	self := r.shared.identity.Server
	switch {
	case e.Err == nil:
		return nil
	case errors.Is(e.Err, raft.ErrTransferUnknown):
		return fmt.Errorf("%w: server %d leads no more, and knows of nobody who took over; see who leads before you ask again", ErrUnknown, self)
	case errors.Is(e.Err, raft.ErrTransferTarget):
		return fmt.Errorf("%w: no other server that may lead is reached any more, and server %d leads on; see that the others run, and ask again",
			ErrTransferFailed, self)
	}
	who := "nobody could"
	if e.To != 0 {
		who = fmt.Sprintf("server %d did not", e.To)
	}
	return fmt.Errorf("%w: %s take over within %v, and server %d leads on; see that the other server runs and keeps up, and ask again",
		ErrTransferFailed, who, r.group.ElectionTimeoutMax, self)
}

// gone answers an order by which leadership was to go: it went.
func (r *Replica) gone(o order) {
	if o.kind == orderLeave {
		r.orders.leaving = append(r.orders.leaving, o)
		return
	}
	r.answer(o.done, nil, nil)
}

// retire gives leadership up to nobody, for those who asked for it and for whom no successor was found.
func (r *Replica) retire(now time.Duration) {
	if len(r.orders.retiring) == 0 {
		return
	}
	waited := r.orders.retiring
	r.orders.retiring = nil
	err := r.node.StepDown(now)
	if errors.Is(err, raft.ErrNotLeader) {
		err = nil // gone already
	}
	for _, o := range waited {
		r.answer(o.done, nil, err)
	}
}

// park keeps proposals that came while leadership is being handed over. They are refused, or proposed, when it has ended; until
// then they count as uncommitted, so that the door refuses what would be too many.
func (r *Replica) park(in *Inputs) {
	for ; in.proposed < len(in.proposals); in.proposed++ {
		p := in.proposals[in.proposed]
		p.bytes = 0 // the turn gives back what it counted in the inbox
		r.countParked(proposalSize(len(p.Command)))
		r.parked = append(r.parked, p)
	}
}

func (r *Replica) countParked(bytes int64) {
	r.bounds.uncommitted.add(bytes)
	r.shared.bounds.uncommitted.add(bytes)
}

// unpark puts the proposals that were parked in front of this turn's.
func (r *Replica) unpark(in *Inputs) {
	r.resume = false
	if len(r.parked) > 0 {
		in.proposals = slices.Insert(in.proposals, in.proposed, r.takeParked()...)
	}
}

func (r *Replica) takeParked() []proposal {
	parked := r.parked
	r.parked = nil
	for i := range parked {
		r.countParked(-proposalSize(len(parked[i].Command)))
	}
	return parked
}

// dropParked answers the proposals that were parked. None of them was appended.
func (r *Replica) dropParked(why error) {
	for _, p := range r.takeParked() {
		r.answer(p.done, nil, why)
	}
}
