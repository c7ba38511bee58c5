package smtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/oarlock/oarlock/statemachine"
)

// through is the index that a machine has come to after n steps.
func (s *suite) through(n int) uint64 {
	if n == 0 {
		return 0
	}
	if s.want.expired[n-1] {
		return s.script[n-1].clockIndex()
	}
	return s.script[n-1].entry.Index
}

// checkRestore restores new machines and used ones, at several places of the run, and lets them go on.
func (s *suite) checkRestore() error {
	if s.broken.part == "damaged" {
		return s.restoreDamaged()
	}
	if b := s.broken; b.part == "restore" {
		if err := s.restoreOver(b.at, b.other); err != nil {
			return err
		}
	}
	r := rand.New(rand.NewPCG(s.options.Seed, 5))
	for _, at := range []int{0, len(s.script) / 3, r.IntN(len(s.script) + 1), len(s.script)} {
		if err := s.restoreOver(at, 0, len(s.script)/2); err != nil {
			return err
		}
	}
	at := s.place("second generation", len(s.script)/3)
	if err := s.broke("second generation", at, at, s.secondGeneration(at)); err != nil {
		return fmt.Errorf("restored from the snapshot of a machine that was restored itself and has gone on: %w", err)
	}
	if s.shrinking {
		return nil
	}
	return s.restoreDamaged()
}

// restoreOver restores the state after at commands over those after so many of them.
func (s *suite) restoreOver(at int, over ...int) error {
	from, err := s.played(at)
	if err != nil {
		return err
	}
	stream, err := from.snapshot()
	from.close()
	if isRefused(err) && at < len(s.script) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, used := range over {
		if from.durable != nil && (at == 0 || used > at) {
			continue // The index of a storage only rises.
		}
		if err := s.broke("restore", at, used, s.restoreAndGoOn(stream, at, used)); err != nil {
			return fmt.Errorf("snapshot after %d commands, restored over the state after %d: %w", at, used, err)
		}
	}
	return nil
}

func (s *suite) restoreAndGoOn(stream []byte, at, used int) error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	if used > 0 {
		if _, err := m.play(s.script[:used], &s.want); err != nil {
			return err
		}
	}
	failed, err := m.restore(&dribble{rest: stream}, s.through(at), nil)
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("from a reader that gives a few bytes at a time: %w", err)
	}
	if at > 0 {
		m.now = s.script[at-1].entry.Time
	}
	again, err := m.snapshot()
	if err != nil {
		return err
	}
	if _, hashed := m.machine.(statemachine.Hasher); !hashed && !s.options.SnapshotsVary && !bytes.Equal(stream, again) {
		err := state{stream: stream}.apart(state{stream: again}, "the snapshot of the restored state")
		if at > 0 {
			err = &located{step: s.script[at-1], hashes: hashesOf(state{stream: stream}, state{stream: again}), err: err}
		}
		return err
	}
	return m.finish(at)
}

// secondGeneration restores a machine from the snapshot after at commands, lets it go on to the end, and restores another one from the snapshot
// that it takes there.
func (s *suite) secondGeneration(at int) error {
	first, err := s.played(at)
	if err != nil {
		return err
	}
	defer first.close()
	second, err := s.heir(first, at)
	if isRefused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer second.close()
	if err := second.finish(at); err != nil {
		return err
	}
	third, err := s.heir(second, len(s.script))
	if err != nil {
		return err
	}
	defer third.close()
	got, err := third.state()
	if err != nil {
		return err
	}
	return s.want.final.apart(got, "the state after the last command")
}

// heir returns a machine that was restored from another one's snapshot, which it took after n steps.
func (s *suite) heir(of *subject, n int) (*subject, error) {
	stream, err := of.snapshot()
	if err != nil {
		return nil, err
	}
	m, err := s.newSubject()
	if err != nil {
		return nil, err
	}
	failed, err := m.restore(bytes.NewReader(stream), s.through(n), nil)
	if err = errors.Join(err, failed); err != nil {
		m.close()
		return nil, err
	}
	m.now = of.now
	return m, nil
}

// dribble gives a few bytes at a time, as a reader may.
type dribble struct {
	rest  []byte
	calls int
}

func (d *dribble) Read(b []byte) (int, error) {
	if len(d.rest) == 0 {
		return 0, io.EOF
	}
	d.calls++
	n := copy(b[:min(len(b), 1+d.calls%3)], d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// checkSnapshotClose closes a snapshot that was never written, as when a server stops.
func (s *suite) checkSnapshotClose() error {
	at := s.place("close", len(s.script)/2)
	return s.broke("close", at, at, s.closeUnwritten(at))
}

func (s *suite) closeUnwritten(at int) error {
	m, err := s.played(at)
	if err != nil {
		return err
	}
	defer m.close()
	captured, err := m.capture()
	if isRefused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var closed error
	s.at("Snapshot.Close without WriteTo")
	if err := errors.Join(guard("Snapshot.Close without WriteTo", func() { closed = captured.Close() }), closed); err != nil {
		return err
	}
	if err := m.finish(at); err != nil {
		return fmt.Errorf("after Close of a snapshot that was not written: %w", err)
	}
	return nil
}

var errWriter = errors.New("this writer fails")

// failing fails after it has taken so many bytes.
type failing struct{ room int }

func (f *failing) Write(b []byte) (int, error) {
	n := min(len(b), f.room)
	f.room -= n
	if n < len(b) {
		return n, errWriter
	}
	return n, nil
}

// checkSnapshotWriter: a full disk must not look like a finished snapshot.
func (s *suite) checkSnapshotWriter() error {
	m, err := s.played(len(s.script))
	if err != nil {
		return err
	}
	defer m.close()
	stream, err := m.snapshot()
	if err != nil || len(stream) == 0 {
		return err
	}
	for _, room := range []int{0, len(stream) / 2, len(stream) - 1} {
		captured, err := m.capture()
		if err != nil {
			return err
		}
		s.at("Snapshot.WriteTo to a writer that fails")
		var failed, closed error
		err = guard("Snapshot.WriteTo to a writer that fails", func() {
			_, failed = captured.WriteTo(&failing{room: room})
			closed = captured.Close()
		})
		if err = errors.Join(err, closed); err != nil {
			return err
		}
		if failed == nil {
			return fmt.Errorf("the writer failed after %d of %d bytes, and WriteTo returned no error", room, len(stream))
		}
	}
	return nil
}

// checkDamage gives machines with a state of their own streams that end early, fail, or have a flipped bit.
func (s *suite) checkDamage() error {
	from, err := s.played(len(s.script))
	if err != nil {
		return err
	}
	defer from.close()
	stream, err := from.snapshot()
	if err != nil || len(stream) == 0 {
		return err
	}
	for _, cut := range []int{0, 1, len(stream) / 3, len(stream) / 2, len(stream) - 1} {
		what := fmt.Sprintf("a stream that ends after %d of %d bytes", cut, len(stream))
		if err := s.refuse(what, bytes.NewReader(stream[:cut]), true); err != nil {
			return err
		}
	}
	for _, cut := range []int{0, len(stream) / 2, len(stream)} {
		what := fmt.Sprintf("a reader that fails after %d of %d bytes", cut, len(stream))
		broken := io.MultiReader(bytes.NewReader(stream[:cut]), brokenReader{})
		// At the very end a machine that knows where its snapshot ends need not read on.
		if err := s.refuse(what, broken, cut < len(stream)); err != nil {
			return err
		}
	}
	r := rand.New(rand.NewPCG(s.options.Seed, 3))
	for range 16 {
		damaged, at := bytes.Clone(stream), r.IntN(len(stream))
		damaged[at] ^= 1 << r.IntN(8)
		what := fmt.Sprintf("a stream with a flipped bit in byte %d of %d", at, len(stream))
		if err := s.refuse(what, bytes.NewReader(damaged), !s.options.SnapshotsUnchecked); err != nil {
			return err
		}
	}
	return nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("this reader fails") }

// refuse restores from a bad stream: an error with the old state untouched, or an error and a machine that says of
// itself, by an error of Snapshot, that it is not to be used.
func (s *suite) refuse(what string, stream io.Reader, must bool) error {
	m, err := s.played(len(s.script) / 2)
	if err != nil {
		return err
	}
	defer m.close()
	before, err := m.state()
	if err != nil {
		return err
	}
	failed, broken := m.restore(stream, s.through(len(s.script)), nil)
	switch {
	case broken != nil:
		return fmt.Errorf("%s: %w", what, broken)
	case failed == nil && must:
		return fmt.Errorf("%s was restored without an error (servers checksum snapshots themselves: if your format has no checksum, set Options.SnapshotsUnchecked)", what)
	case failed == nil:
		return nil
	}
	disused, err := m.disused()
	if disused {
		return nil
	}
	after, stateErr := m.state()
	if err = errors.Join(err, stateErr); err != nil {
		return fmt.Errorf("%s: after the error %q: %w", what, failed, err) //nolint:errorlint // a report of what came, not a cause
	}
	return before.apart(after, "%s: the error %q left a changed state behind (%s)", what, failed, wayOut)
}

// wayOut is what a machine may do that fails to restore.
const wayOut = "read into a new state, and take it in the place of the old one at the end; or have Snapshot return an error from then on, " +
	"which says that the machine is not to be used"

// disused asks a machine whether it says of itself that it is not to be used any more.
func (m *subject) disused() (bool, error) {
	captured, err := m.capture()
	if err != nil {
		return errors.Is(err, errRefused), err
	}
	var closed error
	err = guard("Snapshot.Close", func() { closed = captured.Close() })
	return false, errors.Join(err, closed)
}
