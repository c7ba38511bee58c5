package smtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
)

// checkSnapshotBesideApply writes a captured snapshot when the machine has gone on: first between two commands, which shows a
// snapshot that is not of one moment by its bytes, and only if that finds nothing while commands are executed. There a snapshot
// that shares memory with Apply may have the runtime end the process, with all that was found.
func (s *suite) checkSnapshotBesideApply() error {
	inline := func(write func()) { write() }
	if b := s.broken; b.part == "beside" {
		if err := s.writeLater(b.at, b.other, inline); err != nil {
			return err
		}
	}
	third := len(s.script) / 3
	err := s.writeLater(third, 2*third, inline)
	if err = s.broke("beside", third, 2*third, err); err != nil || s.options.Inline || s.shrinking {
		return err
	}
	if err = s.writeLater(third, 2*third, func(write func()) { go write() }); err != nil {
		err = fmt.Errorf("%w: %w", errBeside, err)
	}
	return err
}

// errBeside is about a failure that needs two goroutines. It is not looked for again, to shrink it.
var errBeside = errors.New("only on a goroutine beside Apply's")

// writeLater captures the state after at commands, and writes it after ahead of them. start calls the function that does, at
// once or while the rest is executed.
func (s *suite) writeLater(at, ahead int, start func(write func())) error {
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
	if _, err := m.playBeside(s.script[at:ahead]); err != nil {
		return fmt.Errorf("with a snapshot captured and not written yet: %w", err)
	}
	var buf bytes.Buffer
	written := make(chan error, 1)
	start(func() {
		err := gone("Snapshot.WriteTo or Snapshot.Close")
		defer func() { written <- err }()
		err = m.write(captured, yielding{&buf})
	})
	rest, err := m.playBeside(s.script[ahead:])
	if err = errors.Join(<-written, err); err != nil {
		return fmt.Errorf("with a snapshot being written: %w", err)
	}
	if err := s.want.final.apart(rest, "the state of the machine after a snapshot was written beside its commands"); err != nil {
		return err
	}
	return s.compareCaptured(buf.Bytes(), at)
}

// playBeside executes steps without asking for snapshots until the end.
func (m *subject) playBeside(steps []step) (state, error) {
	for _, st := range steps {
		result, err := m.apply(st)
		if err != nil {
			return state{}, st.here(err)
		}
		if _, err := m.tick(st); err != nil {
			return state{}, st.here(err)
		}
		if want := m.suite.want.results[st.number]; !bytes.Equal(want, result) {
			return state{}, st.here(fmt.Errorf("%s gives %s, without the snapshot %s", st, shown(result), shown(want)))
		}
	}
	return m.state()
}

// compareCaptured compares a stream with the state after the first at steps.
func (s *suite) compareCaptured(stream []byte, at int) error {
	quiet, err := s.played(at)
	if err != nil {
		return err
	}
	defer quiet.close()
	want, err := quiet.state()
	if err != nil {
		return err
	}
	restored, err := s.newSubject()
	if err != nil {
		return err
	}
	defer restored.close()
	failed, err := restored.restore(bytes.NewReader(stream), s.through(at), nil)
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("what was written beside later commands cannot be restored: %w", err)
	}
	got, err := restored.state()
	if err != nil {
		return err
	}
	err = want.apart(got, "what was written beside later commands is not the state at its capture, %s", s.after(at))
	if err != nil && at > 0 {
		err = &located{step: s.script[at-1], hashes: hashesOf(want, got), err: err}
	}
	return err
}

// after says in words where a machine stands after n steps.
func (s *suite) after(n int) string {
	if n == 0 {
		return "before the first command"
	}
	return fmt.Sprintf("after command %d", n-1)
}

// yielding lets others run between writes.
type yielding struct{ w io.Writer }

func (y yielding) Write(b []byte) (int, error) {
	runtime.Gosched()
	return y.w.Write(b)
}
