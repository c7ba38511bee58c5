package tcp

import (
	"io"
	"net"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/transport"
)

// idleReader reads a connection and gives up when nothing came for timeout. Each read moves the deadline, so that a
// large frame on a slow link may take its time.
type idleReader struct {
	conn    net.Conn
	timeout time.Duration
}

func (r idleReader) Read(p []byte) (int, error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(r.timeout)); err != nil {
		return 0, err
	}
	return r.conn.Read(p)
}

// unreadConn is a connection whose first byte was looked at and is read again.
type unreadConn struct {
	net.Conn
	first []byte
}

func (c *unreadConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 && len(p) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// NetConn returns the connection below, as tls.Conn does, for whoever wants to set an option of its socket.
func (c *unreadConn) NetConn() net.Conn { return c.Conn }

// setNoDelay switches Nagle's algorithm off, below any layers that can be looked through. The writers collect what there
// is to send themselves.
func setNoDelay(conn net.Conn) error {
	for {
		switch c := conn.(type) {
		case interface{ SetNoDelay(bool) error }:
			return c.SetNoDelay(true)
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// source is the part of a remote address that is counted: the IP address without the port.
func source(conn net.Conn) string {
	address := conn.RemoteAddr()
	if address == nil {
		return ""
	}
	if host, _, err := net.SplitHostPort(address.String()); err == nil {
		return host
	}
	return address.String()
}

// frameBytesMax is the largest frame that a lane reads.
func frameBytesMax(lane wire.Lane, local transport.Local) int {
	if lane == wire.LaneChunks {
		return max(local.FrameBytesMax, transport.ChunkBytesMax+64<<10)
	}
	return local.FrameBytesMax
}

// switchReader reads from r, which is exchanged once the handshake is over. Reading and exchanging are one goroutine's.
type switchReader struct{ r io.Reader }

func (s *switchReader) Read(p []byte) (int, error) { return s.r.Read(p) }
