package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

// losesItsEnd has one follower's log lose its end, and its store know it; it runs.
func (c *testCluster) losesItsEnd(id raft.ServerID) {
	c.t.Helper()
	cl := c.connect()
	c.caughtUp(id, c.leader())
	code := c.nodes[id].terminate()
	require.Zero(c.t, code)
	copied := filepath.Join(c.t.TempDir(), "copy")
	require.NoError(c.t, os.CopyFS(copied, os.DirFS(c.dataDir(id))))
	c.start(id)
	for range 2 { // what it has applied its leader may not have heard of yet; when it has more, the leader has heard of that
		c.write(cl, promise{}, "later", 20, 100)
		c.caughtUp(id, c.leader())
	}
	c.nodes[id].kill()
	require.NoError(c.t, os.RemoveAll(c.dataDir(id)))
	require.NoError(c.t, os.CopyFS(c.dataDir(id), os.DirFS(copied)))
	require.NoError(c.t, os.Chmod(c.dataDir(id), 0o700))
	n := c.start(id)
	c.write(cl, promise{}, "last", 20, 100)
	n.says("this store has lost data; to replace it, stop the server, move its data directory away, `oarlock join`, start it, and `oarlock member replace`")
}

func TestStoreThatHasLostDataIsNeitherAddedNorPutInItsOwnPlace(t *testing.T) {
	c := startedCluster(t, 3, calm)
	lost := c.followers()[0]
	c.losesItsEnd(lost)
	eventually(t, "its status says so", func() error {
		if notes, _ := c.notes(); !contains(notes[word(lost)], "this store has lost data; to replace it, stop the server") {
			return fmt.Errorf("notes: %v", notes)
		}
		return nil
	})
	before := c.table()
	words := []string{fmt.Sprintf("server %d runs on the very store that is to be replaced", lost), "has lost data", "nothing was changed", "move its data directory away", "oarlock join"}
	oarlock(t, "member", "replace", c.path, word(lost)).fails(t, exitFailed, words...)
	oarlock(t, "member", "plan", c.path, "replace", word(lost)).fails(t, exitFailed, words...)
	require.Equal(t, before.Members[lost-1].Store, c.table().Members[lost-1].Store)
	oarlock(t, "member", "remove", c.path, word(lost)).succeeds(t)
	oarlock(t, "member", "add", c.path, word(lost)).fails(t, exitFailed, "a store that has lost data and counts for nothing", "oarlock join")

	// What they say helps.
	c.nodes[lost].kill()
	require.NoError(t, os.Rename(c.dataDir(lost), filepath.Join(t.TempDir(), "away")))
	oarlock(t, "join", c.path, word(lost)).succeeds(t)
	c.start(lost)
	c.answers(lost)
	oarlock(t, "member", "add", c.path, word(lost)).succeeds(t)
	require.Equal(t, voters(1, 2, 3), c.roles())
}
