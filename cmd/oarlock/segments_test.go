package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
)

// onSegments makes servers keep their logs in segments.
func onSegments(c *config.Config) {
	c.Log.Kind, c.Log.SegmentBytes = config.LogSegments, 1<<20
}

// segment returns a member's newest segment and where it is written up to: behind that it is zeros.
func (c *testCluster) segment(id raft.ServerID) (path string, used int64) {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dataDir(id), "log", "segments", "*.segment"))
	require.NoError(c.t, err)
	require.NotEmpty(c.t, files)
	path = slices.Max(files)
	content, err := os.ReadFile(path)
	require.NoError(c.t, err)
	return path, int64(len(bytes.TrimRight(content, "\x00")))
}

func TestSegmentsSurviveKillsAndSnapshots(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3, onSegments, oftenSnapshots)
	p := promise{}
	victim := c.leader()
	c.writeSnapshots(p, victim)
	for range 3 {
		c.nodes[victim].kill()
		c.write(c.connect(), p, fmt.Sprintf("without %d", victim), 20, 20<<10)
		c.start(victim)
		c.caughtUp(victim, c.leader())
		victim = victim%3 + 1
	}
	c.sameStates()
	c.kept(c.connect(), p)
}

func TestDamagedSegmentsAreRefusedAndTornOnesAreNot(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3, onSegments)
	cl := c.connect()
	p := promise{}
	c.write(cl, p, "before", 100, 500)
	victim := c.followers()[0]
	c.caughtUp(victim, c.leader())
	c.nodes[victim].kill()
	path, used := c.segment(victim)
	sound, err := os.ReadFile(path)
	require.NoError(t, err)

	flip(t, path, used/2)
	before := tree(t, c.dataDir(victim))
	e := oarlock(t, "node", c.path, fmt.Sprint(victim))
	e.fails(t, exitStorage, "persistentlog: damaged: "+path, "no batch reads, and one that was saved later begins at", "replace this server")
	require.Equal(t, before, tree(t, c.dataDir(victim)), "a refusal changes nothing")

	// The end is gone, and no record of the log can say that it was there. The witness can: the server runs, and counts for nothing.
	witness := filepath.Join(c.dataDir(victim), "log", "witness")
	knows, err := os.ReadFile(witness)
	require.NoError(t, err)
	lost := bytes.Clone(sound)
	clear(lost[used-200:])
	require.NoError(t, os.WriteFile(path, lost, 0o600))
	for range 2 { // and says so at each start
		n := c.start(victim)
		n.says("acknowledged saves are missing at the log's end")
		n.says("may neither vote nor acknowledge")
		eventually(t, "the status says so too", func() error {
			if notes, code := c.notes(); code != 0 || !strings.Contains(notes[fmt.Sprint(victim)], "this store has lost data; to replace it, stop the server, move its data directory away") {
				return fmt.Errorf("exit code %d, notes %q", code, notes)
			}
			return nil
		})
		c.write(cl, p, "without", 5, 100)
		n.kill()
	}
	require.NoError(t, os.WriteFile(witness, knows, 0o600))

	torn := bytes.Clone(sound)
	copy(torn[(used+64)/8*8:], noise(5, 300)) // what a write that was under way may leave
	require.NoError(t, os.WriteFile(path, torn, 0o600))
	c.start(victim)
	c.caughtUp(victim, c.leader())
	c.write(cl, p, "after", 20, 100)
	c.sameStates()
	c.kept(cl, p)
}

func TestFailingDiskUnderSegmentsStopsOneServerAndLosesNothing(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, onSegments)
	oarlock(t, "init", c.path).succeeds(t)
	c.start(2)
	c.start(3)
	c.failing(exec.Command("sh", "-c", `ulimit -f 800 && exec "$0" node "$1" 1`, binary, c.path), "file too large")
}
