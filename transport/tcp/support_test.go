package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
)

const patience = 2 * time.Minute

var cluster = raft.ClusterID{0: 0xcc, 15: 1}

func local(id raft.ServerID) transport.Local {
	return transport.Local{
		Cluster: cluster, Server: id, Store: raft.StoreID{0: 0x50, 15: byte(id)}, Run: raft.RunID(id) << 8,
		FrameBytesMax: 2 << 20, BlockBytesMax: 1 << 20,
	}
}

func identity(id raft.ServerID) wire.PeerIdentity {
	l := local(id)
	return wire.PeerIdentity{
		Cluster: l.Cluster, Server: l.Server, Store: l.Store, Run: l.Run, FrameBytesMax: l.FrameBytesMax, BlockBytesMax: l.BlockBytesMax,
	}
}

// recorder is a handler that keeps what comes.
type recorder struct {
	mu          sync.Mutex
	messages    []raft.Message
	unreachable map[raft.ServerID]int
	chunk       func(transport.ChunkRequest) (transport.Chunk, error)
}

func (r *recorder) Receive(messages []raft.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, messages...)
}

func (r *recorder) Unreachable(id raft.ServerID, _ raft.StoreID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unreachable == nil {
		r.unreachable = make(map[raft.ServerID]int)
	}
	r.unreachable[id]++
}

func (r *recorder) ServeChunk(_ raft.Member, q transport.ChunkRequest) (transport.Chunk, error) {
	if r.chunk == nil {
		return transport.Chunk{}, fmt.Errorf("no chunks here")
	}
	return r.chunk(q)
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.messages)
}

func (r *recorder) lost(id raft.ServerID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unreachable[id]
}

// start runs a transport for a server that tries again quickly; adapt may change its options.
func start(t testing.TB, id raft.ServerID, adapt func(*tcp.Options)) (*tcp.Transport, *recorder) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return startOn(t, listener, id, adapt)
}

func startOn(t testing.TB, listener net.Listener, id raft.ServerID, adapt func(*tcp.Options)) (*tcp.Transport, *recorder) {
	t.Helper()
	o := tcp.Options{
		Local: local(id), Listener: listener, KeepaliveInterval: 50 * time.Millisecond,
		BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond,
	}
	if adapt != nil {
		adapt(&o)
	}
	transport, err := tcp.New(o)
	require.NoError(t, err)
	r := &recorder{}
	require.NoError(t, transport.Start(r))
	t.Cleanup(func() { require.NoError(t, transport.Close()) })
	return transport, r
}

func member(id raft.ServerID, address net.Addr) raft.Member {
	return raft.Member{ID: id, Address: address.String()}
}

// eventually calls done until it reports true.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	require.Eventually(t, done, patience, 2*time.Millisecond, what)
}

func heartbeat(from, to raft.ServerID) raft.Message {
	return raft.Message{Type: raft.MessageHeartbeatRequest, Group: 1, From: from, To: to, Term: 3, Round: 7}
}

func appendOf(from, to raft.ServerID, index raft.Index, size int) raft.Message {
	buf := raft.AppendEntry(make([]byte, raft.BlockHeaderSize), make([]byte, size))
	b := raft.NewBlock(raft.BlockMeta{Group: 1, First: index, Count: 1, Term: 3, Kind: raft.KindCommand}, buf)
	return raft.Message{
		Type: raft.MessageAppendRequest, Group: 1, From: from, To: to, Term: 3,
		PrevIndex: index - 1, First: index, Next: index + 1, Blocks: []raft.Block{b},
	}
}

// requireWorks sends from a to b until something arrives.
func requireWorks(t testing.TB, a *tcp.Transport, from raft.ServerID, b *recorder, to raft.ServerID) {
	t.Helper()
	before := b.count()
	eventually(t, "a heartbeat arrives", func() bool {
		a.Send([]raft.Message{heartbeat(from, to)})
		return b.count() > before
	})
}

// dial opens a bare connection.
func dial(t testing.TB, address net.Addr) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(context.Background(), "tcp", address.String())
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // closed before, in most tests
	return conn
}

// greet opens a connection and says hello as another server would, and returns the answer.
func greet(t testing.TB, address net.Addr, h wire.Hello) (net.Conn, *wire.FrameReader, wire.Welcome, error) {
	t.Helper()
	conn := dial(t, address)
	_, err := conn.Write(wire.AppendHello(nil, h))
	require.NoError(t, err)
	frames := wire.NewFrameReader(conn, 4<<20)
	f, err := frames.Next()
	require.NoError(t, err)
	w, err := wire.DecodeAnswer(f)
	return conn, frames, w, err
}

func hello(from, to raft.ServerID, lane wire.Lane) wire.Hello {
	return wire.Hello{VersionMin: 1, VersionMax: 1, Lane: lane, From: identity(from), To: to}
}

// requireClosed reads until the other side closes the connection.
func requireClosed(t testing.TB, conn net.Conn, what string) {
	t.Helper()
	buf := make([]byte, 4096)
	for {
		_, err := conn.Read(buf)
		if err == nil {
			continue
		}
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "%s: the connection is still open", what)
		return
	}
}

// impostor accepts connections as server id, answers the handshake, and leaves the rest to serve. It returns its address
// and a count of the handshakes.
func impostor(t testing.TB, id raft.ServerID, serve func(conn net.Conn, frames *wire.FrameReader, lane wire.Lane)) (net.Addr, func() int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return impostorOn(t, listener, id, serve)
}

func impostorOn(
	t testing.TB, listener net.Listener, id raft.ServerID, serve func(conn net.Conn, frames *wire.FrameReader, lane wire.Lane),
) (net.Addr, func() int) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := 0
	handle := func(conn net.Conn) {
		defer conn.Close() //nolint:errcheck // a test's
		magic := make([]byte, len(wire.PeerMagic))
		if _, err := io.ReadFull(conn, magic); err != nil {
			return
		}
		frames := wire.NewFrameReader(conn, 4<<20)
		f, err := frames.Next()
		if err != nil {
			return
		}
		h, err := wire.DecodeHello(f)
		if err != nil {
			return
		}
		mu.Lock()
		count++
		mu.Unlock()
		if _, err := conn.Write(wire.AppendWelcome(nil, wire.Welcome{Version: 1, From: identity(id)})); err == nil {
			serve(conn, frames, h.Lane)
		}
	}
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { handle(conn) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		wg.Wait()
	})
	return listener.Addr(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}
