package raft

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// The errors of ChangeMembership beside ErrNotLeader and ErrChange.
var (
	// ErrChangeOpen: another change is under way; ask again when it has ended.
	ErrChangeOpen = errors.New("raft: another membership change is open")
	// ErrChangeMoved: the membership is not the one that the caller expects.
	ErrChangeMoved = errors.New("raft: the membership is another one than expected")
	// ErrChangeEarly: the leader has not committed an entry of its term yet, the last membership is not committed, or the leader
	// was elected within ElectionTimeoutMax and has not heard yet of those whom the change needs. The text says which. It passes by
	// itself: ask again soon.
	ErrChangeEarly = errors.New("raft: the leader does not know enough yet")
	// ErrChangeUnsafe: the group could stand still after the change; the text says why, and the way out.
	// MembershipChange.Forced passes this check, except where the leader's own store is to be replaced.
	ErrChangeUnsafe = errors.New("raft: the change could stop the group")
)

// FromBirth is what MembershipChange.From calls the membership that the group was born with. That one has no entry of its own: its
// MembershipAt.Index is zero, which in From is whichever there is. An entry of this index never holds a membership: it is the first
// of the log, and so the no-op of the first leader, who may change nothing before that is committed.
const FromBirth Index = 1

// MembershipChange is what ChangeMembership is asked for: all of Changes, or none of them.
type MembershipChange struct {
	Changes []Change
	// From is the index of the membership entry that the caller starts from (MembershipAt.Index), FromBirth where that is zero; zero
	// is whichever there is. If another membership is there the change is refused with ErrChangeMoved. It has to be the index of a
	// committed one, as servers and clients return from Members: at that of one that is not committed, another may come yet.
	From Index
	// Forced does without the checks that protect a group from standing still: that a majority of the new voters is heard of,
	// and that a server that is replaced is not. It is not written down: if another leader goes on with the change, and may not
	// without it, it gives the change up in the end, unless it is asked for once more.
	Forced bool
	// Cancel gives up the change that is open, while nothing but catching up has happened; Changes is empty then. If none is open
	// there is nothing to do.
	Cancel bool
}

// Holds reports whether m is, or leads to, what the changes ask for.
func (m Membership) Holds(changes []Change) bool {
	w := m
	if m.Changing() {
		w = Membership{Voters: m.WantedVoters, Learners: m.WantedLearners}
	}
	for _, c := range changes {
		if !w.holds(c) {
			return false
		}
	}
	return true
}

func (m Membership) holds(c Change) bool {
	voter, learner := indexOf(m.Voters, c.Member.ID), indexOf(m.Learners, c.Member.ID)
	var at Member
	switch {
	case voter >= 0:
		at = m.Voters[voter]
	case learner >= 0:
		at = m.Learners[learner]
	}
	switch c.Kind {
	case ChangeAddVoter:
		return voter >= 0 && at.Store == c.Member.Store
	case ChangeAddLearner:
		return learner >= 0 && at.Store == c.Member.Store
	case ChangePromote:
		return voter >= 0
	case ChangeDemote:
		return learner >= 0
	case ChangeRemove:
		return voter < 0 && learner < 0
	case ChangeReplace:
		return at.ID != 0 && at.Store == c.Member.Store
	case ChangeAddress:
		return at.ID != 0 && at.Address == c.Member.Address
	}
	return false
}

// ChangeMembership begins a change, and a leader, this one or a later one, brings it to its end or gives it up. Asking for what is
// so already, or is under way already, is no error and begins nothing. In each of these cases Actions.ChangeEnded says when a
// membership without an open change is committed; whoever waits for this change then has its answer by Membership.Holds. If
// leadership is lost first, nothing is said: ask again. With an error nothing was begun.
func (n *Node) ChangeMembership(now time.Duration, c MembershipChange) error {
	if !n.input(now) {
		return ErrFault
	}
	if n.role != RoleLeader {
		return ErrNotLeader
	}
	w, err := n.mayBegin(c)
	if err != nil {
		return err
	}
	m := n.membership()
	switch {
	case c.Cancel && m.Changing():
		n.giveUp(m, Member{}, "it was cancelled")
		return nil
	case w.IsZero():
		n.lead.endAsked = true
		n.lead.forced = n.lead.forced || c.Forced && m.Changing()
		return nil
	}
	n.lead.forced = c.Forced
	n.appendMembership(m.toward(w))
	return nil
}

// mayBegin returns what a change leads to, the zero value if it is so already or leads there already, or if it is a
// cancellation, or why it may not begin.
func (n *Node) mayBegin(c MembershipChange) (Membership, error) {
	at := n.memberships[len(n.memberships)-1]
	m := at.Membership
	switch {
	case c.Cancel && len(c.Changes) > 0:
		return Membership{}, fmt.Errorf("%w: cancel, and changes beside it", ErrChange)
	case !c.Cancel && len(c.Changes) == 0:
		return Membership{}, fmt.Errorf("%w: no change at all", ErrChange)
	case c.Cancel && m.Joint():
		return Membership{}, fmt.Errorf("%w: it counts already, and comes to its end by itself", ErrChangeOpen)
	case !c.Cancel && m.Holds(c.Changes):
		return Membership{}, nil
	case n.handing():
		return Membership{}, ErrTransferring
	case !n.ownTermCommitted() || at.Index > n.commit:
		return Membership{}, n.tooEarly(at)
	case c.Cancel:
		return Membership{}, nil
	case m.Changing():
		return Membership{}, ErrChangeOpen
	case n.lead.ended != at.Index || n.lead.endAsked:
		return Membership{}, fmt.Errorf("%w: the end of the change before is told at the end of this turn", ErrChangeEarly)
	case c.From != 0 && c.From != at.from():
		return Membership{}, fmt.Errorf("%w: it is %s, not %s", ErrChangeMoved, entryName(at.from()), entryName(c.From))
	}
	w, err := m.After(c.Changes)
	if err != nil {
		return Membership{}, err
	}
	return w, n.mayChange(m, w, c.Forced)
}

// memberBytes is about what a member takes in an entry, beside its address.
const memberBytes = 32

// appendMembership appends a membership, which is in force at once (dissertation 4.1).
func (n *Node) appendMembership(m Membership) {
	bytes := BlockHeaderSize + entryHeaderBytes
	for _, list := range m.lists() {
		for _, member := range list {
			bytes += memberBytes + len(member.Address)
		}
	}
	if n.alone() {
		n.lead.quorumAt = n.clock.now // it needed nobody's answer so far, and looked at no clock (clock.go)
	}
	if m.Joint() {
		n.lead.leaseEnd = 0 // it was promised by the old half; soon the new one may elect without those (lease.go)
	}
	index := n.trail.next
	n.lead.readyAt = 0
	n.appendOwn(KindMembership, 1, bytes)
	n.memberships = append(n.memberships, MembershipAt{Index: index, Membership: m})
	n.membershipChanged()
	n.followMembers(index)
}

// followMembers begins to feed who is new, and marks who has left: they are fed until they know it.
func (n *Node) followMembers(index Index) {
	members := n.membership().Members()
	for _, member := range members {
		if n.isMe(member) {
			continue
		}
		if p := n.lead.of(member.ID, member.Store); p != nil {
			p.member, p.left, p.farewell, p.addedAt = member, 0, 0, n.clock.now
			p.roundEnd, p.slow, p.quick = 0, 0, false
			continue
		}
		n.lead.progress = append(n.lead.progress, &progress{member: member, next: n.trail.next, addedAt: n.clock.now, grewAt: n.clock.now})
	}
	for _, p := range n.lead.progress {
		if p.left == 0 && !slices.ContainsFunc(members, p.member.same) {
			p.left, p.leftAt = index, n.clock.now
		}
	}
}

// dismiss lets go of those who left and know it, or have been silent for too long.
func (n *Node) dismiss() {
	kept := n.lead.progress[:0]
	for _, p := range n.lead.progress {
		knows := p.farewell != 0 && p.round >= p.farewell
		if knows || p.left != 0 && n.clock.now-max(p.leftAt, p.heardAt) > n.config.JoinTimeout {
			continue
		}
		kept = append(kept, p)
	}
	clear(n.lead.progress[len(kept):])
	n.lead.progress = kept
}

// changeTurn does a leader's next step of a change that is open.
func (n *Node) changeTurn() {
	at := n.memberships[len(n.memberships)-1]
	if n.role != RoleLeader || at.Index > n.commit || !n.ownTermCommitted() {
		return
	}
	n.dismiss()
	switch m := at.Membership; {
	case m.Changing() && n.lead.transfer != nil:
		return // nothing is appended; the next leader goes on
	case m.Joint():
		n.appendMembership(m.settled())
		return
	case m.Changing():
		n.catchUp(m)
		return
	case n.lead.ended != at.Index || n.lead.endAsked:
		n.lead.ended, n.lead.endAsked = at.Index, false
		at.Membership = m.Clone()
		n.actions().ChangeEnded = &ChangeEnded{At: at}
		if n.lead.gaveUpAt == at.Index {
			n.actions().ChangeEnded.GaveUp = n.lead.gaveUp
		}
	}
	if n.leaving() && n.lead.transfer == nil {
		n.beginTransfer(transfer{leaves: true, reason: "it is no voter any more"})
	}
}

// What a newcomer has to show before it counts (dissertation 4.2.1).
const (
	catchUpRounds   = 10 // slow ones in a row, after which it is given up
	catchUpPatience = 10 // JoinTimeouts in which neither its log nor what it has of a snapshot may grow, while it restores one for instance
)

// catchUp goes on to the joint phase once every new voter has caught up, and gives the change up if one does not.
func (n *Node) catchUp(m Membership) {
	now, ready := n.clock.now, true
	for _, v := range m.newVoters() {
		p := n.lead.of(v.ID, v.Store)
		if p == nil {
			continue // this server itself, which leads as a voter of the old half with another role to come
		}
		p.catchUp(n.commit, now, n.config.ElectionTimeoutMin)
		switch {
		case now-max(p.heardAt, p.addedAt) > n.config.JoinTimeout:
			n.giveUp(m, v, p.unheard())
			return
		case p.slow >= catchUpRounds, p.match < p.roundEnd && now-max(p.grewAt, p.addedAt) > catchUpPatience*n.config.JoinTimeout:
			n.giveUp(m, v, "it does not catch up")
			return
		}
		ready = ready && p.caughtUp(now, n.config.ElectionTimeoutMin) && n.hears(p.member)
	}
	if !ready {
		n.lead.readyAt = 0
		return
	}
	if n.lead.readyAt == 0 {
		n.lead.readyAt = now
	}
	switch {
	case n.lead.forced || n.majorityOf(m.WantedVoters, n.follows):
		n.appendMembership(m.joint())
	case now-n.lead.readyAt > n.config.JoinTimeout:
		n.giveUp(m, Member{}, n.lacking(m.WantedVoters, n.follows))
	}
}

func (n *Node) giveUp(m Membership, v Member, reason string) {
	n.lead.gaveUp, n.lead.gaveUpAt = &GaveUp{Member: v, Reason: reason}, n.trail.next
	n.actions().GaveUp = n.lead.gaveUp
	n.trace(Trace{Kind: TraceGaveUp, Server: v.ID, Reason: reason})
	n.appendMembership(m.givenUp())
}

// unheard is why nothing was heard of a newcomer: it says nothing once it was told that its log was lost.
func (p *progress) unheard() string {
	if p.lost {
		return "its store has lost data, so that it counts for nothing (give it a new store)"
	}
	return "it is not heard of"
}

// catchUp counts a newcomer's rounds: one ends when the newcomer has what the log held when it began, and is quick if it took less
// than an election timeout. Then what it still lacks takes no longer than that, and the group does not wait for it.
func (p *progress) catchUp(last Index, now, enough time.Duration) {
	if p.roundEnd == 0 {
		p.roundEnd, p.roundAt = last, now
	}
	if p.match < p.roundEnd {
		return
	}
	if p.quick = now-p.roundAt < enough; p.quick {
		p.slow = 0
	} else {
		p.slow++
	}
	p.roundEnd, p.roundAt = last, now
}

// caughtUp reports whether the latest round was quick, and the present one is not slow so far.
func (p *progress) caughtUp(now, enough time.Duration) bool { return p.quick && now-p.roundAt < enough }

// leaving reports whether this leader stays only until the membership without it is committed.
func (n *Node) leaving() bool {
	return !n.membership().IsVoter(n.config.ID, n.config.Store)
}
