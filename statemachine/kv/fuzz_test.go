package kv

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/oarlock/oarlock/statemachine"
)

// FuzzApply looks for a command that panics, that two machines answer differently, or that leaves what is derived from
// the items (hash, memory, expiry) out of step with them.
func FuzzApply(f *testing.F) {
	for _, c := range [][]byte{
		Put(b("k"), b("v")), PutExpiring(b("k"), b("v"), 5), Append(b("k"), b("v")), Delete(b("k")),
		CompareAndSet(b("k"), b("v"), b("w")), CompareAndDelete(b("k"), b("w")), nil,
		{0xdd, 0xff, 0xff, 0xff, 0xff},
	} {
		f.Add(c, Put(b("k"), b("v")), int64(3))
	}
	f.Fuzz(func(t *testing.T, first, second []byte, step int64) {
		one, two := New(), New()
		now := int64(0)
		for i, command := range [][]byte{first, second, first} {
			entry := statemachine.Entry{Index: uint64(i + 1), Time: now, Command: command}
			results := make([][]byte, 1)
			two.ApplyBatch([]statemachine.Entry{entry}, results)
			result := one.Apply(entry)
			if !bytes.Equal(result, results[0]) {
				t.Fatalf("Apply: % x, ApplyBatch: % x", result, results[0])
			}
			if _, err := decodeCommand(result); errors.Is(err, ErrBadResult) {
				t.Fatalf("result % x: %v", result, err)
			}
			if step > 0 && now < math.MaxInt64-step {
				now += step
			}
		}
		one.Expire(4, now)
		if due, ok := one.NextDue(); ok && due <= now {
			t.Fatalf("due %d at %d", due, now)
		}
		again := New()
		if err := again.Restore(bytes.NewReader(written(t, one))); err != nil {
			t.Fatal(err)
		}
		if again.StateHash() != one.StateHash() || again.Bytes() != one.Bytes() || again.state.dues.Len() != one.state.dues.Len() {
			t.Fatalf("restored: hash %x %x, bytes %d %d", again.StateHash(), one.StateHash(), again.Bytes(), one.Bytes())
		}
	})
}

// FuzzQuery looks for a query that panics or changes the state.
func FuzzQuery(f *testing.F) {
	for _, q := range [][]byte{Get(b("k")), Scan(nil, nil, 3), Scan(b("a"), b("z"), math.MaxInt), Count(nil, nil), Count(b("z"), b("a")), nil} {
		f.Add(q)
	}
	m := New()
	fill(m, 100, 1)
	hash := m.StateHash()
	f.Fuzz(func(t *testing.T, query []byte) {
		result, err := m.Query(query)
		if (err == nil) == (result == nil) || err != nil && !errors.Is(err, ErrBadQuery) {
			t.Fatalf("% x, %v", result, err)
		}
		if m.StateHash() != hash || m.Len() != 100 {
			t.Fatal("the query changed the state")
		}
	})
}

// FuzzRestore looks for a stream that panics, takes memory that its length does not warrant, is accepted without being
// what WriteTo would write, or harms the old state when it is refused.
func FuzzRestore(f *testing.F) {
	m := New()
	f.Add(written(f, m))
	fill(m, 3, 1)
	f.Add(written(f, m))
	f.Add(written(f, m)[:40])
	f.Fuzz(func(t *testing.T, stream []byte) {
		m := New()
		fill(m, 2, 9)
		before := written(t, m)
		if err := m.Restore(bytes.NewReader(stream)); err != nil {
			if !errors.Is(err, ErrBadSnapshot) || !bytes.Equal(before, written(t, m)) {
				t.Fatalf("%v; state kept: %v", err, bytes.Equal(before, written(t, m)))
			}
			return
		}
		again := New()
		if err := again.Restore(bytes.NewReader(written(t, m))); err != nil || again.StateHash() != m.StateHash() {
			t.Fatalf("accepted, but not what it wrote: %v", err)
		}
	})
}

// FuzzDecode looks for a result that makes a decoder panic.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x92, 0, 1})
	f.Add([]byte{0x93, 0, tagTrue, 0x92, 0xc4, 1, 'k', 0xc4, 1, 'v'})
	f.Fuzz(func(t *testing.T, result []byte) {
		if pairs, _, err := DecodeScan(result); err == nil && len(pairs) > len(result) {
			t.Fatal("more pairs than bytes")
		}
		_, _, getErr := DecodeGet(result)
		_, putErr := DecodePut(result)
		_, countErr := DecodeCount(result)
		for _, err := range []error{getErr, putErr, countErr} {
			if errors.Is(err, ErrBadQuery) {
				t.Fatal(err)
			}
		}
	})
}
