package servertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/persistentlog/vfsdir"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/memnet"
)

// member is one server: what outlives it, and it itself while it runs.
type member struct {
	cluster *Cluster
	id      raft.ServerID

	changing sync.Mutex // held while it starts or stops; it guards what follows
	identity persistentlog.Identity
	joins    bool // it takes no part in the group's birth
	runs     uint64
	log      *memlog.Log
	disk     *vfs.MemFS // of the snapshots
	files    *persistentlog.Files
	serving  sync.WaitGroup

	claims atomic.Uintptr // where its machine is, from before the start to after the end; 0: nowhere, or that cannot be said

	mu      sync.Mutex // guards what follows
	server  *server.Server
	machine statemachine.StateMachine
	failed  *stoppedError // why the server that runs can do nothing more
}

// ErrRunning, ErrDown and ErrNoServer are why a server cannot be started, stopped or asked.
var (
	ErrRunning  = errors.New("servertest: the server runs already")
	ErrDown     = errors.New("servertest: the server is down")
	ErrNoServer = errors.New("servertest: no such server")
)

func newMember(c *Cluster, id raft.ServerID) *member {
	m := &member{cluster: c, id: id}
	m.format(raft.StoreID{byte(id)})
	return m
}

// format gives the member an empty disk.
func (m *member) format(store raft.StoreID) {
	m.identity = persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: m.id, Store: store}
	m.log, m.disk = memlog.New(m.identity), vfs.NewCrashableMem()
}

func (m *member) named() raft.Member {
	return raft.Member{ID: m.id, Store: m.identity.Store, Address: memnet.Address(m.id)}
}

// all returns every member there is by now.
func (c *Cluster) all() []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[:len(c.members):len(c.members)]
}

func (c *Cluster) member(id raft.ServerID) (*member, error) {
	all := c.all()
	if id < 1 || int(id) > len(all) {
		return nil, fmt.Errorf("%w: %d", ErrNoServer, id)
	}
	return all[id-1], nil
}

// Add makes one more server, with an empty disk and the next id. It does not run yet, and belongs to the group once a membership
// change has added it, with what Add returns:
//
//	added, err := cluster.Add()
//	err = cluster.Start(added.ID)
//	_, err = cluster.Client().ChangeMembership(ctx, raft.MembershipChange{Changes: []raft.Change{{Kind: raft.ChangeAddVoter, Member: added}}})
func (c *Cluster) Add() (raft.Member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.members) >= serversMax {
		return raft.Member{}, fmt.Errorf("%w: a cluster has at most %d servers", ErrNoServer, serversMax)
	}
	m := newMember(c, raft.ServerID(len(c.members)+1))
	m.joins = true
	c.members = append(c.members, m)
	return m.named(), nil
}

// Replace gives a server that is down an empty disk with a new store, as if its disk had been lost and it were made anew to join
// the group. It belongs to the group again once a change of kind raft.ChangeReplace has said so, with what Replace returns.
func (c *Cluster) Replace(id raft.ServerID) (raft.Member, error) {
	m, err := c.member(id)
	if err != nil {
		return raft.Member{}, err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	if m.running() != nil {
		return raft.Member{}, fmt.Errorf("%w: %d", ErrRunning, id)
	}
	store := m.identity.Store
	store[1]++ // of this one, the next
	m.format(store)
	m.joins = true
	return m.named(), nil
}

// Server is a server while it runs, and nil while it is down. It belongs to the cluster.
func (c *Cluster) Server(id raft.ServerID) *server.Server {
	m, err := c.member(id)
	if err != nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.server
}

// Machine is the state machine of a server, as it was last started. It belongs to that server, which calls it on goroutines
// of its own: look at it while nothing is proposed and after Settle, or when the server is down.
func (c *Cluster) Machine(id raft.ServerID) statemachine.StateMachine {
	m, err := c.member(id)
	if err != nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machine
}

// Start starts a server that is down, with a new machine, on what its disk has.
func (c *Cluster) Start(id raft.ServerID) error {
	m, err := c.member(id)
	if err != nil {
		return err
	}
	return m.start()
}

// Stop closes a server in good order. Its disk stays.
func (c *Cluster) Stop(id raft.ServerID) error {
	m, err := c.member(id)
	if err != nil {
		return err
	}
	if c.Server(id) == nil {
		return fmt.Errorf("%w: %d", ErrDown, id)
	}
	return m.stop()
}

// Crash cuts a server's power. Its disk stays as it is at that moment: what was not synced is gone, in part. Calls that
// wait for it end with unknown outcomes. A machine that is in the middle of a call finishes that call.
func (c *Cluster) Crash(id raft.ServerID) error {
	m, err := c.member(id)
	if err != nil {
		return err
	}
	return m.crash()
}

func (m *member) start() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	if m.running() != nil {
		return fmt.Errorf("%w: %d", ErrRunning, m.id)
	}
	m.cluster.mu.Lock()
	closed := m.cluster.closed
	m.cluster.mu.Unlock()
	if closed {
		return server.ErrClosed
	}
	if err := m.open(); err != nil {
		return fmt.Errorf("servertest: server %d does not start: %w", m.id, err)
	}
	return nil
}

func (m *member) running() *server.Server {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.server
}

func (m *member) open() error {
	dir, err := vfsdir.New(m.disk, "snapshots")
	if err != nil {
		return err
	}
	if m.files, err = persistentlog.OpenFiles("", persistentlog.FilesOptions{FS: dir}); err != nil {
		return err
	}
	m.runs++
	machine := m.cluster.options.Machine(m.id)
	if err := m.claim(machine); err != nil {
		return errors.Join(err, m.files.Close())
	}
	s, err := server.Open(m.parts(machine))
	if err != nil {
		m.claims.Store(0)
		m.reopen()
		return errors.Join(err, m.files.Close())
	}
	door, err := m.cluster.network.Listen(m.id)
	if err != nil {
		err = errors.Join(err, s.Close(), m.files.Close())
		m.claims.Store(0)
		m.reopen()
		return err
	}
	m.serving.Go(func() { _ = s.Serve(door) }) // it ends with the server, which is then what it says
	m.mu.Lock()
	m.server, m.machine = s, machine
	m.mu.Unlock()
	m.serving.Go(func() { m.watch(s) })
	return nil
}

// claim makes a machine this member's until it ends, if no other one that runs has it.
func (m *member) claim(machine statemachine.StateMachine) error {
	place := placeOf(machine)
	m.claims.Store(place)
	for _, other := range m.cluster.all() {
		if other != m && place != 0 && other.claims.Load() == place {
			m.claims.Store(0)
			return fmt.Errorf("the factory gave the machine of server %d to server %d too: make a new one each time", other.id, m.id)
		}
	}
	return nil
}

// placeOf is where in memory a machine is that is one object; 0: it is a value, or takes no room, so that its address says nothing.
func placeOf(machine statemachine.StateMachine) uintptr {
	switch v := reflect.ValueOf(machine); {
	case v.Kind() == reflect.Pointer && v.Type().Elem().Size() > 0, v.Kind() == reflect.Map:
		return v.Pointer()
	}
	return 0
}

// parts are a server's options: its log, its snapshots, its network, the machine, and what the test wants.
func (m *member) parts(machine statemachine.StateMachine) server.Options {
	var founders []raft.Member
	for k := range m.cluster.options.Servers {
		id := raft.ServerID(k + 1)
		founders = append(founders, raft.Member{ID: id, Address: memnet.Address(id)})
	}
	if m.joins {
		founders = nil
	}
	o := server.Options{Seed: m.cluster.options.Seed<<16 + uint64(m.id)<<8 + m.runs}
	if m.cluster.options.Configure != nil {
		m.cluster.options.Configure(m.id, &o)
	}
	o.Log, o.Snapshots = m.log, m.files
	o.Transport = m.cluster.network.Transport(transport.Local{
		Cluster: m.identity.Cluster, Server: m.id, Store: m.identity.Store, Run: raft.RunID(uint64(m.id)<<32 + m.runs),
		FrameBytesMax: o.FrameBytesMax, BlockBytesMax: o.BlockBytesMax,
	})
	o.Group.ID, o.Group.StateMachine, o.Group.Founders = raft.DefaultGroup, machine, founders
	return o
}

// stop closes the server, if it runs.
func (m *member) stop() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	if m.running() == nil {
		return nil
	}
	err := m.end((*server.Server).Close)
	if !errors.Is(err, server.ErrStuck) {
		m.reopen()
	}
	return err
}

// end closes the server, well or at once, and what goes with it, but for the log.
func (m *member) end(end func(*server.Server) error) error {
	err := end(m.running())
	if errors.Is(err, server.ErrStuck) {
		return fmt.Errorf("servertest: server %d: %w", m.id, err)
	}
	m.serving.Wait()
	m.mu.Lock()
	m.server, m.failed = nil, nil
	m.mu.Unlock()
	m.claims.Store(0)
	m.cluster.judge()
	if err = errors.Join(err, m.files.Close()); err != nil {
		return fmt.Errorf("servertest: server %d: %w", m.id, err)
	}
	return nil
}

// reopen makes of a log that is not used any more the one that the next process finds.
func (m *member) reopen() { m.log = m.log.CrashCopy(0) }

var errPower = errors.New("servertest: the power is gone")

// crash makes the log refuse everything before it copies the disk: what the server acknowledges until it has ended is then
// what was durable before, as with a real power cut.
func (m *member) crash() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	if m.running() == nil {
		return fmt.Errorf("%w: %d", ErrDown, m.id)
	}
	for _, call := range []memlog.Call{memlog.CallSave, memlog.CallCompact, memlog.CallDestroy} {
		m.log.Fail(call, 1, errPower)
	}
	seed := m.cluster.options.Seed<<16 + m.runs
	log := m.log.CrashCopy(seed)
	disk := m.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, uint64(m.id)))})
	err := m.end((*server.Server).CloseNow)
	if errors.Is(err, server.ErrStuck) {
		return err
	}
	m.log, m.disk = log, disk
	return nil // how it ended does not matter: its log was refused everything
}
