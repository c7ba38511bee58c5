package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A lease (dissertation 6.4.1) stands on what voters promise. Each rule here is one without which two leaders can both believe
// that a read is theirs to answer.

const testDrift = 10_000 // one per cent

func drifting(g *Config) { g.ClockDriftPPM = testDrift }

// promises lets a follower confirm the newest round, with a promise.
func (p *played) promises(from ServerID, promise time.Duration) {
	p.says(from, Message{
		Type: MessageHeartbeatResponse, Term: p.h.node.hard.Term, Round: p.h.node.lead.round, Promise: promise, LastTerm: p.h.node.hard.Term,
	})
}

// leased makes server 1 of three a leader, and lets it send one more round; it returns when the round before was confirmed.
func leased(t *testing.T, change func(*Config)) (*played, time.Duration) {
	p := playAlone(t, 3, change, nil)
	p.lead(2, 3)
	basis := p.h.node.lead.confirmedAt
	require.EqualValues(t, 1, p.h.node.lead.confirmed)
	p.runFor(p.h.node.config.HeartbeatInterval)
	require.EqualValues(t, 2, p.h.node.lead.round)
	return p, basis
}

func (p *played) holdsLease(at time.Duration) bool {
	index, ok := p.h.node.Lease(at)
	if ok {
		require.Equal(p.t, p.h.node.commit, index)
	}
	return ok
}

// less is d by the clock of whoever runs at the other end of the drift.
func less(d time.Duration) time.Duration { return d - d*testDrift/1_000_000 }

// 6.4.1: a round that is confirmed proves that each voter had heard, not before the round before it was confirmed, that it was. So
// the lease begins there, and not when this round was sent, and not when it was confirmed.
func TestLeaseBeginsWhereTheRoundBeforeWasConfirmed(t *testing.T) {
	p, basis := leased(t, drifting)
	require.False(t, p.h.node.lead.leaseEnd > 0)
	p.runFor(20 * time.Millisecond)
	p.promises(2, p.h.node.config.ElectionTimeoutMin)
	end := basis + less(p.h.node.config.ElectionTimeoutMin)
	p.run(end - 1)
	require.True(t, p.holdsLease(p.now))
	p.run(end)
	require.False(t, p.holdsLease(p.now))
}

// It ends with the shortest promise, whoever made it.
func TestLeaseIsAsLongAsTheShortestPromise(t *testing.T) {
	p, basis := leased(t, drifting)
	p.promises(3, 150*time.Millisecond)
	p.promises(2, 300*time.Millisecond)
	p.run(basis + less(150*time.Millisecond) - 1)
	require.True(t, p.holdsLease(p.now))
	p.run(basis + less(150*time.Millisecond))
	require.False(t, p.holdsLease(p.now))
}

// Who promises nothing does not count; and a leader that states no bound on its clock has no lease, whatever others promise.
func TestLeaseCountsOnlyWhoPromises(t *testing.T) {
	for _, c := range []struct {
		name    string
		promise time.Duration
		change  func(*Config)
		ok      bool
	}{
		{"a promise", 300 * time.Millisecond, drifting, true},
		{"none", 0, drifting, false},
		{"less than none", -time.Second, drifting, false},
		{"no bound of its own", 300 * time.Millisecond, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := leased(t, c.change)
			p.promises(2, c.promise)
			_, ok := p.h.node.Lease(p.now)
			require.Equal(t, c.ok, ok)
		})
	}
}

// 6.4 step 1: before an entry of its own term is committed a leader does not know what an earlier one answered.
func TestNoLeaseBeforeTheTermsFirstCommit(t *testing.T) {
	p := playAlone(t, 3, drifting, nil)
	p.h.timeout()
	p.says(2, Message{Type: MessagePreVoteResponse, Term: 1})
	p.runFor(2 * time.Millisecond)
	p.says(2, Message{Type: MessageVoteResponse, Term: 1})
	require.Equal(t, RoleLeader, p.h.node.role)
	for range 3 {
		p.runFor(p.h.node.config.HeartbeatInterval)
		p.promises(2, 300*time.Millisecond)
	}
	require.Positive(t, p.h.node.lead.leaseEnd)
	_, ok := p.h.node.Lease(p.now)
	require.False(t, ok)
	p.acks(2, 1)
	require.True(t, p.holdsLease(p.now))
}

// A leader that was paused does not know what time it is for the others: what was proved before proves nothing, nor do answers to
// rounds from before that arrive late (etcd#20418 is about reads).
func TestPauseEndsTheLease(t *testing.T) {
	p, basis := leased(t, drifting)
	p.promises(2, 300*time.Millisecond)
	require.NoError(t, p.h.read(1)) // round 3 is under way
	p.h.endTurn()
	require.EqualValues(t, 3, p.h.node.lead.round)
	wake := p.h.node.Deadline()
	p.now = wake + p.h.node.config.ElectionTimeoutMin/2 + 1
	require.Less(t, p.now, basis+less(p.h.node.config.ElectionTimeoutMin), "it would last, but for the pause")
	require.False(t, p.holdsLease(p.now))
	p.promises(2, 300*time.Millisecond) // of round 3
	require.False(t, p.holdsLease(p.now))
	require.Zero(t, p.h.node.lead.leaseEnd, "its messages named a round of before the pause as confirmed")
	awake := p.now
	p.runFor(time.Millisecond)
	p.promises(2, 300*time.Millisecond) // of round 4, whose messages were made after it
	require.EqualValues(t, 4, p.h.node.lead.confirmed)
	require.True(t, p.holdsLease(p.now))
	require.Equal(t, awake+less(300*time.Millisecond), p.h.node.lead.leaseEnd)
}

// A leader that told another one to campaign has no lease until its term is over, for that server is voted for in spite of every
// promise, and may get the message late (tikv/raft-rs#234, etcd-io/raft#99).
func TestTransferEndsTheLeaseForTheRestOfTheTerm(t *testing.T) {
	p, _ := leased(t, drifting)
	p.promises(2, 300*time.Millisecond)
	require.True(t, p.holdsLease(p.now))
	require.NoError(t, p.h.node.TransferLeadership(p.now, 2))
	require.False(t, p.holdsLease(p.now))
	p.h.endTurn()
	for range 20 {
		p.runFor(p.h.node.config.HeartbeatInterval)
		p.promises(2, 300*time.Millisecond)
	}
	require.Nil(t, p.h.node.lead.transfer, "it was in vain")
	require.Equal(t, RoleLeader, p.h.node.role)
	require.False(t, p.holdsLease(p.now))
}

// When the new half of a change begins to count, what the old one promised is not enough: of the newcomers some may promise nothing, and
// those could elect another leader as soon as the new half stands alone.
func TestJointPhaseEndsTheLeaseUntilBothHalvesPromise(t *testing.T) {
	p, _ := leased(t, drifting)
	p.promises(2, 300*time.Millisecond)
	require.True(t, p.holdsLease(p.now))
	p.h.node.appendMembership(Membership{Voters: membersOf(1, 4, 5).Voters, Outgoing: membersOf(1, 2, 3).Voters, WantedVoters: membersOf(1, 4, 5).Voters})
	p.h.endTurn()
	require.False(t, p.holdsLease(p.now))
	round := func(promise time.Duration) bool {
		for range 2 {
			p.runFor(p.h.node.config.HeartbeatInterval)
			p.promises(2, 300*time.Millisecond)
			p.promises(4, promise)
		}
		return p.holdsLease(p.now)
	}
	require.False(t, round(0))
	require.True(t, round(300*time.Millisecond))
}

// promised is a follower that heard its leader, 2, say that a round was confirmed; it returns when.
func promised(t *testing.T, change func(*Config)) (*played, time.Duration) {
	p := playAlone(t, 3, change, func(d *disk) { d.hard = HardState{Term: 1} })
	p.runFor(time.Second / 10)
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 1, Round: 2, Confirmed: 1})
	p.runFor(2 * time.Millisecond)
	return p, p.h.node.election.promisedAt
}

func (p *played) votesFor(from ServerID, term Term, forced bool) bool {
	p.says(from, Message{Type: MessageVoteRequest, Term: term, LastIndex: 9, LastTerm: 1, Forced: forced})
	p.runFor(2 * time.Millisecond)
	for _, m := range p.sentTo(from, MessageVoteResponse) {
		if !m.Reject {
			return true
		}
	}
	return false
}

// A follower says for how long it holds fast, and only if its own clock is bounded.
func TestFollowerSaysWhatItPromises(t *testing.T) {
	for _, c := range []struct {
		change  func(*Config)
		promise time.Duration
	}{{drifting, 300 * time.Millisecond}, {nil, 0}} {
		p, _ := promised(t, c.change)
		answers := p.sentTo(2, MessageHeartbeatResponse)
		require.Len(t, answers, 1)
		require.Equal(t, c.promise, answers[0].Promise)
	}
}

// A newer term makes a follower forget its leader (3.3), not what it promised to it: the leader still counts on it.
func TestPromiseOutlivesItsTerm(t *testing.T) {
	for name, forget := range map[string]func(p *played){
		"a newer term in an answer": func(p *played) { p.says(3, Message{Type: MessagePreVoteResponse, Term: 4, Reject: true}) },
		"a newer leader":            func(p *played) { p.says(3, Message{Type: MessageHeartbeatRequest, Term: 4, Round: 1}) },
		"the same term":             func(p *played) { p.h.node.leader, p.h.node.election.sticky = peer{}, false },
	} {
		t.Run(name, func(t *testing.T) {
			p, since := promised(t, drifting)
			forget(p)
			p.run(since + p.h.node.config.ElectionTimeoutMin - 10*time.Millisecond)
			before := p.h.node.hard
			require.False(t, p.votesFor(2, before.Term+1, false))
			require.Equal(t, before, p.h.node.hard, "not even the term is taken over (4.2.3)")
			p.says(2, Message{Type: MessagePreVoteRequest, Term: p.h.node.hard.Term + 1, LastIndex: 9, LastTerm: 1})
			for _, m := range p.sentTo(2, MessagePreVoteResponse) {
				require.True(t, m.Reject)
			}
			p.run(since + p.h.node.config.ElectionTimeoutMin)
			require.True(t, p.votesFor(2, p.h.node.hard.Term+1, false))
		})
	}
}

// The vote of the present term is bound as well as that of a newer one.
func TestPromiseBindsTheVoteOfTheTermThatWasLearned(t *testing.T) {
	p, since := promised(t, drifting)
	p.says(3, Message{Type: MessagePreVoteResponse, Term: 4, Reject: true})
	require.Equal(t, HardState{Term: 4}, p.h.node.hard)
	require.False(t, p.votesFor(2, 4, false))
	p.run(since + p.h.node.config.ElectionTimeoutMin)
	require.True(t, p.votesFor(2, 4, false))
}

// What was promised before a restart is not known after it (a server that is up again in less than an election timeout).
func TestPromiseOutlivesARestart(t *testing.T) {
	p, _ := promised(t, drifting)
	p.h.crash(0)
	p.h.start()
	started := p.now
	require.False(t, p.votesFor(3, 2, false))
	p.run(started + p.h.node.config.ElectionTimeoutMin - time.Millisecond)
	require.False(t, p.votesFor(3, 2, false))
	p.run(started + p.h.node.config.ElectionTimeoutMin)
	require.True(t, p.votesFor(3, 2, false))
}

// A transfer is what promises do not stand in the way of (3.10); and who states no bound has promised nothing.
func TestPromiseGivesWayToATransferAndBindsNobodyElse(t *testing.T) {
	p, _ := promised(t, drifting)
	require.True(t, p.votesFor(3, 2, true))
	p, _ = promised(t, nil)
	p.h.crash(0)
	p.h.start()
	require.True(t, p.votesFor(3, 2, false))
}
