package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A server whose timers are always late is slow, not paused: the first late wake-up gives the others time to be heard, the
// next one without a word from them is an election timeout like any other. Or else a loaded group never elects.
func TestServersWhoseTimersAreAlwaysLateStillElect(t *testing.T) {
	c := newCluster(t, 3)
	c.addHosts(3, 0, nil)
	c.presetBirth()
	for _, h := range c.hosts {
		h.late = h.config.withDefaults().ElectionTimeoutMin * 2 / 3
	}
	c.startAll()
	c.runUntil(10*electionTimeout, "a leader", func() bool { return c.leader() != nil })
}

// A leader that is paused again and again and hears nobody in between keeps the others quiet with its heartbeats: each
// pause may excuse the silence before it, not the next one too.
func TestLeaderPausedAgainAndAgainWithoutAnAnswerStepsDown(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	p.runFor(2 * time.Millisecond)
	for range 4 {
		p.h.pausedUntil = p.now + p.h.node.config.ElectionTimeoutMin
		p.runFor(p.h.node.config.ElectionTimeoutMin)
	}
	require.NotEqual(t, RoleLeader, p.h.node.role)
}

// The first answer after a pause of any length restores a leader: it was no silence of the others.
func TestPausedLeaderGoesOnOnceAQuorumAnswers(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	p.acks(2, 1)
	p.runFor(p.h.node.config.HeartbeatInterval)
	p.acks(2, 1)
	require.True(t, p.h.node.hasAuthority(p.now))
	p.h.pausedUntil = p.now + 10*electionTimeout
	p.run(p.h.pausedUntil)
	require.Equal(t, RoleLeader, p.h.node.role, "a pause alone deposes nobody")
	require.False(t, p.h.node.hasAuthority(p.now), "nor does it leave authority behind")
	p.acks(2, 1)
	require.True(t, p.h.node.hasAuthority(p.now))
	require.Equal(t, term, p.h.node.hard.Term)
}

// A follower that slept has not listened: it gives its leader an election timeout to be heard before it asks for votes.
func TestPausedFollowerListensBeforeItCampaigns(t *testing.T) {
	p := follower(t, 1)
	p.h.pausedUntil = p.now + 10*electionTimeout
	p.run(p.h.pausedUntil)
	require.Equal(t, RoleFollower, p.h.node.role)
	require.GreaterOrEqual(t, p.h.node.Deadline(), p.now+p.h.node.config.ElectionTimeoutMin)
	p.runFor(electionTimeout)
	require.Equal(t, RolePreCandidate, p.h.node.role)
}

// resumed is a leader of three that heard both others until it was paused; its next input comes after that.
func resumed(t *testing.T, pause time.Duration) *played {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	p.hears(2*electionTimeout, 2, 3)
	p.sentTo(2)
	p.sentTo(3)
	p.now += pause
	return p
}

// A pause is no silence of the others: they are what they were before it, for whoever wants to change something.
func TestPauseIsNoSilenceOfTheOthers(t *testing.T) {
	remove := changes(changeOf(ChangeRemove, 2))
	replace := changes(Change{Kind: ChangeReplace, Member: Member{ID: 3, Store: storeOf(3, 2)}})
	p := resumed(t, 10*electionTimeout)
	require.ErrorIs(t, p.h.change(replace), ErrChangeUnsafe, "server 3 may live, and did")
	require.NoError(t, p.h.change(remove))

	p = resumed(t, 10*electionTimeout)
	p.hears(electionTimeout, 2)
	require.ErrorIs(t, p.h.change(remove), ErrChangeUnsafe, "server 3 has had its time")
	require.NoError(t, p.h.change(replace))

	p = resumed(t, 10*electionTimeout)
	require.NoError(t, p.h.node.TransferLeadership(p.now, 2))
	p.h.endTurn()
	require.Len(t, p.sentTo(2, MessageTransferRequest), 1, "it has the whole log, as far as is known")

	p = resumed(t, 10*electionTimeout)
	require.NoError(t, p.h.node.TransferLeadership(p.now, 0))
	p.h.endTurn()
	require.Empty(t, p.h.transferEnds)
}

// Nor is who was gone before it believed to be back.
func TestPauseMakesNobodyHeard(t *testing.T) {
	p := resumed(t, 0)
	p.hears(10*electionTimeout, 2)
	for range 3 {
		require.ErrorIs(t, p.h.node.TransferLeadership(p.now, 3), ErrTransferTarget)
		p.now += electionTimeout
		p.h.node.Tick(p.now)
		p.h.endTurn()
		p.acks(2, p.h.node.trail.last())
	}
	require.NoError(t, p.h.change(changes(Change{Kind: ChangeReplace, Member: Member{ID: 3, Store: storeOf(3, 2)}})))
}

// A leader whose every turn is late is slow: what passes between is time all the same.
func TestSilenceCountsAtALeaderThatIsAlwaysLate(t *testing.T) {
	replace := changes(Change{Kind: ChangeReplace, Member: Member{ID: 3, Store: storeOf(3, 2)}})
	p := resumed(t, 0)
	c := p.h.node.config
	for late := 0; ; late++ {
		require.Less(t, late, 100)
		p.now = p.h.node.Deadline() + c.ElectionTimeoutMin/2 + time.Millisecond
		p.h.node.Tick(p.now)
		p.h.endTurn()
		p.acks(2, p.h.node.trail.last())
		require.Equal(t, RoleLeader, p.h.node.role)
		if p.h.change(replace) == nil {
			return
		}
	}
}

// A change that waits for a newcomer is not given up because the leader was away.
func TestPauseDoesNotGiveUpANewcomer(t *testing.T) {
	p := resumed(t, 0)
	n := p.h.node
	require.NoError(t, p.h.change(changes(Change{Kind: ChangeAddVoter, Member: Member{ID: 4, Store: storeOf(4, 1)}})))
	p.acks(2, n.trail.last())
	require.True(t, n.membership().Changing())
	p.now += 100 * n.config.JoinTimeout
	n.Tick(p.now)
	p.h.endTurn()
	p.acks(2, n.trail.last())
	require.True(t, n.membership().Changing())
	p.hears(n.config.JoinTimeout+n.config.HeartbeatInterval, 2, 3)
	require.False(t, n.membership().Changing(), "the newcomer has had its time")
}
