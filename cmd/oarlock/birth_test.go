package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

func TestInitOfAFounderIsRefusedWhileAnotherServerKnowsThatTheClusterHasRun(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3)
	lost := c.followers()[0]
	store := c.asMember(lost).Store
	c.nodes[lost].kill()
	require.NoError(t, os.RemoveAll(c.dataDir(lost)))
	way := []string{
		"answers at", "the cluster has run, and knows server " + word(lost) + " with the store " + store.String(), "nothing was changed",
		fmt.Sprintf("`oarlock join %s %d`", c.path, lost), fmt.Sprintf("`oarlock member replace %s %d`", c.path, lost),
	}
	for _, args := range [][]string{
		{"init", c.path, "--member", word(lost)},
		{"init", c.path, "--member", word(lost), "--force"},
		{"node", c.path, word(lost), "--init"},
		{"cluster", c.path, "3", "--init"},
	} {
		oarlock(t, args...).fails(t, exitFailed, way...)
		require.NoDirExists(t, c.dataDir(lost))
	}
	// When nobody answers nobody knows, and it would be a stranger.
	for _, n := range c.nodes {
		n.kill()
	}
	oarlock(t, "init", c.path, "--member", word(lost)).succeeds(t)
}

func TestFileWithServersThatWereAddedIsNoneToBeginWith(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 1)
	oarlock(t, "init", c.path).succeeds(t)
	oarlock(t, "join", c.path, "2", "--address", anAddress(t)).succeeds(t)
	c.reload()
	for _, id := range []raft.ServerID{1, 2} {
		require.NoError(t, os.RemoveAll(c.dataDir(id)))
		join := fmt.Sprintf("`oarlock join %s %d`", c.path, id)
		oarlock(t, "init", c.path, "--member", word(id)).fails(t, exitFailed, "founder = false", join, "nothing was changed")
		oarlock(t, "node", c.path, word(id), "--init").fails(t, exitFailed, "founder = false", join)
		require.NoDirExists(t, c.dataDir(id))
		e := oarlock(t, "node", c.path, word(id))
		e.fails(t, exitUsage, "not formatted: "+c.dataDir(id), join, fmt.Sprintf("`oarlock member replace %s %d`", c.path, id))
		require.NotContains(t, e.errors, "init")
	}
	oarlock(t, "init", c.path, "--member", "1", "--force").succeeds(t)
}

func TestNodeWhoseJoinWasInterruptedIsToldToRepeatIt(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	require.NoError(t, os.MkdirAll(c.dataDir(2), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(c.dataDir(2), "joined"), nil, 0o600))
	e := oarlock(t, "node", c.path, "2")
	e.fails(t, exitUsage, "not formatted: "+c.dataDir(2), "a join was interrupted here: repeat it, `oarlock join "+c.path+" 2`")
	require.NotContains(t, e.errors, "init")
}

func TestFoundersAreFormattedOneByOneWhileOthersWaitForThem(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	for _, m := range c.conf.Members {
		oarlock(t, "init", c.path, "--member", word(m.ID)).succeeds(t)
		c.start(m.ID)
		c.answers(m.ID)
	}
	c.leader()
}
