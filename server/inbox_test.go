package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

func TestInboxLetsGoOfTheBytesThatItDoesNotCountAnyMore(t *testing.T) {
	all := func() *bounds {
		b := new(bounds)
		b.inbox.Max, b.uncommitted.Max, b.unapplied.Max = 1000, 1000, 1000
		return b
	}
	b := newInbox(all(), all())
	for range 3 {
		_, err := b.propose(Proposal{Group: 1, Kind: raft.KindCommand, Command: make([]byte, 10)}, nil)
		require.NoError(t, err)
	}
	require.NoError(t, b.query(query{query: make([]byte, 10)}))
	in := b.drain()
	in.proposed, in.asked = 1, true // the turn leaves two for the next
	b.hold(false, in)
	require.Equal(t, 2*proposalSize(10), b.own.inbox.now.Load())
	for _, p := range in.proposals[:3] {
		require.Nil(t, p.Command)
	}
	for _, q := range in.queries[:1] {
		require.Nil(t, q.query)
	}
	require.Len(t, b.in.proposals, 2)
	require.NotNil(t, b.in.proposals[1].Command)
}
