package seglog

import (
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
	"github.com/oarlock/oarlock/persistentlog/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testOptions make segments so short that a test sees many.
func testOptions(f vfs.FS) Options { return Options{FS: f, SegmentBytes: segmentBytesMin} }

var formatted = sync.OnceValues(func() (*vfs.MemFS, error) {
	mem := vfs.NewCrashableMem()
	return mem, Format(storetest.Dir, storetest.Identity, testOptions(mem))
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

func openOn(f vfs.FS) (persistentlog.PersistentLog, error) {
	return Open(storetest.Dir, testOptions(f))
}

// Damage changes the used part of a segment, or the witness.
func (s memStore) Damage(kind logtest.Damage, seed uint64) (bool, error) {
	rng := rand.New(rand.NewPCG(seed, 2))
	return true, editNewest(s.Mem, func(b []byte) []byte {
		switch kind {
		case logtest.FlippedBit:
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		case logtest.LostTail:
			b = b[:rng.IntN(len(b))]
		case logtest.LostRecord:
			h, err := parseHeader(b)
			if err != nil {
				return b
			}
			var starts []int
			for at := headerSize; ; {
				p, err := parseBatch(b[at:], h.salt, int64(at))
				if err != nil {
					break
				}
				starts = append(starts, at)
				at += p.size
			}
			n := 1 + rng.IntN(len(starts)-2)
			b = append(b[:starts[n]:starts[n]], b[starts[n+1]:]...)
		}
		return b
	})
}

func TestSegmentLogKeepsEveryPromiseOfTheInterface(t *testing.T) {
	logtest.Subtests(t, newMemStore)
}

// segmentNames returns the names of the segments' files, the newest last.
func segmentNames(f vfs.FS) ([]string, error) {
	all, err := f.List(f.PathJoin(storetest.Dir, segmentsName))
	var names []string
	for _, name := range all {
		if strings.HasSuffix(name, segmentSuffix) {
			names = append(names, name)
		}
	}
	return names, err
}

func editNewest(f vfs.FS, edit func([]byte) []byte) error {
	names, err := segmentNames(f)
	if err != nil {
		return err
	}
	return editFile(f, f.PathJoin(storetest.Dir, segmentsName), names[len(names)-1], edit)
}

func editFile(f vfs.FS, dir, name string, edit func([]byte) []byte) error {
	b, err := readFile(f, f.PathJoin(dir, name))
	if err != nil {
		return err
	}
	return storedir.WriteFile(f, dir, name, edit(b))
}

func readFile(f vfs.FS, path string) ([]byte, error) {
	file, err := f.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(file)
	return b, errors.Join(err, file.Close())
}

func openMem(t testing.TB, mem vfs.FS) *Log {
	t.Helper()
	l, err := Open(storetest.Dir, testOptions(mem))
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
