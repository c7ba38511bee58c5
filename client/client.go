// Package client talks to a group of servers as one: it finds the leader and follows it, sends the calls of many
// goroutines down one connection, and repeats what was lost without ever having it applied twice.
//
//	c, err := client.New(client.Options{Servers: []string{"one.example:7400", "two.example:7400"}})
//	result, err := c.Propose(ctx, command)
//	switch {
//	case err == nil: // applied; result is the state machine's
//	case errors.Is(err, client.ErrUnknown): // may have been applied, or may yet be
//	case errors.Is(err, client.ErrResultTooLarge): // applied
//	default: // certainly not applied, and never will be
//	}
//
// A program that holds a server itself reaches it without a network: let Dial return one end of a net.Pipe and give the
// other to Server.ServeConn.
//
// The thinking is done by [Core], which has no goroutine, clock or socket; [Client] is the shell around it.
package client

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// Options are a Client's settings. Zero values take the defaults that stand beside them.
type Options struct {
	// Servers are addresses of servers of the cluster; the others are learned from those that answer. One at least is needed, here
	// or in Addresses. Without a Dial, both are host:port.
	Servers []string
	// Addresses says where clients reach a server, where that is not the address in the group's membership, by which
	// servers reach each other and which redirects name.
	Addresses map[raft.ServerID]string
	// Group is the group that the calls are for: raft.DefaultGroup.
	Group raft.GroupID
	// Cluster, if not zero, is the only cluster that is talked to. If zero, it is that of the first server that answers.
	Cluster raft.ClusterID
	// Dial makes a connection: TCP. It is called on a goroutine of its own and should heed ctx. Wrap it for TLS, or
	// return an end of a net.Pipe. It returns a connection or an error, never neither.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	// ReadFrom says which servers answer queries: ReadLeader. With ReadAny name several servers in Servers: the others are learned with
	// the first answer of one that is reached.
	ReadFrom ReadFrom
	// Sessionless does without a session: more than 256 proposals can be outstanding, and each one whose connection is
	// lost is ErrUnknown, because it could not be repeated safely.
	Sessionless bool
	// OutstandingMax bounds the proposals sent and not answered outside of a session, and the queries: 1024 each. In a
	// session the proposals' bound is 256. Further calls wait in order.
	OutstandingMax int
	// OutstandingBytesMax bounds the bytes of proposals sent and not answered: 64 MiB.
	OutstandingBytesMax int
	// ResponseBytesMax is the longest response that is read: 4 MiB. A longer one ends the connection.
	ResponseBytesMax int
	// DialTimeout bounds the making of a connection with the first answer of its server: 3 s.
	DialTimeout time.Duration
	// SilenceMax is how long a server that owes an answer may be silent before its connection is given up: 3 s.
	SilenceMax time.Duration
	// BackoffMin and BackoffMax bound the pause between rounds of attempts: 10 ms and 250 ms.
	BackoffMin, BackoffMax time.Duration
	// CloseTimeout bounds Close: 1 s.
	CloseTimeout time.Duration
	// Seed makes the jitter and the choice of the first server; 0 draws one.
	Seed uint64
}

func (o Options) core() CoreOptions {
	return CoreOptions{
		Group: o.Group, Cluster: o.Cluster, Addresses: o.Servers, ByID: o.Addresses, ReadFrom: o.ReadFrom, Sessionless: o.Sessionless, OutstandingMax: o.OutstandingMax,
		OutstandingBytesMax: o.OutstandingBytesMax, DialTimeout: o.DialTimeout, SilenceMax: o.SilenceMax,
		BackoffMin: o.BackoffMin, BackoffMax: o.BackoffMax, Seed: o.Seed,
	}
}

// Validate names the first setting, or the first two, that cannot work.
func (o Options) Validate() error {
	if o.ResponseBytesMax < 0 || o.CloseTimeout < 0 {
		return fmt.Errorf("client: ResponseBytesMax (%d) and CloseTimeout (%v) must not be negative", o.ResponseBytesMax, o.CloseTimeout)
	}
	if o.Dial == nil {
		if err := o.checkAddresses(); err != nil {
			return err
		}
	}
	return o.core().Validate()
}

// checkAddresses finds what TCP cannot dial. What a Dial of the caller's takes is for that to say.
func (o Options) checkAddresses() error {
	for _, address := range o.Servers {
		if _, err := transport.HostOf(address); err != nil {
			return fmt.Errorf("client: Servers: %w", err)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(o.Addresses)) {
		if _, err := transport.HostOf(o.Addresses[id]); err != nil {
			return fmt.Errorf("client: Addresses: server %d: %w", id, err)
		}
	}
	return nil
}

// Client is a client of one group. All methods may be called from any goroutine, at any time. Proposals that overlap in
// time may be applied in any order; one that begins after another has returned is applied after it.
type Client struct {
	o     Options
	start time.Time

	mu     sync.Mutex
	core   *Core
	conns  map[ConnID]*conn
	timer  *time.Timer
	armed  time.Duration // when timer fires; Never while it does not
	closed bool
	fenced error // why the client ended by itself
	ended  []ended

	waiters sync.Pool
	running sync.WaitGroup
}

// New returns a client. It connects when the first call needs it, and opens its session with the first Propose.
func New(o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	orDefault(&o.ResponseBytesMax, 4<<20)
	orDefault(&o.CloseTimeout, time.Second)
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	if o.Seed == 0 {
		var b [8]byte
		if _, err := crand.Read(b[:]); err != nil {
			return nil, fmt.Errorf("client: drawing a seed: %w", err)
		}
		o.Seed = binary.BigEndian.Uint64(b[:])
	}
	core, err := NewCore(o.core())
	if err != nil {
		return nil, err
	}
	c := &Client{o: o, start: time.Now(), core: core, conns: make(map[ConnID]*conn), armed: Never}
	c.waiters.New = func() any { return &waiter{ended: make(chan struct{}, 1)} }
	c.timer = time.AfterFunc(time.Hour, c.tick)
	c.timer.Stop()
	return c, nil
}

// Propose has a command applied, exactly once, and returns its result. command must stay as it is until Propose returns;
// the result is the caller's. It goes on trying until ctx ends: give it a deadline. Errors: see the package's example;
// with ErrUnknown and ErrNotSent the end of ctx is matched too.
func (c *Client) Propose(ctx context.Context, command []byte) ([]byte, error) {
	return c.call(ctx, OpPropose, command)
}

// Query asks the state machine. The answer reflects what consistency, one at most, asks for; without it, everything that was
// answered to anyone before Query was called (dissertation 6.4). No query with Bounded goes behind what an earlier answer to
// this client has reflected, whichever server gave it: it sees the client's own commands, and no state that is older than one that the
// client has seen. It goes on trying until ctx ends. An error of the state machine matches ErrQuery.
func (c *Client) Query(ctx context.Context, query []byte, consistency ...Consistency) ([]byte, error) {
	return c.call(ctx, OpQuery, query, consistency...)
}

// Seen returns the highest index of the log that an answer to this client has reflected; 0: none yet. A Bounded query of another
// client with that MinIndex sees at least as much. It is not raised by a command that ended with an error.
func (c *Client) Seen() raft.Index {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Seen()
}

// QueryLocal is the short form of Query with Stale: it asks the state machine of the server that the client is connected to,
// whatever that has applied so far. It works without a leader, and may see an old state.
func (c *Client) QueryLocal(ctx context.Context, query []byte) ([]byte, error) {
	return c.call(ctx, OpQueryLocal, query)
}

// Barrier returns when the leader has applied everything that was answered to anyone before it began.
func (c *Client) Barrier(ctx context.Context) error {
	_, err := c.call(ctx, OpBarrier, nil)
	return err
}

// waiter is where a caller waits for its one answer. It is reused: whoever started a call always waits for its end.
type waiter struct {
	ended  chan struct{} // one slot
	result []byte
	err    error
}

func (c *Client) call(ctx context.Context, op Op, body []byte, consistency ...Consistency) (result []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, context.Cause(ctx))
	}
	w := c.waiters.Get().(*waiter)
	h, err := c.begin(op, body, w, consistency)
	if err != nil {
		return nil, err // w may be known to the core, so it is not used again
	}
	if done := ctx.Done(); done == nil {
		<-w.ended
	} else {
		select {
		case <-w.ended:
		case <-done:
			if err := c.cancel(h, context.Cause(ctx)); err != nil {
				return nil, err
			}
			<-w.ended
		}
	}
	result, err = w.result, w.err
	w.result, w.err = nil, nil
	c.waiters.Put(w)
	return result, err
}

func (c *Client) begin(op Op, body []byte, w *waiter, consistency []Consistency) (h Handle, err error) {
	err = c.guarded(func() {
		h = c.core.Start(c.now(), op, body, w, consistency...)
	})
	return h, err
}

func (c *Client) cancel(h Handle, cause error) error {
	return c.guarded(func() { c.core.Cancel(c.now(), h, cause) })
}

// guarded gives the core an event and carries out what it asks for. A panic is a fault of this package; it must not end
// the caller's process, and a core that had one is not used again: everything ends as it does by Close.
func (c *Client) guarded(event func()) (err error) {
	c.mu.Lock()
	defer func() {
		all := c.ended
		c.ended = nil
		c.mu.Unlock()
		tell(all)
	}()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: client: panic: %v", ErrUnknown, r)
			c.fence(err)
		}
	}()
	event()
	c.act()
	return nil
}

// fence ends the client after a panic. The caller holds mu.
func (c *Client) fence(why error) {
	c.closed = true
	for _, k := range c.conns {
		k.cancel()
	}
	defer func() {
		if r := recover(); r != nil {
			c.fenced = fmt.Errorf("%w; then: %v", why, r)
		}
	}()
	c.fenced = why
	c.core.Close(c.now())
	c.act()
}

func (c *Client) now() time.Duration { return time.Since(c.start) }

func (c *Client) tick() {
	// A panic has fenced the client, and its reason is what Close returns.
	_ = c.guarded(func() {
		c.armed = Never
		c.core.Tick(c.now())
	})
}

// act carries out what the core asks for. The caller holds mu.
func (c *Client) act() {
	a := c.core.Actions()
	for _, id := range a.Hangups {
		c.hangUp(id)
	}
	for _, d := range a.Dials {
		c.dial(d)
	}
	for _, id := range a.Writable {
		if conn := c.conns[id]; conn != nil {
			conn.wake()
		}
	}
	for _, d := range a.Dones {
		var result []byte
		if len(d.Result) > 0 {
			result = append([]byte(nil), d.Result...)
		}
		switch tag := d.Tag.(type) {
		case *waiter:
			tag.result, tag.err = result, d.Err
			tag.ended <- struct{}{} // has room: a call ends once
		case Completion:
			c.ended = append(c.ended, ended{done: tag, result: result, err: d.Err})
		}
	}
	// A timer that is set too early costs one idle tick; setting it anew for every call would cost more.
	if d := c.core.Deadline(); d < c.armed && !c.closed {
		c.armed = d
		c.timer.Reset(d - c.now())
	}
}

// Close ends every call and connection, and asks the server to end the session. Calls that were sent end with
// ErrUnknown, others with ErrClosed. It returns once all goroutines of the client have ended, or with an error after
// CloseTimeout: a Dial or a connection that does not heed its end is then still running, and the error matches ErrStuck. A
// client that a fault of this package had ended says so, each time. Otherwise a second Close does nothing.
func (c *Client) Close() error {
	err := c.guarded(func() {
		if c.closed {
			return
		}
		c.closed = true
		c.core.Close(c.now())
		for _, k := range c.conns {
			k.finish()
		}
	})
	c.timer.Stop()
	ended := make(chan struct{})
	go func() {
		c.running.Wait()
		close(ended)
	}()
	timer := time.NewTimer(c.o.CloseTimeout)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		err = errors.Join(err, ErrStuck)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(err, c.fenced)
}
