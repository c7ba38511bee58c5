package smtest

import "fmt"

// A run of the script that differs from the first one in one thing, and comes to another end, does not say that this thing is to
// blame: a machine that leaves something to chance does so too, now and then. So before anything is blamed, runs with it and runs
// without it are made again.
const blameRuns = 3

// blame returns an error of the runs with something as blamed, if they fail each time and those without it never do. Otherwise
// the same commands do not always give the same.
func (s *suite) blame(with func() error, without func() error, blamed func(error) error) error {
	err := with()
	if err == nil || isPromised(err) {
		return err
	}
	for range blameRuns {
		if plain := without(); plain != nil {
			return byChance(plain)
		}
		if again := with(); again == nil {
			return byChance(err)
		}
	}
	return blamed(err)
}

func byChance(err error) error {
	return breaks(promiseSame, fmt.Errorf("%w (not in each run: the machine leaves something to chance, or waits)", err))
}

// replay executes the script with a new machine that is set up by set, and compares all of it with the first run.
func (s *suite) replay(set func(*subject)) error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	set(m)
	if m.watched {
		if _, err := m.state(); err != nil { // as the first runs do, which are to see new machines
			return err
		}
	}
	if err := m.finish(0); err != nil {
		return err
	}
	return m.untouched()
}

// checkSnapshotEffect runs the script once more: without snapshots if the first runs have taken one after each command, and with
// one after each command if they have not.
func (s *suite) checkSnapshotEffect() error {
	watched := !s.want.final.hashed && !s.options.SnapshotsVary
	other := func() error { return s.replay(func(m *subject) { m.gentle, m.snaps = true, !watched }) }
	same := func() error { return s.replay(func(m *subject) { m.gentle, m.watched = true, watched }) }
	return s.blame(other, same, func(err error) error {
		return fmt.Errorf("with a snapshot taken after each command the machine comes to something else than without: %w", err)
	})
}

// checkBytes overwrites commands as soon as they are no longer lent, and results as soon as they are given. In a run
// before that it lets results alone, and looks whether the machine does, too.
func (s *suite) checkBytes() error {
	plain := func() error { return s.replay(func(m *subject) { m.gentle = true }) }
	keeping := func() error { return s.replay(func(m *subject) { m.keeping = true }) }
	err := s.blame(keeping, plain, func(err error) error {
		return fmt.Errorf("the machine keeps bytes of Entry.Command after Apply; copy what you keep: %w", err)
	})
	if err != nil {
		return err
	}
	return s.blame(func() error { return s.replay(func(*subject) {}) }, keeping, func(err error) error {
		return fmt.Errorf("the machine uses bytes of a result that it gave away; give away a copy: %w", err)
	})
}
