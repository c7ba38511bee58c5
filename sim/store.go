package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/persistentlog/seglog"
	"github.com/oarlock/oarlock/persistentlog/vfsdir"
	"github.com/oarlock/oarlock/raft"
)

// store is what of a server outlives its processes: a disk with the files of its snapshots, and a log, which is in memory
// and knows what a crash leaves of it, or stands in segments on that same disk, byte by byte.
type store struct {
	w        *world
	identity persistentlog.Identity
	disk     *disk
	mem      *memlog.Log // nil: the log is on the disk
	salts    *rand.ChaCha8
	vaults   []*vault // of the machines of each group; none: they have no storage

	seg   *seglog.Log // of the process that has it open
	files *persistentlog.Files
}

// The directories of a store.
const (
	logDir       = "log"
	segmentsDir  = "segments" // in logDir
	snapshotsDir = "snapshots"
)

// format makes a new, empty store.
func (w *world) format(identity persistentlog.Identity) *store {
	s := &store{w: w, identity: identity, disk: newDisk()}
	for range w.plan.Groups {
		if w.plan.Durable {
			s.vaults = append(s.vaults, newVault(w.disks))
		}
	}
	if !w.plan.Segments {
		s.mem = memlog.New(identity)
		return s
	}
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], w.plan.Seed)
	copy(seed[8:], identity.Store[:])
	s.salts = rand.NewChaCha8(seed)
	if err := seglog.Format(logDir, identity, s.options()); err != nil {
		w.fail(checkStart, "a store is not formatted: %v", err)
	}
	return s
}

func (s *store) options() seglog.Options {
	return seglog.Options{
		SegmentBytes: 64 << 10, FS: s.disk, Random: s.salts, Now: func() time.Time { return time.Unix(0, int64(s.w.now)) },
	}
}

// open is what a process does with it first.
func (s *store) open() error {
	dir, err := vfsdir.New(s.disk, snapshotsDir)
	if err != nil {
		return err
	}
	s.files, err = persistentlog.OpenFiles("", persistentlog.FilesOptions{FS: dir, PieceBytes: 512, SyncBytes: 2048})
	switch {
	case err != nil:
	case s.mem != nil:
		s.mem.HoldSyncs()
		s.full(s.disk.full)
	default:
		s.seg, err = seglog.Open(logDir, s.options())
	}
	return err
}

// log is the open log.
func (s *store) log() persistentlog.PersistentLog {
	if s.mem != nil {
		return memLog{s.mem, s.disk}
	}
	return s.seg
}

// memLog is a log in memory of which a disk knows when it is read.
type memLog struct {
	*memlog.Log
	d *disk
}

// Blocks implements persistentlog.PersistentLog.
func (l memLog) Blocks(group raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
	l.d.looks++
	return l.Log.Blocks(group, from, to, maxBytes)
}

// sync ends a call of Save: only now is what was written durable, if nothing has gone wrong since. A log in segments has
// synced before its Save returned.
func (s *store) sync() error {
	switch {
	case s.mem == nil:
		return nil
	case s.disk.lies:
		s.disk.lied++
	default:
		s.mem.Sync()
	}
	return s.mem.Save(nil) // which fails if something has fenced the log before it was synced
}

// crash loses power: what was not synced is gone in part.
func (s *store) crash() *store {
	c := &store{w: s.w, identity: s.identity, disk: s.disk.crash(s.w.disks), salts: s.salts}
	for _, v := range s.vaults {
		c.vaults = append(c.vaults, v.crash())
	}
	if s.mem != nil {
		if s.disk.lied > 0 && !c.disk.forgot {
			s.mem.Sync() // it has told the truth after all
		}
		c.mem = s.mem.CrashCopy(s.w.disks.Uint64())
	}
	return c
}

// kill ends the process that has the store open. The system that its disk belongs to goes on.
func (s *store) kill() *store {
	c := &store{w: s.w, identity: s.identity, disk: s.disk, salts: s.salts}
	full := c.disk.full
	c.disk.mend()
	c.disk.full = full
	for _, v := range s.vaults {
		c.vaults = append(c.vaults, v.crash())
	}
	return c
}

// failing reports whether a write has failed, which the log may still be about to tell.
func (s *store) failing() bool { return s.disk.hurt || s.mem != nil && s.mem.Save(nil) != nil }

// dead reports whether the power has gone in the middle of something.
func (s *store) dead() bool { return s.disk.image != nil }

// fail has a call of the log fail: the n-th of its kind or, on a disk, the n-th change or read.
func (s *store) fail(f *Fault) {
	switch {
	case s.mem != nil:
		s.mem.Fail(memCalls[f.Kind], f.N, errDisk)
	case f.Kind == FaultReadError:
		s.disk.reads = f.N
	default:
		if s.disk.failAt(f.N, f.once()); f.once() && f.N%2 == 1 {
			s.disk.failAt(0, false)
			s.disk.spoil, s.disk.spoilsKind, s.disk.cut = f.N, ".segment", s.w.disks
		}
		if f.X < 0.25 { // and the power goes soon after, for those who went on
			s.disk.doom, s.disk.cut = 1+s.w.disks.IntN(8), s.w.disks
		}
	}
}

var memCalls = map[FaultKind]memlog.Call{
	FaultSaveError: memlog.CallSave, FaultCompactError: memlog.CallCompact, FaultReadError: memlog.CallBlocks,
}

// mend ends what was to fail.
func (s *store) mend() {
	s.disk.mend()
	if s.mem != nil {
		for _, call := range [...]memlog.Call{memlog.CallSave, memlog.CallCompact, memlog.CallBlocks} {
			s.mem.Fail(call, 0, nil)
		}
	}
}

var errDecayed = fmt.Errorf("%w: a bit has decayed", persistentlog.ErrDamaged)

// decay damages something that was promised to be kept, and reports whether there was anything. In segments that is a bit
// somewhere, which may have been of no use any more.
func (s *store) decay() bool {
	if s.mem != nil {
		s.mem.Fail(memlog.CallBlocks, 1, errDecayed)
		return true
	}
	names := s.filesIn(logDir + "/" + segmentsDir)
	return len(names) > 0 && s.disk.flip(names[s.w.disks.IntN(len(names))], s.w.disks)
}

// segments is the directory of a log's segments.
func (s *store) segments() *node {
	n, err := s.disk.find(logDir + "/" + segmentsDir)
	if err != nil {
		s.w.fail(checkStart, "a store has no segments: %v", err)
		return newDisk().root
	}
	return n
}

// full says whether nothing more fits on the disk. A log in memory has no size; its next save fails.
func (s *store) full(is bool) {
	s.disk.full = is
	if s.mem != nil && is {
		s.mem.Fail(memlog.CallSave, 1, errFull)
	}
}

// armed makes a start fail that is to fail, and returns why it and the life after it may.
func (s *store) armed(call int, once bool) error {
	switch {
	case call > 0 && call%2 == 1:
		s.disk.reads = call
	case call > 0:
		s.disk.failAt(call, once)
	case s.disk.full:
		return errFull
	default:
		return nil
	}
	return errDisk
}

// filesIn returns the names of the files in one of the directories.
func (s *store) filesIn(dir string) (names []string) {
	for _, name := range s.disk.files() {
		if strings.HasPrefix(name, dir+"/") {
			names = append(names, name)
		}
	}
	return names
}

// isDamage reports whether an error says that acknowledged data is damaged or lost.
func isDamage(err error) bool { return errors.Is(err, persistentlog.ErrDamaged) }
