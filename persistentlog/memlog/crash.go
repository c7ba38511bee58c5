package memlog

import (
	"fmt"
	"math/rand/v2"

	"github.com/oarlock/oarlock/raft"
)

// HoldSyncs makes the log keep back durability from now on: Save and Compact change what Load and Blocks see, and a
// crash forgets it, until Sync is called. It is for those who play the disk themselves: a save counts as returned when
// Sync has run after it. Destroy and Close sync by themselves.
func (l *Log) HoldSyncs() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold()
}

// Sync makes everything so far durable. On a fenced log it does nothing: after a failed write none is known to be.
func (l *Log) Sync() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fence == nil {
		l.sync()
	}
}

// CrashCopy returns what a power cut now would leave, as a log of its own that syncs at once: everything that was
// synced, and of what was not a prefix, in order and each update whole, whose length seed chooses. The log itself goes
// on as if nothing had happened; whoever plays a crash abandons it.
func (l *Log) CrashCopy(seed uint64) *Log {
	l.mu.RLock()
	defer l.mu.RUnlock()
	kept := l.now
	if l.synced != nil {
		kept = l.synced
	}
	c := New(l.identity)
	for id, g := range kept {
		c.now[id] = g.clone()
	}
	survive := rand.New(rand.NewPCG(seed, 0)).IntN(len(l.unsynced) + 1)
	for _, change := range l.unsynced[:survive] {
		change.applyTo(c.now)
	}
	return c
}

// Reopen returns a log with what this one, which must be closed, made durable: the next run of a process on the same
// store. After a failed write that may be less than Load saw, as in CrashCopy with seed 0.
func (l *Log) Reopen() (*Log, error) {
	l.mu.RLock()
	closed := l.closed
	l.mu.RUnlock()
	if !closed {
		return nil, fmt.Errorf("memlog: reopen: the log is still open: close it first, or take a CrashCopy")
	}
	return l.CrashCopy(0), nil
}

func (l *Log) hold() {
	if l.synced != nil {
		return
	}
	l.synced = make(map[raft.GroupID]*group, len(l.now))
	for id, g := range l.now {
		l.synced[id] = g.clone()
	}
}

func (l *Log) sync() {
	for _, c := range l.unsynced {
		c.applyTo(l.synced)
	}
	l.unsynced = nil
}

// Call names a method that can be made to fail.
type Call uint8

const (
	// CallSave is Save. Of the updates of a failed Save a prefix may turn up after a crash, as from a real disk.
	CallSave Call = 1
	// CallBlocks is Blocks. It fences the log only with an error that matches ErrDamaged.
	CallBlocks Call = 2
	// CallCompact is Compact.
	CallCompact Call = 3
	// CallDestroy is Destroy; the group stays.
	CallDestroy Call = 4
)

type fault struct {
	in  int // calls until it strikes, 1 is the next one
	err error
}

// Fail makes the nth call from now on, 1 being the next one, fail with err, once. After a failed write the log is
// fenced: every further write is refused with an error that matches ErrFenced and err. A second Fail for the same call
// replaces the first; n of 0 takes it back.
func (l *Log) Fail(call Call, n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n <= 0 {
		delete(l.faults, call)
		return
	}
	if l.faults == nil {
		l.faults = make(map[Call]*fault)
	}
	l.faults[call] = &fault{in: n, err: err}
}

func (l *Log) takeFault(call Call) error {
	f, ok := l.faults[call]
	if !ok {
		return nil
	}
	if f.in--; f.in > 0 {
		return nil
	}
	delete(l.faults, call)
	return f.err
}
