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
func resumed(t *testing.T) *played {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	p.hears(2*electionTimeout, 2, 3)
	p.sentTo(2)
	p.sentTo(3)
	p.now += 10 * electionTimeout
	return p
}

// A pause is no silence of the others: what a change asks of them is not decided before they could answer.
func TestChangeAfterAPauseWaitsUntilTheOthersCouldAnswer(t *testing.T) {
	remove := changes(changeOf(ChangeRemove, 2))
	replace := changes(Change{Kind: ChangeReplace, Member: Member{ID: 3, Store: storeOf(3, 2)}})
	begin := func() *played {
		p := resumed(t)
		for c, words := range map[*MembershipChange]string{&remove: "server 3 is not heard of yet", &replace: "whether server 3 still runs"} {
			err := p.h.change(*c)
			require.ErrorIs(t, err, ErrChangeEarly)
			require.ErrorContains(t, err, "it went on after a pause less than an election timeout ago")
			require.ErrorContains(t, err, words)
		}
		return p
	}
	p := begin()
	p.acks(2, p.h.node.trail.last())
	p.acks(3, p.h.node.trail.last())
	require.ErrorIs(t, p.h.change(replace), ErrChangeUnsafe, "server 3 lives")
	require.NoError(t, p.h.change(remove))

	p = begin()
	p.hears(electionTimeout, 2)
	require.ErrorIs(t, p.h.change(remove), ErrChangeUnsafe, "server 3 has had its time")
	require.NoError(t, p.h.change(replace))
}

// Nor does it leave a leader without successors.
func TestTransferAfterAPauseWaitsForASuccessor(t *testing.T) {
	p := resumed(t)
	require.NoError(t, p.h.node.TransferLeadership(p.now, 0))
	p.h.endTurn()
	require.Empty(t, p.h.transferEnds)
	p.acks(3, p.h.node.trail.last())
	require.Len(t, p.sentTo(3, MessageTransferRequest), 1)

	p = resumed(t)
	require.NoError(t, p.h.node.TransferLeadership(p.now, 2))
	p.h.endTurn()
	require.Len(t, p.sentTo(2, MessageTransferRequest), 1, "it has the whole log, as far as is known")

	p = resumed(t) // nobody is there any more
	require.NoError(t, p.h.node.TransferLeadership(p.now, 0))
	p.h.endTurn()
	p.runFor(electionTimeout - time.Millisecond)
	require.Empty(t, p.h.transferEnds)
	p.runFor(2 * time.Millisecond)
	require.Equal(t, []TransferEnded{{Err: ErrTransferUnknown}}, p.h.transferEnds)
	require.Equal(t, RoleFollower, p.h.node.role)

	p = resumed(t) // who is gone again is not waited for
	p.h.node.Tick(p.now)
	p.h.endTurn()
	for _, id := range []ServerID{2, 3} {
		p.acks(id, p.h.node.trail.last())
		p.h.node.Unreachable(p.now, id, StoreID{})
	}
	p.h.endTurn()
	require.ErrorIs(t, p.h.node.TransferLeadership(p.now, 0), ErrTransferTarget)

	p = resumed(t) // nor could anybody who is
	for _, q := range p.h.node.lead.progress {
		q.lost = true
	}
	require.ErrorIs(t, p.h.node.TransferLeadership(p.now, 0), ErrTransferTarget)
}
