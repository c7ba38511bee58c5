package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A server that was removed while it was down must learn it, or it campaigns for ever (canonical/raft#137); and one that
// was just added must not be sent away by a peer that does not know it yet.

func membersOf(ids ...ServerID) Membership {
	m := Membership{}
	for _, id := range ids {
		m.Voters = append(m.Voters, Member{ID: id, Store: storeOf(id, 1)})
	}
	return m
}

func membershipEntry(term Term, m Membership) entry {
	return entry{term: term, kind: KindMembership, body: encodeMembership(m)}
}

// apart is server 1 of three that follows nobody, with this log.
func apart(t *testing.T, term Term, commit Index, entries ...entry) *played {
	return playAlone(t, 3, nil, func(d *disk) {
		d.hard, d.commit = HardState{Term: term}, commit
		d.log.put(1, chained(0, entries))
	})
}

func (p *played) saysRemoved(from ServerID, term Term, index Index) {
	p.says(from, Message{Type: MessageRefusal, Refusal: RefusalRemoved, LastTerm: term, LastIndex: index})
}

func (p *played) stands() bool {
	p.h.timeout()
	return p.h.node.role != RoleFollower
}

// Whoever is told stands for no election, says so, goes on to vote, and asks no more.
func TestServerThatIsToldOfItsRemovalStandsNoMore(t *testing.T) {
	p := apart(t, 1, 1, command(1, "a"))
	require.True(t, p.stands())
	p.saysRemoved(2, 1, 2)
	require.Equal(t, RoleFollower, p.h.node.role)
	require.False(t, p.stands())
	require.Equal(t, RefusalRemoved, p.h.node.Status().Refused.Reason)
	p.says(3, Message{Type: MessageRefusal, Refusal: RefusalUnborn})
	require.Equal(t, RefusalRemoved, p.h.node.Status().Refused.Reason, "a newcomer that knows nothing says nothing of that")
	p.h.step(Message{Type: MessageRefusal, Refusal: RefusalLostLog, Group: DefaultGroup, From: 4, FromStore: storeOf(4, 1), To: 1, Term: 1})
	p.h.endTurn()
	require.Equal(t, RefusalRemoved, p.h.node.Status().Refused.Reason, "what it has lost makes no difference")
	p.sentTo(3)
	require.Equal(t, Never, p.h.node.Deadline())
	require.True(t, p.votesFor(3, 2, false), "4.2.3: the others may need its vote to bring the change to its end")
}

// Marks are compared by term first. A peer that knows a higher index of an older term, in entries that were never committed, say,
// or that lags behind the addition of this server, is not believed.
func TestRemovalIsBelievedOnlyIfItIsNewerThanTheOwnMembership(t *testing.T) {
	for _, c := range []struct {
		name  string
		term  Term
		index Index
		ok    bool
	}{
		{"an older entry", 2, 1, false},
		{"the own one", 3, 2, false},
		{"a higher index of an older term", 2, 9, false},
		{"a later entry", 3, 3, true},
		{"a newer term", 4, 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := apart(t, 4, 1, command(2, "a"), membershipEntry(3, membersOf(1, 2, 3)))
			p.saysRemoved(2, c.term, c.index)
			require.Equal(t, !c.ok, p.stands())
		})
	}
}

// The own membership's term is compacted away: the snapshot's stands for it, and the order stays that of the entries.
func TestMarksStayInOrderWhenTheLogIsCompacted(t *testing.T) {
	p := playAlone(t, 3, nil, func(d *disk) {
		d.hard, d.commit = HardState{Term: 5}, 4
		d.log.put(1, chained(0, []entry{command(2, "a"), membershipEntry(2, membersOf(1, 2, 3)), command(3, "b"), command(3, "c")}))
		e, _ := d.log.at(4)
		d.snapshot = SnapshotMeta{Group: DefaultGroup, Index: 4, Term: 3, Chain: e.chain, Membership: membersOf(1, 2, 3), MembershipIndex: 2, Size: 1}
		d.log.compact(4)
	})
	require.Equal(t, Mark{Term: 3, Index: 2}, p.h.node.mark(p.h.node.memberships[0]))
	p.saysRemoved(2, 2, 1)
	require.True(t, p.stands(), "that is from before its addition")
	p.saysRemoved(2, 3, 5)
	require.False(t, p.stands(), "a membership after the snapshot has a later index, if it is of the snapshot's term")
}

// A leader is told by its quorum, and by nobody else.
func TestLeaderIsNotSentAway(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	p.saysRemoved(2, 9, 9)
	require.Equal(t, RoleLeader, p.h.node.role)
	require.False(t, p.h.node.toldRemoved())
}

// asksPreVote lets somebody ask for a pre-vote and returns what it is told of its removal.
func (p *played) asksPreVote(from ServerID, life int) []Message {
	p.h.step(Message{
		Type: MessagePreVoteRequest, Group: DefaultGroup, From: from, FromStore: storeOf(from, life), To: 1, Term: 9, LastIndex: 1, LastTerm: 1,
	})
	p.h.endTurn()
	return p.sentTo(from, MessageRefusal)
}

// Only what is committed is told, and only to those who are not in it: by id and store.
func TestRemovalIsToldOnceItIsCommitted(t *testing.T) {
	for _, commit := range []Index{1, 2} {
		p := apart(t, 2, commit, command(1, "a"), membershipEntry(2, membersOf(1, 2)))
		told := p.asksPreVote(3, 1)
		require.Empty(t, p.asksPreVote(2, 1), "it is a member")
		if commit < 2 {
			require.Empty(t, told, "the entry may be cut off, and the server be a member again")
			continue
		}
		require.Len(t, told, 1)
		require.Equal(t, RefusalRemoved, told[0].Refusal)
		require.Equal(t, Mark{Term: 2, Index: 2}, Mark{Term: told[0].LastTerm, Index: told[0].LastIndex})
		require.Equal(t, storeOf(3, 1), told[0].ToStore)
	}
}

// What comes after a committed membership may be cut off. Who is in neither is told of the committed one.
func TestRemovalIsToldAlthoughALaterMembershipIsNotCommitted(t *testing.T) {
	p := apart(t, 3, 2, command(1, "a"), membershipEntry(2, membersOf(1, 2, 4)), membershipEntry(3, membersOf(1, 2, 5)))
	told := p.asksPreVote(3, 1)
	require.Len(t, told, 1)
	require.Equal(t, Mark{Term: 2, Index: 2}, Mark{Term: told[0].LastTerm, Index: told[0].LastIndex})
	require.Empty(t, p.asksPreVote(4, 1), "the one that is committed has it")
	require.Empty(t, p.asksPreVote(5, 1), "it may have been added")
}

// Two left together, and one of them is told by the only member that is left, which the other one has never heard of. It was told of an entry that
// it has, so that it may tell the other one, although no leader has told it what is committed.
func TestWhoWasToldOfItsRemovalTellsOthersThatLeft(t *testing.T) {
	for told, want := range map[Mark]int{{Term: 2, Index: 2}: 1, {Term: 3, Index: 2}: 0, {Term: 3, Index: 9}: 0} {
		p := apart(t, 2, 1, command(1, "a"), membershipEntry(2, membersOf(2)))
		require.Empty(t, p.asksPreVote(3, 1))
		p.saysRemoved(2, told.Term, told.Index)
		require.Len(t, p.asksPreVote(3, 1), want, "%+v", told)
	}
}

// The old copy of a server that was replaced comes back: its id is a member's, and it is told all the same.
func TestOldCopyOfAReplacedServerIsTold(t *testing.T) {
	m := membersOf(1, 2, 3)
	m.Voters[2].Store = storeOf(3, 2)
	p := apart(t, 2, 2, command(1, "a"), membershipEntry(2, m))
	p.hosts[2].disk.store = storeOf(3, 1)
	told := p.asksPreVote(3, 1)
	require.Len(t, told, 1)
	require.Equal(t, storeOf(3, 1), told[0].ToStore)
}

// A membership with it makes it a member again, if that is not an older one; and the truncation of that one leaves it to be told anew.
func TestServerThatIsAddedAgainIsBack(t *testing.T) {
	p := apart(t, 4, 1, command(1, "a"))
	p.saysRemoved(2, 3, 7)
	require.False(t, p.stands())
	p.appends(2, 5, 1, 1, 1, membershipEntry(2, membersOf(1, 2, 3)))
	require.True(t, p.h.node.toldRemoved(), "that is older than what it was told of")
	p.appends(2, 5, 1, 1, 1, membershipEntry(5, membersOf(1, 2, 3)))
	require.False(t, p.h.node.toldRemoved())
	require.True(t, p.stands())
	require.Zero(t, p.h.node.Status().Refused)
}

// A snapshot may bring that membership, and the entry's term with it only as the snapshot's.
func TestSnapshotMakesAServerAMemberAgain(t *testing.T) {
	p := apart(t, 5, 1, command(1, "a"))
	p.saysRemoved(2, 3, 7)
	require.True(t, p.h.node.toldRemoved())
	meta := SnapshotMeta{
		Group: DefaultGroup, Index: 20, Term: 5, Chain: 1, Membership: membersOf(1, 2, 3), MembershipIndex: 9, Size: 1,
	}
	p.h.bound = 20
	require.True(t, p.h.node.Installed(p.now, meta))
	p.h.endTurn()
	require.False(t, p.h.node.toldRemoved())
}

// 4.2.2: who has the entry that removes it, and does not know it committed, may be the only one that can bring it to its end
// (openraft#2091).
func TestServerThatItsOwnLogRemovesStandsUntilThatIsCommitted(t *testing.T) {
	for _, commit := range []Index{1, 2} {
		p := apart(t, 2, commit, command(1, "a"), membershipEntry(2, membersOf(2, 3)))
		require.Equal(t, commit < 2, p.stands())
		if commit < 2 {
			p.says(2, Message{Type: MessagePreVoteResponse, Term: 3})
			require.Equal(t, RolePreCandidate, p.h.node.role, "it does not count itself")
			p.says(3, Message{Type: MessagePreVoteResponse, Term: 3})
			require.Equal(t, RoleCandidate, p.h.node.role)
			p.saysRemoved(3, 2, 2)
			require.False(t, p.stands(), "that very entry is committed, it is told")
			require.Equal(t, RefusalRemoved, p.h.node.Status().Refused.Reason)
		}
	}
}

// The membership that it was in may be compacted away while it remembers who led it: it is no newcomer for that.
func TestRemovedServerKnowsItWhenTheLogIsCompacted(t *testing.T) {
	p := apart(t, 2, 2, membershipEntry(1, membersOf(1, 2, 3)), membershipEntry(2, membersOf(2, 3)))
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 2, Round: 1})
	require.Equal(t, RefusalRemoved, p.h.node.Status().Refused.Reason)
	p.h.node.trail.compact(2)
	p.h.node.dropOldMemberships()
	require.Len(t, p.h.node.memberships, 1)
	require.Equal(t, RefusalRemoved, p.h.node.Status().Refused.Reason)
}

// What a leader of old has sent may come after a restart. It does not make a newcomer of a server that was removed.
func TestRemovedServerDoesNotWaitForALeaderThatIsSilent(t *testing.T) {
	p := playAlone(t, 3, nil, func(d *disk) {
		d.hard, d.commit = HardState{Term: 2}, 2
		d.log.put(1, chained(0, []entry{membershipEntry(1, membersOf(1, 2, 3)), membershipEntry(2, membersOf(2, 3))}))
		e, _ := d.log.at(2)
		d.snapshot = SnapshotMeta{Group: DefaultGroup, Index: 2, Term: 2, Chain: e.chain, Membership: membersOf(2, 3), MembershipIndex: 2, Size: 1}
		d.log.compact(2)
	})
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 2, Round: 1})
	require.Equal(t, ServerID(2), p.h.node.Status().Leader)
	require.Equal(t, RefusalNone, p.h.node.Status().Refused.Reason, "it may be on its way back")
	p.runFor(2 * p.h.node.config.ElectionTimeoutMax)
	require.Equal(t, RefusalRemoved, p.h.node.Status().Refused.Reason)
	require.Equal(t, Never, p.h.node.Deadline())
	require.Empty(t, p.sentTo(2, MessagePreVoteRequest))
}

// A learner, one that was a voter once, and one that cannot restore its state stand for nothing; but they ask, or they would never hear of
// their removal. What is answered to them makes them no candidates.
func TestWhoCannotStandAsksAndIsTold(t *testing.T) {
	learner := membersOf(2, 3)
	learner.Learners = []Member{{ID: 1, Store: storeOf(1, 1)}}
	for name, begin := range map[string]func() *played{
		"a learner": func() *played { return apart(t, 2, 2, command(1, "a"), membershipEntry(2, learner)) },
		"one that needs a snapshot": func() *played {
			p := apart(t, 2, 2, command(1, "a"), membershipEntry(2, membersOf(1, 2, 3)))
			p.h.node.NeedSnapshot(p.now, true)
			p.h.endTurn()
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := begin()
			p.runFor(2 * p.h.node.config.ElectionTimeoutMax)
			require.NotEmpty(t, p.sentTo(2, MessagePreVoteRequest))
			p.says(2, Message{Type: MessagePreVoteResponse, Term: 3})
			p.says(3, Message{Type: MessagePreVoteResponse, Term: 3})
			require.Equal(t, RoleFollower, p.h.node.role)
			require.EqualValues(t, 2, p.h.node.hard.Term)
			p.saysRemoved(2, 2, 3)
			p.sentTo(2)
			p.runFor(5 * p.h.node.config.ElectionTimeoutMax)
			require.Empty(t, p.sentTo(2), "it knows, and asks no more")
			require.Equal(t, RefusalRemoved, p.h.node.Status().Refused.Reason)
		})
	}
}

// While a server takes the place of another one under its id, both may count, and then they have to hear one another; but a
// message of this very store, or of a birth, that says to be from here is none.
func TestTwoStoresOfOneIDHearOneAnother(t *testing.T) {
	old, other := membersOf(1, 2, 3), membersOf(1, 2, 3)
	other.Voters[0].Store = storeOf(1, 2)
	joint := Membership{Voters: other.Voters, Outgoing: old.Voters, WantedVoters: other.Voters}
	p := apart(t, 2, 1, command(1, "a"), membershipEntry(2, joint))
	m := Message{Type: MessageVoteRequest, Group: DefaultGroup, From: 1, FromStore: storeOf(1, 1), To: 1, Term: 3, LastIndex: 2, LastTerm: 2}
	p.h.step(m)
	require.EqualValues(t, 2, p.h.node.hard.Term, "that would be itself")
	m.FromStore = storeOf(1, 2)
	p.h.step(m)
	p.h.node.Saved(p.now, 99)
	require.Equal(t, HardState{Term: 3, Vote: 1, VoteStore: storeOf(1, 2)}, p.h.node.hard)
	m.Type, m.Term = MessageBirthRequest, 0
	m.Birth = p.h.disk.birth
	require.Error(t, p.h.node.inspect(&m))
}
