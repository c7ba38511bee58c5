package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Leadership transfer (dissertation 3.10), priorities, and a leader whose storage hangs.

// transferring is a leader of three whose followers hold all, with a transfer begun.
func transferring(t *testing.T, to ServerID) *played {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	p.sentTo(2)
	p.sentTo(3)
	require.NoError(t, p.h.node.TransferLeadership(p.now, to))
	p.h.endTurn()
	return p
}

// hears lets followers answer while time passes, each up to where the log ended at the beginning.
func (p *played) hears(d time.Duration, from ...ServerID) {
	match := p.h.node.trail.last()
	for end := p.now + d; p.now < end; {
		for _, id := range from {
			if p.h.node.role == RoleLeader {
				p.acks(id, match)
			}
		}
		p.runFor(min(20*time.Millisecond, end-p.now))
	}
}

// 3.10: the leader takes nothing new, sends the target what it lacks, and only then tells it to campaign, naming the end of its log.
func TestTransferWaitsUntilTheTargetHasTheWholeLog(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	_, err := p.h.propose(3)
	require.NoError(t, err)
	require.NoError(t, p.h.node.TransferLeadership(p.now, 2))
	p.h.endTurn()
	_, err = p.h.propose(1)
	require.ErrorIs(t, err, ErrTransferring)
	p.hears(100*time.Millisecond, 3)
	p.acks(2, 3)
	require.Empty(t, p.sentTo(2, MessageTransferRequest))
	p.acks(2, 4)
	requests := p.sentTo(2, MessageTransferRequest)
	require.Len(t, requests, 1)
	require.Equal(t, term, requests[0].Term)
	require.EqualValues(t, 4, requests[0].LastIndex)
	require.Equal(t, term, requests[0].LastTerm)
	require.Empty(t, p.sentTo(3, MessageTransferRequest))
}

// 3.10: after an election timeout the leader takes proposals again. None was lost meanwhile (rabbitmq/ra#228): they were refused.
func TestTransferInVainEndsAfterAnElectionTimeout(t *testing.T) {
	p := transferring(t, 2)
	p.hears(p.h.node.config.ElectionTimeoutMax-time.Millisecond, 2, 3)
	_, err := p.h.propose(1)
	require.ErrorIs(t, err, ErrTransferring)
	require.Empty(t, p.h.transferEnds)
	p.hears(time.Millisecond, 3)
	require.Equal(t, []TransferEnded{{To: 2, Err: ErrTransferTimeout}}, p.h.transferEnds)
	_, err = p.h.propose(1)
	require.NoError(t, err)
	require.Greater(t, len(p.sentTo(2, MessageTransferRequest)), 3, "it was repeated with the heartbeats: messages get lost")
}

// A new term ends it, and says so once.
func TestTransferEndsWithItsTerm(t *testing.T) {
	p := transferring(t, 2)
	p.says(2, Message{Type: MessageVoteRequest, Term: 2, LastIndex: 1, LastTerm: 1, Forced: true})
	require.Equal(t, RoleFollower, p.h.node.role)
	require.Equal(t, []TransferEnded{{To: 2}}, p.h.transferEnds)
	p.runFor(2 * time.Millisecond)
	votes := p.sentTo(2, MessageVoteResponse)
	require.Len(t, votes, 1)
	require.False(t, votes[0].Reject, "a forced vote is given although a leader is heard, by the leader itself, too (canonical/raft#139)")
}

func TestTransferToWhoCannotLeadIsRefused(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	require.ErrorIs(t, p.h.node.TransferLeadership(p.now, 2), ErrNotLeader)
	p.lead(2)
	for name, to := range map[string]ServerID{"itself": 1, "not heard of": 3, "no member": 9} {
		require.ErrorIs(t, p.h.node.TransferLeadership(p.now, to), ErrTransferTarget, name)
	}
	_, err := p.h.propose(1)
	require.NoError(t, err, "nothing was begun")
	require.NoError(t, p.h.node.TransferLeadership(p.now, 2))
	require.ErrorIs(t, p.h.node.TransferLeadership(p.now, 0), ErrTransferOpen)
	one := playAlone(t, 1, nil, nil)
	one.lead()
	require.ErrorIs(t, one.h.node.TransferLeadership(one.now, 0), ErrTransferTarget)
}

// With no target the best takes over: level logs first, of those the highest priority; and when it does not, the next one.
func TestTransferToTheBestGoesOnToTheNext(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	p.says(3, Message{Type: MessageHeartbeatResponse, Term: term, Round: 1, Priority: 4, LastIndex: 1})
	require.NoError(t, p.h.node.TransferLeadership(p.now, 0))
	p.h.endTurn()
	require.Len(t, p.sentTo(3, MessageTransferRequest), 1)
	require.Empty(t, p.sentTo(2, MessageTransferRequest))
	p.hears(p.h.node.config.ElectionTimeoutMin/2+p.h.node.config.HeartbeatInterval, 2, 3)
	require.NotEmpty(t, p.sentTo(2, MessageTransferRequest))
}

// requested is a follower of server 2, with three entries; it gets a request to campaign.
func requested(t *testing.T, m Message) *played {
	p := follower(t, 2, 1, 1, 2)
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 2, Round: 2, Confirmed: 1})
	m.Type = MessageTransferRequest
	p.says(2, m)
	return p
}

// 3.10: the target campaigns at once, without a pre-vote, and asks for votes that are given although a leader is heard.
func TestTargetCampaignsAtOnce(t *testing.T) {
	p := requested(t, Message{Term: 2, LastIndex: 3, LastTerm: 2})
	require.Equal(t, RoleCandidate, p.h.node.role)
	p.runFor(2 * time.Millisecond)
	requests := p.sentTo(3, MessageVoteRequest)
	require.Len(t, requests, 1)
	require.True(t, requests[0].Forced)
	require.EqualValues(t, 3, requests[0].Term)
	p.h.timeout() // in vain: the next time it asks like anybody
	p.says(3, Message{Type: MessagePreVoteResponse, Term: 4})
	p.runFor(2 * time.Millisecond)
	requests = p.sentTo(3, MessageVoteRequest)
	require.Len(t, requests, 1)
	require.False(t, requests[0].Forced)
}

// A request that is late, or that names what is not here, is over: a server that missed the end of the log would be elected by those that
// missed it as well, and a late one would depose a good leader.
func TestTransferThatCannotBeFollowedIsDropped(t *testing.T) {
	for name, m := range map[string]Message{
		"an older term": {Term: 1, LastIndex: 3, LastTerm: 2}, "a newer term": {Term: 3, LastIndex: 3, LastTerm: 2},
		"a longer log": {Term: 2, LastIndex: 4, LastTerm: 2}, "another log": {Term: 2, LastIndex: 3, LastTerm: 1},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, RoleFollower, requested(t, m).h.node.role)
		})
	}
	p := follower(t, 2, 1, 1, 2)
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 2, Round: 1})
	p.says(3, Message{Type: MessageTransferRequest, Term: 2, LastIndex: 3, LastTerm: 2})
	require.Equal(t, RoleFollower, p.h.node.role, "only its leader says that")
}

// 3.6.1 holds for forced votes, too, and so does one vote a term.
func TestForcedVoteIsBoundByLogAndTerm(t *testing.T) {
	p := follower(t, 2, 1, 1, 2)
	ask := func(from ServerID, last Index) bool {
		p.says(from, Message{Type: MessageVoteRequest, Term: 3, LastIndex: last, LastTerm: 2, Forced: true})
		p.runFor(2 * time.Millisecond)
		votes := p.sentTo(from, MessageVoteResponse)
		require.Len(t, votes, 1)
		return !votes[0].Reject
	}
	require.False(t, ask(2, 2))
	require.True(t, ask(3, 3))
	require.False(t, ask(2, 3))
}

// A leader gives way to a level voter with a higher priority, and not before it has led for a while.
func TestLeaderHandsOverToAHigherPriority(t *testing.T) {
	for _, priority := range []uint8{1, 2} {
		p := playAlone(t, 3, func(g *Config) { g.Priority = 1 }, nil)
		term := p.lead(2, 3)
		wait := priorityPatience * p.h.node.config.ElectionTimeoutMax
		say := func() {
			p.says(3, Message{Type: MessageHeartbeatResponse, Term: term, Round: p.h.node.lead.round, Priority: priority})
		}
		for end := p.now + wait - 50*time.Millisecond; p.now < end; p.runFor(50 * time.Millisecond) {
			say()
		}
		require.Empty(t, p.sentTo(3, MessageTransferRequest))
		p.runFor(60 * time.Millisecond)
		say()
		require.Len(t, p.sentTo(3, MessageTransferRequest), int(priority)-1)
	}
}

// A server that cannot lead says no priority: one with a hung disk would be handed leadership again and again.
func TestPriorityIsSaidByWhoCouldLead(t *testing.T) {
	for _, need := range []bool{false, true} {
		p := playAlone(t, 3, func(g *Config) { g.Priority = 7 }, nil)
		p.h.node.NeedSnapshot(p.now, need)
		p.says(2, Message{Type: MessageHeartbeatRequest, Term: 1, Round: 1})
		p.runFor(2 * time.Millisecond)
		answers := p.sentTo(2, MessageHeartbeatResponse)
		require.Len(t, answers, 1)
		require.Equal(t, map[bool]uint8{false: 7, true: 0}[need], answers[0].Priority)
	}
}

// Leadership that comes back soon each time is handed over more and more seldom: the preferred server may be one that reaches
// this leader and nobody else.
func TestPreferenceThatIsInVainWaitsLonger(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	n := p.h.node
	base := priorityPatience * n.config.ElectionTimeoutMax
	for round := range priorityVainMax + 2 {
		p.lead(2, 3)
		wait := n.lead.priorityAt - p.now
		require.InDelta(t, base<<min(round, priorityVainMax), wait, float64(20*time.Millisecond))
		for n.lead.transfer == nil {
			p.says(3, Message{Type: MessageHeartbeatResponse, Term: n.hard.Term, Round: n.lead.round, Priority: 1})
			p.runFor(50 * time.Millisecond)
		}
		p.says(3, Message{Type: MessageVoteRequest, Term: n.hard.Term + 1, LastIndex: n.trail.last(), LastTerm: n.hard.Term, Forced: true})
		require.Equal(t, RoleFollower, n.role)
		p.runFor(2 * time.Millisecond)
	}
	p.says(3, Message{Type: MessageHeartbeatRequest, Term: n.hard.Term, Round: 1})
	for end := p.now + 3*n.priorityWait(); p.now < end; p.runFor(100 * time.Millisecond) {
		p.says(3, Message{Type: MessageHeartbeatRequest, Term: n.hard.Term, Round: 1})
	}
	p.lead(2, 3)
	require.InDelta(t, base, n.lead.priorityAt-p.now, float64(20*time.Millisecond), "it led for long: that was no vain attempt")
}

// hung makes the disk of a leader of count servers hang, with a save under way, and lets followers answer.
func hung(p *played, d time.Duration, from ...ServerID) {
	p.h.diskStalled = true
	_, err := p.h.propose(1)
	require.NoError(p.t, err)
	p.h.endTurn()
	p.hears(d, from...)
}

// A leader whose disk hangs hands over to whoever can; if nobody takes it, leadership ends all the same, and is not taken again
// before the disk moves (hashicorp/raft#503). No message of this waits for the disk.
func TestHungStorageHandsLeadershipOver(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	most := p.h.node.config.ElectionTimeoutMax
	hung(p, most+20*time.Millisecond, 2, 3)
	require.True(t, p.h.node.Status().StorageHung)
	require.NotEmpty(t, append(p.sentTo(2, MessageTransferRequest), p.sentTo(3, MessageTransferRequest)...))
	p.hears(most, 2, 3)
	require.Equal(t, RoleFollower, p.h.node.role)
	require.Len(t, p.h.transferEnds, 1)
	require.ErrorIs(t, p.h.transferEnds[0].Err, ErrTransferUnknown)
	require.False(t, p.stands())
	p.runFor(10 * most)
	require.Equal(t, RoleFollower, p.h.node.role)
	p.h.diskStalled = false
	p.h.saved()
	require.True(t, p.stands())
}

// A transfer in vain that is asked for again and again, by a client that repeats it, would keep such a leader for ever.
func TestTransfersThatAreAskedForDoNotKeepALeaderWithAHungDisk(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	n, most := p.h.node, p.h.node.config.ElectionTimeoutMax
	hung(p, 0)
	began := p.now
	for n.role == RoleLeader {
		if err := n.TransferLeadership(p.now, 2); err != nil {
			require.ErrorIs(t, err, ErrTransferOpen)
		}
		p.h.endTurn()
		p.hears(5*time.Millisecond, 2, 3)
		require.Less(t, p.now-began, 3*most)
	}
}

// A disk that is slow is no disk that hangs: each completion counts from anew. Nor is one of a server that was paused.
func TestSlowDiskAndAPauseAreNoHungStorage(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	most := p.h.node.config.ElectionTimeoutMax
	for range 6 {
		hung(p, most-40*time.Millisecond, 2, 3)
		require.False(t, p.h.node.Status().StorageHung)
		_, err := p.h.propose(1) // there is always one under way
		require.NoError(t, err)
		p.h.endTurn()
		p.h.saved()
		p.h.endTurn()
	}
	p.now += 10 * most
	p.h.endTurn()
	require.False(t, p.h.node.Status().StorageHung)
}

// A machine whose disk hangs may be late with every turn, too: one pause excuses the disk, and the next one does not.
func TestHungStorageIsFoundThoughEveryTurnIsLate(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	g := p.h.node.config
	hung(p, 0)
	began := p.now
	late := func() {
		p.now = p.h.node.Deadline() + g.ElectionTimeoutMin/2 + time.Millisecond
		p.h.endTurn()
		for _, id := range []ServerID{2, 3} {
			p.acks(id, p.h.node.trail.last())
		}
		require.Equal(t, RoleLeader, p.h.node.role)
	}
	for !p.h.node.Status().StorageHung {
		late()
		require.Less(t, p.now-began, 3*g.ElectionTimeoutMax)
	}
	require.NotEmpty(t, append(p.sentTo(2, MessageTransferRequest), p.sentTo(3, MessageTransferRequest)...))
}

// A server that is paused again and again, and whose disk moves in between, has no hung disk.
func TestEachPauseIsNoHungStorageWhereSavesCompleteInBetween(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	for range 3 {
		hung(p, 0)
		p.now += 10 * p.h.node.config.ElectionTimeoutMax
		p.h.endTurn()
		require.False(t, p.h.node.Status().StorageHung)
		p.acks(2, p.h.node.trail.last())
		p.h.diskStalled = false
		p.h.saved()
	}
}

// Where nobody else votes it would only be an outage.
func TestOnlyVoterKeepsLeadershipWhileItsStorageHangs(t *testing.T) {
	learner := membersOf(1)
	learner.Learners = []Member{{ID: 2, Store: storeOf(2, 1)}}
	p := apart(t, 1, 1, membershipEntry(1, learner))
	term := p.lead()
	most := p.h.node.config.ElectionTimeoutMax
	hung(p, 3*most, 2)
	require.True(t, p.h.node.Status().StorageHung)
	require.Equal(t, RoleLeader, p.h.node.role)
	require.Equal(t, term, p.h.node.hard.Term)
	require.Nil(t, p.h.node.lead.transfer)
}

// StepDown lets others come first.
func TestStepDownLetsOthersStandFirst(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	require.NoError(t, p.h.node.StepDown(p.now))
	p.h.endTurn()
	require.Equal(t, RoleFollower, p.h.node.role)
	require.GreaterOrEqual(t, p.h.node.Deadline()-p.now, 2*p.h.node.config.ElectionTimeoutMax)
	require.ErrorIs(t, p.h.node.StepDown(p.now), ErrNotLeader)
}

// Where nobody is left who could take over there is nothing to wait for; where one is left it gets its turn.
func TestTransferToTheBestEndsWhenNobodyIsReached(t *testing.T) {
	p := transferring(t, 0)
	first := p.h.node.lead.transfer.to.id
	p.h.node.Unreachable(p.now, first, StoreID{})
	p.h.endTurn()
	require.Empty(t, p.h.transferEnds)
	require.Equal(t, 5-first, p.h.node.lead.transfer.to.id)
	p.h.node.Unreachable(p.now, 5-first, StoreID{})
	p.h.endTurn()
	require.Equal(t, []TransferEnded{{To: 5 - first, Err: ErrTransferTarget}}, p.h.transferEnds)
	require.Equal(t, RoleLeader, p.h.node.role)
	_, err := p.h.propose(1)
	require.NoError(t, err)
}

// A connection that was only made anew is no reason to give up a successor that somebody chose.
func TestTransferToAChosenServerOutlivesItsConnection(t *testing.T) {
	p := transferring(t, 2)
	p.h.node.Unreachable(p.now, 2, StoreID{})
	p.h.endTurn()
	require.Empty(t, p.h.transferEnds)
	p.sentTo(2)
	p.hears(2*p.h.node.config.HeartbeatInterval, 2, 3)
	require.NotEmpty(t, p.sentTo(2, MessageTransferRequest))
}

// The last words of a server come by another connection than those to it, and may be read after that one has failed.
func TestLastWordsOfAServerThatIsGoneMakeItNoSuccessor(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	round := p.h.node.lead.round
	for _, id := range []ServerID{2, 3} {
		p.h.node.Unreachable(p.now, id, StoreID{})
		p.acks(id, p.h.node.trail.last())
	}
	require.Equal(t, round, p.h.node.lead.round)
	require.ErrorIs(t, p.h.node.TransferLeadership(p.now, 0), ErrTransferTarget)
	p.runFor(p.h.node.config.HeartbeatInterval)
	require.Greater(t, p.h.node.lead.round, round)
	p.acks(3, p.h.node.trail.last())
	require.NoError(t, p.h.node.TransferLeadership(p.now, 0), "who answers what was sent later is there")
	require.EqualValues(t, 3, p.h.node.best(nil).member.ID)
}

// Leadership that ends in its own term was given to nobody.
func TestTransferOfALeaderThatIsDeposedByNobodyIsNoSuccess(t *testing.T) {
	p := transferring(t, 2)
	term := p.h.node.hard.Term
	p.runFor(p.h.node.config.ElectionTimeoutMax)
	require.Equal(t, RoleFollower, p.h.node.role)
	require.Equal(t, term, p.h.node.hard.Term)
	require.Equal(t, []TransferEnded{{To: 2, Err: ErrTransferUnknown}}, p.h.transferEnds)

	p = transferring(t, 2)
	require.NoError(t, p.h.node.StepDown(p.now))
	p.h.endTurn()
	require.Equal(t, []TransferEnded{{To: 2, Err: ErrTransferUnknown}}, p.h.transferEnds)
}
