package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// strangerNote is how a server that came back with another disk is spoken of, in its status and in its own log.
func strangerNote(id raft.ServerID) string {
	return fmt.Sprintf("says: stranger: server %d is bound to another store; an old copy must not be put back; replacement is a membership change", id)
}

func TestServerThatLostItsDiskIsAStrangerAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3, calm)
	cl := c.connect()
	p := promise{}
	c.write(cl, p, "before", 50, 100)
	victim := c.leader()
	c.nodes[victim].kill()
	c.write(cl, p, "without", 20, 100)
	c.wipe(victim)
	n := c.start(victim)
	n.says(strangerNote(victim))
	eventually(t, "status says so too", func() error {
		notes, code := c.notes()
		require.Zero(t, code, "the others have a leader")
		if note := notes[fmt.Sprint(victim)]; !contains(note, "not born yet, waiting for servers", strangerNote(victim)) {
			return fmt.Errorf("it says %q", note)
		}
		return nil
	})
	c.write(cl, p, "beside", 50, 100)
	c.kept(cl, p)
	// It stays out: it knows nothing, holds nothing, and its wish to be born disturbs nobody.
	before, err := c.group(c.leader())
	require.NoError(t, err)
	neverFor(t, 3*c.conf.Timing.ElectionTimeoutMax, func() string {
		g, err := c.group(victim)
		if err != nil || g.Born || g.Term != 0 || g.Next > 1 || g.Role != raft.RoleFollower.String() {
			return fmt.Sprintf("server %d: %+v, %v", victim, g, err)
		}
		return ""
	})
	after, err := c.group(c.leader())
	require.NoError(t, err)
	require.Equal(t, before.Term, after.Term, "the stranger has caused an election")
	c.kept(cl, p)
}

func contains(text string, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func TestMajorityThatLostItsDisksElectsNoSecondHistory(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3)
	p := promise{}
	c.write(c.connect(), p, "k", 50, 100)
	// That the newest entries are committed a server notes with the next ones; alone it could not find it out again.
	c.write(c.connect(), promise{}, "more", 5, 100)
	survivor := c.followers()[0]
	c.caughtUp(survivor, c.leader())
	before, err := c.group(survivor)
	require.NoError(t, err)
	lost := make([]raft.ServerID, 0, 2)
	for id, n := range c.nodes {
		n.kill()
		if id != survivor {
			lost = append(lost, id)
		}
	}
	files := tree(t, c.dataDir(survivor))
	for _, id := range lost {
		c.wipe(id)
		c.start(id)
	}

	// While the third is down the two know each other, and wait for it.
	waiting := fmt.Sprintf("not born yet, waiting for servers [%d]", survivor)
	eventually(t, "both wait for the third", func() error {
		notes, code := c.notes()
		if code != exitFailed || notes[fmt.Sprint(lost[0])] != waiting || notes[fmt.Sprint(lost[1])] != waiting {
			return fmt.Errorf("exit code %d, notes %q", code, notes)
		}
		return nil
	})
	c.neverLed(4 * c.conf.Timing.ElectionTimeoutMax)
	oarlock(t, "kv", "-c", c.path, "--timeout", "5s", "put", "second", "history").fails(t, exitFailed, "given up",
		fmt.Sprintf("not born yet: group 1 waits for its founders [%d]", survivor))
	require.Equal(t, files, tree(t, c.dataDir(survivor)), "the third's data")

	// With the third there is a history and no majority that has it.
	c.start(survivor)
	for _, id := range lost {
		c.nodes[id].says(strangerNote(id))
	}
	c.neverLed(4 * c.conf.Timing.ElectionTimeoutMax)
	notes, code := c.notes()
	require.Equal(t, exitFailed, code)
	require.Equal(t, "knows no leader", notes[fmt.Sprint(survivor)])
	for _, id := range lost {
		require.Contains(t, notes[fmt.Sprint(id)], fmt.Sprintf("server %d %s", survivor, strangerNote(id)))
	}
	e := oarlock(t, "status", c.path)
	e.fails(t, exitFailed, "no member of "+c.path+" knows a leader: nothing can be written")
	oarlock(t, "kv", "-c", c.path, "--timeout", "5s", "put", "second", "history").fails(t, exitFailed, "given up")

	// Everything that was ever acknowledged is still on the third.
	after, err := c.group(survivor)
	require.NoError(t, err)
	require.Equal(t, before.First, after.First)
	require.GreaterOrEqual(t, after.Next, before.Next) // a leader that was elected before all were killed began its term with an entry
	alone := c.connect(onlyAt(c.member(survivor)))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for key, want := range p {
		result, err := alone.QueryLocal(ctx, kv.Get([]byte(key)))
		require.NoError(t, err)
		value, _, err := kv.DecodeGet(result)
		require.NoError(t, err)
		require.Equal(t, want, string(value), key)
	}
}

// neverLed watches for a while that nobody leads and nobody believes in a leader.
func (c *testCluster) neverLed(d time.Duration) {
	c.t.Helper()
	neverFor(c.t, d, func() string {
		for _, m := range c.conf.Members {
			g, err := c.group(m.ID)
			if err == nil && (g.Leader != 0 || g.Role == raft.RoleLeader.String()) {
				return fmt.Sprintf("server %d: %+v", m.ID, g)
			}
		}
		return ""
	})
}

// neverFor watches for a while that something does not happen.
func neverFor(t *testing.T, d time.Duration, happened func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for pause(ctx, 20*time.Millisecond) {
		require.Empty(t, happened())
	}
}

// An old copy of a directory has the store's identity, so that nothing but what the others heard from it can betray it.
func TestOldCopyPutBackIsRefusedWhenItLacksWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3)
	cl := c.connect()
	p := promise{}
	c.write(cl, p, "old", 20, 100)
	victim := c.followers()[0]
	c.caughtUp(victim, c.leader())
	code := c.nodes[victim].terminate()
	require.Zero(t, code)
	copied := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(copied, os.DirFS(c.dataDir(victim))))
	c.start(victim)
	c.write(cl, p, "new", 20, 100)
	c.caughtUp(victim, c.leader())
	// What it has applied its leader may not have heard of yet; when it has more, the leader has heard of that.
	c.write(cl, p, "newer", 20, 100)
	c.caughtUp(victim, c.leader())
	c.nodes[victim].kill()
	require.NoError(t, os.RemoveAll(c.dataDir(victim)))
	require.NoError(t, os.CopyFS(c.dataDir(victim), os.DirFS(copied)))
	require.NoError(t, os.Chmod(c.dataDir(victim), 0o700))
	n := c.start(victim)
	// An append is what shows where its log ends.
	c.write(cl, p, "after", 20, 100)
	n.says(fmt.Sprintf("the log of server %d ends below what it acknowledged: this store has lost data; to replace it, stop the server, move its data directory away", victim))
	c.write(cl, p, "beside", 20, 100)
	c.kept(cl, p)
	g, err := c.group(victim)
	require.NoError(t, err)
	require.Less(t, g.Next, raft.Index(len(p)), "it was given what it had lost, as if nothing had been")

	// The leader that found it out is gone, and so is the process that was told. The store knows.
	c.nodes[victim].kill()
	n = c.start(victim)
	n.says("it was told before its last start, or its own log says so: the log of server")
	leader := c.leader()
	c.nodes[leader].kill()
	neverFor(t, 4*c.conf.Timing.ElectionTimeoutMax, func() string {
		for _, m := range c.conf.Members {
			if g, err := c.group(m.ID); err == nil && g.Role == raft.RoleLeader.String() {
				return fmt.Sprintf("server %d leads, and has the word of server %d alone", m.ID, victim)
			}
		}
		return ""
	})
	c.start(leader)
	require.NotEqual(t, victim, c.leader())
	c.kept(cl, p)
}
