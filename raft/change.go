package raft

import (
	"errors"
	"fmt"
	"slices"
)

// ChangeKind says what is to become of one member.
type ChangeKind uint8

// The kinds of change. Each comment says which fields of Change.Member it uses.
const (
	ChangeAddVoter   ChangeKind = 1 // ID, Store, Address: a server that is no member yet, or a learner, as ChangePromote
	ChangeAddLearner ChangeKind = 2 // ID, Store, Address: a server that is no member yet
	ChangePromote    ChangeKind = 3 // ID: a learner becomes a voter
	ChangeDemote     ChangeKind = 4 // ID: a voter becomes a learner
	ChangeRemove     ChangeKind = 5 // ID
	ChangeReplace    ChangeKind = 6 // ID, Store, Address: the server under that id lost its disk, and another one takes its place
	ChangeAddress    ChangeKind = 7 // ID, Address: where the member is reached now
)

var changeNames = [...]string{
	ChangeAddVoter: "add voter", ChangeAddLearner: "add learner", ChangePromote: "promote", ChangeDemote: "demote",
	ChangeRemove: "remove", ChangeReplace: "replace", ChangeAddress: "change the address of",
}

// String returns the kind in words.
func (k ChangeKind) String() string {
	if int(k) < len(changeNames) && changeNames[k] != "" {
		return changeNames[k]
	}
	return fmt.Sprintf("change-%d", uint8(k))
}

// Change is one part of a membership change.
type Change struct {
	Kind   ChangeKind
	Member Member
}

// ErrChange is matched by the error of a change that makes no sense for the membership that it starts from.
var ErrChange = errors.New("raft: impossible change")

// After returns what m becomes by changes, all of them together. m must be settled: nothing is open in it, and nothing is
// open in the result. The order of changes makes no difference unless one undoes another, which is refused.
func (m Membership) After(changes []Change) (Membership, error) {
	if m.Changing() {
		return Membership{}, fmt.Errorf("%w: another one is open", ErrChange)
	}
	w := Membership{Voters: slices.Clone(m.Voters), Learners: slices.Clone(m.Learners)}
	for k, c := range changes {
		if slices.ContainsFunc(changes[:k], func(o Change) bool { return o.Member.ID == c.Member.ID }) {
			return Membership{}, fmt.Errorf("%w: server %d is named twice", ErrChange, c.Member.ID)
		}
		if err := w.apply(c); err != nil {
			return Membership{}, fmt.Errorf("%w: %s server %d: %w", ErrChange, c.Kind, c.Member.ID, err)
		}
	}
	byID := func(a, b Member) int { return compareIDs(a.ID, b.ID) }
	slices.SortFunc(w.Voters, byID)
	slices.SortFunc(w.Learners, byID)
	if err := w.Validate(); err != nil {
		return Membership{}, fmt.Errorf("%w: %w", ErrChange, err)
	}
	return w, nil
}

func (m *Membership) apply(c Change) error {
	voter := indexOf(m.Voters, c.Member.ID)
	learner := indexOf(m.Learners, c.Member.ID)
	isMember := voter >= 0 || learner >= 0
	switch c.Kind {
	case ChangeAddVoter, ChangeAddLearner, ChangeReplace:
		if c.Member.ID == 0 || c.Member.Store.IsZero() {
			return errors.New("an id and the id of a store are needed")
		}
	default:
		if !isMember {
			return errors.New("it is no member")
		}
	}
	switch c.Kind {
	case ChangeAddVoter, ChangeAddLearner:
		return m.add(c, voter, learner)
	case ChangePromote:
		if voter >= 0 {
			return errors.New("it is a voter already; leave that part out")
		}
		m.Voters = append(m.Voters, m.Learners[learner])
		m.Learners = slices.Delete(m.Learners, learner, learner+1)
	case ChangeDemote:
		if learner >= 0 {
			return errors.New("it is a learner already; leave that part out")
		}
		m.Learners = append(m.Learners, m.Voters[voter])
		m.Voters = slices.Delete(m.Voters, voter, voter+1)
	case ChangeRemove:
		keep := func(v Member) bool { return v.ID == c.Member.ID }
		m.Voters, m.Learners = slices.DeleteFunc(m.Voters, keep), slices.DeleteFunc(m.Learners, keep)
	case ChangeReplace, ChangeAddress:
		return m.rewrite(c, voter, learner)
	default:
		return errors.New("there is no such kind of change")
	}
	return nil
}

func (m *Membership) add(c Change, voter, learner int) error {
	switch {
	case voter >= 0 && m.Voters[voter].Store == c.Member.Store:
		return errors.New("it is a voter already; leave that part out")
	case learner >= 0 && m.Learners[learner].Store == c.Member.Store && c.Kind == ChangeAddVoter:
		m.Learners = slices.Delete(m.Learners, learner, learner+1)
	case learner >= 0 && m.Learners[learner].Store == c.Member.Store:
		return errors.New("it is a learner already; leave that part out")
	case voter >= 0 || learner >= 0:
		return errors.New("the id is taken by another store; replace it, if that one is lost")
	}
	if c.Kind == ChangeAddVoter {
		m.Voters = append(m.Voters, c.Member)
	} else {
		m.Learners = append(m.Learners, c.Member)
	}
	return nil
}

func (m *Membership) rewrite(c Change, voter, learner int) error {
	var at *Member
	switch {
	case voter >= 0:
		at = &m.Voters[voter]
	case learner >= 0:
		at = &m.Learners[learner]
	default:
		return errors.New("it is no member")
	}
	if c.Kind == ChangeReplace {
		if at.Store == c.Member.Store {
			return errors.New("it has that store already; leave that part out")
		}
		at.Store = c.Member.Store
	}
	if c.Member.Address != "" || c.Kind == ChangeAddress {
		at.Address = c.Member.Address
	}
	return nil
}

func indexOf(list []Member, id ServerID) int {
	return slices.IndexFunc(list, func(m Member) bool { return m.ID == id })
}

// The stages of a change. An entry of the log says by itself in which one the group is, so whoever leads goes on with it:
//
//	settled      V, L                    no change is open
//	catching up  V, L, wanted V' and L'  who is only wanted receives the log; quorums are those of V
//	joint        V' and V, wanted        every decision needs a majority of V' and of V (dissertation 4.3)
//	settled      V', L'

// sameVoters reports whether two lists hold the same servers.
func sameVoters(a, b []Member) bool { return slices.EqualFunc(a, b, Member.same) }

// toward returns the entry with which a change from m, which is settled, to w begins.
func (m Membership) toward(w Membership) Membership {
	if sameVoters(m.Voters, w.Voters) {
		return w.Clone() // no quorum changes
	}
	next := m.Clone()
	next.WantedVoters, next.WantedLearners = slices.Clone(w.Voters), slices.Clone(w.Learners)
	return next
}

// joint returns the entry that follows when all who are to vote have caught up.
func (m Membership) joint() Membership {
	j := Membership{
		Voters: slices.Clone(m.WantedVoters), Outgoing: slices.Clone(m.Voters),
		WantedVoters: slices.Clone(m.WantedVoters), WantedLearners: slices.Clone(m.WantedLearners),
	}
	for _, l := range m.WantedLearners {
		if indexOf(j.Outgoing, l.ID) < 0 { // who is demoted still counts in the old half
			j.Learners = append(j.Learners, l)
		}
	}
	return j
}

// settled returns the entry that ends the joint phase.
func (m Membership) settled() Membership {
	return Membership{Voters: slices.Clone(m.WantedVoters), Learners: slices.Clone(m.WantedLearners)}
}

// givenUp returns the entry that gives a change up while it is catching up: all is as before.
func (m Membership) givenUp() Membership {
	return Membership{Voters: slices.Clone(m.Voters), Learners: slices.Clone(m.Learners)}
}

// newVoters are those who are to vote and do not yet.
func (m Membership) newVoters() []Member {
	var list []Member
	for _, v := range m.WantedVoters {
		if !slices.ContainsFunc(m.Voters, v.same) {
			list = append(list, v)
		}
	}
	return list
}
