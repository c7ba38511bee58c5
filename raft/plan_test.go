package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A plan says what a change would do, and does nothing.

func planOf(t *testing.T, p *played, c MembershipChange) MembershipPlan {
	before := p.h.node.trail.next
	plan, err := p.h.node.PlanMembership(p.now, c)
	require.NoError(t, err)
	p.h.endTurn()
	require.Equal(t, before, p.h.node.trail.next)
	return plan
}

func TestOnlyALeaderPlans(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	_, err := p.h.node.PlanMembership(p.now, changes(changeOf(ChangeRemove, 3)))
	require.ErrorIs(t, err, ErrNotLeader)
}

// The stages are those that are appended then.
func TestPlanHasTheStagesThatFollow(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	c := changes(changeOf(ChangeAddVoter, 4), changeOf(ChangeDemote, 3))
	plan := planOf(t, p, c)
	require.NoError(t, plan.Refused)
	require.True(t, plan.Committed)
	require.Len(t, plan.Stages, 3)
	require.False(t, plan.Stages[0].Joint())
	require.True(t, plan.Stages[1].Joint())
	require.Equal(t, membersOf(1, 2, 4).Voters, plan.Stages[2].Voters)
	require.NoError(t, p.h.change(c))
	require.Equal(t, plan.Stages[0], p.h.node.membership())
	require.Equal(t, plan.Stages[1:], planOf(t, p, c).Stages, "of one that is open it is what is left")
	require.Equal(t, plan.Stages[1:], planOf(t, p, changes(changeOf(ChangeRemove, 2))).Stages)
	cancel := planOf(t, p, MembershipChange{Cancel: true})
	require.ErrorIs(t, cancel.Refused, ErrChangeEarly, "the entry is not committed")
}

// Where there is nothing to do there are no stages.
func TestPlanOfWhatIsSoAlreadyIsEmpty(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	for name, c := range map[string]MembershipChange{
		"a voter that is there": changes(changeOf(ChangeAddVoter, 3)), "nothing to cancel": {Cancel: true},
	} {
		plan := planOf(t, p, c)
		require.NoError(t, plan.Refused, name)
		require.Empty(t, plan.Stages, name)
	}
}

// What is refused is planned all the same, with the reason, if it makes sense at all.
func TestPlanOfWhatIsRefusedSaysWhy(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2)
	p.hears(electionTimeout, 2)
	plan := planOf(t, p, changes(changeOf(ChangeRemove, 2)))
	require.ErrorIs(t, plan.Refused, ErrChangeUnsafe)
	require.Len(t, plan.Stages, 3)
	require.Equal(t, [3]int{0, -1, -1}, [3]int{plan.Before, plan.During, plan.After})
	plan = planOf(t, p, changes(changeOf(ChangePromote, 9)))
	require.ErrorIs(t, plan.Refused, ErrChange)
	require.Empty(t, plan.Stages)
}

// How many may fail, before, meanwhile and after: of two halves the one that bears less counts.
func TestPlanCountsWhoMayFail(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	for _, c := range []struct {
		change MembershipChange
		spare  [3]int
	}{
		{changes(changeOf(ChangeAddVoter, 4)), [3]int{1, 1, 1}},
		{changes(changeOf(ChangeAddVoter, 4), changeOf(ChangeAddVoter, 5)), [3]int{1, 1, 2}},
		{changes(changeOf(ChangeRemove, 3)), [3]int{1, 0, 0}},
		{changes(changeOf(ChangeRemove, 3), changeOf(ChangeRemove, 2)), [3]int{1, 0, 0}},
		{changes(changeOf(ChangeAddLearner, 4)), [3]int{1, 1, 1}},
	} {
		plan := planOf(t, p, c.change)
		require.NoError(t, plan.Refused)
		require.Equal(t, c.spare, [3]int{plan.Before, plan.During, plan.After}, "%v", c.change)
	}
}

// Everybody who is or will be a member is there once, by id and store.
func TestPlanNamesEveryMember(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2)
	p.hears(electionTimeout, 2)
	plan := planOf(t, p, changes(Change{Kind: ChangeReplace, Member: Member{ID: 3, Store: storeOf(3, 2)}}, changeOf(ChangeAddLearner, 4)))
	require.NoError(t, plan.Refused)
	type row struct {
		id                                ServerID
		store                             StoreID
		votes, willVote, willLearn, heard bool
	}
	var rows []row
	for _, m := range plan.Members {
		require.False(t, m.Learns)
		rows = append(rows, row{m.Member.ID, m.Member.Store, m.Votes, m.WillVote, m.WillLearn, m.Heard})
	}
	require.Equal(t, []row{
		{1, storeOf(1, 1), true, true, false, true},
		{2, storeOf(2, 1), true, true, false, true},
		{3, storeOf(3, 1), true, false, false, false},
		{3, storeOf(3, 2), false, true, false, false},
		{4, storeOf(4, 1), false, false, true, false},
	}, rows)
}
