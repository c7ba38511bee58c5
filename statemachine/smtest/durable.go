package smtest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/oarlock/oarlock/statemachine"
)

// boundary is where a Durable machine may be found after a crash: between two of its transactions.
type boundary struct {
	steps   int // of the script executed before it
	through uint64
	records map[string]string
	state   state
}

// load calls Load and takes the records as a map.
func (m *subject) load() (index uint64, records map[string]string, err error) {
	m.suite.at("Load")
	var list []statemachine.Record
	var failed error
	err = guard("Load", func() { index, list, failed = m.durable.Load() })
	if err = errors.Join(err, failed); err != nil {
		return 0, nil, breaks(promiseStorage, fmt.Errorf("Load: %w", err))
	}
	records = map[string]string{}
	for _, r := range list {
		if _, twice := records[string(r.Key)]; twice {
			return 0, nil, breaks(promiseStorage, fmt.Errorf("Load returned the record %q twice", r.Key))
		}
		records[string(r.Key)] = string(r.Value)
	}
	return index, records, nil
}

// reopen crashes the machine and opens its storage again.
func (m *subject) reopen() error {
	if m.suite.options.Reopen == nil {
		return errors.New("the machine is Durable and Options.Reopen is nil: without it no crash can be tried")
	}
	m.suite.at("Options.Reopen")
	var machine statemachine.StateMachine
	var failed error
	err := guard("Options.Reopen", func() { machine, failed = m.suite.options.Reopen(m.machine) })
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("reopening after a crash: %w", err)
	}
	durable, ok := machine.(statemachine.Durable)
	if !ok {
		return errors.New("Options.Reopen returned a machine that is not Durable")
	}
	m.machine, m.durable = machine, durable
	return nil
}

// transaction calls ApplyDurable and holds it to what is said of changes: asked for once, when the results are there.
func (m *subject) transaction(entries []statemachine.Entry, results [][]byte, through uint64, changes []statemachine.Record) error {
	asked, returned := 0, false
	then := make([][]byte, len(results))
	err := m.durable.ApplyDurable(entries, results, through, func() []statemachine.Record {
		if asked++; returned {
			panic("changes was called after ApplyDurable had returned")
		}
		for i, r := range results {
			then[i] = bytes.Clone(r)
		}
		return changes
	})
	returned = true
	if err != nil {
		return err
	}
	if asked != 1 {
		return fmt.Errorf("it called changes %d times: once is what keeps state and records in one transaction", asked)
	}
	for i, r := range results {
		if !bytes.Equal(r, then[i]) {
			return fmt.Errorf("it called changes before the result of command %d of %d was there: the records hold the results", i+1, len(results))
		}
	}
	return nil
}

// checkDurable runs the script in transactions with records, crashes a few times, and goes on from where the machine
// says that it stands.
func (s *suite) checkDurable() error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer func() { m.close() }()
	if m.durable == nil {
		return nil
	}
	start, err := m.state()
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(s.options.Seed, 4))
	line := []boundary{{records: map[string]string{}, state: start}}
	floor := uint64(0) // what an earlier start has found
	for crashes := 0; ; {
		here := line[len(line)-1]
		done := here.steps == len(s.script) && !s.clockPending(here)
		if done && crashes >= 5 {
			break
		}
		if done || crashes < 5 && r.IntN(12) == 0 {
			if line, err = m.crash(line, floor); err != nil {
				return fmt.Errorf("crash at index %d: %w", here.through, err)
			}
			floor = line[len(line)-1].through
			crashes++
			continue
		}
		next, err := m.transact(r, here)
		if err != nil {
			return err
		}
		line = append(line, next)
	}
	return s.want.final.apart(line[len(line)-1].state, "after the last command, and five crashes")
}

// clockPending reports whether the first run had a clock entry that comes next.
func (s *suite) clockPending(here boundary) bool {
	n := here.steps
	return n > 0 && s.want.expired[n-1] && here.through < s.script[n-1].clockIndex()
}

// tickDurable executes a clock entry, a transaction of its own.
func (m *subject) tickDurable(here boundary) (boundary, error) {
	scheduled, ok := m.machine.(statemachine.Scheduled)
	last := m.suite.script[here.steps-1]
	next := boundary{steps: here.steps, through: last.clockIndex(), records: here.records}
	if !ok {
		return next, errors.New("Options.Reopen returned a machine that is not Scheduled, and the first one was")
	}
	err := m.expire(scheduled, next.through, last.entry.Time)
	if err == nil {
		next.state, err = m.state()
	}
	return next, err
}

// transact executes the clock entry that comes next, or a batch, possibly without commands, with changes to records. It
// returns where that ends.
func (m *subject) transact(r *rand.Rand, here boundary) (boundary, error) {
	s := m.suite
	if s.clockPending(here) {
		return m.tickDurable(here)
	}
	var batch []step
	next := boundary{steps: here.steps, through: here.through, records: maps.Clone(here.records)}
	if room := here.steps > 0 && here.through < s.script[here.steps].entry.Index-1; room && r.IntN(4) == 0 {
		next.through++
	} else {
		batch = s.batch(r, here.steps)
		next.steps += len(batch)
		next.through = batch[len(batch)-1].entry.Index
	}
	changes := changeRecords(r, next.records)
	entries, results := lend(batch)
	what := fmt.Sprintf("ApplyDurable of %d commands through index %d", len(batch), next.through)
	s.at(what)
	var failed error
	err := guard(what, func() { failed = m.transaction(entries, results, next.through, changes) })
	if failed != nil {
		err = fmt.Errorf("%s: %w", what, failed)
	}
	if err != nil {
		return next, err
	}
	for _, c := range changes {
		m.spoil(c.Key)
		m.spoil(c.Value)
	}
	if err := m.settle(what, batch, entries, results, &s.want); err != nil {
		return next, err
	}
	if len(batch) > 0 {
		m.now = batch[len(batch)-1].entry.Time
	}
	next.state, err = m.state()
	return next, err
}

// changeRecords makes changes and executes them on the model.
func changeRecords(r *rand.Rand, model map[string]string) []statemachine.Record {
	var changes []statemachine.Record
	for range r.IntN(4) {
		key := fmt.Sprintf("record %d", r.IntN(8))
		if slices.ContainsFunc(changes, func(c statemachine.Record) bool { return string(c.Key) == key }) {
			continue
		}
		if r.IntN(3) == 0 {
			changes = append(changes, statemachine.Record{Key: []byte(key)})
			delete(model, key)
			continue
		}
		value := fmt.Sprintf("value %d", r.Uint32())
		changes = append(changes, statemachine.Record{Key: []byte(key), Value: []byte(value)})
		model[key] = value
	}
	return changes
}

// crash reopens the machine and returns the line up to the boundary that it was found at.
func (m *subject) crash(line []boundary, floor uint64) ([]boundary, error) {
	if err := m.reopen(); err != nil {
		return nil, err
	}
	index, records, err := m.load()
	if err != nil {
		return nil, err
	}
	if index < floor {
		return nil, fmt.Errorf("Load says index %d, and said %d at an earlier start: it forgot what was complete", index, floor)
	}
	at := slices.IndexFunc(line, func(b boundary) bool { return b.through == index })
	if at < 0 {
		return nil, fmt.Errorf("Load says index %d, where no transaction ended: one is there in part", index)
	}
	found := line[at]
	if !maps.Equal(records, found.records) {
		return nil, fmt.Errorf("Load says index %d, where the records were %v, and returns %v", index, found.records, records)
	}
	if found.steps > 0 {
		m.now = m.suite.script[found.steps-1].entry.Time
	}
	got, err := m.state()
	if err != nil {
		return nil, err
	}
	if err := found.state.apart(got, "Load says index %d, and the state is not the one there", index); err != nil {
		return nil, err
	}
	return line[:at+1], nil
}

// checkRestoreDurable restores over a state with records, once from a good stream and once from one that ends early,
// and looks at what is there after a crash.
func (s *suite) checkRestoreDurable() error {
	from, err := s.played(len(s.script) / 3)
	if err != nil {
		return err
	}
	defer from.close()
	if from.durable == nil {
		return nil
	}
	stream, err := from.snapshot()
	if isRefused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	snapped, err := from.state()
	if err != nil {
		return err
	}
	index := s.through(len(s.script) / 3)
	snapshotAt := boundary{through: index, records: map[string]string{"of the snapshot": "1"}, state: snapped}
	if err := s.restoreAndCrash(stream, snapshotAt, true); err != nil {
		return err
	}
	if len(stream) == 0 {
		return nil
	}
	if err := s.restoreAndCrash(stream[:len(stream)/2], snapshotAt, false); err != nil {
		return fmt.Errorf("from a stream that ends early: %w", err)
	}
	return nil
}

func (s *suite) restoreAndCrash(stream []byte, to boundary, good bool) error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer func() { m.close() }()
	empty, err := m.state()
	if err != nil {
		return err
	}
	old := boundary{steps: 1, through: s.script[0].entry.Index, records: map[string]string{"of before": "0"}}
	result := make([][]byte, 1)
	entries, _ := lend(s.script[:1])
	before := []statemachine.Record{{Key: []byte("of before"), Value: []byte("0")}}
	if err := m.transaction(entries, result, old.through, before); err != nil {
		return err
	}
	if old.state, err = m.state(); err != nil {
		return err
	}
	records := []statemachine.Record{{Key: []byte("of the snapshot"), Value: []byte("1")}}
	failed, broken := m.restore(bytes.NewReader(stream), to.through, records)
	if broken != nil {
		return broken
	}
	if good != (failed == nil) {
		return fmt.Errorf("RestoreDurable returned %v", failed) //nolint:errorlint // a report of what came, not a cause
	}
	// Not everything need be durable yet; but what is there is one of these, whole.
	line := []boundary{{records: map[string]string{}, state: empty}, old}
	if good {
		line = append(line, to)
	}
	_, err = m.crash(line, 0)
	return err
}
