package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A leader whose state machine is still on its way to its snapshot answers nobody, so that another one has to lead.
func TestServerThatRestoresDoesNotStandForElection(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	n := p.h.node
	n.Restoring()
	p.h.timeout()
	p.runFor(10 * time.Second)
	require.Equal(t, RoleFollower, n.role)
	require.Empty(t, p.sentTo(2))

	p.says(2, Message{Type: MessageVoteRequest, Term: 9, LastIndex: n.trail.last(), LastTerm: 9})
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 9, Round: 1})
	p.runFor(2 * time.Millisecond)
	require.Len(t, p.sentTo(2, MessageVoteResponse, MessageHeartbeatResponse), 2, "it votes and acknowledges as ever")
	p.says(2, Message{Type: MessageTransferRequest, Term: 9, LastIndex: n.trail.last(), LastTerm: n.trail.lastTerm()})
	require.Equal(t, RoleFollower, n.role, "nor does it take over")

	n.Applied(n.clock.now, n.snapshot.Index, 0, false)
	require.Greater(t, n.election.at, n.clock.now, "others may have restored theirs in this moment, too")
	p.h.timeout()
	require.Equal(t, RolePreCandidate, n.role)
}

// From a snapshot that was installed it restores as well.
func TestServerThatInstalledASnapshotStandsForElectionWhenItIsRestored(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	n := p.h.node
	meta := SnapshotMeta{Group: DefaultGroup, Index: n.trail.last() + 10, Term: 1, Membership: n.membership()}
	p.says(2, Message{Type: MessageSnapshotOffer, Term: 1, Snapshot: meta})
	require.True(t, n.Installed(n.clock.now, meta))
	require.False(t, n.electable())
	n.Applied(n.clock.now, meta.Index-1, 0, false) // of what came before
	require.False(t, n.electable())
	n.Applied(n.clock.now, meta.Index, 0, false)
	require.True(t, n.electable())
}

func TestLeaderWhoseStateMachineCannotBeRestoredStepsDown(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2)
	p.h.node.NeedSnapshot(p.h.node.clock.now, true)
	require.Equal(t, RoleFollower, p.h.node.role)
	p.h.timeout()
	require.Equal(t, RoleFollower, p.h.node.role)
}

// A learner stands for no election. With an entry in its log that others do not have, it would refuse its vote to a leader of old that counts
// it as a voter already, by a membership that nobody else has seen, and those that are left could elect nobody.
func TestLearnerIsSentNothingThatIsNotCommitted(t *testing.T) {
	c := group(t, 4, 3, nil)
	h, learner := c.hosts[0], c.hosts[3]
	require.NoError(t, h.change(changes(changeOf(ChangeAddLearner, 4))))
	settles(t, h)
	c.runUntil(time.Second, "the learner has everything", func() bool { return learner.node.trail.last() == h.node.trail.last() })

	committed := h.node.commit
	c.net.cut[[2]ServerID{1, 2}], c.net.cut[[2]ServerID{1, 3}] = true, true
	_, err := h.propose(1)
	require.NoError(t, err)
	h.endTurn()
	c.runFor(200 * time.Millisecond)
	require.Equal(t, committed+1, h.node.trail.last())
	require.Equal(t, committed, learner.node.trail.last())

	clear(c.net.cut)
	c.runUntil(time.Second, "the learner has the rest", func() bool { return learner.node.commit == committed+1 })
}
