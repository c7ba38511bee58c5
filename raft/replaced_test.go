package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Two stores under one id: what one says never counts for the other. Where an id alone counted, a disk that was lost could vote twice
// in one term, and acknowledge what it has not.

// replacing is server 1 whose log replaces the store of server 2, in the joint phase; says speaks for the old one.
func replacing(t *testing.T) *played {
	now := membersOf(1, 2, 3)
	now.Voters[1].Store = storeOf(2, 2)
	joint := Membership{Voters: now.Voters, Outgoing: membersOf(1, 2, 3).Voters, WantedVoters: now.Voters}
	return apart(t, 2, 1, command(1, "a"), membershipEntry(2, joint))
}

func (p *played) saysAnew(m Message) {
	m.Group, m.From, m.To, m.FromStore, m.FromRun = DefaultGroup, 2, 1, storeOf(2, 2), 2
	p.h.step(m)
	p.h.endTurn()
}

// 4.3: the vote of the old store makes no majority of the new half.
func TestVoteOfTheOldStoreDoesNotCountForTheNewOne(t *testing.T) {
	p := replacing(t)
	p.h.timeout()
	p.says(2, Message{Type: MessagePreVoteResponse, Term: 3})
	require.Equal(t, RolePreCandidate, p.h.node.role)
	p.saysAnew(Message{Type: MessagePreVoteResponse, Term: 3})
	require.Equal(t, RoleCandidate, p.h.node.role)
	p.runFor(2 * time.Millisecond)
	p.saysAnew(Message{Type: MessageVoteResponse, Term: 3})
	require.Equal(t, RoleCandidate, p.h.node.role)
	p.says(2, Message{Type: MessageVoteResponse, Term: 3})
	require.Equal(t, RoleLeader, p.h.node.role)
}

// Nor does its acknowledgement, or its answer to a round.
func TestAnswersOfTheOldStoreDoNotCountForTheNewOne(t *testing.T) {
	for _, other := range []bool{false, true} {
		p := replacing(t)
		p.h.timeout()
		for _, t := range []MessageType{MessagePreVoteResponse, MessageVoteResponse} {
			p.says(3, Message{Type: t, Term: 3})
			p.runFor(2 * time.Millisecond)
		}
		require.Equal(t, RoleLeader, p.h.node.role)
		p.runFor(2 * time.Millisecond)
		m := Message{Type: MessageAppendResponse, Term: 3, Match: 3, LastIndex: 3, Round: 1}
		if other {
			p.saysAnew(m)
		} else {
			p.says(2, m)
		}
		require.EqualValues(t, 1, p.h.node.commit)
		require.Zero(t, p.h.node.lead.confirmed)
		if other {
			p.says(2, m)
		} else {
			p.saysAnew(m)
		}
		require.EqualValues(t, 3, p.h.node.commit)
		require.EqualValues(t, 1, p.h.node.lead.confirmed)
	}
}

// 3.4: one vote a term, to an id with its store: given to the id alone it would elect both of them.
func TestVoteIsGivenToAStore(t *testing.T) {
	p := follower(t, 1)
	require.True(t, p.votesFor(2, 2, false))
	for range 2 {
		p.sentTo(2)
		p.saysAnew(Message{Type: MessageVoteRequest, Term: 2, LastIndex: 9, LastTerm: 1})
		p.runFor(2 * time.Millisecond)
		require.Equal(t, storeOf(2, 1), p.h.node.hard.VoteStore)
		p.h.crash(0)
		p.h.start()
	}
	require.True(t, p.votesFor(2, 2, false), "it is given again to whom it was given")
}

// 4.2.1: a newcomer that was quick once and has not ended the next round in time is behind again.
func TestNewcomerHasToStayQuick(t *testing.T) {
	const enough = 300 * time.Millisecond
	p := progress{}
	p.catchUp(10, 0, enough)
	require.False(t, p.caughtUp(0, enough))
	p.match = 10
	p.catchUp(20, 100*time.Millisecond, enough)
	require.True(t, p.caughtUp(100*time.Millisecond, enough))
	require.True(t, p.caughtUp(399*time.Millisecond, enough))
	require.False(t, p.caughtUp(400*time.Millisecond, enough))
	p.match = 20
	p.catchUp(30, 400*time.Millisecond, enough)
	require.False(t, p.caughtUp(400*time.Millisecond, enough), "that round was slow")
	require.Equal(t, 1, p.slow)
	p.match = 30
	p.catchUp(30, 500*time.Millisecond, enough)
	require.True(t, p.caughtUp(500*time.Millisecond, enough))
	require.Zero(t, p.slow, "slow ones in a row count")
}
