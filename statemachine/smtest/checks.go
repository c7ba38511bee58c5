package smtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/oarlock/oarlock/statemachine"
)

// checkRecord runs the script once; what it gives is what every other run is held against.
func (s *suite) checkRecord() error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	m.gentle = true
	if s.empty, err = m.state(); err != nil {
		return err
	}
	s.want, err = m.play(s.script, nil)
	return err
}

// checkDeterminism runs the script on a second machine. Map order, a clock, randomness and variables that machines share
// end here, with the first command after which the machines differ.
func (s *suite) checkDeterminism() error {
	two, err := s.newSubject()
	if err != nil {
		return err
	}
	defer two.close()
	two.gentle = true
	second, err := two.state()
	if err != nil {
		return err
	}
	if d := s.empty.differs(second); d != "" {
		return fmt.Errorf("a new machine is not like the new machine before it (do they share a variable, or look at the clock?): %s", d)
	}
	return two.finish(0)
}

// checkBytes overwrites commands and queries as soon as they are no longer lent, and results as soon as they are given.
func (s *suite) checkBytes() error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	if err := m.finish(0); err != nil {
		return fmt.Errorf("the machine keeps bytes of Entry.Command after Apply, or of a result that it gave away; copy what you keep: %w", err)
	}
	return nil
}

// checkHash: a hash that never changes finds nothing.
func (s *suite) checkHash() error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	first, err := m.state()
	if err != nil || !first.hashed {
		return err
	}
	before, err := m.snapshot()
	if err != nil {
		return err
	}
	for _, st := range s.want.states {
		if st.hash != first.hash {
			return nil
		}
	}
	if err := m.finish(0); err != nil {
		return err
	}
	after, err := m.snapshot()
	if err == nil && len(before) != len(after) {
		return fmt.Errorf("it is %016x after each of %d commands, while the snapshot grew from %d to %d bytes", first.hash, len(s.script), len(before), len(after))
	}
	return err
}

// checkQuery asks in the middle of a run. The rest of the run must be as if nobody had asked.
func (s *suite) checkQuery() error {
	half := len(s.script) / 2
	one, err := s.played(half)
	if err != nil {
		return err
	}
	defer one.close()
	two, err := s.played(half)
	if err != nil {
		return err
	}
	defer two.close()
	before, err := one.state()
	if err != nil {
		return err
	}
	for _, q := range newQueries(s.options, 200) {
		s.at(fmt.Sprintf("Query of % x", clip(q)))
		a, aFailed, err := one.query(q)
		if err != nil {
			return err
		}
		b, bFailed, err := two.query(q)
		if err != nil {
			return err
		}
		if aFailed != bFailed || string(a) != string(b) {
			return fmt.Errorf("two machines in one state answer % x with % x (error: %t) and % x (error: %t)", clip(q), clip(a), aFailed, clip(b), bFailed)
		}
		after, err := one.state()
		if err != nil {
			return err
		}
		if d := before.differs(after); d != "" {
			return fmt.Errorf("the query % x changed the state: %s", clip(q), d)
		}
	}
	if err := one.finish(half); err != nil {
		return fmt.Errorf("commands after queries differ from those without: %w", err)
	}
	return nil
}

// played returns a machine that has executed the first n steps.
func (s *suite) played(n int) (*subject, error) {
	m, err := s.newSubject()
	if err != nil {
		return nil, err
	}
	if _, err := m.play(s.script[:n], &s.want); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// checkSchedule stops at several places of the run and executes what is due until nothing is. A machine may be periodic and
// go on for ever, but not stand still.
func (s *suite) checkSchedule() error {
	var waiting []int
	for i, st := range s.want.states {
		if st.hasDue {
			waiting = append(waiting, i+1)
		}
	}
	for i := range min(5, len(waiting)) {
		if err := s.drain(waiting[len(waiting)*i/5]); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) drain(at int) error {
	one, err := s.played(at)
	if err != nil {
		return err
	}
	defer one.close()
	two, err := s.played(at)
	if err != nil {
		return err
	}
	defer two.close()
	index := s.through(at)
	for range 1000 {
		due, ok, err := one.nextDue()
		if err != nil || !ok {
			return err
		}
		if again, _, err := one.nextDue(); err != nil || again != due {
			return errors.Join(err, fmt.Errorf("NextDue says %d and then %d, with nothing between", due, again))
		}
		index++
		var states [2]state
		for i, m := range []*subject{one, two} {
			if err := m.expire(m.machine.(statemachine.Scheduled), index, due); err != nil {
				return err
			}
			if states[i], err = m.state(); err != nil {
				return err
			}
		}
		if d := states[0].differs(states[1]); d != "" {
			return fmt.Errorf("after Expire at index %d, time %d: %s", index, due, d)
		}
	}
	return nil
}

// checkBatch cuts the script into batches of many sizes. A batch ends where the first run had a clock entry.
func (s *suite) checkBatch() error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	batcher, ok := m.machine.(statemachine.BatchApplier)
	if !ok || m.durable != nil {
		return nil
	}
	r := rand.New(rand.NewPCG(s.options.Seed, 2))
	for from := 0; from < len(s.script); {
		batch := s.batch(r, from)
		if err := m.applyBatch(batcher, batch, &s.want); err != nil {
			return err
		}
		last := batch[len(batch)-1]
		if _, err := m.tick(last); err != nil {
			return fmt.Errorf("after %s: %w", last, err)
		}
		from += len(batch)
	}
	final, err := m.state()
	if err != nil {
		return err
	}
	if d := s.want.final.differs(final); d != "" {
		return fmt.Errorf("the same commands, one by one and in batches, leave different states: %s", d)
	}
	return nil
}

func (s *suite) batch(r *rand.Rand, from int) []step {
	to := min(len(s.script), from+1+r.IntN(1+r.IntN(40)))
	for i := from; i < to; i++ {
		if s.want.expired[i] {
			return s.script[from : i+1]
		}
	}
	return s.script[from:to]
}

func (m *subject) applyBatch(batcher statemachine.BatchApplier, batch []step, want *recording) error {
	entries, results := lend(batch)
	what := fmt.Sprintf("ApplyBatch of %d commands from %s", len(batch), batch[0])
	m.suite.at(what)
	if err := guard(what, func() { batcher.ApplyBatch(entries, results) }); err != nil {
		return err
	}
	m.now = batch[len(batch)-1].entry.Time
	return m.settle(what, batch, entries, results, want)
}

// lend makes the slices of a batch call, which are valid only until it returns.
func lend(batch []step) ([]statemachine.Entry, [][]byte) {
	entries, results := make([]statemachine.Entry, len(batch)), make([][]byte, len(batch))
	for i, st := range batch {
		entries[i] = st.entry
		entries[i].Command = append([]byte{}, st.entry.Command...)
	}
	return entries, results
}

// settle compares the results of a batch with those of the first run and takes everything lent away again.
func (m *subject) settle(what string, batch []step, entries []statemachine.Entry, results [][]byte, want *recording) error {
	for i, st := range batch {
		if w := want.results[st.number]; string(results[i]) != string(w) {
			return fmt.Errorf("%s: the result of %s is % x, alone it was % x", what, st, clip(results[i]), clip(w))
		}
		if string(entries[i].Command) != string(st.entry.Command) {
			return fmt.Errorf("%s changed the bytes of %s, which it shares with the log", what, st)
		}
	}
	for i := range entries {
		m.spoil(entries[i].Command)
		m.spoil(results[i])
		entries[i], results[i] = statemachine.Entry{}, nil
	}
	return nil
}

// checkConcurrentQuery queries on several goroutines while commands are executed and snapshots are taken. The race
// detector sees what this cannot.
func (s *suite) checkConcurrentQuery() error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	if _, ok := m.machine.(statemachine.ConcurrentQuerier); !ok {
		return nil
	}
	queries := newQueries(s.options, 100)
	var stop atomic.Bool
	var group sync.WaitGroup
	failed := make([]error, 3)
	started := make(chan struct{}, len(failed))
	for i := range failed {
		group.Go(func() {
			for n := i; !stop.Load() && failed[i] == nil; n++ {
				_, _, failed[i] = m.query(queries[n%len(queries)])
				if n == i {
					started <- struct{}{}
				}
			}
		})
	}
	for range failed {
		<-started
	}
	played := m.finish(0)
	stop.Store(true)
	group.Wait()
	if err := errors.Join(append(failed, played)...); err != nil {
		return err
	}
	plain, err := s.played(len(s.script))
	if err != nil {
		return err
	}
	defer plain.close()
	for _, q := range queries {
		a, aFailed, err := m.query(q)
		if err != nil {
			return err
		}
		b, bFailed, err := plain.query(q)
		if err != nil {
			return err
		}
		if aFailed != bFailed || string(a) != string(b) {
			return fmt.Errorf("after concurrent queries % x is answered with % x, without them with % x", clip(q), clip(a), clip(b))
		}
	}
	return nil
}
