package kv

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/btree"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
)

const benchKeys = 100_000

func benchCommands(n int) []statemachine.Entry {
	r := rand.New(rand.NewPCG(1, 2))
	entries := make([]statemachine.Entry, n)
	for i := range entries {
		entries[i].Command = Put(fmt.Appendf(nil, "key/%06d", r.IntN(benchKeys)), make([]byte, 100))
	}
	return entries
}

// TestBytesIsCloseToTheMemoryThatTheStateTakes keeps Bytes honest to a third.
func TestBytesIsCloseToTheMemoryThatTheStateTakes(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := New()
	fill(m, benchKeys, 1)
	runtime.GC()
	runtime.ReadMemStats(&after)
	taken := float64(after.HeapAlloc) - float64(before.HeapAlloc)
	require.InEpsilon(t, taken, float64(m.Bytes()), 0.34, "%.0f bytes on the heap, Bytes says %d", taken, m.Bytes())
	runtime.KeepAlive(m)
}

// TestSnapshotOfManyKeysIsCapturedWithoutACopy would fail by orders of magnitude if what capturing takes depended on the number of keys.
func TestSnapshotOfManyKeysIsCapturedWithoutACopy(t *testing.T) {
	m := New()
	fill(m, benchKeys, 1)
	require.Less(t, testing.AllocsPerRun(100, func() {
		s, err := m.Snapshot()
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}), 10.0)
}

func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			m := New()
			fill(m, benchKeys, 1)
			entries, results := benchCommands(1<<16), make([][]byte, size)
			b.ReportAllocs()
			for i := 0; i < b.N; i += size {
				at := i & (1<<16 - 1)
				m.ApplyBatch(entries[at:at+size], results)
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	m := New()
	fill(m, benchKeys, 1)
	query := Get([]byte("key/050000"))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = m.Query(query)
	}
}

func BenchmarkSnapshotCapture(b *testing.B) {
	m := New()
	fill(m, benchKeys, 1)
	for b.Loop() {
		s, _ := m.Snapshot()
		_ = s.Close()
	}
}

func BenchmarkSnapshotWrite(b *testing.B) {
	m := New()
	fill(m, benchKeys, 1)
	for b.Loop() {
		s, _ := m.Snapshot()
		n, _ := s.WriteTo(io.Discard)
		b.SetBytes(n)
		_ = s.Close()
	}
}

// published is the other way to let queries run beside commands: after each batch an immutable clone is published, and
// queries take no lock. BenchmarkQueriesBesideCommands is why the Machine has a lock instead: the clone makes each batch copy
// the nodes that it touches.
type published struct {
	*Machine
	items atomic.Pointer[btree.BTreeG[item]]
}

func (p *published) ApplyBatch(entries []statemachine.Entry, results [][]byte) {
	p.Machine.ApplyBatch(entries, results)
	p.items.Store(p.state.items.Clone())
}

func (p *published) Query(query []byte) ([]byte, error) {
	r := reader{rest: query}
	r.array()
	r.int()
	it, _ := p.items.Load().Get(item{key: string(r.bytes())})
	return appendBin([]byte{0x92, 0}, it.value), nil
}

type besides interface {
	statemachine.BatchApplier
	Query(query []byte) ([]byte, error)
}

// BenchmarkQueriesBesideCommands measures gets while a writer applies batches as fast as it can. ns/op is of a get; what the
// writer managed meanwhile is writes/s.
func BenchmarkQueriesBesideCommands(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		for _, kind := range []string{"lock", "clone"} {
			b.Run(fmt.Sprintf("%s/batch=%d", kind, size), func(b *testing.B) {
				m := New()
				fill(m, benchKeys, 1)
				var machine besides = m
				if kind == "clone" {
					p := &published{Machine: m}
					p.items.Store(m.state.items.Clone())
					machine = p
				}
				benchBeside(b, machine, size)
			})
		}
	}
}

func benchBeside(b *testing.B, machine besides, size int) {
	entries, results := benchCommands(1<<16), make([][]byte, size)
	var stop atomic.Bool
	writes, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		for at := 0; !stop.Load(); at = (at + size) & (1<<16 - 1) {
			machine.ApplyBatch(entries[at:at+size], results)
			writes += size
		}
	}()
	query := Get([]byte("key/050000"))
	start := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = machine.Query(query)
		}
	})
	stop.Store(true)
	<-done
	b.ReportMetric(float64(writes)/time.Since(start).Seconds(), "writes/s")
}
