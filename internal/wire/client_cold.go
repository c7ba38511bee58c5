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
}

// ClientStatus is the result of status: what one server knows of itself.
type ClientStatus struct {
	Server uint64        `msgpack:"server"`
	Groups []ClientGroup `msgpack:"groups"`
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
}

// ClientMember is one element of the result of members.
type ClientMember struct {
	ID      uint64 `msgpack:"id"`
	Role    string `msgpack:"role"` // voter, outgoing or learner
	Address string `msgpack:"address"`
	Store   []byte `msgpack:"store"` // 16 bytes
}

// AppendClientValue appends a response whose result is one of the values above, or a slice of them.
func AppendClientValue(buf []byte, id uint32, result any) ([]byte, error) {
	var b bytes.Buffer
	enc := msgpack.NewEncoder(&b)
	enc.UseCompactInts(true)
	if err := enc.Encode(result); err != nil {
		return buf, fmt.Errorf("encoding %T: %w", result, err)
	}
	return append(appendResponseHead(buf, id), b.Bytes()...), nil
}

// ClientValue reads a result into one of the values above.
func (r *ClientResponse) ClientValue(into any) error {
	if err := msgpack.Unmarshal(r.Result, into); err != nil {
		return fmt.Errorf("%w: reading %T: %w", ErrMalformed, into, err)
	}
	return nil
}
