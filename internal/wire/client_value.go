package wire

import (
	"math"

	"github.com/oarlock/oarlock/raft"
)

// What clients send is read by a reader of its own: their libraries are not ours, so it takes every form in which the
// MessagePack specification allows a value to be written, where servers among themselves have exactly one.

const rpcNil = 0xc0

func rpcAppendBytes(buf, b []byte) []byte { return append(raft.AppendEntryHeader(buf, len(b)), b...) }

// rpcTextMax bounds texts that go out: an error's text may quote anything.
const rpcTextMax = 1 << 12

func rpcAppendText(buf []byte, s string) []byte {
	if len(s) > rpcTextMax {
		s = s[:rpcTextMax]
	}
	return appendStr(buf, s)
}

// rpcToken is one MessagePack token: a scalar with its payload, or the header of an array or a map.
type rpcToken struct {
	size     uint64 // bytes of the token; for a container of its header alone
	head     int    // bytes before the payload
	children uint64 // values that follow inside it: elements, or keys and values
	kind     rpcKind
}

type rpcKind uint8

const (
	rpcOther rpcKind = iota // floats, extensions
	rpcNull
	rpcBool
	rpcUint
	rpcNegative
	rpcString // str or bin
	rpcArray
	rpcMap
)

// rpcReadToken reads the token at the start of b. size is 0 when b is too short to tell; ok is false for the one byte
// that is never used. A size may reach past b: the caller checks before it touches a payload.
func rpcReadToken(b []byte) (t rpcToken, ok bool) {
	if len(b) == 0 {
		return t, true
	}
	c := b[0]
	switch {
	case c < 0x80:
		return rpcToken{size: 1, kind: rpcUint}, true
	case c < 0x90:
		return rpcToken{size: 1, children: 2 * uint64(c&0x0f), kind: rpcMap}, true
	case c < 0xa0:
		return rpcToken{size: 1, children: uint64(c & 0x0f), kind: rpcArray}, true
	case c < 0xc0:
		return rpcToken{size: 1 + uint64(c&0x1f), head: 1, kind: rpcString}, true
	case c >= 0xe0:
		return rpcToken{size: 1, kind: rpcNegative}, true
	}
	f := rpcForms[c-0xc0]
	if f.head == 0 {
		return t, false
	}
	if len(b) < int(f.head) {
		return t, true
	}
	t = rpcToken{size: uint64(f.head) + uint64(f.extra), head: int(f.head), kind: f.kind}
	if f.length == 0 {
		return t, true
	}
	n := rpcReadUint(b[1 : 1+f.length])
	switch f.kind {
	case rpcArray:
		t.children = n
	case rpcMap:
		t.children = 2 * n
	default:
		t.size += n
	}
	return t, true
}

// rpcForms describes the first bytes from 0xc0 to 0xdf: head bytes in all before the payload, of which length ones (after
// the first) hold a size or count, and extra bytes of payload that are always there.
var rpcForms = [32]struct {
	head, length, extra uint8
	kind                rpcKind
}{
	0x00: {head: 1, kind: rpcNull}, // 0x01 is never used
	0x02: {head: 1, kind: rpcBool}, 0x03: {head: 1, kind: rpcBool},
	0x04: {head: 2, length: 1, kind: rpcString}, 0x05: {head: 3, length: 2, kind: rpcString}, 0x06: {head: 5, length: 4, kind: rpcString},
	0x07: {head: 2, length: 1, extra: 1}, 0x08: {head: 3, length: 2, extra: 1}, 0x09: {head: 5, length: 4, extra: 1},
	0x0a: {head: 1, extra: 4}, 0x0b: {head: 1, extra: 8},
	0x0c: {head: 1, extra: 1, kind: rpcUint}, 0x0d: {head: 1, extra: 2, kind: rpcUint},
	0x0e: {head: 1, extra: 4, kind: rpcUint}, 0x0f: {head: 1, extra: 8, kind: rpcUint},
	0x10: {head: 1, extra: 1, kind: rpcNegative}, 0x11: {head: 1, extra: 2, kind: rpcNegative},
	0x12: {head: 1, extra: 4, kind: rpcNegative}, 0x13: {head: 1, extra: 8, kind: rpcNegative},
	0x14: {head: 1, extra: 2}, 0x15: {head: 1, extra: 3}, 0x16: {head: 1, extra: 5}, 0x17: {head: 1, extra: 9}, 0x18: {head: 1, extra: 17},
	0x19: {head: 2, length: 1, kind: rpcString}, 0x1a: {head: 3, length: 2, kind: rpcString}, 0x1b: {head: 5, length: 4, kind: rpcString},
	0x1c: {head: 3, length: 2, kind: rpcArray}, 0x1d: {head: 5, length: 4, kind: rpcArray},
	0x1e: {head: 3, length: 2, kind: rpcMap}, 0x1f: {head: 5, length: 4, kind: rpcMap},
}

func rpcReadUint(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// rpcCursor takes values off a message that was scanned whole. The first value of a wrong type spoils it, after which
// everything it returns is zero: callers look at bad once, at the end.
type rpcCursor struct {
	b   []byte
	bad bool
}

func (c *rpcCursor) token() rpcToken {
	t, ok := rpcReadToken(c.b)
	if c.bad || !ok || t.size == 0 || t.size > uint64(len(c.b)) {
		c.bad = true
		return rpcToken{}
	}
	return t
}

func (c *rpcCursor) take(t rpcToken) []byte {
	if c.bad {
		return nil
	}
	payload := c.b[t.head:t.size:t.size]
	c.b = c.b[t.size:]
	return payload
}

// array takes an array's header and returns the number of its elements.
func (c *rpcCursor) array() int { return c.container(rpcArray) }

// pairs takes a map's header and returns the number of its pairs.
func (c *rpcCursor) pairs() int { return c.container(rpcMap) / 2 }

func (c *rpcCursor) container(kind rpcKind) int {
	t := c.token()
	if t.kind != kind || t.children > uint64(len(c.b)) {
		c.bad = true
		return 0
	}
	c.take(t)
	return int(t.children)
}

// uint takes an integer that is not negative, in any of its forms.
func (c *rpcCursor) uint() uint64 {
	t := c.token()
	if t.kind == rpcUint {
		if t.head == 0 {
			return uint64(c.take(t)[0])
		}
		return rpcReadUint(c.take(t))
	}
	// Some libraries write small positive numbers in the signed forms.
	if t.kind == rpcNegative && t.head == 1 && c.b[1] < 0x80 {
		return rpcReadUint(c.take(t))
	}
	c.bad = true
	return 0
}

func (c *rpcCursor) uint32() uint32 {
	v := c.uint()
	if v > math.MaxUint32 {
		c.bad = true
		return 0
	}
	return uint32(v)
}

// bytes takes a bin or str value: libraries older than the bin type have only the one.
func (c *rpcCursor) bytes() []byte {
	t := c.token()
	if t.kind != rpcString {
		c.bad = true
		return nil
	}
	return c.take(t)
}

// null takes a nil if one is next, and says so.
func (c *rpcCursor) null() bool {
	t := c.token()
	if c.bad || t.kind != rpcNull {
		return false
	}
	c.take(t)
	return true
}

// skip takes one value of any type and returns its bytes.
func (c *rpcCursor) skip() []byte {
	whole, left := c.b, uint64(1)
	for left > 0 && !c.bad {
		t := c.token()
		c.take(t)
		left += t.children - 1
	}
	if c.bad {
		return nil
	}
	return whole[: len(whole)-len(c.b) : len(whole)-len(c.b)]
}
