package pebblelog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
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
		updates := []persistentlog.Update{w.Update(count, size)}
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
				benchSave(b, preparedStore(b, prepared), count, 200)
			})
		}
	}
}

// preparedStore opens a store whose write-ahead log runs on a prepared file, or whose logs all grow.
func preparedStore(b *testing.B, prepared bool) *Log {
	if !prepared {
		l, _ := benchStore(b, Options{WALPrepareBytes: -1})
		return l
	}
	l, dir := benchStore(b, Options{})
	for !l.fs.spare.longerThan(0) {
		runtime.Gosched()
	}
	require.NoError(b, l.Close())
	l, err := Open(dir, Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, l.Close()) })
	return l
}

// BenchmarkSaveBesideAppend takes turns between a save of one 200-byte command and what it is compared with: one write of as
// many bytes and one fdatasync, each on a file that grows and on one that was written before. Turns make the numbers comparable on a
// machine that does other things as well.
func BenchmarkSaveBesideAppend(b *testing.B) {
	var names []string
	var turns []func() error
	for _, prepared := range []bool{true, false} {
		l, w := preparedStore(b, prepared), newWriter(1)
		names = append(names, fmt.Sprintf("save-prepared=%t", prepared))
		turns = append(turns, func() error { return l.Save([]persistentlog.Update{w.Update(1, 200)}) })

		_, dir := benchStore(b, Options{WALPrepareBytes: -1})
		name := filepath.Join(dir, "bare")
		if prepared {
			require.NoError(b, os.WriteFile(name, make([]byte, 16<<20), 0o600))
		}
		f, err := vfs.Default.OpenReadWrite(name, walCategory)
		require.NoError(b, err)
		require.NoError(b, f.Sync())
		b.Cleanup(func() { require.NoError(b, f.Close()) })
		record := make([]byte, 500)
		names = append(names, fmt.Sprintf("append-prepared=%t", prepared))
		turns = append(turns, func() error {
			_, err := f.Write(record)
			return errors.Join(err, f.SyncData())
		})
	}
	each := make([][]time.Duration, len(turns))
	for b.Loop() {
		for i, turn := range turns {
			start := time.Now()
			if err := turn(); err != nil {
				b.Fatal(err)
			}
			each[i] = append(each[i], time.Since(start))
		}
	}
	for i, name := range names {
		slices.Sort(each[i])
		b.ReportMetric(float64(each[i][len(each[i])/2].Nanoseconds())/1e3, name+"-p50-µs")
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
			for w.Next <= entries {
				u := persistentlog.Update{Group: 1, Hard: &raft.HardState{Term: 1}}
				for range 1024 / count * 4 {
					u.Blocks = append(u.Blocks, w.Block(count, 128))
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
				require.Equal(b, w.Next, state.Next)
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
				for w.Next <= entries {
					u.Blocks = append(u.Blocks, w.Block(count, size))
				}
				require.NoError(b, l.Save([]persistentlog.Update{u}))
				if flushed {
					require.NoError(b, l.db.Flush())
				}
				b.SetBytes(entries * size)
				b.ReportAllocs()
				for b.Loop() {
					for from := raft.Index(1); from < w.Next; {
						blocks, err := l.Blocks(1, from, w.Next, 1<<20)
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
