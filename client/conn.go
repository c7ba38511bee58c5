package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
)

const (
	// writeBytesMax is the longest piece that is given to a connection at once, so that progress shows on a slow one.
	writeBytesMax = 256 << 10
	// spareBytesMax is the largest write buffer that is kept for the next batch.
	spareBytesMax = 1 << 20
)

var errFinished = errors.New("the client closed the connection")

// conn is a connection, or the attempt at one: a goroutine that dials and then reads, and one that writes.
type conn struct {
	c      *Client
	id     ConnID
	ctx    context.Context // ends when the connection, or the attempt, is given up
	cancel context.CancelFunc
	wakeup chan struct{} // one slot: there may be something to write
	last   chan struct{} // closed when the client closes: write what is left, then end
	made   bool          // guarded by Client.mu
}

// dial starts a connection's goroutine. The core bounds the attempt in time, by giving it up. The caller holds mu.
func (c *Client) dial(d Dial) {
	ctx, cancel := context.WithCancel(context.Background())
	k := &conn{c: c, id: d.Conn, ctx: ctx, cancel: cancel, wakeup: make(chan struct{}, 1), last: make(chan struct{})}
	c.conns[d.Conn] = k
	c.running.Go(func() { k.run(d.Address) })
}

// hangUp gives a connection up. The caller holds mu.
func (c *Client) hangUp(id ConnID) {
	if k := c.conns[id]; k != nil {
		delete(c.conns, id)
		k.cancel()
	}
}

func (k *conn) wake() {
	select {
	case k.wakeup <- struct{}{}:
	default: // it has been told and has not looked yet
	}
}

// finish lets the connection write what the core has left, for half of the time that Close has, and end. The caller
// holds mu.
func (k *conn) finish() {
	close(k.last)
	if !k.made {
		k.cancel()
		return
	}
	time.AfterFunc(k.c.o.CloseTimeout/2, k.cancel)
}

// run makes the connection, reads it to its end, and says so.
func (k *conn) run(address string) {
	defer k.cancel()
	why := k.connectAndRead(address)
	err := k.c.guarded(func() {
		delete(k.c.conns, k.id)
		k.c.core.Disconnected(k.c.now(), k.id, why)
	})
	_ = err // a panic has fenced the client, and its reason is what Close returns
}

func (k *conn) connectAndRead(address string) (err error) {
	defer recovered(&err)
	socket, err := k.c.o.Dial(k.ctx, address)
	if err != nil {
		return err
	}
	if socket == nil {
		return fmt.Errorf("client: Dial returned neither a connection nor an error for %s", address)
	}
	closeSocket := func() { _ = socket.Close() } // nothing follows from how a connection that is given up ends
	defer closeSocket()
	defer context.AfterFunc(k.ctx, closeSocket)()
	if err := k.stands(); err != nil {
		return err
	}
	k.c.running.Go(func() { k.write(socket) })
	return k.read(socket)
}

// recovered turns a panic of Dial or of a connection into the connection's error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("client: panic: %v", r)
	}
}

// stands tells the core that the connection stands.
func (k *conn) stands() error {
	return k.c.guarded(func() {
		if k.c.closed {
			k.cancel()
			return
		}
		k.made = true
		k.c.core.Connected(k.c.now(), k.id)
	})
}

func (k *conn) read(socket net.Conn) error {
	r := wire.NewClientReader(socket, k.c.o.ResponseBytesMax, false)
	for {
		if err := r.Fill(); err != nil {
			return err
		}
		var bad error
		if err := k.c.guarded(func() { bad = k.deliver(r) }); err != nil {
			return err
		}
		if bad != nil {
			return bad
		}
	}
}

// deliver hands everything that has arrived to the core in one go. The caller holds mu.
func (k *conn) deliver(r *wire.ClientReader) error {
	if k.c.closed {
		return errFinished
	}
	now := k.c.now()
	k.c.core.Heard(now, k.id)
	for {
		raw, err := r.Buffered()
		if err != nil || raw == nil {
			return err
		}
		response, err := wire.ParseClientResponse(raw)
		if err != nil {
			return err
		}
		k.c.core.Received(now, k.id, &response)
	}
}

// write sends what the core has for this connection. What piles up while a write is under way goes out with the next.
func (k *conn) write(socket net.Conn) {
	defer k.cancel()
	var spare []byte
	for closing := false; !closing; {
		select {
		case <-k.ctx.Done():
			return
		case <-k.wakeup:
		case <-k.last:
			closing = true
		}
		out := k.take(spare)
		if err := k.send(socket, out); err != nil {
			return // the reader, whose connection is closed by this, reports its end
		}
		if spare = out; cap(spare) > spareBytesMax {
			spare = nil
		}
	}
}

// take returns what is to be written. It leaves spare to the core.
func (k *conn) take(spare []byte) []byte {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	return k.c.core.TakeOutput(k.id, spare)
}

func (k *conn) send(socket net.Conn, out []byte) (err error) {
	defer recovered(&err)
	for len(out) > 0 {
		n, err := socket.Write(out[:min(len(out), writeBytesMax)])
		if err != nil {
			return err
		}
		if out = out[n:]; len(out) > 0 {
			if err := k.c.guarded(func() { k.c.core.Heard(k.c.now(), k.id) }); err != nil {
				return err
			}
		}
	}
	return nil
}
