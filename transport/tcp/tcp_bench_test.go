package tcp_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
)

// counter hands on how many messages came.
type counter struct {
	recorder
	came chan int
}

func (c *counter) Receive(messages []raft.Message) { c.came <- len(messages) }

// answerer answers heartbeats as a follower does.
type answerer struct {
	recorder
	transport *tcp.Transport
	answers   []raft.Message
}

func (a *answerer) Receive(messages []raft.Message) {
	a.answers = a.answers[:0]
	for _, m := range messages {
		a.answers = append(a.answers, raft.Message{
			Type: raft.MessageHeartbeatResponse, Group: m.Group, From: m.To, To: m.From, Term: m.Term, Round: m.Round,
		})
	}
	a.transport.Send(a.answers)
}

func open(b *testing.B, id raft.ServerID) *tcp.Transport {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	t, err := tcp.New(tcp.Options{Local: local(id), Listener: listener})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, t.Close()) })
	return t
}

func connected(b *testing.B, near, far *tcp.Transport, nearHandler, farHandler transport.Handler) {
	b.Helper()
	require.NoError(b, near.Start(nearHandler))
	require.NoError(b, far.Start(farHandler))
	near.SetPeers([]raft.Member{member(2, far.Address())})
	far.SetPeers([]raft.Member{member(1, near.Address())})
	for _, t := range []*tcp.Transport{near, far} {
		eventually(b, "the connection", func() bool { return t.Status().Peers[0].Connected })
	}
}

// BenchmarkHeartbeatRoundTrip is a heartbeat and its response over loopback, four connections' ends and all.
func BenchmarkHeartbeatRoundTrip(b *testing.B) {
	near, far := open(b, 1), open(b, 2)
	c := &counter{came: make(chan int, 100)}
	connected(b, near, far, c, &answerer{transport: far})
	messages := []raft.Message{heartbeat(1, 2)}
	b.ReportAllocs()
	for b.Loop() {
		near.Send(messages)
		<-c.came
	}
}

// BenchmarkAppends keeps up to 64 appends under way, each with a block of 64 entries of 128 bytes, or one of 1 MiB.
func BenchmarkAppends(b *testing.B) {
	for _, size := range []int{64 * 130, 1 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			near, far := open(b, 1), open(b, 2)
			c := &counter{came: make(chan int, 1000)}
			connected(b, near, far, &recorder{}, c)
			messages := []raft.Message{appendOf(1, 2, 5, size-raft.BlockHeaderSize-5)}
			eventually(b, "the entries lane", func() bool {
				near.Send(messages)
				return len(c.came) > 0
			})
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			underWay := 0
			for range b.N {
				near.Send(messages)
				for underWay++; underWay >= 64; {
					underWay -= <-c.came
				}
			}
		})
	}
}
