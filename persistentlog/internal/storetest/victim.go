package storetest

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
)

// Victim is a logtest.Victim on a disk in memory.
type Victim struct {
	mem  *vfs.MemFS
	open Opener
	log  persistentlog.PersistentLog // nil: none is open

	mu      sync.Mutex
	calls   int // until what is prepared happens
	failing func(op errorfs.Op) error
	tripped bool
	cut     *vfs.MemFS // what a cut of power has left
	dead    bool       // nothing reaches the disk any more
}

// NewVictim returns a victim on a copy of a formatted disk; open opens the log on a file system.
func NewVictim(mem *vfs.MemFS, open Opener) *Victim {
	return &Victim{mem: mem.CrashClone(vfs.CrashCloneCfg{}), open: open}
}

// Identity is what it was formatted with.
func (v *Victim) Identity() persistentlog.Identity { return Identity }

// before is called before every call into the file system.
func (v *Victim) before(op errorfs.Op) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if op.Kind == errorfs.OpFileClose {
		return nil
	}
	if v.failing != nil && !v.dead {
		if err := v.failing(op); err != nil {
			return err
		}
	}
	if v.dead {
		return ErrDisk
	}
	return nil
}

// Open opens the log.
func (v *Victim) Open() (persistentlog.PersistentLog, error) {
	log, err := v.open(errorfs.Wrap(v.mem, errorfs.InjectorFunc(v.before)))
	if err != nil {
		return nil, err
	}
	v.log = log
	return log, nil
}

// prepare has trouble come at the n-th call of a kind.
func (v *Victim) prepare(n int, kind errorfs.OpReadWrite, trouble func(op errorfs.Op) error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls, v.tripped = n, false
	v.failing = func(op errorfs.Op) error {
		if v.tripped || op.Kind.ReadOrWrite() != kind || op.Kind == errorfs.OpFilePreallocate {
			return nil
		}
		if v.calls--; v.calls >= 0 {
			return nil
		}
		v.tripped = true
		return trouble(op)
	}
}

// FailCall makes one call fail.
func (v *Victim) FailCall(n int, reads bool) {
	kind := errorfs.OpIsWrite
	if reads {
		kind = errorfs.OpIsRead
	}
	v.prepare(n, kind, func(errorfs.Op) error { return ErrDisk })
}

// CutPower makes the power go before a call.
func (v *Victim) CutPower(n int, seed uint64) {
	v.prepare(n, errorfs.OpIsWrite, func(errorfs.Op) error {
		v.cut, v.dead = v.left(seed), true
		return ErrDisk
	})
}

// left is what is left when the power goes now.
func (v *Victim) left(seed uint64) *vfs.MemFS {
	rng := rand.New(rand.NewPCG(seed, 6))
	return v.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
}

// Tripped reports whether what was prepared has happened.
func (v *Victim) Tripped() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tripped
}

// Kill ends the process.
func (v *Victim) Kill() error {
	v.bury()
	return nil
}

// LosePower takes what was not synced.
func (v *Victim) LosePower(seed uint64) error {
	v.mu.Lock()
	cut := v.cut
	if cut == nil {
		cut = v.left(seed)
	}
	v.mu.Unlock()
	v.bury()
	v.mem = cut
	return nil
}

// bury closes what is left of a log when its process or its machine is gone, so that nothing of it leaks. None of its calls
// reaches the disk.
func (v *Victim) bury() {
	v.mu.Lock()
	v.dead = true
	v.mu.Unlock()
	if v.log != nil {
		_ = v.log.Close() // on a disk that is not there
	}
	v.Closed()
}

// Closed says that the log was closed.
func (v *Victim) Closed() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log, v.failing, v.tripped, v.cut, v.dead = nil, nil, false, nil, false
}

// Copy copies the disk.
func (v *Victim) Copy() (*Victim, error) {
	rng := rand.New(rand.NewPCG(0, 0))
	return &Victim{mem: v.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng}), open: v.open}, nil
}

// Files lists the files below the store's directory.
func (v *Victim) Files() ([]string, error) { return v.list(Dir) }

func (v *Victim) list(dir string) (files []string, err error) {
	names, err := v.mem.List(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		path := v.mem.PathJoin(dir, name)
		info, err := v.mem.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, strings.TrimPrefix(path, Dir+"/"))
			continue
		}
		below, err := v.list(path)
		if err != nil {
			return nil, err
		}
		files = append(files, below...)
	}
	return files, nil
}

// HoldsSaves reports whether a file is the newest one of a write-ahead log, or the newest segment: the one before it, where a crash came
// while another was begun.
func (v *Victim) HoldsSaves(name string) bool {
	files, err := v.Files()
	if err != nil {
		return false
	}
	for suffix, begun := range map[string]int{".log": 0, ".segment": 1} {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		for _, file := range files {
			if strings.HasSuffix(file, suffix) && file > name {
				begun--
			}
		}
		return begun >= 0
	}
	return false
}

// Edit replaces a file's content; nil removes it.
func (v *Victim) Edit(name string, edit func([]byte) []byte) error {
	path := v.mem.PathJoin(Dir, name)
	file, err := v.mem.Open(path)
	if err != nil {
		return err
	}
	content, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	edited := edit(slices.Clone(content))
	switch {
	case edited == nil:
		return errors.Join(v.mem.Remove(path), storedir.SyncDir(v.mem, v.mem.PathDir(path)))
	case slices.Equal(edited, content):
		return nil // and what was not synced stays so
	}
	return storedir.WriteFile(v.mem, v.mem.PathDir(path), v.mem.PathBase(path), edited)
}
