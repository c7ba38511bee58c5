package transporttest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// patience is how long the suite waits for what must happen; a transport that works takes a small part of it.
const patience = time.Minute

// retryPause is how long it waits before it says again what a network may lose.
const retryPause = 10 * time.Millisecond

const (
	frameBytesMax = 2 << 20
	blockBytesMax = 1 << 20
)

// script is one story's network and the servers on it.
type script struct {
	network Network
	members []raft.Member
	servers []*server
	runs    raft.RunID
}

// server is a transport and the handler that it delivers to.
type server struct {
	transport.Transport
	*handler
	local  transport.Local
	member raft.Member
}

// open starts a server and tells no one of it.
func (c *script) open(id raft.ServerID) (*server, error) { return c.openStore(id, storeOf(id)) }

// openStore is open for a server with another store than the one that its id has by itself.
func (c *script) openStore(id raft.ServerID, store raft.StoreID) (*server, error) {
	c.runs++
	local := transport.Local{
		Cluster: raft.ClusterID{1: 0xcc}, Server: id, Store: store, Run: c.runs,
		FrameBytesMax: frameBytesMax, BlockBytesMax: blockBytesMax,
	}
	t, address, err := c.network.Open(local)
	if err != nil {
		return nil, fmt.Errorf("opening a transport for server %d: %w", id, err)
	}
	s := &server{Transport: t, handler: newHandler(), local: local, member: raft.Member{ID: id, Store: store, Address: address}}
	c.servers = append(c.servers, s)
	c.members = slices.DeleteFunc(c.members, func(m raft.Member) bool { return m.ID == id && m.Store == store })
	c.members = append(c.members, s.member)
	return s, t.Start(s.handler)
}

// pair starts two servers, 1 and 2, that know each other.
func (c *script) pair() (a, b *server, err error) {
	if a, err = c.open(1); err != nil {
		return nil, nil, err
	}
	if b, err = c.open(2); err != nil {
		return nil, nil, err
	}
	c.introduce()
	return a, b, nil
}

// introduce tells every open server of all members.
func (c *script) introduce() {
	for _, s := range c.servers {
		s.SetPeers(c.members)
	}
}

// end closes what is open. Handlers that block are released first, as a server would do.
func (c *script) end() (err error) {
	for _, s := range c.servers {
		s.release()
	}
	for _, s := range c.servers {
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		select {
		case failed := <-closed:
			err = errors.Join(err, failed)
		case <-time.After(patience):
			return errors.Join(err, fmt.Errorf("Close of server %d did not return", s.local.Server))
		}
	}
	return errors.Join(err, c.network.Close())
}

func storeOf(id raft.ServerID) raft.StoreID { return raft.StoreID{0: 0x50, 15: byte(id)} }

// until calls again, at first and then after each pause, until done reports true.
func until(what string, again func(), done func() bool) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(retryPause)
	defer ticker.Stop()
	for {
		again()
		for range 3 { // most of what is waited for takes less than one pause
			if done() {
				return nil
			}
			select {
			case <-deadline.C:
				return fmt.Errorf("waited %s in vain: %s", patience, what)
			case <-ticker.C:
			}
		}
	}
}

func nothing() {}

// connect sends heartbeats from a to b until one arrives, so that what follows is not lost to a connection that is
// still being made.
func connect(a, b *server) error {
	return until(fmt.Sprintf("a heartbeat from server %d at server %d", a.local.Server, b.local.Server),
		func() { a.Send([]raft.Message{heartbeat(a, b, 1)}) },
		func() bool { return b.count(raft.MessageHeartbeatRequest) > 0 })
}

// connectEntries is connect for the lane of append requests.
func connectEntries(a, b *server) error {
	return until(fmt.Sprintf("an append from server %d at server %d", a.local.Server, b.local.Server),
		func() { a.Send([]raft.Message{emptyAppend(a, b)}) },
		func() bool { return b.count(raft.MessageAppendRequest) > 0 })
}

func heartbeat(a, b *server, round raft.Round) raft.Message {
	return raft.Message{
		Type: raft.MessageHeartbeatRequest, Group: 1, From: a.local.Server, To: b.local.Server, Term: 3, Round: round, Time: 5,
	}
}

func emptyAppend(a, b *server) raft.Message {
	return raft.Message{
		Type: raft.MessageAppendRequest, Group: 1, From: a.local.Server, To: b.local.Server, Term: 3,
		PrevIndex: 8, PrevTerm: 2, First: 9, Next: 9, Commit: 7,
	}
}

// appendOf is an append request with one block of one entry.
func appendOf(a, b *server, index raft.Index, size int) raft.Message {
	m := emptyAppend(a, b)
	m.PrevIndex, m.First, m.Next = index-1, index, index+1
	m.Blocks = []raft.Block{blockOf(index, size)}
	return m
}

func blockOf(index raft.Index, size int) raft.Block {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i*7) + byte(index)
	}
	buf := raft.AppendEntry(make([]byte, raft.BlockHeaderSize, raft.BlockHeaderSize+size+5), body)
	return raft.NewBlock(raft.BlockMeta{Group: 1, First: index, Count: 1, Term: 3, Kind: raft.KindCommand, Time: 4, Chain: 99}, buf)
}

// handler records what a transport delivers.
type handler struct {
	mu          sync.Mutex
	messages    []raft.Message
	unreachable map[raft.Member]int // by id and store
	closed      bool                // what comes from now on is a fault
	late        int

	receiving func([]raft.Message) // called before a message is recorded, if set
	serving   func(raft.Member, transport.ChunkRequest) (transport.Chunk, error)

	released    chan struct{} // closed when nothing may block any more
	releaseOnce sync.Once
}

func newHandler() *handler {
	return &handler{unreachable: make(map[raft.Member]int), released: make(chan struct{})}
}

func (h *handler) release() { h.releaseOnce.Do(func() { close(h.released) }) }

func (h *handler) Receive(messages []raft.Message) {
	h.mu.Lock()
	receiving := h.receiving
	h.mu.Unlock()
	if receiving != nil {
		receiving(messages)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		h.late++
	}
	h.messages = append(h.messages, messages...)
}

func (h *handler) Unreachable(peer raft.ServerID, store raft.StoreID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		h.late++
	}
	h.unreachable[raft.Member{ID: peer, Store: store}]++
}

func (h *handler) ServeChunk(from raft.Member, request transport.ChunkRequest) (transport.Chunk, error) {
	h.mu.Lock()
	serving := h.serving
	if h.closed {
		h.late++
	}
	h.mu.Unlock()
	if serving == nil {
		return transport.Chunk{}, errors.New("this server has no snapshots")
	}
	return serving(from, request)
}

// onReceive sets what Receive does before it records.
func (h *handler) onReceive(f func([]raft.Message)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.receiving = f
}

func (h *handler) onChunk(f func(raft.Member, transport.ChunkRequest) (transport.Chunk, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serving = f
}

// received returns the recorded messages of one type.
func (h *handler) received(typ raft.MessageType) (list []raft.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.messages {
		if m.Type == typ {
			list = append(list, m)
		}
	}
	return list
}

func (h *handler) count(typ raft.MessageType) int { return len(h.received(typ)) }

func (h *handler) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = nil
	clear(h.unreachable)
}

// unreached returns how often a server was reported, under whatever store.
func (h *handler) unreached(peer raft.ServerID) (count int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for who, n := range h.unreachable {
		if who.ID == peer {
			count += n
		}
	}
	return count
}

// unreachedStore returns how often a server with a store was reported.
func (h *handler) unreachedStore(s *server) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unreachable[raft.Member{ID: s.local.Server, Store: s.local.Store}]
}
