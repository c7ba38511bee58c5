package kv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/oarlock/oarlock/statemachine"
)

// store is a Machine with a log position, so that a story reads as a list of commands.
type store struct {
	t *testing.T
	*Machine
	index uint64
	now   int64
}

func newStore(t *testing.T) *store { return &store{t: t, Machine: New()} }

func (s *store) apply(command []byte) []byte {
	s.index++
	return s.Apply(statemachine.Entry{Index: s.index, Term: 1, Time: s.now, Command: command})
}

func (s *store) get(key string) (string, bool) {
	s.t.Helper()
	result, err := s.Query(Get([]byte(key)))
	require.NoError(s.t, err)
	value, found, err := DecodeGet(result)
	require.NoError(s.t, err)
	return string(value), found
}

func (s *store) has(key, want string) {
	s.t.Helper()
	value, found := s.get(key)
	require.True(s.t, found, "key %q is not there", key)
	require.Equal(s.t, want, value)
}

func (s *store) lacks(key string) {
	s.t.Helper()
	value, found := s.get(key)
	require.False(s.t, found, "key %q is there: %q", key, value)
}

func b(s string) []byte { return []byte(s) }

func TestPutReportsWhetherTheKeyWasThere(t *testing.T) {
	s := newStore(t)
	for _, want := range []bool{false, true} {
		existed, err := DecodePut(s.apply(Put(b("k"), b("v"))))
		require.NoError(t, err)
		require.Equal(t, want, existed)
	}
	s.has("k", "v")
	s.lacks("other")
}

func TestAppendBuildsOnWhatIsThere(t *testing.T) {
	s := newStore(t)
	for i, want := range []int{2, 5} {
		length, err := DecodeAppend(s.apply(Append(b("k"), b([]string{"ab", "cde"}[i]))))
		require.NoError(t, err)
		require.Equal(t, want, length)
	}
	s.has("k", "abcde")
}

func TestCompareAndSetTellsAbsentFromEmpty(t *testing.T) {
	s := newStore(t)
	set := func(expected []byte, value string) bool {
		ok, err := DecodeCompareAndSet(s.apply(CompareAndSet(b("k"), expected, b(value))))
		require.NoError(t, err)
		return ok
	}
	require.False(t, set([]byte{}, "x"), "an absent key has no empty value")
	require.True(t, set(nil, ""))
	require.False(t, set(nil, "x"), "the key is there, and empty")
	require.True(t, set([]byte{}, "one"))
	require.False(t, set(b("two"), "x"))
	require.True(t, set(b("one"), "two"))
	s.has("k", "two")
}

func TestDeleteAndCompareAndDeleteRemoveOnlyWhatIsNamed(t *testing.T) {
	s := newStore(t)
	s.apply(Put(b("k"), b("mine")))
	s.apply(Put(b("kk"), b("other")))
	for _, step := range []struct {
		command []byte
		want    bool
	}{
		{CompareAndDelete(b("k"), b("yours")), false},
		{CompareAndDelete(b("absent"), b("")), false},
		{CompareAndDelete(b("k"), b("mine")), true},
		{Delete(b("k")), false},
		{Delete(b("kk")), true},
	} {
		existed, err := DecodeDelete(s.apply(step.command))
		require.NoError(t, err)
		require.Equal(t, step.want, existed)
	}
	require.Zero(t, s.Len())
	require.Zero(t, s.Bytes())
	require.Zero(t, s.StateHash())
}

func TestKeysExpireAtTheirTimeWithAndWithoutClockEntries(t *testing.T) {
	s := newStore(t)
	s.now = 1000
	s.apply(PutExpiring(b("a"), b("1"), 50))
	s.apply(PutExpiring(b("b"), b("2"), 10))
	s.apply(Put(b("c"), b("3")))
	nanos, ok := s.NextDue()
	require.True(t, ok)
	require.EqualValues(t, 1010, nanos)

	s.Expire(4, 1010) // a clock entry at the very time
	s.lacks("b")
	s.has("a", "1")

	s.now = 1049
	s.apply(Append(b("a"), b("+"))) // an append leaves the expiry alone
	s.has("a", "1+")
	s.now = 1050
	set, err := DecodeCompareAndSet(s.apply(CompareAndSet(b("a"), nil, b("again"))))
	require.NoError(t, err)
	require.True(t, set, "a key that is due must be gone for the command of the same time")
	_, ok = s.NextDue()
	require.False(t, ok)
	s.Expire(9, math.MaxInt64)
	s.has("a", "again")
	s.has("c", "3")
}

func TestPutReplacesTheExpiryOfTheKey(t *testing.T) {
	s := newStore(t)
	s.apply(PutExpiring(b("k"), b("1"), 10))
	s.apply(PutExpiring(b("k"), b("2"), 20))
	s.Expire(3, 10)
	s.has("k", "2")
	s.apply(Put(b("k"), b("3")))
	_, ok := s.NextDue()
	require.False(t, ok)
	require.Zero(t, s.state.dues.Len())
}

func TestTTLBeyondTheEndOfTimeSaturates(t *testing.T) {
	s := newStore(t)
	s.now = 100
	s.apply(PutExpiring(b("k"), b("v"), math.MaxInt64))
	nanos, ok := s.NextDue()
	require.True(t, ok)
	require.EqualValues(t, math.MaxInt64, nanos)
}

func TestRefusalsAreResultsAndChangeNothing(t *testing.T) {
	s := newStore(t)
	s.apply(Put(b("k"), bytes.Repeat(b("x"), ValueBytesMax)))
	before := s.StateHash()
	long := make([]byte, KeyBytesMax+1)
	for name, step := range map[string]struct {
		command []byte
		want    error
	}{
		"nothing":           {nil, ErrBadCommand},
		"not an array":      {b("hello"), ErrBadCommand},
		"cut":               {Put(b("k"), b("v"))[:5], ErrBadCommand},
		"more than it says": {append(Put(b("k"), b("v")), 0), ErrBadCommand},
		"a field missing":   {[]byte{0x92, opPut, 0xc4, 0}, ErrBadCommand},
		"wrong count":       {append([]byte{0x95}, Put(b("k"), b("v"))[1:]...), ErrBadCommand},
		"negative ttl":      {PutExpiring(b("k"), b("v"), -1), ErrBadCommand},
		"nil key":           {[]byte{0x92, opDelete, tagNil}, ErrBadCommand},
		"unknown":           {[]byte{0x91, 99}, ErrUnknownCommand},
		"long key":          {Put(long, nil), ErrTooLarge},
		"long value":        {Put(b("k"), make([]byte, ValueBytesMax+1)), ErrTooLarge},
		"long append":       {Append(b("k"), b("y")), ErrTooLarge},
		"long key to cas":   {CompareAndSet(long, nil, nil), ErrTooLarge},
	} {
		result := s.apply(step.command)
		_, err := decodeCommand(result)
		require.ErrorIs(t, err, step.want, name)
		require.Equal(t, before, s.StateHash(), name)
	}
}

func TestScanIsOrderedHalfOpenAndContinues(t *testing.T) {
	s := newStore(t)
	for i := range 50 {
		s.apply(Put(fmt.Appendf(nil, "k%02d", i), fmt.Appendf(nil, "v%d", i)))
	}
	s.apply(Put(b("j"), b("before")))
	s.apply(Put(b("l"), b("after")))
	from, to := PrefixRange(b("k"))
	var keys []string
	for more := true; more; {
		result, err := s.Query(Scan(from, to, 7))
		require.NoError(t, err)
		var pairs []Pair
		pairs, more, err = DecodeScan(result)
		require.NoError(t, err)
		require.LessOrEqual(t, len(pairs), 7)
		for _, p := range pairs {
			require.Equal(t, "v"+strings.TrimLeft(string(p.Key[1:2]), "0")+string(p.Key[2:]), string(p.Value))
			keys = append(keys, string(p.Key))
		}
		from = append(bytes.Clone(pairs[len(pairs)-1].Key), 0)
	}
	require.Len(t, keys, 50)
	require.IsIncreasing(t, keys)

	for _, c := range []struct {
		from, to []byte
		want     int
	}{{b("k10"), b("k20"), 10}, {nil, nil, 52}, {b("k49"), nil, 2}, {nil, b("k00"), 1}, {b("x"), b("a"), 0}} {
		result, err := s.Query(Count(c.from, c.to))
		require.NoError(t, err)
		n, err := DecodeCount(result)
		require.NoError(t, err)
		require.Equal(t, c.want, n, "%q to %q", c.from, c.to)
	}
}

func TestScanStopsBeforeItsAnswerIsTooLarge(t *testing.T) {
	s := newStore(t)
	for i := range 4 {
		s.apply(Put(fmt.Appendf(nil, "k%d", i), make([]byte, ValueBytesMax*2/5)))
	}
	s.apply(Put(b("l"), make([]byte, ValueBytesMax)))
	sizes := []int{}
	from := []byte{}
	for more := true; more; {
		result, err := s.Query(Scan(from, nil, 100))
		require.NoError(t, err)
		require.Less(t, len(result), ScanBytesMax+KeyBytesMax+64)
		var pairs []Pair
		pairs, more, err = DecodeScan(result)
		require.NoError(t, err)
		sizes = append(sizes, len(pairs))
		from = append(bytes.Clone(pairs[len(pairs)-1].Key), 0)
	}
	require.Equal(t, []int{2, 2, 1}, sizes)
}

func TestPrefixRangeEndsAfterTheLastKeyWithThePrefix(t *testing.T) {
	for prefix, want := range map[string][]byte{"a": b("b"), "a\xff": b("b"), "\xff\xff": nil, "": nil} {
		from, to := PrefixRange(b(prefix))
		require.Equal(t, prefix, string(from))
		require.Equal(t, want, to, "%q", prefix)
	}
}

func TestMalformedQueriesAreErrors(t *testing.T) {
	s := newStore(t)
	for _, q := range [][]byte{
		nil, b("?"),
		{0x91, 9},
		{0x92, queryGet, 7},
		Get(b("k"))[:4], append(Get(b("k")), 1),
		Scan(nil, nil, 0), Scan(nil, nil, -1),
		{0x93, queryCount, tagNil, tagNil},
	} {
		_, err := s.Query(q)
		require.ErrorIs(t, err, ErrBadQuery, "% x", q)
	}
}

func TestMalformedResultsAreErrors(t *testing.T) {
	for _, r := range [][]byte{nil, b("?"), {0x92, 0}, {0x92, 0, 1, 1}, {0x92, 99, 0}, {0x92, 1, 0xc4, 0}, {0x93, 0, tagTrue, 0xdd, 0xff, 0xff, 0xff, 0xfe}} {
		_, err := DecodePut(r)
		require.ErrorIs(t, err, ErrBadResult, "% x", r)
		_, _, err = DecodeScan(r)
		require.ErrorIs(t, err, ErrBadResult, "% x", r)
		if len(r) != 3 || r[1] == 99 {
			_, err = DecodeCount(r)
			require.ErrorIs(t, err, ErrBadResult, "% x", r)
		}
		_, _, err = DecodeGet(r)
		require.ErrorIs(t, err, ErrBadResult, "% x", r)
	}
}

func TestCommandsAreWhatAnyMessagePackLibraryWrites(t *testing.T) {
	s := newStore(t)
	foreign, err := msgpack.Marshal([]any{1, "key as str", []byte("value"), 7})
	require.NoError(t, err)
	existed, err := DecodePut(s.apply(foreign))
	require.NoError(t, err)
	require.False(t, existed)
	s.has("key as str", "value")

	for _, ours := range [][]byte{
		Put(b("k"), b("v")), Append(b("k"), make([]byte, 300)), CompareAndSet(b("k"), nil, b("v")),
		Delete(make([]byte, 255)), CompareAndDelete(b("k"), b("v")), Get(b("k")), Scan(nil, nil, 70_000), Count(b("a"), b("b")),
	} {
		var read []any
		require.NoError(t, msgpack.Unmarshal(ours, &read))
	}
	result, err := s.Query(Scan(nil, nil, 10))
	require.NoError(t, err)
	var read []any
	require.NoError(t, msgpack.Unmarshal(result, &read))
	require.Equal(t, []any{int8(0), false, []any{b("key as str"), b("value")}}, read)
}

func fill(m *Machine, keys int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range keys {
		command := PutExpiring(fmt.Appendf(nil, "key/%06d", i), fmt.Appendf(nil, "value %d", r.Uint64()), int64(r.IntN(2)*r.IntN(1_000_000)))
		m.Apply(statemachine.Entry{Index: uint64(i + 1), Command: command})
	}
}

func written(t testing.TB, m *Machine) []byte {
	s, err := m.Snapshot()
	require.NoError(t, err)
	var buf bytes.Buffer
	n, err := s.WriteTo(&buf)
	require.NoError(t, err)
	require.EqualValues(t, buf.Len(), n)
	require.NoError(t, s.Close())
	return buf.Bytes()
}

func TestRestoreBringsBackEverythingThatSnapshotSaw(t *testing.T) {
	from, to := New(), New()
	fill(from, 2000, 1)
	fill(to, 300, 2)
	require.NoError(t, to.Restore(bytes.NewReader(written(t, from))))
	require.Equal(t, from.StateHash(), to.StateHash())
	require.Equal(t, from.Bytes(), to.Bytes())
	require.Equal(t, from.Len(), to.Len())
	fromDue, _ := from.NextDue()
	toDue, _ := to.NextDue()
	require.Equal(t, fromDue, toDue)
	require.Equal(t, written(t, from), written(t, to))
}

func TestEveryDamagedByteOfASnapshotIsFoundAndTheOldStateStays(t *testing.T) {
	from, to := New(), New()
	fill(from, 20, 1)
	fill(to, 5, 2)
	stream, before := written(t, from), written(t, to)
	for i := range stream {
		damaged := bytes.Clone(stream)
		damaged[i] ^= 0x10
		require.ErrorIs(t, to.Restore(bytes.NewReader(damaged)), ErrBadSnapshot, "byte %d", i)
		require.ErrorIs(t, to.Restore(bytes.NewReader(stream[:i])), ErrBadSnapshot, "cut at %d", i)
	}
	require.ErrorIs(t, to.Restore(bytes.NewReader(append(bytes.Clone(stream), 0))), ErrBadSnapshot)
	broken := errors.New("disk")
	require.ErrorIs(t, to.Restore(io.MultiReader(bytes.NewReader(stream[:100]), failing{broken})), broken)
	require.ErrorIs(t, to.Restore(io.MultiReader(bytes.NewReader(stream), failing{broken})), broken)
	require.Equal(t, before, written(t, to))
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestSnapshotOfANewerVersionSaysSo(t *testing.T) {
	stream := written(t, New())
	stream[0] = snapshotVersion + 1
	require.ErrorContains(t, New().Restore(bytes.NewReader(stream)), "use a newer one")
}

func TestWriteToReportsItsWritersError(t *testing.T) {
	m := New()
	fill(m, 5000, 1) // more than the buffer
	s, err := m.Snapshot()
	require.NoError(t, err)
	broken := errors.New("disk")
	_, err = s.WriteTo(failing{broken})
	require.ErrorIs(t, err, broken)
	require.NoError(t, s.Close())
	_, err = s.WriteTo(io.Discard)
	require.Error(t, err, "written after Close")
}

func TestHashDependsOnWhatIsThereAndNotOnHowItCame(t *testing.T) {
	one, two := newStore(t), newStore(t)
	one.apply(Put(b("a"), b("1")))
	one.apply(Put(b("b"), b("2")))
	two.apply(PutExpiring(b("b"), b("x"), 5))
	two.apply(Put(b("a"), b("1")))
	require.NotEqual(t, one.StateHash(), two.StateHash())
	two.apply(Put(b("b"), b("2")))
	require.Equal(t, one.StateHash(), two.StateHash())
	two.apply(PutExpiring(b("b"), b("2"), 5))
	require.NotEqual(t, one.StateHash(), two.StateHash(), "the expiry is part of the state")
	one.apply(Put(b("a"), b("2")))
	one.apply(Put(b("b"), b("1")))
	two.apply(Put(b("b"), b("2")))
	require.NotEqual(t, one.StateHash(), two.StateHash(), "values that changed places")
}

func TestHashQueryIsTheStatesHashAndCount(t *testing.T) {
	m := New()
	m.Apply(statemachine.Entry{Index: 1, Command: Put([]byte("a"), []byte("1"))})
	result, err := m.Query(HashOf())
	require.NoError(t, err)
	hash, count, err := DecodeHash(result)
	require.NoError(t, err)
	require.Equal(t, m.StateHash(), hash)
	require.Equal(t, 1, count)
	_, _, err = DecodeHash(result[:3])
	require.ErrorIs(t, err, ErrBadResult)
}
