package storedir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// WitnessName is the file that says, outside of the log, how far the log has come.
const WitnessName = "witness"

const (
	witnessMagic     = "oarwitn1"
	witnessLostMagic = "oarlost1" // in the place of the other one: the store has lost what it had acknowledged, for good
	witnessSlotBytes = 4096       // the two slots lie in pages of their own, so that one torn write spares the other
	witnessBytes     = 8 + 16 + 8 + 4 + 4
	witnessSyncEvery = time.Second
)

// Witness is a small file of two slots that are written in turns: the number of the newest save that was reported as
// durable, and a checksum of it. A log whose end was lost after it had been acknowledged reads like one that was never
// longer; it is behind its witness then. The slot is written before the save is reported, so nothing that a killed
// process acknowledged is missing in it. It is synced at most once a second and on Close, so a power cut may take that
// last second from it: it is then behind the log, which says nothing.
//
// It belongs to whoever writes the log; one goroutine at a time, but for Sync.
type Witness struct {
	file   vfs.File
	path   string
	store  raft.StoreID
	now    func() time.Time
	newest int // the slot that holds number
	number uint64
	sum    uint32
	synced time.Time
	dirty  bool
	lost   bool
	buf    [witnessBytes]byte
}

// CreateWitness makes the file, durably. A sum of 0 stands for one that is not known.
func CreateWitness(f vfs.FS, dir string, store raft.StoreID, number uint64, sum uint32) error {
	b := make([]byte, 2*witnessSlotBytes)
	putWitness(b, witnessMagic, store, number, sum)
	putWitness(b[witnessSlotBytes:], witnessMagic, store, number, sum)
	return WriteFile(f, dir, WitnessName, b)
}

func putWitness(b []byte, magic string, store raft.StoreID, number uint64, sum uint32) {
	copy(b, magic)
	copy(b[8:], store[:])
	binary.BigEndian.PutUint64(b[24:], number)
	binary.BigEndian.PutUint32(b[32:], sum)
	binary.BigEndian.PutUint32(b[36:], crc32.Checksum(b[:36], castagnoli))
}

// OpenWitness reads the file. now is the clock by which it is synced. That there is no file is damage.
func (k Kind) OpenWitness(f vfs.FS, dir string, store raft.StoreID, now func() time.Time) (_ *Witness, err error) {
	w := &Witness{path: f.PathJoin(dir, WitnessName), store: store, now: now}
	switch there, err := Exists(f, w.path); { // OpenReadWrite would make it
	case err != nil:
		return nil, fmt.Errorf("%s: open %s: %w", k.Name, dir, err)
	case !there:
		return nil, Damaged(w.path, 0, 0, "the file is missing")
	}
	if w.file, err = f.OpenReadWrite(w.path, vfs.WriteCategoryUnspecified); err != nil {
		return nil, fmt.Errorf("%s: open %s: %w", k.Name, dir, err)
	}
	if err := w.read(); err != nil {
		return nil, errors.Join(err, w.file.Close())
	}
	w.synced = now()
	return w, nil
}

func (w *Witness) read() error {
	found := false
	for slot := range 2 {
		b := make([]byte, witnessBytes)
		if _, err := w.file.ReadAt(b, int64(slot*witnessSlotBytes)); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %w", w.path, err)
		}
		magic := string(b[:8])
		if magic != witnessMagic && magic != witnessLostMagic || binary.BigEndian.Uint32(b[36:]) != crc32.Checksum(b[:36], castagnoli) {
			continue // a write that a power cut tore; the other slot holds the one before
		}
		if !bytes.Equal(b[8:24], w.store[:]) {
			return Damaged(w.path, 0, 0, "it belongs to store %x, and this is store %s", b[8:24], w.store)
		}
		w.lost = w.lost || magic == witnessLostMagic
		if number := binary.BigEndian.Uint64(b[24:]); !found || number > w.number {
			w.newest, w.number, w.sum, found = slot, number, binary.BigEndian.Uint32(b[32:]), true
		}
	}
	if !found {
		return Damaged(w.path, 0, 0, "neither of its two slots passes its checksum")
	}
	return nil
}

// Newest returns what was noted last.
func (w *Witness) Newest() (number uint64, sum uint32) { return w.number, w.sum }

// Path returns the file's name.
func (w *Witness) Path() string { return w.path }

// Check compares a log whose newest save has a number with the witness. The error matches ErrTailLost.
func (w *Witness) Check(place string, number uint64) error {
	if number >= w.number {
		return nil
	}
	return w.Lost(place, "the log ends with save %d, and save %d was acknowledged", number, w.number)
}

// Judge is Check for a log that can be read to its end: lost says that its end is missing, now or at some earlier start. That is written
// down, durably, before Judge returns, because a log that is written to again passes what it had lost in time. The newest number
// must not be given to another save. What an earlier start has written down is written again: its sync may have failed, and then it is
// seen and not durable.
func (w *Witness) Judge(place string, number uint64) (lost, err error) {
	lost = w.Check(place, number)
	if lost == nil && w.lost {
		lost = w.Lost(place, "it was found at an earlier start that acknowledged saves were missing")
	}
	if lost == nil {
		return nil, nil
	}
	w.lost = true
	for range 2 { // one slot after the other, so that one of them reads whenever the power goes
		if err := w.Note(w.number, w.sum); err != nil {
			return lost, err
		}
		if err := w.sync(); err != nil {
			return lost, err
		}
	}
	return lost, nil
}

// HasLost reports whether the store was found to have lost its end.
func (w *Witness) HasLost() bool { return w.lost }

// Lost makes an error that matches ErrTailLost.
func (w *Witness) Lost(place, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s, as %s says: this server has forgotten what it promised and may neither vote nor acknowledge%s",
		persistentlog.ErrTailLost, place, fmt.Sprintf(format, args...), w.path, DamagedWayOut)
}

// Note writes that a save is durable, before anybody else is told.
func (w *Witness) Note(number uint64, sum uint32) error {
	slot := 1 - w.newest
	magic := witnessMagic
	if w.lost {
		magic = witnessLostMagic
	}
	putWitness(w.buf[:], magic, w.store, number, sum)
	if _, err := w.file.WriteAt(w.buf[:], int64(slot*witnessSlotBytes)); err != nil {
		return err
	}
	w.newest, w.number, w.sum, w.dirty = slot, number, sum, true
	now := w.now()
	if now.Sub(w.synced) < witnessSyncEvery {
		return nil
	}
	w.synced = now
	return w.sync()
}

// Sync makes durable what was noted before the call. Any goroutine may call it until Close, also while another one notes: of a slot that
// is being written the other one is whole.
func (w *Witness) Sync() error { return w.file.SyncData() }

func (w *Witness) sync() error {
	if !w.dirty {
		return nil
	}
	w.dirty = false
	return w.file.SyncData()
}

// Close syncs what was noted, if the store is whole, and closes the file.
func (w *Witness) Close(whole bool) error {
	var err error
	if whole {
		err = w.sync()
	}
	return errors.Join(err, w.file.Close())
}
