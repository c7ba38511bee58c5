package kv

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the diff before committing it")

// TestFormatsAreThoseOfTheGoldenFile fails when bytes that are in somebody's log, snapshot or client change.
func TestFormatsAreThoseOfTheGoldenFile(t *testing.T) {
	m := New()
	var out bytes.Buffer
	commands := []struct {
		name    string
		command []byte
	}{
		{"put", Put(b("key"), b("value"))},
		{"put again, 1 s", PutExpiring(b("key"), b("value 2"), 1e9)},
		{"put, empty", Put(b("empty"), nil)},
		{"append", Append(b("key"), b(" and more"))},
		{"append 300 bytes", Append(b("long"), bytes.Repeat(b("x"), 300))},
		{"set if absent", CompareAndSetExpiring(b("lock"), nil, b("me"), 1<<40)},
		{"set if absent, is there", CompareAndSet(b("lock"), nil, b("you"))},
		{"set if equal", CompareAndSet(b("empty"), []byte{}, b("no more"))},
		{"delete", Delete(b("empty"))},
		{"delete, absent", Delete(b("empty"))},
		{"delete if equal", CompareAndDelete(b("lock"), b("you"))},
		{"malformed", b("put")},
		{"unknown", []byte{0x92, 0x7f, 0xc0}},
		{"too large", Append(bytes.Repeat(b("k"), KeyBytesMax+1), nil)},
	}
	for i, c := range commands {
		result := m.Apply(statemachine.Entry{Index: uint64(i + 1), Time: int64(i), Command: c.command})
		fmt.Fprintf(&out, "command %-24s %x\nresult  %-24s %x\n", c.name, clip(c.command), c.name, result)
	}
	for _, q := range []struct {
		name  string
		query []byte
	}{
		{"get", Get(b("key"))},
		{"get, absent", Get(b("nothing"))},
		{"scan", Scan(b("key"), b("long"), 10)},
		{"scan, more", Scan(nil, nil, 1)},
		{"hash", HashOf()},
		{"count", Count(nil, nil)},
		{"count, range", Count(b("l"), b("m"))},
	} {
		result, err := m.Query(q.query)
		require.NoError(t, err)
		fmt.Fprintf(&out, "query   %-24s %x\nanswer  %-24s %x\n", q.name, q.query, q.name, result)
	}
	fmt.Fprintf(&out, "hash     %016x\nsnapshot %x\n", m.StateHash(), written(t, m))

	const path = "testdata/formats.golden"
	if *update {
		require.NoError(t, os.WriteFile(path, out.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}
