package client

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

var addTwo = raft.MembershipChange{Changes: []raft.Change{
	{Kind: raft.ChangeAddVoter, Member: raft.Member{ID: 2, Store: raft.StoreID{2}, Address: "two"}},
}}

func (s *story) order(op Op, name string, body []byte) {
	s.core.Start(s.now, op, body, name)
	s.act()
}

func TestChangeWhoseFateIsUnknownIsAskedAgainAtWhoLeadsThen(t *testing.T) {
	s := newStory(t, CoreOptions{})
	s.order(OpChangeMembership, "change", AppendChange(nil, addTwo))
	id := s.connect("one")
	first := s.next(id, wire.MethodChangeMembership)
	require.Equal(t, &addTwo, first.Change)
	s.fail(id, first, wire.ErrUnknown)
	require.Empty(t, s.ended)
	s.wake()
	second := s.next(id, wire.MethodChangeMembership)
	s.fail(id, second, &wire.NotLeaderError{Leader: 2, Address: "two"})
	id = s.connect("two")
	third := s.next(id, wire.MethodChangeMembership)
	s.core.Disconnected(s.now, id, errors.New("reset"))
	s.act()
	s.wake()
	id = s.connect("one")
	require.Equal(t, third.Body, s.next(id, wire.MethodChangeMembership).Body)
	h := s.core.Start(s.now, OpChangeMembership, AppendChange(nil, addTwo), "cancelled")
	s.act()
	s.core.Cancel(s.now, h, errors.New("enough"))
	s.act()
	require.ErrorIs(t, s.ended["cancelled"].Err, ErrUnknown, "it was sent")
}

func TestVerdictOnAChangeEndsTheCallAndKeepsTheConnection(t *testing.T) {
	for _, verdict := range []error{
		ErrChangeOpen, ErrChangeUnsafe, ErrChangeGivenUp, ErrTransferOpen, ErrTransferFailed, ErrChangeImpossible, ErrChangeMoved, ErrTransferTarget,
	} {
		s := newStory(t, CoreOptions{Addresses: []string{"one", "two"}})
		s.order(OpChangeMembership, "change", AppendChange(nil, addTwo))
		id := s.connect(s.dials[0].Address)
		s.fail(id, s.next(id, wire.MethodChangeMembership), fmt.Errorf("%w: for a reason", verdict))
		require.ErrorIs(t, s.ended["change"].Err, verdict)
		require.NotErrorIs(t, s.ended["change"].Err, ErrUnknown)
		s.order(OpBarrier, "after", nil)
		s.next(id, wire.MethodBarrier)
		require.Len(t, s.dials, 1)
	}
}

// After an attempt whose fate nobody reports, that another one began nothing is no answer: the first may have been carried out, and
// others have undone it since.
func TestRefusalOfAnOrderAfterAnAttemptOfUnknownFateIsUnknown(t *testing.T) {
	nothingBegun := []error{ErrChangeOpen, ErrChangeUnsafe, ErrTransferOpen, ErrChangeImpossible, ErrChangeMoved, ErrTransferTarget, ErrMalformed}
	began := []error{ErrChangeGivenUp, ErrTransferFailed}
	for _, o := range []struct {
		op      Op
		method  wire.Method
		body    []byte
		unknown bool // what is certain of the attempt is not certain of the order
	}{
		{OpChangeMembership, wire.MethodChangeMembership, AppendChange(nil, addTwo), true},
		{OpTransferLeadership, wire.MethodTransferLeadership, AppendTransfer(nil, 2), true},
		{OpPlanMembership, wire.MethodPlanMembership, AppendChange(nil, addTwo), false},
		{OpBarrier, wire.MethodBarrier, nil, false},
	} {
		for k, verdict := range append(nothingBegun, began...) {
			for _, lost := range []bool{false, true} {
				s := newStory(t, CoreOptions{})
				s.order(o.op, "order", o.body)
				id := s.connect("one")
				first := s.next(id, o.method)
				if lost {
					s.core.Disconnected(s.now, id, errors.New("reset"))
					s.act()
					s.wake()
					id = s.connect("one")
				} else {
					s.fail(id, first, wire.ErrUnknown)
					s.wake()
				}
				s.fail(id, s.next(id, o.method), fmt.Errorf("%w: for a reason", verdict))
				require.ErrorIs(t, s.ended["order"].Err, verdict)
				require.Equal(t, o.unknown && k < len(nothingBegun), errors.Is(s.ended["order"].Err, ErrUnknown), "kind %d: %v", o.op, s.ended["order"].Err)
			}
		}
	}
}

// The same where every server says that it can never serve this client.
func TestOrderOfUnknownFateThatNoServerTakesAnyMoreIsUnknown(t *testing.T) {
	s := newStory(t, CoreOptions{})
	s.order(OpChangeMembership, "change", AppendChange(nil, addTwo))
	s.order(OpBarrier, "barrier", nil)
	id := s.connect("one")
	s.next(id, wire.MethodChangeMembership)
	s.next(id, wire.MethodBarrier)
	s.core.Disconnected(s.now, id, errors.New("reset"))
	s.act()
	s.order(OpChangeMembership, "never sent", AppendChange(nil, addTwo))
	s.wake()
	id = s.dials[len(s.dials)-1].Conn
	s.core.Connected(s.now, id)
	s.act()
	s.fail(id, s.next(id, wire.MethodHello), wire.ErrCluster)
	require.ErrorIs(t, s.ended["change"].Err, ErrUnknown)
	require.ErrorIs(t, s.ended["change"].Err, ErrCluster)
	for _, name := range []string{"barrier", "never sent"} {
		require.ErrorIs(t, s.ended[name].Err, ErrCluster)
		require.NotErrorIs(t, s.ended[name].Err, ErrUnknown)
	}
}

func TestLeadershipThatWouldMoveTwiceIsNotAskedForAgain(t *testing.T) {
	for _, lost := range []bool{false, true} {
		s := newStory(t, CoreOptions{})
		s.order(OpStepDown, "step down", nil)
		s.order(OpTransferLeadership, "best", AppendTransfer(nil, 0))
		s.order(OpTransferLeadership, "two", AppendTransfer(nil, 2))
		id := s.connect("one")
		down, best, two := s.next(id, wire.MethodStepDown), s.next(id, wire.MethodTransferLeadership), s.next(id, wire.MethodTransferLeadership)
		require.Equal(t, []raft.ServerID{0, 2}, []raft.ServerID{best.To, two.To})
		if lost {
			s.core.Disconnected(s.now, id, errors.New("reset"))
			s.act()
			s.wake()
			id = s.connect("one")
		} else {
			for _, r := range []wire.ClientRequest{down, best, two} {
				s.fail(id, r, wire.ErrUnknown)
			}
			s.wake()
		}
		require.ErrorIs(t, s.ended["step down"].Err, ErrUnknown)
		require.ErrorIs(t, s.ended["best"].Err, ErrUnknown)
		require.EqualValues(t, 2, s.next(id, wire.MethodTransferLeadership).To)
		require.Empty(t, s.sent[id])
	}
}

func TestLeadershipIsAskedForWhereTheLeaderIs(t *testing.T) {
	s := newStory(t, CoreOptions{})
	s.order(OpStepDown, "step down", nil)
	id := s.connect("one")
	s.fail(id, s.next(id, wire.MethodStepDown), &wire.NotLeaderError{Leader: 2, Address: "two"})
	id = s.connect("two")
	s.answer(id, wire.AppendClientTrue(nil, s.next(id, wire.MethodStepDown).ID))
	require.NoError(t, s.ended["step down"].Err)
}
