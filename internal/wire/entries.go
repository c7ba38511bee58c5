package wire

import (
	"encoding/binary"
	"fmt"
)

// Command is the body of an entry of kind command: what the application proposed, in its session envelope. On disk it
// is a MessagePack array of four: session, sequence, floor, command (bin). A command outside of any session has session
// 0, and its sequence and floor are 0.
type Command struct {
	Session  uint64
	Sequence uint64
	Floor    uint64 // the lowest sequence that the client still waits for
	Command  []byte
}

// Size returns how many bytes AppendCommand appends.
func (c Command) Size() int {
	n := len(c.Command)
	head := 5
	switch {
	case n < 1<<8:
		head = 2
	case n < 1<<16:
		head = 3
	}
	return 1 + uintSize(c.Session) + uintSize(c.Sequence) + uintSize(c.Floor) + head + n
}

// AppendCommand appends the entry body of c.
func AppendCommand(dst []byte, c Command) []byte {
	dst = appendArray(dst, 4)
	dst = appendUint(dst, c.Session)
	dst = appendUint(dst, c.Sequence)
	dst = appendUint(dst, c.Floor)
	return appendBin(dst, c.Command)
}

// DecodeCommand reads the body of a command entry. Command refers to b. An error matches ErrMalformed.
func DecodeCommand(b []byte) (Command, error) {
	c := cursor{b: b}
	c.array(4)
	v := Command{Session: c.uint(), Sequence: c.uint(), Floor: c.uint(), Command: c.bin()}
	if c.why != "" || len(c.b) > 0 {
		return Command{}, c.end("command entry")
	}
	return v, nil
}

// SessionOp says what an entry of kind session does.
type SessionOp uint8

const (
	// SessionOpen opens a session whose id is the entry's index.
	SessionOpen SessionOp = 1
	// SessionClose ends the session that the entry names. Ending one that is gone is no error.
	SessionClose SessionOp = 2
	// SessionKeep uses the session that the entry names and does nothing else, so that it does not expire.
	SessionKeep SessionOp = 3
)

// SessionEntry is the body of an entry of kind session: a MessagePack array of the operation and the session's id,
// which is 0 for SessionOpen.
type SessionEntry struct {
	Op      SessionOp
	Session uint64
}

// AppendSessionEntry appends the entry body of e.
func AppendSessionEntry(dst []byte, e SessionEntry) []byte {
	dst = appendArray(dst, 2)
	dst = appendUint(dst, uint64(e.Op))
	return appendUint(dst, e.Session)
}

// DecodeSessionEntry reads the body of a session entry. An error matches ErrMalformed; an operation that this version
// does not know is such an error, because an entry is never skipped.
func DecodeSessionEntry(b []byte) (SessionEntry, error) {
	c := cursor{b: b}
	c.array(2)
	op := c.uint()
	e := SessionEntry{Op: SessionOp(op), Session: c.uint()}
	if op < uint64(SessionOpen) || op > uint64(SessionKeep) {
		c.fail("unknown session operation")
	}
	if err := c.end("session entry"); err != nil {
		return SessionEntry{}, err
	}
	return e, nil
}

// AppendSessionID appends the result of a SessionOpen entry: the id of the new session.
func AppendSessionID(dst []byte, id uint64) []byte { return appendUint(dst, id) }

// DecodeSessionID reads the result of a SessionOpen entry.
func DecodeSessionID(b []byte) (uint64, error) {
	c := cursor{b: b}
	id := c.uint()
	return id, c.end("session id")
}

func uintSize(v uint64) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<8:
		return 2
	case v < 1<<16:
		return 3
	case v < 1<<32:
		return 5
	}
	return 9
}

// appendBin appends a bin value in its shortest form.
func appendBin(dst, b []byte) []byte {
	switch n := len(b); {
	case n < 1<<8:
		dst = append(dst, 0xc4, byte(n))
	case n < 1<<16:
		dst = append(dst, 0xc5, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xc6), uint32(n))
	}
	return append(dst, b...)
}

// bin reads a bin value in its shortest form without copying it.
func (c *cursor) bin() []byte {
	tag := c.take(1)
	if tag == nil {
		return nil
	}
	var n, least uint64
	switch tag[0] {
	case 0xc4:
		if p := c.take(1); p != nil {
			n = uint64(p[0])
		}
	case 0xc5:
		if p := c.take(2); p != nil {
			n, least = uint64(binary.BigEndian.Uint16(p)), 1<<8
		}
	case 0xc6:
		if p := c.take(4); p != nil {
			n, least = uint64(binary.BigEndian.Uint32(p)), 1<<16
		}
	default:
		c.fail("not a bin value")
		return nil
	}
	switch {
	case c.why != "":
		return nil
	case n < least:
		c.fail("bin length is not in its shortest form")
		return nil
	case n > uint64(len(c.b)):
		c.fail("cut short")
		return nil
	}
	return c.take(int(n))
}

// AppliedVersion is the version of the records below.
const AppliedVersion = 1

// Applied is where a state machine stands: the first record of a snapshot's stream, and the record that a durable
// machine keeps beside its state. Sessions says how many session records follow it in a stream.
type Applied struct {
	Index           uint64
	Term            uint64
	Time            int64
	Chain           uint64
	MembershipIndex uint64
	Membership      []byte // as AppendMembership lays it
	Sessions        uint32
}

// AppendApplied appends the record of a.
func AppendApplied(dst []byte, a Applied) []byte {
	dst = appendArray(dst, 8)
	dst = appendUint(dst, AppliedVersion)
	dst = appendUint(dst, a.Index)
	dst = appendUint(dst, a.Term)
	dst = appendUint(dst, uint64(a.Time))
	dst = appendUint(dst, a.Chain)
	dst = appendUint(dst, a.MembershipIndex)
	dst = appendBin(dst, a.Membership)
	return appendUint(dst, uint64(a.Sessions))
}

// DecodeApplied reads what AppendApplied wrote. Membership refers to b. An error matches ErrMalformed.
func DecodeApplied(b []byte) (Applied, error) {
	c := cursor{b: b}
	c.array(8)
	if v := c.uint(); c.why == "" && v != AppliedVersion {
		return Applied{}, fmt.Errorf("%w: state record has version %d, this version reads %d", ErrMalformed, v, AppliedVersion)
	}
	a := Applied{Index: c.uint(), Term: c.uint(), Time: c.natural(), Chain: c.uint(), MembershipIndex: c.uint()}
	a.Membership = c.bin()
	a.Sessions = c.uint32()
	if err := c.end("state record"); err != nil {
		return Applied{}, err
	}
	return a, nil
}

// Session is one open session, without its results. Results says how many result records follow it in a stream.
type Session struct {
	ID        uint64
	Floor     uint64
	UsedIndex uint64 // the entry that used it last
	UsedTime  int64  // the cluster time of that entry
	Results   uint32
}

// AppendSession appends the record of s.
func AppendSession(dst []byte, s Session) []byte {
	dst = appendArray(dst, 5)
	dst = appendUint(dst, s.ID)
	dst = appendUint(dst, s.Floor)
	dst = appendUint(dst, s.UsedIndex)
	dst = appendUint(dst, uint64(s.UsedTime))
	return appendUint(dst, uint64(s.Results))
}

// DecodeSession reads what AppendSession wrote. An error matches ErrMalformed.
func DecodeSession(b []byte) (Session, error) {
	c := cursor{b: b}
	c.array(5)
	s := Session{ID: c.uint(), Floor: c.uint(), UsedIndex: c.uint(), UsedTime: c.natural(), Results: c.uint32()}
	if err := c.end("session record"); err != nil {
		return Session{}, err
	}
	return s, nil
}

// Result is one result that a session keeps. Code is 0 for a result of the state machine; otherwise it is the code of
// the error that stands in its place.
type Result struct {
	Sequence uint64
	Code     Code
	Result   []byte
}

// AppendResult appends the record of r.
func AppendResult(dst []byte, r Result) []byte {
	dst = appendArray(dst, 3)
	dst = appendUint(dst, r.Sequence)
	dst = appendUint(dst, uint64(r.Code))
	return appendBin(dst, r.Result)
}

// DecodeResult reads what AppendResult wrote. Result refers to b. An error matches ErrMalformed.
func DecodeResult(b []byte) (Result, error) {
	c := cursor{b: b}
	c.array(3)
	r := Result{Sequence: c.uint()}
	code := c.uint()
	r.Code, r.Result = Code(code), c.bin()
	if code > 1<<16-1 {
		c.fail("code is too large")
	}
	if err := c.end("result record"); err != nil {
		return Result{}, err
	}
	return r, nil
}
