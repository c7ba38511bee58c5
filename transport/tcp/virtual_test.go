package tcp_test

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport/memnet"
	"github.com/oarlock/oarlock/transport/tcp"
)

// Stories about time run in virtual time, over connections in memory.

// network is where the servers of such a story are.
type network struct {
	*memnet.Network
	dials atomic.Int64
}

// inVirtualTime runs a story, and waits for the end of all that it has started.
func inVirtualTime(t *testing.T, story func(*testing.T, *network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { story(t, &network{Network: memnet.New(1)}) })
}

func (n *network) listen(t *testing.T, id raft.ServerID) net.Listener {
	t.Helper()
	listener, err := n.Listen(id)
	require.NoError(t, err)
	return listener
}

// start runs a transport whose options are the usual ones; adapt may change them.
func (n *network) start(t *testing.T, id raft.ServerID, adapt func(*tcp.Options)) (*tcp.Transport, *recorder) {
	t.Helper()
	return startOn(t, n.listen(t, id), id, func(o *tcp.Options) {
		o.KeepaliveInterval, o.BackoffMin, o.BackoffMax = 0, 0, 0
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			n.dials.Add(1)
			return n.DialAddress(ctx, address)
		}
		if adapt != nil {
			adapt(o)
		}
	})
}

func at(id raft.ServerID) raft.Member { return raft.Member{ID: id, Address: memnet.Address(id)} }

func TestKeepalivesHoldAnIdleConnection(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, n *network) {
		n.start(t, 2, nil)
		a, lost := n.start(t, 1, nil)
		a.SetPeers([]raft.Member{at(2)})
		time.Sleep(time.Hour)
		require.EqualValues(t, 3, n.dials.Load(), "one dial for each lane")
		require.Zero(t, lost.lost(2))
		require.True(t, a.Status().Peers[0].Connected)
	})
}

// Who closes in good order is known to be gone in that moment, also where there is nothing to send to it.
func TestPeerThatClosesIsReportedAtOnce(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, n *network) {
		b, _ := n.start(t, 2, nil)
		a, lost := n.start(t, 1, func(o *tcp.Options) { o.BackoffMin, o.BackoffMax = time.Hour, time.Hour })
		a.SetPeers([]raft.Member{at(2)})
		time.Sleep(time.Second)
		require.True(t, a.Status().Peers[0].Connected)
		require.Zero(t, lost.lost(2))
		require.NoError(t, b.Close())
		synctest.Wait()
		require.Positive(t, lost.lost(2))
	})
}

func TestSlowReaderIsNotTakenForDead(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, n *network) {
		// It reads nothing and still sends keepalives.
		release := make(chan struct{})
		_, handshakes := impostorOn(t, n.listen(t, 2), 2, func(conn net.Conn, _ *wire.FrameReader, _ wire.Lane) {
			ticker := time.NewTicker(time.Second)
			defer ticker.Stop()
			for {
				select {
				case <-release:
					return
				case <-ticker.C:
					if _, err := conn.Write(wire.AppendKeepalive(nil)); err != nil {
						return
					}
				}
			}
		})
		defer close(release)
		a, r := n.start(t, 1, func(o *tcp.Options) { o.EntriesBytesMax = 8 << 20 })
		a.SetPeers([]raft.Member{at(2)})
		synctest.Wait()
		require.Equal(t, 3, handshakes())
		m := appendOf(1, 2, 5, 1<<19)
		for r.lost(2) == 0 { // until the queue is full
			a.Send([]raft.Message{m})
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		require.Equal(t, 3, handshakes(), "no connection was given up")
		s := a.Status()
		require.LessOrEqual(t, s.QueuedBytes, int64(8<<20))
		require.Positive(t, s.QueuedBytes)
	})
}

func TestDiallingNeverBecomesABusyLoop(t *testing.T) {
	const pause = 20 * time.Millisecond
	for name, serve := range map[string]bool{"refused": false, "closed after the handshake": true} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T, n *network) {
				if serve {
					impostorOn(t, n.listen(t, 2), 2, func(net.Conn, *wire.FrameReader, wire.Lane) {})
				}
				a, _ := n.start(t, 1, func(o *tcp.Options) {
					o.BackoffMin, o.BackoffMax = pause, 2*pause
					dial := o.Dial
					o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
						conn, err := dial(ctx, address)
						if !serve {
							err = syscall.ECONNREFUSED
						}
						return conn, err
					}
				})
				a.SetPeers([]raft.Member{at(2)})
				time.Sleep(20 * pause)
				require.GreaterOrEqual(t, n.dials.Load(), int64(3*20/2), "three lanes, no pause longer than the longest")
				require.LessOrEqual(t, n.dials.Load(), int64(3*20*2), "no pause shorter than half of the shortest")
			})
		})
	}
}
