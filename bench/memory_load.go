package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine/kv"
)

const (
	stormBytes   = 64 << 10
	stormKeys    = 64 // few, so that the state stays small
	stormClients = 32
	bigValues    = 8
	bigBytes     = kv.ValueBytesMax
)

func hotKey(i int) []byte { return fmt.Appendf(nil, "hot-%02d", i%stormKeys) }
func bigKey(i int) []byte { return fmt.Appendf(nil, "big-%02d", i%bigValues) }

func newClient(c *config.Config, outstanding int) (*client.Client, error) {
	return client.New(client.Options{
		Addresses: c.ClientAddresses(), Cluster: c.Cluster, Sessionless: true, OutstandingMax: outstanding,
		OutstandingBytesMax: outstanding * 2 * stormBytes,
	})
}

// preload writes every key of the storm once, and what the mute clients ask for.
func preload(c *config.Config) (err error) {
	one, err := newClient(c, 32)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, one.Close()) }()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for i := range stormKeys {
		if _, err := one.Propose(ctx, kv.Put(hotKey(i), make([]byte, stormBytes))); err != nil {
			return err
		}
	}
	for i := range bigValues {
		if _, err := one.Propose(ctx, kv.Put(bigKey(i), make([]byte, bigBytes))); err != nil {
			return err
		}
	}
	return nil
}

// storm is clients that propose without pause, each from many goroutines.
type storm struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	clients []*client.Client

	answered, unknown, refused atomic.Uint64
	mu                         sync.Mutex
	strange                    error // an answer that is none of these
}

func startStorm(c *config.Config, proposers int) (*storm, error) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &storm{cancel: cancel}
	commands := make([][]byte, stormKeys)
	for i := range commands {
		key := hotKey(i)
		commands[i] = kv.Put(key, make([]byte, stormBytes-len(kv.Put(key, nil))))
	}
	each := (proposers + stormClients - 1) / stormClients
	for range stormClients {
		one, err := newClient(c, each)
		if err != nil {
			return nil, errors.Join(err, s.end())
		}
		s.clients = append(s.clients, one)
	}
	for _, one := range s.clients {
		for i := range each {
			s.running.Go(func() { s.propose(ctx, one, commands[i%len(commands)]) })
		}
	}
	return s, nil
}

func (s *storm) propose(ctx context.Context, one *client.Client, command []byte) {
	for ctx.Err() == nil {
		switch _, err := one.Propose(ctx, command); {
		case err == nil:
			s.answered.Add(1)
		case ctx.Err() != nil:
		case errors.Is(err, client.ErrUnknown):
			s.unknown.Add(1)
		case errors.Is(err, client.ErrBusy):
			s.refused.Add(1)
		default:
			s.mu.Lock()
			s.strange = errors.Join(s.strange, err)
			s.mu.Unlock()
			return
		}
	}
}

func (s *storm) end() error {
	s.cancel()
	s.running.Wait()
	for _, one := range s.clients {
		s.strange = errors.Join(s.strange, one.Close())
	}
	return s.strange
}

// mute is a client that asks for a lot and never reads an answer. It comes back when the server has dropped it.
type mute struct {
	cancel   context.CancelFunc
	running  sync.WaitGroup
	sent     atomic.Uint64
	dropped  atomic.Uint64
	attempts atomic.Uint64
}

func startMute(address string, cluster raft.ClusterID) *mute {
	ctx, cancel := context.WithCancel(context.Background())
	m := &mute{cancel: cancel}
	m.running.Go(func() {
		for ctx.Err() == nil {
			m.attempts.Add(1)
			if err := m.ask(ctx, address, cluster); err != nil && ctx.Err() == nil {
				m.dropped.Add(1) // that is what a server does to such a client
			}
		}
	})
	return m
}

// ask sends queries until the server takes no more of them and then ends the connection.
func (m *mute) ask(ctx context.Context, address string, cluster raft.ClusterID) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()                                      //nolint:errcheck // the server may have closed it
	defer context.AfterFunc(ctx, func() { conn.Close() })() //nolint:errcheck // a write sees it
	hello := wire.ClientRequest{Method: wire.MethodHello, Version: wire.ClientVersion, Cluster: cluster}
	if _, err := conn.Write(wire.AppendClientRequest(nil, &hello)); err != nil {
		return err
	}
	query := wire.ClientRequest{Method: wire.MethodQuery, Group: raft.DefaultGroup, Consistency: raft.Consistency{Level: raft.Stale}}
	var buf []byte
	for i := uint32(1); ; i++ {
		query.ID, query.Body = i, kv.Get(bigKey(int(i)))
		buf = wire.AppendClientRequest(buf[:0], &query)
		if _, err := conn.Write(buf); err != nil {
			return err
		}
		m.sent.Add(1)
	}
}

func (m *mute) end() {
	m.cancel()
	m.running.Wait()
}

// pass lets time go by and tells how the storm goes.
func (s *storm) pass(e *environment, what string, d time.Duration) {
	const step = 2 * time.Second
	for begin := time.Now(); time.Since(begin) < d; {
		time.Sleep(min(step, d-time.Since(begin)))
		e.say("  %-22s %3.0f s  %s commands answered, %s without an outcome\n", what, time.Since(begin).Seconds(),
			count(float64(s.answered.Load())), count(float64(s.unknown.Load())))
	}
}
