package wire

import (
	"fmt"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// ClientMember is one server in a membership.
type ClientMember struct {
	ID      uint64 `msgpack:"id"`
	Store   []byte `msgpack:"store"` // 16 bytes
	Address string `msgpack:"address"`
}

// ClientMembership is the result of members and of change_membership: a membership and the entry that brought it.
type ClientMembership struct {
	Index          uint64         `msgpack:"index"`
	Voters         []ClientMember `msgpack:"voters"`
	Outgoing       []ClientMember `msgpack:"outgoing"`
	Learners       []ClientMember `msgpack:"learners"`
	WantedVoters   []ClientMember `msgpack:"wanted_voters"`
	WantedLearners []ClientMember `msgpack:"wanted_learners"`
}

// ClientPlan is the result of plan_membership.
type ClientPlan struct {
	From      ClientMembership   `msgpack:"from"`
	Committed bool               `msgpack:"committed"`
	Stages    []ClientMembership `msgpack:"stages"` // without an index
	Members   []ClientPlanMember `msgpack:"members"`
	Before    int64              `msgpack:"before"`
	During    int64              `msgpack:"during"`
	After     int64              `msgpack:"after"`
	// Code and Text are the error with which the change would be refused now; 0 and empty: it would not.
	Code uint64 `msgpack:"code"`
	Text string `msgpack:"text"`
}

// ClientPlanMember is one server in a ClientPlan.
type ClientPlanMember struct {
	Member    ClientMember `msgpack:"member"`
	Votes     bool         `msgpack:"votes"`
	Learns    bool         `msgpack:"learns"`
	WillVote  bool         `msgpack:"will_vote"`
	WillLearn bool         `msgpack:"will_learn"`
	Heard     bool         `msgpack:"heard"`
	Silent    int64        `msgpack:"silent"` // nanoseconds; negative: it was never heard of
	Behind    uint64       `msgpack:"behind"`
}

// ClientMembersOf returns a list of members as it is written.
func ClientMembersOf(list []raft.Member) []ClientMember {
	out := make([]ClientMember, len(list))
	for i, m := range list {
		out[i] = clientMemberOf(m)
	}
	return out
}

func clientMemberOf(m raft.Member) ClientMember {
	return ClientMember{ID: uint64(m.ID), Store: m.Store[:], Address: m.Address}
}

// ClientMembershipOf returns a membership as it is written.
func ClientMembershipOf(at raft.MembershipAt) ClientMembership {
	m := at.Membership
	return ClientMembership{
		Index: uint64(at.Index), Voters: ClientMembersOf(m.Voters), Outgoing: ClientMembersOf(m.Outgoing),
		Learners: ClientMembersOf(m.Learners), WantedVoters: ClientMembersOf(m.WantedVoters),
		WantedLearners: ClientMembersOf(m.WantedLearners),
	}
}

// MembershipAt reads what ClientMembershipOf made. Errors match ErrMalformed.
func (m ClientMembership) MembershipAt() (at raft.MembershipAt, err error) {
	at.Index = raft.Index(m.Index)
	for _, part := range []struct {
		from []ClientMember
		into *[]raft.Member
	}{
		{m.Voters, &at.Membership.Voters},
		{m.Outgoing, &at.Membership.Outgoing},
		{m.Learners, &at.Membership.Learners},
		{m.WantedVoters, &at.Membership.WantedVoters},
		{m.WantedLearners, &at.Membership.WantedLearners},
	} {
		for _, c := range part.from {
			member, err := c.member()
			if err != nil {
				return raft.MembershipAt{}, err
			}
			*part.into = append(*part.into, member)
		}
	}
	return at, nil
}

func (c ClientMember) member() (raft.Member, error) {
	m := raft.Member{ID: raft.ServerID(c.ID), Address: c.Address}
	if len(c.Store) != len(m.Store) {
		return m, fmt.Errorf("%w: server %d has a store id of %d bytes", ErrMalformed, c.ID, len(c.Store))
	}
	copy(m.Store[:], c.Store)
	return m, nil
}

// ClientPlanOf returns a plan as it is written. refused is what the server says of Plan.Refused.
func ClientPlanOf(p raft.MembershipPlan, refused error) ClientPlan {
	c := ClientPlan{
		From: ClientMembershipOf(p.From), Committed: p.Committed, Stages: []ClientMembership{}, Members: []ClientPlanMember{},
		Before: int64(p.Before), During: int64(p.During), After: int64(p.After), Code: uint64(CodeOf(refused)),
	}
	if refused != nil {
		c.Text = refused.Error()
	}
	for _, s := range p.Stages {
		c.Stages = append(c.Stages, ClientMembershipOf(raft.MembershipAt{Membership: s}))
	}
	for _, m := range p.Members {
		silent := int64(m.Silent)
		if m.Silent == raft.Never {
			silent = -1
		}
		c.Members = append(c.Members, ClientPlanMember{
			Member: clientMemberOf(m.Member), Votes: m.Votes, Learns: m.Learns, WillVote: m.WillVote, WillLearn: m.WillLearn,
			Heard: m.Heard, Silent: silent, Behind: uint64(m.Behind),
		})
	}
	return c
}

// Plan reads what ClientPlanOf made. Errors match ErrMalformed.
func (c ClientPlan) Plan() (p raft.MembershipPlan, err error) {
	p = raft.MembershipPlan{Committed: c.Committed, Before: int(c.Before), During: int(c.During), After: int(c.After)}
	if p.From, err = c.From.MembershipAt(); err != nil {
		return raft.MembershipPlan{}, err
	}
	for _, s := range c.Stages {
		at, err := s.MembershipAt()
		if err != nil {
			return raft.MembershipPlan{}, err
		}
		p.Stages = append(p.Stages, at.Membership)
	}
	for _, m := range c.Members {
		member, err := m.Member.member()
		if err != nil {
			return raft.MembershipPlan{}, err
		}
		silent := time.Duration(m.Silent)
		if silent < 0 {
			silent = raft.Never
		}
		p.Members = append(p.Members, raft.PlanMember{
			Member: member, Votes: m.Votes, Learns: m.Learns, WillVote: m.WillVote, WillLearn: m.WillLearn, Heard: m.Heard,
			Silent: silent, Behind: raft.Index(m.Behind),
		})
	}
	if c.Code != 0 {
		p.Refused = &RemoteError{Code: Code(min(c.Code, 999)), Text: c.Text}
	}
	return p, nil
}

// changeNames are the kinds of change as they stand on the wire.
var changeNames = [...]string{
	raft.ChangeAddVoter: "add_voter", raft.ChangeAddLearner: "add_learner", raft.ChangePromote: "promote",
	raft.ChangeDemote: "demote", raft.ChangeRemove: "remove", raft.ChangeReplace: "replace", raft.ChangeAddress: "address",
}

// changesMax bounds the changes of one request; a membership of so many servers is none that anybody runs.
const changesMax = 256

// addressBytesMax bounds an address in a request.
const addressBytesMax = 255

// AppendClientChange appends the parameters of change_membership and plan_membership behind the group: changes, from,
// forced, cancel.
func AppendClientChange(buf []byte, c raft.MembershipChange) []byte {
	buf = appendArray(buf, len(c.Changes))
	for _, change := range c.Changes {
		name := ""
		if int(change.Kind) < len(changeNames) {
			name = changeNames[change.Kind]
		}
		buf = rpcAppendText(appendArray(buf, 4), name)
		buf = appendUint(buf, uint64(change.Member.ID))
		if change.Member.Store.IsZero() {
			buf = append(buf, rpcNil)
		} else {
			buf = rpcAppendBytes(buf, change.Member.Store[:])
		}
		buf = rpcAppendText(buf, change.Member.Address)
	}
	buf = appendUint(buf, uint64(c.From))
	return appendBool(appendBool(buf, c.Forced), c.Cancel)
}

// change takes what AppendClientChange wrote.
func (c *rpcCursor) change() (raft.MembershipChange, error) {
	var m raft.MembershipChange
	n := c.array()
	if n > changesMax {
		return m, fmt.Errorf("%w: %d changes at once, and %d are the most", ErrMalformed, n, changesMax)
	}
	for range n {
		if c.array() != 4 {
			return m, fmt.Errorf("%w: a change is [kind, id, store or nil, address]", ErrMalformed)
		}
		kind := string(c.bytes())
		change := raft.Change{Member: raft.Member{ID: raft.ServerID(c.uint())}}
		if !c.null() {
			store := c.bytes()
			if !c.bad && len(store) != len(change.Member.Store) {
				return m, fmt.Errorf("%w: a store id has %d bytes, not %d", ErrMalformed, len(change.Member.Store), len(store))
			}
			copy(change.Member.Store[:], store)
		}
		change.Member.Address = string(c.bytes())
		if c.bad {
			return m, nil
		}
		if len(change.Member.Address) > addressBytesMax {
			return m, fmt.Errorf("%w: an address of %d bytes", ErrMalformed, len(change.Member.Address))
		}
		for k, name := range changeNames {
			if name != "" && name == kind {
				change.Kind = raft.ChangeKind(k)
			}
		}
		if change.Kind == 0 {
			return m, fmt.Errorf("%w: no kind of change is called %.40q", ErrMalformed, kind)
		}
		m.Changes = append(m.Changes, change)
	}
	m.From = raft.Index(c.uint())
	m.Forced, m.Cancel = c.bool(), c.bool()
	return m, nil
}

func (c *rpcCursor) bool() bool {
	t := c.token()
	if t.kind != rpcBool {
		c.bad = true
		return false
	}
	v := c.b[0] == 0xc3
	c.take(t)
	return v
}
