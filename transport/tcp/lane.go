package tcp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

type laneState uint8

const (
	laneConnecting laneState = iota // what is sent waits for the attempt's outcome
	laneUp
	laneDown // between two attempts: what is sent is dropped
)

// lane is one kind of traffic to one peer, over one connection after the other.
type lane struct {
	peer     *peer
	kind     wire.Lane
	bytesMax int
	wake     chan struct{} // something was queued

	mu       sync.Mutex
	state    laneState
	err      error             // why it is not up
	to       wire.PeerIdentity // who answered last,
	via      string            // and at which address
	stop     func()            // ends the connection that is up
	next     batch             // queued; the writer swaps it for an empty one
	queued   int               // bytes in next and in what is being written
	fetches  map[uint64]*fetch // chunks asked for, by request id; only on the chunks lane
	fetchSeq uint64

	// pen belongs to whoever writes to the connection: the writer, or for a moment a caller of Send (flushHere). It guards
	// what follows and is taken before mu.
	pen     sync.Mutex
	conn    net.Conn
	direct  *directWriter // nil where the connection cannot be written to without waiting
	writing batch
	sending uint64 // messages in rest
	vec     net.Buffers
	rest    net.Buffers // of writing, not yet taken by the connection
}

func newLane(p *peer, kind wire.Lane, bytesMax int) *lane {
	return &lane{peer: p, kind: kind, bytesMax: bytesMax, wake: make(chan struct{}, 1), fetches: make(map[uint64]*fetch)}
}

// enqueue takes a message, or reports that it cannot. Somebody has to flush or to signal afterwards.
func (l *lane) enqueue(m *raft.Message) bool {
	l.mu.Lock()
	// A message that alone is over the bound goes when nothing else waits: the bound holds back, it does not forbid.
	size := blockBytes(m) + wire.FrameOverheadMax
	if l.state == laneDown || l.queued > 0 && l.queued+size > l.bytesMax {
		l.mu.Unlock()
		return false
	}
	before := l.next.bytes
	l.next.addMessage(m)
	l.grown(l.next.bytes - before)
	l.mu.Unlock()
	return true
}

func (l *lane) grown(bytes int) {
	l.queued += bytes
	l.peer.t.queued.Add(int64(bytes))
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run keeps the lane connected until the peer is gone.
func (l *lane) run() {
	ctx, o := l.peer.ctx, l.peer.t.options
	pause := o.BackoffMin
	for ctx.Err() == nil {
		l.mu.Lock()
		l.state = laneConnecting
		l.mu.Unlock()
		attempt, store, addresses := l.peer.route()
		c, err := l.connect(attempt, store, addresses)
		if err == nil {
			since := time.Now()
			err = l.use(ctx, c)
			if time.Since(since) >= o.BackoffMax {
				pause = o.BackoffMin
			}
		} else if attempt.Err() != nil {
			continue // it is to be looked for elsewhere now
		}
		if ctx.Err() != nil {
			break
		}
		l.down(err)
		l.peer.report(l.kind, err)
		l.peer.leaveIdle()
		sleep(attempt, pause/2+rand.N(pause/2+1))
		pause = min(2*pause, o.BackoffMax)
	}
	l.down(transport.ErrClosed)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// write is the writer: all that is queued in one call. It returns when the connection has ended, with the reason put
// back into ended for the caller, or with an error of its own.
func (l *lane) write(ended chan error) error {
	ticker := time.NewTicker(l.peer.t.options.KeepaliveInterval)
	defer ticker.Stop()
	keepalive, silent := wire.AppendKeepalive(nil), false
	for {
		select {
		case err := <-ended:
			ended <- err
			return nil
		case <-ticker.C:
			l.peer.leaveIdle()
			if silent {
				if err := l.flush(keepalive); err != nil {
					return err
				}
			}
			silent = true
			continue
		case <-l.wake:
		}
		if err := l.flush(nil); err != nil {
			return err
		}
		silent = false
	}
}

// down drops what is queued, ends what waits for chunks, and has the handler told.
func (l *lane) down(err error) {
	l.pen.Lock()
	defer l.pen.Unlock()
	l.conn, l.direct = nil, nil
	if len(l.rest) > 0 {
		l.wrote(err)
	}
	l.mu.Lock()
	l.state, l.err = laneDown, err
	lost := l.next.messages()
	l.grown(-l.next.bytes)
	l.next.reset()
	fetches := l.fetches
	l.fetches = make(map[uint64]*fetch)
	l.mu.Unlock()
	for _, f := range fetches {
		f.end(transport.Chunk{}, fmt.Errorf("%w: %w", transport.ErrUnreachable, err))
	}
	l.peer.t.drop(l.peer.who(), lost)
}
