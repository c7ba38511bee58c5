package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
)

// oftenSnapshots makes servers take a snapshot after little log and keep little behind it.
func oftenSnapshots(c *config.Config) {
	c.Snapshots.LogBytes, c.Snapshots.KeepBytes = 128<<10, 128<<10
}

// snapshots returns a member's snapshot files, oldest first.
func (c *testCluster) snapshots(id raft.ServerID) []string {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dataDir(id), "snapshots", "*", "*.snapshot"))
	require.NoError(c.t, err)
	slices.Sort(files) // their names begin with the index
	return files
}

// writeSnapshots writes until a member keeps two snapshots and has compacted its log, and then some log behind them.
func (c *testCluster) writeSnapshots(p promise, id raft.ServerID) {
	c.t.Helper()
	cl := c.connect()
	for i := 0; len(c.snapshots(id)) < 2; i++ {
		require.Less(c.t, i, 100, "no snapshot is taken")
		c.write(cl, p, fmt.Sprintf("snapshots/%d", i), 5, 20<<10)
	}
	eventually(c.t, "the log is compacted", func() error {
		g, err := c.group(id)
		if err == nil && g.First == 1 {
			err = fmt.Errorf("it begins at %d", g.First)
		}
		return err
	})
	// What is compacted is gone from the disk with the next save.
	c.write(cl, p, "tail", 2, 100)
	c.caughtUp(id, c.leader())
	c.write(cl, p, "end", 2, 100)
	c.caughtUp(id, c.leader())
}

// flipMiddle changes one bit in the middle of a file.
func flipMiddle(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	flip(t, path, info.Size()/2)
}

func TestFlippedBitInTheNewestSnapshotFallsBackToTheOlderOneAndTheLog(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 1, oftenSnapshots)
	p := promise{}
	c.writeSnapshots(p, 1)
	c.nodes[1].kill()
	kept := c.snapshots(1)
	flipMiddle(t, kept[len(kept)-1])
	n := c.start(1)
	c.kept(c.connect(), p)
	n.says("an older snapshot, at ")
	n.says("serves instead: snapshot is unusable")
	require.Contains(t, n.log.String(), filepath.Base(kept[len(kept)-1]))
}

func TestLoneServerWithoutASoundSnapshotStopsWithItsReason(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 1, oftenSnapshots)
	p := promise{}
	c.writeSnapshots(p, 1)
	c.nodes[1].kill()
	kept := c.snapshots(1)
	sound, err := os.ReadFile(kept[len(kept)-1])
	require.NoError(t, err)
	for _, path := range kept {
		flipMiddle(t, path)
	}
	e := oarlock(t, "node", c.path, "1")
	require.Equal(t, exitStorage, e.code, "%s", e.errors)
	for _, words := range []string{
		"oarlock: server 1 stopped itself", "cannot be read, and the log begins at", filepath.Base(kept[len(kept)-1]),
		"persistentlog: damaged", "the group's only voter: put the snapshot's file back from a copy",
	} {
		require.Contains(t, e.errors, words)
	}
	// The way out is one.
	require.NoError(t, os.WriteFile(kept[len(kept)-1], sound, 0o600))
	c.start(1)
	c.kept(c.connect(), p)
}

func TestServerWithoutASoundSnapshotFetchesTheLeaders(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3, oftenSnapshots)
	p := promise{}
	victim := c.followers()[0]
	c.writeSnapshots(p, victim)
	for _, m := range c.conf.Members {
		c.nodes[m.ID].kill()
	}
	for _, path := range c.snapshots(victim) {
		flipMiddle(t, path)
	}
	n := c.start(victim)
	n.says("cannot be read, and the log begins at")
	eventually(t, "the status says so too", func() error {
		if e := oarlock(t, "status", c.path); !strings.Contains(e.out, "waits for the leader's snapshot: snapshot at ") {
			return errors.New(e.out)
		}
		return nil
	})
	for _, m := range c.conf.Members {
		if m.ID != victim {
			c.start(m.ID)
		}
	}
	n.says("msg=installed")
	c.caughtUp(victim, c.leader())
	c.sameStates()
	cl := c.connect()
	c.write(cl, p, "after", 5, 100)
	c.kept(cl, p)
}

// sameStates waits until all servers hold the same, and checks that they do.
func (c *testCluster) sameStates() {
	c.t.Helper()
	d := demoCluster{}
	for _, m := range c.conf.Members {
		d.processes = append(d.processes, &demoProcess{member: m, look: c.connect(onlyAt(m))})
	}
	states, err := d.states(c.t.Context())
	require.NoError(c.t, err)
	for _, s := range states {
		require.Equal(c.t, states[0].hash, s.hash, "servers %d and %d differ", states[0].server, s.server)
	}
}

// logFile returns a member's longest write-ahead log.
func (c *testCluster) logFile(id raft.ServerID) (path string) {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dataDir(id), "log", "pebble", "*.log"))
	require.NoError(c.t, err)
	longest := int64(-1)
	for _, f := range files {
		info, err := os.Stat(f)
		require.NoError(c.t, err)
		if info.Size() > longest {
			path, longest = f, info.Size()
		}
	}
	require.NotEmpty(c.t, path)
	return path
}

func TestLogDamagedInTheMiddleIsRefusedWithCodeThreeAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3)
	cl := c.connect()
	p := promise{}
	c.write(cl, p, "before", 100, 500)
	victim := c.leader()
	c.nodes[victim].kill()
	c.write(cl, p, "without", 20, 100)
	flip(t, c.logFile(victim), 20_000)
	before := tree(t, c.dataDir(victim))
	e := oarlock(t, "node", c.path, fmt.Sprint(victim))
	e.fails(t, exitStorage, "persistentlog: damaged: "+c.logFile(victim), "does not read at offset", "a record that was saved later",
		"keep the directory for inspection", "replace this server")
	require.Equal(t, before, tree(t, c.dataDir(victim)), "a refusal changes nothing")
	c.write(cl, p, "after", 20, 100)
	c.kept(cl, p)
}

func TestTornEndOfTheLogIsNoDamage(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3)
	cl := c.connect()
	p := promise{}
	c.write(cl, p, "before", 50, 500)
	victim := c.followers()[0]
	c.nodes[victim].kill()
	path := c.logFile(victim)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.Write(noise(5, 300)) // what a write that was under way may leave
	require.NoError(t, err)
	require.NoError(t, f.Close())
	c.write(cl, p, "without", 20, 100)
	c.start(victim)
	c.caughtUp(victim, c.leader())
	c.sameStates()
	c.kept(cl, p)
}

// A limit on the size of a file makes every write beyond it fail, as a full or broken disk does, on any system and without
// any privilege.
func TestFailingDiskStopsOneServerAndLosesNothing(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	oarlock(t, "init", c.path).succeeds(t)
	c.start(2)
	c.start(3)
	c.failing(exec.Command("sh", "-c", `ulimit -f 800 && exec "$0" node "$1" 1`, binary, c.path), "file too large")
}

func TestFullDiskStopsOneServerAndLosesNothing(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	script := inNamespace(t, `mount -t tmpfs -o size=6m tmpfs "$0" && exec "$1" node --init "$2" 1`)
	oarlock(t, "init", c.path).succeeds(t)
	require.NoError(t, os.RemoveAll(c.dataDir(1))) // its own is made on the small disk
	require.NoError(t, os.Mkdir(c.dataDir(1), 0o700))
	c.start(2)
	c.start(3)
	c.failing(exec.Command(script[0], append(script[1:], c.dataDir(1), binary, c.path)...), "no space left on device")
	require.Empty(t, tree(t, c.dataDir(1)), "the small disk has gone with its process")
}

// failing runs server 1 by a command that gives it a disk which will fail, and writes until it has.
func (c *testCluster) failing(cmd *exec.Cmd, says string) {
	t := c.t
	n := c.startBy(1, cmd)
	c.leader()
	c.caughtUp(1, c.leader())
	cl := c.connect()
	p := promise{}
	began := time.Now()
	for i := 0; ; i++ {
		c.write(cl, p, fmt.Sprintf("filling/%d", i), 5, 20<<10)
		select {
		case <-n.exited:
		default:
			require.Less(t, time.Since(began), patience, "the disk does not fail")
			continue
		}
		break
	}
	require.Equal(t, exitStorage, n.exitCode(), "%s", n.log)
	log := n.log.String()
	for _, words := range []string{"oarlock: server 1 stopped itself", "fenced after a failed write", says, c.dataDir(1), "look at the disk, then start the server again"} {
		require.Contains(t, log, words)
	}
	c.write(cl, p, "after", 20, 100)
	c.kept(cl, p)
	notes, code := c.notes()
	require.Zero(t, code)
	require.Contains(t, notes["1"], "connection refused")
	if says != "file too large" {
		return
	}
	// The disk is mended: what stands on it is sound, and it catches up.
	c.start(1)
	c.caughtUp(1, c.leader())
	c.sameStates()
	c.kept(cl, p)
}
