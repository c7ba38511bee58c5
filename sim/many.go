package sim

import (
	"sync"
	"sync/atomic"
	"time"
)

// Totals is what came of many runs.
type Totals struct {
	Runs     int
	Calls    int
	Answered int
	Changes  int
	Faults   int
	Steps    uint64
	Virtual  time.Duration
	Real     time.Duration // on all cores together
	Elapsed  time.Duration
	ByKind   [faultKinds]int
	Coverage Coverage
	// Failures are the seeds that broke a rule, in the order in which they were found.
	Failures []uint64
}

// Many are runs of many seeds.
type Many struct {
	From    uint64 // the first seed
	Runs    int
	Workers int // how many run side by side, each on a goroutine of its own; 0: one
	// FailuresMax is after how many failures no further seed is begun; 0: one.
	FailuresMax int
	// Progress, if it is not nil, is called about every second, and not by two goroutines at once.
	Progress func(done int, t *Totals)
	// Now tells the real time, for the rates; required.
	Now func() time.Time
}

// Run runs the seeds. Which of several failures is found first depends on the machine; each of them repeats by its seed.
func (m Many) Run() *Totals {
	t, began := new(Totals), m.Now()
	var mu sync.Mutex
	var next atomic.Uint64
	var group sync.WaitGroup
	told := began
	for range max(1, m.Workers) {
		group.Go(func() {
			for {
				k := next.Add(1) - 1
				if k >= uint64(m.Runs) {
					return
				}
				start := m.Now()
				r := Run(NewPlan(m.From+k), RunOptions{})
				mu.Lock()
				t.add(m.From+k, r, m.Now().Sub(start))
				if len(t.Failures) >= max(1, m.FailuresMax) {
					next.Store(uint64(m.Runs))
				}
				if now := m.Now(); m.Progress != nil && now.Sub(told) >= time.Second {
					told, t.Elapsed = now, now.Sub(began)
					m.Progress(t.Runs, t)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	t.Elapsed = m.Now().Sub(began)
	return t
}

func (t *Totals) add(seed uint64, r *Result, took time.Duration) {
	t.Runs++
	t.Calls += r.Calls
	t.Answered += r.Answered
	t.Changes += r.Changes
	t.Faults += r.Faults
	t.Steps += r.Steps
	t.Virtual += r.Virtual
	t.Real += took
	for k, n := range r.ByKind {
		t.ByKind[k] += n
	}
	t.Coverage.Add(&r.Coverage)
	if r.Failure != nil {
		t.Failures = append(t.Failures, seed)
	}
}
