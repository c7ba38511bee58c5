package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
)

// claiming has a server say where it is, which is where the test's listener is.
func claiming(o *tcp.Options) { o.Local.Address = o.Listener.Addr().String() }

func named(id raft.ServerID, address net.Addr) raft.Member {
	return raft.Member{ID: id, Store: local(id).Store, Address: address.String()}
}

func answer(from, to raft.ServerID) raft.Message {
	m := heartbeat(from, to)
	m.ToStore = local(to).Store
	return m
}

func TestVisitorIsNotSentToForLongerThanItIsAnswered(t *testing.T) {
	a, got := start(t, 1, claiming)
	b, received := start(t, 2, func(o *tcp.Options) { o.VisitorTimeout = 2 * time.Second })
	a.SetPeers([]raft.Member{named(2, b.Address())})
	requireWorks(t, a, 1, received, 2)
	require.Empty(t, b.Status().Peers, "nobody is dialled before there is something to say")
	for range 2 {
		before := got.count()
		eventually(t, "the answer arrives", func() bool {
			b.Send([]raft.Message{answer(2, 1)})
			return got.count() > before
		})
		peers := b.Status().Peers
		require.Len(t, peers, 1)
		require.True(t, peers[0].Visitor)
		require.Equal(t, a.Address().String(), peers[0].Address)
		eventually(t, "its connections are closed when nothing is said", func() bool { return len(b.Status().Peers) == 0 })
	}
}

func TestVisitorsThatAreAnsweredAreBounded(t *testing.T) {
	b, lost := start(t, 2, func(o *tcp.Options) { o.VisitorsMax = 2 })
	var all []*recorder
	for id := raft.ServerID(3); id <= 5; id++ {
		a, got := start(t, id, claiming)
		a.SetPeers([]raft.Member{named(2, b.Address())})
		requireWorks(t, a, id, lost, 2)
		all = append(all, got)
	}
	for k, id := range []raft.ServerID{3, 4} {
		eventually(t, "there is room for an answer", func() bool {
			b.Send([]raft.Message{answer(2, id)})
			return all[k].count() > 0
		})
	}
	b.Send([]raft.Message{answer(2, 5)})
	eventually(t, "the third one is not answered", func() bool { return lost.lost(5) > 0 })
	require.Len(t, b.Status().Peers, 2)
	require.Zero(t, all[2].count())
}

func TestWhoClaimsNoAddressOrIsRefusedIsNoVisitor(t *testing.T) {
	for name, adapt := range map[string]func(*tcp.Options){
		"no address":      nil,
		"another cluster": func(o *tcp.Options) { claiming(o); o.Local.Cluster = raft.ClusterID{7} },
	} {
		t.Run(name, func(t *testing.T) {
			a, got := start(t, 1, adapt)
			b, lost := start(t, 2, nil)
			a.SetPeers([]raft.Member{named(2, b.Address())})
			eventually(t, "it has tried", func() bool {
				p := a.Status().Peers
				return len(p) == 1 && (p[0].Connected || p[0].Error != "")
			})
			b.Send([]raft.Message{answer(2, 1)})
			eventually(t, "nobody is there to be answered", func() bool { return lost.lost(1) > 0 })
			require.Empty(t, b.Status().Peers)
			require.Zero(t, got.count())
		})
	}
}

func TestAnotherStoreThanTheOneThatIsWantedRefuses(t *testing.T) {
	a, lost := start(t, 1, nil)
	b, received := start(t, 2, nil)
	wanted := named(2, b.Address())
	wanted.Store = raft.StoreID{9}
	a.SetPeers([]raft.Member{wanted})
	eventually(t, "the reason stands in the status", func() bool {
		p := a.Status().Peers
		return len(p) == 1 && p[0].Store == wanted.Store && !p[0].Connected && p[0].Error != ""
	})
	require.Contains(t, a.Status().Peers[0].Error, "and store "+wanted.Store.String()+" is wanted")
	_, _, _, err := greet(t, b.Address(), wire.Hello{
		VersionMin: 1, VersionMax: 1, Lane: wire.LaneControl, From: identity(1), To: 2, ToStore: wanted.Store,
	})
	require.ErrorIs(t, err, &wire.Refused{Code: wire.RefusedStore})
	m := heartbeat(1, 2)
	m.ToStore = wanted.Store
	eventually(t, "it is unreachable", func() bool {
		a.Send([]raft.Message{m})
		return lost.lost(2) > 0
	})
	require.Zero(t, received.count())
}

// What becomes known of a peer, its store or a further address, costs no connection that leads there already; that the address
// in use is not its own any more does.
func TestConnectionsStayWhileTheyLeadToThePeer(t *testing.T) {
	var mu sync.Mutex
	dials := make(map[string]int)
	a, _ := start(t, 1, func(o *tcp.Options) {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			mu.Lock()
			dials[address]++
			mu.Unlock()
			if address == "nowhere" {
				return nil, fmt.Errorf("nowhere")
			}
			return new(net.Dialer).DialContext(ctx, "tcp", address[len("by:x:"):])
		}
	})
	b, received := start(t, 2, nil)
	at := func(door string, store raft.StoreID) raft.Member {
		return raft.Member{ID: 2, Store: store, Address: "by:" + door + ":" + b.Address().String()}
	}
	count := func(door string) int {
		mu.Lock()
		defer mu.Unlock()
		return dials[at(door, raft.StoreID{}).Address]
	}
	up := func() {
		requireWorks(t, a, 1, received, 2)
		eventually(t, "an append arrives", func() bool {
			a.Send([]raft.Message{appendOf(1, 2, 5, 10)})
			received.mu.Lock()
			defer received.mu.Unlock()
			return slices.ContainsFunc(received.messages, func(m raft.Message) bool { return len(m.Blocks) > 0 })
		})
		eventually(t, "a request for a chunk is answered", func() bool {
			_, err := a.FetchChunk(t.Context(), raft.Member{ID: 2}, transport.ChunkRequest{BytesMax: 10})
			return errors.Is(err, transport.ErrChunkRefused)
		})
	}
	a.SetPeers([]raft.Member{at("x", raft.StoreID{})})
	up()
	eventually(t, "the status has the store", func() bool { return a.Status().Peers[0].Store == local(2).Store })
	for _, peers := range [][]raft.Member{
		{at("x", local(2).Store)},
		{at("x", local(2).Store), {ID: 2, Store: local(2).Store, Address: "nowhere"}},
		{{ID: 2, Store: local(2).Store, Address: "nowhere"}, at("x", local(2).Store)},
	} {
		a.SetPeers(peers)
		requireWorks(t, a, 1, received, 2)
		require.Equal(t, at("x", raft.StoreID{}).Address, a.Status().Peers[0].Address)
		require.Equal(t, 3, count("x"), "a connection was made anew")
	}
	a.SetPeers([]raft.Member{at("y", local(2).Store)})
	eventually(t, "the other address is used", func() bool {
		p := a.Status().Peers[0]
		return p.Connected && p.Address == at("y", raft.StoreID{}).Address
	})
	requireWorks(t, a, 1, received, 2)
}

func TestServersTellWhereClientsReachThem(t *testing.T) {
	a, _ := start(t, 1, nil)
	b, _ := start(t, 2, func(o *tcp.Options) { o.Local.ClientAddress = "two.example:7500" })
	require.Empty(t, a.ClientAddress(2), "it has not connected")
	b.SetPeers([]raft.Member{named(1, a.Address())})
	eventually(t, "it has connected", func() bool { return a.ClientAddress(2) == "two.example:7500" })
	require.Empty(t, b.ClientAddress(1))
	require.NoError(t, b.Close())
	eventually(t, "it is not known any more", func() bool { return a.ClientAddress(2) == "" })
}
