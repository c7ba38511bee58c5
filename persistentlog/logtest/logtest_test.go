package logtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/logtest"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
)

var identity = persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: 2, Store: raft.StoreID{3}}

// recorder is a T that only counts.
type recorder struct{ errors []string }

func (*recorder) Helper()             {}
func (*recorder) Logf(string, ...any) {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// buggy is a log with one bug. What a hook leaves nil is right.
type buggy struct {
	*memlog.Log
	bug *bug
}

type bug struct {
	name   string
	races  bool // the race detector stops the test before the suite can speak
	save   func(l *memlog.Log, updates []persistentlog.Update) error
	load   func(persistentlog.State) persistentlog.State
	loadOf func(*memlog.Log, raft.GroupID, persistentlog.State) persistentlog.State
	blocks func(l *memlog.Log, id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error)

	compact  func(l *memlog.Log, id raft.GroupID, through raft.Index) error
	destroy  func(l *memlog.Log, id raft.GroupID) error
	groups   func([]raft.GroupID) []raft.GroupID
	opened   func(*memlog.Log)
	identity func(persistentlog.Identity) persistentlog.Identity
}

func (b *buggy) Identity() (persistentlog.Identity, error) {
	id, err := b.Log.Identity()
	if b.bug.identity != nil {
		id = b.bug.identity(id)
	}
	return id, err
}

func (b *buggy) Groups() ([]raft.GroupID, error) {
	ids, err := b.Log.Groups()
	if b.bug.groups != nil {
		ids = b.bug.groups(ids)
	}
	return ids, err
}

func (b *buggy) Load(id raft.GroupID) (persistentlog.State, error) {
	state, err := b.Log.Load(id)
	if b.bug.load != nil && err == nil {
		state = b.bug.load(state)
	}
	if b.bug.loadOf != nil && err == nil {
		state = b.bug.loadOf(b.Log, id, state)
	}
	return state, err
}

func (b *buggy) Save(updates []persistentlog.Update) error {
	if b.bug.save != nil {
		return b.bug.save(b.Log, updates)
	}
	return b.Log.Save(updates)
}

func (b *buggy) Blocks(id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
	if b.bug.blocks != nil {
		return b.bug.blocks(b.Log, id, from, to, maxBytes)
	}
	return b.Log.Blocks(id, from, to, maxBytes)
}

func (b *buggy) Compact(id raft.GroupID, through raft.Index) error {
	if b.bug.compact != nil {
		return b.bug.compact(b.Log, id, through)
	}
	return b.Log.Compact(id, through)
}

func (b *buggy) Destroy(id raft.GroupID) error {
	if b.bug.destroy != nil {
		return b.bug.destroy(b.Log, id)
	}
	return b.Log.Destroy(id)
}

// buggyStore opens buggy logs on a memory disk.
type buggyStore struct {
	*memlog.Disk
	bug *bug
	log *buggy
}

func (s *buggyStore) Open() (persistentlog.PersistentLog, error) {
	log, err := s.OpenLog()
	if err != nil {
		return nil, err
	}
	if s.bug.opened != nil {
		s.bug.opened(log)
	}
	s.log = &buggy{log, s.bug}
	return s.log, nil
}

// CrashInSave goes through the bug, so that a bug in the order of writes can show.
func (s *buggyStore) CrashInSave(updates []persistentlog.Update, seed uint64) error {
	s.log.HoldSyncs()
	if err := s.log.Save(updates); err != nil {
		return err
	}
	return s.Disk.CrashInSave(nil, seed)
}

func changed(change func(*persistentlog.Update)) func(*memlog.Log, []persistentlog.Update) error {
	return func(l *memlog.Log, updates []persistentlog.Update) error {
		updates = slices.Clone(updates)
		for i := range updates {
			change(&updates[i])
		}
		return l.Save(updates)
	}
}

// inParts saves each update by itself, in two parts where it has two.
func inParts(l *memlog.Log, updates []persistentlog.Update) error {
	for _, u := range updates {
		rest := u
		if u.Hard != nil && len(u.Blocks) > 0 {
			rest.Hard = nil
			if err := l.Save([]persistentlog.Update{{Group: u.Group, Hard: u.Hard}}); err != nil {
				return err
			}
		}
		if err := l.Save([]persistentlog.Update{rest}); err != nil {
			return err
		}
	}
	return nil
}

func loaded(change func(*persistentlog.State)) func(persistentlog.State) persistentlog.State {
	return func(s persistentlog.State) persistentlog.State {
		change(&s)
		return s
	}
}

func read(change func([]raft.Block) []raft.Block) func(*memlog.Log, raft.GroupID, raft.Index, raft.Index, int) ([]raft.Block, error) {
	return func(l *memlog.Log, id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
		blocks, err := l.Blocks(id, from, to, maxBytes)
		if err != nil {
			return nil, err
		}
		return change(blocks), nil
	}
}

func TestTheSuitePassesALogWithoutBugs(t *testing.T) {
	var r recorder
	logtest.Run(&r, func() (logtest.Store, error) {
		return &buggyStore{Disk: memlog.NewDisk(identity), bug: &bug{}}, nil
	})
	require.Empty(t, r.errors)
}

func TestTheSuiteCatchesEveryBug(t *testing.T) {
	if testing.Short() {
		t.Skip("the suite against bugs has nothing for a race detector that the logs themselves do not have")
	}
	for _, b := range bugs() {
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			if b.races && raceDetector {
				t.Skip("the bug is a data race, which the detector reports as a failure of this test")
			}
			var r recorder
			for _, story := range logtest.Stories() {
				story.Check(&r, func() (logtest.Store, error) {
					return &buggyStore{Disk: memlog.NewDisk(identity), bug: b}, nil
				})
				if len(r.errors) > 0 {
					t.Logf("%.300s", r.errors[0])
					return
				}
			}
			t.Fatal("no story noticed")
		})
	}
}

// damagedStore has a disk that forgets, and notices it or not.
type damagedStore struct {
	*memlog.Disk
	notices, damaged bool
}

func (s *damagedStore) Damage(kind logtest.Damage, seed uint64) (bool, error) {
	if kind != logtest.LostTail {
		return false, nil
	}
	log, err := s.OpenLog()
	if err != nil {
		return false, err
	}
	s.damaged = true
	// The last entries of one group are others now, as if the newest save had never been.
	b := &logtest.Builder{Group: raft.GroupID(1 + seed%3), Next: 30}
	if err := log.Save([]persistentlog.Update{b.Commands(30, 1).Update()}); err != nil {
		return false, err
	}
	return true, log.Close()
}

func (s *damagedStore) Open() (persistentlog.PersistentLog, error) {
	if s.damaged && s.notices {
		return nil, fmt.Errorf("%w: the tail is gone", persistentlog.ErrDamaged)
	}
	return s.Disk.Open()
}

func TestTheSuiteTellsDamageThatIsReportedFromDamageThatIsNot(t *testing.T) {
	for _, notices := range []bool{true, false} {
		var r recorder
		logtest.Run(&r, func() (logtest.Store, error) {
			return &damagedStore{Disk: memlog.NewDisk(identity), notices: notices}, nil
		})
		if notices {
			require.Empty(t, r.errors)
		} else {
			require.Len(t, r.errors, 1)
			require.Contains(t, r.errors[0], "damage was taken for data")
		}
	}
}

func TestAHistoryThatFailsIsReportedShort(t *testing.T) {
	var r recorder
	for _, story := range logtest.Stories() {
		if story.Name == "RandomCallsAgreeWithAPlainModel" {
			story.Check(&r, func() (logtest.Store, error) {
				return &buggyStore{Disk: memlog.NewDisk(identity), bug: &bug{opened: (*memlog.Log).HoldSyncs}}, nil
			})
		}
	}
	require.Len(t, r.errors, 1)
	require.Contains(t, r.errors[0], "after 2 calls", "a save and a crash are enough")
}
