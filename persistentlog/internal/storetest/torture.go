package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Opener opens the log that is tested on a file system.
type Opener func(vfs.FS) (persistentlog.PersistentLog, error)

// Torture runs one random history of three lives on a formatted disk. Each ends before a random call into the file system, with
// a random part of what was not synced left behind. What was promised must then be there. Lives open with open, and what
// a crash left is looked at with plain.
func Torture(mem *vfs.MemFS, seed uint64, open, plain Opener) error {
	mem = mem.CrashClone(vfs.CrashCloneCfg{})
	h := NewHistory(seed)
	for life := range 3 {
		left, cfg, err := h.live(mem, seed, life, open)
		if err != nil {
			return fmt.Errorf("seed %d life %d: %w", seed, life, err)
		}
		mem = left.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: cfg.RNG})
		if err := h.Check(func() (persistentlog.PersistentLog, error) { return plain(left) }); err != nil {
			return fmt.Errorf("seed %d life %d: %w", seed, life, err)
		}
		l, err := plain(mem)
		if err == nil {
			err = h.Settle(l)
		}
		if err != nil {
			return fmt.Errorf("seed %d life %d: opened once more: %w", seed, life, err)
		}
	}
	return nil
}

// live goes on with the history until the power is gone, and returns the disk that is left.
func (h *History) live(mem *vfs.MemFS, seed uint64, life int, open Opener) (left *vfs.MemFS, cfg vfs.CrashCloneCfg, err error) {
	var crashing, lost atomic.Bool
	h.Crashing = crashing.Load
	calls := h.RNG.IntN(400)
	cfg = vfs.CrashCloneCfg{UnsyncedDataPercent: h.RNG.IntN(101), RNG: rand.New(rand.NewPCG(seed, uint64(life)))}
	f := errorfs.Wrap(mem, OneAtATime(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && !lost.Load() {
			if calls--; calls < 0 {
				crashing.Store(true)
				left = mem.CrashClone(cfg)
				lost.Store(true)
			}
		}
		if lost.Load() && op.Kind != errorfs.OpFileClose {
			return ErrDisk // nothing happens after the power is gone
		}
		return nil
	}))
	if l, err := open(f); err == nil {
		for !lost.Load() && err == nil {
			err = h.Step(l)
		}
		_ = l.Close() // the disk is gone; only what it holds matters
		if errors.Is(err, persistentlog.ErrDamaged) {
			return nil, cfg, err
		}
	}
	if !lost.Load() {
		return nil, cfg, errors.New("the disk is there and the store failed")
	}
	return left, cfg, nil
}

// LifeWithFailure lets one call that changes something fail in the life of a store: number at, none if it is negative. Everything
// after it succeeds on the disk, and nothing may be reported as saved. end is called in the end of a life that went well, before
// Close. It returns how many such calls there were.
func LifeWithFailure(mem *vfs.MemFS, at int, open, plain Opener, end func(persistentlog.PersistentLog) error) (calls int, err error) {
	f := errorfs.Wrap(mem, OneAtATime(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose && op.Kind != errorfs.OpFilePreallocate {
			if calls++; calls-1 == at {
				return fmt.Errorf("call %d, %v %s: %w", at, op.Kind, op.Path, ErrDisk)
			}
		}
		return nil
	}))
	h := NewHistory(99)
	l, err := open(f)
	if err == nil {
		for i := 0; i < 60 && err == nil; i++ {
			err = h.Step(l)
		}
		if err == nil {
			err = end(l)
		}
		if err != nil {
			if fenced := l.Save([]persistentlog.Update{{Group: 9, Hard: &raft.HardState{Term: 1}}}); !errors.Is(fenced, persistentlog.ErrFenced) || !errors.Is(fenced, ErrDisk) {
				return calls, fmt.Errorf("a save after call %d failed: %w", at, fenced)
			}
		}
		err = errors.Join(err, l.Close())
	}
	if err != nil && !errors.Is(err, ErrDisk) {
		return calls, fmt.Errorf("call %d: %w", at, err)
	}
	// What was reported as saved is there, on the disk as it is and on what a crash would have left of it.
	for _, disk := range []*vfs.MemFS{mem.CrashClone(vfs.CrashCloneCfg{}), mem} {
		if err := h.Check(func() (persistentlog.PersistentLog, error) { return plain(disk) }); err != nil {
			return calls, fmt.Errorf("call %d failed: %w", at, err)
		}
	}
	return calls, nil
}
