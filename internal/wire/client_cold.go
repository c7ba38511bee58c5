package wire

import (
	"bytes"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// What is asked for rarely is written as MessagePack maps with names, so that a person with any library can read it and
// fields can be added: readers skip names that they do not know.

// ClientHello is the result of hello.
type ClientHello struct {
	Version uint64 `msgpack:"version"` // what the two will speak from here on
	Cluster []byte `msgpack:"cluster"` // 16 bytes
	Server  uint64 `msgpack:"server"`
	// RequestBytesMax is the longest request that the server reads; CommandBytesMax the longest command or query in one.
	RequestBytesMax int `msgpack:"request_bytes_max"`
	CommandBytesMax int `msgpack:"command_bytes_max"`
	// OutstandingMax is how many requests of a connection the server works on at a time; it reads on when some are answered.
	OutstandingMax int `msgpack:"outstanding_max"`
	// Indexes says that the server knows the forms of propose and query whose answers carry an index, and the consistencies
	// that are arrays.
	Indexes bool `msgpack:"indexes"`
	// Members are the servers of all groups that this one knows, itself among them; left out where it knows none. A client remembers
	// them, so that it finds a cluster of which none of the servers is left that it was told of at first.
	Members []ClientAddress `msgpack:"members,omitempty"`
}

// ClientAddress is a server and where the other servers reach it.
type ClientAddress struct {
	ID      uint64 `msgpack:"id"`
	Address string `msgpack:"address"`
}

// ClientStatus is the result of status: what one server knows of itself.
type ClientStatus struct {
	Server  uint64        `msgpack:"server"`
	Cluster []byte        `msgpack:"cluster"` // 16 bytes
	Store   []byte        `msgpack:"store"`   // 16 bytes
	Groups  []ClientGroup `msgpack:"groups"`
}

// ClientGroup is one replica's part of ClientStatus.
type ClientGroup struct {
	Group         uint64   `msgpack:"group"`
	Role          string   `msgpack:"role"`
	Term          uint64   `msgpack:"term"`
	Leader        uint64   `msgpack:"leader"`         // 0: unknown
	LeaderAddress string   `msgpack:"leader_address"` // where servers reach it; empty: unknown
	First         uint64   `msgpack:"first"`          // the log holds the entries from first to next, half open
	Next          uint64   `msgpack:"next"`
	Commit        uint64   `msgpack:"commit"`
	Applied       uint64   `msgpack:"applied"`
	Born          bool     `msgpack:"born"`
	Missing       []uint64 `msgpack:"missing"`     // voters that the group's birth still waits for
	Fenced        string   `msgpack:"fenced"`      // why the replica stopped; empty: it runs
	Refusal       string   `msgpack:"refusal"`     // why a peer gives this server's messages no effect; empty: none does
	NoSnapshot    string   `msgpack:"no_snapshot"` // why the state cannot be had from this server; empty: it can
	// Membership is the one in force at this server, committed or not.
	Membership   ClientMembership `msgpack:"membership"`
	Removed      bool             `msgpack:"removed"`      // the server does not belong to the group any more
	StorageHung  bool             `msgpack:"storage_hung"` // its disk has completed nothing for an election timeout
	Transferring bool             `msgpack:"transferring"` // this leader is handing over
	Successor    uint64           `msgpack:"successor"`    // to this server; 0: none is chosen yet
	Priority     uint64           `msgpack:"priority"`
	LostData     bool             `msgpack:"lost_data,omitempty"` // its store lacks what it had acknowledged or saved
	Progress     []ClientProgress `msgpack:"progress"`            // a leader's view of the others
}

// ClientProgress is a leader's view of one other server.
type ClientProgress struct {
	ID       uint64 `msgpack:"id"`
	Store    []byte `msgpack:"store"`
	State    string `msgpack:"state"`  // probe, stream or snapshot
	Match    uint64 `msgpack:"match"`  // its log is known to hold everything up to here
	Silent   int64  `msgpack:"silent"` // nanoseconds since it last answered; negative: it never did
	CaughtUp bool   `msgpack:"caught_up"`
	Left     bool   `msgpack:"left"` // it is no member any more and is told so
}

// AppendClientValue appends a response whose result is one of the values above, or a slice of them.
func AppendClientValue(buf []byte, id uint32, result any) ([]byte, error) {
	b, err := EncodeClientValue(result)
	if err != nil {
		return buf, err
	}
	return AppendClientEncoded(buf, id, b), nil
}

// AppendClientEncoded appends a response whose result is what EncodeClientValue returned.
func AppendClientEncoded(buf []byte, id uint32, result []byte) []byte {
	return append(appendResponseHead(buf, id), result...)
}

// EncodeClientValue returns one of the values above as it stands in a response.
func EncodeClientValue(value any) ([]byte, error) {
	var b bytes.Buffer
	enc := msgpack.NewEncoder(&b)
	enc.UseCompactInts(true)
	if err := enc.Encode(value); err != nil {
		return nil, fmt.Errorf("encoding %T: %w", value, err)
	}
	return b.Bytes(), nil
}

// DecodeClientValue reads what EncodeClientValue wrote. Errors match ErrMalformed.
func DecodeClientValue(b []byte, into any) error {
	if err := msgpack.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%w: reading %T: %w", ErrMalformed, into, err)
	}
	return nil
}

// ClientValue reads a result into one of the values above.
func (r *ClientResponse) ClientValue(into any) error { return DecodeClientValue(r.Result, into) }
