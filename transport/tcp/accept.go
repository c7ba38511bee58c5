package tcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
)

// accept takes connections until the listener is closed.
func (t *Transport) accept() {
	const pauseMin, pauseMax = 5 * time.Millisecond, time.Second
	pause := pauseMin
	for {
		conn, err := t.options.Listener.Accept()
		if err == nil {
			pause = pauseMin
			t.admit(conn)
			continue
		}
		if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		// Most likely the process is out of file descriptors. Connections that are open go on meanwhile.
		t.logRefusal("cannot accept connections", "", err)
		sleep(t.ctx, pause)
		pause = min(2*pause, pauseMax)
	}
}

// admit starts to find out what a connection is, unless too many are at that already.
func (t *Transport) admit(conn net.Conn) {
	from := source(conn)
	t.mu.Lock()
	full := t.pendings >= t.options.PendingMax || t.pending[from] >= t.options.PendingPerSourceMax
	if full || t.closed {
		t.mu.Unlock()
		conn.Close() //nolint:errcheck // refused
		if full {
			t.refuse(from, fmt.Errorf("tcp: too many connections that have not said what they are"))
		}
		return
	}
	t.accepted[conn] = struct{}{}
	t.pendings++
	t.pending[from]++
	t.mu.Unlock()
	// Clients may keep the goroutine, and Close does not wait for clients; so it is counted here and not by wg.Go.
	t.wg.Add(1)
	go t.welcome(conn, from)
}

// settled says that a connection is no longer pending.
func (t *Transport) settled(from string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pendings--
	if t.pending[from]--; t.pending[from] == 0 {
		delete(t.pending, from)
	}
}

// forget says that a connection is no longer the transport's to close. It reports whether it still was.
func (t *Transport) forget(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.accepted, conn)
	return !t.closed
}

// welcome finds out what a connection is, by its first byte, and serves it.
func (t *Transport) welcome(conn net.Conn, from string) {
	err := conn.SetDeadline(time.Now().Add(t.options.HandshakeTimeout))
	first := make([]byte, 1)
	if err == nil {
		_, err = io.ReadFull(conn, first)
	}
	if err == nil && first[0] != wire.PeerMagic[0] && t.options.Clients != nil {
		t.settled(from)
		open := t.forget(conn)
		t.wg.Done()
		t.handOver(conn, first, open)
		return
	}
	defer t.wg.Done()
	var s *session
	if err == nil {
		s, err = t.greet(conn, first)
	}
	t.settled(from)
	if err != nil {
		t.refuse(from, err)
	} else {
		s.serve()
		t.left(s.peer)
	}
	t.forget(conn)
	conn.Close() //nolint:errcheck // nothing is expected of it any more
}

// handOver gives a connection to Clients, as if nothing had been read of it.
func (t *Transport) handOver(conn net.Conn, first []byte, open bool) {
	if err := errors.Join(conn.SetDeadline(time.Time{}), setNoDelay(conn)); err != nil || !open {
		conn.Close() //nolint:errcheck // it is broken, or the transport was closed
		return
	}
	defer t.recovered("Clients", 0, nil)
	t.options.Clients(&unreadConn{Conn: conn, first: first})
}

// greet reads a Hello and answers it. The connection's deadline is set.
func (t *Transport) greet(conn net.Conn, first []byte) (*session, error) {
	magic := append(first, make([]byte, len(wire.PeerMagic)-1)...)
	if _, err := io.ReadFull(conn, magic[1:]); err != nil {
		return nil, err
	}
	if string(magic) != wire.PeerMagic {
		return nil, fmt.Errorf("%w: % x is not how a server begins", wire.ErrMalformed, magic)
	}
	reader := &switchReader{r: conn}
	frames := wire.NewFrameReader(reader, wire.HandshakeBytesMax)
	f, err := frames.Next()
	if err != nil {
		return nil, err
	}
	hello, err := wire.DecodeHello(f)
	if err != nil {
		return nil, decline(conn, &wire.Refused{Code: wire.RefusedMalformed, Reason: err.Error()})
	}
	version, err := wire.Accept(t.localIdentity(), hello)
	if err == nil {
		err = t.reserve(hello)
	}
	if err != nil {
		return nil, decline(conn, err)
	}
	s := &session{t: t, conn: conn, frames: frames, peer: hello.From, lane: hello.Lane}
	answer := wire.AppendWelcome(nil, wire.Welcome{Version: version, From: t.localIdentity()})
	if _, err = conn.Write(answer); err == nil {
		err = errors.Join(conn.SetDeadline(time.Time{}), setNoDelay(conn))
	}
	if err != nil {
		t.left(hello.From)
		return nil, err
	}
	reader.r = idleReader{conn, t.options.IdleTimeout}
	frames.SetBytesMax(frameBytesMax(hello.Lane, t.options.Local))
	return s, nil
}

// reserve makes room for one more connection of a peer, and notes who it is.
func (t *Transport) reserve(hello wire.Hello) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.serving >= t.options.PeerConnectionsMax {
		return &wire.Refused{Code: wire.RefusedBusy, Reason: fmt.Sprintf(
			"server %d has %d connections of other servers already, and takes no more", hello.To, t.serving)}
	}
	t.serving++
	t.visits(hello)
	return nil
}

// decline tells the peer why, as far as that goes.
func decline(conn net.Conn, err error) error {
	var refused *wire.Refused
	if errors.As(err, &refused) {
		if _, failed := conn.Write(wire.AppendRefused(nil, refused)); failed != nil {
			return errors.Join(err, failed)
		}
	}
	return err
}

// refuse counts a connection that came to nothing.
func (t *Transport) refuse(from string, err error) {
	if t.ctx.Err() != nil {
		return
	}
	t.refused.Add(1)
	t.logRefusal("connection refused", from, err)
}

func (t *Transport) logRefusal(what, from string, err error) {
	t.mu.Lock()
	tell := t.refusals.allow(from + err.Error())
	t.mu.Unlock()
	if tell {
		t.log.Warn(what, "from", from, "error", err, "refused", t.refused.Load())
	}
}
