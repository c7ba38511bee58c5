package memlog

import (
	"errors"
	"fmt"
	"sync"

	"github.com/oarlock/oarlock/persistentlog"
)

// Disk is where the logs of one store live, one after the other: what a process opens, closes and opens again, and what
// outlives its crashes. It passes for a disk in tests of logs and of servers. It may be used from any goroutine.
type Disk struct {
	identity persistentlog.Identity

	mu   sync.Mutex
	log  *Log // open or the last one that was
	seed uint64
}

// NewDisk returns an empty disk, formatted for identity.
func NewDisk(identity persistentlog.Identity) *Disk { return &Disk{identity: identity} }

// Identity is what the disk was formatted with.
func (d *Disk) Identity() persistentlog.Identity { return d.identity }

// Open opens the log with what is durable. While a log is open the error matches persistentlog.ErrInUse.
func (d *Disk) Open() (persistentlog.PersistentLog, error) { return d.OpenLog() }

// OpenLog is Open with the type that also fails and holds syncs on demand.
func (d *Disk) OpenLog() (*Log, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.log == nil {
		d.log = New(d.identity)
		return d.log, nil
	}
	log, err := d.log.Reopen()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", persistentlog.ErrInUse, err)
	}
	d.log = log
	return log, nil
}

// Crash loses power: the open log is abandoned, and what it had not synced is gone but for a prefix that depends on how
// many crashes there were before.
func (d *Disk) Crash() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seed++
	return d.crash(d.seed)
}

// CrashInSave starts a Save on the open log and loses power before it returns. seed chooses how much of it is kept.
func (d *Disk) CrashInSave(updates []persistentlog.Update, seed uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.log == nil {
		return errNoLog
	}
	d.log.HoldSyncs()
	if err := d.log.Save(updates); err != nil {
		return err
	}
	return d.crash(seed)
}

// FailNextSave makes the open log's next Save fail.
func (d *Disk) FailNextSave() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.log == nil {
		return errNoLog
	}
	d.log.Fail(CallSave, 1, errWrite)
	return nil
}

var (
	errNoLog = errors.New("memlog: no log was opened on this disk")
	errWrite = errors.New("memlog: the disk failed")
)

func (d *Disk) crash(seed uint64) error {
	if d.log == nil {
		return nil
	}
	kept := d.log.CrashCopy(seed)
	kept.closed = true // nobody has it open
	d.log = kept
	return nil
}
