package smtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/oarlock/oarlock/statemachine"
)

// subject is a machine under test: it calls it as a server would, and turns what goes wrong into errors.
type subject struct {
	suite   *suite
	machine statemachine.StateMachine
	durable statemachine.Durable // nil if it is not
	gentle  bool                 // leaves alone the bytes that it has borrowed or given away
	watched bool                 // is asked for its state after every command, whatever that takes
	snaps   bool                 // has a snapshot taken after every command, which nobody looks at
	keeping bool                 // leaves alone those that were given away, and keeps them
	kept    []gift
	now     int64
}

// gift is a result that was given away, and what it was then.
type gift struct {
	what       string
	bytes, was []byte
}

// given spoils a result that was given away, or keeps it to see what becomes of it.
func (m *subject) given(what string, b []byte) {
	if m.keeping {
		m.kept = append(m.kept, gift{what, b, bytes.Clone(b)})
		return
	}
	m.spoil(b)
}

// untouched looks at everything that was kept. In truth a result waits in a session's table for a client that asks again.
func (m *subject) untouched() error {
	for _, g := range m.kept {
		if !bytes.Equal(g.bytes, g.was) {
			return breaks(promiseBytes, fmt.Errorf("%s was %s when it was given away, and is %s now: the machine uses its bytes again; give away a copy",
				g.what, shown(g.was), shown(g.bytes)))
		}
	}
	return nil
}

func (s *suite) newSubject() (*subject, error) {
	s.at(theFactory)
	machine, err := Made(s.factory)
	if err != nil {
		return nil, breaks(PromiseFactory, err)
	}
	return s.adopt(machine)
}

// adopt wraps a machine that has executed nothing in this life.
func (s *suite) adopt(machine statemachine.StateMachine) (*subject, error) {
	m := &subject{suite: s, machine: machine}
	m.durable, _ = machine.(statemachine.Durable)
	if m.durable == nil {
		return m, nil
	}
	index, records, err := m.load()
	switch {
	case err != nil:
		return nil, err
	case index != 0 || len(records) != 0:
		return nil, breaks(PromiseFactory, fmt.Errorf("a new machine loads index %d and %d records: the factory must give each one storage of its own", index, len(records)))
	}
	return m, nil
}

func (m *subject) close() {
	if c, ok := m.machine.(io.Closer); ok {
		m.suite.at("Close of the machine")
		_ = c.Close() // Not part of the promise; it only frees what the test took.
	}
}

// poison is what borrowed bytes are overwritten with once they are not borrowed any more.
const poison = 0xdb

func (m *subject) spoil(b []byte) {
	if m.gentle {
		return
	}
	for i := range b {
		b[i] = poison
	}
}

// apply executes one step and returns a copy of its result.
func (m *subject) apply(s step) ([]byte, error) {
	m.suite.at("Apply of " + s.String())
	entry := s.entry
	entry.Command = bytes.Clone(entry.Command)
	m.now = entry.Time
	var result []byte
	var failed error
	err := guard("Apply of "+s.String(), func() {
		if m.durable != nil {
			results := make([][]byte, 1)
			failed = m.transaction([]statemachine.Entry{entry}, results, entry.Index, nil)
			result = results[0]
			return
		}
		result = m.machine.Apply(entry)
	})
	if err = errors.Join(err, breaks(promiseStorage, failed)); err != nil {
		return nil, err
	}
	if !bytes.Equal(entry.Command, s.entry.Command) {
		return nil, breaks(promiseBytes, fmt.Errorf("Apply changed the bytes of %s, which it shares with the log", s))
	}
	own := bytes.Clone(result)
	m.spoil(entry.Command)
	m.given("the result of "+s.String(), result)
	return own, nil
}

// tick gives the machine a clock entry after s if it is due, as a leader would.
func (m *subject) tick(s step) (expired bool, err error) {
	scheduled, ok := m.machine.(statemachine.Scheduled)
	if !ok {
		return false, nil
	}
	due, ok, err := m.nextDue()
	if err != nil || !ok || due > m.now {
		return false, err
	}
	return true, m.expire(scheduled, s.clockIndex(), m.now)
}

func (m *subject) nextDue() (nanos int64, ok bool, err error) {
	scheduled, is := m.machine.(statemachine.Scheduled)
	if !is {
		return 0, false, nil
	}
	m.suite.at("NextDue")
	err = guard("NextDue", func() { nanos, ok = scheduled.NextDue() })
	return nanos, ok, err
}

func (m *subject) expire(scheduled statemachine.Scheduled, index uint64, nanos int64) error {
	what := fmt.Sprintf("Expire at index %d, time %d", index, nanos)
	m.suite.at(what)
	var failed error
	err := guard(what, func() {
		scheduled.Expire(index, nanos)
		if m.durable != nil {
			failed = m.transaction(nil, nil, index, nil)
		}
	})
	if err = errors.Join(err, breaks(promiseStorage, failed)); err != nil {
		return err
	}
	m.now = nanos
	due, ok, err := m.nextDue()
	if err == nil && ok && due <= nanos {
		return breaks(promiseDue, fmt.Errorf("%s: %w: it says %d", what, statemachine.ErrStillDue, due))
	}
	return err
}

func (m *subject) query(q []byte) (result []byte, failed bool, err error) {
	what := "Query of " + shown(q)
	lent := bytes.Clone(q)
	var queryErr error
	err = guard(what, func() { result, queryErr = m.machine.Query(lent) })
	if err == nil && !bytes.Equal(lent, q) {
		err = breaks(promiseBytes, fmt.Errorf("%s changed the bytes of the query", what))
	}
	m.suite.asked.note(queryErr)
	own := bytes.Clone(result)
	m.spoil(lent)
	m.given("the answer to the query "+shown(q), result)
	return own, queryErr != nil, err
}

// capture takes a snapshot without writing it, and tries it again where the machine refuses.
func (m *subject) capture() (snapshot statemachine.Snapshot, err error) {
	m.suite.at("Snapshot")
	var failed error
	tries := int64(SnapshotTries)
	if m.suite.refusals.Load() >= refusalsMax {
		tries = 1
	}
	err = guard("Snapshot", func() { snapshot, failed = takeSnapshot(m.machine, tries) })
	switch {
	case err != nil:
		return nil, err
	case failed != nil:
		m.suite.refusals.Add(1)
		return nil, refused(failed)
	case snapshot == nil:
		return nil, breaks(PromiseSnapshot, errors.New("Snapshot returned neither a snapshot nor an error"))
	}
	m.suite.refusals.Store(0)
	return snapshot, nil
}

// write writes a captured snapshot and closes it.
func (m *subject) write(snapshot statemachine.Snapshot, to io.Writer) error {
	count := &counting{w: to}
	var n int64
	var failed, closed error
	m.suite.at("Snapshot.WriteTo")
	err := guard("Snapshot.WriteTo", func() { n, failed = snapshot.WriteTo(count) })
	m.suite.at("Snapshot.Close")
	err = errors.Join(err, failed, guard("Snapshot.Close", func() { closed = snapshot.Close() }))
	if err = errors.Join(err, closed); err != nil {
		return breaks(PromiseSnapshot, err)
	}
	if n != count.n {
		return breaks(PromiseSnapshot, fmt.Errorf("Snapshot.WriteTo says that it wrote %d bytes, and wrote %d", n, count.n))
	}
	return nil
}

func (m *subject) snapshot() ([]byte, error) {
	captured, err := m.capture()
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	err = m.write(captured, &buf)
	return buf.Bytes(), err
}

// restore gives the machine a snapshot that covers the log through index. broken is a bug; failed is Restore's error.
func (m *subject) restore(stream io.Reader, index uint64, records []statemachine.Record) (failed, broken error) {
	m.suite.at("Restore")
	broken = guard("Restore", func() {
		if m.durable != nil {
			failed = m.durable.RestoreDurable(stream, index, records)
			return
		}
		failed = m.machine.Restore(stream)
	})
	return failed, broken
}

type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
