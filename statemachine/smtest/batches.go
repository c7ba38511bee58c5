package smtest

import (
	"fmt"
	"math/rand/v2"

	"github.com/oarlock/oarlock/statemachine"
)

// checkBatch cuts the script into batches of many sizes. A batch ends where the first run had a clock entry.
func (s *suite) checkBatch() error {
	if err := s.inBatches(false); err != nil {
		return err
	}
	if err := s.inBatches(true); err != nil || s.shrinking {
		return err
	}
	return s.twiceInBatches()
}

// twiceEvery is how many commands there are for one that comes twice.
const twiceEvery = 3

// twiceInBatches does the same with a script in which some commands stand twice in a row, as from a client that tries again, and so
// in one batch. If that fails, it is the script.
func (s *suite) twiceInBatches() error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	if _, ok := m.machine.(statemachine.BatchApplier); !ok || m.durable != nil {
		return nil
	}
	twice := &suite{factory: s.factory, options: s.options, queries: s.queries, watch: s.watch}
	for i, st := range s.script {
		twice.script = append(twice.script, st)
		if i%twiceEvery == 0 {
			twice.script = append(twice.script, st)
		}
	}
	for i := range twice.script {
		twice.script[i].number, twice.script[i].entry.Index = i, uint64(4+2*i)
	}
	m.suite = twice
	if twice.want, err = m.play(twice.script, nil); err == nil {
		err = twice.inBatches(false)
	}
	if err != nil {
		s.script = twice.script
	}
	return err
}

func (s *suite) inBatches(keeping bool) error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	m.keeping = keeping
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
			return last.here(fmt.Errorf("after %s: %w", last, err))
		}
		from += len(batch)
	}
	final, err := m.state()
	if err != nil {
		return err
	}
	if err := s.want.final.apart(final, "the same commands, one by one and in batches, leave different states"); err != nil {
		return err
	}
	return m.untouched()
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
			return st.here(fmt.Errorf("%s: the result of %s is %s, alone it was %s", what, st, shown(results[i]), shown(w)))
		}
		if string(entries[i].Command) != string(st.entry.Command) {
			return st.here(breaks(promiseBytes, fmt.Errorf("%s changed the bytes of %s, which it shares with the log", what, st)))
		}
	}
	for i := range entries {
		m.spoil(entries[i].Command)
		m.given(fmt.Sprintf("the result of %s, in a batch,", batch[i]), results[i])
		entries[i], results[i] = statemachine.Entry{}, nil
	}
	return nil
}
