package kv

import (
	"encoding/binary"
	"math"
)

// MessagePack is laid out by hand here, as it is in a block: a command is read once for each server and each write, and
// a reader that refers to the command's bytes is what keeps that free of allocations.

const (
	tagNil   = 0xc0
	tagFalse = 0xc2
	tagTrue  = 0xc3
)

func appendArray(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x90|byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(n))
}

func appendUint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(b, byte(v))
	case v < 1<<8:
		return append(b, 0xcc, byte(v))
	case v < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
}

func appendInt(b []byte, v int64) []byte {
	if v >= 0 {
		return appendUint(b, uint64(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, tagTrue)
	}
	return append(b, tagFalse)
}

func appendBinHeader(b []byte, n int) []byte {
	switch {
	case n < 1<<8:
		return append(b, 0xc4, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 0xc5), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xc6), uint32(n))
}

func appendBin[S ~string | ~[]byte](b []byte, v S) []byte {
	return append(appendBinHeader(b, len(v)), v...)
}

// appendBinOrNil keeps nil apart from empty: nil is "no value".
func appendBinOrNil(b, v []byte) []byte {
	if v == nil {
		return append(b, tagNil)
	}
	return appendBin(b, v)
}

// reader takes one MessagePack message apart. After anything unexpected it is bad and yields zero values; the caller
// looks once, at the end.
type reader struct {
	rest []byte
	bad  bool
}

// done reports whether everything read was as expected and nothing is left.
func (r *reader) done() bool { return !r.bad && len(r.rest) == 0 }

func (r *reader) fail() { r.bad, r.rest = true, nil }

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) tag() byte {
	b := r.take(1)
	if b == nil {
		return 0
	}
	return b[0]
}

// number reads a big-endian unsigned integer of size bytes.
func (r *reader) number(size uint64) uint64 {
	var v uint64
	for _, b := range r.take(size) {
		v = v<<8 | uint64(b)
	}
	return v
}

func (r *reader) array() int {
	switch tag := r.tag(); {
	case tag&0xf0 == 0x90:
		return int(tag & 0x0f)
	case tag == 0xdc:
		return int(r.number(2))
	case tag == 0xdd:
		return int(r.number(4))
	}
	r.fail()
	return 0
}

func (r *reader) int() int64 {
	switch tag := r.tag(); {
	case tag < 0x80:
		return int64(tag)
	case tag >= 0xe0:
		return int64(int8(tag))
	case tag == 0xcc:
		return int64(r.number(1))
	case tag == 0xcd:
		return int64(r.number(2))
	case tag == 0xce:
		return int64(r.number(4))
	case tag == 0xcf:
		v := r.number(8)
		if v > math.MaxInt64 {
			r.fail()
			return 0
		}
		return int64(v)
	case tag == 0xd0:
		return int64(int8(r.number(1)))
	case tag == 0xd1:
		return int64(int16(r.number(2)))
	case tag == 0xd2:
		return int64(int32(r.number(4)))
	case tag == 0xd3:
		return int64(r.number(8))
	}
	r.fail()
	return 0
}

func (r *reader) bool() bool {
	switch r.tag() {
	case tagTrue:
		return true
	case tagFalse:
		return false
	}
	r.fail()
	return false
}

// bytesOrNil reads a bin, a str or nil. What it returns refers to the message and is nil only for a nil.
func (r *reader) bytesOrNil() []byte {
	var size uint64
	switch tag := r.tag(); {
	case r.bad || tag == tagNil:
		return nil
	case tag&0xe0 == 0xa0:
		size = uint64(tag & 0x1f)
	case tag == 0xc4 || tag == 0xd9:
		size = r.number(1)
	case tag == 0xc5 || tag == 0xda:
		size = r.number(2)
	case tag == 0xc6 || tag == 0xdb:
		size = r.number(4)
	default:
		r.fail()
		return nil
	}
	if r.bad {
		return nil
	}
	return r.take(size)
}

func (r *reader) bytes() []byte {
	b := r.bytesOrNil()
	if b == nil {
		r.fail()
	}
	return b
}
