package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCommandComesBackAsItWasAndTakesTheSizeItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Command{
			Session: rapid.Uint64().Draw(t, "session"), Sequence: rapid.Uint64().Draw(t, "sequence"),
			Floor:   rapid.Uint64().Draw(t, "floor"),
			Command: bytes.Repeat([]byte{7}, rapid.OneOf(rapid.IntRange(0, 300), rapid.Just(1<<16)).Draw(t, "size")),
		}
		b := AppendCommand(nil, c)
		require.Len(t, b, c.Size())
		got, err := DecodeCommand(b)
		require.NoError(t, err)
		require.Equal(t, c, got)
		_, err = DecodeCommand(b[:len(b)-1])
		require.ErrorIs(t, err, ErrMalformed)
		_, err = DecodeCommand(append(b, 0))
		require.ErrorIs(t, err, ErrMalformed)
	})
}

func TestCommandIsReadWithoutCopyOrAllocation(t *testing.T) {
	b := AppendCommand(nil, Command{Session: 300, Sequence: 1, Floor: 1, Command: []byte("command")})
	n := testing.AllocsPerRun(100, func() {
		c, err := DecodeCommand(b)
		if err != nil || &c.Command[len(c.Command)-1] != &b[len(b)-1] {
			t.Fatal("copied")
		}
	})
	require.Zero(t, n)
}

func TestStateRecordsComeBackAsTheyWere(t *testing.T) {
	a := Applied{Index: 9, Term: 2, Time: 77, Chain: 1 << 63, MembershipIndex: 3, Membership: []byte{1}, Sessions: 2}
	gotA, err := DecodeApplied(AppendApplied(nil, a))
	require.NoError(t, err)
	require.Equal(t, a, gotA)
	s := Session{ID: 5, Floor: 6, UsedIndex: 7, UsedTime: 8, Results: 9}
	gotS, err := DecodeSession(AppendSession(nil, s))
	require.NoError(t, err)
	require.Equal(t, s, gotS)
	r := Result{Sequence: 4, Code: CodeResultTooLarge, Result: []byte("x")}
	gotR, err := DecodeResult(AppendResult(nil, r))
	require.NoError(t, err)
	require.Equal(t, r, gotR)
}

func TestSessionEntryOfAnUnknownOperationIsRefused(t *testing.T) {
	e := SessionEntry{Op: SessionClose, Session: 12}
	got, err := DecodeSessionEntry(AppendSessionEntry(nil, e))
	require.NoError(t, err)
	require.Equal(t, e, got)
	_, err = DecodeSessionEntry(AppendSessionEntry(nil, SessionEntry{Op: 4}))
	require.ErrorIs(t, err, ErrMalformed)
}

func TestEntriesAndStateRecordsKeepTheirBytes(t *testing.T) {
	compareGolden(t, "entries.golden", []goldenCase{
		{"command outside of a session", AppendCommand(nil, Command{Command: []byte("put")})},
		{"command in session 300, sequence 7, floor 5", AppendCommand(nil, Command{Session: 300, Sequence: 7, Floor: 5, Command: []byte("put")})},
		{"command of 300 bytes", AppendCommand(nil, Command{Command: bytes.Repeat([]byte{1}, 300)})},
		{"session opened", AppendSessionEntry(nil, SessionEntry{Op: SessionOpen})},
		{"session 300 closed", AppendSessionEntry(nil, SessionEntry{Op: SessionClose, Session: 300})},
		{"session 300 kept", AppendSessionEntry(nil, SessionEntry{Op: SessionKeep, Session: 300})},
		{"id of a session", AppendSessionID(nil, 300)},
		{"state", AppendApplied(nil, Applied{Index: 9, Term: 2, Time: 77, Chain: 1 << 63, MembershipIndex: 3, Membership: []byte{1, 2}, Sessions: 2})},
		{"session", AppendSession(nil, Session{ID: 5, Floor: 6, UsedIndex: 700, UsedTime: 80_000, Results: 9})},
		{"result", AppendResult(nil, Result{Sequence: 4, Result: []byte("ok")})},
		{"result that was too large", AppendResult(nil, Result{Sequence: 4, Code: CodeResultTooLarge})},
	})
}
