package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// cursor reads MessagePack values off the front of b. The first failure sticks: after it every read returns zero, so
// that a reader of a record asks once, at its end. It neither allocates nor copies, but for strings.
type cursor struct {
	b   []byte
	why string // why reading failed, a constant text; empty while it goes well
}

// fail makes the failure stick and leaves nothing to read.
func (c *cursor) fail(why string) {
	if c.why == "" {
		c.why = why
	}
	c.b = nil
}

// end reports the failure, if there was one or if bytes are left over. what names the thing that was read.
func (c *cursor) end(what string) error {
	if c.why == "" && len(c.b) > 0 {
		c.why = "bytes follow it"
	}
	return c.failed(what)
}

// failed is end for a value that others follow.
func (c *cursor) failed(what string) error {
	if c.why != "" {
		return fmt.Errorf("%w: %s: %s", ErrMalformed, what, c.why)
	}
	return nil
}

// take returns the next n bytes, or nil after a failure.
func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.fail("cut short")
		return nil
	}
	head := c.b[:n:n]
	c.b = c.b[n:]
	return head
}

// uint reads an unsigned integer in its shortest form.
func (c *cursor) uint() uint64 {
	if len(c.b) > 0 && c.b[0] < 0x80 {
		v := c.b[0]
		c.b = c.b[1:]
		return uint64(v)
	}
	return c.uintLong()
}

func (c *cursor) uintLong() uint64 {
	tag := c.take(1)
	if tag == nil {
		return 0
	}
	var v, least uint64
	switch tag[0] {
	case 0xcc:
		if p := c.take(1); p != nil {
			v, least = uint64(p[0]), 1<<7
		}
	case 0xcd:
		if p := c.take(2); p != nil {
			v, least = uint64(binary.BigEndian.Uint16(p)), 1<<8
		}
	case 0xce:
		if p := c.take(4); p != nil {
			v, least = uint64(binary.BigEndian.Uint32(p)), 1<<16
		}
	case 0xcf:
		if p := c.take(8); p != nil {
			v, least = binary.BigEndian.Uint64(p), 1<<32
		}
	default:
		c.fail("not an unsigned integer")
		return 0
	}
	if v < least {
		c.fail("integer is not in its shortest form")
		return 0
	}
	return v
}

// uint32 reads an unsigned integer of at most 32 bits.
func (c *cursor) uint32() uint32 {
	v := c.uint()
	if v > math.MaxUint32 {
		c.fail("integer is too large")
		return 0
	}
	return uint32(v)
}

// natural reads an integer that is not negative and fits into an int64.
func (c *cursor) natural() int64 {
	v := c.uint()
	if v > math.MaxInt64 {
		c.fail("integer is too large")
		return 0
	}
	return int64(v)
}

// bool reads a boolean.
func (c *cursor) bool() bool {
	tag := c.take(1)
	if tag == nil {
		return false
	}
	if tag[0] != 0xc2 && tag[0] != 0xc3 {
		c.fail("not a boolean")
		return false
	}
	return tag[0] == 0xc3
}

// array reads the head of an array of exactly n values.
func (c *cursor) array(n int) {
	if c.arrayUpTo(n) != n {
		c.fail("array of another length")
	}
}

// arrayUpTo reads the head of an array of at most most values and returns how many they are. Each value takes a byte at
// least, so a count above what is left is refused before anyone allocates for it.
func (c *cursor) arrayUpTo(most int) int {
	tag := c.take(1)
	if tag == nil {
		return 0
	}
	var n, least uint64
	switch {
	case tag[0]&0xf0 == 0x90:
		n = uint64(tag[0] & 0x0f)
	case tag[0] == 0xdc:
		if p := c.take(2); p != nil {
			n, least = uint64(binary.BigEndian.Uint16(p)), 1<<4
		}
	case tag[0] == 0xdd:
		if p := c.take(4); p != nil {
			n, least = uint64(binary.BigEndian.Uint32(p)), 1<<16
		}
	default:
		c.fail("not an array")
		return 0
	}
	switch {
	case n < least:
		c.fail("array length is not in its shortest form")
		return 0
	case n > uint64(most):
		c.fail("array is too long")
		return 0
	case n > uint64(len(c.b)):
		c.fail("cut short")
		return 0
	}
	return int(n)
}

// id16 reads a bin value of exactly 16 bytes.
func (c *cursor) id16() (id [16]byte) {
	if head := c.take(2); head != nil && (head[0] != 0xc4 || head[1] != 16) {
		c.fail("not an id of 16 bytes")
		return id
	}
	copy(id[:], c.take(16))
	return id
}

// str reads a string of at most most bytes and copies it.
func (c *cursor) str(most int) string {
	tag := c.take(1)
	if tag == nil {
		return ""
	}
	var n, least int
	switch {
	case tag[0]&0xe0 == 0xa0:
		n = int(tag[0] & 0x1f)
	case tag[0] == 0xd9:
		if p := c.take(1); p != nil {
			n, least = int(p[0]), 1<<5
		}
	case tag[0] == 0xda:
		if p := c.take(2); p != nil {
			n, least = int(binary.BigEndian.Uint16(p)), 1<<8
		}
	default:
		c.fail("not a string, or too long a one")
		return ""
	}
	if n < least {
		c.fail("string length is not in its shortest form")
		return ""
	}
	if n > most {
		c.fail("string is too long")
		return ""
	}
	return string(c.take(n))
}
