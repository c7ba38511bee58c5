package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/pebblelog"
	"github.com/oarlock/oarlock/persistentlog/seglog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/transport/tcp"
)

// oarlockSystem is three servers of oarlock with its default parts: pebblelog, snapshots in files, transport/tcp; or with
// segments in the place of pebblelog.
type oarlockSystem struct {
	name     string
	segments bool
	retain   int64
	members  [3]*member
	leader   atomic.Pointer[server.Server]
	seeking  sync.Mutex // who looks for a new leader
	retries  atomic.Uint64
}

type member struct {
	log       persistentlog.PersistentLog
	counters  func() (syncs, bytesRead uint64) // of the log
	files     *persistentlog.Files
	transport *tcp.Transport
	server    *server.Server
}

func (s *oarlockSystem) Name() string { return s.name }

func (s *oarlockSystem) Start(dir string) error {
	cluster := raft.ClusterID{0xbe, 0x7c}
	var founders []raft.Member
	var listeners []net.Listener
	for i := range s.members {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
		founders = append(founders, raft.Member{ID: raft.ServerID(i + 1), Address: l.Addr().String()})
	}
	for i, l := range listeners {
		s.members[i] = &member{}
		identity := persistentlog.Identity{Cluster: cluster, Server: raft.ServerID(i + 1)}
		if err := s.members[i].open(filepath.Join(dir, fmt.Sprint("server-", i+1)), identity, l, founders, s); err != nil {
			return fmt.Errorf("server %d: %w", i+1, err)
		}
	}
	return s.findLeader()
}

func (m *member) open(dir string, identity persistentlog.Identity, l net.Listener, founders []raft.Member, s *oarlockSystem) (err error) {
	format, openLog := func() error { return pebblelog.Format(dir, identity, pebblelog.Options{}) }, m.openPebble
	if s.segments {
		format, openLog = func() error { return seglog.Format(dir, identity, seglog.Options{}) }, m.openSegments
	}
	if err := format(); err != nil {
		return err
	}
	if err := openLog(dir); err != nil {
		return err
	}
	if m.files, err = persistentlog.OpenFiles(filepath.Join(dir, "snapshots"), persistentlog.FilesOptions{}); err != nil {
		return err
	}
	return m.serve(l, server.GroupOptions{
		ID: raft.DefaultGroup, StateMachine: &tally{}, Founders: founders,
		// The log is kept back to the older of two snapshots: from once to twice this much, on the average 9/8 of what is
		// to be retained. limit-pebble compacts in quarters, which is the same on the average.
		SnapshotLogBytes: max(s.retain*3/4, 1),
	})
}

// openPebble opens a formatted store.
func (m *member) openPebble(dir string) error {
	log, err := pebblelog.Open(dir, pebblelog.Options{})
	if err != nil {
		return err
	}
	m.log = log
	m.counters = func() (syncs, bytesRead uint64) { s := log.Stats(); return s.Syncs, s.BytesRead }
	return nil
}

// openSegments opens a formatted store.
func (m *member) openSegments(dir string) error {
	log, err := seglog.Open(dir, seglog.Options{})
	if err != nil {
		return err
	}
	m.log = log
	m.counters = func() (syncs, bytesRead uint64) { s := log.Stats(); return s.Syncs, s.BytesRead }
	return nil
}

func (s *oarlockSystem) findLeader() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	var last error
	for {
		for _, m := range s.members {
			if last = attempt(ctx, m.server); last == nil {
				s.leader.Store(m.server)
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no leader after %s: %w", startTimeout, last)
		case <-pause.C:
		}
	}
}

// attempt proposes at one server, which may have been the leader a moment ago.
func attempt(ctx context.Context, at *server.Server) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := at.Propose(ctx, raft.DefaultGroup, []byte("first"))
	return err
}

func (s *oarlockSystem) Propose(command []byte) error {
	return s.atLeader(func(leader *server.Server) error {
		_, err := leader.Propose(context.Background(), raft.DefaultGroup, command)
		return err
	})
}

func (s *oarlockSystem) Query() error {
	return s.atLeader(func(leader *server.Server) error {
		_, err := leader.Query(context.Background(), raft.DefaultGroup, nil)
		return err
	})
}

// atLeader tries again at another leader when there is a new one, as often as it takes; the table shows how often it did.
func (s *oarlockSystem) atLeader(do func(*server.Server) error) error {
	for {
		leader := s.leader.Load()
		err := do(leader)
		changed := errors.Is(err, server.ErrNotLeader) || errors.Is(err, server.ErrNoLeader) || errors.Is(err, server.ErrUnknown)
		if !changed {
			return err
		}
		s.retries.Add(1)
		s.seeking.Lock()
		if s.leader.Load() == leader {
			err = s.findLeader()
		} else {
			err = nil
		}
		s.seeking.Unlock()
		if err != nil {
			return err
		}
	}
}

func (s *oarlockSystem) Stats() (stats Stats) {
	stats.Retries = s.retries.Load()
	for _, m := range s.members {
		syncs, _ := m.counters()
		stats.Syncs += syncs
	}
	return stats
}

func (s *oarlockSystem) Close() error {
	var errs []error
	for _, m := range s.members {
		if m != nil {
			errs = append(errs, m.close())
		}
	}
	return errors.Join(errs...)
}

// tally is the application: it counts commands and folds their first bytes, as the limit's does.
type tally struct {
	count atomic.Uint64
	fold  uint32
}

func (t *tally) Apply(e statemachine.Entry) []byte {
	if len(e.Command) > 0 {
		t.fold = t.fold*31 + uint32(e.Command[0])
	}
	t.count.Add(1)
	return nil
}

func (t *tally) ApplyBatch(entries []statemachine.Entry, _ [][]byte) {
	for _, e := range entries {
		if len(e.Command) > 0 {
			t.fold = t.fold*31 + uint32(e.Command[0])
		}
	}
	t.count.Add(uint64(len(entries)))
}

// ConcurrentQuery marks Query as safe beside ApplyBatch.
func (t *tally) ConcurrentQuery() {}

func (t *tally) Query([]byte) ([]byte, error) {
	if t.count.Load() == 0 {
		return nil, errors.New("bench: nothing was applied")
	}
	return nil, nil
}

type tallyImage [12]byte

func (t *tally) Snapshot() (statemachine.Snapshot, error) {
	var image tallyImage
	binary.BigEndian.PutUint64(image[:], t.count.Load())
	binary.BigEndian.PutUint32(image[8:], t.fold)
	return image, nil
}

func (i tallyImage) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(i[:])
	return int64(n), err
}

func (tallyImage) Close() error { return nil }

func (t *tally) Restore(r io.Reader) error {
	var image tallyImage
	if _, err := io.ReadFull(r, image[:]); err != nil {
		return err
	}
	t.count.Store(binary.BigEndian.Uint64(image[:]))
	t.fold = binary.BigEndian.Uint32(image[8:])
	return nil
}
