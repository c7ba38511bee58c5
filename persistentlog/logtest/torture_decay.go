package logtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// remember keeps how some files are now, to be put in the place of later ones.
func (t *torture) remember() error {
	files, err := t.victim.Files()
	if err != nil {
		return err
	}
	for _, name := range files {
		if t.draw.IntN(3) > 0 {
			continue
		}
		err := t.victim.Edit(name, func(content []byte) []byte {
			t.earlier[name] = bytes.Clone(content)
			return content
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// decay damages one file on a copy of the disk, and looks what the log makes of it.
func (t *torture) decay() error {
	copied, err := t.victim.Copy()
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	files, err := copied.Files()
	if err != nil {
		return err
	}
	var name, what string
	var back int
	for empty := true; empty; {
		name = files[t.draw.IntN(len(files))]
		err := copied.Edit(name, func(content []byte) (edited []byte) {
			used := len(bytes.TrimRight(content, "\x00"))
			if empty = used == 0 && t.draw.IntN(10) > 0; empty {
				return content // nothing that could be damaged
			}
			what, back, edited = t.damage(name, content, used)
			return edited
		})
		if err != nil {
			return err
		}
	}
	if !copied.HoldsSaves(name) {
		back = 0
	}
	t.toll.Damages++
	if err := t.examine(copied, name, back); err != nil {
		return fmt.Errorf("%s of %s: %w", what, name, err)
	}
	return nil
}

// damage changes a file's content in one way of many. It says how many saves that the witness does not know may be lost by it in
// silence: what stands in a single place is in one save, and was synced before the next one was written.
func (t *torture) damage(name string, content []byte, used int) (what string, back int, edited []byte) {
	if used == 0 {
		return "removal", anyNumber, nil
	}
	at := t.draw.IntN(used)
	if t.draw.IntN(3) == 0 {
		at = used - 1 - t.draw.IntN(min(used, 300))
	}
	b := bytes.Clone(content)
	switch t.draw.IntN(8) {
	case 0:
		return "removal", anyNumber, nil
	case 1:
		return fmt.Sprintf("a cut at %d", at), anyNumber, b[:at]
	case 2:
		from := at &^ 511
		to := min(from+512<<t.draw.IntN(4), len(b))
		clear(b[from:to])
		return fmt.Sprintf("zeros from %d to %d", from, to), anyNumber, b
	case 3:
		to := min(at+1+t.draw.IntN(100), used)
		for i := at; i < to; i++ {
			b[i] = byte(t.draw.Uint32())
		}
		return fmt.Sprintf("garbage from %d to %d", at, to), anyNumber, b
	case 4:
		for range 1 + t.draw.IntN(200) {
			b = append(b, byte(t.draw.Uint32()))
		}
		return "garbage at the end", 0, b
	case 5:
		if old, ok := t.earlier[name]; ok {
			return "an earlier content", anyNumber, old
		}
	}
	b[at] ^= 1 << t.draw.IntN(8)
	return fmt.Sprintf("a flipped bit in byte %d", at), 1, b
}

const anyNumber = 1 << 30

// said reports whether an error is an honest answer to damage of a file.
func said(err error, name string) bool {
	return errors.Is(err, persistentlog.ErrDamaged) ||
		errors.Is(err, persistentlog.ErrNotFormatted) && strings.Contains(name, "identity")
}

// examine opens a damaged disk. It must say that it is damaged, or be what it may be.
func (t *torture) examine(disk Victim, name string, back int) error {
	s := &script{store: disk}
	log, err := disk.Open()
	if err != nil {
		if said(err, name) {
			t.toll.Refused++
			return nil
		}
		return fmt.Errorf("open: want an error that matches %q: %w", persistentlog.ErrDamaged, err) //nolint:errorlint // a report of what came, not a cause
	}
	s.log = log
	if s.saysLost() {
		t.toll.Lost++
		return t.staysLost(s, disk)
	}
	options := []map[raft.GroupID][]*model{t.options()}
	if t.powerLost {
		from := max(len(t.past)-1-back, 0)
		for _, groups := range slices.Backward(t.past[from:]) {
			options = append(options, single(groups))
		}
	}
	var errs []error
	for i, option := range options {
		chosen, noticed, err := s.match(option)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if noticed != nil {
			t.toll.Read++
			_ = log.Close() // closing a damaged store may fail; nothing more is expected of it
			return nil
		}
		s.groups = chosen
		return t.goOn(s, disk, name, i == 0)
	}
	_ = log.Close()
	if len(errs) > 1 {
		errs = append(errs[:1], fmt.Errorf("and %d earlier moments were not it", len(errs)-1))
	}
	return fmt.Errorf("damage was taken for data: %w", errors.Join(errs...))
}

// staysLost saves something to a log that says that it has lost its end, and looks whether it says so when it is opened again.
func (t *torture) staysLost(s *script, disk Victim) error {
	err := s.log.Save([]persistentlog.Update{{Group: 4, Hard: &raft.HardState{Term: 1, Lost: true}}})
	if err != nil {
		return t.late(s, "save", err)
	}
	if err := s.log.Close(); err != nil {
		return fmt.Errorf("close a log that has lost its end: %w", err)
	}
	if s.log, err = disk.Open(); err != nil {
		return fmt.Errorf("nothing is damaged that was not before, and a log that has lost its end does not open again: %w", err)
	}
	if !s.saysLost() {
		err = errors.New("a log that has lost its end does not say so any more")
	}
	return errors.Join(err, s.log.Close())
}

// goOn saves something to a log that found nothing wrong, and looks whether it is there when the log is opened again.
func (t *torture) goOn(s *script, disk Victim, name string, harmless bool) error {
	count := &t.toll.Healed
	if harmless {
		count = &t.toll.Harmless
	}
	for id := raft.GroupID(1); id <= 3; id++ {
		updates := []persistentlog.Update{s.append(id).Commands(max(s.group(id).lastTerm(), 1), 10, 2000).Update()}
		if err := s.log.Save(updates); err != nil {
			return t.late(s, "save", err)
		}
		s.record(updates)
	}
	var err error
	what := "end of a life"
	switch t.draw.IntN(3) {
	case 0:
		what, err = "close", s.log.Close()
		disk.Closed()
	case 1:
		err = disk.Kill()
	case 2:
		err = disk.LosePower(t.draw.Uint64())
	}
	s.log = nil
	if err != nil {
		return t.late(s, what, err)
	}
	if s.log, err = disk.Open(); err != nil {
		s.log = nil
		if said(err, name) {
			t.toll.Read++
			return nil
		}
		return fmt.Errorf("opened once more: %w", err)
	}
	options := make(map[raft.GroupID][]*model)
	for id, m := range s.groups {
		options[id] = []*model{m}
	}
	_, noticed, err := s.match(options)
	if err != nil {
		_ = s.log.Close()
		return fmt.Errorf("after more was saved and it was opened again: %w", err)
	}
	if noticed != nil {
		return t.late(s, "read", noticed)
	}
	*count++
	if err := s.log.Close(); err != nil {
		return t.late(s, "close", err)
	}
	return nil
}

// late judges an error of a log that had found nothing wrong at first.
func (t *torture) late(s *script, what string, err error) error {
	if s.log != nil {
		_ = s.log.Close() // of a damaged store; nothing more is expected of it
		s.log = nil
	}
	closing := what == "close" // which may fail for any reason where something is damaged, and takes nothing back
	if !closing && !errors.Is(err, persistentlog.ErrDamaged) && !errors.Is(err, persistentlog.ErrFenced) {
		return fmt.Errorf("%s: want an error that matches %q: %w", what, persistentlog.ErrDamaged, err) //nolint:errorlint // a report of what came, not a cause
	}
	t.toll.Read++
	return nil
}
