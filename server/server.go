package server

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// Server is a running member: the shell of goroutines and clocks around the replicas of any number of groups. All its
// methods may be called from any goroutine.
type Server struct {
	shared  *Shared
	options Options
	clock   Clock

	groups   atomic.Pointer[map[raft.GroupID]*group]
	opening  chan struct{} // has room for the one group that is being opened, which waits for the log
	mu       sync.Mutex    // changes groups, closing, failed; never held while something is waited for
	closing  bool
	failed   error // why the store was given up
	doneOnce sync.Once
	done     chan struct{}
	closeMu  sync.Mutex // taken by who closes
	closed   bool
	closeErr error    // of parts that ended badly
	stuck    []ending // what the last Close did not wait for any longer

	scheduler *scheduler
	alarm     *alarm
	writer    *writer
	elastic   elastic
	fills     fillers
	chunks    chunkReaders
	hub       hub
	waiters   sync.Pool
	logged    chan struct{}
	clients   *clients

	peersMu sync.Mutex
	peers   []raft.Member
	strays  atomic.Uint64 // messages for groups that are not here
}

var _ transport.Handler = (*Server)(nil)

// Open starts a server: it reads from the log who it is, starts the transport, and opens Options.Group if one is given.
// On an error nothing runs and the parts are still the caller's.
func Open(o Options) (*Server, error) {
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	o.run = rand.Uint64()
	shared, err := NewShared(o)
	if err != nil {
		return nil, err
	}
	s := &Server{shared: shared, options: shared.options, clock: o.Clock, done: make(chan struct{}), logged: make(chan struct{}), opening: make(chan struct{}, 1)}
	if s.clock == nil {
		// The origin lies before the start, because a time of zero means none.
		s.clock = machineClock{start: time.Now().Add(-time.Hour)}
	}
	s.groups.Store(&map[raft.GroupID]*group{})
	s.fills.s, s.chunks = s, chunkReaders{s: s, byPeer: make(map[chunkReader]*openSnapshot)}
	workers := s.options.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	s.scheduler = newScheduler(workers)
	s.alarm = newAlarm(s.clock)
	s.writer = newWriter(s.options.Log, s.storeFailed)
	s.clients = newClients(clientDoor{s}, s.options.Clients, s.options.Logger)
	if o.Subscription != nil {
		s.hub.add(o.Subscription)
	}
	s.startLogger()
	if err := s.options.Transport.Start(s); err != nil {
		return nil, errors.Join(fmt.Errorf("server: %w", err), s.close(false, false))
	}
	if o.Group.ID != 0 {
		if err := s.OpenGroup(o.Group); err != nil {
			return nil, errors.Join(err, s.close(false, false))
		}
	}
	return s, nil
}

// OpenGroup adds a replica. It returns once the log was read; the state machine is restored beside, and what is asked of
// it meanwhile waits. A group is opened once in a server's life.
func (s *Server) OpenGroup(g GroupOptions) error {
	s.opening <- struct{}{}
	defer func() { <-s.opening }()
	s.mu.Lock()
	err := s.mayOpen(g.ID)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	r, err := NewReplica(s.shared, g, s.clock.Now())
	if err != nil {
		return err
	}
	opened := &group{s: s, id: g.ID, replica: r, ended: make(chan struct{})}
	opened.inbox = newInbox(&r.bounds, &s.shared.bounds)
	opened.apply.init(opened)
	opened.files.init(opened)
	if err := s.enter(opened); err != nil {
		s.shared.tails.replicas.Add(-1)
		return err
	}
	opened.due.Store(true)
	opened.wake()
	return nil
}

// mayOpen says why a group cannot be opened. The caller holds s.mu.
func (s *Server) mayOpen(id raft.GroupID) error {
	switch {
	case s.closing:
		return fmt.Errorf("server: open group %d: %w", id, ErrClosed)
	case s.failed != nil:
		return fmt.Errorf("server: open group %d: %w", id, fenced(s.failed))
	case s.group(id) != nil:
		return fmt.Errorf("server: group %d is open already", id)
	}
	return nil
}

// enter puts a group among the others, unless the server has ended while the log was read.
func (s *Server) enter(g *group) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayOpen(g.id); err != nil {
		return err
	}
	next := maps.Clone(*s.groups.Load())
	next[g.id] = g
	s.groups.Store(&next)
	return nil
}

func (s *Server) group(id raft.GroupID) *group { return (*s.groups.Load())[id] }

// sorted returns the groups by id.
func (s *Server) sorted() []*group {
	all := slices.Collect(maps.Values(*s.groups.Load()))
	slices.SortFunc(all, func(a, b *group) int { return compare(uint64(a.id), uint64(b.id)) })
	return all
}

func (g *group) fenced() error {
	if p := g.fence.Load(); p != nil {
		return *p
	}
	return nil
}

// storeFailed stops every replica: none may rely on a store that has failed once.
func (s *Server) storeFailed(why error) {
	s.mu.Lock()
	if s.failed != nil || s.closing {
		s.mu.Unlock()
		return
	}
	s.failed = why
	s.mu.Unlock()
	for _, g := range s.sorted() {
		g.inbox.stop(why)
		g.wake()
	}
	s.groupEnded()
}

// groupEnded closes Done if nothing works any more.
func (s *Server) groupEnded() {
	all := *s.groups.Load()
	for _, g := range all {
		if g.fenced() == nil {
			return
		}
	}
	if len(all) > 0 || s.Err() != nil {
		s.doneOnce.Do(func() { close(s.done) })
	}
}

// Done is closed when the server can do nothing more: its store has failed, every replica has stopped, or it was closed.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns why replicas of this server have stopped, nil if none has. A server that was closed says ErrClosed.
func (s *Server) Err() error {
	s.mu.Lock()
	failed, closing := s.failed, s.closing
	s.mu.Unlock()
	if failed != nil {
		return failed
	}
	var all []error
	for _, g := range s.sorted() {
		if err := g.fenced(); err != nil && !errors.Is(err, ErrClosed) {
			all = append(all, fmt.Errorf("group %d: %w", g.id, err))
		}
	}
	if len(all) == 0 && closing {
		return ErrClosed
	}
	return errors.Join(all...)
}

// GroupErr returns why the replica of a group has stopped; nil while it works.
func (s *Server) GroupErr(id raft.GroupID) error {
	g := s.group(id)
	if g == nil {
		return fmt.Errorf("%w: %d", ErrNoGroup, id)
	}
	return g.fenced()
}

// setPeers notes another membership of a group, and connects beside the loop, which waits for no network.
func (s *Server) setPeers(g *group, members []raft.Member) {
	s.peersMu.Lock()
	g.peers = members
	s.peersMu.Unlock()
	s.elastic.run(s.connect)
}

// connect connects the transport with the members of all groups, at every address that one of them has for a server.
func (s *Server) connect() {
	s.peersMu.Lock()
	defer s.peersMu.Unlock()
	all := make(map[raft.Member]struct{})
	for _, other := range s.sorted() {
		for _, m := range other.peers {
			all[m] = struct{}{}
		}
	}
	maps.DeleteFunc(all, func(m raft.Member, _ struct{}) bool {
		return m.ID == s.shared.identity.Server && (m.Store.IsZero() || m.Store == s.shared.identity.Store)
	})
	peers := slices.SortedFunc(maps.Keys(all), func(a, b raft.Member) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), bytes.Compare(a.Store[:], b.Store[:]), cmp.Compare(a.Address, b.Address))
	})
	if !slices.Equal(peers, s.peers) {
		s.peers = peers
		s.options.Transport.SetPeers(peers)
	}
}

// trimTails has the groups that hold more recent blocks than their share drop some, when others need the room.
func (s *Server) trimTails(but *group) {
	share := s.shared.tails.share()
	for _, g := range *s.groups.Load() {
		if g != but && g.replica.tail.own.Load() > share && !g.trim.Swap(true) {
			g.wake()
		}
	}
}

// Receive implements transport.Handler.
func (s *Server) Receive(messages []raft.Message) {
	var last *group
	for i := range messages {
		g := s.group(messages[i].Group)
		if g == nil {
			s.strays.Add(1)
			continue
		}
		if last != nil && last != g {
			last.wake()
		}
		last = g
		if !g.inbox.message(messages[i], false) {
			g.wake() // a turn makes room
			g.inbox.message(messages[i], true)
		}
	}
	if last != nil {
		last.runHere()
	}
}

// Unreachable implements transport.Handler.
func (s *Server) Unreachable(peer raft.ServerID, store raft.StoreID) {
	for _, g := range *s.groups.Load() {
		g.inbox.unreachable(raft.Member{ID: peer, Store: store})
		g.wake()
	}
}
