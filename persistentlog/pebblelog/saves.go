package pebblelog

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// saves stands for saves that follow one another: from the one after before up to number, itself included. Every batch brings
// its own as an operand of a merge, and Pebble merges them when it flushes, compacts and reads. So the record of a whole store
// reaches from nothing to the newest save, and a batch that went missing anywhere leaves two operands that do not meet: that
// is damage which no table, file or log shows by itself. A manifest that lost its last edit, for one, reads as a shorter one,
// and the table that only this edit named is gone like the log that it was made of.
type saves struct {
	before, number uint64
	// gap is the save behind which the first one is missing; 0: none is. A gap is no error of the merge, which Pebble
	// would try again and again: it is written down, and Open refuses it.
	gap uint64
}

// gapUnknown is the gap where an operand does not read.
const gapUnknown = ^uint64(0)

// savesSize: an array of three numbers, each at its full width.
const savesSize = 1 + 3*9

func (s saves) append(dst []byte) []byte {
	return appendUint64(appendUint64(appendUint64(append(dst, 0x93), s.before), s.number), s.gap)
}

func parseSaves(b []byte) (s saves, err error) {
	if len(b) != savesSize || b[0] != 0x93 || b[1] != 0xcf || b[10] != 0xcf || b[19] != 0xcf {
		return s, fmt.Errorf("%d bytes are not a range of saves", len(b))
	}
	return saves{binary.BigEndian.Uint64(b[2:]), binary.BigEndian.Uint64(b[11:]), binary.BigEndian.Uint64(b[20:])}, nil
}

// check says what is missing in the saves of a whole store.
func (s saves) check() error {
	switch {
	case s.gap == gapUnknown:
		return fmt.Errorf("the numbers of some saves do not read")
	case s.gap != 0:
		return fmt.Errorf("saves behind save %d are missing, and later ones are there", s.gap)
	case s.before != 0:
		return fmt.Errorf("the saves up to save %d are missing, and later ones are there", s.before)
	}
	return nil
}

// join makes one range of two that should follow one another.
func join(older, newer saves) saves {
	joined := saves{before: older.before, number: newer.number, gap: older.gap}
	switch {
	case joined.gap != 0:
	case older.number != newer.before:
		joined.gap = older.number
	default:
		joined.gap = newer.gap
	}
	return joined
}

// savesMerger is the merge of ranges of saves. Its name stands in the database and never changes.
var savesMerger = &pebble.Merger{
	Name: "oarlock.saves",
	Merge: func(k, value []byte) (pebble.ValueMerger, error) {
		m := new(savesMerge)
		copy(m.key[:], k)
		m.all = m.read(value)
		return m, nil
	},
}

type savesMerge struct {
	key key
	all saves
}

func (m *savesMerge) read(sealed []byte) saves {
	record, err := unseal(m.key[:], sealed)
	if err != nil {
		return saves{gap: gapUnknown}
	}
	s, err := parseSaves(record)
	if err != nil {
		return saves{gap: gapUnknown}
	}
	return s
}

// MergeNewer takes what follows.
func (m *savesMerge) MergeNewer(value []byte) error {
	m.all = join(m.all, m.read(value))
	return nil
}

// MergeOlder takes what is before.
func (m *savesMerge) MergeOlder(value []byte) error {
	m.all = join(m.read(value), m.all)
	return nil
}

// Finish returns all of it as one record.
func (m *savesMerge) Finish(bool) ([]byte, io.Closer, error) {
	return seal(m.key, m.all.append(make([]byte, 0, savesSize+sealSize))), nil, nil
}

// mergeSaves says which save a batch is: the one that follows before.
func mergeSaves(batch *pebble.Batch, before, number uint64) error {
	var buf [savesSize + sealSize]byte
	k := makeKey(0, kindSaves, 0)
	sealed := seal(k, saves{before: before, number: number}.append(buf[:0]))
	op := batch.MergeDeferred(len(k), len(sealed))
	copy(op.Key, k[:])
	copy(op.Value, sealed)
	return op.Finish()
}
