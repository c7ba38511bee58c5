package tcp_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport/tcp"
)

func TestWhatIsNoPeerIsClosedAndHarmsNobody(t *testing.T) {
	b, received := start(t, 2, nil)
	a, _ := start(t, 1, nil)
	a.SetPeers([]raft.Member{member(2, b.Address())})
	requireWorks(t, a, 1, received, 2)

	giant := append([]byte(wire.PeerMagic), wire.AppendKeepalive(nil)...)
	binary.BigEndian.PutUint32(giant[len(wire.PeerMagic)+8:], 0xffffffff)
	spoiled := wire.AppendHello(nil, hello(1, 2, wire.LaneControl))
	spoiled[len(spoiled)-1] ^= 1
	notAHello := append([]byte(wire.PeerMagic), wire.AppendKeepalive(nil)...)
	garbage := map[string][]byte{
		"HTTP":                []byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n"),
		"TLS":                 []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
		"zeros":               make([]byte, 10_000),
		"magic and no hello":  notAHello,
		"another magic":       []byte("\xc1oarloxk and more"),
		"giant length":        giant,
		"hello that is wrong": spoiled,
		"random":              bytes.Repeat([]byte("\xc1\x07\x9a\xffz"), 3000),
	}
	before := b.Status().RefusedConns
	for name, text := range garbage {
		conn := dial(t, b.Address())
		_, err := conn.Write(text)
		require.NoError(t, err, name)
		requireClosed(t, conn, name)
	}
	eventually(t, "every one is counted", func() bool {
		return b.Status().RefusedConns == before+uint64(len(garbage))
	})
	requireWorks(t, a, 1, received, 2)
}

func TestHalfAHandshakeIsCutOff(t *testing.T) {
	b, _ := start(t, 2, func(o *tcp.Options) { o.HandshakeTimeout = 50 * time.Millisecond })
	whole := wire.AppendHello(nil, hello(1, 2, wire.LaneControl))
	for _, half := range []int{0, 1, len(wire.PeerMagic), len(wire.PeerMagic) + 3, len(whole) - 1} {
		conn := dial(t, b.Address())
		_, err := conn.Write(whole[:half])
		require.NoError(t, err)
		requireClosed(t, conn, "half a handshake")
	}
}

func TestConnectionsThatSayNothingAreBounded(t *testing.T) {
	cases := map[string]func(*tcp.Options){
		"in all":       func(o *tcp.Options) { o.PendingMax = 4 },
		"of a source":  func(o *tcp.Options) { o.PendingPerSourceMax = 4 },
		"by the first": func(o *tcp.Options) { o.PendingMax, o.PendingPerSourceMax = 4, 10 },
	}
	for name, adapt := range cases {
		t.Run(name, func(t *testing.T) {
			b, received := start(t, 2, adapt)
			silent := make([]net.Conn, 4)
			for i := range silent {
				silent[i] = dial(t, b.Address())
			}
			requireClosed(t, dial(t, b.Address()), "one too many")
			require.GreaterOrEqual(t, b.Status().RefusedConns, uint64(1))
			for _, conn := range silent {
				require.NoError(t, conn.Close())
			}
			a, _ := start(t, 1, nil)
			a.SetPeers([]raft.Member{member(2, b.Address())})
			requireWorks(t, a, 1, received, 2)
		})
	}
}

func TestClientIsHandedOverWithItsFirstByte(t *testing.T) {
	got := make(chan string, 1)
	b, _ := start(t, 2, func(o *tcp.Options) {
		o.Clients = func(conn net.Conn) {
			defer conn.Close() //nolint:errcheck // a test's
			text := make([]byte, 5)
			if _, err := io.ReadFull(conn, text); err != nil {
				got <- err.Error()
				return
			}
			got <- string(text)
			conn.Write([]byte("answer")) //nolint:errcheck // the other side notices
		}
	})
	conn := dial(t, b.Address())
	_, err := conn.Write([]byte("\x94\x00\x01\xa0\x90"))
	require.NoError(t, err)
	require.Equal(t, "\x94\x00\x01\xa0\x90", <-got)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "answer", string(answer))
	require.Zero(t, b.Status().RefusedConns)
}

func TestClientKeepsItsConnectionWhenTheTransportCloses(t *testing.T) {
	conns := make(chan net.Conn, 1)
	b, _ := start(t, 2, func(o *tcp.Options) { o.Clients = func(conn net.Conn) { conns <- conn } })
	client := dial(t, b.Address())
	_, err := client.Write([]byte("\x94"))
	require.NoError(t, err)
	server := <-conns
	require.NoError(t, b.Close())
	_, err = server.Write([]byte("still here"))
	require.NoError(t, err)
	require.NoError(t, server.Close())
	text, err := io.ReadAll(client)
	require.NoError(t, err)
	require.Equal(t, "still here", string(text))
}

func TestPeerThatDoesNotBelongIsToldWhy(t *testing.T) {
	cases := []struct {
		name  string
		adapt func(*tcp.Options) // of the one that dials
		as    raft.ServerID      // whom it believes to dial
		text  string
	}{
		{"another cluster", func(o *tcp.Options) { o.Local.Cluster = raft.ClusterID{7} }, 2, "belongs to cluster cc000000-"},
		{"another server", nil, 3, "this is server 2 and not server 3"},
		{"the same id", func(o *tcp.Options) { o.Local = local(2); o.Local.Store = raft.StoreID{1} }, 3, "this is server 2 and not server 3"},
		{"frames too small", func(o *tcp.Options) {
			o.Local.FrameBytesMax, o.Local.BlockBytesMax = 1<<20-1, 1<<19
		}, 2, "give both the same limits"},
		{"blocks too large", func(o *tcp.Options) {
			o.Local.FrameBytesMax, o.Local.BlockBytesMax = 4<<20, 2<<20
		}, 2, "give both the same limits"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, received := start(t, 2, nil)
			a, lost := start(t, 1, c.adapt)
			a.SetPeers([]raft.Member{member(c.as, b.Address())})
			eventually(t, "the reason stands in the status", func() bool {
				s := a.Status()
				return len(s.Peers) == 1 && !s.Peers[0].Connected && strings.Contains(s.Peers[0].Error, c.text)
			})
			m := heartbeat(1, c.as)
			a.Send([]raft.Message{m})
			eventually(t, "the peer is unreachable", func() bool { return lost.lost(c.as) > 0 })
			eventually(t, "the refusal is counted", func() bool { return b.Status().RefusedConns > 0 })
			require.Zero(t, received.count())
		})
	}
}

func TestTooManyConnectionsOfPeersAreRefusedWithThatReason(t *testing.T) {
	b, _ := start(t, 2, func(o *tcp.Options) { o.PeerConnectionsMax = 1 })
	first, _, _, err := greet(t, b.Address(), hello(1, 2, wire.LaneControl))
	require.NoError(t, err)
	_, _, _, err = greet(t, b.Address(), hello(1, 2, wire.LaneEntries))
	require.ErrorIs(t, err, &wire.Refused{Code: wire.RefusedBusy})
	require.NoError(t, first.Close())
	eventually(t, "there is room again", func() bool {
		conn, _, _, err := greet(t, b.Address(), hello(1, 2, wire.LaneEntries))
		require.NoError(t, conn.Close())
		return err == nil
	})
}

func TestPeerThatBreaksTheProtocolLosesItsConnection(t *testing.T) {
	frame := func(m raft.Message) []byte {
		b := wire.AppendMessage(nil, &m)
		for _, block := range m.Blocks {
			b = append(b, block.Bytes()...)
		}
		return b
	}
	damaged := frame(appendOf(1, 2, 5, 100))
	damaged[len(damaged)-10] ^= 4
	tooLong := wire.AppendKeepalive(nil)
	binary.BigEndian.PutUint32(tooLong[12:], 2<<20)
	cases := []struct {
		name string
		lane wire.Lane
		text []byte
	}{
		{"a message from another server", wire.LaneControl, frame(heartbeat(3, 2))},
		{"a message to another server", wire.LaneControl, frame(heartbeat(1, 3))},
		{"an append on the control lane", wire.LaneControl, frame(appendOf(1, 2, 5, 10))},
		{"a heartbeat on the entries lane", wire.LaneEntries, frame(heartbeat(1, 2))},
		{"a heartbeat on the chunks lane", wire.LaneChunks, frame(heartbeat(1, 2))},
		{"a chunk that nobody asked for", wire.LaneChunks, wire.AppendChunk(nil, wire.Chunk{ID: 1})},
		{"a block that is damaged", wire.LaneEntries, damaged},
		{"a frame that is too long", wire.LaneEntries, tooLong},
		{"a second hello", wire.LaneControl, wire.AppendHello(nil, hello(1, 2, wire.LaneControl))},
		{"a request for too much", wire.LaneChunks, wire.AppendChunkRequest(nil, wire.ChunkRequest{ID: 1, BytesMax: 2 << 20})},
	}
	b, received := start(t, 2, nil)
	for _, c := range cases {
		before := b.Status().RefusedConns
		conn, _, _, err := greet(t, b.Address(), hello(1, 2, c.lane))
		require.NoError(t, err, c.name)
		_, err = conn.Write(c.text)
		require.NoError(t, err, c.name)
		requireClosed(t, conn, c.name)
		eventually(t, c.name+" is counted", func() bool { return b.Status().RefusedConns == before+1 })
	}
	require.Zero(t, received.count())
}

func TestMessageCarriesTheIdentityOfItsConnection(t *testing.T) {
	b, received := start(t, 2, nil)
	h := hello(9, 2, wire.LaneControl)
	conn, _, welcome, err := greet(t, b.Address(), h)
	require.NoError(t, err)
	require.Equal(t, wire.Welcome{Version: 1, From: identity(2)}, welcome)
	m := heartbeat(9, 2)
	_, err = conn.Write(wire.AppendMessage(nil, &m))
	require.NoError(t, err)
	eventually(t, "the message arrives", func() bool { return received.count() == 1 })
	require.Equal(t, h.From.Store, received.messages[0].FromStore)
	require.Equal(t, h.From.Run, received.messages[0].FromRun)
}

func TestMistakesOfTheCallerCostNoConnection(t *testing.T) {
	b, received := start(t, 2, nil)
	var log strings.Builder
	var mu sync.Mutex
	a, lost := start(t, 1, func(o *tcp.Options) {
		o.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
	})
	a.SetPeers([]raft.Member{member(2, b.Address())})
	requireWorks(t, a, 1, received, 2)
	blank := appendOf(1, 2, 5, 10)
	blank.Blocks = []raft.Block{raft.Blank(raft.BlockMeta{Group: 1, First: 5, Count: 1, Term: 3, Kind: raft.KindCommand})}
	misplaced := appendOf(1, 2, 5, 10)
	misplaced.Type = raft.MessageHeartbeatRequest
	tooLarge := appendOf(1, 2, 5, 3<<20)
	for range 1000 {
		a.Send([]raft.Message{blank, misplaced, heartbeat(7, 2), tooLarge})
	}
	eventually(t, "they are reported as dropped", func() bool {
		return a.Status().DroppedMessages >= 4000 && lost.lost(2) > 0
	})
	requireWorks(t, a, 1, received, 2)
	require.Zero(t, b.Status().RefusedConns)
	mu.Lock()
	defer mu.Unlock()
	require.Contains(t, log.String(), "message not sent")
	require.Less(t, strings.Count(log.String(), "message not sent"), 20, "the log is flooded")
}

// lockedWriter is a log's sink that a test can look at.
type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
