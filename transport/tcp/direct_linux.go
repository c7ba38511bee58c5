package tcp

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// directWriter writes to a TCP connection what its buffer takes at once. It belongs to one goroutine at a time.
type directWriter struct {
	raw syscall.RawConn
	vec net.Buffers
	n   int
	err error
	try func(fd uintptr) bool // made once, so that a write allocates nothing
}

// vectorMax is how many pieces one writev takes (IOV_MAX).
const vectorMax = 1024

// newDirectWriter returns nil where the connection is not plain TCP: TLS, for instance, has to encrypt first.
func newDirectWriter(conn net.Conn) *directWriter {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	d := &directWriter{raw: raw}
	d.try = func(fd uintptr) bool {
		d.n, d.err = unix.Writev(int(fd), d.vec)
		return true // done, whatever came of it: nobody waits for the socket here
	}
	return d
}

// write returns how many bytes the connection took. Fewer than there are, and no error, means that its buffer is full.
func (d *directWriter) write(vec net.Buffers) (int, error) {
	d.vec, d.n, d.err = vec[:min(len(vec), vectorMax)], 0, nil
	err := d.raw.Write(d.try)
	d.vec = nil
	if err == nil {
		err = d.err
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return max(d.n, 0), err
}
