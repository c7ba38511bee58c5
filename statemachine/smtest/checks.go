package smtest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/oarlock/oarlock/statemachine"
)

// checkRecord runs the script once; what it gives is what every other run is held against. Then it runs it with more damaged
// commands behind it.
func (s *suite) checkRecord() error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	m.gentle, m.watched = true, true
	if s.empty, err = m.state(); err != nil {
		return err
	}
	if s.want, err = m.play(s.script, nil); err != nil || len(s.cuts) == 0 {
		return err
	}
	return s.executeCuts()
}

// checkDeterminism runs the script on a second machine. Map order, a clock, randomness and variables that machines share
// end here, with the first command after which the machines differ.
func (s *suite) checkDeterminism() error {
	two, err := s.newSubject()
	if err != nil {
		return err
	}
	defer two.close()
	two.gentle, two.watched = true, true
	second, err := two.state()
	if err != nil {
		return err
	}
	if err := s.empty.apart(second, "a new machine is not like the new machine before it (do they share a variable, or look at the clock?)"); err != nil {
		return err
	}
	return two.finish(0)
}

// checkEffect: a script that changes nothing would find nothing.
func (s *suite) checkEffect() error {
	first, ok := s.empty.fingerprint()
	if !ok {
		return nil
	}
	for _, st := range s.want.states {
		if sum, _ := st.fingerprint(); sum != first {
			return nil
		}
	}
	m, err := s.played(0)
	if err != nil {
		return err
	}
	defer m.close()
	before, err := m.snapshot()
	if isRefused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := m.finish(0); err != nil {
		return err
	}
	after, err := m.snapshot()
	if err == nil && bytes.Equal(before, after) {
		err = fmt.Errorf("none of %s changed the state: give Options.Command or Options.Examples, commands that the machine understands",
			count(len(s.script), "command"))
	}
	return err
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
	if isRefused(err) {
		return s.lookForBlindness()
	}
	if err != nil {
		return err
	}
	for _, st := range s.want.states {
		if st.hash != first.hash {
			return s.lookForBlindness()
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

// lookForBlindness looks for a command that changes the snapshot and not the hash. That breaks no promise, and a difference in
// what the hash does not see is not found. It says nothing about machines that write equal states in more ways than one.
func (s *suite) lookForBlindness() error {
	one, err := s.newSubject()
	if err != nil {
		return err
	}
	defer one.close()
	two, err := s.newSubject()
	if err != nil {
		return err
	}
	defer two.close()
	var before []byte
	blind := ""
	for i, st := range s.script {
		var streams [2][]byte
		for k, m := range []*subject{one, two} {
			if _, err := m.play(s.script[i:i+1], nil); err != nil {
				return err
			}
			if streams[k], err = m.snapshot(); isRefused(err) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		if !bytes.Equal(streams[0], streams[1]) {
			return nil
		}
		if blind == "" && i > 0 && s.want.states[i].hash == s.want.states[i-1].hash && !bytes.Equal(before, streams[0]) {
			blind = fmt.Sprintf("all of the state: after %s the snapshot is another one and StateHash is not, so there is something that it does not see", st)
		}
		before = streams[0]
	}
	s.blind = blind
	return nil
}

// checkQuery asks in the middle of a run. The rest of the run must be as if nobody had asked.
func (s *suite) checkQuery() error {
	half := s.place("query", len(s.script)/2)
	return s.broke("query", half, half, s.queryAfter(half))
}

func (s *suite) queryAfter(half int) error {
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
	for _, q := range s.queries {
		s.at("Query of " + shown(q))
		a, aFailed, err := one.query(q)
		if err != nil {
			return err
		}
		b, bFailed, err := two.query(q)
		if err != nil {
			return err
		}
		if aFailed != bFailed || string(a) != string(b) {
			return fmt.Errorf("two machines in one state answer the query %s with %s (error: %t) and %s (error: %t)", shown(q), shown(a), aFailed, shown(b), bFailed)
		}
		after, err := one.state()
		if err != nil {
			return err
		}
		if err := before.apart(after, "the query %s changed the state", shown(q)); err != nil {
			return err
		}
	}
	if err := one.finish(half); err != nil {
		return fmt.Errorf("commands after queries differ from those without: %w", err)
	}
	return s.queryAndKeep(half)
}

// queryAndKeep lets answers alone and looks whether the machine does.
func (s *suite) queryAndKeep(at int) error {
	m, err := s.played(at)
	if err != nil {
		return err
	}
	defer m.close()
	m.keeping = true
	for _, q := range s.queries[:50] {
		if _, _, err := m.query(q); err != nil {
			return err
		}
	}
	if err := m.finish(at); err != nil {
		return err
	}
	return m.untouched()
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
		if err := states[0].apart(states[1], "after Expire at index %d, time %d", index, due); err != nil {
			return err
		}
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
	if _, ok := m.machine.(statemachine.ConcurrentQuerier); !ok || s.options.Inline {
		return nil
	}
	queries := s.queries[:100]
	var stop atomic.Bool
	var group sync.WaitGroup
	failed := make([]error, 3)
	started := make(chan struct{}, len(failed))
	for i := range failed {
		group.Go(func() {
			var once sync.Once
			start := func() { once.Do(func() { started <- struct{}{} }) }
			defer start()
			var err error
			failed[i] = gone("Query beside Apply")
			for n := i; !stop.Load() && err == nil; n++ {
				_, _, err = m.query(queries[n%len(queries)])
				start()
			}
			failed[i] = err
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
			return fmt.Errorf("after concurrent queries %s is answered with %s, without them with %s", shown(q), shown(a), shown(b))
		}
	}
	return nil
}
