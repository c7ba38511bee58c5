package pebblelog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Benchmarks write to a real disk: set OARLOCK_BENCH_DIR to one that is not memory.
func benchStore(b *testing.B, options Options) (*Log, string) {
	b.Helper()
	parent := os.Getenv("OARLOCK_BENCH_DIR")
	if parent == "" {
		parent = b.TempDir()
	} else {
		var err error
		parent, err = os.MkdirTemp(parent, "pebblelog")
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, os.RemoveAll(parent)) })
	}
	dir := filepath.Join(parent, "store")
	require.NoError(b, Format(dir, testIdentity, options))
	l, err := Open(dir, options)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, l.Close()) })
	return l, dir
}

// latencies reports the median and the 99th percentile of single operations.
func latencies(b *testing.B, each []time.Duration) {
	slices.Sort(each)
	b.ReportMetric(float64(each[len(each)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(each[len(each)*99/100].Nanoseconds())/1e3, "p99-µs")
}

func benchSave(b *testing.B, l *Log, count, size int) {
	w := newWriter(1)
	require.NoError(b, l.Save([]persistentlog.Update{{Group: 1, Hard: &raft.HardState{Term: 1}}}))
	each := make([]time.Duration, 0, 1<<16)
	b.SetBytes(int64(count * size))
	b.ReportAllocs()
	for b.Loop() {
		updates := []persistentlog.Update{w.update(count, size)}
		start := time.Now()
		if err := l.Save(updates); err != nil {
			b.Fatal(err)
		}
		each = append(each, time.Since(start))
	}
	latencies(b, each)
}

func BenchmarkSave(b *testing.B) {
	for _, prepared := range []bool{true, false} {
		for _, count := range []int{1, 64} {
			b.Run(fmt.Sprintf("entries=%d/prepared=%t", count, prepared), func(b *testing.B) {
				options := Options{}
				if !prepared {
					options.WALPrepareBytes = -1
				}
				l, _ := benchStore(b, options)
				if prepared {
					waitForSpare(l)
				}
				benchSave(b, l, count, 200)
			})
		}
	}
}

// waitForSpare lets the first prepared file be written before anything is measured, and takes it into use by opening again.
func waitForSpare(l *Log) {
	for !l.fs.spare.longerThan(0) {
		time.Sleep(time.Millisecond)
	}
}

// BenchmarkAppendAndSync is what a save is compared with: one write and one fdatasync, to a file that grows and to one
// that was written before.
func BenchmarkAppendAndSync(b *testing.B) {
	for _, prepared := range []bool{true, false} {
		b.Run(fmt.Sprintf("prepared=%t", prepared), func(b *testing.B) {
			l, dir := benchStore(b, Options{WALPrepareBytes: -1})
			name := filepath.Join(dir, "bare")
			if prepared {
				require.NoError(b, os.WriteFile(name, make([]byte, 16<<20), 0o600))
			}
			f, err := l.options.FS.OpenReadWrite(name, walCategory)
			require.NoError(b, err)
			require.NoError(b, f.Sync())
			record := make([]byte, 500)
			each := make([]time.Duration, 0, 1<<16)
			for b.Loop() {
				start := time.Now()
				if _, err := f.Write(record); err != nil {
					b.Fatal(err)
				}
				if err := f.SyncData(); err != nil {
					b.Fatal(err)
				}
				each = append(each, time.Since(start))
			}
			latencies(b, each)
			require.NoError(b, f.Close())
		})
	}
}

// BenchmarkReopen opens a store of a million entries and loads its group; load-ms is the loading alone.
func BenchmarkReopen(b *testing.B) {
	for _, count := range []int{1, 64} {
		b.Run(fmt.Sprintf("entries-a-block=%d", count), func(b *testing.B) {
			const entries = 1 << 20
			options := Options{WALPrepareBytes: -1}
			l, dir := benchStore(b, options)
			w := newWriter(1)
			for w.next <= entries {
				u := persistentlog.Update{Group: 1, Hard: &raft.HardState{Term: 1}}
				for range 1024 / count * 4 {
					u.Blocks = append(u.Blocks, w.block(count, 128))
				}
				require.NoError(b, l.Save([]persistentlog.Update{u}))
			}
			require.NoError(b, l.Close())
			var loading time.Duration
			for b.Loop() {
				again, err := Open(dir, options)
				require.NoError(b, err)
				start := time.Now()
				state, err := again.Load(1)
				loading += time.Since(start)
				require.NoError(b, err)
				require.Equal(b, w.next, state.Next)
				require.NoError(b, again.Close())
			}
			b.ReportMetric(float64(loading.Microseconds())/1e3/float64(b.N), "load-ms")
		})
	}
}

// BenchmarkBlocks reads 10,000 entries in calls of at most 1 MiB.
func BenchmarkBlocks(b *testing.B) {
	for _, flushed := range []bool{false, true} {
		for _, count := range []int{1, 64} {
			b.Run(fmt.Sprintf("flushed=%t/entries-a-block=%d", flushed, count), func(b *testing.B) {
				const entries, size = 10_000, 128
				l, _ := benchStore(b, Options{WALPrepareBytes: -1})
				w := newWriter(1)
				u := persistentlog.Update{Group: 1}
				for w.next <= entries {
					u.Blocks = append(u.Blocks, w.block(count, size))
				}
				require.NoError(b, l.Save([]persistentlog.Update{u}))
				if flushed {
					require.NoError(b, l.db.Flush())
				}
				b.SetBytes(entries * size)
				b.ReportAllocs()
				for b.Loop() {
					for from := raft.Index(1); from < w.next; {
						blocks, err := l.Blocks(1, from, w.next, 1<<20)
						if err != nil {
							b.Fatal(err)
						}
						from = blocks[len(blocks)-1].Next()
					}
				}
			})
		}
	}
}
