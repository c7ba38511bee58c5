package raft

import (
	"errors"
	"fmt"
	"slices"
)

// Member is one server as a membership knows it.
type Member struct {
	ID      ServerID
	Store   StoreID // the disk that the id is bound to
	Address string  // where the other servers reach it; the Node never looks at it
}

func (m Member) is(id ServerID, store StoreID) bool { return m.ID == id && m.Store == store }

// same reports whether two members are one server: an address may change.
func (m Member) same(o Member) bool { return m.is(o.ID, o.Store) }

// Membership says who belongs to a group. It is an entry of the log and takes effect in each server as soon as it
// stands in that server's log, committed or not (dissertation 4.1); a truncation gives the one before it back. It is a
// value: whoever changes one makes a Clone first.
type Membership struct {
	// Voters count in elections and in commits, sorted by id. Never empty in a membership that is in force.
	Voters []Member
	// Outgoing are the voters of the old half while a change is under way (joint consensus, dissertation 4.3); empty
	// otherwise. While it is not empty every decision needs a majority of both halves.
	Outgoing []Member
	// Learners receive the log and count for nothing, sorted by id.
	Learners []Member
	// WantedVoters and WantedLearners are where a change that is open leads to, each sorted by id; both are empty where none is.
	// Whoever is only wanted receives the log as a learner does. See change.go for the stages.
	WantedVoters, WantedLearners []Member
}

// IsZero reports whether m says nothing at all.
func (m Membership) IsZero() bool { return len(m.Voters) == 0 }

// Changing reports whether a change is open, in whichever stage.
func (m Membership) Changing() bool { return len(m.WantedVoters) > 0 }

func (m Membership) lists() [5][]Member {
	return [5][]Member{m.Voters, m.Outgoing, m.Learners, m.WantedVoters, m.WantedLearners}
}

// Joint reports whether a change is under way.
func (m Membership) Joint() bool { return len(m.Outgoing) > 0 }

// Member returns the member with that id, of any role: of two with that id, the one that counts in what is wanted (Find tells
// them apart).
func (m Membership) Member(id ServerID) (Member, bool) {
	for _, list := range [][]Member{m.WantedVoters, m.WantedLearners, m.Voters, m.Outgoing, m.Learners} {
		for _, member := range list {
			if member.ID == id {
				return member, true
			}
		}
	}
	return Member{}, false
}

// has reports whether id is a member's, with whatever store.
func (m Membership) has(id ServerID) bool {
	_, ok := m.Member(id)
	return ok
}

// Find returns the member with that id and that store, of any role. What a server says counts only for the two together: while
// a server whose disk was lost is being replaced, its id stands there with both stores.
func (m Membership) Find(id ServerID, store StoreID) (Member, bool) {
	for _, list := range m.lists() {
		for _, member := range list {
			if member.is(id, store) {
				return member, true
			}
		}
	}
	return Member{}, false
}

// IsVoter reports whether the server with that id and that store counts in either half.
func (m Membership) IsVoter(id ServerID, store StoreID) bool {
	is := func(v Member) bool { return v.is(id, store) }
	return slices.ContainsFunc(m.Voters, is) || slices.ContainsFunc(m.Outgoing, is)
}

// Members returns every pair of id and store once, sorted by id.
func (m Membership) Members() []Member {
	var all []Member
	for _, list := range m.lists() {
		for _, member := range list {
			if !slices.ContainsFunc(all, member.same) {
				all = append(all, member)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Member) int { return compareIDs(a.ID, b.ID) })
	return all
}

// Clone returns a membership that shares nothing with m.
func (m Membership) Clone() Membership {
	return Membership{
		Voters: slices.Clone(m.Voters), Outgoing: slices.Clone(m.Outgoing), Learners: slices.Clone(m.Learners),
		WantedVoters: slices.Clone(m.WantedVoters), WantedLearners: slices.Clone(m.WantedLearners),
	}
}

// Equal reports whether both say the same.
func (m Membership) Equal(o Membership) bool {
	mine, other := m.lists(), o.lists()
	for k := range mine {
		if !slices.Equal(mine[k], other[k]) {
			return false
		}
	}
	return true
}

// Validate reports the first thing that makes m impossible: no voter, an id of zero, a list out of order or with an id twice,
// a learner that is also a voter, a joint phase that leads elsewhere than to what is wanted, an id with two stores where none
// is being replaced.
func (m Membership) Validate() error {
	if len(m.Voters) == 0 {
		return errors.New("membership has no voter")
	}
	for _, list := range m.lists() {
		for i, member := range list {
			if member.ID == 0 {
				return errors.New("membership has a member with id 0")
			}
			if i > 0 && list[i-1].ID >= member.ID {
				return fmt.Errorf("membership lists server %d after server %d", member.ID, list[i-1].ID)
			}
		}
	}
	if err := disjoint(m.Voters, m.Learners); err != nil {
		return err
	}
	if err := disjoint(m.WantedVoters, m.WantedLearners); err != nil {
		return err
	}
	switch {
	case !m.Changing() && len(m.Outgoing)+len(m.WantedLearners) > 0:
		return errors.New("membership is joint, or wants learners, and no change is open")
	case m.Joint() && !slices.EqualFunc(m.Voters, m.WantedVoters, Member.same):
		return errors.New("membership is joint with other voters than those that are wanted")
	case m.Joint():
		return disjoint(m.Outgoing, m.Learners)
	}
	return nil
}

// disjoint reports a server that stands in both lists.
func disjoint(voters, learners []Member) error {
	for _, l := range learners {
		if indexOf(voters, l.ID) >= 0 {
			return fmt.Errorf("membership has server %d as a voter and as a learner", l.ID)
		}
	}
	return nil
}

// MembershipAt is a membership and the index of the entry that brought it.
type MembershipAt struct {
	Index      Index // zero of the membership that the group was born with, which no entry brought
	Membership Membership
}

// from is what MembershipChange.From calls this membership.
func (at MembershipAt) from() Index {
	if at.Index == 0 {
		return FromBirth
	}
	return at.Index
}

// entryName is how an error names the membership that From calls so.
func entryName(from Index) string {
	if from == FromBirth {
		return "the one that the group was born with (entry 0)"
	}
	return fmt.Sprintf("that of entry %d", from)
}

// GroupLimits decide what an entry does, so they belong to the group and not to a server: fixed at its birth, carried in
// snapshots, the same on every replica. The Node stores and forwards them and draws no meaning from them.
type GroupLimits struct {
	SessionsMax        uint32 // open sessions; the least recently used one gives way to a new one
	SessionResultsMax  uint32 // results kept for one session
	SessionResultBytes uint32 // bytes of results kept for one session
	SessionExpiryNanos int64  // cluster time after which an unused session ends
	ResultBytesMax     uint32 // a longer result of Apply is replaced by the "too large" error
}

// Birth is how a group begins: its first membership, with the stores that the voters were bound to, and its fixed
// limits. A store saves one birth for a group in its life. Until every voter has answered for the same birth, nobody
// campaigns and nobody grants a vote, so that no number of wiped and newly formatted servers can elect an empty
// history beside, or in place of, a real one.
type Birth struct {
	Membership Membership
	Limits     GroupLimits
	Complete   bool // every voter has answered
}

// Same reports whether b and o are the same birth, complete or not. An address may have been corrected in between and
// makes no difference.
func (b Birth) Same(o Birth) bool {
	return b.Limits == o.Limits && slices.EqualFunc(b.Membership.Voters, o.Membership.Voters, Member.same) &&
		slices.EqualFunc(b.Membership.Learners, o.Membership.Learners, Member.same)
}

// IsZero reports whether there is no birth.
func (b Birth) IsZero() bool { return len(b.Membership.Voters) == 0 }

func compareIDs(a, b ServerID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
