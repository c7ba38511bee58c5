// Package storetest is what the tests of logs in directories share: a disk in memory that loses power and fails on demand, and
// random histories that know what each group must hold. It imports no log.
package storetest

import (
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Identity is what stores of tests are formatted with.
var Identity = persistentlog.Identity{
	Cluster: raft.ClusterID{0xc1, 15: 1}, Server: 7, Store: raft.StoreID{0x57, 15: 2},
}

// Dir is where they are.
const Dir = "/data/store"

// Store is a logtest.Store on a disk in memory that loses power, fails and decays on demand.
type Store struct {
	// Mem is the disk.
	Mem  *vfs.MemFS
	open func(vfs.FS) (persistentlog.PersistentLog, error)
	log  persistentlog.PersistentLog
	hook func(errorfs.Op) error // called before every call into the file system, under mu
	mu   sync.Mutex
}

// New returns a store on a formatted disk of its own; open opens the log on a file system.
func New(mem *vfs.MemFS, open func(vfs.FS) (persistentlog.PersistentLog, error)) *Store {
	return &Store{Mem: mem.CrashClone(vfs.CrashCloneCfg{}), open: open}
}

// Identity is what it was formatted with.
func (s *Store) Identity() persistentlog.Identity { return Identity }

// Open opens the log.
func (s *Store) Open() (persistentlog.PersistentLog, error) {
	s.setHook(nil)
	f := errorfs.Wrap(s.Mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.hook != nil {
			return s.hook(op)
		}
		return nil
	}))
	log, err := s.open(f)
	if err != nil {
		return nil, err
	}
	s.log = log
	return log, nil
}

func (s *Store) setHook(hook func(errorfs.Op) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Crash goes on with what was synced. The old log is closed on the old disk, so that nothing of it leaks.
func (s *Store) Crash() error { return s.crashTo(s.Mem.CrashClone(vfs.CrashCloneCfg{})) }

func (s *Store) crashTo(mem *vfs.MemFS) error {
	s.setHook(nil)
	err := s.log.Close()
	s.Mem = mem
	return err
}

// CrashInSave takes the picture of the disk that the crash leaves before one of the save's calls into the file system, or
// after the last, with some part of what was not synced.
func (s *Store) CrashInSave(updates []persistentlog.Update, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng}
	var left *vfs.MemFS
	at := rng.IntN(4)
	s.setHook(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || left != nil {
			return nil
		}
		if at--; at < 0 {
			left = s.Mem.CrashClone(cfg)
		}
		return nil
	})
	if err := s.log.Save(updates); err != nil {
		return err
	}
	s.setHook(nil)
	if left == nil {
		left = s.Mem.CrashClone(cfg)
	}
	return s.crashTo(left)
}

// ErrDisk is the error of a disk that fails.
var ErrDisk = errors.New("the disk gave up")

// FailNextSave lets every sync fail from now on.
func (s *Store) FailNextSave() error {
	s.setHook(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync {
			return ErrDisk
		}
		return nil
	})
	return nil
}

// OneAtATime makes an injector of a function that is not safe for several goroutines.
func OneAtATime(inject func(errorfs.Op) error) errorfs.Injector {
	var mu sync.Mutex
	return errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		return inject(op)
	})
}
