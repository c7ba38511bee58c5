// Package transport defines how servers talk. Implementations are tcp (the default) and memnet (memory, seeded, for
// tests); transporttest holds the conformance suite.
package transport

import (
	"context"
	"errors"

	"github.com/oarlock/oarlock/raft"
)

// Transport carries messages between the servers of a cluster, for all groups of its server. The network may drop,
// repeat, delay and reorder messages, and so may a Transport; what it delivers is what was sent, unchanged, from the
// server that it names.
type Transport interface {
	// Start begins to deliver. It is called once, before any other method but Close.
	Start(handler Handler) error

	// Send takes messages to their To and ToStore: to the peer that was given with both, or with that id and no store. Where
	// ToStore is zero that is the one with no store, or the only one that has the id, whatever its store. A server that is no peer is
	// sent to all the same while it has connected to this one, at the address that it claims in doing so (Local.Address):
	// who asks is answered, although the asker may be new, or this server's membership old. It never blocks and returns no error: what cannot be queued is dropped, with
	// Handler.Unreachable. The messages' values are copied before it returns; the bytes of their blocks are shared.
	// It may be called from any goroutine; messages given by one goroutine leave in order within a lane.
	Send(messages []raft.Message)

	// SetPeers replaces the servers that messages are sent to, with their addresses. Two may share an id and have different
	// stores: while one takes the other's place, both are there. A server whose address changes may be given once with
	// each address; whichever answers is used. A store of zero is not known yet: any is taken. Connections to others are
	// closed, the listener stays. It may be called from any goroutine.
	SetPeers(peers []raft.Member)

	// FetchChunk asks a peer for part of one of its snapshots and waits. Of from the ID and the Store count, and find the
	// peer as those of a message do. It uses a lane of its own, so that snapshots
	// never hold up entries, votes or heartbeats. A peer that is not connected is an error at once, and so is a dropped
	// connection; the caller pauses and tries again, from where it stands. It may be called from any goroutine, several at a time.
	FetchChunk(ctx context.Context, from raft.Member, request ChunkRequest) (Chunk, error)

	// Status returns counters and the state of each peer's connections.
	Status() Status

	// Close ends all connections and goroutines. No method of the handler is running or will run after it returned; so it
	// waits for those that run, and the handler sees to it that a blocked Receive returns first.
	Close() error
}

// Handler is what a Transport delivers to; the server is one.
type Handler interface {
	// Receive takes the messages of one connection, in order, with FromStore and FromRun filled in. It keeps the
	// messages' blocks and not the slice. It is called by a goroutine of that connection's lane and may block while the
	// receiver is full, but only for AppendRequests that carry blocks: the lane is then not read, which holds up
	// nobody but its sender. Several lanes call it at once.
	Receive(messages []raft.Message)

	// Unreachable says that messages to a peer were dropped, or its connection was lost; one call may stand for several
	// such losses. A store of zero stands for every store that has the peer's id. It does not block.
	Unreachable(peer raft.ServerID, store raft.StoreID)

	// ServeChunk answers a peer's FetchChunk; from says who asks, by ID and Store. It may block on the disk; a lane has one at a time. An error goes back as text
	// and matches ErrChunkRefused there.
	ServeChunk(from raft.Member, request ChunkRequest) (Chunk, error)
}

// Local is who a transport speaks for; it is what the handshake claims.
type Local struct {
	Cluster raft.ClusterID
	Server  raft.ServerID
	Store   raft.StoreID
	Run     raft.RunID
	// Address is where other servers reach this one, at most AddressBytesMax bytes. Those that it connects to answer there
	// even if they know it from nowhere else. Empty claims none: then only those answer that have it among their peers.
	Address string
	// ClientAddress is where clients reach this server, if not at Address; empty: there, or it is not known. Servers tell it to
	// clients that look for this one.
	ClientAddress string
	// FrameBytesMax is the largest frame that this server reads, and BlockBytesMax the largest block that it will send.
	// A peer that could not take our largest block, or could send us larger ones than we read, is refused in the handshake.
	FrameBytesMax int
	BlockBytesMax int
}

// AddressBytesMax is the longest address that a server can claim.
const AddressBytesMax = 1024

// ClientAddresser is a Transport that hears from other servers where clients reach them.
type ClientAddresser interface {
	// ClientAddress returns what a server with that id that is connected to this one claims (Local.ClientAddress); empty: nothing is
	// known. It may be called from any goroutine and does not wait.
	ClientAddress(server raft.ServerID) string
}

// VisitTeller is a Transport that tells who has connected to it.
type VisitTeller interface {
	// VisitedBy reports whether a connection from the server with that id and that store is open, be it a peer or not. It may be called
	// from any goroutine and does not wait.
	VisitedBy(server raft.ServerID, store raft.StoreID) bool
}

// ChunkRequest asks for bytes of a snapshot.
type ChunkRequest struct {
	Snapshot raft.SnapshotMeta // which one; the peer must have exactly these bytes (SnapshotMeta.Same)
	Offset   int64
	BytesMax int // at most this many; the answer may be shorter
}

// ChunkBytesMax is the largest chunk that a transport carries.
const ChunkBytesMax = 1 << 20

// Chunk is part of a snapshot.
type Chunk struct {
	Offset int64
	Bytes  []byte // the receiver's to keep
	Last   bool   // nothing follows
}

// Status is what a transport knows of itself. Counters grow from the transport's start.
type Status struct {
	Peers           []PeerStatus // by id, then by store
	SentMessages    uint64
	SentBytes       uint64
	Received        uint64
	ReceivedBytes   uint64
	DroppedMessages uint64 // could not be queued, or were queued when their connection was lost
	QueuedBytes     int64  // in the send queues now
	QueuedBytesMax  int64  // their bound
	RefusedConns    uint64 // connections refused: garbage, another cluster, too many
}

// PeerStatus is one peer's part of Status.
type PeerStatus struct {
	ID        raft.ServerID
	Store     raft.StoreID // the one that it was given with; where that is zero, the one that answered last
	Address   string       // of several the one that is used, or was last, or the first
	Connected bool         // the lane that votes and heartbeats take is up
	Visitor   bool         // it is in no SetPeers, and is answered because it has connected
	Error     string       // why it is not connected, in words, or empty
}

// The errors that callers tell apart.
var (
	// ErrUnreachable: no connection to the peer now.
	ErrUnreachable = errors.New("transport: peer is unreachable")
	// ErrChunkRefused: the peer answered, and will not give the chunk; its reason is in the text.
	ErrChunkRefused = errors.New("transport: peer refused the chunk")
	// ErrClosed: the transport was closed.
	ErrClosed = errors.New("transport: closed")
)
