package config

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/pebblelog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine/kv"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
)

// freeAddresses returns loopback addresses that nobody listens on, with ports below those that systems give to outgoing connections.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var addresses []string
	for tries := 0; len(addresses) < n; tries++ {
		require.Less(t, tries, 1000, "no free ports")
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(10_000+rand.IntN(20_000))); err == nil {
			defer l.Close() // none is found twice
			addresses = append(addresses, l.Addr().String())
		}
	}
	return addresses
}

func clusterOf(t *testing.T, n int) *Config {
	t.Helper()
	c, err := Generate(n, t.TempDir(), 7101)
	require.NoError(t, err)
	for i, address := range freeAddresses(t, n) {
		c.Members[i].Address = address
	}
	c.Log.MemtableBytes = 1 << 20
	// Who leads goes on leading while a small machine stands still for a moment.
	c.Timing.ElectionTimeoutMin, c.Timing.ElectionTimeoutMax = 2*time.Second, 3*time.Second
	require.NoError(t, c.Validate())
	return c
}

// start opens every member and returns them with the one that became leader.
func start(t *testing.T, c *Config) (all []*Server, leader *Server) {
	t.Helper()
	leaders := make(chan *Server, 64)
	for _, m := range c.Members {
		s, err := c.OpenServer(m.ID, kv.New(), nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		events := s.Events(1024)
		go func() {
			for e := range events.Events() {
				if e.Kind == server.EventRole && e.Role == raft.RoleLeader {
					leaders <- s
				}
			}
		}()
		if st, ok := s.GroupStatus(raft.DefaultGroup); ok && st.Role == raft.RoleLeader {
			leaders <- s // before anybody listened
		}
		all = append(all, s)
	}
	select {
	case leader = <-leaders:
	case <-time.After(2 * time.Minute):
		t.Fatal("no leader")
	}
	return all, leader
}

func TestServersMadeOfTheFileReplicateAndRemember(t *testing.T) {
	for _, kind := range []string{LogPebble, LogSegments} {
		t.Run(kind, func(t *testing.T) { replicateAndRemember(t, kind) })
	}
}

func replicateAndRemember(t *testing.T, kind string) {
	c := clusterOf(t, 3)
	c.Log.Kind, c.Log.SegmentBytes = kind, 1<<20
	require.NoError(t, c.Validate())
	for _, m := range c.Members {
		require.NoError(t, c.Format(m.ID))
		require.ErrorIs(t, c.Format(m.ID), persistentlog.ErrFormatted, "a store is made once")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	all, leader := start(t, c)
	_, err := leader.Propose(ctx, raft.DefaultGroup, kv.Put([]byte("oar"), []byte("lock")))
	require.NoError(t, err)
	for _, s := range all {
		require.NoError(t, s.Close())
		require.NoError(t, s.Close(), "closing twice is closing once")
	}

	_, leader = start(t, c)
	answer, err := leader.Query(ctx, raft.DefaultGroup, kv.Get([]byte("oar")))
	require.NoError(t, err)
	require.True(t, bytes.Contains(answer, []byte("lock")), "%q", answer)
}

func TestALogOfAnotherKindThanWasFormattedIsRefusedByName(t *testing.T) {
	c := clusterOf(t, 1)
	require.NoError(t, c.Format(1))
	c.Log.Kind = LogSegments
	_, err := c.OpenServer(1, kv.New(), nil)
	require.ErrorContains(t, err, "log.kind")
	require.NotErrorIs(t, err, persistentlog.ErrDamaged)
}

func TestServersSpeakTLSAmongThemselves(t *testing.T) {
	c := clusterOf(t, 3)
	c.Log.Kind = LogMemory
	ca := newAuthority(t, "ca")
	for _, m := range c.Members {
		ca.sign(t, strconv.FormatUint(uint64(m.ID), 10), ServerURI(c.Cluster))
	}
	c.TLS = TLS{Certificate: filepath.Join(ca.dir, "{id}.crt"), Key: filepath.Join(ca.dir, "{id}.key"), Authorities: filepath.Join(ca.dir, "ca.crt")}
	require.NoError(t, c.Validate())
	_, leader := start(t, c)
	_, err := leader.Propose(t.Context(), raft.DefaultGroup, kv.Put([]byte("k"), []byte("v")))
	require.NoError(t, err)
}

func TestClientsComeInByTheDoorThatTheFileNames(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, c := range []struct {
		name     string
		own, tls bool
	}{{"the servers' listener", false, false}, {"their own listener", true, false}, {"their own listener with TLS", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			f := clusterOf(t, 1)
			f.Log.Kind = LogMemory
			door := f.Members[0].Address
			if c.own {
				door = freeAddresses(t, 1)[0]
				f.Members[0].ClientAddress = door
			}
			options := client.Options{Servers: []string{door}}
			if c.tls {
				f.TLS = ca.sign(t, "server", ServerURI(f.Cluster))
				as, err := ClientTLS(ca.sign(t, "client", ""))
				require.NoError(t, err)
				options.Dial = func(ctx context.Context, address string) (net.Conn, error) {
					return (&tls.Dialer{Config: as}).DialContext(ctx, "tcp", address)
				}
			}
			start(t, f)
			cl, err := client.New(options)
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			_, err = cl.Propose(ctx, kv.Put([]byte("k"), []byte("v")))
			require.NoError(t, err)
			require.NoError(t, cl.Close())
		})
	}
}

func TestServerThatCannotBeOpenedLeavesNothingBehind(t *testing.T) {
	c := clusterOf(t, 2)
	_, err := c.OpenServer(1, kv.New(), nil)
	require.ErrorIs(t, err, persistentlog.ErrNotFormatted)
	_, err = c.OpenServer(7, kv.New(), nil)
	require.ErrorContains(t, err, "there is no member 7")

	require.NoError(t, c.Format(1))
	taken, err := net.Listen("tcp", c.Members[0].Address)
	require.NoError(t, err)
	_, err = c.OpenServer(1, kv.New(), nil)
	require.ErrorContains(t, err, "server 1")
	require.NoError(t, taken.Close())

	c.Members[0].ClientAddress = c.Members[0].Address
	_, err = c.OpenServer(1, kv.New(), nil)
	require.ErrorContains(t, err, "address already in use", "the clients' listener fails after the store and the servers' listener are open")
	c.Members[0].ClientAddress = ""

	_, err = c.OpenServer(1, nil, nil)
	require.ErrorContains(t, err, "StateMachine", "the server refuses its options after everything is open")

	mixed := *c
	mixed.Members = []Member{c.Members[0], c.Members[1]}
	mixed.Members[1].Data = c.Members[0].Data
	_, err = mixed.OpenServer(2, kv.New(), nil)
	require.ErrorContains(t, err, "belongs to server 1 of cluster "+c.Cluster.String())

	s, err := c.OpenServer(1, kv.New(), nil)
	require.NoError(t, err, "store and address are free again")
	require.NoError(t, s.Close())
}

func TestPartsAcceptWhatTheFileAccepts(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	rapid.Check(t, func(t *rapid.T) {
		c, err := Generate(3, "data", 7101)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range rapid.SliceOfN(rapid.SampledFrom(settings), 0, 2).Draw(t, "changed") {
			if s.at == nil || s.kind == Text || s.kind == Flag {
				continue
			}
			n := numberAt(s.at(c)) * rapid.Int64Range(1, 9).Draw(t, "up") / rapid.Int64Range(1, 9).Draw(t, "down")
			if wrong := s.assignNumber(s.at(c), n); wrong != "" {
				t.Fatal(wrong)
			}
		}
		// The borders are where two sides may disagree by a byte.
		tooLow := rapid.IntRange(0, 9).Draw(t, "which border is crossed, if one is")
		around := func(name string, n int) int {
			tooLow--
			if tooLow == 0 {
				return n - 1
			}
			return rapid.IntRange(n, n+2).Draw(t, name)
		}
		c.Sizes.BlockBytesMax = c.Sizes.FrameBytesMax - around("block below frame", frameOverhead)
		c.Sizes.CommandBytesMax = c.Sizes.BlockBytesMax - around("command below block", entryOverhead+raft.BlockHeaderSize)
		c.Sizes.InflightBytesMax = c.Sizes.FrameBytesMax + around("in flight over frame", 0)
		c.Timing.ElectionTimeoutMin = 3*c.Timing.HeartbeatInterval + time.Duration(around("election over heartbeats", 0))
		c.Timing.ElectionTimeoutMax = c.Timing.ElectionTimeoutMin + time.Duration(around("most over least", 1))
		if c.Validate() != nil {
			t.Skip("the file refuses it")
		}
		// The parts that are missing here are refused first; all that is left after them is about sizes.
		o := c.ServerOptions(c.Members[0], kv.New())
		o.Log, o.Snapshots, o.Transport = anyLog{}, anySnapshots{}, anyTransport{}
		if err := o.Validate(); err != nil {
			t.Fatalf("server: %v", err)
		}
		if err := c.pebbleOptions(slog.Default()).Validate(); err != nil {
			t.Fatalf("pebblelog: %v", err)
		}
		options := c.tcpOptions(persistentlog.Identity{Cluster: c.Cluster, Server: 1, Store: raft.StoreID{1}}, slog.Default())
		options.Listener = listener
		if err := options.Validate(); err != nil {
			t.Fatalf("tcp: %v", err)
		}
	})
}

func numberAt(at any) int64 {
	switch p := at.(type) {
	case *int:
		return int64(*p)
	case *int64:
		return *p
	case *uint32:
		return int64(*p)
	case *time.Duration:
		return int64(*p)
	}
	panic("a setting of another type")
}

// TestServerMadeOfTheFileTakesNoAddressThatTheFileWouldNotTake, by whatever way a change comes in.
func TestServerMadeOfTheFileTakesNoAddressThatTheFileWouldNotTake(t *testing.T) {
	c := clusterOf(t, 1)
	require.NoError(t, c.Format(1))
	_, leader := start(t, c)
	for _, address := range []string{"", "127.0.0.2", "127.0.0.1:99999", ":7101", c.Members[0].Address} {
		_, err := leader.ChangeMembership(t.Context(), raft.DefaultGroup, raft.MembershipChange{Forced: true, Changes: []raft.Change{
			{Kind: raft.ChangeAddLearner, Member: raft.Member{ID: 2, Store: raft.StoreID{2}, Address: address}},
		}})
		require.ErrorIs(t, err, server.ErrChangeImpossible, address)
		require.ErrorContains(t, err, "server 2 at "+strconv.Quote(address))
	}
	require.Equal(t, map[raft.ServerID]string{1: c.Members[0].Address}, c.ServerOptions(c.Members[0], kv.New()).Addresses)
}

// Parts that are there and are never called.
type (
	anyLog       struct{ persistentlog.PersistentLog }
	anySnapshots struct{ persistentlog.Snapshots }
	anyTransport struct{ transport.Transport }
)

// These are what OpenServer makes of the file's names.
var (
	_ persistentlog.PersistentLog = (*pebblelog.Log)(nil)
	_ transport.Transport         = (*tcp.Transport)(nil)
)
