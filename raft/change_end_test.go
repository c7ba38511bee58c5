package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The answer that commits a change and the order of the next one may come in one turn. Whoever waits for the first is told of
// its end before a second one begins, and is not judged by that.
func TestEndOfAChangeIsToldBeforeAnotherOneBegins(t *testing.T) {
	remove := changes(Change{Kind: ChangeRemove, Member: Member{ID: 4}})
	begun := func(t *testing.T) (*played, Index) {
		p := playAlone(t, 3, nil, nil)
		p.lead(2, 3)
		p.h.changeEnds = nil
		require.NoError(t, p.h.node.ChangeMembership(p.now, changes(Change{Kind: ChangeAddLearner, Member: Member{ID: 4, Store: StoreID{4}}})))
		p.h.endTurn()
		p.runFor(2 * time.Millisecond)
		require.Empty(t, p.h.changeEnds)
		return p, p.h.node.trail.last()
	}
	t.Run("committed in this turn", func(t *testing.T) {
		p, last := begun(t)
		n := p.h.node
		p.h.step(Message{
			Type: MessageAppendResponse, Group: DefaultGroup, From: 2, To: 1, FromStore: storeOf(2, 1), FromRun: 2, Term: n.hard.Term,
			Match: last, LastIndex: last, Round: n.lead.round,
		})
		require.Equal(t, last, n.commit)
		require.ErrorIs(t, n.ChangeMembership(p.now, remove), ErrChangeEarly)
		p.h.endTurn()
		require.Len(t, p.h.changeEnds, 1)
		require.Equal(t, last, p.h.changeEnds[0].At.Index)
		require.NoError(t, n.ChangeMembership(p.now, remove))
	})
	t.Run("asked for again", func(t *testing.T) {
		p, last := begun(t)
		n := p.h.node
		p.acks(2, last)
		p.h.changeEnds = nil
		require.NoError(t, n.ChangeMembership(p.now, changes(Change{Kind: ChangeAddLearner, Member: Member{ID: 4, Store: StoreID{4}}})))
		require.ErrorIs(t, n.ChangeMembership(p.now, remove), ErrChangeEarly)
		p.h.endTurn()
		require.Len(t, p.h.changeEnds, 1)
		require.NoError(t, n.ChangeMembership(p.now, remove))
	})
}
