package storetest

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/oarlock/oarlock/persistentlog"
)

// KilledFormats kills a process before each of the calls by which it formats a store. The next process has the directory as the
// operating system shows it: it opens the store that it finds, or repeats the format, and saves something. A power cut must not take that
// away. It returns how often a process was killed.
func KilledFormats(format func(vfs.FS) error, open Opener) (kills int, err error) {
	for ; ; kills++ {
		mem := vfs.NewCrashableMem()
		calls, dead := 0, false
		err := format(errorfs.Wrap(mem, OneAtATime(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				calls++
				dead = dead || calls-1 == kills
			}
			if dead && op.Kind != errorfs.OpFileClose {
				return ErrDisk
			}
			return nil
		})))
		if !dead {
			return kills, err
		}
		if err := settleAndCut(mem, format, open); err != nil {
			return kills, fmt.Errorf("killed before call %d: %w", kills, err)
		}
	}
}

// settleAndCut is the process after one that was killed, and the one after a power cut.
func settleAndCut(mem *vfs.MemFS, format func(vfs.FS) error, open Opener) error {
	l, err := open(mem)
	if errors.Is(err, persistentlog.ErrNotFormatted) {
		if err := format(mem); err != nil {
			return err
		}
		l, err = open(mem)
	}
	if err != nil {
		return err
	}
	w := NewWriter(1)
	if err := l.Save([]persistentlog.Update{w.Update(2, 100)}); err != nil {
		return err
	}
	left := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := l.Close(); err != nil {
		return err
	}
	if l, err = open(left); err != nil {
		return fmt.Errorf("after a power cut: %w", err)
	}
	state, err := l.Load(1)
	if err == nil && (state.Next != w.Next || state.Hard.Lost) {
		err = fmt.Errorf("after a power cut the log ends before %d, must be %d (lost: %t)", state.Next, w.Next, state.Hard.Lost)
	}
	return errors.Join(err, l.Close())
}
