package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// clientBackend is what serving clients needs of a server.
type clientBackend interface {
	// refuses says why a command of so many bytes would be refused now. Another answer may come of Submit.
	refuses(group raft.GroupID, bytes int) error
	Submit(p Proposal, done Completion)
	// query reads; with leader, only if this server leads, or from what it has where that will do.
	query(group raft.GroupID, query []byte, c Consistency, leader bool, done Completion)
	// barrier waits until the leader has applied what was answered before.
	barrier(group raft.GroupID, done Completion)
	hello() wire.ClientHello
	// hint puts where clients reach the leader into an error that names it.
	hint(err error) error
	limits(group raft.GroupID) raft.GroupLimits
	status(group raft.GroupID) (wire.ClientStatus, error)
	SubmitMembers(group raft.GroupID, done Completion)
	SubmitChange(group raft.GroupID, change raft.MembershipChange, done Completion)
	SubmitPlan(group raft.GroupID, change raft.MembershipChange, done Completion)
	SubmitTransfer(group raft.GroupID, to raft.ServerID, done Completion)
	SubmitStepDown(group raft.GroupID, done Completion)
}

// clients serves the connections of clients. Its zero value is ready once its backend is set.
type clients struct {
	backend clientBackend
	options ClientOptions // with defaults
	log     *slog.Logger  // nil: none
	limit   logLimit

	mu        sync.Mutex
	conns     map[*clientConn]struct{}
	listeners map[net.Listener]struct{}
	closed    bool
	done      chan struct{} // closed with closed
	running   sync.WaitGroup
}

func newClients(backend clientBackend, o ClientOptions, log *slog.Logger) *clients {
	return &clients{
		backend: backend, options: o.withDefaults(), log: log, conns: make(map[*clientConn]struct{}),
		listeners: make(map[net.Listener]struct{}), done: make(chan struct{}),
	}
}

// warn logs what a client did, unless clients did a lot lately.
func (c *clients) warn(text string, conn net.Conn, err error) {
	if c.log == nil {
		return
	}
	ok, missed := c.limit.allow(time.Now())
	if !ok {
		return
	}
	args := []any{"remote", conn.RemoteAddr().String(), "error", err}
	if missed > 0 {
		args = append(args, "not_logged", missed)
	}
	c.log.Warn(text, args...)
}

// logLimit lets ten lines a minute through and counts the others.
type logLimit struct {
	mu     sync.Mutex
	minute time.Time
	lines  int
	missed int
}

const logLinesMax = 10

func (l *logLimit) allow(now time.Time) (ok bool, missed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.minute) >= time.Minute {
		l.minute, l.lines = now, 0
	}
	if l.lines == logLinesMax {
		l.missed++
		return false, 0
	}
	l.lines++
	missed, l.missed = l.missed, 0
	return true, missed
}

// join registers a connection, or says why it is not served.
func (c *clients) join(k *clientConn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case len(c.conns) >= c.options.ConnectionsMax:
		return fmt.Errorf("%w: %d connections of clients are served already", ErrBusy, len(c.conns))
	}
	c.conns[k] = struct{}{}
	c.running.Add(1)
	return nil
}

func (c *clients) leave(k *clientConn) {
	c.mu.Lock()
	delete(c.conns, k)
	c.mu.Unlock()
	c.running.Done()
}

// serveConn serves a connection until it ends.
func (c *clients) serveConn(conn net.Conn) {
	k := newClientConn(c, conn)
	if err := c.join(k); err != nil {
		c.warn("client refused", conn, err)
		_ = conn.Close() // it was never used
		return
	}
	defer c.leave(k)
	defer func() {
		if r := recover(); r != nil {
			c.warn("client dropped", conn, fmt.Errorf("%w: %v\n%s", errPanic, r, debug.Stack()))
			k.kill()
		}
	}()
	if err := k.serve(); err != nil {
		c.warn("client dropped", conn, err)
	}
}

// serve accepts connections until the listener or the server is closed.
func (c *clients) serve(listener net.Listener) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // nobody else will
			return errors.Join(ErrClosed, err)
		}
		return ErrClosed
	}
	c.listeners[listener] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.listeners, listener)
		c.mu.Unlock()
	}()
	const pauseMin, pauseMax = 5 * time.Millisecond, time.Second
	for pause := pauseMin; ; {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			pause = pauseMin
			go c.serveConn(conn)
			continue
		case c.isClosed():
			return ErrClosed
		case !passes(err):
			return fmt.Errorf("server: accepting clients: %w", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-c.done:
			timer.Stop()
		}
		pause = min(2*pause, pauseMax)
	}
}

// passes reports whether an error of Accept will pass: the connection was gone already, or something has run out.
func passes(err error) bool {
	for _, e := range [...]error{
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (c *clients) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// close takes no more connections and requests, lets every connection write what it has, within WriteTimeout, and
// returns when all have ended.
func (c *clients) close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.done)
	}
	for listener := range c.listeners {
		_ = listener.Close() // Serve returns by it
	}
	for k := range c.conns {
		k.stop()
	}
	c.mu.Unlock()
	c.running.Wait()
}
