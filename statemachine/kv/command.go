package kv

import "math"

// Limits decide what a command does, so they are part of the format and the same on every server.
const (
	// KeyBytesMax is the longest key.
	KeyBytesMax = 4 << 10
	// ValueBytesMax is the longest value. With its key it fits into a command and into the answer to a query at their
	// default limits.
	ValueBytesMax = 1 << 20
	// ScanBytesMax is how many bytes of keys and values one Scan returns before it stops with more set. One pair is
	// returned even if it is larger.
	ScanBytesMax = 1 << 20
	// ScanLimitMax is the most pairs that one Scan returns.
	ScanLimitMax = 10_000
)

const (
	opPut              = 1
	opAppend           = 2
	opCompareAndSet    = 3
	opDelete           = 4
	opCompareAndDelete = 5
)

const (
	queryGet   = 1
	queryScan  = 2
	queryCount = 3
	queryHash  = 4
)

// command is a command taken apart. Its slices refer to the command's bytes.
type command struct {
	op       int64
	key      []byte
	expected []byte // nil: absent
	value    []byte
	ttl      int64 // nanoseconds, 0 for ever
}

// Put encodes a command that sets a key for ever.
func Put(key, value []byte) []byte { return PutExpiring(key, value, 0) }

// PutExpiring encodes a command that sets a key for ttl nanoseconds of cluster time; 0 is for ever.
func PutExpiring(key, value []byte, ttl int64) []byte {
	b := make([]byte, 0, 24+len(key)+len(value))
	b = appendArray(b, 4)
	b = appendUint(b, opPut)
	b = appendBin(b, key)
	b = appendBin(b, value)
	return appendInt(b, ttl)
}

// Append encodes a command that adds value to the end of a key's value, or sets it when the key is not there.
func Append(key, value []byte) []byte {
	b := make([]byte, 0, 16+len(key)+len(value))
	b = appendArray(b, 3)
	b = appendUint(b, opAppend)
	b = appendBin(b, key)
	return appendBin(b, value)
}

// CompareAndSet encodes a command that sets a key for ever if its value is expected; a nil expected means that the key
// must not be there, an empty one that its value must be empty.
func CompareAndSet(key, expected, value []byte) []byte {
	return CompareAndSetExpiring(key, expected, value, 0)
}

// CompareAndSetExpiring is CompareAndSet with a ttl in nanoseconds of cluster time: with a nil expected, a lock that
// comes free by itself.
func CompareAndSetExpiring(key, expected, value []byte, ttl int64) []byte {
	b := make([]byte, 0, 29+len(key)+len(expected)+len(value))
	b = appendArray(b, 5)
	b = appendUint(b, opCompareAndSet)
	b = appendBin(b, key)
	b = appendBinOrNil(b, expected)
	b = appendBin(b, value)
	return appendInt(b, ttl)
}

// Delete encodes a command that removes a key.
func Delete(key []byte) []byte {
	b := make([]byte, 0, 8+len(key))
	b = appendArray(b, 2)
	b = appendUint(b, opDelete)
	return appendBin(b, key)
}

// CompareAndDelete encodes a command that removes a key if its value is expected: how the holder of a lock lets go of
// it without taking it from the next one.
func CompareAndDelete(key, expected []byte) []byte {
	b := make([]byte, 0, 16+len(key)+len(expected))
	b = appendArray(b, 3)
	b = appendUint(b, opCompareAndDelete)
	b = appendBin(b, key)
	return appendBin(b, expected)
}

// parseCommand takes a command apart and checks its limits. A code other than CodeOK is the refusal.
func parseCommand(encoded []byte) (c command, code Code) {
	r := reader{rest: encoded}
	n := r.array()
	c.op = r.int()
	if r.bad {
		return c, CodeBadCommand
	}
	fields := 0
	switch c.op {
	case opPut:
		fields = 4
		c.key, c.value, c.ttl = r.bytes(), r.bytes(), r.int()
	case opAppend:
		fields = 3
		c.key, c.value = r.bytes(), r.bytes()
	case opCompareAndSet:
		fields = 5
		c.key, c.expected, c.value, c.ttl = r.bytes(), r.bytesOrNil(), r.bytes(), r.int()
	case opDelete:
		fields = 2
		c.key = r.bytes()
	case opCompareAndDelete:
		fields = 3
		c.key, c.expected = r.bytes(), r.bytes()
	default:
		return c, CodeUnknownCommand
	}
	switch {
	case n != fields || !r.done() || c.ttl < 0:
		return c, CodeBadCommand
	case len(c.key) > KeyBytesMax || len(c.value) > ValueBytesMax:
		return c, CodeTooLarge
	}
	return c, CodeOK
}

// due returns the time at which a ttl that starts at now ends, or 0 for never.
func due(now, ttl int64) int64 {
	switch {
	case ttl == 0:
		return 0
	case ttl > math.MaxInt64-max(now, 0):
		return math.MaxInt64
	}
	return now + ttl
}

// Get encodes a query for a key's value.
func Get(key []byte) []byte {
	b := make([]byte, 0, 8+len(key))
	b = appendArray(b, 2)
	b = appendUint(b, queryGet)
	return appendBin(b, key)
}

// Scan encodes a query for the pairs from key from up to, not including, to (nil: no end), at most limit of them. The
// answer says whether there is more; the next Scan then starts at the last key with a zero byte added.
func Scan(from, to []byte, limit int) []byte {
	b := make([]byte, 0, 20+len(from)+len(to))
	b = appendArray(b, 4)
	b = appendUint(b, queryScan)
	b = appendBin(b, from)
	b = appendBinOrNil(b, to)
	return appendInt(b, int64(limit))
}

// Count encodes a query for the number of keys from key from up to, not including, to (nil: no end). Counting
// everything is immediate, counting a part walks through it, without holding up commands.
func Count(from, to []byte) []byte {
	b := make([]byte, 0, 16+len(from)+len(to))
	b = appendArray(b, 3)
	b = appendUint(b, queryCount)
	b = appendBin(b, from)
	return appendBinOrNil(b, to)
}

// HashOf encodes a query for the hash of the whole state and the number of keys, as one point in time.
func HashOf() []byte { return appendUint(appendArray(nil, 1), queryHash) }

// PrefixRange returns the range of all keys that begin with prefix, for Scan and Count. Both results are copies.
func PrefixRange(prefix []byte) (from, to []byte) {
	from = append([]byte{}, prefix...)
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			to = append([]byte{}, prefix[:i+1]...)
			to[i]++
			return from, to
		}
	}
	return from, nil
}
