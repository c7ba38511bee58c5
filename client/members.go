package client

import (
	"context"
	"encoding/binary"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// ChangeMembership takes the group from the membership that it has to another one, and returns the one that is committed
// when that is done: all of change, or nothing of it. Newcomers receive the log first and count once they have caught up, so it may
// take as long as that. Whatever happens to the leader meanwhile, the next one goes on with it, and the client asks that one:
// asking twice is safe. Errors: ErrChangeGivenUp says that the group went back to what it was; after ErrChangeImpossible,
// ErrChangeOpen, ErrChangeMoved and ErrChangeUnsafe nothing was begun, unless the error matches ErrUnknown, too: then an attempt whose
// answer was lost may have made the change, and others another one since. If ctx ends first, the error matches ErrUnknown if the
// change may have begun, and then it goes on; and ErrNotSent if it has not. A leader that cannot begin yet (ErrBusy) is asked again until then.
func (c *Client) ChangeMembership(ctx context.Context, change raft.MembershipChange) (raft.MembershipAt, error) {
	raw, err := c.call(ctx, OpChangeMembership, AppendChange(nil, change))
	if err != nil {
		return raft.MembershipAt{}, err
	}
	return ParseMembership(raw)
}

// PlanMembership says what ChangeMembership would do now, and does nothing. Why the change would be refused stands in the plan; if that
// is ErrBusy, the leader cannot begin yet, for the reason in its text, which passes by itself: ask again.
func (c *Client) PlanMembership(ctx context.Context, change raft.MembershipChange) (raft.MembershipPlan, error) {
	raw, err := c.call(ctx, OpPlanMembership, AppendChange(nil, change))
	if err != nil {
		return raft.MembershipPlan{}, err
	}
	return ParsePlan(raw)
}

// Members returns the membership that is committed, as it was at some moment after the call began. A change that is open shows
// in it once it has begun.
func (c *Client) Members(ctx context.Context) (raft.MembershipAt, error) {
	raw, err := c.call(ctx, OpMembers, nil)
	if err != nil {
		return raft.MembershipAt{}, err
	}
	return ParseMembership(raw)
}

// TransferLeadership hands leadership to a voter, or with to zero to the best, and returns when the leader has gone. What is proposed
// meanwhile is not lost. After ErrTransferFailed the old leader leads on; after ErrTransferTarget and ErrTransferOpen nothing was
// begun, unless the error matches ErrUnknown, too: then an attempt whose answer was lost may have moved leadership. It is no error if to
// leads already. ErrUnknown: the leader lost leadership meanwhile, and knew of nobody who took over. With to zero a call whose
// answer is lost ends so, too, and is not repeated: it would move leadership once more.
func (c *Client) TransferLeadership(ctx context.Context, to raft.ServerID) error {
	_, err := c.call(ctx, OpTransferLeadership, AppendTransfer(nil, to))
	return err
}

// StepDown has the leader give leadership up: to the best successor, or, if there is none, to nobody. A call whose answer is lost
// ends with ErrUnknown and is not repeated.
func (c *Client) StepDown(ctx context.Context) error {
	_, err := c.call(ctx, OpStepDown, nil)
	return err
}

// AppendChange appends the body of OpChangeMembership and OpPlanMembership.
func AppendChange(dst []byte, change raft.MembershipChange) []byte {
	return wire.AppendClientChange(dst, change)
}

// AppendTransfer appends the body of OpTransferLeadership: who is to lead, or zero for the best.
func AppendTransfer(dst []byte, to raft.ServerID) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(to))
}

// transferTo reads what AppendTransfer wrote; anything else names nobody that there is.
func transferTo(body []byte) raft.ServerID {
	if len(body) != 8 {
		return ^raft.ServerID(0)
	}
	return raft.ServerID(binary.BigEndian.Uint64(body))
}

// ParseMembership reads the result of OpMembers and OpChangeMembership. Errors match ErrMalformed.
func ParseMembership(result []byte) (raft.MembershipAt, error) {
	var m wire.ClientMembership
	if err := wire.DecodeClientValue(result, &m); err != nil {
		return raft.MembershipAt{}, err
	}
	return m.MembershipAt()
}

// ParsePlan reads the result of OpPlanMembership. Errors match ErrMalformed.
func ParsePlan(result []byte) (raft.MembershipPlan, error) {
	var p wire.ClientPlan
	if err := wire.DecodeClientValue(result, &p); err != nil {
		return raft.MembershipPlan{}, err
	}
	return p.Plan()
}
