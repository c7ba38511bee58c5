//go:build cgo

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/server/servertest"
	"github.com/oarlock/oarlock/statemachine"
)

// memory is a cluster in memory with the settings of a configuration.
type memory struct {
	*servertest.Cluster
	patience time.Duration // how long closing a server may take

	mu      sync.Mutex
	members []*memoryMember // they become more
}

// memoryMember is what a cluster is told of a server that starts, and how it is to end.
type memoryMember struct {
	cluster *memory
	id      raft.ServerID

	// Set by open for the time of one start.
	machine statemachine.StateMachine
	options func(*server.Options)

	mu    sync.Mutex
	crash bool // it ends by a power cut
	box   *serverBox
}

// memoryMembersMax is how many servers a cluster has at most.
const memoryMembersMax = 16

// newMemory makes a cluster of the settings of a configuration, of whose members nothing but the priority means something.
func newMemory(c *config.Config, servers int) (*memory, error) {
	priorities := make(map[raft.ServerID]uint8)
	for _, m := range c.Members {
		priorities[m.ID] = m.Priority
	}
	c.TLS, c.Members = config.TLS{}, nil
	c.Cluster = raft.ClusterID{1}
	m := &memory{patience: c.Timing.CloseTimeout}
	for k := range memoryMembersMax {
		id, number := raft.ServerID(k+1), strconv.Itoa(k+1)
		c.Members = append(c.Members, config.Member{
			ID: id, Address: "127.0.0.1:" + number, Data: filepath.Join("/", number), Founder: k < servers, Priority: priorities[id],
		})
		if k < servers {
			m.members = append(m.members, &memoryMember{cluster: m, id: id})
		}
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var err error
	m.Cluster, err = servertest.New(servertest.Options{
		Servers: servers,
		Machine: func(id raft.ServerID) statemachine.StateMachine { return m.all()[id-1].machine },
		Configure: func(id raft.ServerID, o *server.Options) {
			seed := o.Seed
			*o = c.ServerOptions(c.Members[id-1], nil)
			o.Seed = seed
			m.all()[id-1].options(o)
		},
	})
	return m, err
}

// at returns the member of an id.
func (m *memory) at(id raft.ServerID) (*memoryMember, error) {
	all := m.all()
	if id < 1 || int(id) > len(all) {
		return nil, missing{fmt.Errorf("the cluster has no server %d, its servers are 1 to %d", id, len(all))}
	}
	return all[id-1], nil
}

// all returns every member there is by now.
func (m *memory) all() []*memoryMember {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.members[:len(m.members):len(m.members)]
}

// add makes one more member.
func (m *memory) add() (raft.Member, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.members) == memoryMembersMax {
		return raft.Member{}, fmt.Errorf("%w: the cluster has %d servers, which are as many as it can have", errOrder, memoryMembersMax)
	}
	added, err := m.Cluster.Add()
	if err == nil {
		m.members = append(m.members, &memoryMember{cluster: m, id: added.ID})
	}
	return added, err
}

// configure has a client come in by the cluster's network.
func (m *memory) configure(o *client.Options) {
	o.Servers, o.Dial = m.Addresses(), m.Network().DialAddress
}

// open is the member's source. The cluster has one start of a server at a time.
func (m *memoryMember) open(machine statemachine.StateMachine, logger *slog.Logger, tune func(*server.Options)) (*running, error) {
	m.machine, m.options = machine, func(o *server.Options) {
		o.Logger, o.TraceLogger = logger.With(config.ComponentKey, "server"), logger.With(config.ComponentKey, "raft")
		tune(o)
	}
	if err := m.cluster.Start(m.id); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crash = false
	return &running{m.cluster.Server(m.id), m.end}, nil
}

// end stops the server. If something is stuck it may be called again.
func (m *memoryMember) end() error {
	m.mu.Lock()
	crash := m.crash
	m.mu.Unlock()
	stop := m.cluster.Stop
	if crash {
		stop = m.cluster.Crash
	}
	if err := stop(m.id); !errors.Is(err, servertest.ErrDown) {
		return err
	}
	return nil
}

// endsByCrash says that the next end is a power cut.
func (m *memoryMember) endsByCrash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crash = true
}
