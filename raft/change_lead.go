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
	// ErrChangeEarly: the leader has not committed an entry of its term yet, or the last membership is not committed.
	ErrChangeEarly = errors.New("raft: the leader does not know yet what is committed")
	// ErrChangeUnsafe: the group could stand still after the change; MembershipChange.Forced passes this check.
	ErrChangeUnsafe = errors.New("raft: the change could stop the group")
)

// MembershipChange is what ChangeMembership is asked for: all of Changes, or none of them.
type MembershipChange struct {
	Changes []Change
	// From is the index of the membership entry that the caller starts from (MembershipAt.Index); zero is whichever there is.
	From Index
	// Forced does without the checks that protect a group from standing still: that a majority of the new voters is heard of,
	// and that a server that is replaced is not.
	Forced bool
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

// ChangeMembership begins a change, and a leader, this one or a later one, brings it to its end or gives it up: see Actions.Membership
// and Actions.GaveUp. Asking for what is so already, or is under way already, is no error and does nothing. On error nothing
// was begun.
func (n *Node) ChangeMembership(now time.Duration, c MembershipChange) error {
	if !n.input(now) {
		return ErrFault
	}
	if n.role != RoleLeader {
		return ErrNotLeader
	}
	at := n.memberships[len(n.memberships)-1]
	m := at.Membership
	switch {
	case m.Holds(c.Changes):
		return nil
	case m.Changing():
		return ErrChangeOpen
	case c.From != 0 && c.From != at.Index:
		return fmt.Errorf("%w: it is of entry %d, not %d", ErrChangeMoved, at.Index, c.From)
	case !n.ownTermCommitted() || at.Index > n.commit:
		return ErrChangeEarly
	}
	w, err := m.After(c.Changes)
	if err != nil {
		return err
	}
	if err := n.mayChange(m, w, c.Forced); err != nil {
		return err
	}
	n.lead.forced = c.Forced
	n.appendMembership(m.toward(w))
	return nil
}

// mayChange refuses what could stop the group.
func (n *Node) mayChange(m, w Membership, forced bool) error {
	for _, old := range m.Voters {
		now, ok := w.Member(old.ID)
		if !ok || now.Store == old.Store {
			continue
		}
		switch {
		case n.isMe(old):
			return fmt.Errorf("%w: server %d leads, so its disk is not lost", ErrChangeUnsafe, old.ID)
		case !forced && n.hears(old):
			return fmt.Errorf("%w: server %d is heard of with the store that is to be replaced", ErrChangeUnsafe, old.ID)
		}
	}
	if !forced && !n.majorityOf(w.Voters, func(v Member) bool { return n.hears(v) || !slices.ContainsFunc(m.Members(), v.same) }) {
		return fmt.Errorf("%w: no majority of the new voters is heard of", ErrChangeUnsafe)
	}
	return nil
}

func (n *Node) majorityOf(voters []Member, ok func(Member) bool) bool {
	return quorum{halves: [2][]Member{voters}}.reached(ok)
}

// hears reports whether a member has answered within the last election timeout.
func (n *Node) hears(m Member) bool {
	if n.isMe(m) {
		return true
	}
	p := n.lead.of(m.ID, m.Store)
	return p != nil && p.heard && !p.lost && n.clock.now-p.heardAt < n.config.ElectionTimeoutMax
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
	index := n.trail.next
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
			p.member, p.left, p.farewell = member, 0, 0
			continue
		}
		n.lead.progress = append(n.lead.progress, &progress{member: member, next: n.trail.next, addedAt: n.clock.now})
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
	case m.Joint():
		n.appendMembership(m.settled())
	case m.Changing():
		n.catchUp(m)
	case !m.IsVoter(n.config.ID, n.config.Store):
		n.handOver()
	}
}

// catchUpRounds is after how many rounds a newcomer that is still behind is given up (dissertation 4.2.1).
const catchUpRounds = 10

// catchUp goes on to the joint phase once every new voter has caught up, and gives the change up if one does not.
func (n *Node) catchUp(m Membership) {
	ready := true
	for _, v := range m.newVoters() {
		p := n.lead.of(v.ID, v.Store)
		if p == nil {
			continue // this server itself, which leads as a voter of the old half with another role to come
		}
		p.catchUp(n.trail.last(), n.clock.now, n.config.ElectionTimeoutMin)
		switch silent := n.clock.now - max(p.heardAt, p.addedAt); {
		case silent > n.config.JoinTimeout:
			n.giveUp(m, v, "it is not heard of")
			return
		case !p.caughtUp && p.rounds >= catchUpRounds:
			n.giveUp(m, v, "it does not catch up")
			return
		}
		ready = ready && p.caughtUp
	}
	if ready && (n.lead.forced || n.majorityOf(m.WantedVoters, n.hears)) {
		n.appendMembership(m.joint())
	}
}

func (n *Node) giveUp(m Membership, v Member, reason string) {
	n.actions().GaveUp = &GaveUp{Member: v, Reason: reason}
	n.trace(Trace{Kind: TraceGaveUp, Server: v.ID, Reason: reason})
	n.appendMembership(m.givenUp())
}

// catchUp counts a newcomer's rounds: one ends when the newcomer has what the log held when it began, and the first that took
// less than an election timeout is enough.
func (p *progress) catchUp(last Index, now, enough time.Duration) {
	if p.roundEnd == 0 {
		p.roundEnd, p.roundAt = last, now
	}
	if p.caughtUp || p.match < p.roundEnd {
		return
	}
	p.rounds++
	p.caughtUp = now-p.roundAt < enough
	p.roundEnd, p.roundAt = last, now
}

// handOver ends the leadership of a server that is no voter any more: the voter with the longest log is told to campaign, and
// nothing is appended here meanwhile.
func (n *Node) handOver() {
	var best *progress
	for _, p := range n.lead.progress {
		if n.membership().IsVoter(p.member.ID, p.member.Store) && n.hears(p.member) && (best == nil || p.match > best.match) {
			best = p
		}
	}
	if best != nil {
		term, _ := n.trail.termAt(best.match)
		n.sendNow(Message{
			Type: MessageTransferRequest, To: best.member.ID, ToStore: best.member.Store, Term: n.hard.Term,
			LastIndex: best.match, LastTerm: term,
		}, 0)
	}
	n.stepDown(n.clock.now, "it is no voter any more")
}

// leaving reports whether this leader stays only until the membership without it is committed.
func (n *Node) leaving() bool {
	return !n.membership().IsVoter(n.config.ID, n.config.Store)
}
