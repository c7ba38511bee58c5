package sim

import (
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/persistentlog/vfsdir"
)

// store is what of a server outlives its processes: a disk with the files of its snapshots, and a log, which is in memory
// and knows what a crash leaves of it, or stands in segments on that same disk, byte by byte.
type store struct {
	w        *world
	identity persistentlog.Identity
	disk     *disk
	mem      *memlog.Log // nil: the log is on the disk

	files *persistentlog.Files // of the process that has it open
}

// format makes a new, empty store.
func (w *world) format(identity persistentlog.Identity) *store {
	return &store{w: w, identity: identity, disk: newDisk(), mem: memlog.New(identity)}
}

// open is what a process does with it first.
func (s *store) open() error {
	dir, err := vfsdir.New(s.disk, "snapshots")
	if err != nil {
		return err
	}
	s.files, err = persistentlog.OpenFiles("", persistentlog.FilesOptions{FS: dir, PieceBytes: 512, SyncBytes: 2048})
	if err != nil {
		return err
	}
	s.mem.HoldSyncs()
	return nil
}

// log is the open log.
func (s *store) log() persistentlog.PersistentLog { return s.mem }

// sync ends a call of Save: only now is what was written durable, if nothing has gone wrong since.
func (s *store) sync() error {
	s.mem.Sync()
	return s.mem.Save(nil) // which fails if something has fenced the log before it was synced
}

// crash loses power: what was not synced is gone in part.
func (s *store) crash() *store {
	c := &store{w: s.w, identity: s.identity, disk: s.disk.crash(s.w.disks)}
	c.mem = s.mem.CrashCopy(s.w.disks.Uint64())
	return c
}

// dead reports whether the power has gone in the middle of something.
func (s *store) dead() bool { return s.disk.image != nil }

// fail has a call of the log fail.
func (s *store) fail(f *Fault) {
	call := map[FaultKind]memlog.Call{
		FaultSaveError: memlog.CallSave, FaultCompactError: memlog.CallCompact, FaultReadError: memlog.CallBlocks,
	}[f.Kind]
	s.mem.Fail(call, f.N, errDisk)
}

// mend ends what was to fail.
func (s *store) mend() {
	s.disk.fails, s.disk.fuse, s.disk.reads = 0, 0, 0
	for _, call := range [...]memlog.Call{memlog.CallSave, memlog.CallCompact, memlog.CallBlocks} {
		s.mem.Fail(call, 0, nil)
	}
}

var errDecayed = fmt.Errorf("%w: a bit has decayed", persistentlog.ErrDamaged)

// decay damages something that was promised to be kept.
func (s *store) decay() {
	s.mem.Fail(memlog.CallBlocks, 1, errDecayed)
}

// isDamage reports whether an error says that acknowledged data is damaged or lost.
func isDamage(err error) bool { return errors.Is(err, persistentlog.ErrDamaged) }
