package raft

import (
	"slices"
	"time"
)

// MembershipPlan says what a change would do, without doing it.
type MembershipPlan struct {
	From      MembershipAt
	Committed bool // From is known to be committed
	// Stages are the memberships that would be appended one after the other, the last one being the end. Empty if it is so already.
	Stages []Membership
	// Members are all who are in From or in one of the stages, sorted by id.
	Members []PlanMember
	// Before, During and After say how many more of the voters that are heard of now may fail before nothing can be
	// decided: in From, in the stage that bears least, and at the end. Negative: so many are missing already. Newcomers count as
	// heard of: the change waits for them before they count.
	Before, During, After int
	// Refused is what ChangeMembership would answer now; nil if it would begin, or has nothing to do.
	Refused error
}

// PlanMember is one server in a MembershipPlan.
type PlanMember struct {
	Member              Member
	Votes, Learns       bool // in From
	WillVote, WillLearn bool // at the end
	Heard               bool // has answered within an election timeout
	Silent              time.Duration
	Behind              Index // entries that it lacks, as far as is known; zero where it is not fed yet
}

// PlanMembership says what ChangeMembership would do with the same argument at the same moment. Only a leader knows: the
// error is ErrNotLeader or ErrFault.
func (n *Node) PlanMembership(now time.Duration, c MembershipChange) (MembershipPlan, error) {
	switch {
	case !n.input(now):
		return MembershipPlan{}, ErrFault
	case n.role != RoleLeader:
		return MembershipPlan{}, ErrNotLeader
	}
	at := n.memberships[len(n.memberships)-1]
	m := at.Membership
	plan := MembershipPlan{From: MembershipAt{Index: at.Index, Membership: m.Clone()}, Committed: at.Index <= n.commit}
	wanted, err := n.mayBegin(c)
	plan.Refused = err
	end := m
	switch {
	case err == nil && c.Cancel:
		if m.Changing() {
			end = m.givenUp()
			plan.Stages = []Membership{end}
		}
	case err == nil && wanted.IsZero() || m.Changing():
		if m.Changing() {
			plan.Stages = m.ahead()
			end = m.settled()
		}
	default:
		if wanted.IsZero() { // refused: what it would come to, if it can be said
			if wanted, err = m.After(c.Changes); err != nil {
				break
			}
		}
		first := m.toward(wanted)
		plan.Stages = append([]Membership{first}, first.ahead()...)
		end = wanted
	}
	n.planMembers(&plan, end)
	plan.Before, plan.After = n.spare(m, m), n.spare(end, m)
	plan.During = plan.Before
	for _, s := range plan.Stages {
		plan.During = min(plan.During, n.spare(s, m))
	}
	return plan, nil
}

// ahead returns the entries that follow m while a change is open.
func (m Membership) ahead() []Membership {
	switch {
	case m.Joint():
		return []Membership{m.settled()}
	case m.Changing():
		j := m.joint()
		return []Membership{j, j.settled()}
	}
	return nil
}

func (n *Node) planMembers(plan *MembershipPlan, end Membership) {
	all := plan.From.Membership.Members()
	for _, s := range plan.Stages {
		for _, member := range s.Members() {
			if !slices.ContainsFunc(all, member.same) {
				all = append(all, member)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Member) int { return compareIDs(a.ID, b.ID) })
	for _, member := range all {
		is := func(list []Member) bool { return slices.ContainsFunc(list, member.same) }
		p := PlanMember{
			Member: member, Heard: n.hears(member), Silent: Never,
			Votes: plan.From.Membership.IsVoter(member.ID, member.Store), Learns: is(plan.From.Membership.Learners),
			WillVote: is(end.Voters), WillLearn: is(end.Learners),
		}
		if n.isMe(member) {
			p.Silent = 0
		} else if q := n.lead.of(member.ID, member.Store); q != nil {
			if q.heard {
				p.Silent = n.clock.now - q.heardAt
			}
			p.Behind = max(n.sendable(q)-1, q.match) - q.match
		}
		plan.Members = append(plan.Members, p)
	}
}

// spare counts how many more voters of m may fail. now is the membership in force: who is not in it is not fed yet.
func (n *Node) spare(m, now Membership) int {
	least := 0
	for k, half := range quorumOf(m).halves {
		if len(half) == 0 {
			continue
		}
		heard := 0
		for _, v := range half {
			if n.hears(v) || !slices.ContainsFunc(now.Members(), v.same) {
				heard++
			}
		}
		if s := heard - (len(half)/2 + 1); k == 0 || s < least {
			least = s
		}
	}
	return least
}
