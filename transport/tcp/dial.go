package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// connection is one that this side dialled, after the handshake.
type connection struct {
	net.Conn
	frames  *wire.FrameReader
	to      wire.PeerIdentity
	address string
}

// connect dials all addresses at once and takes the first connection that comes of it.
func (l *lane) connect(ctx context.Context, store raft.StoreID, addresses []string) (*connection, error) {
	if len(addresses) == 1 {
		return l.dial(ctx, store, addresses[0])
	}
	type outcome struct {
		c   *connection
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := make(chan outcome, len(addresses))
	for _, address := range addresses {
		go func() {
			c, err := l.dial(ctx, store, address)
			outcomes <- outcome{c, err}
		}()
	}
	var first *connection
	var failed []error
	for range addresses {
		switch o := <-outcomes; {
		case o.err != nil:
			failed = append(failed, o.err)
		case first == nil:
			first = o.c
			cancel() // the others
		default:
			o.c.Close() //nolint:errcheck // it is one too many
		}
	}
	if first != nil {
		return first, nil
	}
	return nil, errors.Join(failed...)
}

// dial dials one address and shakes hands. Nothing of it takes longer than two HandshakeTimeouts.
func (l *lane) dial(ctx context.Context, store raft.StoreID, address string) (*connection, error) {
	t := l.peer.t
	dialling, cancel := context.WithTimeout(ctx, t.options.HandshakeTimeout)
	defer cancel()
	conn, err := t.options.Dial(dialling, address)
	if err != nil {
		return nil, fmt.Errorf("tcp: dialling server %d: %w", l.peer.id, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // the handshake sees it
	defer stop()
	frames, welcome, err := l.shakeHands(conn, store)
	if err != nil {
		conn.Close() //nolint:errcheck // the handshake's error says more
		return nil, fmt.Errorf("tcp: handshake with server %d at %s: %w", l.peer.id, address, err)
	}
	return &connection{conn, frames, welcome.From, address}, nil
}

func (l *lane) shakeHands(conn net.Conn, store raft.StoreID) (*wire.FrameReader, wire.Welcome, error) {
	t := l.peer.t
	if err := errors.Join(setNoDelay(conn), conn.SetDeadline(time.Now().Add(t.options.HandshakeTimeout))); err != nil {
		return nil, wire.Welcome{}, err
	}
	hello := wire.Hello{
		VersionMin: wire.PeerVersionMin, VersionMax: wire.PeerVersionMax, Lane: l.kind, From: t.localIdentity(),
		To: l.peer.id, ToStore: store, Address: t.options.Local.Address,
		ClientAddress: t.options.Local.ClientAddress,
	}
	if _, err := conn.Write(wire.AppendHello(nil, hello)); err != nil {
		return nil, wire.Welcome{}, err
	}
	reader := &switchReader{r: conn}
	frames := wire.NewFrameReader(reader, wire.HandshakeBytesMax)
	f, err := frames.Next()
	if err != nil {
		return nil, wire.Welcome{}, err
	}
	welcome, err := wire.DecodeAnswer(f)
	if err != nil {
		return nil, welcome, err
	}
	if err := wire.Agree(hello.From, l.peer.id, store, welcome); err != nil {
		return nil, welcome, err
	}
	reader.r = idleReader{conn, t.options.IdleTimeout}
	frames.SetBytesMax(frameBytesMax(l.kind, t.options.Local))
	return frames, welcome, conn.SetDeadline(time.Time{})
}

// use writes what is queued until the connection ends, and returns why it did.
func (l *lane) use(ctx context.Context, c *connection) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.Close() }) //nolint:errcheck // reader and writer see it
	defer stop()
	if !l.up(c, cancel) {
		c.Close() //nolint:errcheck // nobody has used it
		return fmt.Errorf("tcp: server %d, store %s at %s is not wanted any more", l.peer.id, c.to.Store, c.address)
	}
	l.peer.t.log.Info("connected to peer", "peer", l.peer.id, "address", c.address, "lane", l.kind.String(),
		"store", c.to.Store.String())

	ended := make(chan error, 1)
	go func() {
		err := l.listen(c.frames)
		c.Close() //nolint:errcheck // err says why
		ended <- err
	}()
	err := l.write(ended)
	c.Close() //nolint:errcheck // err says why
	if first := <-ended; err == nil || errors.Is(err, net.ErrClosed) {
		err = first // the reader closed the connection; its reason is the true one
	}
	return fmt.Errorf("tcp: connection to server %d lost: %w", l.peer.id, err)
}

// up takes a connection into use, unless it leads where the peer is not looked for any more.
func (l *lane) up(c *connection, stop func()) bool {
	l.pen.Lock()
	defer l.pen.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.peer.leads(c.to.Store, c.address) {
		return false
	}
	l.conn, l.direct, l.rest = c.Conn, newDirectWriter(c.Conn), nil
	l.state, l.err, l.to, l.via, l.stop = laneUp, nil, c.to, c.address, stop
	return true
}

// recheck ends the connection if it leads where the peer is not looked for any more.
func (l *lane) recheck() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == laneUp && !l.peer.leads(l.to.Store, l.via) {
		l.stop()
	}
}
