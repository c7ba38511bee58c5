package pebblelog

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/persistentlog/logtest"
	"github.com/oarlock/oarlock/raft"
)

func TestMain(m *testing.M) {
	// Pebble keeps one goroutine of its own per process, and the cache's is ended by a finalizer.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2/vfs.(*diskHealthCheckingFS).startTickerLocked.func1"))
}

var testIdentity = persistentlog.Identity{
	Cluster: raft.ClusterID{0xc1, 15: 1}, Server: 7, Store: raft.StoreID{0x57, 15: 2},
}

const testDir = "/data/store"

// testOptions keep what a store costs in memory small: a test opens hundreds.
func testOptions(f vfs.FS) Options {
	return Options{FS: f, MemtableBytes: 1 << 20, CacheBytes: 1 << 20}
}

var formatted = sync.OnceValues(func() (*vfs.MemFS, error) {
	mem := vfs.NewCrashableMem()
	return mem, Format(testDir, testIdentity, testOptions(mem))
})

// memStore is a logtest.Store on a disk in memory that loses power, fails and decays on demand.
type memStore struct {
	mem  *vfs.MemFS
	log  *Log
	hook func(errorfs.Op) error // called before every call into the file system, under mu
	mu   sync.Mutex
}

func newMemStore() (logtest.Store, error) {
	mem, err := formatted()
	if err != nil {
		return nil, err
	}
	return &memStore{mem: mem.CrashClone(vfs.CrashCloneCfg{})}, nil
}

func (s *memStore) Identity() persistentlog.Identity { return testIdentity }

func (s *memStore) Open() (persistentlog.PersistentLog, error) {
	s.setHook(nil)
	f := errorfs.Wrap(s.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.hook != nil {
			return s.hook(op)
		}
		return nil
	}))
	log, err := Open(testDir, testOptions(f))
	if err != nil {
		return nil, err
	}
	s.log = log
	return log, nil
}

func (s *memStore) setHook(hook func(errorfs.Op) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Crash goes on with what was synced. The old log is closed on the old disk, so that nothing of it leaks.
func (s *memStore) Crash() error { return s.crashTo(s.mem.CrashClone(vfs.CrashCloneCfg{})) }

func (s *memStore) crashTo(mem *vfs.MemFS) error {
	s.setHook(nil)
	err := s.log.Close()
	s.mem = mem
	return err
}

// CrashInSave takes the picture of the disk that the crash leaves before one of the save's calls into the file system, or
// after the last, with some part of what was not synced.
func (s *memStore) CrashInSave(updates []persistentlog.Update, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng}
	var left *vfs.MemFS
	at := rng.IntN(4)
	s.setHook(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || left != nil {
			return nil
		}
		if at--; at < 0 {
			left = s.mem.CrashClone(cfg)
		}
		return nil
	})
	if err := s.log.Save(updates); err != nil {
		return err
	}
	s.setHook(nil)
	if left == nil {
		left = s.mem.CrashClone(cfg)
	}
	return s.crashTo(left)
}

var errDisk = errors.New("the disk gave up")

func (s *memStore) FailNextSave() error {
	s.setHook(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync {
			return errDisk
		}
		return nil
	})
	return nil
}

// Damage changes the write-ahead log, which holds all of a small store, cuts it, or takes a record out of the database.
func (s *memStore) Damage(kind logtest.Damage, seed uint64) (bool, error) {
	rng := rand.New(rand.NewPCG(seed, 2))
	switch kind {
	case logtest.FlippedBit:
		return true, editWAL(s.mem, func(b []byte) []byte {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			return b
		})
	case logtest.LostTail:
		return true, editWAL(s.mem, func(b []byte) []byte { return b[:rng.IntN(len(b))] })
	case logtest.LostRecord:
		return true, removeRecord(s.mem, rng)
	}
	return false, nil
}

// editWAL replaces the newest write-ahead log.
func editWAL(f vfs.FS, edit func([]byte) []byte) error {
	dir := f.PathJoin(testDir, pebbleName)
	name, _, err := newestWAL(f, dir)
	if err != nil {
		return err
	}
	return editFile(f, dir, name, edit)
}

func editFile(f vfs.FS, dir, name string, edit func([]byte) []byte) error {
	file, err := f.Open(f.PathJoin(dir, name))
	if err != nil {
		return err
	}
	b, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return storedir.WriteFile(f, dir, name, edit(b))
}

func removeRecord(f vfs.FS, rng *rand.Rand) error {
	options := testOptions(f).withDefaults()
	db, err := pebble.Open(f.PathJoin(testDir, pebbleName), options.pebbleOptions(f, newFence(options.Logger)))
	if err != nil {
		return err
	}
	it, err := db.NewIter(nil)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	var keys [][]byte
	for valid := it.First(); valid; valid = it.Next() {
		keys = append(keys, append([]byte(nil), it.Key()...))
	}
	if err := it.Close(); err != nil {
		return errors.Join(err, db.Close())
	}
	err = db.Delete(keys[rng.IntN(len(keys))], pebble.Sync)
	return errors.Join(err, db.Close())
}

func TestPebbleLogKeepsEveryPromiseOfTheInterface(t *testing.T) {
	logtest.Subtests(t, newMemStore)
}

func openMem(t testing.TB, mem vfs.FS) *Log {
	t.Helper()
	l, err := Open(testDir, testOptions(mem))
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() }) // a second Close does nothing
	return l
}

// freshMem returns a formatted disk of the test's own.
func freshMem(t testing.TB) *vfs.MemFS {
	t.Helper()
	mem, err := formatted()
	require.NoError(t, err)
	return mem.CrashClone(vfs.CrashCloneCfg{})
}

// commands makes a block of count commands of size bytes.
func commands(group raft.GroupID, first raft.Index, term raft.Term, chain uint64, count, size int) raft.Block {
	buf := make([]byte, raft.BlockHeaderSize, raft.BlockHeaderSize+count*(size+3))
	body := make([]byte, size)
	for i := range count {
		copy(body, fmt.Sprintf("%d/%d/%d", group, term, int(first)+i))
		buf = raft.AppendEntry(buf, body)
	}
	return raft.NewBlock(raft.BlockMeta{
		Group: group, First: first, Count: uint32(count), Term: term, Kind: raft.KindCommand, Time: int64(first), Chain: chain,
	}, buf)
}

// writer makes blocks that follow one another.
type writer struct {
	group raft.GroupID
	next  raft.Index
	term  raft.Term
	chain uint64
}

func newWriter(group raft.GroupID) *writer { return &writer{group: group, next: 1, term: 1} }

func (w *writer) block(count, size int) raft.Block {
	b := commands(w.group, w.next, w.term, w.chain, count, size)
	w.next, w.chain = b.Next(), b.ChainAfter()
	return b
}

func (w *writer) update(count, size int) persistentlog.Update {
	return persistentlog.Update{Group: w.group, Blocks: []raft.Block{w.block(count, size)}}
}
