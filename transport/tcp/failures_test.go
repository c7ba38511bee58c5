package tcp_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
)

func TestPeerThatVanishesIsGivenUp(t *testing.T) {
	// It answers the handshake and then says nothing and reads nothing, as a machine does that lost its power.
	release := make(chan struct{})
	address, handshakes := impostor(t, 2, func(net.Conn, *wire.FrameReader, wire.Lane) { <-release })
	defer close(release)
	a, r := start(t, 1, func(o *tcp.Options) { o.IdleTimeout = 100 * time.Millisecond })
	a.SetPeers([]raft.Member{member(2, address)})
	eventually(t, "the handshakes", func() bool { return handshakes() >= 3 })
	// More than the sockets' buffers hold, so that the writer is stuck when the peer is given up.
	m := appendOf(1, 2, 5, 1<<19)
	for range 100 {
		a.Send([]raft.Message{m})
	}
	eventually(t, "the loss is reported and another attempt made", func() bool { return r.lost(2) > 0 && handshakes() >= 6 })
	eventually(t, "what was queued is let go", func() bool { return a.Status().QueuedBytes == 0 })
	require.Positive(t, a.Status().DroppedMessages)
}

func TestSilentDiallerIsGivenUp(t *testing.T) {
	b, _ := start(t, 2, func(o *tcp.Options) { o.IdleTimeout = 100 * time.Millisecond })
	conn, _, _, err := greet(t, b.Address(), hello(1, 2, wire.LaneControl))
	require.NoError(t, err)
	requireClosed(t, conn, "a dialler that is silent")
}

// troubledListener fails to accept for a while.
type troubledListener struct {
	net.Listener
	failures atomic.Int64
	calls    atomic.Int64
}

func (l *troubledListener) Accept() (net.Conn, error) {
	l.calls.Add(1)
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestListenerWithoutFileDescriptorsRecovers(t *testing.T) {
	l := &troubledListener{}
	l.failures.Store(4)
	b, received := start(t, 2, func(o *tcp.Options) {
		l.Listener = o.Listener
		o.Listener = l
	})
	since := time.Now()
	a, _ := start(t, 1, nil)
	a.SetPeers([]raft.Member{member(2, b.Address())})
	requireWorks(t, a, 1, received, 2)
	require.GreaterOrEqual(t, time.Since(since), 60*time.Millisecond, "it pauses between the attempts")
}

func TestLanesComeBackAfterTheirConnectionsBreak(t *testing.T) {
	b, received := start(t, 2, nil)
	var mu sync.Mutex
	var conns []net.Conn
	a, _ := start(t, 1, func(o *tcp.Options) {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, conn)
			return conn, err
		}
	})
	a.SetPeers([]raft.Member{member(2, b.Address())})
	for range 5 {
		requireWorks(t, a, 1, received, 2)
		mu.Lock()
		for _, conn := range conns {
			if conn != nil {
				conn.Close() //nolint:errcheck // some are closed already
			}
		}
		conns = nil
		mu.Unlock()
	}
	requireWorks(t, a, 1, received, 2)
}

// fragile is a connection that breaks after some bytes were read from it.
type fragile struct {
	net.Conn
	left atomic.Int64
}

func (f *fragile) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if f.left.Add(int64(-n)) < 0 {
		f.Conn.Close() //nolint:errcheck // the error is what is wanted
		return 0, errors.New("the connection breaks")
	}
	return n, err
}

func TestTransferGoesOnWhereTheConnectionBroke(t *testing.T) {
	snapshot := make([]byte, 3<<20)
	_, err := rand.Read(snapshot)
	require.NoError(t, err)
	b, served := start(t, 2, nil)
	var answered atomic.Int64
	served.chunk = func(q transport.ChunkRequest) (transport.Chunk, error) {
		end := min(len(snapshot), int(q.Offset)+q.BytesMax)
		answered.Add(int64(end) - q.Offset)
		return transport.Chunk{Offset: q.Offset, Bytes: snapshot[q.Offset:end], Last: end == len(snapshot)}, nil
	}
	a, _ := start(t, 1, func(o *tcp.Options) {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			f := &fragile{Conn: conn}
			f.left.Store(700_000)
			return f, nil
		}
	})
	a.SetPeers([]raft.Member{member(2, b.Address())})
	var got []byte
	broken := 0
	eventually(t, "the whole snapshot", func() bool {
		chunk, err := a.FetchChunk(context.Background(), raft.Member{ID: 2}, transport.ChunkRequest{Offset: int64(len(got)), BytesMax: 100_000})
		if err != nil {
			require.ErrorIs(t, err, transport.ErrUnreachable)
			broken++
			return false
		}
		got = append(got, chunk.Bytes...)
		return chunk.Last
	})
	require.True(t, bytes.Equal(snapshot, got))
	require.GreaterOrEqual(t, broken, 4)
	require.Less(t, answered.Load(), int64(len(snapshot)+(broken+1)*100_000), "nothing but the broken chunk came again")
}

func TestManyFetchesAtOnceGetTheirOwnChunks(t *testing.T) {
	b, served := start(t, 2, nil)
	var at atomic.Int64
	served.chunk = func(q transport.ChunkRequest) (transport.Chunk, error) {
		if at.Add(1) > 1 {
			return transport.Chunk{}, errors.New("two chunks are served at once on one lane")
		}
		defer at.Add(-1)
		return transport.Chunk{Offset: q.Offset, Bytes: bytes.Repeat([]byte{byte(q.Offset)}, q.BytesMax)}, nil
	}
	a, _ := start(t, 1, nil)
	a.SetPeers([]raft.Member{member(2, b.Address())})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			chunk, err := a.FetchChunk(context.Background(), raft.Member{ID: 2}, transport.ChunkRequest{Offset: int64(i), BytesMax: 1000 + i})
			if err != nil || !bytes.Equal(chunk.Bytes, bytes.Repeat([]byte{byte(i)}, 1000+i)) {
				t.Errorf("fetch %d: %d bytes, %v", i, len(chunk.Bytes), err)
			}
		})
	}
	wg.Wait()
}

// selfMade is a certificate that signs itself, for both sides.
func selfMade(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "oarlock test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: pool, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

func TestLanesRunOverTLS(t *testing.T) {
	config := selfMade(t)
	clients := make(chan string, 1)
	secured := func(o *tcp.Options) {
		o.Listener = tls.NewListener(o.Listener, config)
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
		}
		o.Clients = func(conn net.Conn) {
			defer conn.Close() //nolint:errcheck // a test's
			text, err := io.ReadAll(conn)
			clients <- string(text)
			if err != nil {
				clients <- err.Error()
			}
		}
	}
	b, received := start(t, 2, secured)
	received.chunk = func(q transport.ChunkRequest) (transport.Chunk, error) {
		return transport.Chunk{Offset: q.Offset, Bytes: make([]byte, q.BytesMax), Last: true}, nil
	}
	a, _ := start(t, 1, secured)
	a.SetPeers([]raft.Member{member(2, b.Address())})
	requireWorks(t, a, 1, received, 2)
	before := received.count()
	m := appendOf(1, 2, 5, 1<<20-200)
	eventually(t, "a large append", func() bool {
		a.Send([]raft.Message{m})
		return received.count() > before
	})
	chunk, err := a.FetchChunk(context.Background(), raft.Member{ID: 2}, transport.ChunkRequest{BytesMax: transport.ChunkBytesMax})
	require.NoError(t, err)
	require.Len(t, chunk.Bytes, transport.ChunkBytesMax)

	client, err := tls.Dial("tcp", b.Address().String(), config)
	require.NoError(t, err)
	_, err = client.Write([]byte("\x94request"))
	require.NoError(t, err)
	require.NoError(t, client.Close())
	require.Equal(t, "\x94request", <-clients)

	plain := dial(t, b.Address())
	_, err = plain.Write(wire.AppendHello(nil, hello(1, 2, wire.LaneControl)))
	require.NoError(t, err)
	requireClosed(t, plain, "a peer without TLS")
}

func TestSettingsThatClashAreNamed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close() //nolint:errcheck // a test's
	good := tcp.Options{Local: local(1), Listener: listener}
	require.NoError(t, good.Validate())
	for text, spoil := range map[string]func(*tcp.Options){
		"Listener":                          func(o *tcp.Options) { o.Listener = nil },
		"server id":                         func(o *tcp.Options) { o.Local.Server = 0 },
		"BlockBytesMax 2097152":             func(o *tcp.Options) { o.Local.BlockBytesMax = 2 << 20 },
		"EntriesBytesMax 1 is below":        func(o *tcp.Options) { o.EntriesBytesMax = 1 },
		"IdleTimeout 1s is below":           func(o *tcp.Options) { o.IdleTimeout = time.Second },
		"BackoffMax 1ms is below":           func(o *tcp.Options) { o.BackoffMax = time.Millisecond },
		"KeepaliveInterval is negative":     func(o *tcp.Options) { o.KeepaliveInterval = -1 },
		"FrameBytesMax 2147483647 is above": func(o *tcp.Options) { o.Local.FrameBytesMax = 1<<31 - 1 },
	} {
		o := good
		spoil(&o)
		_, err := tcp.New(o)
		require.ErrorContains(t, err, text)
	}
}
