package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// One test for each rule of Ongaro's dissertation that one server alone can keep or break. Section numbers stand before
// each. What takes a whole cluster is in testdata/stories and in the invariants.

// follower starts server 1 with a log of these terms, in term term.
func follower(t *testing.T, term Term, terms ...Term) *played {
	return playAlone(t, 3, nil, func(d *disk) {
		d.hard = HardState{Term: term}
		d.log.put(1, logOf(terms...))
	})
}

func (p *played) appends(from ServerID, term Term, prev Index, prevTerm Term, commit Index, entries ...entry) {
	l := logbook{first: prev + 1, base: p.chainBefore(prev + 1)}
	l.put(prev+1, chained(l.base, entries))
	p.says(from, Message{
		Type: MessageAppendRequest, Term: term, PrevIndex: prev, PrevTerm: prevTerm, First: prev + 1, Next: l.next(),
		Blocks: l.blocks(prev+1, l.next()), Commit: commit, Round: 1,
	})
}

func (p *played) chainBefore(i Index) uint64 {
	chain, _ := p.h.log.chainAfter(i - 1)
	return chain
}

func command(term Term, word string) entry {
	return entry{term: term, kind: KindCommand, body: []byte(word)}
}

// 3.3: a server that learns of a newer term takes it over and follows.
func TestNewerTermMakesAnyoneAFollower(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	p.says(2, Message{Type: MessageAppendResponse, Term: term + 4, Reject: true})
	require.Equal(t, RoleFollower, p.h.node.role)
	require.Equal(t, HardState{Term: term + 4}, p.h.node.hard)
}

// 3.3: a request of an older term has no effect, and its sender is told the newer one.
func TestRequestOfAnOlderTermHasNoEffectAndIsAnsweredWithTheNewer(t *testing.T) {
	p := follower(t, 5, 1)
	p.appends(2, 4, 1, 1, 1, command(4, "x"))
	require.EqualValues(t, 2, p.h.node.trail.next)
	require.Zero(t, p.h.node.leader.id)
	answers := p.sentTo(2, MessageAppendResponse)
	require.Len(t, answers, 1)
	require.True(t, answers[0].Reject)
	require.EqualValues(t, 5, answers[0].Term)
	p.says(3, Message{Type: MessageVoteRequest, Term: 4, LastIndex: 9, LastTerm: 4})
	votes := p.sentTo(3, MessageVoteResponse)
	require.Len(t, votes, 1)
	require.True(t, votes[0].Reject)
	require.EqualValues(t, 5, votes[0].Term)
}

// 3.4: election timeouts are random, in a fixed interval, and another one each time.
func TestElectionTimeoutsAreRandomInTheirInterval(t *testing.T) {
	p := follower(t, 1)
	c := p.h.node.config
	seen := map[time.Duration]bool{}
	for range 200 {
		p.h.node.restartElectionTimer(p.now)
		d := p.h.node.election.at - p.now
		require.GreaterOrEqual(t, d, c.ElectionTimeoutMin)
		require.Less(t, d, c.ElectionTimeoutMax)
		seen[d] = true
	}
	require.Greater(t, len(seen), 190)
}

// 3.4: one vote a term, to whom asked first; the same candidate is granted it again when its answer was lost (nebula#2419).
func TestOneVoteATermToTheFirstAndToItAgain(t *testing.T) {
	p := follower(t, 1)
	ask := func(from ServerID) bool {
		p.says(from, Message{Type: MessageVoteRequest, Term: 2})
		p.runFor(2 * time.Millisecond)
		votes := p.sentTo(from, MessageVoteResponse)
		require.Len(t, votes, 1)
		return !votes[0].Reject
	}
	require.True(t, ask(2))
	require.False(t, ask(3))
	require.True(t, ask(2))
	p.h.crash(0)
	p.h.start()
	require.False(t, ask(3), "over the whole life, not over one run")
	require.True(t, ask(2))
}

// 3.4: a candidate that hears the leader of its own term follows it; one of an older term does not impress it.
func TestCandidateFollowsTheLeaderOfItsTerm(t *testing.T) {
	p := follower(t, 1)
	p.h.timeout()
	p.says(2, Message{Type: MessagePreVoteResponse, Term: 2})
	require.Equal(t, RoleCandidate, p.h.node.role)
	p.says(3, Message{Type: MessageHeartbeatRequest, Term: 1, Round: 1})
	require.Equal(t, RoleCandidate, p.h.node.role)
	p.says(3, Message{Type: MessageHeartbeatRequest, Term: 2, Round: 1})
	require.Equal(t, RoleFollower, p.h.node.role)
	require.EqualValues(t, 3, p.h.node.leader.id)
}

// 3.4: a leader sends heartbeats at once, and then in each interval.
func TestNewLeaderSpeaksAtOnce(t *testing.T) {
	p := follower(t, 1)
	p.lead(2)
	require.Len(t, p.sentTo(3, MessageHeartbeatRequest), 1)
	p.runFor(p.h.node.config.HeartbeatInterval + time.Millisecond)
	require.Len(t, p.sentTo(3, MessageHeartbeatRequest), 1)
}

// 3.5: an append is refused where the entry before it is not there, or of another term.
func TestAppendIsRefusedWhereThePreviousEntryDiffers(t *testing.T) {
	p := follower(t, 3, 1, 1, 2)
	p.appends(2, 3, 4, 3, 0)
	p.appends(2, 3, 3, 3, 0)
	answers := p.sentTo(2, MessageAppendResponse)
	require.Len(t, answers, 2)
	require.True(t, answers[0].Reject)
	require.EqualValues(t, 3, answers[0].HintIndex)
	require.True(t, answers[1].Reject)
	require.EqualValues(t, 3, answers[1].PrevIndex)
	p.appends(2, 3, 3, 2, 0)
	p.runFor(2 * time.Millisecond)
	answers = p.sentTo(2, MessageAppendResponse)
	require.Len(t, answers, 1)
	require.EqualValues(t, 3, answers[0].Match)
}

// 3.5: an entry that conflicts goes, with all that follows it (mofa#1151), and only then.
func TestConflictCutsTheWholeTailAndAMatchNothing(t *testing.T) {
	p := follower(t, 3, 1, 1, 2, 2)
	p.appends(2, 3, 1, 1, 0, command(1, "\x01"))
	require.EqualValues(t, 5, p.h.node.trail.next, "what matches cuts nothing off")
	p.appends(2, 3, 2, 1, 0, command(3, "c"))
	require.EqualValues(t, 4, p.h.node.trail.next)
	require.EqualValues(t, 3, p.h.node.trail.lastTerm())
}

// 3.5: the follower's commit index is the leader's, cut to what the message verified.
func TestFollowersCommitStopsAtWhatTheMessageVerified(t *testing.T) {
	p := follower(t, 3, 1, 1, 2, 2)
	p.appends(2, 3, 1, 1, 4, command(1, "\x01"))
	require.EqualValues(t, 2, p.h.node.commit)
}

// 3.6.1: no vote for a candidate whose log is behind: by term first, then by length.
func TestNoVoteForALogThatIsBehind(t *testing.T) {
	for _, c := range []struct {
		index   Index
		term    Term
		granted bool
	}{{3, 2, true}, {2, 2, false}, {4, 2, true}, {9, 1, false}, {1, 3, true}} {
		p := follower(t, 3, 1, 1, 2)
		p.says(2, Message{Type: MessageVoteRequest, Term: 4, LastIndex: c.index, LastTerm: c.term})
		p.says(3, Message{Type: MessagePreVoteRequest, Term: 5, LastIndex: c.index, LastTerm: c.term})
		p.runFor(2 * time.Millisecond)
		require.Equal(t, c.granted, !p.sentTo(2, MessageVoteResponse)[0].Reject, "%+v", c)
		require.Equal(t, c.granted, !p.sentTo(3, MessagePreVoteResponse)[0].Reject, "%+v", c)
		require.EqualValues(t, 4, p.h.node.hard.Term, "the term is taken over all the same")
	}
}

// 3.6.2: replicas of an entry of an older term are not counted; one of the own term commits all before it.
func TestLeaderNeverCommitsOlderTermByCount(t *testing.T) {
	p := follower(t, 3, 1, 2)
	term := p.lead(2)
	require.EqualValues(t, 3, p.h.node.commit)

	p = follower(t, 3, 1, 2)
	p.h.timeout()
	p.says(2, Message{Type: MessagePreVoteResponse, Term: 4})
	p.runFor(2 * time.Millisecond)
	p.says(2, Message{Type: MessageVoteResponse, Term: 4})
	p.runFor(2 * time.Millisecond)
	p.acks(2, 2)
	p.acks(3, 2)
	require.Zero(t, p.h.node.commit)
	p.acks(3, 3)
	require.EqualValues(t, 3, p.h.node.commit)
	require.EqualValues(t, 4, term)
}

// 3.8: a vote and a match leave when they are durable, heartbeats' answers when the term is.
func TestAnswersWaitForTheDisk(t *testing.T) {
	p := follower(t, 1)
	p.h.diskStalled = true
	p.says(2, Message{Type: MessageVoteRequest, Term: 2})
	p.says(3, Message{Type: MessageHeartbeatRequest, Term: 3, Round: 1})
	p.appends(3, 3, 0, 0, 0, command(3, "x"))
	p.says(3, Message{Type: MessageHeartbeatRequest, Term: 3, Round: 2})
	p.runFor(50 * time.Millisecond)
	require.Empty(t, p.sentTo(2))
	require.Empty(t, p.sentTo(3))
	p.h.saved() // term 2 and the vote
	require.Len(t, p.sentTo(2, MessageVoteResponse), 1)
	require.Empty(t, p.sentTo(3))
	p.h.saved() // term 3
	answers := p.sentTo(3)
	require.Len(t, answers, 2, "the heartbeats' answers do not wait for the entry")
	require.Equal(t, MessageHeartbeatResponse, answers[1].Type)
	p.h.saved()
	require.Len(t, p.sentTo(3, MessageAppendResponse), 1)
}

// 3.8: a repeated append is not acknowledged while its entries are still on their way to the disk.
func TestRepeatedAppendIsNotAcknowledgedBeforeTheFirstOneIsSaved(t *testing.T) {
	p := follower(t, 3)
	p.h.diskStalled = true
	p.appends(3, 3, 0, 0, 0, command(3, "x"))
	p.appends(3, 3, 0, 0, 0, command(3, "x"))
	require.Empty(t, p.sentTo(3))
	p.h.saved()
	require.Len(t, p.sentTo(3, MessageAppendResponse), 2)
}

// 3.9: an idle leader has to be heard several times in an election timeout.
func TestHeartbeatMustBeAtMostAThirdOfTheElectionTimeout(t *testing.T) {
	c := Config{Group: 1, ID: 1, Store: storeOf(1, 1), ElectionTimeoutMin: 300 * time.Millisecond, HeartbeatInterval: 101 * time.Millisecond}
	require.Error(t, c.Validate())
	c.HeartbeatInterval = 100 * time.Millisecond
	require.NoError(t, c.Validate())
}

// 3.10: who is told to take over campaigns at once, with requests that voters grant although they hear a leader.
func TestTransferCampaignsAtOnceAndVotersGrantIt(t *testing.T) {
	p := follower(t, 3, 1)
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 3, Round: 2, Confirmed: 1})
	p.says(2, Message{Type: MessageTransferRequest, Term: 3, LastIndex: 1, LastTerm: 1})
	require.Equal(t, RoleCandidate, p.h.node.role)
	require.EqualValues(t, 4, p.h.node.hard.Term)
	p.runFor(2 * time.Millisecond)
	requests := p.sentTo(3, MessageVoteRequest)
	require.Len(t, requests, 1)
	require.True(t, requests[0].Forced)

	voter := follower(t, 3, 1)
	voter.says(2, Message{Type: MessageHeartbeatRequest, Term: 3, Round: 2, Confirmed: 1})
	voter.says(3, Message{Type: MessageVoteRequest, Term: 4, LastIndex: 1, LastTerm: 1})
	require.EqualValues(t, 3, voter.h.node.hard.Term, "without the mark not even the term moves")
	voter.says(3, Message{Type: MessageVoteRequest, Term: 4, LastIndex: 1, LastTerm: 1, Forced: true})
	require.Equal(t, HardState{Term: 4, Vote: 3, VoteStore: storeOf(3, 1)}, voter.h.node.hard)
}

// 3.10: a transfer dies with its term, with another sender and with a log that is shorter than the leader's was.
func TestTransferThatIsOverOrCannotBeFollowedHasNoEffect(t *testing.T) {
	for name, m := range map[string]Message{
		"an older term":   {From: 2, Term: 2, LastIndex: 1},
		"not the leader":  {From: 3, Term: 3, LastIndex: 1},
		"a longer log":    {From: 2, Term: 3, LastIndex: 2},
		"term that comes": {From: 2, Term: 4, LastIndex: 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := follower(t, 3, 1)
			p.says(2, Message{Type: MessageHeartbeatRequest, Term: 3, Round: 1})
			m.Type = MessageTransferRequest
			p.says(m.From, m)
			require.Equal(t, RoleFollower, p.h.node.role)
			require.EqualValues(t, 3, p.h.node.hard.Term)
		})
	}
}

// 4.1: a membership is in force from its append on, and no longer than it stands in the log.
func TestMembershipIsInForceFromItsAppendToItsTruncation(t *testing.T) {
	p := follower(t, 3, 1)
	before := p.h.node.membership()
	change := entry{term: 3, kind: KindMembership, body: []byte("1@1,2@1//3@1")}
	p.appends(2, 3, 1, 1, 0, change)
	require.False(t, p.h.node.membership().IsVoter(3, storeOf(3, 1)))
	require.EqualValues(t, 2, p.h.node.memberships[1].Index)
	p.appends(3, 4, 1, 1, 0, command(4, "x"))
	require.True(t, p.h.node.membership().Equal(before))
}

// 4.2.1: a learner does not stand for election, whatever it hears or does not hear.
func TestLearnerNeverCampaigns(t *testing.T) {
	p := follower(t, 3, 1)
	change := entry{term: 3, kind: KindMembership, body: []byte("2@1,3@1//1@1")}
	p.appends(2, 3, 1, 1, 0, change)
	require.NotEqual(t, Never, p.h.node.Deadline(), "it may be the only one that can bring the change to its end (4.2.2)")
	p.appends(2, 3, 1, 1, 2, change)
	require.EqualValues(t, 2, p.h.node.commit)
	require.NotEqual(t, Never, p.h.node.Deadline(), "it asks, for it may have been removed")
	p.h.timeout()
	require.Equal(t, RoleFollower, p.h.node.role)
	require.EqualValues(t, 3, p.h.node.hard.Term)
	// It is told to take over and knows already that it may not: the membership counts from its append on (raft-rs#221).
	p.says(2, Message{Type: MessageTransferRequest, Term: 3, LastIndex: 2, LastTerm: 3})
	require.Equal(t, RoleFollower, p.h.node.role)
	// Who asks it for a vote may know better: the right to vote is the candidate's to judge (etcd pull request 10998).
	p.says(3, Message{Type: MessageVoteRequest, Term: 4, LastIndex: 2, LastTerm: 3})
	require.Equal(t, HardState{Term: 4, Vote: 3, VoteStore: storeOf(3, 1)}, p.h.node.hard)
}

// 4.2.3: a server that was removed and does not know it cannot raise the terms of those who hear a leader, nor can its
// answers raise anyone's.
func TestRemovedServerDisturbsNobody(t *testing.T) {
	p := playAlone(t, 4, nil, func(d *disk) {
		d.hard = HardState{Term: 1}
		d.log.put(1, chained(0, []entry{{term: 1, kind: KindMembership, body: []byte("1@1,2@1,3@1//")}}))
	})
	term := p.lead(2, 3)
	p.acks(2, 2)
	require.True(t, p.h.node.hasAuthority(p.now))
	p.says(4, Message{Type: MessagePreVoteRequest, Term: term + 1, LastIndex: 9, LastTerm: term})
	p.says(4, Message{Type: MessageVoteRequest, Term: term + 1, LastIndex: 9, LastTerm: term})
	p.says(4, Message{Type: MessageAppendResponse, Term: term + 7, Reject: true})
	p.says(4, Message{Type: MessagePreVoteResponse, Term: term + 7, Reject: true})
	require.Equal(t, RoleLeader, p.h.node.role)
	require.Equal(t, term, p.h.node.hard.Term)
}

// 4.3: in joint consensus an election and a commit take a majority of each half.
func TestJointMembershipDecidesByBothMajorities(t *testing.T) {
	p := playAlone(t, 5, nil, func(d *disk) {
		d.hard = HardState{Term: 1}
		d.log.put(1, chained(0, []entry{{term: 1, kind: KindMembership, body: []byte("1@1,4@1,5@1/1@1,2@1,3@1/")}}))
	})
	p.h.timeout()
	p.says(2, Message{Type: MessagePreVoteResponse, Term: 2})
	p.says(3, Message{Type: MessagePreVoteResponse, Term: 2})
	require.Equal(t, RolePreCandidate, p.h.node.role, "the old half alone decides nothing")
	p.says(4, Message{Type: MessagePreVoteResponse, Term: 2})
	require.Equal(t, RoleCandidate, p.h.node.role)
	p.runFor(2 * time.Millisecond)
	p.says(4, Message{Type: MessageVoteResponse, Term: 2})
	p.says(5, Message{Type: MessageVoteResponse, Term: 2})
	require.Equal(t, RoleCandidate, p.h.node.role, "nor does the new one")
	p.says(2, Message{Type: MessageVoteResponse, Term: 2})
	require.Equal(t, RoleLeader, p.h.node.role)
	p.runFor(2 * time.Millisecond)
	p.acks(4, 2)
	p.acks(5, 2)
	require.Zero(t, p.h.node.commit)
	p.acks(3, 2)
	require.EqualValues(t, 2, p.h.node.commit)
}

// 6.2: a leader that no quorum answers for an election timeout steps down.
func TestLeaderWithoutAQuorumStepsDownInAnElectionTimeout(t *testing.T) {
	p := follower(t, 1)
	p.lead(2, 3)
	p.runFor(p.h.node.config.ElectionTimeoutMax + time.Millisecond)
	require.NotEqual(t, RoleLeader, p.h.node.role)
}

// 6.4: a read is decided by a round that began after it, never by one that was on its way.
func TestReadIsNotDecidedByARoundThatBeganBeforeIt(t *testing.T) {
	p := follower(t, 1)
	term := p.lead(2, 3)
	require.NoError(t, p.h.read(1))
	p.h.endTurn()
	first := p.h.node.lead.round
	require.NoError(t, p.h.read(2))
	p.h.endTurn()
	p.says(2, Message{Type: MessageHeartbeatResponse, Term: term, Round: first})
	require.Len(t, p.h.reads, 1)
	require.EqualValues(t, 1, p.h.reads[0].ID)
	require.Equal(t, first+1, p.h.node.lead.round, "those that came meanwhile share the next one")
	p.says(2, Message{Type: MessageHeartbeatResponse, Term: term, Round: first})
	require.Len(t, p.h.reads, 1, "the same answer again proves nothing new")
	p.says(3, Message{Type: MessageHeartbeatResponse, Term: term, Round: first + 1})
	require.Len(t, p.h.reads, 2)
}

// 6.4: a round counts when it was sent in this term: an answer to one that is yet to come proves nothing.
func TestAnswerToARoundThatWasNotSentProvesNothing(t *testing.T) {
	p := follower(t, 1)
	term := p.lead(2, 3)
	p.says(2, Message{Type: MessageHeartbeatResponse, Term: term, Round: p.h.node.lead.round + 1})
	require.NoError(t, p.h.read(1))
	p.h.endTurn()
	require.Empty(t, p.h.reads)
}

// 6.4: a leader serves no read before an entry of its own term is committed.
func TestReadWaitsForAnEntryOfTheLeadersOwnTerm(t *testing.T) {
	p := follower(t, 1, 1)
	p.h.timeout()
	p.says(2, Message{Type: MessagePreVoteResponse, Term: 2})
	p.runFor(2 * time.Millisecond)
	p.says(2, Message{Type: MessageVoteResponse, Term: 2})
	require.NoError(t, p.h.read(1))
	p.h.endTurn()
	p.says(2, Message{Type: MessageHeartbeatResponse, Term: 2, Round: p.h.node.lead.round})
	require.Empty(t, p.h.reads)
	p.runFor(2 * time.Millisecond)
	p.acks(2, 2)
	require.Empty(t, p.h.reads, "the round that confirms it begins now")
	p.acks(2, 2)
	require.Len(t, p.h.reads, 1)
	require.EqualValues(t, 2, p.h.reads[0].Index)
}

// 9.6: asking for pre-votes, giving them and being denied touches neither term nor vote (canonical/raft#196).
func TestPreVoteTouchesNeitherTermNorVote(t *testing.T) {
	p := playAlone(t, 3, nil, func(d *disk) { d.hard = HardState{Term: 3, Vote: 2} })
	was := p.h.node.hard
	p.h.timeout()
	p.says(3, Message{Type: MessagePreVoteRequest, Term: 4})
	p.says(2, Message{Type: MessagePreVoteRequest, Term: 9})
	p.says(2, Message{Type: MessagePreVoteResponse, Term: 3, Reject: true})
	require.Equal(t, was, p.h.node.hard)
	require.Len(t, p.sentTo(3, MessagePreVoteResponse), 1)
	// A granted pre-vote is no vote.
	p.h.timeout()
	p.says(3, Message{Type: MessagePreVoteResponse, Term: 4})
	require.Equal(t, RoleCandidate, p.h.node.role)
	p.runFor(2 * time.Millisecond)
	p.says(3, Message{Type: MessagePreVoteResponse, Term: 4})
	require.Equal(t, RoleCandidate, p.h.node.role)
}

// 9.6: no pre-vote while a leader is heard that has its quorum; a leader that only sends is none (openraft#2080).
func TestPreVoteIsDeniedOnlyWhileALeaderProvesItsQuorum(t *testing.T) {
	p := follower(t, 3)
	asked := func() bool {
		p.says(3, Message{Type: MessagePreVoteRequest, Term: 4})
		return !p.sentTo(3, MessagePreVoteResponse)[0].Reject
	}
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 3, Round: 5, Confirmed: 4})
	require.False(t, asked())
	for range 6 {
		p.runFor(p.h.node.config.HeartbeatInterval)
		p.says(2, Message{Type: MessageHeartbeatRequest, Term: 3, Round: 6, Confirmed: 4})
	}
	require.True(t, asked(), "nobody has answered that leader for an election timeout")
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 3, Round: 7, Confirmed: 6})
	require.False(t, asked())
}

// 10.2.1: the leader sends before its own disk has the entries, and does not count itself before that.
func TestLeaderSendsBesideItsDiskAndCountsItselfAfterIt(t *testing.T) {
	p := follower(t, 1)
	p.lead(2, 3)
	p.h.diskStalled = true
	p.sentTo(2)
	_, err := p.h.propose(1)
	require.NoError(t, err)
	p.h.endTurn()
	require.Len(t, p.sentTo(2, MessageAppendRequest), 1)
	p.acks(2, 2)
	require.EqualValues(t, 1, p.h.node.commit)
	p.acks(3, 2)
	require.EqualValues(t, 2, p.h.node.commit, "the two others are a majority")
}

// 3.8: a candidate's own vote counts when it is durable, not when an earlier save is.
func TestOwnVoteCountsWhenItIsSavedAndNotSooner(t *testing.T) {
	p := follower(t, 3)
	p.h.diskStalled = true
	p.appends(3, 3, 0, 0, 0, command(3, "x"))
	p.h.timeout()
	p.says(2, Message{Type: MessagePreVoteResponse, Term: 4})
	require.Equal(t, RoleCandidate, p.h.node.role)
	p.h.saved() // the entry
	p.h.endTurn()
	require.Empty(t, p.h.node.election.votes)
	p.h.saved() // the vote
	p.h.endTurn()
	require.True(t, p.h.node.election.said(Member{ID: 1, Store: storeOf(1, 1)}, true))
}

// A store is born into a group once: another membership, other stores or other limits are refused, before and after.
func TestSecondBirthIsRefused(t *testing.T) {
	for _, complete := range []bool{false, true} {
		p := playAlone(t, 3, nil, func(d *disk) { d.birth.Complete = complete })
		p.sentTo(2)
		other := p.h.disk.birth
		other.Limits.SessionsMax = 7
		p.says(2, Message{Type: MessageBirthRequest, Birth: other})
		refusals := p.sentTo(2)
		require.Len(t, refusals, 1)
		require.Equal(t, MessageRefusal, refusals[0].Type)
		require.Equal(t, RefusalBorn, refusals[0].Refusal)
		require.Zero(t, p.h.node.birth.value.Limits)
		other.Limits = GroupLimits{}
		p.says(2, Message{Type: MessageBirthRequest, Birth: other})
		answers := p.sentTo(2)
		require.NotEmpty(t, answers)
		require.Equal(t, MessageBirthResponse, answers[0].Type)
	}
}

// A group is born when every founder has answered, not a majority; then the answers to anyone complete it.
func TestGroupIsBornWhenEveryFounderHasAnswered(t *testing.T) {
	p := playAlone(t, 3, nil, func(d *disk) { d.birth.Complete = false })
	birth := p.h.disk.birth
	p.says(2, Message{Type: MessageBirthResponse, Birth: birth})
	require.False(t, p.h.node.born)
	p.says(2, Message{Type: MessageBirthResponse, Birth: birth})
	p.h.timeout()
	require.Equal(t, RoleFollower, p.h.node.role)
	p.says(3, Message{Type: MessageBirthResponse, Birth: birth})
	require.True(t, p.h.node.born)
}

// A server whose store is not the one that its id is bound to is a stranger: it is told so, and nothing else happens,
// whatever it says (dragonboat#256: a wiped voter must not help to elect an empty history).
func TestStrangersWordHasNoEffect(t *testing.T) {
	for mt := MessagePreVoteRequest; mt <= MessageTransferRequest; mt++ {
		if mt == MessageRefusal {
			continue
		}
		p := playAlone(t, 3, nil, nil)
		term := p.lead(3)
		p.sentTo(2)
		p.host(2).disk.store = storeOf(2, 2)
		was := p.h.node.Status()
		m := Message{
			Type: mt, Group: DefaultGroup, From: 2, To: 1, FromStore: storeOf(2, 2), Term: term + 3, Forced: true, Match: 1, LastIndex: 9,
			LastTerm: 9, Round: 1, First: 1, Next: 1,
			Snapshot: SnapshotMeta{Group: DefaultGroup, Index: 9, Term: 1, Membership: p.h.disk.birth.Membership},
		}
		p.h.step(m)
		p.h.endTurn()
		require.Equal(t, was, p.h.node.Status(), "%s", mt)
		answers := p.sentTo(2)
		require.Len(t, answers, 1, "%s", mt)
		require.Equal(t, RefusalStranger, answers[0].Refusal)
		require.Equal(t, storeOf(2, 2), answers[0].ToStore, "it is for the store that asked")
	}
}

// 3.6: leadership begins with nothing known of anybody: what a follower's log holds counts when it has said so
// (Truxify#10682), even where it voted for this leader a moment ago.
func TestNewLeaderCountsNobodyWhoHasNotAnswered(t *testing.T) {
	p := follower(t, 3, 1, 2)
	p.h.timeout()
	p.says(2, Message{Type: MessagePreVoteResponse, Term: 4})
	p.runFor(2 * time.Millisecond)
	p.says(2, Message{Type: MessageVoteResponse, Term: 4})
	p.runFor(2 * time.Millisecond)
	require.EqualValues(t, 4, p.h.node.saves.durable, "its own no-op is saved")
	for _, of := range p.h.node.lead.progress {
		require.Zero(t, of.match)
	}
	require.Zero(t, p.h.node.commit)
	p.says(2, Message{Type: MessageHeartbeatResponse, Term: 4, Round: p.h.node.lead.round, LastIndex: 2, LastTerm: 2})
	require.Zero(t, p.h.node.commit, "that it lives says nothing of its log")
	p.acks(2, 3)
	require.EqualValues(t, 3, p.h.node.commit)
}
