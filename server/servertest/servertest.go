// Package servertest runs a cluster in memory, for the tests of programs that use one: real servers and clients on a
// network and on disks that do what the test says.
//
//	cluster := servertest.Start(t, servertest.Options{
//		Machine: func(raft.ServerID) statemachine.StateMachine { return mine.New() },
//	})
//	result, err := cluster.Propose(ctx, command)
//	leader, err := cluster.Leader(ctx)
//	err = cluster.Crash(leader)
//
// A cluster starts in milliseconds and has its first leader after an election timeout, 0.3 s; in the bubble of
// testing/synctest that takes no time at all. To find out whether a state machine is right, see packages smtest and sim:
// this one does nothing by itself. It does not import package testing, so that it also serves outside go test.
package servertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/transport/memnet"
)

// T is what Start needs of a *testing.T.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Options are the settings of a cluster. Only Machine is required.
type Options struct {
	// Machine makes the state machine of a server, a new one each time that it starts. It is called on the goroutine that starts it.
	Machine func(id raft.ServerID) statemachine.StateMachine
	// Servers is how many there are, with ids from 1; 0 means 3.
	Servers int
	// Seed chooses election timeouts, which messages a faulty network loses, what a crash keeps of a disk; 0 means 1. It does not
	// make two runs equal: goroutines run as they like.
	Seed uint64
	// Configure, if it is not nil, may change the options of a server each time before it starts. What it does to the log, the
	// snapshots, the transport, and the group's id, machine and founders is undone.
	Configure func(id raft.ServerID, o *server.Options)
	// FailuresExpected is for tests that break machines on purpose: a replica that stops for good is then no error of the test.
	// Failures returns what has happened.
	FailuresExpected bool
}

// Validate names the first setting that cannot work.
func (o Options) Validate() error {
	switch {
	case o.Machine == nil:
		return errors.New("servertest: Options.Machine is missing")
	case o.Servers < 0 || o.Servers > serversMax:
		return fmt.Errorf("servertest: Options.Servers is %d: from 1 to %d, and 0 for 3", o.Servers, serversMax)
	}
	return nil
}

const serversMax = 64

// Cluster is servers of one group, raft.DefaultGroup, in this process. All methods may be called from any goroutine.
type Cluster struct {
	options Options
	network *memnet.Network
	teller  teller

	mu       sync.Mutex
	members  []*member // by id, from 1; they become more
	clients  []*client.Client
	shared   *client.Client
	failures []error
	closed   bool

	judging sync.Mutex      // guards what follows
	able    context.Context // ends when the group cannot go on
	disable context.CancelCauseFunc
}

// Start opens a cluster that is closed when the test ends. A failure to start ends the test. An error of the test is, by its end,
// what went wrong on the network or in Close; and at once, unless Options.FailuresExpected is set, a replica that stops for good
// because its machine panicked or failed. When so many have stopped that the group cannot go on, nothing waits for it any longer: the
// methods of the cluster return why (ErrStopped), and its clients are closed.
func Start(t T, o Options) *Cluster {
	t.Helper()
	c, err := New(o)
	if err == nil {
		if !o.FailuresExpected {
			c.teller.test = t
		}
		if err = c.startAll(); err != nil {
			c.teller.end()
		}
	}
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(func() {
		err := c.Close()
		c.teller.end()
		if err != nil {
			t.Errorf("%v", err)
		}
	})
	return c
}

// Open starts all servers of a new cluster and returns, before they have a leader. Close it.
func Open(o Options) (*Cluster, error) {
	c, err := New(o)
	if err == nil {
		err = c.startAll()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// startAll starts all servers, or closes the cluster.
func (c *Cluster) startAll() error {
	for _, m := range c.all() {
		if err := m.start(); err != nil {
			return errors.Join(err, c.Close())
		}
	}
	return nil
}

// New makes a cluster of which no server runs yet.
func New(o Options) (*Cluster, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Servers == 0 {
		o.Servers = 3
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	c := &Cluster{options: o, network: memnet.New(o.Seed)}
	c.able, c.disable = context.WithCancelCause(context.Background())
	for k := range o.Servers {
		c.members = append(c.members, newMember(c, raft.ServerID(k+1)))
	}
	return c, nil
}

// Close closes all clients and servers. A second Close does nothing. The error is of what did not end, or of a message
// that did not survive its encoding.
func (c *Cluster) Close() error {
	c.mu.Lock()
	clients, closed := c.clients, c.closed
	c.clients, c.closed = nil, true
	c.mu.Unlock()
	if closed {
		return nil
	}
	var all []error
	for _, each := range clients {
		all = append(all, each.Close())
	}
	for _, m := range c.all() {
		all = append(all, m.stop())
	}
	return errors.Join(append(all, c.network.Err())...)
}

// IDs returns the ids of all servers, in order, whether they run or not.
func (c *Cluster) IDs() []raft.ServerID {
	var all []raft.ServerID
	for _, m := range c.all() {
		all = append(all, m.id)
	}
	return all
}

// Addresses are where clients reach the servers, with Dial of the Network: see NewClient.
func (c *Cluster) Addresses() []string {
	var all []string
	for _, m := range c.all() {
		all = append(all, memnet.Address(m.id))
	}
	return all
}

// Network is the network between the servers, to lose, delay and reorder what they send each other (SetFaults). Clients
// are not on it: neither faults nor partitions apply to them.
func (c *Cluster) Network() *memnet.Network { return c.network }

// Client is a client of the cluster, the same one at each call, with a session: its commands are applied once, whatever
// happens to servers. It belongs to the cluster. After Close it refuses everything. Its calls go on trying as in production,
// whatever has become of the machines: give them a deadline.
func (c *Cluster) Client() *client.Client {
	c.mu.Lock()
	shared := c.shared
	c.mu.Unlock()
	if shared != nil {
		return shared
	}
	fresh, err := c.NewClient(client.Options{})
	if err != nil {
		panic(err) // these options are always right
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shared == nil {
		c.shared = fresh
	}
	return c.shared
}

// NewClient returns one more client, with settings of its own; its addresses and Dial are set here where they are not
// given. It belongs to the cluster, and may be closed before.
func (c *Cluster) NewClient(o client.Options) (*client.Client, error) {
	if len(o.Servers) == 0 && len(o.Addresses) == 0 {
		o.Servers = c.Addresses()
	}
	if o.Dial == nil {
		o.Dial = c.network.DialAddress
	}
	fresh, err := client.New(o)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.clients = append(c.clients, fresh)
	}
	c.mu.Unlock()
	if closed {
		return fresh, fresh.Close()
	}
	return fresh, nil
}

// allClients returns every client there is by now.
func (c *Cluster) allClients() []*client.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.clients)
}

// Propose has the cluster execute a command, once, with Client, and returns the machine's result. It goes on trying until ctx ends or
// the group cannot go on, because too many of its machines have failed: the error then matches ErrStopped, and says how the first did.
func (c *Cluster) Propose(ctx context.Context, command []byte) (result []byte, err error) {
	err = c.whileAble(ctx, func(ctx context.Context) error {
		result, err = c.Client().Propose(ctx, command)
		return err
	})
	return result, err
}

// Query asks the machine of the leader, with Client, and sees everything that was answered before. It ends as Propose does.
func (c *Cluster) Query(ctx context.Context, query []byte) (result []byte, err error) {
	err = c.whileAble(ctx, func(ctx context.Context) error {
		result, err = c.Client().Query(ctx, query)
		return err
	})
	return result, err
}

// Partition cuts the network between servers of different sides and mends it within each. Servers that no side names
// keep what they have. A leader that is cut off from a majority stops leading after an election timeout.
func (c *Cluster) Partition(sides ...[]raft.ServerID) { c.network.Partition(sides...) }

// Isolate cuts a server off from all others, both ways; what is cut otherwise stays so.
func (c *Cluster) Isolate(id raft.ServerID) {
	for _, m := range c.all() {
		if m.id != id {
			c.network.Cut(id, m.id)
			c.network.Cut(m.id, id)
		}
	}
}

// Heal mends the network.
func (c *Cluster) Heal() { c.network.Heal() }
