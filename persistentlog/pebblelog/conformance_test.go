package pebblelog

import (
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
	"github.com/oarlock/oarlock/persistentlog/logtest"
)

func TestMain(m *testing.M) {
	// Pebble keeps one goroutine of its own per process, and the cache's is ended by a finalizer.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2/vfs.(*diskHealthCheckingFS).startTickerLocked.func1"))
}

var (
	testIdentity = storetest.Identity
	newWriter    = storetest.NewWriter
	commands     = storetest.Commands
	errDisk      = storetest.ErrDisk
	oneAtATime   = storetest.OneAtATime
)

const testDir = storetest.Dir

// testOptions keep what a store costs in memory small: a test opens hundreds.
func testOptions(f vfs.FS) Options {
	return Options{FS: f, MemtableBytes: 1 << 20, CacheBytes: 1 << 20}
}

var formatted = sync.OnceValues(func() (*vfs.MemFS, error) {
	mem := vfs.NewCrashableMem()
	return mem, Format(testDir, testIdentity, testOptions(mem))
})

// memStore is a logtest.Store on a disk in memory, whose files can be changed.
type memStore struct{ *storetest.Store }

func newMemStore() (logtest.Store, error) {
	mem, err := formatted()
	if err != nil {
		return nil, err
	}
	return memStore{storetest.New(mem, openOn)}, nil
}

func openOn(f vfs.FS) (persistentlog.PersistentLog, error) { return Open(testDir, testOptions(f)) }

// Damage changes the write-ahead log, which holds all of a small store, cuts it, or takes a record out of the database.
func (s memStore) Damage(kind logtest.Damage, seed uint64) (bool, error) {
	rng := rand.New(rand.NewPCG(seed, 2))
	switch kind {
	case logtest.FlippedBit:
		return true, editWAL(s.Mem, func(b []byte) []byte {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			return b
		})
	case logtest.LostTail:
		return true, editWAL(s.Mem, func(b []byte) []byte { return b[:rng.IntN(len(b))] })
	case logtest.LostRecord:
		return true, removeRecord(s.Mem, rng)
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
