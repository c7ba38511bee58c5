package pebblelog

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

func TestBytesReadAreThoseOfTheBlocksThatWereAskedForAndNoOthers(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	w := newWriter(1)
	var sizes []uint64
	for range 30 {
		b := w.Block(3, 100)
		sizes = append(sizes, uint64(b.Size()))
		require.NoError(t, l.Save([]persistentlog.Update{{Group: 1, Hard: &raft.HardState{Term: 1}, Blocks: []raft.Block{b}}}))
	}
	require.Zero(t, l.Stats().BytesRead, "saving reads no block")
	require.NoError(t, l.Close())

	l = openMem(t, mem)
	state, err := l.Load(1)
	require.NoError(t, err)
	require.Equal(t, sizes[29], l.Stats().BytesRead, "Load reads the last block and nothing else")

	_, err = l.Blocks(1, 62, state.Next, 1<<20)
	require.NoError(t, err)
	var last uint64
	for _, size := range sizes[20:] { // 61 to 63 is one block
		last += size
	}
	require.Equal(t, sizes[29]+last, l.Stats().BytesRead)
}
