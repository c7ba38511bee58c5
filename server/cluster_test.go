package server_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const group = raft.DefaultGroup

// cluster is a few servers in one bubble of virtual time.
type cluster struct {
	t       *testing.T
	net     *memnet.Network
	members []*member
	machine func(*member) statemachine.StateMachine
	options func(*server.Options)
}

// member is a server that can crash and come back on what its disk kept.
type member struct {
	c       *cluster
	id      raft.ServerID
	runs    uint64
	log     *memlog.Log
	dir     string
	files   *persistentlog.Files
	machine statemachine.StateMachine
	server  *server.Server
	disk    vaultDisk
	joins   bool // it is no founder
}

var clusterID = raft.ClusterID{1}

// inBubble runs a story in virtual time.
func inBubble(t *testing.T, f func(*testing.T)) { synctest.Test(t, f) }

func newCluster(t *testing.T, n int, change ...func(*cluster)) *cluster {
	c := &cluster{t: t, net: memnet.New(1), options: func(*server.Options) {}}
	c.machine = func(*member) statemachine.StateMachine { return new(ledger) }
	for _, f := range change {
		f(c)
	}
	for k := range n {
		id := raft.ServerID(k + 1)
		c.format(id, raft.StoreID{byte(id)})
	}
	t.Cleanup(func() {
		for _, m := range c.members {
			m.stop()
		}
		require.NoError(t, c.net.Err())
	})
	return c
}

// format adds a member with an empty store.
func (c *cluster) format(id raft.ServerID, store raft.StoreID) *member {
	m := &member{c: c, id: id, dir: c.t.TempDir()}
	m.log = memlog.New(persistentlog.Identity{Cluster: clusterID, Server: id, Store: store})
	c.members = append(c.members, m)
	return m
}

// join adds a member that is to join the group, and starts it.
func (c *cluster) join(id raft.ServerID, store raft.StoreID) *member {
	m := c.format(id, store)
	m.joins = true
	m.start()
	return m
}

func (c *cluster) start() *cluster {
	for _, m := range c.members {
		m.start()
	}
	return c
}

func (c *cluster) founders() []raft.Member {
	var all []raft.Member
	for _, m := range c.members {
		if !m.joins {
			all = append(all, raft.Member{ID: m.id, Address: memnet.Address(m.id)})
		}
	}
	return all
}

func (m *member) start() {
	t := m.c.t
	t.Helper()
	require.NoError(t, m.open())
}

func (m *member) open() error {
	var err error
	if m.files, err = persistentlog.OpenFiles(m.dir, persistentlog.FilesOptions{}); err != nil {
		return err
	}
	identity, err := m.log.Identity()
	if err != nil {
		return err
	}
	m.runs++
	m.machine = m.c.machine(m)
	o := server.Options{
		Log: m.log, Snapshots: m.files, Seed: uint64(m.id)*1000 + m.runs, Workers: 2,
		Transport: m.c.net.Transport(transport.Local{
			Cluster: identity.Cluster, Server: identity.Server, Store: identity.Store, Run: raft.RunID(uint64(m.id)<<32 + m.runs),
		}),
		Group: server.GroupOptions{ID: group, StateMachine: m.machine, Founders: m.c.founders()},
	}
	if m.joins {
		o.Group.Founders = nil
		o.Transport = &addressBook{o.Transport, m.c.founders()}
	}
	m.c.options(&o)
	m.server, err = server.Open(o)
	return err
}

// addressBook is a transport that knows some servers beside those that its server names: a server that joins has to answer its
// leader before it holds a membership.
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

// SetPeers implements transport.Transport.
func (a *addressBook) SetPeers(peers []raft.Member) {
	for _, k := range a.known {
		if !slices.ContainsFunc(peers, func(m raft.Member) bool { return m.ID == k.ID }) {
			peers = append(slices.Clone(peers), k)
		}
	}
	a.Transport.SetPeers(peers)
}

// stop closes the server in good order.
func (m *member) stop() { m.stopBy((*server.Server).Close) }

func (m *member) stopBy(end func(*server.Server) error) {
	if m.server == nil {
		return
	}
	s := m.server
	m.server = nil
	if err := end(s); err != nil {
		m.c.t.Errorf("server %d: %v", m.id, err)
	}
	if err := m.files.Close(); err != nil {
		m.c.t.Errorf("server %d: %v", m.id, err)
	}
	m.log = reopened(m.c.t, m.log)
}

func reopened(t *testing.T, l *memlog.Log) *memlog.Log {
	again, err := l.Reopen()
	require.NoError(t, err)
	return again
}

// crash stops the server and goes back to what its disk held at that moment.
func (m *member) crash(seed uint64) {
	kept := m.log.CrashCopy(seed)
	m.stopBy((*server.Server).CloseNow)
	m.log = kept
}

// leader waits for one.
func (c *cluster) leader() *member {
	c.t.Helper()
	for range 400 {
		for _, m := range c.members {
			if m.server == nil {
				continue
			}
			if st, ok := m.server.GroupStatus(group); ok && st.Role == raft.RoleLeader {
				// Only one that can still reach a quorum answers.
				ctx, cancel := context.WithTimeout(c.t.Context(), 300*time.Millisecond)
				err := m.server.Barrier(ctx, group)
				cancel()
				if st, _ = m.server.GroupStatus(group); err == nil && st.Role == raft.RoleLeader { // and does not follow another one since
					return m
				}
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Fatal("no leader")
	return nil
}

func (c *cluster) others(but *member) []*member {
	var all []*member
	for _, m := range c.members {
		if m != but {
			all = append(all, m)
		}
	}
	return all
}

// propose has whoever leads execute a command, and tries again as a client without a session would when it is certain
// that nothing was done.
func (c *cluster) propose(command string) string {
	c.t.Helper()
	for range 100 {
		result, err := c.leader().server.Propose(c.t.Context(), group, []byte(command))
		if err == nil {
			return string(result)
		}
		if errors.Is(err, server.ErrUnknown) {
			c.t.Fatalf("%s: %v", command, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Fatalf("%s: never taken", command)
	return ""
}

// agree waits until every server that runs has executed the same, and returns it.
func (c *cluster) agree() string {
	c.t.Helper()
	var all []string
	for range 200 {
		all = all[:0]
		for _, m := range c.members {
			if m.server != nil {
				all = append(all, machineOf(m.machine).all())
			}
		}
		same := true
		for _, s := range all {
			same = same && s == all[0]
		}
		if same && c.applied() {
			return all[0]
		}
		time.Sleep(20 * time.Millisecond)
	}
	for k, s := range all {
		c.t.Logf("%d: %d bytes, ends with %.40q", k, len(s), s[max(0, len(s)-40):])
	}
	for _, m := range c.members {
		if m.server != nil {
			st := m.status()
			st.Membership = raft.Membership{}
			c.t.Logf("server %d: %+v", m.id, st)
		}
	}
	c.t.Fatal("servers do not agree")
	return ""
}

func (c *cluster) applied() bool {
	var commit raft.Index
	for _, m := range c.members {
		if m.server != nil {
			st, _ := m.server.GroupStatus(group)
			commit = max(commit, st.Commit)
		}
	}
	for _, m := range c.members {
		if m.server != nil {
			if st, _ := m.server.GroupStatus(group); st.Applied < commit {
				return false
			}
		}
	}
	return true
}

func machineOf(m statemachine.StateMachine) *ledger {
	switch m := m.(type) {
	case *ledger:
		return m
	case *batchLedger:
		return &m.ledger
	case *openLedger:
		return &m.ledger
	case *vault:
		return &m.ledger
	case *slowWriter:
		return &m.ledger
	}
	panic(fmt.Sprintf("%T", m))
}
