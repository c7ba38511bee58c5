package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
)

const (
	// clientPieceBytes is what a client must send, or take, within a timeout to count as alive.
	clientPieceBytes      = 64 << 10
	clientWriteBytesMax   = 256 << 10
	clientCopyMin         = 16 << 10 // a longer command is copied out of the read buffer; not before it is known to have room
	clientLingerBytesMax  = 4 << 20
	clientRequestOverhead = 128 // what stands around a command in a request, generously
	clientShortBytes      = 64  // a result that is not longer is never withheld: its refusal would take as much room

	// clientLastWords is how long a connection that ends, from our side, may take to pass on what was still to be said.
	clientLastWords = time.Second
)

// clientConn is one connection of a client: a goroutine that reads requests and hands them in, and one that writes what
// completions left. Completions come on any goroutine and do not wait.
type clientConn struct {
	c    *clients
	conn net.Conn
	wake chan struct{} // one slot: there may be something to write, or an end

	mu          sync.Mutex
	changed     *sync.Cond // outstanding, unread, dead or ending changed, and waiting > 0
	waiting     int
	out         outbox
	writing     int // bytes taken from out and not written yet
	outstanding int
	bytes       int  // of outstanding requests
	expected    int  // bytes that an answer takes, going by the latest ones
	ending      bool // write what is left, then end
	stopped     bool // the server closes
	dead        bool // nothing more is written

	// The reader's.
	requests *wire.ClientReader
	told     bool // the last thing in out says why the connection ends
}

func newClientConn(c *clients, conn net.Conn) *clientConn {
	k := &clientConn{c: c, conn: conn, wake: make(chan struct{}, 1)}
	k.changed = sync.NewCond(&k.mu)
	return k
}

// serve reads and writes until the connection ends. An error is worth a line in the log.
func (k *clientConn) serve() error {
	written := make(chan struct{})
	go func() {
		defer close(written)
		k.write()
	}()
	err := k.read()
	if errors.Is(err, io.EOF) {
		// The client has said all that it had to say; it may still be listening.
		k.awaitAnswers()
		err = nil
	}
	k.mu.Lock()
	stopped, dead := k.stopped, k.dead
	k.ending = true
	k.mu.Unlock()
	k.poke()
	<-written
	if k.told && !stopped && !dead {
		k.linger()
	}
	k.kill()
	if stopped || dead || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

// read takes in requests until there are no more, or one breaks the protocol.
func (k *clientConn) read() error {
	o := k.c.options
	r := wire.NewClientReader(k.conn, k.c.backend.hello().RequestBytesMax, true)
	k.requests = r
	requests, begun, pieces := 0, -1, 0
	for {
		raw, err := r.Buffered()
		if err != nil {
			return k.refuseRest(r, err)
		}
		if raw != nil {
			requests++
			if !k.admit() {
				return nil
			}
			if err := k.request(raw); err != nil {
				return err
			}
			continue
		}
		switch n := r.Partial() / clientPieceBytes; {
		case r.Partial() == 0 && requests > 0:
			begun = -1
			err = k.readBefore(o.IdleTimeout)
		case begun != requests || pieces != n:
			begun, pieces = requests, n
			err = k.readBefore(o.RequestTimeout)
		}
		if err == nil {
			err = r.Fill()
		}
		if err != nil && requests > 0 && r.Partial() == 0 && isTimeout(err) {
			if k.busy() {
				continue // it waits for us: that is not idleness
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// readBefore sets the deadline of the next reads, unless the server is closing and has set its own.
func (k *clientConn) readBefore(d time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return ErrClosed
	}
	return k.conn.SetReadDeadline(time.Now().Add(d))
}

func (k *clientConn) busy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.outstanding > 0 && !k.stopped
}

// refuseRest tells the client why nothing more of what it sends is read.
func (k *clientConn) refuseRest(r *wire.ClientReader, why error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = true
	k.out.lay(func(out []byte) []byte {
		if id, ok := wire.ClientRequestID(r.Rest()); ok && errors.Is(why, wire.ErrTooLarge) {
			return wire.AppendClientError(out, id, why)
		}
		return wire.AppendClientNotice(out, why)
	})
	return why
}

// admit waits until one more request may be under way. It returns false when the connection has ended meanwhile. Not to
// read on is what slows a client down that asks faster than it takes answers.
func (k *clientConn) admit() bool {
	o := &k.c.options
	k.mu.Lock()
	defer k.mu.Unlock()
	for !k.dead && !k.stopped && (k.outstanding >= o.OutstandingMax || k.bytes >= o.OutstandingBytesMax || k.behind()) {
		k.wait()
	}
	return !k.dead && !k.stopped
}

// behind reports whether the answers that the client has not taken, with those to come of requests under way, are half of
// what they may be. The other half is room for answers that are larger than was to be expected.
func (k *clientConn) behind() bool {
	n := k.unread() + k.outstanding*k.expected
	return n > 0 && n >= k.c.options.UnreadBytesMax/2
}

func (k *clientConn) unread() int { return k.out.bytes + k.writing }

// expect learns from the size of a result: at once where it is larger than the latest ones, slowly where it is smaller.
func (k *clientConn) expect(size int) {
	if d := size - k.expected; d > 0 {
		k.expected += (d + 1) / 2
	} else {
		k.expected += d / 8
	}
}

func (k *clientConn) wait() {
	k.waiting++
	k.changed.Wait()
	k.waiting--
}

// awaitAnswers waits until every request is answered, for as long as a client has to take an answer.
func (k *clientConn) awaitAnswers() {
	timer := time.AfterFunc(k.c.options.WriteTimeout, k.kill)
	defer timer.Stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.outstanding > 0 && !k.dead && !k.stopped {
		k.wait()
	}
}

func (k *clientConn) poke() {
	select {
	case k.wake <- struct{}{}:
	default: // it has been told and has not looked yet
	}
}

// write sends what has piled up, all of it at once, until the connection ends.
func (k *clientConn) write() {
	defer func() {
		if r := recover(); r != nil {
			k.c.warn("client dropped", k.conn, fmt.Errorf("%w: %v", errPanic, r))
			k.kill()
		}
	}()
	var taken outbox
	for range k.wake {
		k.mu.Lock()
		taken, k.out = k.out, taken
		k.writing = taken.bytes
		ending, dead := k.ending, k.dead
		k.mu.Unlock()
		if dead {
			return
		}
		if err := k.send(&taken); err != nil {
			if isTimeout(err) {
				k.c.warn("client dropped", k.conn, fmt.Errorf("it does not read its answers: %w", err))
			}
			k.kill()
			return
		}
		if ending {
			return
		}
		taken.reset()
	}
}

func (k *clientConn) send(o *outbox) error {
	o.seal()
	var some [][]byte
	for pieces := o.pieces; len(pieces) > 0; {
		some, pieces = cut(some[:0], pieces, clientWriteBytesMax)
		timeout := k.c.options.WriteTimeout
		if k.c.isClosed() {
			timeout = min(timeout, clientLastWords)
		}
		if err := k.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		n, err := writePieces(k.conn, some)
		if err != nil {
			return err
		}
		k.wrote(n)
	}
	return nil
}

func writePieces(conn net.Conn, pieces [][]byte) (int, error) {
	if len(pieces) == 1 {
		return conn.Write(pieces[0])
	}
	vec := net.Buffers(pieces)
	n, err := vec.WriteTo(conn)
	return int(n), err
}

// wrote gives the room of bytes back that the client's side has taken.
func (k *clientConn) wrote(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writing -= n
	if k.waiting > 0 {
		k.changed.Broadcast()
	}
}

// linger lets the client read why the connection ends. Closed with requests unread, TCP would throw the answer away.
func (k *clientConn) linger() {
	if half, ok := k.conn.(interface{ CloseWrite() error }); ok {
		if half.CloseWrite() != nil {
			return
		}
	}
	if k.conn.SetReadDeadline(time.Now().Add(clientLastWords)) != nil {
		return
	}
	// However it ends, the connection is closed next.
	_, _ = io.CopyN(io.Discard, k.conn, clientLingerBytesMax)
}

// kill ends the connection. Answers that come later interest nobody.
func (k *clientConn) kill() {
	k.mu.Lock()
	first := !k.dead
	k.dead, k.out = true, outbox{}
	k.changed.Broadcast()
	k.mu.Unlock()
	if first {
		_ = k.conn.Close() // nothing depends on how it ends
	}
	k.poke()
}

// stop ends the connection once what it has is written: the server closes.
func (k *clientConn) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	k.changed.Broadcast()
	_ = k.conn.SetReadDeadline(time.Now()) // if these fail, the connection has ended
	_ = k.conn.SetWriteDeadline(time.Now().Add(clientLastWords))
}
