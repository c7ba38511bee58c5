package wire

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"

	"github.com/oarlock/oarlock/raft"
)

func exampleMembership() raft.Membership {
	return raft.Membership{
		Voters: []raft.Member{
			{ID: 1, Store: raft.StoreID{0: 0xa1, 15: 1}, Address: "one.example:7400"},
			{ID: 2, Store: raft.StoreID{0: 0xa2, 15: 2}, Address: "[fd00::2]:7400"},
			{ID: 300, Store: raft.StoreID{0: 0xa3, 15: 3}, Address: ""},
		},
		Outgoing: []raft.Member{{ID: 1, Store: raft.StoreID{0: 0xa1, 15: 1}, Address: "one.example:7400"}},
		Learners: []raft.Member{{ID: 1 << 40, Address: strings.Repeat("long.", 8) + "example:7400"}},
		WantedVoters: []raft.Member{
			{ID: 1, Store: raft.StoreID{0: 0xa1, 15: 1}, Address: "one.example:7400"},
			{ID: 2, Store: raft.StoreID{0: 0xa2, 15: 2}, Address: "[fd00::2]:7400"},
			{ID: 300, Store: raft.StoreID{0: 0xa3, 15: 3}, Address: ""},
		},
		WantedLearners: []raft.Member{{ID: 1 << 40, Address: strings.Repeat("long.", 8) + "example:7400"}},
	}
}

func exampleLimits() raft.GroupLimits {
	return raft.GroupLimits{
		SessionsMax: 10_000, SessionResultsMax: 256, SessionResultBytes: 1 << 20,
		SessionExpiryNanos: 3_600_000_000_000, ResultBytesMax: 2 << 20,
	}
}

func exampleSnapshot() raft.SnapshotMeta {
	return raft.SnapshotMeta{
		Group: 1, Index: 70_000, Term: 9, Time: 123_456_789_012, Chain: 0xfedcba9876543210,
		Membership: exampleMembership(), MembershipIndex: 5, Limits: exampleLimits(), Size: 1 << 33, Checksum: 0xdeadbeef,
	}
}

func TestRecordsKeepTheirBytes(t *testing.T) {
	compareGolden(t, "records.golden", []goldenCase{
		{"hard state, term 7, voted for 3", AppendHardState(nil, raft.HardState{Term: 7, Vote: 3})},
		{"hard state, of a log that was lost", AppendHardState(nil, raft.HardState{Term: 7, Vote: 3, Lost: true})},
		{"hard state, large numbers", AppendHardState(nil, raft.HardState{Term: 1 << 63, Vote: 1 << 16})},
		{"birth of nothing", AppendBirth(nil, raft.Birth{})},
		{"birth, complete", AppendBirth(nil, raft.Birth{Membership: exampleMembership(), Limits: exampleLimits(), Complete: true})},
		{"membership", AppendMembership(nil, exampleMembership())},
		{"snapshot", AppendSnapshotMeta(nil, exampleSnapshot())},
		{"trail, empty", AppendTrail(nil, nil)},
		{"trail", AppendTrail(nil, []raft.TermRun{{First: 1, Term: 1}, {First: 200, Term: 3}, {First: 70_000, Term: 9}})},
	})
}

// anyMember and the generators after it make values as a server could hold them.
func anyMembership(t *rapid.T) raft.Membership {
	ids := rapid.SliceOfNDistinct(rapid.Uint64Min(1), 1, 9, rapid.ID[uint64]).Draw(t, "ids")
	var m raft.Membership
	for _, id := range ids {
		member := raft.Member{ID: raft.ServerID(id), Address: rapid.StringN(0, 300, AddressBytesMax).Draw(t, "address")}
		copy(member.Store[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "store"))
		switch role := rapid.IntRange(0, 3).Draw(t, "role"); {
		case role == 0 || len(m.Voters) == 0:
			m.Voters = append(m.Voters, member)
		case role == 1:
			m.Learners = append(m.Learners, member)
		case role == 2:
			m.Outgoing = append(m.Outgoing, member)
		default:
			m.Voters = append(m.Voters, member)
			m.Outgoing = append(m.Outgoing, member)
		}
	}
	for _, list := range [][]raft.Member{m.Voters, m.Outgoing, m.Learners} {
		slices.SortFunc(list, func(a, b raft.Member) int { return cmp.Compare(a.ID, b.ID) })
	}
	switch {
	case m.Joint():
		m.WantedVoters = slices.Clone(m.Voters)
	case rapid.Bool().Draw(t, "changing"): // all who learn are to vote, and half of those who vote are to learn
		for k, v := range m.Voters {
			if k%2 == 0 {
				m.WantedVoters = append(m.WantedVoters, v)
			} else {
				m.WantedLearners = append(m.WantedLearners, v)
			}
		}
		m.WantedVoters = append(m.WantedVoters, m.Learners...)
		slices.SortFunc(m.WantedVoters, func(a, b raft.Member) int { return cmp.Compare(a.ID, b.ID) })
	}
	return m
}

func anyLimits(t *rapid.T) raft.GroupLimits {
	return raft.GroupLimits{
		SessionsMax: rapid.Uint32().Draw(t, "sessions"), SessionResultsMax: rapid.Uint32().Draw(t, "results"),
		SessionResultBytes: rapid.Uint32().Draw(t, "bytes"), SessionExpiryNanos: rapid.Int64Min(0).Draw(t, "expiry"),
		ResultBytesMax: rapid.Uint32().Draw(t, "result"),
	}
}

func anyBirth(t *rapid.T) raft.Birth {
	return raft.Birth{Membership: anyMembership(t), Limits: anyLimits(t), Complete: rapid.Bool().Draw(t, "complete")}
}

func anySnapshot(t *rapid.T) raft.SnapshotMeta {
	return raft.SnapshotMeta{
		Group: raft.GroupID(rapid.Uint64().Draw(t, "group")), Index: raft.Index(rapid.Uint64().Draw(t, "index")),
		Term: raft.Term(rapid.Uint64().Draw(t, "term")), Time: rapid.Int64Min(0).Draw(t, "time"),
		Chain: rapid.Uint64().Draw(t, "chain"), Membership: anyMembership(t),
		MembershipIndex: raft.Index(rapid.Uint64().Draw(t, "at")), Limits: anyLimits(t),
		Size: rapid.Int64Min(0).Draw(t, "size"), Checksum: rapid.Uint32().Draw(t, "checksum"),
	}
}

func anyTrail(t *rapid.T) []raft.TermRun {
	trail := []raft.TermRun{}
	var at raft.TermRun
	for range rapid.IntRange(0, 40).Draw(t, "runs") {
		at.First += raft.Index(rapid.Uint64Range(1, 1<<50).Draw(t, "index"))
		at.Term += raft.Term(rapid.Uint64Range(1, 1<<50).Draw(t, "term"))
		trail = append(trail, at)
	}
	return trail
}

// checkRecord holds one record to its promises: it reads back as it was, it is one MessagePack value to a reader that
// is not ours, and neither a shorter nor a longer one is accepted.
func checkRecord[V any](t *rapid.T, v V, appendTo func([]byte, V) []byte, decode func([]byte) (V, error)) {
	prefix := []byte("before")
	b := appendTo(prefix, v)
	require.Equal(t, prefix, b[:len(prefix)])
	b = b[len(prefix):]

	got, err := decode(b)
	require.NoError(t, err)
	require.Equal(t, v, got)

	other := msgpack.NewDecoder(bytes.NewReader(b))
	require.NoError(t, other.Skip())
	require.Error(t, other.Skip(), "more than one MessagePack value")

	_, err = decode(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")])
	require.ErrorIs(t, err, ErrMalformed)
	_, err = decode(append(bytes.Clone(b), 0))
	require.ErrorIs(t, err, ErrMalformed)
}

func TestRecordsReadBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := raft.HardState{Term: raft.Term(rapid.Uint64().Draw(t, "term")), Vote: raft.ServerID(rapid.Uint64().Draw(t, "vote"))}
		h.Lost = rapid.Bool().Draw(t, "lost")
		checkRecord(t, h, AppendHardState, DecodeHardState)
		checkRecord(t, anyBirth(t), AppendBirth, DecodeBirth)
		checkRecord(t, anyMembership(t), AppendMembership, DecodeMembership)
		checkRecord(t, anySnapshot(t), AppendSnapshotMeta, DecodeSnapshotMeta)
		checkRecord(t, anyTrail(t), AppendTrail, DecodeTrail)
	})
}

func TestRecordsRefuseWhatCannotBe(t *testing.T) {
	voters := func(n int) (m raft.Membership) {
		for i := range n {
			m.Voters = append(m.Voters, raft.Member{ID: raft.ServerID(i + 1)})
		}
		return m
	}
	_, err := DecodeMembership(AppendMembership(nil, voters(MembersMax)))
	require.NoError(t, err)

	refused := map[string]func() error{
		"too many members": func() error { _, err := DecodeMembership(AppendMembership(nil, voters(MembersMax+1))); return err },
		"no voter":         func() error { _, err := DecodeMembership(AppendMembership(nil, raft.Membership{})); return err },
		"address too long": func() error {
			m := voters(1)
			m.Voters[0].Address = strings.Repeat("x", AddressBytesMax+1)
			_, err := DecodeMembership(AppendMembership(nil, m))
			return err
		},
		"other version":  func() error { _, err := DecodeHardState([]byte{0x94, 2, 1, 1, 0xc2}); return err },
		"longer integer": func() error { _, err := DecodeHardState([]byte{0x94, 1, 0xcc, 1, 1, 0xc2}); return err },
		"other type":     func() error { _, err := DecodeHardState([]byte{0x94, 1, 0xa1, 'x', 1, 0xc2}); return err },
		"negative":       func() error { _, err := DecodeHardState([]byte{0x94, 1, 0xff, 1, 0xc2}); return err },
		"huge trail":     func() error { _, err := DecodeTrail([]byte{0x92, 1, 0xdd, 0x7f, 0xff, 0xff, 0xff}); return err },
		"half a run":     func() error { _, err := DecodeTrail([]byte{0x92, 1, 0x91, 1}); return err },
		"trail goes back": func() error {
			_, err := DecodeTrail(AppendTrail(nil, []raft.TermRun{{First: 5, Term: 2}, {First: 5, Term: 3}}))
			return err
		},
		"term goes back": func() error {
			_, err := DecodeTrail(AppendTrail(nil, []raft.TermRun{{First: 5, Term: 2}, {First: 6, Term: 2}}))
			return err
		},
		"joint with other voters than those that are wanted": func() error {
			m := raft.Membership{
				Voters: []raft.Member{{ID: 1}}, Outgoing: []raft.Member{{ID: 1, Store: raft.StoreID{1}}},
				WantedVoters: []raft.Member{{ID: 1, Store: raft.StoreID{1}}},
			}
			_, err := DecodeBirth(AppendBirth(nil, raft.Birth{Membership: m}))
			return err
		},
	}
	for name, decode := range refused {
		require.ErrorIs(t, decode(), ErrMalformed, name)
	}
}

func TestMembershipThatPassesTheCheckCanBeReadBack(t *testing.T) {
	require.NoError(t, CheckMembership(exampleMembership()))
	long := exampleMembership()
	long.Voters[0].Address = strings.Repeat("x", AddressBytesMax+1)
	require.ErrorContains(t, CheckMembership(long), "address of server 1")
	require.Error(t, CheckMembership(raft.Membership{}))
	many := raft.Membership{}
	for i := range MembersMax + 1 {
		many.Voters = append(many.Voters, raft.Member{ID: raft.ServerID(i + 1)})
	}
	require.ErrorContains(t, CheckMembership(many), "1025 servers")
}

func FuzzRecords(f *testing.F) {
	f.Add(AppendHardState(nil, raft.HardState{Term: 7, Vote: 3}))
	f.Add(AppendBirth(nil, raft.Birth{Membership: exampleMembership(), Limits: exampleLimits()}))
	f.Add(AppendMembership(nil, exampleMembership()))
	f.Add(AppendSnapshotMeta(nil, exampleSnapshot()))
	f.Add(AppendTrail(nil, []raft.TermRun{{First: 1, Term: 1}, {First: 200, Term: 3}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzRecord(t, b, AppendHardState, DecodeHardState)
		fuzzRecord(t, b, AppendBirth, DecodeBirth)
		fuzzRecord(t, b, AppendMembership, DecodeMembership)
		fuzzRecord(t, b, AppendSnapshotMeta, DecodeSnapshotMeta)
		fuzzRecord(t, b, AppendTrail, DecodeTrail)
	})
}

// fuzzRecord: whatever is read is written again as the same bytes, and whatever is not read is ErrMalformed.
func fuzzRecord[V any](t *testing.T, b []byte, appendTo func([]byte, V) []byte, decode func([]byte) (V, error)) {
	v, err := decode(b)
	if err != nil {
		require.ErrorIs(t, err, ErrMalformed)
		return
	}
	require.Equal(t, b, appendTo(nil, v))
}
