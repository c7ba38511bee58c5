package server_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// depose cuts a leader off until another one leads.
func (c *cluster) depose(leader *member) {
	c.t.Helper()
	var rest []raft.ServerID
	for _, m := range c.others(leader) {
		rest = append(rest, m.id)
	}
	c.net.Partition([]raft.ServerID{leader.id}, rest)
	for c.leader() == leader {
		time.Sleep(50 * time.Millisecond)
	}
	c.net.Heal()
	c.agree()
}

// lead deposes leaders until m leads.
func (c *cluster) lead(m *member) {
	c.t.Helper()
	for range 50 {
		leader := c.leader()
		if leader == m {
			return
		}
		c.depose(leader)
	}
	c.t.Fatalf("server %d never leads", m.id)
}

func TestLeaderWhoseOldEntriesWereCutTakesProposalsWhenItLeadsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("before")
		old := c.leader()
		var rest []raft.ServerID
		for _, m := range c.others(old) {
			rest = append(rest, m.id)
		}
		c.net.Partition([]raft.ServerID{old.id}, rest)
		answers := make(chan error, 100)
		for range 100 { // far more than leaders will append afterwards; no quorum will ever have them
			old.server.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: []byte("cut")}, completion(func(_ []byte, err error) { answers <- err }))
			time.Sleep(time.Millisecond)
		}
		for range 100 {
			require.ErrorIs(t, <-answers, server.ErrUnknown)
		}
		require.NotSame(t, old, c.leader())
		c.net.Heal()
		c.agree()
		c.lead(old)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := old.server.Propose(ctx, group, []byte("after"))
		require.NoError(t, err)
		require.Equal(t, []string{"before", "after"}, machineOf(old.machine).commands())
		st := old.status()
		require.Zero(t, st.Uncommitted.Bytes)
	})
}
