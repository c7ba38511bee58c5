package seglog

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
	"github.com/oarlock/oarlock/raft"
)

// BenchmarkSave saves one block of commands of 128 bytes, on the file system of the machine.
func BenchmarkSave(b *testing.B) {
	for _, count := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			dir := formatDisk(b, Options{})
			l, err := Open(dir, Options{})
			require.NoError(b, err)
			w := storetest.NewWriter(1)
			updates := []persistentlog.Update{{Group: 1, Blocks: make([]raft.Block, 1)}}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				updates[0].Blocks[0] = w.Block(count, 128)
				b.StartTimer()
				require.NoError(b, l.Save(updates))
			}
			require.NoError(b, l.Close())
		})
	}
}

// TestASaveAllocatesNothingForItsBlocks counts on a disk in memory that is as long as it will be.
func TestASaveAllocatesNothingForItsBlocks(t *testing.T) {
	dir := formatDisk(t, Options{SegmentBytes: 8 << 20})
	l, err := Open(dir, Options{SegmentBytes: 8 << 20, PrepareSegments: -1})
	require.NoError(t, err)
	w := storetest.NewWriter(1)
	const runs = 200
	var blocks []raft.Block
	for range (runs + 2) * 10 {
		blocks = append(blocks, w.Block(1, 128))
	}
	updates := []persistentlog.Update{{Group: 1}}
	per := testing.AllocsPerRun(runs, func() {
		updates[0].Blocks, blocks = blocks[:10], blocks[10:]
		if err := l.Save(updates); err != nil {
			t.Fatal(err)
		}
	})
	require.LessOrEqual(t, per, 3.0, "allocations of a save of ten blocks")
	require.NoError(t, l.Close())
}
