package main

/*
#include "internal.h"
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// readsOnly reports whether nothing can have been done by a request that failed.
func readsOnly(op C.enum_oar_op) bool {
	switch op {
	case C.OAR_OP_QUERY, C.OAR_OP_BARRIER, C.OAR_OP_PLAN, C.OAR_OP_MEMBERS:
		return true
	}
	return false
}

// changeOf reads the body of an order, as orders.c has laid it out.
func changeOf(body []byte) (c raft.MembershipChange, err error) {
	r := pieces{left: body}
	flags := r.u32()
	c.Forced, c.Cancel = flags&C.OAR_ORDER_FORCED != 0, flags&C.OAR_ORDER_CANCEL != 0
	c.From = raft.Index(r.u64())
	for range r.u32() {
		one := raft.Change{Kind: raft.ChangeKind(r.u32())}
		one.Member.ID = raft.ServerID(r.u64())
		copy(one.Member.Store[:], r.bytes(len(one.Member.Store)))
		one.Member.Address = string(r.bytes(int(r.u32())))
		if r.short {
			break
		}
		c.Changes = append(c.Changes, one)
	}
	if r.short {
		err = fmt.Errorf("%w: a change of %d bytes", server.ErrMalformed, len(body))
	}
	return c, err
}

// pieces takes numbers and bytes from the front of what is left.
type pieces struct {
	left  []byte
	short bool
}

func (p *pieces) bytes(n int) []byte {
	if n > len(p.left) {
		p.short, p.left = true, nil
		return make([]byte, min(n, 16))
	}
	b := p.left[:n]
	p.left = p.left[n:]
	return b
}

func (p *pieces) u32() uint32 { return binary.NativeEndian.Uint32(p.bytes(4)) }
func (p *pieces) u64() uint64 { return binary.NativeEndian.Uint64(p.bytes(8)) }

// order hands an order to a server, which answers done.
func order(s *running, r *C.struct_oar_request, body []byte, done server.Completion) {
	group := raft.GroupID(r.group)
	change, err := raft.MembershipChange{}, error(nil)
	if r.op == C.OAR_OP_CHANGE || r.op == C.OAR_OP_PLAN {
		change, err = changeOf(body)
	}
	switch {
	case err != nil:
		done.Complete(nil, err)
	case r.op == C.OAR_OP_CHANGE:
		s.SubmitChange(group, change, membershipDone{done})
	case r.op == C.OAR_OP_PLAN:
		s.SubmitPlan(group, change, planDone{done})
	case r.op == C.OAR_OP_MEMBERS:
		s.SubmitMembers(group, membershipDone{done})
	case r.op == C.OAR_OP_TRANSFER:
		s.SubmitTransfer(group, raft.ServerID(r.to), done)
	case r.op == C.OAR_OP_STEP_DOWN:
		s.SubmitStepDown(group, done)
	default:
		done.Complete(nil, server.ErrMalformed)
	}
}

// clientBody is the body of a request as a client takes it.
func clientBody(r *C.struct_oar_request, body []byte) ([]byte, error) {
	switch r.op {
	case C.OAR_OP_CHANGE, C.OAR_OP_PLAN:
		change, err := changeOf(body)
		return client.AppendChange(nil, change), err
	case C.OAR_OP_TRANSFER:
		return client.AppendTransfer(nil, raft.ServerID(r.to)), nil
	}
	return body, nil
}

// answerOf lays the answer of an order out for the readers of membership.c; other answers stay as they are.
func answerOf(op C.enum_oar_op, result []byte) ([]byte, error) {
	switch op {
	case C.OAR_OP_CHANGE, C.OAR_OP_MEMBERS:
		at, err := server.ParseMembership(result)
		return membershipBytes(at), err
	case C.OAR_OP_PLAN:
		plan, err := server.ParsePlan(result)
		return planBytes(plan), err
	case C.OAR_OP_TRANSFER, C.OAR_OP_STEP_DOWN:
		return nil, nil
	}
	return result, nil
}

// membershipDone and planDone lay answers out.
type (
	membershipDone struct{ inner server.Completion }
	planDone       struct{ inner server.Completion }
)

// Complete implements server.Completion.
func (d membershipDone) Complete(result []byte, err error) {
	laid(d.inner, C.OAR_OP_MEMBERS, result, err)
}

// Complete implements server.Completion.
func (d planDone) Complete(result []byte, err error) { laid(d.inner, C.OAR_OP_PLAN, result, err) }

func laid(done server.Completion, op C.enum_oar_op, result []byte, err error) {
	if err == nil {
		result, err = answerOf(op, result)
	}
	done.Complete(result, err)
}

const (
	membershipHead  = 32
	memberPiece     = 32
	planHead        = 40
	stagePiece      = 8
	planMemberPiece = 48
)

// texts are appended behind the pieces that point to them.
type texts struct {
	at  int // where the first one begins
	all []byte
}

func (t *texts) add(text string) uint32 {
	at := t.at + len(t.all)
	t.all = append(append(t.all, text...), 0)
	return uint32(at)
}

func u32s(b []byte, numbers ...uint32) []byte {
	for _, n := range numbers {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return b
}

func u64(b []byte, n uint64) []byte { return binary.NativeEndian.AppendUint64(b, n) }

// finished appends the texts and notes the length, behind the mark.
func finished(b []byte, t *texts) []byte {
	b = append(b, t.all...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	binary.NativeEndian.PutUint32(b[4:], uint32(len(b)))
	return b
}

// roles are the members of a membership, each once, with all that it is.
func roles(m raft.Membership) (members []raft.Member, bits map[raft.Member]uint32) {
	bits = make(map[raft.Member]uint32)
	for _, part := range []struct {
		bit  uint32
		list []raft.Member
	}{
		{C.OAR_MEMBER_VOTER, m.Voters},
		{C.OAR_MEMBER_OUTGOING, m.Outgoing},
		{C.OAR_MEMBER_LEARNER, m.Learners},
		{C.OAR_MEMBER_WANTED_VOTER, m.WantedVoters},
		{C.OAR_MEMBER_WANTED_LEARNER, m.WantedLearners},
	} {
		for _, member := range part.list {
			if bits[member] == 0 {
				members = append(members, member)
			}
			bits[member] |= part.bit
		}
	}
	return members, bits
}

func membershipBytes(at raft.MembershipAt) []byte {
	m := at.Membership
	members, bits := roles(m)
	t := texts{at: membershipHead + memberPiece*len(members)}
	flags := uint32(0)
	if m.Changing() {
		flags |= C.OAR_MEMBERSHIP_CHANGING
	}
	if m.Joint() {
		flags |= C.OAR_MEMBERSHIP_JOINT
	}
	b := u64(u32s(nil, C.OAR_MARK_MEMBERSHIP, 0), uint64(at.Index))
	b = u32s(b, flags, uint32(len(members)), uint32(len(m.Voters)), uint32(len(m.Learners)))
	for _, member := range members {
		b = append(u64(b, uint64(member.ID)), member.Store[:]...)
		b = u32s(b, bits[member], t.add(member.Address))
	}
	return finished(b, &t)
}

func planBytes(p raft.MembershipPlan) []byte {
	t := texts{at: planHead + stagePiece*(len(p.Stages)+1) + planMemberPiece*len(p.Members)}
	refused, why := int32(C.OAR_OK), ""
	if p.Refused != nil {
		f := failureOf(p.Refused, C.OAR_ERR_REFUSED)
		refused, why = int32(f.status), f.text
	}
	number := func(n int) uint32 { return uint32(int32(max(math.MinInt32, min(math.MaxInt32, n)))) }
	b := u32s(nil, C.OAR_MARK_PLAN, 0, uint32(flag(p.Committed)), uint32(refused), number(p.Before), number(p.During), number(p.After),
		uint32(len(p.Stages)), uint32(len(p.Members)), t.add(why))
	table := len(b)
	b = append(b, make([]byte, stagePiece*(len(p.Stages)+1))...)
	for _, m := range p.Members {
		silent := int64(m.Silent)
		if m.Silent == raft.Never {
			silent = -1
		}
		b = append(u64(b, uint64(m.Member.ID)), m.Member.Store[:]...)
		b = u64(u64(b, uint64(silent)), uint64(m.Behind))
		b = u32s(b, planFlags(m), t.add(m.Member.Address))
	}
	b = finished(b, &t)
	for k, at := range append([]raft.MembershipAt{p.From}, stagesOf(p)...) {
		stage := membershipBytes(at)
		binary.NativeEndian.PutUint32(b[table+stagePiece*k:], uint32(len(b)))
		binary.NativeEndian.PutUint32(b[table+stagePiece*k+4:], uint32(len(stage)))
		b = append(b, stage...)
	}
	binary.NativeEndian.PutUint32(b[4:], uint32(len(b)))
	return b
}

func stagesOf(p raft.MembershipPlan) (stages []raft.MembershipAt) {
	for _, m := range p.Stages {
		stages = append(stages, raft.MembershipAt{Membership: m})
	}
	return stages
}

func planFlags(m raft.PlanMember) (flags uint32) {
	for _, one := range []struct {
		holds bool
		bit   uint32
	}{
		{m.Votes, C.OAR_PLAN_VOTES},
		{m.Learns, C.OAR_PLAN_LEARNS},
		{m.WillVote, C.OAR_PLAN_WILL_VOTE},
		{m.WillLearn, C.OAR_PLAN_WILL_LEARN},
		{m.Heard, C.OAR_PLAN_HEARD},
	} {
		if one.holds {
			flags |= one.bit
		}
	}
	return flags
}
