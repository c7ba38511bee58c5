package config

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/persistentlog/pebblelog"
	"github.com/oarlock/oarlock/persistentlog/seglog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
)

// Format makes a member's store in its data directory: the explicit act by which a server comes to be, once. The error
// matches persistentlog.ErrFormatted if there is a store already. A log in memory needs no Format.
//
// A founder that has lost its disk cannot take its old place with a store of Format: the group was born with another store, and a founder's
// store takes part in no birth but its own. FormatJoining is for that.
func (c *Config) Format(id raft.ServerID) error {
	m, err := c.Member(id)
	if err != nil || c.Log.Kind == LogMemory {
		return err
	}
	if err := c.mayFound(m); err != nil {
		return err
	}
	return c.format(m)
}

// format makes a member's store.
func (c *Config) format(m Member) error {
	if c.Log.Kind == LogMemory {
		return nil
	}
	who := persistentlog.Identity{Cluster: c.Cluster, Server: m.ID}
	quiet := slog.New(slog.DiscardHandler)
	if c.Log.Kind == LogSegments {
		return seglog.Format(c.logDir(m), who, c.segmentOptions(quiet))
	}
	return pebblelog.Format(c.logDir(m), who, c.pebbleOptions(quiet))
}

func (c *Config) logDir(m Member) string { return filepath.Join(c.DataDir(m), "log") }

// Server is a server that OpenServer made of its parts.
type Server struct {
	*server.Server
	// Member is who it is in the file.
	Member Member

	clients   net.Listener // of clients, if they have one of their own
	accepting sync.WaitGroup
	ready     chan struct{}  // closed when Server is set, or never will be
	own       []func() error // what Close releases, in reverse order
	handed    []func() error // what the server releases once it is open
	logger    *slog.Logger
	closeMu   sync.Mutex // taken by who closes
	closed    bool
	closeErr  error
}

// OpenServer opens one member's log, snapshots and transport as the file has them, and starts a server on them with one
// group, raft.DefaultGroup, whose state machine is machine. logger hears of it all and may be nil; Levels.Handler makes
// one that heeds OARLOCK_LOG. The caller calls Close.
//
// The error matches persistentlog.ErrNotFormatted if the member was never formatted, or another directory is mounted
// where its data was.
func (c *Config) OpenServer(id raft.ServerID, machine statemachine.StateMachine, logger *slog.Logger) (*Server, error) {
	return c.OpenServerWith(id, machine, logger, nil)
}

// OpenServerWith is OpenServer with options that no file has: tune, if it is not nil, may change what the configuration has
// come to, but for the parts, before the server is opened.
func (c *Config) OpenServerWith(
	id raft.ServerID, machine statemachine.StateMachine, logger *slog.Logger, tune func(*server.Options),
) (_ *Server, err error) {
	m, err := c.Member(id)
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{Member: m, ready: make(chan struct{}), logger: logger.With(ComponentKey, "server")}
	defer func() {
		if err != nil {
			close(s.ready)
			err = errors.Join(err, release(s.handed), release(s.own))
		}
	}()
	options := c.ServerOptions(m, machine)
	joins, err := c.joins(m)
	if err != nil {
		return nil, err
	}
	if joins {
		options.Group.Founders = nil
	}
	options.Logger, options.TraceLogger = s.logger, logger.With(ComponentKey, "raft")
	if tune != nil {
		tune(&options)
	}
	if options.Log, options.Snapshots, err = c.openStore(s, logger); err != nil {
		return nil, err
	}
	if options.Transport, err = c.openTransport(s, options.Log, logger); err != nil {
		return nil, err
	}
	opened, err := server.Open(options)
	if err != nil {
		return nil, err
	}
	s.Server = opened
	close(s.ready)
	if s.clients != nil {
		s.accepting.Go(s.acceptClients)
	}
	return s, nil
}

func release(parts []func() error) (all error) {
	for i := len(parts) - 1; i >= 0; i-- {
		all = errors.Join(all, parts[i]())
	}
	return all
}

// openStore opens log and snapshots and checks whose they are.
func (c *Config) openStore(s *Server, logger *slog.Logger) (persistentlog.PersistentLog, persistentlog.Snapshots, error) {
	dir := filepath.Join(c.DataDir(s.Member), "snapshots")
	var log persistentlog.PersistentLog
	var remove func() error
	switch c.Log.Kind {
	case LogMemory:
		// What a log forgets its snapshots must not remember: they go with the process.
		temporary, err := os.MkdirTemp("", "oarlock-")
		if err != nil {
			return nil, nil, fmt.Errorf("config: %w", err)
		}
		dir, remove = temporary, func() error { return os.RemoveAll(temporary) }
		who := persistentlog.Identity{Cluster: c.Cluster, Server: s.Member.ID}
		if _, err := rand.Read(who.Store[:]); err != nil {
			return nil, nil, errors.Join(err, remove())
		}
		log = memlog.New(who)
	default:
		opened, err := c.openLog(c.logDir(s.Member), logger)
		if err != nil {
			return nil, nil, err
		}
		log, remove = opened, func() error { return nil }
	}
	if err := c.checkIdentity(s.Member, log); err != nil {
		return nil, nil, errors.Join(err, log.Close(), remove())
	}
	files, err := persistentlog.OpenFiles(dir, persistentlog.FilesOptions{})
	if err != nil {
		return nil, nil, errors.Join(err, log.Close(), remove())
	}
	s.own = append(s.own, func() error { return errors.Join(files.Close(), remove()) })
	s.handed = append(s.handed, log.Close)
	return log, files, nil
}

// openLog opens a log that is durable.
func (c *Config) openLog(dir string, logger *slog.Logger) (persistentlog.PersistentLog, error) {
	if c.Log.Kind == LogSegments {
		return seglog.Open(dir, c.segmentOptions(logger.With(ComponentKey, "seglog")))
	}
	return pebblelog.Open(dir, c.pebbleOptions(logger.With(ComponentKey, "pebble")))
}

func (c *Config) checkIdentity(m Member, log persistentlog.PersistentLog) error {
	who, err := log.Identity()
	if err != nil {
		return err
	}
	if who.Cluster != c.Cluster || who.Server != m.ID {
		return c.wrong(memberKey(m.ID, "data"), "%s belongs to server %d of cluster %s, and this is server %d of cluster %s: is it the right directory?",
			c.DataDir(m), who.Server, who.Cluster, m.ID, c.Cluster)
	}
	return nil
}

// openTransport opens the listeners and makes the transport.
func (c *Config) openTransport(s *Server, log persistentlog.PersistentLog, logger *slog.Logger) (transport.Transport, error) {
	who, err := log.Identity()
	if err != nil {
		return nil, err
	}
	accept, dial, clients, err := c.ServerTLS(s.Member)
	if err != nil {
		return nil, err
	}
	options := c.tcpOptions(who, logger.With(ComponentKey, "tcp"))
	options.Local.Address = s.Member.Address
	options.Local.ClientAddress = dialable(s.Member.ClientAddress)
	var run [8]byte
	if _, err := rand.Read(run[:]); err != nil {
		return nil, fmt.Errorf("config: no random run id: %w", err)
	}
	options.Local.Run = raft.RunID(binary.BigEndian.Uint64(run[:]))
	if options.Listener, err = s.listen(cmp.Or(s.Member.Listen, s.Member.Address), accept); err != nil {
		return nil, err
	}
	s.handed = append(s.handed, closeListener(options.Listener))
	if accept == nil {
		options.Clients = s.serveClient
	} else {
		options.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&tls.Dialer{Config: dial}).DialContext(ctx, "tcp", address)
		}
	}
	if s.Member.ClientAddress != "" {
		if s.clients, err = s.listen(s.Member.ClientAddress, clients); err != nil {
			return nil, err
		}
		s.handed = append(s.handed, closeListener(s.clients))
	}
	t, err := tcp.New(options)
	if err != nil {
		return nil, err
	}
	s.handed = append(s.handed, t.Close)
	return &addressBook{Transport: t, known: c.peersOf(s.Member)}, nil
}

func (s *Server) listen(address string, config *tls.Config) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("config: server %d: %w", s.Member.ID, err)
	}
	if config != nil {
		return tls.NewListener(listener, config), nil
	}
	return listener, nil
}

// closeListener closes a listener that its owner may have closed already.
func closeListener(listener net.Listener) func() error {
	return func() error {
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}
