package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// patience is how long a test waits for what should happen soon; it is spent only by a test that fails.
const patience = 2 * time.Minute

// calm makes servers so patient that a machine which stands still for a moment brings about no election: for a test that says who leads,
// or in which term.
func calm(c *config.Config) {
	c.Timing.ElectionTimeoutMin, c.Timing.ElectionTimeoutMax = 3*time.Second, 4*time.Second
}

// testCluster is a config, its data directories, and the `oarlock node` processes that run on them.
type testCluster struct {
	t     *testing.T
	conf  *config.Config
	path  string
	nodes map[raft.ServerID]*testNode
}

// testNode is one `oarlock node` process.
type testNode struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    *logBuffer
	exited chan struct{}
}

// logBuffer is what a process has written so far.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// portsGiven are the ports of this process's clusters: one that is down must not lose its port to another.
var portsGiven = struct {
	sync.Mutex
	taken map[int]bool
}{taken: make(map[int]bool)}

func testPorts(t *testing.T, n int) int {
	t.Helper()
	portsGiven.Lock()
	defer portsGiven.Unlock()
	for {
		first, err := freePorts(n)
		require.NoError(t, err)
		ok := true
		for p := first; p < first+n; p++ {
			ok = ok && !portsGiven.taken[p]
		}
		for p := first; p < first+n && ok; p++ {
			portsGiven.taken[p] = true
		}
		if ok {
			return first
		}
	}
}

// newTestCluster writes a config of n members with small logs and some patience, changed by the edits, and formats nothing.
func newTestCluster(t *testing.T, n int, edits ...func(*config.Config)) *testCluster {
	t.Helper()
	conf, err := config.Generate(n, "data", testPorts(t, n))
	require.NoError(t, err)
	conf.Log.MemtableBytes = 1 << 20 // and so no test prepares more than that of a write-ahead log
	// Many servers share a small machine here, each of which would take the others' turns for silence.
	conf.Timing.ElectionTimeoutMin, conf.Timing.ElectionTimeoutMax = time.Second, 1500*time.Millisecond
	for _, edit := range edits {
		edit(conf)
	}
	c := &testCluster{t: t, conf: conf, path: filepath.Join(t.TempDir(), "cluster.toml"), nodes: make(map[raft.ServerID]*testNode)}
	require.NoError(t, conf.Write(c.path))
	t.Cleanup(c.stop)
	return c
}

// startedCluster is newTestCluster, formatted, started and with a leader.
func startedCluster(t *testing.T, n int, edits ...func(*config.Config)) *testCluster {
	t.Helper()
	c := newTestCluster(t, n, edits...)
	oarlock(t, "init", c.path).succeeds(t)
	for _, m := range c.conf.Members {
		c.start(m.ID)
	}
	c.leader()
	return c
}

func (c *testCluster) stop() {
	for _, n := range c.nodes {
		n.kill()
	}
	if c.t.Failed() {
		for id, n := range c.nodes {
			c.t.Logf("log of server %d:\n%s", id, n.log)
		}
	}
}

// start runs a member as a process.
func (c *testCluster) start(id raft.ServerID) *testNode {
	c.t.Helper()
	return c.startBy(id, exec.Command(binary, "node", c.path, strconv.FormatUint(uint64(id), 10)))
}

// startBy runs a member by a command that becomes its `oarlock node`.
func (c *testCluster) startBy(id raft.ServerID, cmd *exec.Cmd) *testNode {
	c.t.Helper()
	if old := c.nodes[id]; old != nil {
		old.kill()
	}
	n := &testNode{t: c.t, cmd: cmd, log: new(logBuffer), exited: make(chan struct{})}
	cmd.Env, cmd.Stdout, cmd.Stderr = environment(), n.log, n.log
	require.NoError(c.t, cmd.Start())
	go func() {
		_ = cmd.Wait() // how it ended stands in its state
		close(n.exited)
	}()
	c.nodes[id] = n
	return n
}

// kill sends SIGKILL and waits for the end. It may have ended already.
func (n *testNode) kill() {
	_ = n.cmd.Process.Kill()
	<-n.exited
}

// terminate sends SIGTERM and returns the exit code.
func (n *testNode) terminate() int {
	n.t.Helper()
	require.NoError(n.t, n.cmd.Process.Signal(syscall.SIGTERM))
	return n.exitCode()
}

// exitCode waits for the process to end by itself.
func (n *testNode) exitCode() int {
	n.t.Helper()
	select {
	case <-n.exited:
	case <-time.After(patience):
		require.Fail(n.t, "the node still runs", "%s", n.log)
	}
	return n.cmd.ProcessState.ExitCode()
}

// says waits until the process has written these words.
func (n *testNode) says(words string) {
	n.t.Helper()
	eventually(n.t, "the server's log says: "+words, func() error {
		if !strings.Contains(n.log.String(), words) {
			return fmt.Errorf("it says:\n%s", n.log)
		}
		return nil
	})
}

// eventually waits until ok returns no error.
func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last error
	if err := poll(ctx, func() bool { last = ok(); return last == nil }); err != nil {
		require.Fail(t, "it did not happen: "+what, "%v", last)
	}
}

func (c *testCluster) member(id raft.ServerID) config.Member {
	c.t.Helper()
	m, err := c.conf.Member(id)
	require.NoError(c.t, err)
	return m
}

// dataDir is where a member's data is.
func (c *testCluster) dataDir(id raft.ServerID) string { return c.conf.DataDir(c.member(id)) }

// status asks one server what it knows.
func (c *testCluster) status(id raft.ServerID) (client.Status, error) {
	return askStatus(c.conf, c.member(id), patience/4)
}

// group asks one server what it knows of the group.
func (c *testCluster) group(id raft.ServerID) (client.GroupStatus, error) {
	status, err := c.status(id)
	if err != nil {
		return client.GroupStatus{}, err
	}
	for _, g := range status.Groups {
		if g.Group == raft.DefaultGroup {
			return g, nil
		}
	}
	return client.GroupStatus{}, errors.New("it has no such group")
}

// leader waits for one and returns who it is.
func (c *testCluster) leader() (leader raft.ServerID) {
	c.t.Helper()
	eventually(c.t, "a server leads", func() error {
		var all error
		for _, m := range c.conf.Members {
			g, err := c.group(m.ID)
			if err == nil && g.Role == raft.RoleLeader.String() {
				leader = m.ID
				return nil
			}
			all = errors.Join(all, fmt.Errorf("server %d: %s %w", m.ID, g.Role, err))
		}
		return all
	})
	return leader
}

// followers are the members that do not lead.
func (c *testCluster) followers() (all []raft.ServerID) {
	leader := c.leader()
	for _, m := range c.conf.Members {
		if m.ID != leader {
			all = append(all, m.ID)
		}
	}
	return all
}

// caughtUp waits until a server has applied what another has committed.
func (c *testCluster) caughtUp(id, like raft.ServerID) {
	c.t.Helper()
	want, err := c.group(like)
	require.NoError(c.t, err)
	eventually(c.t, fmt.Sprintf("server %d has caught up with server %d", id, like), func() error {
		g, err := c.group(id)
		if err == nil && g.Applied < want.Commit {
			err = fmt.Errorf("applied %d of %d", g.Applied, want.Commit)
		}
		return err
	})
}

// connect makes a client of all members.
func (c *testCluster) connect(edits ...func(*client.Options)) *client.Client {
	c.t.Helper()
	o := client.Options{Addresses: c.conf.ClientAddresses(), Cluster: c.conf.Cluster}
	for _, edit := range edits {
		edit(&o)
	}
	cl, err := client.New(o)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { require.NoError(c.t, cl.Close()) })
	return cl
}

// onlyAt makes a client that talks to one member alone.
func onlyAt(m config.Member) func(*client.Options) {
	return func(o *client.Options) {
		o.Addresses, o.Servers, o.Sessionless = nil, []string{m.Address}, true
	}
}

// promise is what was acknowledged: keys and their values.
type promise map[string]string

// write has keys acknowledged, of a value that is filled up to size bytes, and adds them to what was promised.
func (c *testCluster) write(cl *client.Client, p promise, prefix string, keys, size int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for i := range keys {
		key := fmt.Sprintf("%s/%d", prefix, i)
		value := fmt.Sprintf("%s is %d of %d ", key, i, keys)
		value += strings.Repeat("x", max(0, size-len(value)))
		_, err := cl.Propose(ctx, kv.Put([]byte(key), []byte(value)))
		require.NoError(c.t, err)
		p[key] = value
	}
}

// kept checks that all that was acknowledged is there.
func (c *testCluster) kept(cl *client.Client, p promise) {
	c.t.Helper()
	require.NotEmpty(c.t, p)
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for key, want := range p {
		result, err := cl.Query(ctx, kv.Get([]byte(key)))
		require.NoError(c.t, err, key)
		value, found, err := kv.DecodeGet(result)
		require.NoError(c.t, err, key)
		require.True(c.t, found, "%s is lost", key)
		require.Equal(c.t, want, string(value))
	}
}

// notes returns what `oarlock status` says in its last column, by server, with its exit code.
func (c *testCluster) notes() (notes map[string]string, code int) {
	c.t.Helper()
	e := oarlock(c.t, "status", c.path, "--timeout", "30s")
	lines := strings.Split(strings.TrimSpace(e.out), "\n")
	require.Len(c.t, lines, 1+len(c.conf.Members), "%s%s", e.out, e.errors)
	column := strings.Index(lines[0], "NOTE")
	require.Positive(c.t, column, e.out)
	notes = make(map[string]string)
	for _, l := range lines[1:] {
		id, _, _ := strings.Cut(l, " ")
		notes[id] = strings.TrimSpace(l[min(column, len(l)):])
	}
	return notes, e.code
}

// wipe replaces a member's disk by an empty one and formats it, as a program might that knows no better. `oarlock init` refuses to.
func (c *testCluster) wipe(id raft.ServerID) {
	c.t.Helper()
	require.NoError(c.t, os.RemoveAll(c.dataDir(id)))
	require.NoError(c.t, c.conf.Format(id))
}

// flip changes one bit of a file.
func flip(t *testing.T, path string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, offset)
	require.NoError(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b, offset)
	require.NoError(t, err)
}
