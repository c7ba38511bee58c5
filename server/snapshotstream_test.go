package server

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// TestSnapshotStreamKeepsItsBytes holds the stream in front of a machine's bytes against testdata/snapshot.golden. A
// difference is a change of what is on disk and needs a new version, not a new file.
func TestSnapshotStreamKeepsItsBytes(t *testing.T) {
	membership := raft.Membership{Voters: []raft.Member{{ID: 1, Store: raft.StoreID{7}, Address: "one:1"}}}
	at := wire.Applied{
		Index: 300, Term: 2, Time: 77, Chain: 1 << 63, MembershipIndex: 3, Membership: wire.AppendMembership(nil, membership),
	}
	images := []sessionImage{
		{Session: wire.Session{ID: 5, Floor: 6, UsedIndex: 200, UsedTime: 50, Results: 2}, results: []wire.Result{
			{Sequence: 6, Result: []byte("ok")}, {Sequence: 7, Code: wire.CodeResultTooLarge},
		}},
		{Session: wire.Session{ID: 9, Floor: 1, UsedIndex: 299, UsedTime: 77}},
	}
	var stream bytes.Buffer
	require.NoError(t, writeStateRecords(&stream, at, images))
	stream.WriteString("machine")
	var text strings.Builder
	for b := stream.Bytes(); len(b) > 0; b = b[min(32, len(b)):] {
		text.WriteString(hex.EncodeToString(b[:min(32, len(b))]) + "\n")
	}
	want, err := os.ReadFile("testdata/snapshot.golden")
	require.NoError(t, err)
	require.Equal(t, string(want), text.String())

	got, gotImages, err := readStateRecords(&stream)
	require.NoError(t, err)
	at.Sessions = 2
	require.Equal(t, at, got)
	for k := range images {
		require.Equal(t, images[k].Session, gotImages[k].Session)
		require.Len(t, gotImages[k].results, len(images[k].results))
		for n, r := range images[k].results {
			require.Equal(t, r.Sequence, gotImages[k].results[n].Sequence)
			require.Equal(t, r.Code, gotImages[k].results[n].Code)
			require.Equal(t, string(r.Result), string(gotImages[k].results[n].Result))
		}
	}
	require.Equal(t, "machine", stream.String())
}

func TestSnapshotStreamThatEndsAnywhereIsAnError(t *testing.T) {
	var stream bytes.Buffer
	images := []sessionImage{{Session: wire.Session{ID: 5, Floor: 6, Results: 1}, results: []wire.Result{{Sequence: 6, Result: make([]byte, 300)}}}}
	require.NoError(t, writeStateRecords(&stream, wire.Applied{Index: 1, Term: 1}, images))
	for n := range stream.Len() {
		_, _, err := readStateRecords(bytes.NewReader(stream.Bytes()[:n]))
		require.Error(t, err, "%d bytes", n)
	}
	_, _, err := readStateRecords(bytes.NewReader(stream.Bytes()))
	require.NoError(t, err)
}
