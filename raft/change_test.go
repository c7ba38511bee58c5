package raft

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Membership changes (dissertation chapter 4), on clusters that run, and the stages of one by hand.

// group runs count servers of which the first voters are the members, and waits for a leader: server 1.
func group(t *testing.T, count, voters int, change func(*Config)) *cluster {
	c := newCluster(t, 1)
	c.addHosts(count, 0, change)
	m := Membership{}
	for id := ServerID(1); int(id) <= voters; id++ {
		m.Voters = append(m.Voters, Member{ID: id, Store: storeOf(id, 1)})
	}
	for _, h := range c.hosts[:voters] {
		h.disk.birth = Birth{Membership: m, Complete: true}
	}
	c.history.changed = true
	c.startAll()
	c.hosts[0].timeout()
	c.runUntil(electionTimeout, "server 1 leads", func() bool {
		return c.hosts[0].node.role == RoleLeader && c.hosts[0].node.ownTermCommitted()
	})
	return c
}

func (h *host) change(c MembershipChange) error {
	err := h.node.ChangeMembership(h.c.now, c)
	h.endTurn()
	return err
}

func changeOf(kind ChangeKind, id ServerID) Change {
	return Change{Kind: kind, Member: Member{ID: id, Store: storeOf(id, 1)}}
}

func changes(list ...Change) MembershipChange { return MembershipChange{Changes: list} }

// settles waits for the end of a change at a leader.
func settles(t *testing.T, h *host) ChangeEnded {
	t.Helper()
	h.changeEnds = nil
	h.c.runUntil(2*h.node.config.JoinTimeout, "a change ends", func() bool { return len(h.changeEnds) > 0 })
	return h.changeEnds[0]
}

// 4.1 and 4.3: catching up, joint, settled, each one when the one before is committed; the end is said once, with what was made.
func TestChangeGoesThroughItsStages(t *testing.T) {
	c := group(t, 4, 3, nil)
	h := c.hosts[0]
	h.changeEnds = nil
	require.NoError(t, h.change(changes(changeOf(ChangeAddVoter, 4), changeOf(ChangeRemove, 3))))
	var stages []string
	stage := func() {
		m, word := h.node.membership(), "settled"
		switch {
		case m.Joint():
			word = "joint"
		case m.Changing():
			word = "catching up"
		}
		if len(stages) == 0 || stages[len(stages)-1] != word {
			stages = append(stages, word)
		}
	}
	stage()
	for end := c.now + 5*electionTimeout; c.now < end; c.runFor(time.Millisecond) {
		stage()
	}
	require.Equal(t, []string{"catching up", "joint", "settled"}, stages)
	require.Len(t, h.changeEnds, 1)
	require.Nil(t, h.changeEnds[0].GaveUp)
	require.Equal(t, membersOf(1, 2, 4), h.changeEnds[0].At.Membership)
	require.Equal(t, RefusalRemoved, c.hosts[2].node.Status().Refused.Reason, "who left was told by the log")
	require.Nil(t, h.node.lead.of(3, storeOf(3, 1)), "and is fed no more")
	require.Equal(t, h.machine.index, c.hosts[3].machine.index)
	for _, other := range c.hosts[1:] {
		require.Empty(t, other.changeEnds)
	}
}

// What alters no voter is one entry.
func TestChangeOfLearnersAndAddressesIsOneEntry(t *testing.T) {
	c := group(t, 4, 3, nil)
	h := c.hosts[0]
	before := h.node.trail.next
	require.NoError(t, h.change(changes(changeOf(ChangeAddLearner, 4))))
	require.Equal(t, before+1, h.node.trail.next)
	m := settles(t, h).At.Membership
	require.Equal(t, []Member{{ID: 4, Store: storeOf(4, 1)}}, m.Learners)
	w, err := m.After([]Change{{Kind: ChangeAddress, Member: Member{ID: 2, Address: "b:2"}}})
	require.NoError(t, err)
	require.Equal(t, "b:2", w.Voters[1].Address)
	require.False(t, m.toward(w).Changing())
}

// A group of one needed no answers and looked at no clock. That it grows is no silence of others.
func TestGroupOfOneGrowsWithoutAnElection(t *testing.T) {
	c := group(t, 2, 1, nil)
	h := c.hosts[0]
	term := h.node.hard.Term
	c.runFor(20 * electionTimeout)
	require.NoError(t, h.change(changes(changeOf(ChangeAddVoter, 2))))
	require.Len(t, settles(t, h).At.Membership.Voters, 2)
	require.Equal(t, term, h.node.hard.Term)
}

// The bug of 4.1 (raft-dev, 2015): a leader changes nothing before an entry of its term is committed, nor while the last membership is not.
func TestChangeWaitsForTheTermsFirstCommit(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.h.timeout()
	p.says(2, Message{Type: MessagePreVoteResponse, Term: 1})
	p.runFor(2 * time.Millisecond)
	require.ErrorIs(t, p.h.change(changes(changeOf(ChangeRemove, 3))), ErrNotLeader)
	p.says(2, Message{Type: MessageVoteResponse, Term: 1})
	early := p.h.change(changes(changeOf(ChangeRemove, 3)))
	require.ErrorIs(t, early, ErrChangeEarly)
	require.ErrorContains(t, early, "no entry of its term 1 is committed yet")
	p.runFor(2 * time.Millisecond)
	p.acks(2, 1)
	require.NoError(t, p.h.change(changes(changeOf(ChangeRemove, 3))))
	early = p.h.change(changes(changeOf(ChangeRemove, 2)))
	require.ErrorIs(t, early, ErrChangeEarly)
	require.ErrorContains(t, early, "the membership of entry 2 is not committed yet")
	p.runFor(2 * time.Millisecond)
	require.False(t, p.h.node.membership().Joint(), "the entry before is not committed")
	p.acks(2, 2)
	require.True(t, p.h.node.membership().Joint())
	require.ErrorIs(t, p.h.change(changes(changeOf(ChangeRemove, 2))), ErrChangeEarly)
	p.runFor(2 * time.Millisecond)
	p.acks(2, 3)
	require.False(t, p.h.node.membership().Changing())
	require.Empty(t, p.h.changeEnds, "it is not committed")
	p.runFor(2 * time.Millisecond)
	p.acks(2, 4)
	require.Len(t, p.h.changeEnds, 1)
}

// Asking for what is there, or on its way, is no error, and is answered when it is committed; compare and set is by the entry.
func TestAskingTwiceIsSafe(t *testing.T) {
	c := group(t, 4, 3, nil)
	h := c.hosts[0]
	add := changes(changeOf(ChangeAddVoter, 4))
	add.From = 99
	require.ErrorIs(t, h.change(add), ErrChangeMoved)
	add.From = 0
	require.NoError(t, h.change(add))
	c.runFor(5 * time.Millisecond)
	require.NoError(t, h.change(add))
	require.ErrorIs(t, h.change(changes(changeOf(ChangeRemove, 2))), ErrChangeOpen)
	end := settles(t, h)
	last := h.node.trail.last()
	add.From = 99
	require.NoError(t, h.change(add), "it is so already, whatever was expected")
	require.Len(t, h.changeEnds, 2)
	require.Equal(t, end, h.changeEnds[1])
	require.Equal(t, last, h.node.trail.last(), "nothing was begun")
}

// The membership that the group was born with has a name in compare and set, too: of two who start from it the second one is refused.
func TestOfTwoWhoStartFromTheBirthsMembershipOneIsRefused(t *testing.T) {
	c := group(t, 4, 3, nil)
	h := c.hosts[0]
	require.Zero(t, h.node.memberships[0].Index)
	first, second := changes(changeOf(ChangeRemove, 3)), changes(changeOf(ChangeDemote, 2))
	for _, from := range []Index{2, 99} { // the first leader's no-op is FromBirth: no entry that there may be is meant
		second.From = from
		require.EqualError(t, h.change(second), fmt.Sprintf("%v: it is the one that the group was born with (entry 0), not that of entry %d", ErrChangeMoved, from))
	}
	first.From, second.From = FromBirth, FromBirth
	require.NoError(t, h.change(first))
	require.NoError(t, h.change(first), "it is under way already, whatever was expected")
	at := settles(t, h).At
	require.Greater(t, at.Index, FromBirth)
	want := fmt.Sprintf("%v: it is that of entry %d, not the one that the group was born with (entry 0)", ErrChangeMoved, at.Index)
	require.EqualError(t, h.change(second), want)
	second.From = at.Index
	require.NoError(t, h.change(second))
}

// A newcomer that is not heard of is given up, and all is as before; so is one that somebody cancels.
func TestNewcomerThatIsNotHeardOfIsGivenUp(t *testing.T) {
	for _, cancel := range []bool{false, true} {
		c := group(t, 4, 3, nil)
		h := c.hosts[0]
		c.hosts[3].crash(0)
		require.NoError(t, h.change(changes(changeOf(ChangeAddVoter, 4))))
		began := c.now
		c.runFor(electionTimeout)
		require.True(t, h.node.membership().Changing())
		_, err := h.propose(1)
		require.NoError(t, err, "catching up stops nothing")
		if cancel {
			require.NoError(t, h.change(MembershipChange{Cancel: true}))
		}
		end := settles(t, h)
		require.NotNil(t, end.GaveUp)
		require.Equal(t, membersOf(1, 2, 3), end.At.Membership)
		require.Equal(t, !cancel, c.now-began > h.node.config.JoinTimeout)
		require.False(t, end.At.Membership.Holds([]Change{changeOf(ChangeAddVoter, 4)}))
		require.NoError(t, h.change(MembershipChange{Cancel: true}), "there is nothing to do")
	}
}

// A newcomer that has come back with less than it had acknowledged says nothing once it was told so. It is there, and that it is not heard of is not why.
func TestNewcomerThatHasLostItsLogIsGivenUpForThat(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	require.NoError(t, p.h.change(changes(changeOf(ChangeAddVoter, 4))))
	p.acks(2, 2)
	p.says(4, Message{Type: MessageAppendResponse, Term: term, Match: 1, LastIndex: 1, Round: p.h.node.lead.round})
	p.hears(p.h.node.config.HeartbeatInterval, 2, 3)
	p.says(4, Message{Type: MessageAppendResponse, Term: term, Reject: true, PrevIndex: 1, LastIndex: 0, Round: p.h.node.lead.round})
	require.True(t, p.h.node.lead.of(4, storeOf(4, 1)).lost)
	p.hears(p.h.node.config.JoinTimeout+p.h.node.config.HeartbeatInterval, 2, 3)
	require.Equal(t, membersOf(1, 2, 3), p.h.node.membership())
	require.Contains(t, p.h.node.lead.gaveUp.Reason, "its store has lost data")
}

// 4.2.1: who does not catch up in ten rounds is given up: here a newcomer whose answers take longer than an election timeout, under load.
func TestNewcomerThatDoesNotCatchUpIsGivenUp(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	require.NoError(t, p.h.change(changes(changeOf(ChangeAddVoter, 4))))
	p.acks(2, 2)
	for range 300 {
		if !p.h.node.membership().Changing() {
			break
		}
		was := p.h.node.trail.last()
		_, err := p.h.propose(1)
		require.NoError(t, err)
		p.h.endTurn()
		p.hears(p.h.node.config.ElectionTimeoutMin+20*time.Millisecond, 2, 3)
		require.False(t, p.h.node.membership().Joint())
		p.says(4, Message{Type: MessageAppendResponse, Term: 1, Match: was, LastIndex: was})
	}
	require.Equal(t, membersOf(1, 2, 3), p.h.node.membership())
	require.Equal(t, "it does not catch up", p.h.node.lead.gaveUp.Reason)
	require.Less(t, p.now, p.h.node.config.JoinTimeout)
}

// A newcomer that fetches a large snapshot is not given up while it gets on, however long that takes; it is once it gets no further, also
// where it begins anew.
func TestNewcomerThatFetchesASnapshotIsGivenUpWhenItGetsNoFurther(t *testing.T) {
	p := playAlone(t, 3, func(g *Config) { g.JoinTimeout = 2 * time.Second }, nil)
	p.lead(2, 3)
	require.NoError(t, p.h.change(changes(changeOf(ChangeAddVoter, 4))))
	p.acks(2, 2)
	n := p.h.node
	patience := catchUpPatience * n.config.JoinTimeout
	q := n.lead.of(4, storeOf(4, 1))
	meta := SnapshotMeta{Group: DefaultGroup, Index: 1, Term: 1, Size: 1000}
	q.state, q.offered = ProgressSnapshot, meta
	fetches := func(d time.Duration, offset int64) {
		for end := p.now + d; p.now < end && n.membership().Changing(); {
			p.says(4, Message{Type: MessageHeartbeatResponse, Term: 1, Round: n.lead.round})
			n.Fetched(p.now, 4, storeOf(4, 1), meta, offset)
			n.Fetched(p.now, 4, storeOf(4, 2), meta, offset+1000) // another store under its id
			n.Fetched(p.now, 4, storeOf(4, 1), SnapshotMeta{Group: DefaultGroup, Index: 2, Term: 1, Size: 1000}, offset+1000)
			p.hears(50*time.Millisecond, 2, 3)
		}
	}
	for k := range int64(5) {
		fetches(patience*3/4, 100*(k+1))
		require.True(t, n.membership().Changing(), "part %d", k)
	}
	fetches(patience/8, 100)
	require.True(t, n.membership().Changing())
	fetches(patience/4, 500)
	require.False(t, n.membership().Changing())
	require.Equal(t, "it does not catch up", n.lead.gaveUp.Reason)

	q.acknowledged(p.now, 2) // with another snapshot it begins at nothing
	require.Zero(t, q.fetched)
}

// What could stop the group is refused: a majority of the new voters has to be heard of, and to follow. Forced passes that. A store
// that is heard of is not replaced, and never the leader's own.
func TestChangeThatCouldStopTheGroupIsRefused(t *testing.T) {
	refused := func(p *played, c MembershipChange, because error, words ...string) {
		t.Helper()
		err := p.h.change(c)
		require.ErrorIs(t, err, because)
		for _, w := range words {
			require.ErrorContains(t, err, w)
		}
	}
	replace := func(id ServerID) MembershipChange {
		return changes(Change{Kind: ChangeReplace, Member: Member{ID: id, Store: storeOf(id, 2)}})
	}
	begin := func() *played { // 3 may be well: this leader has had no time to hear of it
		p := playAlone(t, 3, nil, nil)
		p.lead(2)
		refused(p, changes(changeOf(ChangeRemove, 2)), ErrChangeEarly, "elected less than an election timeout ago", "server 3 is not heard of yet")
		refused(p, replace(3), ErrChangeEarly, "elected less than an election timeout ago", "whether server 3 still runs")
		p.hears(electionTimeout, 2)
		return p
	}
	p := begin()
	remove := changes(changeOf(ChangeRemove, 2))
	refused(p, remove, ErrChangeUnsafe, "2 of the 2 new voters have to follow: server 3 is not heard of (start it)", "force the change only if")
	remove.Forced = true
	require.NoError(t, p.h.change(remove))
	p.runFor(2 * time.Millisecond)
	p.acks(2, 2)
	require.True(t, p.h.node.membership().Joint())

	p = begin()
	p.says(3, Message{Type: MessageHeartbeatResponse, Term: 1, Round: 1})
	q := p.h.node.lead.of(3, storeOf(3, 1))
	q.state, q.offered = ProgressSnapshot, SnapshotMeta{Index: 1}
	refused(p, changes(changeOf(ChangeRemove, 2)), ErrChangeUnsafe, "server 3 has to install a snapshot first (wait until it has)")
	q.lost = true
	refused(p, changes(changeOf(ChangeRemove, 2)), ErrChangeUnsafe, "server 3 has lost its log (replace it)")
	q.state, q.lost = ProgressStream, false
	require.NoError(t, p.h.change(changes(changeOf(ChangeRemove, 2))))

	p = begin()
	refused(p, replace(2), ErrChangeUnsafe, "server 2 is heard of with the store that is to be replaced; stop the server that runs on that store")
	own := replace(1)
	own.Forced = true
	refused(p, own, ErrChangeUnsafe, "server 1 leads", "hand leadership over", "forcing the change does not pass this")
	require.NoError(t, p.h.change(replace(3)))
}

// Before the joint phase it is looked again, with a patience of its own for each change: whoever is silent, or has to install a snapshot
// before it can follow, would stop the group.
func TestJointPhaseWaitsForAMajorityOfTheNewVoters(t *testing.T) {
	for _, installs := range []bool{false, true} {
		p := playAlone(t, 3, nil, nil)
		p.lead(2, 3)
		patience := p.h.node.config.JoinTimeout
		p.h.node.lead.readyAt = p.now // of another change
		for end := p.now + 2*patience; p.now < end; {
			p.hears(time.Second, 2, 3)
		}
		require.NoError(t, p.h.change(changes(changeOf(ChangeRemove, 2))))
		answering := []ServerID{2}
		if installs {
			q := p.h.node.lead.of(3, storeOf(3, 1))
			q.enter(ProgressSnapshot, q.next)
			q.offered, answering = SnapshotMeta{Index: 1 << 20}, []ServerID{2, 3}
		}
		for began := p.now; p.now < began+electionTimeout; p.runFor(20 * time.Millisecond) {
			for _, id := range answering {
				p.acks(id, 1) // their disks are slow
			}
		}
		p.hears(electionTimeout, 2)
		began := p.now
		require.True(t, p.h.node.membership().Changing())
		for p.now < began+patience-2*time.Second {
			p.hears(time.Second, answering...)
			require.True(t, p.h.node.membership().Changing(), "%v", p.now-began)
			require.False(t, p.h.node.membership().Joint(), "3 would have to agree")
		}
		p.hears(3*time.Second, answering...)
		require.Equal(t, membersOf(1, 2, 3), p.h.node.membership())
	}
}

// 4.2.2: a leader that is removed leads through the change without counting itself, hands over, and is a member no more.
func TestLeaderThatIsRemovedHandsOver(t *testing.T) {
	for _, kind := range []ChangeKind{ChangeRemove, ChangeDemote} {
		c := group(t, 3, 3, nil)
		h := c.hosts[0]
		require.NoError(t, h.change(changes(changeOf(kind, 1))))
		c.runUntil(3*electionTimeout, "another leads", func() bool { return h.node.role != RoleLeader && c.leader() != nil })
		require.Len(t, h.changeEnds, 1)
		require.Len(t, h.transferEnds, 1)
		require.NoError(t, h.transferEnds[0].Err)
		require.EqualValues(t, 2, c.leader().node.hard.Term, "one election, at once")
		c.runFor(5 * electionTimeout)
		require.Equal(t, kind == ChangeRemove, h.node.Status().Refused.Reason == RefusalRemoved)
		require.Equal(t, RoleFollower, h.node.role)
	}
}

// A leader that nobody takes over from steps down all the same: it does not hold proposals back for ever.
func TestLeaderThatIsRemovedStepsDownInTheEnd(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	require.NoError(t, p.h.change(changes(changeOf(ChangeRemove, 1))))
	for p.h.node.membership().Changing() {
		p.runFor(2 * time.Millisecond)
		for _, id := range []ServerID{2, 3} {
			p.acks(id, p.h.node.trail.last())
		}
	}
	_, err := p.h.propose(1)
	require.ErrorIs(t, err, ErrTransferring)
	p.hears(electionTimeout+20*time.Millisecond, 2, 3)
	require.Equal(t, RoleFollower, p.h.node.role)
	require.False(t, p.stands())
}

// Whoever leads next goes on with what is open.
func TestNextLeaderGoesOnWithTheChange(t *testing.T) {
	c := group(t, 4, 3, nil)
	c.hosts[3].crash(0)
	require.NoError(t, c.hosts[0].change(changes(changeOf(ChangeAddVoter, 4), changeOf(ChangeRemove, 1))))
	c.runFor(50 * time.Millisecond)
	c.hosts[0].crash(0)
	c.hosts[3].start()
	c.runUntil(10*electionTimeout, "the change comes to its end", func() bool {
		l := c.leader()
		return l != nil && !l.node.membership().Changing() && l.node.memberships[len(l.node.memberships)-1].Index <= l.node.commit
	})
	require.Equal(t, membersOf(2, 3, 4), c.leader().node.membership())
	c.hosts[0].start()
	c.runUntil(10*electionTimeout, "who was down is told", func() bool {
		return c.hosts[0].node.Status().Refused.Reason == RefusalRemoved
	})
	require.Equal(t, Never, c.hosts[0].node.Deadline())
}
