package smtest

import (
	"bytes"
	"fmt"
	"hash/fnv"

	"github.com/oarlock/oarlock/statemachine"
)

// state is what two machines must agree on: the hash if they are Hashers, otherwise the bytes of a snapshot; and when
// something falls due.
type state struct {
	hash   uint64
	hashed bool
	stream []byte
	sum    uint64 // of a snapshot, where its bytes are too many to keep
	summed bool
	due    int64
	hasDue bool
}

func (m *subject) state() (state, error) {
	s, err := m.cheapState()
	if err == nil && !s.hashed {
		s.stream, err = m.snapshot()
	}
	return s, err
}

// cheapState is what is asked after every command: without a Hasher only when something falls due, except in the two
// runs that are to find the first difference.
func (m *subject) cheapState() (s state, err error) {
	if hasher, ok := m.machine.(statemachine.Hasher); ok {
		m.suite.at("StateHash")
		s.hashed = true
		if err := guard("StateHash", func() { s.hash = hasher.StateHash() }); err != nil {
			return s, err
		}
	}
	if !s.hashed && m.gentle {
		stream, err := m.snapshot()
		if err != nil {
			return s, err
		}
		h := fnv.New64a()
		h.Write(stream) //nolint:errcheck // A hash.Hash never returns an error.
		s.sum, s.summed = h.Sum64(), true
	}
	s.due, s.hasDue, err = m.nextDue()
	return s, err
}

// differs says how two states differ, or nothing.
func (s state) differs(o state) string {
	switch {
	case s.hash != o.hash:
		return fmt.Sprintf("hash %016x and %016x", s.hash, o.hash)
	case s.summed && o.summed && s.sum != o.sum:
		return fmt.Sprintf("snapshots with checksums %016x and %016x (if equal states may have different snapshots, be a Hasher)", s.sum, o.sum)
	case !bytes.Equal(s.stream, o.stream):
		at := 0
		for at < min(len(s.stream), len(o.stream)) && s.stream[at] == o.stream[at] {
			at++
		}
		return fmt.Sprintf("snapshots of %d and %d bytes that differ from byte %d on: % x and % x (if equal states may have different snapshots, be a Hasher)",
			len(s.stream), len(o.stream), at, clip(s.stream[at:]), clip(o.stream[at:]))
	case s.hasDue != o.hasDue || s.due != o.due:
		return fmt.Sprintf("NextDue %d, %t and %d, %t", s.due, s.hasDue, o.due, o.hasDue)
	}
	return ""
}

// recording is what a run of the script gave.
type recording struct {
	results [][]byte
	states  []state // cheap ones, after each step
	expired []bool  // whether a clock entry followed the step
	final   state
}

// play executes steps. With a recording to hold them against it stops at the first difference.
func (m *subject) play(steps []step, against *recording) (recording, error) {
	var got recording
	for _, s := range steps {
		result, err := m.apply(s)
		if err != nil {
			return got, err
		}
		expired, err := m.tick(s)
		if err != nil {
			return got, fmt.Errorf("after %s: %w", s, err)
		}
		cheap, err := m.cheapState()
		if err != nil {
			return got, fmt.Errorf("after %s: %w", s, err)
		}
		got.results, got.states, got.expired = append(got.results, result), append(got.states, cheap), append(got.expired, expired)
		if against == nil {
			continue
		}
		if err := against.compare(s, result, cheap); err != nil {
			return got, err
		}
	}
	var err error
	got.final, err = m.state()
	return got, err
}

func (r *recording) compare(s step, result []byte, cheap state) error {
	if want := r.results[s.number]; !bytes.Equal(want, result) {
		return fmt.Errorf("first difference at %s: results % x and % x", s, clip(want), clip(result))
	}
	if d := r.states[s.number].differs(cheap); d != "" {
		return fmt.Errorf("first difference after %s: %s", s, d)
	}
	return nil
}

// finish plays the rest of the script and compares all of it, and the end, with the first run.
func (m *subject) finish(from int) error {
	got, err := m.play(m.suite.script[from:], &m.suite.want)
	if err != nil {
		return err
	}
	if d := m.suite.want.final.differs(got.final); d != "" {
		return fmt.Errorf("after the last command: %s", d)
	}
	return nil
}
