package wire

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// A message's head is [type, group, from, to, term, fields, value...]: fields is a set of bits, one for each field of
// raft.Message below that is not zero, and the values stand in the order of the bits. So what travels does not depend
// on the type: whatever field the consensus module comes to use arrives. A flag has its bit and no value.
const (
	fieldLastIndex = 1 << iota
	fieldLastTerm
	fieldReject // flag
	fieldForced // flag
	fieldPrevIndex
	fieldPrevTerm
	fieldFirst
	fieldNext
	fieldCommit
	fieldMatch
	fieldHintIndex
	fieldHintTerm
	fieldRound
	fieldConfirmed
	fieldTime
	fieldRefusal
	fieldSnapshot     // as AppendSnapshotMeta writes it
	fieldBirth        // as AppendBirth writes it
	fieldBlocks       // how many blocks the body holds
	fieldWantSnapshot // flag
	fieldPriority
	fieldPromise
	fieldRun
	fieldsEnd

	fieldLate = fieldPriority | fieldPromise | fieldRun // numbers whose bits stand behind the fields that are none

	fieldFlags = fieldReject | fieldForced | fieldWantSnapshot
	headValues = 6 // before the fields' values
)

// AppendMessage appends the frame of m up to its body, which is the bytes of m.Blocks in order (Block.Bytes): the caller
// sends them after it, from where they are. No block may be blank. FromStore, FromRun, ToStore and Memberships do not
// travel. It allocates nothing if dst has room.
func AppendMessage(dst []byte, m *raft.Message) []byte {
	at := len(dst)
	dst = beginFrame(dst)
	fields := messageFields(m)
	dst = appendArray(dst, headValues+bits.OnesCount32(fields&^fieldFlags))
	dst = appendUint(dst, uint64(m.Type))
	dst = appendUint(dst, uint64(m.Group))
	dst = appendUint(dst, uint64(m.From))
	dst = appendUint(dst, uint64(m.To))
	dst = appendUint(dst, uint64(m.Term))
	dst = appendUint(dst, uint64(fields))
	for rest := fields &^ (fieldFlags | fieldSnapshot | fieldBirth | fieldBlocks | fieldLate); rest != 0; rest &= rest - 1 {
		dst = appendUint(dst, scalar(m, rest&-rest))
	}
	if fields&fieldSnapshot != 0 {
		dst = AppendSnapshotMeta(dst, m.Snapshot)
	}
	if fields&fieldBirth != 0 {
		dst = AppendBirth(dst, m.Birth)
	}
	body := 0
	if fields&fieldBlocks != 0 {
		dst = appendUint(dst, uint64(len(m.Blocks)))
		for i := range m.Blocks {
			body += m.Blocks[i].Size()
		}
	}
	for rest := fields & fieldLate; rest != 0; rest &= rest - 1 {
		dst = appendUint(dst, scalar(m, rest&-rest))
	}
	return endFrame(dst, at, FrameMessage, body)
}

func messageFields(m *raft.Message) uint32 {
	var fields uint32
	for f := uint32(1); f < fieldSnapshot; f <<= 1 {
		if scalar(m, f) != 0 {
			fields |= f
		}
	}
	for f := uint32(fieldPriority); f < fieldsEnd; f <<= 1 {
		if scalar(m, f) != 0 {
			fields |= f
		}
	}
	if !snapshotIsEmpty(&m.Snapshot) {
		fields |= fieldSnapshot
	}
	if !birthIsEmpty(&m.Birth) {
		fields |= fieldBirth
	}
	if len(m.Blocks) > 0 {
		fields |= fieldBlocks
	}
	if m.WantSnapshot {
		fields |= fieldWantSnapshot
	}
	return fields
}

// scalar returns one of the fields that are numbers, or flags, as a number.
func scalar(m *raft.Message, field uint32) uint64 {
	switch field {
	case fieldLastIndex:
		return uint64(m.LastIndex)
	case fieldLastTerm:
		return uint64(m.LastTerm)
	case fieldReject:
		return bit(m.Reject)
	case fieldForced:
		return bit(m.Forced)
	case fieldPrevIndex:
		return uint64(m.PrevIndex)
	case fieldPrevTerm:
		return uint64(m.PrevTerm)
	case fieldFirst:
		return uint64(m.First)
	case fieldNext:
		return uint64(m.Next)
	case fieldCommit:
		return uint64(m.Commit)
	case fieldMatch:
		return uint64(m.Match)
	case fieldHintIndex:
		return uint64(m.HintIndex)
	case fieldHintTerm:
		return uint64(m.HintTerm)
	case fieldRound:
		return uint64(m.Round)
	case fieldConfirmed:
		return uint64(m.Confirmed)
	case fieldTime:
		return uint64(m.Time)
	case fieldRefusal:
		return uint64(m.Refusal)
	case fieldPriority:
		return uint64(m.Priority)
	case fieldPromise:
		return uint64(m.Promise)
	case fieldRun:
		return uint64(m.Run)
	}
	return 0
}

func setScalar(m *raft.Message, field uint32, v uint64) {
	switch field {
	case fieldLastIndex:
		m.LastIndex = raft.Index(v)
	case fieldLastTerm:
		m.LastTerm = raft.Term(v)
	case fieldReject:
		m.Reject = true
	case fieldForced:
		m.Forced = true
	case fieldPrevIndex:
		m.PrevIndex = raft.Index(v)
	case fieldPrevTerm:
		m.PrevTerm = raft.Term(v)
	case fieldFirst:
		m.First = raft.Index(v)
	case fieldNext:
		m.Next = raft.Index(v)
	case fieldCommit:
		m.Commit = raft.Index(v)
	case fieldMatch:
		m.Match = raft.Index(v)
	case fieldHintIndex:
		m.HintIndex = raft.Index(v)
	case fieldHintTerm:
		m.HintTerm = raft.Term(v)
	case fieldRound:
		m.Round = raft.Round(v)
	case fieldConfirmed:
		m.Confirmed = raft.Round(v)
	case fieldTime:
		m.Time = int64(v)
	case fieldRefusal:
		m.Refusal = raft.Refusal(v)
	case fieldPriority:
		m.Priority = uint8(v)
	case fieldPromise:
		m.Promise = time.Duration(v)
	case fieldRun:
		m.Run = raft.RunID(v)
	}
}

func bit(set bool) uint64 {
	if set {
		return 1
	}
	return 0
}

func membersAreEmpty(m *raft.Membership) bool {
	return len(m.Voters)+len(m.Outgoing)+len(m.Learners)+len(m.WantedVoters)+len(m.WantedLearners) == 0
}

func snapshotIsEmpty(s *raft.SnapshotMeta) bool {
	return s.Index == 0 && s.Group == 0 && s.Term == 0 && s.Time == 0 && s.Chain == 0 && s.MembershipIndex == 0 &&
		s.Size == 0 && s.Checksum == 0 && s.Limits == raft.GroupLimits{} && membersAreEmpty(&s.Membership)
}

func birthIsEmpty(b *raft.Birth) bool {
	return !b.Complete && b.Limits == raft.GroupLimits{} && membersAreEmpty(&b.Membership)
}

// DecodeMessage reads the head and the body of a message's frame into m, whatever m held before. The message's blocks
// refer to body, which must stay as it is; its membership entries are decoded into Memberships. Each block's checksum is
// verified, and so is all that can be without knowing the group: the fields of the type, that the blocks are of the
// message's group and are its range without a gap. An error matches ErrMalformed, and m is then of no use.
func DecodeMessage(head, body []byte, m *raft.Message) error {
	*m = raft.Message{}
	c := cursor{b: head}
	values := c.arrayUpTo(math.MaxInt32)
	m.Type = raft.MessageType(c.byte())
	m.Group, m.From, m.To = raft.GroupID(c.uint()), raft.ServerID(c.uint()), raft.ServerID(c.uint())
	m.Term = raft.Term(c.uint())
	fields := c.uint32()
	if fields >= fieldsEnd || values != headValues+bits.OnesCount32(fields&^fieldFlags) {
		c.fail("fields that this version does not know")
	}
	for rest := fields & (fieldSnapshot - 1); rest != 0 && c.why == ""; rest &= rest - 1 {
		c.scalar(m, rest&-rest)
	}
	if fields&fieldSnapshot != 0 {
		m.Snapshot = c.snapshotMeta()
	}
	if fields&fieldBirth != 0 {
		m.Birth = c.birth()
	}
	blocks := 0
	if fields&fieldBlocks != 0 {
		blocks = int(c.uint32())
	}
	m.WantSnapshot = fields&fieldWantSnapshot != 0
	for rest := fields & fieldLate; rest != 0 && c.why == ""; rest &= rest - 1 {
		c.scalar(m, rest&-rest)
	}
	if c.why == "" {
		c.checkMessage(m, fields, blocks)
	}
	if err := c.end("message"); err != nil {
		return err
	}
	return decodeBlocks(body, blocks, m)
}

// byte reads an unsigned integer of at most 8 bits.
func (c *cursor) byte() byte {
	v := c.uint()
	if v > math.MaxUint8 {
		c.fail("integer is too large")
		return 0
	}
	return byte(v)
}

// scalar reads one field that is a number or a flag. A field that is there is not zero.
func (c *cursor) scalar(m *raft.Message, field uint32) {
	v := uint64(1)
	switch field {
	case fieldReject, fieldForced:
	case fieldTime, fieldPromise:
		v = uint64(c.natural())
	case fieldRefusal, fieldPriority:
		v = uint64(c.byte())
	default:
		v = c.uint()
	}
	if v == 0 {
		c.fail("a field that is zero and there")
		return
	}
	setScalar(m, field, v)
}

// checkMessage refuses what no server of this version sends.
func (c *cursor) checkMessage(m *raft.Message, fields uint32, blocks int) {
	appends := m.Type == raft.MessageAppendRequest
	births := m.Type == raft.MessageBirthRequest || m.Type == raft.MessageBirthResponse
	switch {
	case m.Type == 0 || m.Type > raft.MessageReadIndexResponse:
		c.fail("unknown message type")
	case m.Group == 0 || m.From == 0 || m.To == 0:
		c.fail("a group or a server with id 0")
	case fields&fieldSnapshot != 0 && (m.Type != raft.MessageSnapshotOffer || snapshotIsEmpty(&m.Snapshot)):
		c.fail("a snapshot where none belongs")
	case fields&fieldSnapshot != 0 && m.Snapshot.Group != m.Group:
		c.fail("a snapshot of another group")
	case m.Type == raft.MessageSnapshotOffer && m.Snapshot.IsZero():
		c.fail("an offer of no snapshot")
	case fields&fieldBirth != 0 && (!births || birthIsEmpty(&m.Birth)):
		c.fail("a birth where none belongs")
	case m.First > m.Next || fields&fieldBlocks == 0 && m.First != m.Next:
		c.fail("a range without its blocks")
	case fields&fieldBlocks != 0 && (!appends || blocks == 0 || m.First == m.Next):
		c.fail("blocks where none belong")
	case fields&fieldBlocks != 0 && m.First != m.PrevIndex+1:
		c.fail("blocks that do not follow the previous entry")
	}
}

// decodeBlocks takes count blocks off body, which must hold nothing else.
func decodeBlocks(body []byte, count int, m *raft.Message) error {
	if count > len(body)/raft.BlockHeaderSize {
		return fmt.Errorf("%w: message: %d blocks in %d bytes", ErrMalformed, count, len(body))
	}
	if count > 0 {
		m.Blocks = make([]raft.Block, 0, count)
	}
	next := m.First
	for range count {
		meta, size, err := raft.ParseBlockHeader(body)
		if err != nil {
			return fmt.Errorf("%w: message: %w", ErrMalformed, err)
		}
		if size > len(body)-raft.BlockHeaderSize {
			return fmt.Errorf("%w: message: block at index %d is cut short", ErrMalformed, meta.First)
		}
		end := raft.BlockHeaderSize + size
		b, err := raft.ParseBlock(body[:end:end])
		if err != nil {
			return fmt.Errorf("%w: message: %w", ErrMalformed, err)
		}
		if b.Group() != m.Group || b.First() != next || b.Term() > m.Term {
			return fmt.Errorf("%w: message for group %d, term %d: block of group %d, index %d, term %d; index %d was next",
				ErrMalformed, m.Group, m.Term, b.Group(), b.First(), b.Term(), next)
		}
		next, body = b.Next(), body[end:]
		m.Blocks = append(m.Blocks, b)
	}
	if next != m.Next || len(body) != 0 {
		return fmt.Errorf("%w: message: blocks end at index %d of %d, with %d bytes left", ErrMalformed, next, m.Next, len(body))
	}
	var err error
	m.Memberships, err = DecodeMemberships(m.Blocks)
	return err
}

// DecodeMemberships returns the membership entries among blocks, decoded, with their indexes; nil where there are none.
// An error matches ErrMalformed.
func DecodeMemberships(blocks []raft.Block) (list []raft.MembershipAt, err error) {
	for i := range blocks {
		if blocks[i].Kind() != raft.KindMembership {
			continue
		}
		for entry := range blocks[i].Entries() {
			membership, err := DecodeMembership(entry)
			if err != nil {
				return nil, fmt.Errorf("membership entry %d: %w", blocks[i].First(), err)
			}
			list = append(list, raft.MembershipAt{Index: blocks[i].First(), Membership: membership})
		}
	}
	return list, nil
}
