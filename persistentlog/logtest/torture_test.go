package logtest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
	"github.com/oarlock/oarlock/persistentlog/logtest"
	"github.com/oarlock/oarlock/persistentlog/seglog"
	"github.com/oarlock/oarlock/raft"
)

// victim is a logtest.Victim with a log of segments.
type victim struct{ *storetest.Victim }

func (v victim) Copy() (logtest.Victim, error) {
	copied, err := v.Victim.Copy()
	return victim{copied}, err
}

// tortured runs tortures of a log that open opens, until one fails.
func tortured(t *testing.T, open storetest.Opener, runs uint64) error {
	t.Helper()
	mem := vfs.NewCrashableMem()
	require.NoError(t, seglog.Format(storetest.Dir, storetest.Identity, seglog.Options{FS: mem, SegmentBytes: 64 << 10}))
	for seed := range runs {
		_, err := logtest.Torture(func() (logtest.Victim, error) { return victim{storetest.NewVictim(mem, open)}, nil }, seed)
		if err != nil {
			return err
		}
	}
	return nil
}

func openSegments(f vfs.FS) (persistentlog.PersistentLog, error) {
	return seglog.Open(storetest.Dir, seglog.Options{FS: f, SegmentBytes: 64 << 10})
}

// wicked is a log with one bug. What a hook leaves nil is right.
type wicked struct {
	persistentlog.PersistentLog
	save   func(l persistentlog.PersistentLog, updates []persistentlog.Update) error
	blocks func(blocks []raft.Block, err error) ([]raft.Block, error)
	load   func(s persistentlog.State, err error) (persistentlog.State, error)
}

func (w *wicked) Save(updates []persistentlog.Update) error {
	if w.save != nil {
		return w.save(w.PersistentLog, updates)
	}
	return w.PersistentLog.Save(updates)
}

func (w *wicked) Blocks(id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
	blocks, err := w.PersistentLog.Blocks(id, from, to, maxBytes)
	if w.blocks != nil {
		blocks, err = w.blocks(blocks, err)
	}
	return blocks, err
}

func (w *wicked) Load(id raft.GroupID) (persistentlog.State, error) {
	s, err := w.PersistentLog.Load(id)
	if w.load != nil {
		s, err = w.load(s, err)
	}
	return s, err
}

func (w *wicked) opened(f vfs.FS) (persistentlog.PersistentLog, error) {
	l, err := openSegments(f)
	if err != nil {
		return nil, err
	}
	log := *w
	log.PersistentLog = l
	return &log, nil
}

// lazyFS is a disk whose syncs of data do nothing.
type lazyFS struct{ vfs.FS }

type lazyFile struct{ vfs.File }

func (lazyFile) SyncData() error { return nil }

func (f lazyFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, category, opts...)
	return lazyFile{file}, err
}

func TestTortureFindsEveryKindOfBug(t *testing.T) {
	require.NoError(t, tortured(t, openSegments, 5), "there is none")
	unnamed := func(err error) error {
		if errors.Is(err, persistentlog.ErrDamaged) {
			return fmt.Errorf("something is strange: %s", err) //nolint:errorlint // the bug: it is not said by its name
		}
		return err
	}
	for name, c := range map[string]struct {
		open storetest.Opener
		says string
	}{
		"saves are not synced": {func(f vfs.FS) (persistentlog.PersistentLog, error) { return openSegments(lazyFS{f}) }, ""},
		"a failed save is reported as done": {(&wicked{save: func(l persistentlog.PersistentLog, updates []persistentlog.Update) error {
			if err := l.Save(updates); errors.Is(err, persistentlog.ErrBadUpdate) {
				return err
			}
			return nil
		}}).opened, "want"},
		"a second update of a save is forgotten": {(&wicked{save: func(l persistentlog.PersistentLog, updates []persistentlog.Update) error {
			return l.Save(updates[:1])
		}}).opened, "group"},
		"a failed read is called damage": {(&wicked{blocks: func(blocks []raft.Block, err error) ([]raft.Block, error) {
			if err != nil && !errors.Is(err, persistentlog.ErrCompacted) && !errors.Is(err, persistentlog.ErrUnavailable) {
				err = fmt.Errorf("%w: %w", persistentlog.ErrDamaged, err)
			}
			return blocks, err
		}}).opened, "nothing is damaged"},
		"damage has another name": {func(f vfs.FS) (persistentlog.PersistentLog, error) {
			l, err := openSegments(f)
			return l, unnamed(err)
		}, "something is strange"},
		"damage of a block is a panic": {(&wicked{blocks: func(blocks []raft.Block, err error) ([]raft.Block, error) {
			if errors.Is(err, persistentlog.ErrDamaged) {
				panic("a block that cannot be")
			}
			return blocks, err
		}}).opened, "panic: a block that cannot be"},
		"the newest entry is left out": {(&wicked{load: func(s persistentlog.State, err error) (persistentlog.State, error) {
			if s.Next > s.First {
				s.Next--
			}
			return s, err
		}}).opened, "Next"},
		"there is no witness": {func(f vfs.FS) (persistentlog.PersistentLog, error) {
			if _, err := f.Stat(f.PathJoin(storetest.Dir, storedir.WitnessName)); err == nil {
				if err := storedir.CreateWitness(f, storetest.Dir, storetest.Identity.Store, 0, 0); err != nil {
					return nil, err
				}
			}
			return openSegments(f)
		}, "damage was taken for data"},
		"undamaged stores are refused at times": {func(f vfs.FS) (persistentlog.PersistentLog, error) {
			l, err := openSegments(f)
			if err == nil {
				if n := l.(*seglog.Log).SaveNumber(); n > 30 && n%8 == 0 {
					return nil, errors.Join(persistentlog.ErrDamaged, l.Close())
				}
			}
			return l, err
		}, "nothing is damaged"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			err := tortured(t, c.open, 150)
			require.Error(t, err)
			require.ErrorContains(t, err, c.says)
			t.Logf("%.200s", err)
		})
	}
}
