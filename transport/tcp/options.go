package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/transport"
)

// Options are a Transport's parts and limits. Local and Listener must be set; everything else has a default.
type Options struct {
	// Local is who the transport speaks for. Its FrameBytesMax and BlockBytesMax default to 8 MiB and 4 MiB.
	Local transport.Local

	// Listener is where peers, and clients, come in. The transport owns it and closes it. Wrap it for TLS
	// (tls.NewListener), and Dial along with it.
	Listener net.Listener
	// Dial connects to a member's address. It defaults to TCP. ctx ends after HandshakeTimeout, or when the transport
	// closes.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Clients takes over a connection that does not begin as a peer's does; what was read of it will be read again. It
	// is called on a goroutine of its own, which it may keep; the connection is its to close, also after Close of the
	// transport. Without it such connections are closed. A client has HandshakeTimeout to send its first byte.
	Clients func(conn net.Conn)

	// ControlBytesMax, EntriesBytesMax and ChunksBytesMax bound what is queued, or being written, on each lane to one
	// peer: 8 MiB, 64 MiB and 1 MiB. What would not fit is dropped.
	ControlBytesMax int
	EntriesBytesMax int
	ChunksBytesMax  int

	// HandshakeTimeout bounds how long dialling, and then the handshake, may take on either side: 5 s.
	HandshakeTimeout time.Duration
	// KeepaliveInterval is how often a side that has nothing to say says so: 1 s.
	KeepaliveInterval time.Duration
	// IdleTimeout is how long a connection may be silent before the peer is given up: 5 s. It is the bound on a write
	// too: while a peer that reads nothing still sends its keepalives, it is slow and not dead.
	IdleTimeout time.Duration
	// BackoffMin and BackoffMax bound the pause between two attempts to connect, which doubles and is drawn from its
	// upper half: 20 ms and 1 s. It begins anew after a connection that lasted BackoffMax.
	BackoffMin time.Duration
	BackoffMax time.Duration

	// PendingMax and PendingPerSourceMax bound the accepted connections that have not said what they are: 1,024 in all,
	// 256 from one IP address. More are closed at once.
	PendingMax          int
	PendingPerSourceMax int
	// PeerConnectionsMax bounds the accepted connections of peers: 4,096. More are refused, with that reason.
	PeerConnectionsMax int

	// VisitorsMax bounds the servers that are answered although they are no peers: 64. VisitorTimeout is how long the
	// connections for that are kept when nothing is sent: 30 s. They end when the visitor's own connections do.
	VisitorsMax    int
	VisitorTimeout time.Duration

	// Logger hears about connections made, lost and refused, each kind at a bounded rate. It defaults to silence.
	Logger *slog.Logger
}

// withDefaults returns o with every zero setting replaced.
func (o Options) withDefaults() Options {
	setInt := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	setDuration := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	setInt(&o.Local.FrameBytesMax, 8<<20)
	setInt(&o.Local.BlockBytesMax, 4<<20)
	setInt(&o.ControlBytesMax, 8<<20)
	setInt(&o.EntriesBytesMax, 64<<20)
	setInt(&o.ChunksBytesMax, 1<<20)
	setInt(&o.PendingMax, 1024)
	setInt(&o.PendingPerSourceMax, 256)
	setInt(&o.PeerConnectionsMax, 4096)
	setInt(&o.VisitorsMax, 64)
	setDuration(&o.VisitorTimeout, 30*time.Second)
	setDuration(&o.HandshakeTimeout, 5*time.Second)
	setDuration(&o.KeepaliveInterval, time.Second)
	setDuration(&o.IdleTimeout, 5*time.Second)
	setDuration(&o.BackoffMin, 20*time.Millisecond)
	setDuration(&o.BackoffMax, time.Second)
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate reports the first setting that cannot be, or the first two that clash, with defaults in place of zeros.
func (o Options) Validate() error {
	o = o.withDefaults()
	if o.Listener == nil {
		return errors.New("tcp: Listener is not set")
	}
	if o.Local.Server == 0 || o.Local.Cluster.IsZero() || o.Local.Store.IsZero() {
		return fmt.Errorf("tcp: Local needs a server id, a cluster id and a store id: has %d, %s and %s",
			o.Local.Server, o.Local.Cluster, o.Local.Store)
	}
	for _, p := range []struct {
		name  string
		value int64
	}{
		{"FrameBytesMax", int64(o.Local.FrameBytesMax)},
		{"BlockBytesMax", int64(o.Local.BlockBytesMax)},
		{"ControlBytesMax", int64(o.ControlBytesMax)},
		{"EntriesBytesMax", int64(o.EntriesBytesMax)},
		{"ChunksBytesMax", int64(o.ChunksBytesMax)},
		{"HandshakeTimeout", int64(o.HandshakeTimeout)},
		{"KeepaliveInterval", int64(o.KeepaliveInterval)},
		{"BackoffMin", int64(o.BackoffMin)},
		{"PendingMax", int64(o.PendingMax)},
		{"PendingPerSourceMax", int64(o.PendingPerSourceMax)},
		{"PeerConnectionsMax", int64(o.PeerConnectionsMax)},
		{"VisitorsMax", int64(o.VisitorsMax)},
		{"VisitorTimeout", int64(o.VisitorTimeout)},
	} {
		if p.value < 0 {
			return fmt.Errorf("tcp: %s is negative: %d", p.name, p.value)
		}
	}
	switch {
	case len(o.Local.Address) > min(transport.AddressBytesMax, wire.AddressBytesMax):
		return fmt.Errorf("tcp: Local.Address has %d bytes, at most %d are possible", len(o.Local.Address), transport.AddressBytesMax)
	case len(o.Local.ClientAddress) > min(transport.AddressBytesMax, wire.AddressBytesMax):
		return fmt.Errorf("tcp: Local.ClientAddress has %d bytes, at most %d are possible", len(o.Local.ClientAddress), transport.AddressBytesMax)
	case o.Local.FrameBytesMax > 1<<30:
		return fmt.Errorf("tcp: FrameBytesMax %d is above 1 GiB", o.Local.FrameBytesMax)
	case o.Local.BlockBytesMax > o.Local.FrameBytesMax-wire.FrameOverheadMax:
		return fmt.Errorf("tcp: BlockBytesMax %d and %d bytes of overhead do not fit into FrameBytesMax %d",
			o.Local.BlockBytesMax, wire.FrameOverheadMax, o.Local.FrameBytesMax)
	case o.EntriesBytesMax < o.Local.FrameBytesMax:
		return fmt.Errorf("tcp: EntriesBytesMax %d is below FrameBytesMax %d", o.EntriesBytesMax, o.Local.FrameBytesMax)
	case o.IdleTimeout < 2*o.KeepaliveInterval:
		return fmt.Errorf("tcp: IdleTimeout %s is below twice KeepaliveInterval %s", o.IdleTimeout, o.KeepaliveInterval)
	case o.BackoffMax < o.BackoffMin:
		return fmt.Errorf("tcp: BackoffMax %s is below BackoffMin %s", o.BackoffMax, o.BackoffMin)
	}
	return nil
}

// identity is what the handshake says of this server.
func (o Options) identity() wire.PeerIdentity {
	return wire.PeerIdentity{
		Cluster: o.Local.Cluster, Server: o.Local.Server, Store: o.Local.Store, Run: o.Local.Run,
		FrameBytesMax: o.Local.FrameBytesMax, BlockBytesMax: o.Local.BlockBytesMax,
	}
}
