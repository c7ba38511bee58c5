// Package memnet is a network in memory, for tests and simulations: transports between servers, with faults that are
// drawn from a seed, and byte streams for clients. It waits on timers and channels only, so it runs in the bubble of
// testing/synctest, where its delays cost nothing.
//
// Messages go through the wire's encoding, so that a receiver shares no memory with its sender and what would not
// survive a real network does not survive here (SetEncode).
package memnet

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// Faults are what a network does to the messages on one way from a server to another. The zero value delivers each
// message once, in order, as soon as the receiver takes it. Chances are between 0 and 1.
type Faults struct {
	Loss      float64 // chance that a message is lost, silently; a chunk is then lost with its connection
	Duplicate float64 // chance that it comes twice
	// DelayMin and DelayMax bound how long a message is under way. Within a lane the order stays.
	DelayMin, DelayMax time.Duration
	// Reorder is the chance that a message is under way for up to ReorderDelay longer (10 ms if zero) and that later
	// ones pass it.
	Reorder      float64
	ReorderDelay time.Duration
}

func (f Faults) validate() error {
	for _, p := range []float64{f.Loss, f.Duplicate, f.Reorder} {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("memnet: %v is no chance between 0 and 1", p)
		}
	}
	if f.DelayMin < 0 || f.DelayMax < f.DelayMin || f.ReorderDelay < 0 {
		return fmt.Errorf("memnet: delays from %s to %s, %s more when reordered", f.DelayMin, f.DelayMax, f.ReorderDelay)
	}
	return nil
}

// way leads from one server to another.
type way struct{ from, to raft.ServerID }

// Network connects the transports that were made from it. Its methods may be called from any goroutine. What becomes of
// a message depends on the seed, the way, the lane, and how many messages took them before, and so not on the order in
// which servers come to send.
type Network struct {
	seed uint64

	mu        sync.Mutex
	shared    bool // messages are not encoded
	endpoints map[who]*Endpoint
	faults    Faults
	perWay    map[way]Faults
	cuts      map[way]bool
	listeners map[raft.ServerID]*listener
	err       error
}

// New makes a network without faults.
func New(seed uint64) *Network {
	return &Network{
		seed: seed, endpoints: make(map[who]*Endpoint), perWay: make(map[way]Faults), cuts: make(map[way]bool),
		listeners: make(map[raft.ServerID]*listener),
	}
}

// SetEncode says whether messages are encoded and decoded on their way, which is the default. Without it they are
// copied but for the bytes of their blocks, which is faster.
func (n *Network) SetEncode(encode bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shared = !encode
}

// SetFaults sets what happens on every way that SetFaultsBetween was not called for.
func (n *Network) SetFaults(f Faults) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := f.validate(); err != nil {
		return err
	}
	n.faults = f
	return nil
}

// SetFaultsBetween sets what happens on the way from one server to another, and not on the way back.
func (n *Network) SetFaultsBetween(from, to raft.ServerID, f Faults) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := f.validate(); err != nil {
		return err
	}
	n.perWay[way{from, to}] = f
	return nil
}

// Cut loses everything from one server to another, also what is under way, until Mend or Heal. The way back stays.
func (n *Network) Cut(from, to raft.ServerID) { n.setCut(from, to, true) }

// Mend undoes Cut.
func (n *Network) Mend(from, to raft.ServerID) { n.setCut(from, to, false) }

func (n *Network) setCut(from, to raft.ServerID, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cut {
		n.cuts[way{from, to}] = true
		return
	}
	delete(n.cuts, way{from, to})
}

// Partition cuts both ways between servers of different sides, and mends those within a side. Servers that no side
// names are left as they are.
func (n *Network) Partition(sides ...[]raft.ServerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, side := range sides {
		for _, from := range side {
			for k, other := range sides {
				for _, to := range other {
					if i == k {
						delete(n.cuts, way{from, to})
					} else {
						n.cuts[way{from, to}] = true
					}
				}
			}
		}
	}
}

// Heal mends every cut. Faults stay.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
}

// Err returns the first thing that went wrong and is no fault of a network: a message that did not survive its encoding,
// a handler that panicked. A test asks at its end.
func (n *Network) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

func (n *Network) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil {
		n.err = err
	}
}

// Transport makes a server's transport. A server has one at a time: close it before the next one of the same id and store,
// as a process that starts again has ended before; until then Start of the next one fails. The transport's FrameBytesMax and
// BlockBytesMax default to 8 MiB and 4 MiB. A server without an Address is found by its id and store, whatever address
// others have for it; one with an Address is found at that alone.
func (n *Network) Transport(local transport.Local) *Endpoint {
	if local.FrameBytesMax == 0 {
		local.FrameBytesMax = 8 << 20
	}
	if local.BlockBytesMax == 0 {
		local.BlockBytesMax = 4 << 20
	}
	return &Endpoint{
		network: n, local: local, peers: make(map[who][]string), links: make(map[linkKey]*link),
		lost: make(map[who]struct{}), done: make(chan struct{}),
	}
}

// Address is how members name a server of this network, and what DialAddress takes.
func Address(id raft.ServerID) string { return fmt.Sprintf("memnet:%d", id) }

// faultsOn is called with mu held.
func (n *Network) faultsOn(w way) Faults {
	if f, ok := n.perWay[w]; ok {
		return f
	}
	return n.faults
}

// pass makes of a message what arrives at the other side, and says how many bytes it took.
func (n *Network) pass(m *raft.Message, shared bool) (raft.Message, int, error) {
	head := wire.AppendMessage(nil, m)
	size := len(head)
	for i := range m.Blocks {
		if m.Blocks[i].IsBlank() {
			return raft.Message{}, 0, errors.New("memnet: a block has no bytes")
		}
		size += m.Blocks[i].Size()
	}
	if shared {
		got := clone(m)
		memberships, err := wire.DecodeMemberships(got.Blocks)
		got.Memberships = memberships
		return got, size, err
	}
	body := make([]byte, 0, size-len(head))
	for i := range m.Blocks {
		body = append(body, m.Blocks[i].Bytes()...)
	}
	var got raft.Message
	err := wire.DecodeMessage(head[wire.FrameHeaderSize:], body, &got)
	return got, size, err
}

// clone copies a message but for the bytes of its blocks, as far as it travels.
func clone(m *raft.Message) raft.Message {
	c := *m
	c.ToStore = raft.StoreID{}
	c.Blocks = append([]raft.Block(nil), m.Blocks...)
	c.Snapshot.Membership = m.Snapshot.Membership.Clone()
	c.Birth.Membership = m.Birth.Membership.Clone()
	c.Memberships = nil
	for _, at := range m.Memberships {
		c.Memberships = append(c.Memberships, raft.MembershipAt{Index: at.Index, Membership: at.Membership.Clone()})
	}
	return c
}
