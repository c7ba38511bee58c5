package tcp

import (
	"fmt"
	"net"
)

// directBytesMax is how much a caller of Send writes by itself; more is the writer's, so that a turn of a server never
// pays for copying a large append into a socket.
const directBytesMax = 64 << 10

// flush writes what is queued now, and before that what flushHere could not; extra, a frame or nil, comes last. It may
// wait for the connection. Only the writer calls it.
func (l *lane) flush(extra []byte) error {
	l.pen.Lock()
	defer l.pen.Unlock()
	if len(l.rest) > 0 {
		if err := l.finish(); err != nil {
			return err
		}
	}
	if l.load() {
		if err := l.finish(); err != nil {
			return err
		}
	}
	if extra == nil {
		return nil
	}
	_, err := l.conn.Write(extra)
	return err
}

// flushHere writes what is queued as far as the connection takes it at once, on the goroutine that queued it: that spares
// a goroutine's wake-up for each message. It never waits; what is left, and what cannot be written this way, goes to the
// writer.
func (l *lane) flushHere() {
	if !l.pen.TryLock() {
		l.signal() // whoever holds the pen may have taken its batch before ours was queued
		return
	}
	defer l.pen.Unlock()
	l.mu.Lock()
	bytes := l.next.bytes
	l.mu.Unlock()
	if l.direct == nil || len(l.rest) > 0 || bytes > directBytesMax {
		l.signal()
		return
	}
	if !l.load() {
		return
	}
	n, err := l.direct.write(l.rest)
	l.peer.t.sentBytes.Add(uint64(n))
	l.rest = skip(l.rest, n)
	switch {
	case err != nil:
		l.wrote(err)
		l.conn.Close() //nolint:errcheck // the reader sees it, and the lane begins anew
	case len(l.rest) == 0:
		l.wrote(nil)
	default:
		l.signal()
	}
}

// load takes what is queued as the next batch to write, and reports whether there is any. The caller has the pen, and
// the batch before was written.
func (l *lane) load() bool {
	t := l.peer.t
	l.mu.Lock()
	if len(l.next.items) == 0 || l.conn == nil {
		l.mu.Unlock()
		return false
	}
	l.writing, l.next = l.next, l.writing
	to := l.to
	l.mu.Unlock()
	vec, sent, strangers, tooLarge := l.writing.vector(l.vec[:0], to.Store, to.FrameBytesMax)
	if strangers+tooLarge > 0 {
		t.drop(l.peer.who(), strangers+tooLarge)
	}
	if tooLarge > 0 {
		t.complain("message not sent", l.peer.id, fmt.Sprintf("the peer reads no frames above %d bytes", to.FrameBytesMax))
	}
	l.vec, l.rest, l.sending = vec, vec, sent
	if len(vec) == 0 {
		l.wrote(nil)
		return false
	}
	return true
}

// finish writes the rest of a batch, waiting for the connection.
func (l *lane) finish() error {
	n, err := l.rest.WriteTo(l.conn)
	l.peer.t.sentBytes.Add(uint64(n))
	l.wrote(err)
	return err
}

// wrote ends a batch: its messages were handed to the connection, or are lost.
func (l *lane) wrote(err error) {
	if err != nil {
		l.peer.t.drop(l.peer.who(), l.sending)
	} else {
		l.peer.t.sent.Add(l.sending)
	}
	clear(l.vec)
	l.rest, l.sending = nil, 0
	bytes := l.writing.bytes
	l.writing.reset()
	l.mu.Lock()
	l.grown(-bytes)
	l.mu.Unlock()
}

// skip drops the first n bytes.
func skip(vec net.Buffers, n int) net.Buffers {
	for len(vec) > 0 && n >= len(vec[0]) {
		n -= len(vec[0])
		vec = vec[1:]
	}
	if n > 0 {
		vec[0] = vec[0][n:]
	}
	return vec
}
