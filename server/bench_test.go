package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/pebblelog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
)

// counter is a state machine that costs nothing, so that a benchmark measures the way and not its end.
type counter struct {
	ledger
	n atomic.Uint64
}

func (c *counter) Apply(statemachine.Entry) []byte { c.n.Add(1); return nil }
func (c *counter) Query([]byte) ([]byte, error)    { return nil, nil }
func (c *counter) NextDue() (int64, bool)          { return 0, false }

// openCounter answers queries on their callers' goroutines.
type openCounter struct{ counter }

func (c *openCounter) ConcurrentQuery() {}

// benchServers starts three servers in this process: real files, a sync for every save, TCP on loopback.
func benchServers(b *testing.B, machine func() statemachine.StateMachine) (leader *server.Server, all []*server.Server) {
	b.Helper()
	cluster := raft.ClusterID{1}
	var founders []raft.Member
	var listeners []net.Listener
	for k := range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		listeners = append(listeners, l)
		founders = append(founders, raft.Member{ID: raft.ServerID(k + 1), Address: l.Addr().String()})
	}
	for k := range 3 {
		dir := b.TempDir()
		id := persistentlog.Identity{Cluster: cluster, Server: raft.ServerID(k + 1), Store: raft.StoreID{byte(k + 1)}}
		require.NoError(b, pebblelog.Format(dir, id, pebblelog.Options{}))
		log, err := pebblelog.Open(dir, pebblelog.Options{})
		require.NoError(b, err)
		files, err := persistentlog.OpenFiles(b.TempDir(), persistentlog.FilesOptions{})
		require.NoError(b, err)
		tr, err := tcp.New(tcp.Options{
			Local: transport.Local{
				Cluster: cluster, Server: id.Server, Store: id.Store, Run: raft.RunID(k + 1), FrameBytesMax: 8 << 20, BlockBytesMax: 4 << 20,
			},
			Listener: listeners[k],
		})
		require.NoError(b, err)
		s, err := server.Open(server.Options{
			Log: log, Snapshots: files, Transport: tr,
			Group: server.GroupOptions{ID: group, StateMachine: machine(), Founders: founders},
		})
		require.NoError(b, err)
		all = append(all, s)
		b.Cleanup(func() {
			if err := errors.Join(s.Close(), files.Close()); err != nil {
				b.Error(err)
			}
		})
	}
	for {
		for _, s := range all {
			if st, _ := s.GroupStatus(group); st.Role == raft.RoleLeader && s.Barrier(context.Background(), group) == nil {
				return s, all
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// clients has n of them do something b.N times in all.
func clients(b *testing.B, n int, do func() error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "ops/s")
}

func BenchmarkPropose(b *testing.B) {
	for _, n := range []int{1, 16, 256, 2048} {
		b.Run(fmt.Sprintf("clients=%d", n), func(b *testing.B) {
			s, _ := benchServers(b, func() statemachine.StateMachine { return new(counter) })
			command := make([]byte, 128)
			before := s.Status()
			clients(b, n, func() error {
				_, err := s.Propose(context.Background(), group, command)
				return err
			})
			after := s.Status()
			b.ReportMetric(float64(b.N)/float64(after.SaveCalls-before.SaveCalls), "ops/sync")
		})
	}
}

func BenchmarkQuery(b *testing.B) {
	for name, machine := range map[string]func() statemachine.StateMachine{
		"lane":   func() statemachine.StateMachine { return new(counter) },
		"caller": func() statemachine.StateMachine { return new(openCounter) },
	} {
		for _, n := range []int{1, 256} {
			b.Run(fmt.Sprintf("%s/clients=%d", name, n), func(b *testing.B) {
				s, _ := benchServers(b, machine)
				clients(b, n, func() error {
					_, err := s.Query(context.Background(), group, nil)
					return err
				})
			})
		}
	}
}
