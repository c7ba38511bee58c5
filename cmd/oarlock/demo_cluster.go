package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// demoCluster is some server processes, a client of all of them, and one of each alone to look at it.
type demoCluster struct {
	conf      *config.Config
	port      int // the first server's; the others have those behind it
	processes []*demoProcess
	client    *client.Client
}

// demoProcess is one `oarlock node`.
type demoProcess struct {
	member config.Member
	config string
	log    string
	cmd    *exec.Cmd
	exited chan struct{}
	look   *client.Client
}

func (c *demoCluster) start(conf *config.Config, dir string) error {
	c.conf = conf
	var addresses []string
	for _, m := range conf.Members {
		addresses = append(addresses, m.Address)
		if _, err := c.add(m, dir); err != nil {
			return err
		}
	}
	var err error
	c.client, err = client.New(client.Options{Servers: addresses, Cluster: conf.Cluster, BackoffMax: 100 * time.Millisecond})
	return err
}

// add starts one more member of the configuration.
func (c *demoCluster) add(m config.Member, dir string) (*demoProcess, error) {
	look, err := client.New(client.Options{Servers: []string{m.Address}, Cluster: c.conf.Cluster, Sessionless: true})
	if err != nil {
		return nil, err
	}
	p := &demoProcess{member: m, config: c.conf.Path(), look: look, log: filepath.Join(dir, fmt.Sprintf("server-%d.log", m.ID))}
	c.processes = append(c.processes, p)
	return p, p.start()
}

// drop forgets a process that has ended for good.
func (c *demoCluster) drop(p *demoProcess) {
	_ = p.look.Close() // it has no session to end
	c.processes = slices.DeleteFunc(c.processes, func(o *demoProcess) bool { return o == p })
}

// address is where a server is, or will be.
func (c *demoCluster) address(id raft.ServerID) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port+int(id)-1))
}

// stop ends every process that still runs.
func (c *demoCluster) stop() {
	if c.client != nil {
		_ = c.client.Close() // nothing of the demo depends on it any more
	}
	for _, p := range c.processes {
		_ = p.look.Close()
		if p.cmd != nil {
			_ = p.kill() // it may be dead already
		}
	}
}

func (p *demoProcess) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() //nolint:errcheck // the process has its own descriptor
	cmd := exec.Command(self, "node", p.config, strconv.FormatUint(uint64(p.member.ID), 10))
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting server %d: %w", p.member.ID, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed: how it ended says nothing
		close(exited)
	}()
	p.cmd, p.exited = cmd, exited
	return nil
}

func (p *demoProcess) pid() int { return p.cmd.Process.Pid }

// kill sends SIGKILL and waits for the end: no handler runs, nothing is flushed.
func (p *demoProcess) kill() error {
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("server %d had ended by itself; see %s", p.member.ID, p.log)
	}
	if err != nil {
		return err
	}
	<-p.exited
	return nil
}

// terminate asks the process to end, as a supervisor does, and waits until it has.
func (p *demoProcess) terminate(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("SIGTERM to server %d: %w", p.member.ID, err)
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return fmt.Errorf("server %d does not end: %w", p.member.ID, context.Cause(ctx))
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("server %d ended with exit status %d; see %s", p.member.ID, code, p.log)
	}
	return nil
}

// group asks one server what it knows of the group.
func (p *demoProcess) group(ctx context.Context) (client.GroupStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	status, err := p.look.Status(ctx)
	if err != nil {
		return client.GroupStatus{}, err
	}
	for _, g := range status.Groups {
		if g.Group == raft.DefaultGroup {
			return g, nil
		}
	}
	return client.GroupStatus{}, fmt.Errorf("server %d has no group %d", p.member.ID, raft.DefaultGroup)
}

func (c *demoCluster) process(id raft.ServerID) *demoProcess {
	for _, p := range c.processes {
		if p.member.ID == id {
			return p
		}
	}
	return nil
}

func (c *demoCluster) notServer(id raft.ServerID) *demoProcess {
	for _, p := range c.processes {
		if p.member.ID != id {
			return p
		}
	}
	return nil
}

// leadership is who leads in which term.
type leadership struct {
	server raft.ServerID
	term   raft.Term
}

// leader waits for a server, other than not, that says it leads in a term of at least termMin.
func (c *demoCluster) leader(ctx context.Context, termMin raft.Term, not *demoProcess) (leadership, error) {
	var found leadership
	err := poll(ctx, func() bool {
		for _, p := range c.processes {
			if p == not {
				continue
			}
			if g, err := p.group(ctx); err == nil && g.Role == raft.RoleLeader.String() && g.Term >= termMin {
				found = leadership{server: p.member.ID, term: g.Term}
				return true
			}
		}
		return false
	})
	return found, err
}

// caughtUp waits until a server has applied what the others had committed when it was asked.
func (c *demoCluster) caughtUp(ctx context.Context, p *demoProcess) error {
	return poll(ctx, func() bool {
		leader, err := c.leader(ctx, 0, p)
		if err != nil {
			return false
		}
		at, err := c.process(leader.server).group(ctx)
		if err != nil {
			return false
		}
		// Writes go on meanwhile, so what counts is that it comes to where the leader stood a moment ago.
		for range 10 {
			g, err := p.group(ctx)
			if err == nil && g.Applied >= at.Commit {
				return true
			}
			if !pause(ctx, 20*time.Millisecond) {
				return false
			}
		}
		return false
	})
}

// serverState is what one server holds.
type serverState struct {
	server  raft.ServerID
	applied raft.Index
	keys    int
	hash    uint64
}

// states waits until all servers have applied equally much, and asks each for the hash of what it has.
func (c *demoCluster) states(ctx context.Context) ([]serverState, error) {
	var states []serverState
	err := poll(ctx, func() bool {
		states = states[:0]
		for _, p := range c.processes {
			before, err := p.group(ctx)
			if err != nil {
				return false
			}
			result, err := p.look.QueryLocal(ctx, kv.HashOf())
			if err != nil {
				return false
			}
			hash, keys, err := kv.DecodeHash(result)
			after, err2 := p.group(ctx)
			if errors.Join(err, err2) != nil || before.Applied != after.Applied || after.Applied != after.Commit {
				return false
			}
			states = append(states, serverState{server: p.member.ID, applied: after.Applied, keys: keys, hash: hash})
		}
		for _, s := range states {
			if s.applied != states[0].applied {
				return false
			}
		}
		return true
	})
	return states, err
}

// poll asks again and again until ok, or until ctx ends.
func poll(ctx context.Context, ok func() bool) error {
	for !ok() {
		if !pause(ctx, 10*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// freePorts finds n ports in a row that nobody listens on, below those from which systems draw the ports of outgoing
// connections: one of these could take a server's port while the server is down. Another process may still take one before
// they are used; then a server says so and the demo ends.
func freePorts(n int) (first int, err error) {
	const low, high = 10_000, 30_000
	for range 50 {
		first = low + rand.IntN(high-low-n)
		held, taken := listenInRow(first, n)
		for _, h := range held {
			if err := h.Close(); err != nil {
				return 0, err
			}
		}
		if taken == nil {
			return first, nil
		}
		err = taken
	}
	return 0, fmt.Errorf("no %d free ports in a row on 127.0.0.1: %w", n, err)
}

func listenInRow(first, n int) (held []net.Listener, err error) {
	for port := first; port < first+n; port++ {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return held, err
		}
		held = append(held, l)
	}
	return held, nil
}
