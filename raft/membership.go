package raft

import (
	"fmt"
	"slices"
)

// Member is one server as a membership knows it.
type Member struct {
	ID      ServerID
	Store   StoreID // the disk that the id is bound to
	Address string  // where the other servers reach it; the Node never looks at it
}

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
}

// Joint reports whether a change is under way.
func (m Membership) Joint() bool { return len(m.Outgoing) > 0 }

// Member returns the member with that id, of any role.
func (m Membership) Member(id ServerID) (Member, bool) {
	for _, list := range [][]Member{m.Voters, m.Outgoing, m.Learners} {
		for _, member := range list {
			if member.ID == id {
				return member, true
			}
		}
	}
	return Member{}, false
}

// IsVoter reports whether id counts in either half.
func (m Membership) IsVoter(id ServerID) bool {
	is := func(v Member) bool { return v.ID == id }
	return slices.ContainsFunc(m.Voters, is) || slices.ContainsFunc(m.Outgoing, is)
}

// Members returns every member once, sorted by id.
func (m Membership) Members() []Member {
	all := slices.Concat(m.Voters, m.Outgoing, m.Learners)
	slices.SortStableFunc(all, func(a, b Member) int { return compareIDs(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b Member) bool { return a.ID == b.ID })
}

// Clone returns a membership that shares nothing with m.
func (m Membership) Clone() Membership {
	return Membership{
		Voters: slices.Clone(m.Voters), Outgoing: slices.Clone(m.Outgoing), Learners: slices.Clone(m.Learners),
	}
}

// Equal reports whether both say the same.
func (m Membership) Equal(o Membership) bool {
	return slices.Equal(m.Voters, o.Voters) && slices.Equal(m.Outgoing, o.Outgoing) && slices.Equal(m.Learners, o.Learners)
}

// Validate reports the first thing that makes m impossible: no voter, an id of zero, an id twice in one list, a learner
// that is also a voter, one id with two stores, a list out of order.
func (m Membership) Validate() error {
	if len(m.Voters) == 0 {
		return fmt.Errorf("membership has no voter")
	}
	stores := make(map[ServerID]StoreID)
	for _, list := range [][]Member{m.Voters, m.Outgoing, m.Learners} {
		for i, member := range list {
			if member.ID == 0 {
				return fmt.Errorf("membership has a member with id 0")
			}
			if i > 0 && list[i-1].ID >= member.ID {
				return fmt.Errorf("membership lists server %d after server %d", member.ID, list[i-1].ID)
			}
			if store, ok := stores[member.ID]; ok && store != member.Store {
				return fmt.Errorf("membership binds server %d to stores %s and %s", member.ID, store, member.Store)
			}
			stores[member.ID] = member.Store
		}
	}
	for _, l := range m.Learners {
		if m.IsVoter(l.ID) {
			return fmt.Errorf("membership has server %d as a voter and as a learner", l.ID)
		}
	}
	return nil
}

// MembershipAt is a membership and the index of the entry that brought it.
type MembershipAt struct {
	Index      Index
	Membership Membership
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
	same := func(x, y Member) bool { return x.ID == y.ID && x.Store == y.Store }
	return b.Limits == o.Limits && slices.EqualFunc(b.Membership.Voters, o.Membership.Voters, same) &&
		slices.EqualFunc(b.Membership.Learners, o.Membership.Learners, same)
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
