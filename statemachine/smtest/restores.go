package smtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// restoreDamaged restores a new machine after each damaged command, those that follow the script included, and executes the command
// once more on both. What a format of snapshots cannot hold, such as bytes that are no text, is often found in what no client should
// have sent. If that fails, the script goes on to there.
func (s *suite) restoreDamaged() error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	if m.durable != nil {
		return nil // A storage for each command would take long.
	}
	all, until := slices.Concat(s.script, s.cuts), time.Now().Add(s.options.Timeout/4)
	for i := range all {
		st := all[i]
		st.number, st.entry.Index = i, uint64(4+4*i) // with room for a clock entry, and for the command once more
		if _, err = m.apply(st); err == nil {
			_, err = m.tick(st)
		}
		if err == nil && st.damage != "" && time.Now().Before(until) {
			err = s.restoreAndRepeat(m, st)
		}
		if err != nil {
			s.script, s.broken = all[:i+1], spot{part: "damaged"}
			return all[i].here(fmt.Errorf("restored after %s, which is then executed once more: %w", all[i], err))
		}
	}
	return nil
}

// restoreAndRepeat restores a new machine from a snapshot of m, which has executed st last, and executes st again on both.
func (s *suite) restoreAndRepeat(m *subject, st step) error {
	stream, err := m.snapshot()
	if isRefused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	restored, err := s.newSubject()
	if err != nil {
		return err
	}
	defer restored.close()
	failed, err := restored.restore(bytes.NewReader(stream), st.clockIndex(), nil)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	st.entry.Index += 2
	restored.now = m.now
	var results [2][]byte
	var states [2]state
	for i, of := range []*subject{m, restored} {
		if results[i], err = of.apply(st); err != nil {
			return err
		}
		if states[i], err = of.state(); err != nil {
			return err
		}
	}
	if !bytes.Equal(results[0], results[1]) {
		return st.parted(fmt.Errorf("its result is %s, and without the snapshot %s", shown(results[1]), shown(results[0])), states[0], states[1])
	}
	return states[0].apart(states[1], "the states without the snapshot and with it")
}
