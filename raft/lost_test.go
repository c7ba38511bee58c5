package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// told starts server 1 with three entries and has the leader, 2, tell it that it has lost some.
func told(t *testing.T) *played {
	p := playAlone(t, 3, nil, func(d *disk) {
		d.hard = HardState{Term: 1}
		d.log.put(1, logOf(1, 1, 1))
	})
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 1, Round: 1})
	p.says(2, Message{Type: MessageRefusal, Refusal: RefusalLostLog})
	p.runFor(2 * time.Millisecond) // it is saved
	p.sentTo(2)
	return p
}

// What one leader knew the next one does not: a server that was told of its lost log stands for nothing any more, under
// whoever leads, and after a restart, because it could help to elect a server that never had what was lost.
func TestServerThatWasToldOfItsLostLogCountsForNothingEverAfter(t *testing.T) {
	for _, restart := range []bool{false, true} {
		p := told(t)
		if restart {
			p.h.crash(0)
			p.h.start()
		}
		p.says(3, Message{Type: MessagePreVoteRequest, Term: 5, LastIndex: 9, LastTerm: 4})
		p.says(3, Message{Type: MessageVoteRequest, Term: 5, LastIndex: 9, LastTerm: 4})
		p.runFor(2 * time.Millisecond)
		for _, answer := range p.sentTo(3, MessagePreVoteResponse, MessageVoteResponse) {
			require.True(t, answer.Reject, "%v", answer.Type)
		}
		p.says(3, Message{Type: MessageHeartbeatRequest, Term: 5, Round: 1})
		p.says(3, Message{Type: MessageAppendRequest, Term: 5, PrevIndex: 3, PrevTerm: 1, First: 4, Next: 4, Round: 1})
		p.says(3, Message{Type: MessageTransferRequest, Term: 5, LastIndex: 3, LastTerm: 1})
		p.runFor(2 * time.Millisecond)
		require.Empty(t, p.sentTo(3), "a leader would take that for an acknowledgement")
		require.EqualValues(t, 3, p.h.node.leader.id, "it may still say who leads")
		p.h.timeout()
		require.Equal(t, RoleFollower, p.h.node.role)
		require.Equal(t, RefusalLostLog, p.h.node.Status().Refused.Reason)
	}
}

// Nor does it lead.
func TestLeaderThatIsToldOfItsLostLogStepsDown(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2)
	p.says(3, Message{Type: MessageRefusal, Refusal: RefusalLostLog})
	require.Equal(t, RoleFollower, p.h.node.role)
}

// A store that was put back to an older copy may know nothing of its being a member any more: what it has lost comes first, until it is
// told that it was removed.
func TestLostLogSaysMoreThanItsOwnOldMembership(t *testing.T) {
	p := apart(t, 1, 2, membershipEntry(1, membersOf(1, 2, 3)), membershipEntry(1, membersOf(2, 3)))
	require.Equal(t, RefusalRemoved, p.h.node.Status().Refused.Reason)
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 1, Round: 1})
	p.says(2, Message{Type: MessageRefusal, Refusal: RefusalLostLog})
	require.True(t, p.h.node.hard.Lost)
	require.Equal(t, Refused{By: 2, Reason: RefusalLostLog}, p.h.node.Status().Refused)
	p.saysRemoved(2, 1, 9)
	require.Equal(t, RefusalRemoved, p.h.node.Status().Refused.Reason)
}

// Nobody but a member tells it, and not of a log that it had before its disk was exchanged.
func TestStrangerCondemnsNobody(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	for _, m := range []Message{
		{From: 2, FromStore: storeOf(2, 7)}, {From: 9, FromStore: storeOf(9, 1)}, {From: 2, FromStore: storeOf(2, 1), ToStore: storeOf(1, 7)},
	} {
		m.Type, m.Group, m.To, m.Refusal = MessageRefusal, DefaultGroup, 1, RefusalLostLog
		p.h.step(m)
		p.h.endTurn()
		require.False(t, p.h.node.hard.Lost)
	}
}

// An older copy may know nothing of its leader either, which was added by what it has lost.
func TestLeaderThatTheOldCopyDoesNotKnowIsBelieved(t *testing.T) {
	p := playAlone(t, 3, nil, func(d *disk) {
		d.hard = HardState{Term: 1}
		d.log.put(1, logOf(1, 1, 1))
	})
	refusal := Message{Type: MessageRefusal, Refusal: RefusalLostLog}
	p.says(7, refusal)
	require.False(t, p.h.node.hard.Lost, "a stranger")
	p.says(7, Message{Type: MessageHeartbeatRequest, Term: 2, Round: 1})
	p.says(7, refusal)
	p.runFor(2 * time.Millisecond)
	require.True(t, p.h.node.hard.Lost)
}

// The refusal is for the store that it was said of, in case the disk is exchanged on its way.
func TestLostLogIsSaidToTheStoreThatLostIt(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	p.runFor(p.h.node.config.HeartbeatInterval)
	p.sentTo(2)
	p.says(2, Message{Type: MessageAppendResponse, Term: term, Reject: true, PrevIndex: 1, Round: p.h.node.lead.round})
	refusals := p.sentTo(2, MessageRefusal)
	require.Len(t, refusals, 1)
	require.Equal(t, RefusalLostLog, refusals[0].Refusal)
	require.Equal(t, storeOf(2, 1), refusals[0].ToStore)
}

// A question from before the birth that arrives after it is late. The answer says that a birth was forgotten, which a
// server that remembers it passes over.
func TestLateQuestionForABirthCondemnsNobody(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.says(2, Message{Type: MessageBirthRequest})
	refusals := p.sentTo(2, MessageRefusal)
	require.Len(t, refusals, 1)
	p.says(2, Message{Type: MessageRefusal, Refusal: refusals[0].Refusal})
	require.False(t, p.h.node.hard.Lost)
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 1, Round: 1})
	require.Zero(t, p.h.node.Status().Refused)
}

// A log that has lost its end may have lost the birth with it. Nobody may take part in a second one: here the lowest id neither
// proposes it nor answers for it, whoever asks, and says why.
func TestServerWithALostLogAndNoBirthIsNotBornAgain(t *testing.T) {
	p := playAlone(t, 3, nil, func(d *disk) {
		d.hard, d.birth = HardState{Lost: true}, Birth{}
	})
	require.False(t, p.h.node.born)
	p.runFor(time.Second)
	birth := p.hosts[1].disk.birth
	birth.Complete = false
	p.says(2, Message{Type: MessageBirthRequest})
	p.says(2, Message{Type: MessageBirthRequest, Birth: birth})
	p.says(2, Message{Type: MessageBirthResponse, Birth: birth})
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 3, Round: 1})
	p.runFor(time.Second)
	require.Empty(t, p.sentTo(2))
	require.Empty(t, p.sentTo(3))
	require.True(t, p.h.node.birth.value.IsZero())
	require.Equal(t, Refused{By: 1, Reason: RefusalLostLog}, p.h.node.Status().Refused)
}

// One that has lost everything but its birth has not even a term to tell, and an answer without one no peer takes.
func TestServerWithALostLogAndNoTermKeepsStillInsteadOfRejecting(t *testing.T) {
	p := playAlone(t, 3, nil, func(d *disk) { d.hard = HardState{Lost: true} })
	p.runFor(time.Millisecond)
	p.sentTo(3)
	p.says(3, Message{Type: MessagePreVoteRequest, Term: 2, LastIndex: 1, LastTerm: 1})
	p.runFor(2 * time.Millisecond)
	require.Empty(t, p.sentTo(3, MessagePreVoteResponse))
	p.says(3, Message{Type: MessageVoteRequest, Term: 2, LastIndex: 1, LastTerm: 1}) // this one brings a term
	p.runFor(2 * time.Millisecond)
	require.True(t, p.sentTo(3, MessageVoteResponse)[0].Reject)
}
