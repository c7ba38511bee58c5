package raft

import "fmt"

// ServerID names a member of a group. It is chosen by the operator, is never an address, and is never used again for
// another server once that one was removed. Zero names nobody.
type ServerID uint64

// GroupID names one replicated log among the many that a server may hold. Zero is not a group.
type GroupID uint64

// DefaultGroup is the group of an application that has only one.
const DefaultGroup GroupID = 1

// ClusterID is the random name of a cluster; servers of two clusters never speak to each other, whatever their addresses.
type ClusterID [16]byte

// StoreID is the random name that a data directory gets when it is formatted. A server whose disk was lost and
// formatted again has the same ServerID and another StoreID, and is a stranger until a membership change admits it.
type StoreID [16]byte

// RunID is a random number drawn at each start of a process, and proved in each handshake: it tells whether two messages
// of a server came from one run of it. Run ids have no order, so they cannot tell which came first.
type RunID uint64

// Term is Raft's logical clock: a number that only grows, with at most one leader in each (dissertation 3.3).
type Term uint64

// Index is the place of an entry in the log. The first entry has index 1; zero stands before the log.
type Index uint64

// SaveSeq numbers the saves that one run of a Node asks for, from 1 up, never reused in that run. Zero means none.
type SaveSeq uint64

// Round numbers the heartbeat rounds of one leader in one term, from 1 up, never reused. Zero means none.
type Round uint64

// ReadID is the caller's name for a pending read. The Node hands it back and draws no meaning from it.
type ReadID uint64

// Kind says what an entry is for. A kind that a server does not know stops it from applying: it is never skipped.
type Kind uint8

const (
	// KindCommand is an application command in its session envelope.
	KindCommand Kind = 1
	// KindNoOp is the empty entry that a leader appends at the start of its term (dissertation 3.6.2 and 6.4).
	KindNoOp Kind = 2
	// KindMembership holds a Membership, in force from the moment it stands in a log (dissertation 4.1).
	KindMembership Kind = 3
	// KindClock carries nothing but its block's cluster time, so that an idle group expires what is due.
	KindClock Kind = 4
	// KindSession opens or closes a client session.
	KindSession Kind = 5
)

// String returns the kind's name as it stands in traces and documents.
func (k Kind) String() string {
	switch k {
	case KindCommand:
		return "command"
	case KindNoOp:
		return "no-op"
	case KindMembership:
		return "membership"
	case KindClock:
		return "clock"
	case KindSession:
		return "session"
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// String returns the id in the form of a UUID.
func (c ClusterID) String() string { return formatID(c) }

// String returns the id in the form of a UUID.
func (s StoreID) String() string { return formatID(s) }

// IsZero reports whether the id was never set.
func (c ClusterID) IsZero() bool { return c == ClusterID{} }

// IsZero reports whether the id was never set.
func (s StoreID) IsZero() bool { return s == StoreID{} }

func formatID(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// ParseClusterID reads the form that ClusterID.String writes; dashes may be left out.
func ParseClusterID(s string) (ClusterID, error) {
	b, err := parseID(s)
	if err != nil {
		return ClusterID{}, fmt.Errorf("cluster id %q: %w", s, err)
	}
	return b, nil
}

// ParseStoreID reads the form that StoreID.String writes; dashes may be left out.
func ParseStoreID(s string) (StoreID, error) {
	b, err := parseID(s)
	if err != nil {
		return StoreID{}, fmt.Errorf("store id %q: %w", s, err)
	}
	return b, nil
}

func parseID(s string) (id [16]byte, err error) {
	digits := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '-' {
			continue
		}
		v, ok := hexDigit(s[i])
		if !ok {
			return id, fmt.Errorf("%q is not a hexadecimal digit", s[i])
		}
		if digits == 32 {
			return id, fmt.Errorf("more than 32 hexadecimal digits")
		}
		id[digits/2] |= v << (4 * (1 - digits%2))
		digits++
	}
	if digits != 32 {
		return id, fmt.Errorf("%d hexadecimal digits, want 32", digits)
	}
	return id, nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
