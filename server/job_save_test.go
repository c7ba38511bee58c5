package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
)

// blocksOf makes n blocks of one entry of size bytes each, which follow one another from index first on.
func blocksOf(first raft.Index, n, size int) (blocks []raft.Block, bytes int) {
	var chain uint64
	for k := range n {
		buf := raft.AppendEntry(make([]byte, raft.BlockHeaderSize), make([]byte, size))
		b := raft.NewBlock(raft.BlockMeta{Group: 1, First: first + raft.Index(k), Term: 3, Count: 1, Kind: raft.KindCommand, Chain: chain}, buf)
		blocks, bytes, chain = append(blocks, b), bytes+b.Size(), b.ChainAfter()
	}
	return blocks, bytes
}

// parts takes a save apart and saves it, each part alone.
func parts(t *testing.T, log persistentlog.PersistentLog, u persistentlog.Update, bytes int) (all []persistentlog.Update) {
	t.Helper()
	j := &SaveJob{update: u, bytes: bytes}
	for last := false; !last; {
		var part persistentlog.Update
		var size int
		part, size, last = j.part()
		require.LessOrEqual(t, size, persistentlog.SaveBytesMax)
		require.NoError(t, log.Save([]persistentlog.Update{part}))
		all = append(all, part)
	}
	return all
}

func TestSaveInPartsIsAtEveryPartALogThatMightHaveBeenSentLikeThat(t *testing.T) {
	newLog := func() *memlog.Log {
		return memlog.New(persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: 1, Store: raft.StoreID{1}})
	}
	hard := &raft.HardState{Term: 3, Vote: 2}
	blocks, bytes := blocksOf(1, 10, 1_000_000)
	whole := persistentlog.Update{
		Group: 1, Hard: hard, Blocks: blocks, Commit: 9, Snapshot: &raft.SnapshotMeta{Group: 1, Index: 9, Term: 3, Size: 1, Chain: blocks[8].ChainAfter()},
	}
	inParts, atOnce := newLog(), newLog()
	all := parts(t, inParts, whole, bytes)
	require.Len(t, all, 3)
	require.Equal(t, hard, all[0].Hard)
	for _, part := range all[:2] {
		require.Zero(t, part.Commit, "it may point past the end")
		require.Nil(t, part.Snapshot, "so may this")
	}
	require.NoError(t, atOnce.Save([]persistentlog.Update{whole}))
	want, err := atOnce.Load(1)
	require.NoError(t, err)
	got, err := inParts.Load(1)
	require.NoError(t, err)
	require.Equal(t, want, got)

	// What an installed snapshot brings stands on it, so it comes first.
	installed, bytes := blocksOf(101, 10, 1_000_000)
	all = parts(t, inParts, persistentlog.Update{
		Group: 1, Installed: true, Snapshot: &raft.SnapshotMeta{Group: 1, Index: 100, Term: 3, Size: 1}, Blocks: installed, Commit: 110,
	}, bytes)
	require.True(t, all[0].Installed)
	require.NotNil(t, all[0].Snapshot)
	got, err = inParts.Load(1)
	require.NoError(t, err)
	require.Equal(t, raft.Index(111), got.Next)
	require.Equal(t, raft.Index(110), got.Commit)
}

func TestBlockThatIsLargerThanACallIsACallOfItsOwn(t *testing.T) {
	blocks, bytes := blocksOf(1, 3, persistentlog.SaveBytesMax)
	j := &SaveJob{update: persistentlog.Update{Group: 1, Blocks: blocks}, bytes: bytes}
	for k := range 3 {
		part, _, last := j.part()
		require.Equal(t, 1, len(part.Blocks)) // Len would print megabytes
		require.Equal(t, k == 2, last)
	}
}
