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
