package config

import (
	"errors"
	"log/slog"
	"net"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/pebblelog"
	"github.com/oarlock/oarlock/persistentlog/seglog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
)

// ServerOptions are what a member's server gets, but for its parts: log, snapshots, transport and loggers are not set. For tests
// that put other parts in their place.
func (c *Config) ServerOptions(m Member, machine statemachine.StateMachine) server.Options {
	z := c.Sizes
	addresses := make(map[raft.ServerID]string, len(c.Members))
	for _, other := range c.Members {
		addresses[other.ID] = other.Address
	}
	return server.Options{
		Addresses: addresses,
		Group: server.GroupOptions{
			ID: raft.DefaultGroup, StateMachine: machine, Founders: c.Founders(m), Limits: c.Limits,
			ElectionTimeoutMin: c.Timing.ElectionTimeoutMin, ElectionTimeoutMax: c.Timing.ElectionTimeoutMax,
			HeartbeatInterval: c.Timing.HeartbeatInterval, Priority: m.Priority, ClockDriftPPM: c.Timing.ClockDriftPPM,
			JoinTimeout:      c.Timing.JoinTimeout,
			SnapshotLogBytes: c.Snapshots.LogBytes, SnapshotKeepBytes: c.Snapshots.KeepBytes,
		},
		CommandBytesMax: z.CommandBytesMax, BlockBytesMax: z.BlockBytesMax, FrameBytesMax: z.FrameBytesMax,
		InflightBytesMax: z.InflightBytesMax, InflightMessagesMax: z.InflightMessagesMax, TailBytesMax: z.TailBytesMax,
		InboxBytesMax: z.InboxBytesMax, InboxServerBytesMax: z.InboxServerBytesMax,
		UncommittedBytesMax: z.UncommittedBytesMax, UncommittedServerBytesMax: z.UncommittedServerBytesMax,
		UnappliedBytesMax: z.UnappliedBytesMax, UnappliedServerBytesMax: z.UnappliedServerBytesMax,
		CloseTimeout: c.Timing.CloseTimeout,
	}
}

func (c *Config) pebbleOptions(logger *slog.Logger) pebblelog.Options {
	return pebblelog.Options{
		MemtableBytes: c.Log.MemtableBytes, CacheBytes: c.Log.CacheBytes, OpenFilesMax: c.Log.OpenFilesMax,
		CloseTimeout: c.Timing.CloseTimeout, Logger: logger,
	}
}

func (c *Config) segmentOptions(logger *slog.Logger) seglog.Options {
	return seglog.Options{SegmentBytes: c.Log.SegmentBytes, CloseTimeout: c.Timing.CloseTimeout, Logger: logger}
}

// tcpOptions are a member's, without listener and dialler.
func (c *Config) tcpOptions(who persistentlog.Identity, logger *slog.Logger) tcp.Options {
	return tcp.Options{
		Local: transport.Local{
			Cluster: who.Cluster, Server: who.Server, Store: who.Store,
			FrameBytesMax: c.Sizes.FrameBytesMax, BlockBytesMax: c.Sizes.BlockBytesMax,
		},
		EntriesBytesMax: max(64<<20, c.Sizes.FrameBytesMax),
		Logger:          logger,
	}
}

// peersOf returns the other members as the file has them.
func (c *Config) peersOf(m Member) []raft.Member {
	var peers []raft.Member
	for _, other := range c.Members {
		if other.ID != m.ID {
			peers = append(peers, raft.Member{ID: other.ID, Address: other.Address})
		}
	}
	return sortedByID(peers)
}

// addressBook is a transport that knows the file's members beside those that the server names. A server that joins has
// to answer its leader before it holds the entry that says who the members are.
type addressBook struct {
	transport.Transport
	known []raft.Member
}

// Start implements transport.Transport.
func (a *addressBook) Start(handler transport.Handler) error {
	if err := a.Transport.Start(handler); err != nil {
		return err
	}
	a.SetPeers(nil)
	return nil
}

// SetPeers implements transport.Transport. What the group says of a member comes before what the file says.
func (a *addressBook) SetPeers(peers []raft.Member) {
	merged := append([]raft.Member(nil), peers...)
	for _, k := range a.known {
		if !containsMember(peers, k.ID) {
			merged = append(merged, k)
		}
	}
	a.Transport.SetPeers(sortedByID(merged))
}

// ClientAddress implements transport.ClientAddresser.
func (a *addressBook) ClientAddress(server raft.ServerID) string {
	if c, ok := a.Transport.(transport.ClientAddresser); ok {
		return c.ClientAddress(server)
	}
	return ""
}

// VisitedBy implements transport.VisitTeller.
func (a *addressBook) VisitedBy(server raft.ServerID, store raft.StoreID) bool {
	t, ok := a.Transport.(transport.VisitTeller)
	return ok && t.VisitedBy(server, store)
}

// CheckAddress implements transport.AddressChecker: with TLS, too, addresses are what the file takes.
func (*addressBook) CheckAddress(address string) error { return CheckAddress(address) }

// dialable returns an address if others can dial it, and nothing for a listener on every interface.
func dialable(address string) string {
	if CheckAddress(address) != nil {
		return ""
	}
	return address
}

func containsMember(members []raft.Member, id raft.ServerID) bool {
	for _, m := range members {
		if m.ID == id {
			return true
		}
	}
	return false
}

// serveClient takes over a client's connection, once there is a server to serve it.
func (s *Server) serveClient(conn net.Conn) {
	<-s.ready
	if s.Server == nil {
		if err := conn.Close(); err != nil {
			s.logger.Debug("client's connection", "error", err)
		}
		return
	}
	s.ServeConn(conn)
}

// acceptClients serves the clients' own listener until the server is closed.
func (s *Server) acceptClients() {
	if err := s.Serve(s.clients); !errors.Is(err, server.ErrClosed) {
		s.logger.Error("no client can come in any more", "address", s.Member.ClientAddress, "error", err)
	}
}

// Close stops the server and releases what OpenServer opened, within the file's timing.close_timeout. If something is stuck
// the error names it and matches server.ErrStuck; Close may be called again.
func (s *Server) Close() error {
	s.closeMu.Lock()
	defer s.closeMu.Unlock()
	if s.closed {
		return s.closeErr
	}
	err := s.Server.Close()
	if errors.Is(err, server.ErrStuck) {
		return err
	}
	s.accepting.Wait()
	s.closed, s.closeErr = true, errors.Join(err, release(s.own))
	return s.closeErr
}
