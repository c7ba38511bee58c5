package pebblelog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/oarlock/oarlock/raft"
)

// kind is the second part of a key. Small records come before the blocks, which are many.
type kind uint8

const (
	kindStore      kind = 0x01 // group 0: the identity of the store, as in the identity file
	kindSaves      kind = 0x02 // group 0: which saves there are
	kindLog        kind = 0x10 // where the group's log begins and ends, and what else is there
	kindHard       kind = 0x11
	kindBirth      kind = 0x12
	kindSnapshot   kind = 0x13
	kindRun        kind = 0x20 // one term run of the trail, by its first index
	kindMembership kind = 0x30 // a membership block, whole, by its index
	kindBlock      kind = 0x40 // a block, by its first index
)

// keySize is the length of every key: group, kind, index (0 where a kind has one record only).
const keySize = 8 + 1 + 8

// key is a value, so that building one allocates nothing.
type key [keySize]byte

func makeKey(group raft.GroupID, k kind, index raft.Index) key {
	var b key
	binary.BigEndian.PutUint64(b[0:], uint64(group))
	b[8] = byte(k)
	binary.BigEndian.PutUint64(b[9:], uint64(index))
	return b
}

// parseKey takes a key of the database apart.
func parseKey(b []byte) (group raft.GroupID, k kind, index raft.Index, ok bool) {
	if len(b) != keySize {
		return 0, 0, 0, false
	}
	return raft.GroupID(binary.BigEndian.Uint64(b)), kind(b[8]), raft.Index(binary.BigEndian.Uint64(b[9:])), true
}

// groupEnd is the first key after those of a group; nil after the last possible group.
func groupEnd(group raft.GroupID) []byte {
	if group+1 == 0 {
		return nil
	}
	end := makeKey(group+1, 0, 0)
	return end[:]
}

// sealSize is the length of the checksum behind every small record: a MessagePack uint 32.
const sealSize = 5

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends the CRC32C of key and record to the record. The key is in it, so that a record that a broken disk or a bug put
// under another key is not believed. Blocks need no seal: they carry a checksum and say which group and index they are.
func seal(k key, record []byte) []byte {
	crc := sealOf(k[:], record)
	return binary.BigEndian.AppendUint32(append(record, 0xce), crc)
}

func sealOf(k, record []byte) uint32 {
	return crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, record)
}

// unseal checks a small record and returns it without its checksum.
func unseal(k, sealed []byte) ([]byte, error) {
	at := len(sealed) - sealSize
	if at < 0 {
		return nil, fmt.Errorf("%d bytes are too short for a record", len(sealed))
	}
	record := sealed[:at]
	if sealed[at] != 0xce || binary.BigEndian.Uint32(sealed[at+1:]) != sealOf(k, record) {
		return nil, fmt.Errorf("checksum of %d bytes does not match", len(record))
	}
	return record, nil
}

// logRecord says what there is of a group. Every batch that touches the group rewrites it, so it counts what must be found beside
// it: a record that went missing is noticed and never read as "was never there".
type logRecord struct {
	first, next raft.Index
	commit      raft.Index
	has         uint64 // hasHard, hasBirth, hasSnapshot
	runs        uint64 // records of kind run
	memberships uint64 // records of kind membership
}

const (
	hasHard     = 1 << 0
	hasBirth    = 1 << 1
	hasSnapshot = 1 << 2
)

// logRecordSize: an array of seven numbers, each at its full width.
const (
	logRecordVersion = 1
	logRecordFields  = 7
	logRecordSize    = 1 + logRecordFields*9
)

func (r logRecord) append(dst []byte) []byte {
	dst = append(dst, 0x90|logRecordFields)
	for _, v := range [logRecordFields]uint64{
		logRecordVersion, uint64(r.first), uint64(r.next), uint64(r.commit), r.has, r.runs, r.memberships,
	} {
		dst = binary.BigEndian.AppendUint64(append(dst, 0xcf), v)
	}
	return dst
}

func parseLogRecord(b []byte) (r logRecord, err error) {
	if len(b) != logRecordSize || b[0] != 0x90|logRecordFields {
		return r, fmt.Errorf("%d bytes are not a log record", len(b))
	}
	var v [logRecordFields]uint64
	for i := range v {
		at := b[1+9*i:]
		if at[0] != 0xcf {
			return r, fmt.Errorf("field %d of a log record is not a number", i)
		}
		v[i] = binary.BigEndian.Uint64(at[1:])
	}
	if v[0] != logRecordVersion {
		return r, fmt.Errorf("a log record of version %d, this version reads %d", v[0], logRecordVersion)
	}
	return logRecord{
		first: raft.Index(v[1]), next: raft.Index(v[2]), commit: raft.Index(v[3]),
		has: v[4], runs: v[5], memberships: v[6],
	}, nil
}

// appendUint64 and parseUint64 are the record that is one number: the term of a run.
func appendUint64(dst []byte, v uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), v)
}

func parseUint64(b []byte) (uint64, error) {
	if len(b) != 9 || b[0] != 0xcf {
		return 0, fmt.Errorf("%d bytes are not a number", len(b))
	}
	return binary.BigEndian.Uint64(b[1:]), nil
}
