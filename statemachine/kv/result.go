package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Code is the first value of every result.
type Code uint8

// The codes of results. New ones are only ever added.
const (
	CodeOK             Code = 0
	CodeNotFound       Code = 1 // Get: the key is not there
	CodeBadCommand     Code = 2 // not what the table of commands says
	CodeUnknownCommand Code = 3 // well-formed, of a kind that this version does not know
	CodeTooLarge       Code = 4 // a key or value, or the value after Append, is over its limit
)

// The errors behind the codes, and of the decoders.
var (
	// ErrBadCommand: the command was malformed; it was executed as nothing, on every server.
	ErrBadCommand = errors.New("kv: malformed command")
	// ErrUnknownCommand: the servers do not know this kind of command; it was executed as nothing, on every server.
	ErrUnknownCommand = errors.New("kv: unknown command")
	// ErrTooLarge: the key or the value is over KeyBytesMax or ValueBytesMax; nothing has changed.
	ErrTooLarge = errors.New("kv: key or value too large")
	// ErrBadQuery: the query was malformed or is unknown.
	ErrBadQuery = errors.New("kv: malformed query")
	// ErrBadResult: the bytes are not a result of the kind that was to be decoded.
	ErrBadResult = errors.New("kv: malformed result")
)

// resultBytesMax is the longest result of a command: an array of two, a code, a number.
const resultBytesMax = 1 + 1 + 9

func appendResult(b []byte, code Code, number uint64) []byte {
	return appendUint(append(b, 0x92, byte(code)), number)
}

// decodeCommand reads the result of a command: [code, number].
func decodeCommand(result []byte) (int64, error) {
	r := reader{rest: result}
	n, code, number := r.array(), r.int(), r.int()
	if n != 2 || !r.done() || number < 0 {
		return 0, fmt.Errorf("%w: % x", ErrBadResult, clip(result))
	}
	switch Code(code) {
	case CodeOK:
		return number, nil
	case CodeBadCommand:
		return 0, ErrBadCommand
	case CodeUnknownCommand:
		return 0, ErrUnknownCommand
	case CodeTooLarge:
		return 0, ErrTooLarge
	}
	return 0, fmt.Errorf("%w: code %d is newer than this client", ErrBadResult, code)
}

// clip keeps an error readable whatever the bytes were.
func clip(b []byte) []byte { return b[:min(len(b), 32)] }

func decodeFlag(result []byte) (bool, error) {
	n, err := decodeCommand(result)
	if err == nil && n > 1 {
		err = fmt.Errorf("%w: %d is neither 0 nor 1", ErrBadResult, n)
	}
	return n == 1, err
}

// DecodePut reads the result of Put and PutExpiring: whether the key was there before.
func DecodePut(result []byte) (existed bool, err error) { return decodeFlag(result) }

// DecodeAppend reads the result of Append: the length of the value afterwards, in bytes.
func DecodeAppend(result []byte) (length int, err error) {
	n, err := decodeCommand(result)
	return int(n), err
}

// DecodeCompareAndSet reads the result of CompareAndSet and CompareAndSetExpiring: whether it was set.
func DecodeCompareAndSet(result []byte) (set bool, err error) { return decodeFlag(result) }

// DecodeDelete reads the result of Delete: whether the key was there.
func DecodeDelete(result []byte) (existed bool, err error) { return decodeFlag(result) }

// DecodeCompareAndDelete reads the result of CompareAndDelete: whether it was deleted.
func DecodeCompareAndDelete(result []byte) (deleted bool, err error) { return decodeFlag(result) }

// DecodeGet reads the result of Get. The value refers to result.
func DecodeGet(result []byte) (value []byte, found bool, err error) {
	r := reader{rest: result}
	n, code, value := r.array(), Code(r.int()), r.bytesOrNil()
	if n != 2 || !r.done() || code > CodeNotFound || (code == CodeOK) != (value != nil) {
		return nil, false, fmt.Errorf("%w: % x", ErrBadResult, clip(result))
	}
	return value, code == CodeOK, nil
}

// Pair is a key and its value.
type Pair struct {
	Key   []byte
	Value []byte
}

// DecodeScan reads the result of Scan, in key order. The pairs refer to result.
func DecodeScan(result []byte) (pairs []Pair, more bool, err error) {
	r := reader{rest: result}
	n, code := r.array(), r.int()
	more = r.bool()
	size := r.array()
	// Each key and each value takes at least two bytes, so a count that cannot be true makes no memory.
	if n == 3 && code == 0 && !r.bad && size%2 == 0 && size <= len(r.rest)/2 {
		pairs = make([]Pair, 0, size/2)
		for range size / 2 {
			pairs = append(pairs, Pair{Key: r.bytes(), Value: r.bytes()})
		}
		if r.done() {
			return pairs, more, nil
		}
	}
	return nil, false, fmt.Errorf("%w: % x", ErrBadResult, clip(result))
}

// DecodeCount reads the result of Count.
func DecodeCount(result []byte) (int, error) {
	r := reader{rest: result}
	n, code, count := r.array(), r.int(), r.int()
	if n != 2 || code != 0 || !r.done() || count < 0 {
		return 0, fmt.Errorf("%w: % x", ErrBadResult, clip(result))
	}
	return int(count), nil
}

// DecodeHash reads the result of HashOf. Two servers that executed the same entries have the same hash.
func DecodeHash(result []byte) (hash uint64, count int, err error) {
	r := reader{rest: result}
	n, code, sum, keys := r.array(), r.int(), r.bytes(), r.int()
	if n != 3 || code != 0 || len(sum) != 8 || !r.done() || keys < 0 {
		return 0, 0, fmt.Errorf("%w: % x", ErrBadResult, clip(result))
	}
	return binary.BigEndian.Uint64(sum), int(keys), nil
}
