package smtest

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/oarlock/oarlock/statemachine"
)

// state is what two machines must agree on: the hash if they are Hashers, otherwise the bytes of a snapshot or, where those
// may vary, answers to queries; and when something falls due.
type state struct {
	hash   uint64
	hashed bool
	stream []byte
	sum    uint64 // of a snapshot, where its bytes are too many to keep
	summed bool

	answers []string // to queries

	refused error // why there is none of these: it is not known then

	due    int64
	hasDue bool
}

func (m *subject) state() (state, error) {
	s, err := m.cheapState()
	switch {
	case err != nil || s.hashed:
	case m.suite.options.SnapshotsVary:
		s.answers, err = m.answers()
	default:
		if s.stream, err = m.snapshot(); isRefused(err) {
			s.refused, err = err, nil
		}
	}
	return s, err
}

// finalState is state where a snapshot has to be had, as no command follows after which it could be tried again.
func (m *subject) finalState() (state, error) {
	s, err := m.state()
	if err == nil {
		err = s.refused
	}
	return s, err
}

// answersMax is how many queries tell two states apart where nothing else can.
const answersMax = 40

func (m *subject) answers() ([]string, error) {
	o := m.suite.options
	if o.Query == nil && o.QueryExamples == nil {
		return nil, nil
	}
	var all []string
	for _, q := range m.suite.queries[:answersMax] {
		result, failed, err := m.query(q)
		if err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprintf("%s (error: %t) to %s", shown(result), failed, shown(q)))
	}
	return all, nil
}

// cheapState is what is asked after every command: without a Hasher only when something falls due, except in the two
// runs that are to find the first difference, and where a difference is looked for.
func (m *subject) cheapState() (s state, err error) {
	if hasher, ok := m.machine.(statemachine.Hasher); ok {
		m.suite.at("StateHash")
		s.hashed = true
		if err := guard("StateHash", func() { s.hash = hasher.StateHash() }); err != nil {
			return s, err
		}
	}
	if m.snaps {
		if _, err := m.snapshot(); err != nil && !isRefused(err) {
			return s, err
		}
	}
	if !s.hashed && (m.watched || m.suite.thorough) && !m.suite.options.SnapshotsVary {
		stream, err := m.snapshot()
		switch {
		case isRefused(err):
			s.refused = err
		case err != nil:
			return s, err
		default:
			s.sum, s.summed = sumOf(stream), true
		}
	}
	s.due, s.hasDue, err = m.nextDue()
	return s, err
}

func sumOf(stream []byte) uint64 {
	h := fnv.New64a()
	h.Write(stream) //nolint:errcheck // A hash.Hash never returns an error.
	return h.Sum64()
}

// fingerprint is the state in a few bytes, if it is known.
func (s state) fingerprint() (sum uint64, ok bool) {
	switch {
	case s.hashed:
		return s.hash, true
	case s.summed:
		return s.sum, true
	case s.stream != nil:
		return sumOf(s.stream), true
	}
	return 0, false
}

// hashesOf returns the fingerprints of two states that differ.
func hashesOf(a, b state) []string {
	one, known := a.fingerprint()
	other, knownToo := b.fingerprint()
	if !known || !knownToo || one == other {
		return nil
	}
	return []string{fmt.Sprintf("%016x", one), fmt.Sprintf("%016x", other)}
}

// vary is what can also be the case where two snapshots differ.
const vary = " (if equal states may have different snapshots, be a Hasher or set SnapshotsVary)"

// Difference says where two snapshots differ. For those who build on this suite.
func Difference(a, b []byte) string {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	return fmt.Sprintf("snapshots of %d and %d bytes that differ from byte %d on: %s and %s", len(a), len(b), at, shown(a[at:]), shown(b[at:]))
}

// differs says how two states differ, or nothing.
func (s state) differs(o state) string {
	switch {
	case s.refused != nil || o.refused != nil:
	case s.hash != o.hash:
		return fmt.Sprintf("hash %016x and %016x", s.hash, o.hash)
	case s.summed && o.summed && s.sum != o.sum:
		return fmt.Sprintf("snapshots with hashes %016x and %016x"+vary, s.sum, o.sum)
	case !bytes.Equal(s.stream, o.stream):
		return Difference(s.stream, o.stream) + vary
	case !slices.Equal(s.answers, o.answers):
		for i := range min(len(s.answers), len(o.answers)) {
			if s.answers[i] != o.answers[i] {
				return fmt.Sprintf("answers %s, and %s", s.answers[i], o.answers[i])
			}
		}
	}
	if s.hasDue != o.hasDue || s.due != o.due {
		return fmt.Sprintf("NextDue %d, %t and %d, %t", s.due, s.hasDue, o.due, o.hasDue)
	}
	return ""
}

// apart is differs as an error, nil if they do not; what says what they are states of.
func (s state) apart(o state, format string, args ...any) error {
	d := s.differs(o)
	if d == "" {
		return nil
	}
	return &apart{hashes: hashesOf(s, o), err: fmt.Errorf("%s: %s", fmt.Sprintf(format, args...), d)}
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
			return got, s.here(err)
		}
		expired, err := m.tick(s)
		if err != nil {
			return got, s.here(fmt.Errorf("after %s: %w", s, err))
		}
		cheap, err := m.cheapState()
		if err != nil {
			return got, s.here(fmt.Errorf("after %s: %w", s, err))
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
	if n := len(steps); n > 0 && steps[n-1].number == len(m.suite.script)-1 {
		got.final, err = m.finalState()
	} else {
		got.final, err = m.state()
	}
	return got, err
}

func (r *recording) compare(s step, result []byte, cheap state) error {
	was := r.states[s.number]
	if want := r.results[s.number]; !bytes.Equal(want, result) {
		return s.parted(fmt.Errorf("first difference at %s: results %s and %s", s, shown(want), shown(result)), was, cheap)
	}
	if d := was.differs(cheap); d != "" {
		return s.parted(fmt.Errorf("first difference after %s: %s", s, d), was, cheap)
	}
	return nil
}

// finish plays the rest of the script and compares all of it, and the end, with the first run.
func (m *subject) finish(from int) error {
	got, err := m.play(m.suite.script[from:], &m.suite.want)
	if err != nil {
		return err
	}
	return m.suite.want.final.apart(got.final, "after the last command")
}
