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
