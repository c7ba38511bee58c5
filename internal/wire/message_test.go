package wire

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"

	"github.com/oarlock/oarlock/raft"
)

// block makes a block of commands, or of one entry of another kind.
func block(group raft.GroupID, first raft.Index, term raft.Term, kind raft.Kind, bodies ...[]byte) raft.Block {
	buf := make([]byte, raft.BlockHeaderSize)
	for _, body := range bodies {
		buf = raft.AppendEntry(buf, body)
	}
	return raft.NewBlock(raft.BlockMeta{
		Group: group, First: first, Count: uint32(len(bodies)), Term: term, Kind: kind, Time: 77, Chain: 0xabcdef,
	}, buf)
}

// frameBytes is what a sender puts on the connection for m.
func frameBytes(m *raft.Message) []byte {
	b := AppendMessage(nil, m)
	for _, block := range m.Blocks {
		b = append(b, block.Bytes()...)
	}
	return b
}

// readMessage reads one frame that holds a message.
func readMessage(b []byte) (m raft.Message, err error) {
	f, err := NewFrameReader(bytes.NewReader(b), 8<<20).Next()
	if err != nil {
		return m, err
	}
	if f.Type != FrameMessage {
		return m, fmt.Errorf("frame of type %d", f.Type)
	}
	return m, DecodeMessage(f.Head, f.Body, &m)
}

func exampleAppend(entries, size int) raft.Message {
	bodies := make([][]byte, entries)
	for i := range bodies {
		bodies[i] = bytes.Repeat([]byte{byte(i)}, size)
	}
	return raft.Message{
		Type: raft.MessageAppendRequest, Group: 1, From: 1, To: 2, Term: 5, PrevIndex: 999_999, PrevTerm: 5,
		First: 1_000_000, Next: 1_000_000 + raft.Index(entries), Commit: 999_990, Round: 70_000, Confirmed: 69_999,
		Time: 123_456_789_012, Blocks: []raft.Block{block(1, 1_000_000, 5, raft.KindCommand, bodies...)},
	}
}

func exampleHeartbeat() raft.Message {
	return raft.Message{
		Type: raft.MessageHeartbeatRequest, Group: 1, From: 1, To: 2, Term: 5, Commit: 999_990, Round: 70_000,
		Confirmed: 69_999, Time: 123_456_789_012,
	}
}

// exampleMessages holds one of each type, with the fields that the comments of raft.Message give it.
func exampleMessages() []raft.Message {
	membership := block(3, 12, 4, raft.KindMembership, AppendMembership(nil, exampleMembership()))
	snapshot := exampleSnapshot()
	snapshot.Group = 3
	list := []raft.Message{
		{Type: raft.MessagePreVoteRequest, Term: 4, LastIndex: 300, LastTerm: 3},
		{Type: raft.MessagePreVoteResponse, Term: 4, Reject: true},
		{Type: raft.MessageVoteRequest, Term: 4, LastIndex: 70_000, LastTerm: 3, Forced: true},
		{Type: raft.MessageVoteResponse, Term: 4},
		{
			Type: raft.MessageAppendRequest, Term: 4, PrevIndex: 9, PrevTerm: 3, First: 10, Next: 13, Commit: 8, Round: 6,
			Confirmed: 5, Time: 1 << 40,
			Blocks:      []raft.Block{block(3, 10, 4, raft.KindCommand, []byte("one"), nil), membership},
			Memberships: []raft.MembershipAt{{Index: 12, Membership: exampleMembership()}},
		},
		{Type: raft.MessageAppendResponse, Term: 4, Reject: true, LastIndex: 20, PrevIndex: 9, HintIndex: 7, HintTerm: 2, Round: 6},
		{Type: raft.MessageAppendResponse, Term: 4, LastIndex: 20, Match: 12, Round: 6},
		{Type: raft.MessageHeartbeatRequest, Term: 4, Commit: 8, Round: 7, Confirmed: 6, Time: 1 << 40},
		{Type: raft.MessageHeartbeatResponse, Term: 4, Round: 7},
		{Type: raft.MessageSnapshotOffer, Term: 4, Snapshot: snapshot},
		{Type: raft.MessageBirthRequest}, // asks for what the receiver has
		{Type: raft.MessageBirthRequest, Birth: raft.Birth{Membership: exampleMembership(), Limits: exampleLimits()}},
		{Type: raft.MessageBirthResponse, Birth: raft.Birth{Membership: exampleMembership(), Limits: exampleLimits(), Complete: true}},
		{Type: raft.MessageRefusal, Term: 4, Refusal: raft.RefusalStranger},
		{Type: raft.MessageTransferRequest, Term: 4, LastIndex: 20, LastTerm: 4},
		{Type: raft.MessageHeartbeatResponse, Term: 4, Round: 7, WantSnapshot: true, Priority: 9, Promise: 300 * time.Millisecond},
		{Type: raft.MessageReadIndexRequest, Term: 4, Round: 17, Run: 1 << 60},
		{Type: raft.MessageReadIndexResponse, Term: 4, Round: 17, Run: 1 << 60, Commit: 20},
	}
	for i := range list {
		list[i].Group, list[i].From, list[i].To = 3, 1, 2
	}
	return list
}

func TestMessagesKeepTheirBytes(t *testing.T) {
	var cases []goldenCase
	for _, m := range exampleMessages() {
		cases = append(cases, goldenCase{m.Type.String(), frameBytes(&m)})
	}
	compareGolden(t, "messages.golden", cases)
}

func TestEveryTypeOfMessageArrivesAsItLeft(t *testing.T) {
	seen := map[raft.MessageType]bool{}
	for _, m := range exampleMessages() {
		got, err := readMessage(frameBytes(&m))
		require.NoError(t, err, m.Type)
		require.Equal(t, m, got)
		seen[m.Type] = true
	}
	for typ := raft.MessagePreVoteRequest; typ <= raft.MessageReadIndexResponse; typ++ {
		require.True(t, seen[typ], "no example of %s", typ)
	}
}

// anyMessage makes a message with any set of fields: what arrives must not depend on which ones its type is known to use.
func anyMessage(t *rapid.T) raft.Message {
	number := func(name string) uint64 {
		return rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 300), rapid.Uint64()).Draw(t, name)
	}
	id := rapid.Uint64Min(1)
	m := raft.Message{
		Type:  raft.MessageType(rapid.IntRange(1, int(raft.MessageReadIndexResponse)).Draw(t, "type")),
		Group: raft.GroupID(id.Draw(t, "group")), From: raft.ServerID(id.Draw(t, "from")), To: raft.ServerID(id.Draw(t, "to")),
		Term: raft.Term(number("term")), LastIndex: raft.Index(number("lastIndex")), LastTerm: raft.Term(number("lastTerm")),
		Reject: rapid.Bool().Draw(t, "reject"), Forced: rapid.Bool().Draw(t, "forced"),
		PrevIndex: raft.Index(number("prevIndex")), PrevTerm: raft.Term(number("prevTerm")),
		Commit: raft.Index(number("commit")), Match: raft.Index(number("match")),
		HintIndex: raft.Index(number("hintIndex")), HintTerm: raft.Term(number("hintTerm")),
		Round: raft.Round(number("round")), Confirmed: raft.Round(number("confirmed")),
		Time: int64(number("time") >> 1), Refusal: raft.Refusal(rapid.Byte().Draw(t, "refusal")),
		WantSnapshot: rapid.Bool().Draw(t, "wantSnapshot"), Priority: rapid.Byte().Draw(t, "priority"),
		Promise: time.Duration(number("promise") >> 1), Run: raft.RunID(number("run")),
	}
	m.First = m.PrevIndex + 1
	m.Next = m.First
	switch m.Type {
	case raft.MessageAppendRequest:
		anyBlocks(t, &m)
	case raft.MessageSnapshotOffer:
		m.Snapshot = anySnapshot(t)
		m.Snapshot.Group, m.Snapshot.Index = m.Group, max(m.Snapshot.Index, 1)
	case raft.MessageBirthRequest, raft.MessageBirthResponse:
		m.Birth = anyBirth(t)
	}
	return m
}

func anyBlocks(t *rapid.T, m *raft.Message) {
	m.Term = max(m.Term, 1)
	m.PrevIndex = min(m.PrevIndex, 1<<62)
	m.First = m.PrevIndex + 1
	m.Next = m.First
	for range rapid.IntRange(0, 4).Draw(t, "blocks") {
		kind, bodies := raft.KindCommand, [][]byte(nil)
		if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
			kind = raft.KindMembership
			membership := anyMembership(t)
			bodies = append(bodies, AppendMembership(nil, membership))
			m.Memberships = append(m.Memberships, raft.MembershipAt{Index: m.Next, Membership: membership})
		} else {
			bodies = rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 5).Draw(t, "bodies")
		}
		m.Blocks = append(m.Blocks, block(m.Group, m.Next, m.Term, kind, bodies...))
		m.Next = m.Blocks[len(m.Blocks)-1].Next()
	}
}

func TestAnyFieldOfAMessageArrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := anyMessage(t)
		b := frameBytes(&m)
		got, err := readMessage(b)
		require.NoError(t, err)
		require.Equal(t, m, got)
		require.LessOrEqual(t, len(AppendMessage(nil, &m)), overheadMost(&m))

		head := AppendMessage(nil, &m)[FrameHeaderSize:]
		other := msgpack.NewDecoder(bytes.NewReader(head))
		require.NoError(t, other.Skip())
		require.Error(t, other.Skip(), "more than one MessagePack value")

		at := rapid.IntRange(0, len(b)-1).Draw(t, "damage")
		b[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		_, err = readMessage(b)
		require.Error(t, err, "a flipped bit went unseen")
	})
}

func overheadMost(m *raft.Message) int {
	if m.Type == raft.MessageAppendRequest {
		return FrameOverheadMax
	}
	return 1 << 30
}

func TestMessageRefusesWhatCannotBe(t *testing.T) {
	spoil := map[string]func(*raft.Message){
		"unknown type":          func(m *raft.Message) { m.Type = 14 },
		"no type":               func(m *raft.Message) { m.Type = 0 },
		"no group":              func(m *raft.Message) { m.Group = 0 },
		"no sender":             func(m *raft.Message) { m.From = 0 },
		"no receiver":           func(m *raft.Message) { m.To = 0 },
		"blocks of other group": func(m *raft.Message) { m.Group = 9 },
		"gap before":            func(m *raft.Message) { m.First, m.PrevIndex = 9, 8 },
		"previous elsewhere":    func(m *raft.Message) { m.PrevIndex = 7 },
		"range too long":        func(m *raft.Message) { m.Next++ },
		"range too short":       func(m *raft.Message) { m.Next-- },
		"range backwards":       func(m *raft.Message) { m.Next = 1 },
		"blocks in wrong order": func(m *raft.Message) { m.Blocks[0], m.Blocks[1] = m.Blocks[1], m.Blocks[0] },
		"blocks missing":        func(m *raft.Message) { m.Blocks = nil },
		"one block missing":     func(m *raft.Message) { m.Blocks = m.Blocks[:1] },
		"blocks of later term":  func(m *raft.Message) { m.Term = 3 },
		"blocks in a heartbeat": func(m *raft.Message) { m.Type = raft.MessageHeartbeatRequest },
		"time before birth":     func(m *raft.Message) { m.Time = -1 },
		"a snapshot with it":    func(m *raft.Message) { m.Snapshot = exampleSnapshot() },
		"a birth with it":       func(m *raft.Message) { m.Birth.Complete = true },
		"offer of nothing":      func(m *raft.Message) { *m = raft.Message{Type: raft.MessageSnapshotOffer, Group: 3, From: 1, To: 2} },
		"offer of other group": func(m *raft.Message) {
			*m = raft.Message{Type: raft.MessageSnapshotOffer, Group: 3, From: 1, To: 2, Snapshot: exampleSnapshot()}
		},
		"membership that is none": func(m *raft.Message) { m.Blocks[1] = block(3, 12, 4, raft.KindMembership, []byte("x")) },
	}
	for name, f := range spoil {
		m := exampleMessages()[4]
		require.Equal(t, raft.MessageAppendRequest, m.Type)
		f(&m)
		_, err := readMessage(frameBytes(&m))
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func TestMessageWithoutBlocksCostsNoAllocation(t *testing.T) {
	m, buf := exampleHeartbeat(), make([]byte, 0, 512)
	var got raft.Message
	allocs := testing.AllocsPerRun(100, func() {
		buf = AppendMessage(buf[:0], &m)
		if err := DecodeMessage(buf[FrameHeaderSize:], nil, &got); err != nil {
			t.Fatal(err)
		}
	})
	require.Zero(t, allocs)
	require.Equal(t, m, got)
}

func FuzzMessage(f *testing.F) {
	for _, m := range exampleMessages() {
		b := frameBytes(&m)
		head := len(AppendMessage(nil, &m))
		f.Add(b[FrameHeaderSize:head], b[head:])
	}
	f.Fuzz(func(t *testing.T, head, body []byte) {
		var m raft.Message
		if err := DecodeMessage(head, body, &m); err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		again := frameBytes(&m)[FrameHeaderSize:]
		require.Equal(t, append(bytes.Clone(head), body...), again)
	})
}

func BenchmarkAppendMessage(b *testing.B) {
	for _, entries := range []int{0, 1, 64} {
		m := exampleHeartbeat()
		if entries > 0 {
			m = exampleAppend(entries, 128)
		}
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			buf := make([]byte, 0, 512)
			b.ReportAllocs()
			for b.Loop() {
				buf = AppendMessage(buf[:0], &m)
			}
		})
	}
}

func BenchmarkDecodeMessage(b *testing.B) {
	for _, entries := range []int{0, 1, 64} {
		m := exampleHeartbeat()
		if entries > 0 {
			m = exampleAppend(entries, 128)
		}
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			frame := frameBytes(&m)
			head := len(AppendMessage(nil, &m))
			var got raft.Message
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				if err := DecodeMessage(frame[FrameHeaderSize:head], frame[head:], &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReadMessage is the whole receiving side without a network: frames from a stream, each into its own buffer.
func BenchmarkReadMessage(b *testing.B) {
	for _, entries := range []int{0, 1, 64} {
		m := exampleHeartbeat()
		if entries > 0 {
			m = exampleAppend(entries, 128)
		}
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			frame := frameBytes(&m)
			r := NewFrameReader(&repeated{frame: frame}, 8<<20)
			var got raft.Message
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				f, err := r.Next()
				if err != nil {
					b.Fatal(err)
				}
				if err := DecodeMessage(f.Head, f.Body, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// repeated is a stream of one frame without end.
type repeated struct {
	frame []byte
	at    int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], r.frame[r.at:])
		n += k
		r.at = (r.at + k) % len(r.frame)
	}
	return n, nil
}
