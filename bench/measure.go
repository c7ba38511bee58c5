package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// load is one row of the table: what the clients do.
type load struct {
	reads   bool
	bytes   int
	clients int
}

func (l load) String() string {
	if l.reads {
		return fmt.Sprintf("reads x %d", l.clients)
	}
	return fmt.Sprintf("%d x %d", l.bytes, l.clients)
}

// sample is what one turn of one system gave, of which the process did nothing else.
type sample struct {
	perSecond float64
	syncs     float64 // per operation
	cpu       float64 // microseconds per operation, user and system, all members and clients
	allocs    float64 // per operation
	retries   uint64
}

// outcome is all rounds of a load.
type outcome struct {
	load    load
	systems []string
	samples map[string][]sample
	fsync   time.Duration // median of the machine's own fdatasync in the same minutes
	trip    time.Duration // median of a round trip on loopback
}

type plan struct {
	dir     string
	rounds  int
	turn    time.Duration
	retain  int64
	systems []string
	say     func(format string, args ...any)
}

// run measures one load. Every system is open all the time and idle except in its turns; the order rotates, so that none
// is always first after a pause.
func (p plan) run(l load) (_ outcome, err error) {
	dir, err := os.MkdirTemp(p.dir, "oarlock-bench-")
	if err != nil {
		return outcome{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	systems, err := newSystems(p.systems, p.retain)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{load: l, samples: map[string][]sample{}}
	var opened []System
	defer func() {
		for _, s := range opened {
			if closed := s.Close(); closed != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", s.Name(), closed))
			}
		}
	}()
	for _, s := range systems {
		out.systems = append(out.systems, s.Name())
		if err := s.Start(filepath.Join(dir, s.Name())); err != nil {
			return outcome{}, fmt.Errorf("starting %s: %w", s.Name(), err)
		}
		opened = append(opened, s)
	}
	var fsyncs, trips []time.Duration
	for round := range p.rounds {
		f, t, err := probe(dir)
		if err != nil {
			return outcome{}, err
		}
		fsyncs, trips = append(fsyncs, f), append(trips, t)
		for i := range systems {
			s := systems[(i+round)%len(systems)]
			got, err := p.turnOf(s, l)
			if err != nil {
				return outcome{}, fmt.Errorf("%s, %s: %w", s.Name(), l, err)
			}
			out.samples[s.Name()] = append(out.samples[s.Name()], got)
			p.say("  %-12s round %d/%d  %-14s %12s/s\n", l, round+1, p.rounds, s.Name(), count(got.perSecond))
		}
	}
	out.fsync, out.trip = median(fsyncs), median(trips)
	return out, nil
}

// turnOf lets a system work: a tenth of the time unmeasured, then measured.
func (p plan) turnOf(s System, l load) (sample, error) {
	if _, err := drive(s, l, p.turn/10); err != nil {
		return sample{}, err
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	stats, cpu, start := s.Stats(), cpuTime(), time.Now()
	n, err := drive(s, l, p.turn)
	if err != nil {
		return sample{}, err
	}
	elapsed, used := time.Since(start), cpuTime()-cpu
	since := s.Stats()
	runtime.ReadMemStats(&after)
	ops := float64(max(n, 1))
	return sample{
		perSecond: float64(n) / elapsed.Seconds(),
		syncs:     float64(since.Syncs-stats.Syncs) / ops,
		cpu:       float64(used.Microseconds()) / ops,
		allocs:    float64(after.Mallocs-before.Mallocs) / ops,
		retries:   since.Retries - stats.Retries,
	}, nil
}

// drive runs the clients, each of which waits for its answer before it asks again, and returns how many were answered.
func drive(s System, l load, during time.Duration) (uint64, error) {
	var stop atomic.Bool
	var total atomic.Uint64
	var group sync.WaitGroup
	failed := make(chan error, l.clients)
	timer := time.AfterFunc(during, func() { stop.Store(true) })
	defer timer.Stop()
	for i := range l.clients {
		group.Go(func() {
			command := make([]byte, l.bytes)
			for j := range command {
				command[j] = byte(i + j)
			}
			n := uint64(0)
			for ; !stop.Load(); n++ {
				var err error
				if l.reads {
					err = s.Query()
				} else {
					err = s.Propose(command)
				}
				if err != nil {
					failed <- err
					stop.Store(true)
					break
				}
			}
			total.Add(n)
		})
	}
	group.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return total.Load(), nil
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // It cannot fail with these arguments.
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type ordered interface {
	~int64 | ~float64
}

func median[T ordered](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// of returns one number of each sample.
func of(samples []sample, field func(sample) float64) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = field(s)
	}
	return values
}
