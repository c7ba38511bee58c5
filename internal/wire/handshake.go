package wire

import (
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/raft"
)

// PeerMagic is what a connection between servers begins with. Its first byte is the one that MessagePack leaves unused,
// so no request of a client, which is a MessagePack array, can begin with it; nor does HTTP or TLS.
const PeerMagic = "\xc1oarlock"

// PeerVersionMin and PeerVersionMax are the versions of the protocol between servers that this program speaks. A
// connection uses the highest one that both sides speak.
const (
	PeerVersionMin = 1
	PeerVersionMax = 1
)

// HandshakeBytesMax is the largest frame that either side reads before it knows who the other one is.
const HandshakeBytesMax = 4096

// Lane says what a connection between two servers is for. Each lane is a connection of its own, so that what is large
// never holds up what is urgent.
type Lane uint8

const (
	// LaneControl takes every message without blocks: votes, heartbeats, responses, offers.
	LaneControl Lane = 1
	// LaneEntries takes append requests.
	LaneEntries Lane = 2
	// LaneChunks takes requests for parts of snapshots, and, as the only lane, answers in the other direction.
	LaneChunks Lane = 3
)

// String returns the lane's name as it stands in logs.
func (l Lane) String() string {
	switch l {
	case LaneControl:
		return "control"
	case LaneEntries:
		return "entries"
	case LaneChunks:
		return "chunks"
	}
	return fmt.Sprintf("lane-%d", uint8(l))
}

// PeerIdentity is who a server says it is when a connection opens, and what it can take.
type PeerIdentity struct {
	Cluster       raft.ClusterID
	Server        raft.ServerID
	Store         raft.StoreID
	Run           raft.RunID
	FrameBytesMax int // the largest frame that it reads
	BlockBytesMax int // the largest block that it sends
}

// Hello is what the dialler says first. Its layout is the same in all versions of the protocol; later ones may add
// values at its end, which earlier ones skip.
type Hello struct {
	VersionMin, VersionMax uint32
	Lane                   Lane
	From                   PeerIdentity
	To                     raft.ServerID
	ToStore                raft.StoreID // the only store that is wanted; zero: whichever To has
	Address                string       // where From says that it can be reached; empty: nowhere
	ClientAddress          string       // where clients reach From, if that is another one; empty: not told
}

// Welcome is what the acceptor says if it agrees. It may grow in the same way.
type Welcome struct {
	Version uint32
	From    PeerIdentity
}

// RefusalCode says why a connection was declined.
type RefusalCode uint8

const (
	// RefusedMalformed: what came was no handshake.
	RefusedMalformed RefusalCode = 1
	// RefusedVersion: the two share no version of the protocol.
	RefusedVersion RefusalCode = 2
	// RefusedCluster: the acceptor belongs to another cluster.
	RefusedCluster RefusalCode = 3
	// RefusedServer: the acceptor is another server than the one that was wanted, or has the dialler's own id.
	RefusedServer RefusalCode = 4
	// RefusedLimits: one side could send blocks that the other does not read.
	RefusedLimits RefusalCode = 5
	// RefusedBusy: the acceptor has too many connections.
	RefusedBusy RefusalCode = 6
	// RefusedStore: the acceptor has another store than the one that was wanted.
	RefusedStore RefusalCode = 7
)

// Refused is the error of a declined handshake, on both sides of the connection.
type Refused struct {
	Code   RefusalCode
	Reason string // what differs, and what to do about it
}

// refusalReasonBytesMax bounds a reason on the wire.
const refusalReasonBytesMax = 1024

// Error returns the reason.
func (r *Refused) Error() string { return "wire: connection refused: " + r.Reason }

// Is reports whether target is a refusal with the same code.
func (r *Refused) Is(target error) bool {
	var o *Refused
	return errors.As(target, &o) && o.Code == r.Code
}

// AppendHello appends the magic and the frame that open a connection: [version min, version max, lane, cluster, server,
// store, run, frame bytes max, block bytes max, to, store of to, address, address for clients]. An address longer than AddressBytesMax is left out.
func AppendHello(dst []byte, h Hello) []byte {
	dst = append(dst, PeerMagic...)
	at := len(dst)
	dst = appendArray(beginFrame(dst), helloValues)
	dst = appendUint(dst, uint64(h.VersionMin))
	dst = appendUint(dst, uint64(h.VersionMax))
	dst = appendUint(dst, uint64(h.Lane))
	dst = appendIdentity(dst, h.From)
	dst = appendID16(appendUint(dst, uint64(h.To)), h.ToStore)
	if len(h.Address) > AddressBytesMax {
		h.Address = ""
	}
	dst = appendStr(dst, h.Address)
	if len(h.ClientAddress) > AddressBytesMax {
		h.ClientAddress = ""
	}
	dst = appendStr(dst, h.ClientAddress)
	return endFrame(dst, at, FrameHello, 0)
}

// DecodeHello reads the frame that follows the magic. The last three values may be missing. Errors match ErrMalformed.
func DecodeHello(f Frame) (Hello, error) {
	c := cursor{b: f.Head}
	n := c.handshake(f, FrameHello, helloValuesLeast)
	h := Hello{
		VersionMin: c.uint32(), VersionMax: c.uint32(), Lane: Lane(c.byte()), From: c.identity(), To: raft.ServerID(c.uint()),
	}
	if n >= helloValuesAddress {
		h.ToStore, h.Address = c.id16(), c.str(AddressBytesMax)
	}
	if n >= helloValues {
		h.ClientAddress = c.str(AddressBytesMax)
	}
	if h.VersionMin > h.VersionMax || h.VersionMin == 0 {
		c.fail("a range of versions that is none")
	}
	if h.Lane == 0 || h.Lane > LaneChunks {
		c.fail("unknown lane")
	}
	if err := c.failed("hello"); err != nil {
		return Hello{}, err
	}
	return h, nil
}

// AppendWelcome appends the frame that accepts a connection: [version, cluster, server, store, run, frame bytes max,
// block bytes max].
func AppendWelcome(dst []byte, w Welcome) []byte {
	at := len(dst)
	dst = appendArray(beginFrame(dst), welcomeValues)
	dst = appendUint(dst, uint64(w.Version))
	dst = appendIdentity(dst, w.From)
	return endFrame(dst, at, FrameWelcome, 0)
}

// AppendRefused appends the frame that declines a connection: [code, reason]. A long reason is cut.
func AppendRefused(dst []byte, r *Refused) []byte {
	at := len(dst)
	dst = appendUint(appendArray(beginFrame(dst), 2), uint64(r.Code))
	dst = appendStr(dst, r.Reason[:min(len(r.Reason), refusalReasonBytesMax)])
	return endFrame(dst, at, FrameRefusal, 0)
}

// DecodeAnswer reads the acceptor's answer to a Hello: a Welcome, or a *Refused as the error. Other errors match
// ErrMalformed.
func DecodeAnswer(f Frame) (Welcome, error) {
	c := cursor{b: f.Head}
	if f.Type == FrameRefusal {
		c.handshake(f, FrameRefusal, 2)
		r := &Refused{Code: RefusalCode(c.byte()), Reason: c.str(refusalReasonBytesMax)}
		if err := c.failed("refusal"); err != nil {
			return Welcome{}, err
		}
		return Welcome{}, r
	}
	c.handshake(f, FrameWelcome, welcomeValues)
	w := Welcome{Version: c.uint32(), From: c.identity()}
	if err := c.failed("welcome"); err != nil {
		return Welcome{}, err
	}
	return w, nil
}

// Accept is the acceptor's decision about a Hello: the version to speak, or a *Refused.
func Accept(local PeerIdentity, h Hello) (version uint32, err error) {
	version = min(PeerVersionMax, h.VersionMax)
	if version < max(PeerVersionMin, h.VersionMin) {
		return 0, &Refused{RefusedVersion, fmt.Sprintf(
			"server %d speaks versions %d to %d of the protocol between servers, server %d speaks %d to %d; update the older one",
			local.Server, PeerVersionMin, PeerVersionMax, h.From.Server, h.VersionMin, h.VersionMax)}
	}
	if h.To != local.Server {
		return 0, &Refused{RefusedServer, fmt.Sprintf(
			"this is server %d and not server %d; correct the address that server %d has for it", local.Server, h.To, h.From.Server)}
	}
	if !h.ToStore.IsZero() && h.ToStore != local.Store {
		return 0, &Refused{RefusedStore, fmt.Sprintf(
			"this is server %d with store %s, and store %s is wanted; either the one takes the other's place, or server %d has a wrong address",
			local.Server, local.Store, h.ToStore, h.From.Server)}
	}
	return version, checkIdentity(local, h.From, !h.ToStore.IsZero())
}

// Agree is the dialler's check of a Welcome by server to, with the store that it wanted: nil, or a *Refused.
func Agree(local PeerIdentity, to raft.ServerID, store raft.StoreID, w Welcome) error {
	if w.Version < PeerVersionMin || w.Version > PeerVersionMax {
		return &Refused{RefusedVersion, fmt.Sprintf("server %d chose version %d of the protocol, which was not offered",
			w.From.Server, w.Version)}
	}
	if w.From.Server != to {
		return &Refused{RefusedServer, fmt.Sprintf("server %d answered where server %d was dialled; correct its address",
			w.From.Server, to)}
	}
	if !store.IsZero() && w.From.Store != store {
		return &Refused{RefusedStore, fmt.Sprintf("server %d answered with store %s, and store %s is wanted", to, w.From.Store, store)}
	}
	return checkIdentity(local, w.From, !store.IsZero())
}

// checkIdentity is what both sides check of each other. Which store an id is bound to is known by each group's membership, and
// the consensus module answers a stranger. Two servers with one id talk to each other only if that is meant: the dialler has
// named the store. While one takes the other's place it is so.
func checkIdentity(local, peer PeerIdentity, named bool) error {
	switch {
	case peer.Cluster != local.Cluster:
		return &Refused{RefusedCluster, fmt.Sprintf(
			"server %d belongs to cluster %s, server %d to cluster %s; one of the two has a wrong address or a wrong cluster id",
			local.Server, local.Cluster, peer.Server, peer.Cluster)}
	case peer.Server == 0 || peer.Server == local.Server && (!named || peer.Store == local.Store):
		return &Refused{RefusedServer, fmt.Sprintf(
			"server %d is spoken to by a server with id %d; every server needs an id of its own", local.Server, peer.Server)}
	}
	if err := fits(local, peer); err != nil {
		return err
	}
	return fits(peer, local)
}

// fits refuses a sender whose blocks are larger than the frames that the receiver reads.
func fits(sender, receiver PeerIdentity) error {
	if sender.BlockBytesMax <= receiver.FrameBytesMax-FrameOverheadMax {
		return nil
	}
	return &Refused{RefusedLimits, fmt.Sprintf(
		"server %d makes blocks of up to %d bytes, server %d reads frames of up to %d bytes and %d of overhead are needed; "+
			"give both the same limits", sender.Server, sender.BlockBytesMax, receiver.Server, receiver.FrameBytesMax, FrameOverheadMax)}
}

const (
	helloValues         = 13
	helloValuesAddress  = 12 // without the address for clients
	helloValuesLeast    = 10 // without the store of to, and the address
	welcomeValues       = 7
	handshakeValuesMost = 64 // what a later version may have grown to
)

// handshake reads the head of an array of at least n values, of a frame that must be of type typ and without a body, and
// returns how many there are.
func (c *cursor) handshake(f Frame, typ FrameType, n int) (has int) {
	if f.Type != typ || len(f.Body) != 0 {
		c.fail("another frame than the handshake's")
	}
	if has = c.arrayUpTo(handshakeValuesMost); has < n {
		c.fail("too few values")
	}
	return has
}

func appendIdentity(dst []byte, p PeerIdentity) []byte {
	dst = appendID16(dst, p.Cluster)
	dst = appendUint(dst, uint64(p.Server))
	dst = appendID16(dst, p.Store)
	dst = appendUint(dst, uint64(p.Run))
	dst = appendUint(dst, uint64(p.FrameBytesMax))
	return appendUint(dst, uint64(p.BlockBytesMax))
}

func (c *cursor) identity() PeerIdentity {
	return PeerIdentity{
		Cluster: c.id16(), Server: raft.ServerID(c.uint()), Store: c.id16(), Run: raft.RunID(c.uint()),
		FrameBytesMax: int(c.uint32()), BlockBytesMax: int(c.uint32()),
	}
}
