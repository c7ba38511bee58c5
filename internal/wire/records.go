package wire

import (
	"fmt"
	"math"

	"github.com/oarlock/oarlock/raft"
)

// recordVersion is the first value of every record. A reader refuses any other: an older program must not misread what
// a newer one wrote.
const recordVersion = 1

const (
	// MembersMax is the largest number of servers in one list of a membership.
	MembersMax = 1024
	// AddressBytesMax is the largest length of a member's address, also of one that a handshake claims.
	AddressBytesMax = 1024
)

// CheckMembership reports why a membership could be written but not be read back: it breaks raft.Membership.Validate, a
// list has more than MembersMax servers, an address is longer than AddressBytesMax. Ask before a membership is proposed;
// the Append functions of this package do not.
func CheckMembership(m raft.Membership) error {
	for _, list := range [...][]raft.Member{m.Voters, m.Outgoing, m.Learners} {
		if len(list) > MembersMax {
			return fmt.Errorf("wire: a membership lists %d servers, at most %d are possible", len(list), MembersMax)
		}
		for _, member := range list {
			if len(member.Address) > AddressBytesMax {
				return fmt.Errorf("wire: the address of server %d has %d bytes, at most %d are possible",
					member.ID, len(member.Address), AddressBytesMax)
			}
		}
	}
	return m.Validate()
}

// AppendHardState appends the record of a group's term and vote: [version, term, vote, lost, the store voted for].
func AppendHardState(dst []byte, h raft.HardState) []byte {
	dst = append(appendArray(dst, 5), recordVersion)
	dst = appendUint(dst, uint64(h.Term))
	dst = appendUint(dst, uint64(h.Vote))
	return appendID16(appendBool(dst, h.Lost), h.VoteStore)
}

// DecodeHardState reads what AppendHardState wrote. All of b must be the record; errors match ErrMalformed.
func DecodeHardState(b []byte) (raft.HardState, error) {
	c := cursor{b: b}
	c.record(5)
	h := raft.HardState{Term: raft.Term(c.uint()), Vote: raft.ServerID(c.uint()), Lost: c.bool(), VoteStore: c.id16()}
	if err := c.end("hard state"); err != nil {
		return raft.HardState{}, err
	}
	return h, nil
}

// AppendBirth appends the record of a group's birth: [version, membership, limits, complete].
func AppendBirth(dst []byte, birth raft.Birth) []byte {
	dst = append(appendArray(dst, 4), recordVersion)
	dst = appendMembers(dst, birth.Membership)
	dst = appendLimits(dst, birth.Limits)
	return appendBool(dst, birth.Complete)
}

// DecodeBirth reads what AppendBirth wrote. All of b must be the record; errors match ErrMalformed.
func DecodeBirth(b []byte) (raft.Birth, error) {
	c := cursor{b: b}
	birth := c.birth()
	if err := c.end("birth"); err != nil {
		return raft.Birth{}, err
	}
	return birth, nil
}

// AppendMembership appends a membership as the body of a membership entry: [version, [voters, outgoing, learners]],
// each a list of [id, store, address].
func AppendMembership(dst []byte, m raft.Membership) []byte {
	dst = append(appendArray(dst, 2), recordVersion)
	return appendMembers(dst, m)
}

// DecodeMembership reads what AppendMembership wrote. All of b must be the record, and the membership must pass
// raft.Membership.Validate; errors match ErrMalformed.
func DecodeMembership(b []byte) (raft.Membership, error) {
	c := cursor{b: b}
	c.record(2)
	m := c.members()
	if err := c.end("membership"); err != nil {
		return raft.Membership{}, err
	}
	if err := m.Validate(); err != nil {
		return raft.Membership{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return m, nil
}

// AppendSnapshotMeta appends the description of a snapshot: [version, group, index, term, time, chain, membership,
// membership index, limits, size, checksum].
func AppendSnapshotMeta(dst []byte, m raft.SnapshotMeta) []byte {
	dst = append(appendArray(dst, 11), recordVersion)
	dst = appendUint(dst, uint64(m.Group))
	dst = appendUint(dst, uint64(m.Index))
	dst = appendUint(dst, uint64(m.Term))
	dst = appendUint(dst, uint64(m.Time))
	dst = appendUint(dst, m.Chain)
	dst = appendMembers(dst, m.Membership)
	dst = appendUint(dst, uint64(m.MembershipIndex))
	dst = appendLimits(dst, m.Limits)
	dst = appendUint(dst, uint64(m.Size))
	return appendUint(dst, uint64(m.Checksum))
}

// DecodeSnapshotMeta reads what AppendSnapshotMeta wrote. All of b must be the record; errors match ErrMalformed.
func DecodeSnapshotMeta(b []byte) (raft.SnapshotMeta, error) {
	c := cursor{b: b}
	m := c.snapshotMeta()
	if err := c.end("snapshot description"); err != nil {
		return raft.SnapshotMeta{}, err
	}
	return m, nil
}

// AppendTrail appends the record of a trail, or of a part of one: [version, [first, term, first, term, ...]].
func AppendTrail(dst []byte, trail []raft.TermRun) []byte {
	dst = append(appendArray(dst, 2), recordVersion)
	dst = appendArray(dst, 2*len(trail))
	for _, run := range trail {
		dst = appendUint(dst, uint64(run.First))
		dst = appendUint(dst, uint64(run.Term))
	}
	return dst
}

// DecodeTrail reads what AppendTrail wrote. All of b must be the record, and both indexes and terms must rise from run
// to run; errors match ErrMalformed.
func DecodeTrail(b []byte) ([]raft.TermRun, error) {
	c := cursor{b: b}
	c.record(2)
	n := c.arrayUpTo(math.MaxInt32)
	if n%2 != 0 {
		c.fail("half a term run")
		n = 0
	}
	trail := make([]raft.TermRun, 0, n/2)
	var before raft.TermRun
	for range n / 2 {
		run := raft.TermRun{First: raft.Index(c.uint()), Term: raft.Term(c.uint())}
		if run.First <= before.First || run.Term <= before.Term {
			c.fail("term runs do not rise")
			break
		}
		trail = append(trail, run)
		before = run
	}
	if err := c.end("trail"); err != nil {
		return nil, err
	}
	return trail, nil
}

func appendMembers(dst []byte, m raft.Membership) []byte {
	dst = appendArray(dst, 5)
	for _, list := range [...][]raft.Member{m.Voters, m.Outgoing, m.Learners, m.WantedVoters, m.WantedLearners} {
		dst = appendArray(dst, len(list))
		for _, member := range list {
			dst = appendArray(dst, 3)
			dst = appendUint(dst, uint64(member.ID))
			dst = appendID16(dst, member.Store)
			dst = appendStr(dst, member.Address)
		}
	}
	return dst
}

func appendLimits(dst []byte, l raft.GroupLimits) []byte {
	dst = appendArray(dst, 5)
	dst = appendUint(dst, uint64(l.SessionsMax))
	dst = appendUint(dst, uint64(l.SessionResultsMax))
	dst = appendUint(dst, uint64(l.SessionResultBytes))
	dst = appendUint(dst, uint64(l.SessionExpiryNanos))
	return appendUint(dst, uint64(l.ResultBytesMax))
}

// record reads the head of a record of n values, the version among them.
func (c *cursor) record(n int) {
	c.array(n)
	if version := c.uint(); version != recordVersion {
		c.fail("of a version that this program does not read")
	}
}

func (c *cursor) birth() raft.Birth {
	c.record(4)
	birth := raft.Birth{Membership: c.members(), Limits: c.limits(), Complete: c.bool()}
	c.checkMembers(birth.Membership)
	return birth
}

func (c *cursor) snapshotMeta() raft.SnapshotMeta {
	c.record(11)
	m := raft.SnapshotMeta{
		Group:           raft.GroupID(c.uint()),
		Index:           raft.Index(c.uint()),
		Term:            raft.Term(c.uint()),
		Time:            c.natural(),
		Chain:           c.uint(),
		Membership:      c.members(),
		MembershipIndex: raft.Index(c.uint()),
		Limits:          c.limits(),
		Size:            c.natural(),
		Checksum:        c.uint32(),
	}
	c.checkMembers(m.Membership)
	return m
}

// checkMembers refuses an impossible membership; one without any member stands for none.
func (c *cursor) checkMembers(m raft.Membership) {
	if len(m.Voters)+len(m.Outgoing)+len(m.Learners)+len(m.WantedVoters)+len(m.WantedLearners) == 0 {
		return
	}
	if m.Validate() != nil {
		c.fail("a membership that cannot be")
	}
}

func (c *cursor) members() raft.Membership {
	c.array(5)
	return raft.Membership{
		Voters: c.memberList(), Outgoing: c.memberList(), Learners: c.memberList(),
		WantedVoters: c.memberList(), WantedLearners: c.memberList(),
	}
}

func (c *cursor) memberList() []raft.Member {
	n := c.arrayUpTo(MembersMax)
	if n == 0 {
		return nil
	}
	list := make([]raft.Member, 0, n)
	for range n {
		c.array(3)
		list = append(list, raft.Member{
			ID: raft.ServerID(c.uint()), Store: c.id16(), Address: c.str(AddressBytesMax),
		})
		if c.why != "" {
			return nil
		}
	}
	return list
}

func (c *cursor) limits() raft.GroupLimits {
	c.array(5)
	return raft.GroupLimits{
		SessionsMax:        c.uint32(),
		SessionResultsMax:  c.uint32(),
		SessionResultBytes: c.uint32(),
		SessionExpiryNanos: c.natural(),
		ResultBytesMax:     c.uint32(),
	}
}
