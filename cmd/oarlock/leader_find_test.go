package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

// Any server answers a question, by asking the leader. How the others are doing only the leader knows, so the list asks that one, each time.
func TestMemberListIsTheLeadersView(t *testing.T) {
	c := startedCluster(t, 3, calm)
	c.write(c.connect(), promise{}, "k", 5, 100)
	leader := c.leader()
	eventually(t, "the leader has heard of all", func() error {
		return c.lists(leader)
	})
	for range 10 {
		require.NoError(t, c.lists(leader))
	}
}

// lists looks for the leader's view in what `member list` prints.
func (c *testCluster) lists(leader raft.ServerID) error {
	c.t.Helper()
	table := c.table()
	if table.Leader != leader {
		return fmt.Errorf("server %d leads, not server %d", table.Leader, leader)
	}
	for _, m := range table.Members {
		want := "follows"
		if m.ID == leader {
			want = "leader"
		}
		if m.State != want {
			return fmt.Errorf("server %d: %s", m.ID, m.State)
		}
	}
	return nil
}

// A server that waits to be added says that it is not born, which is so and is not what is wrong.
func TestCommandsSayThatThereIsNoMajorityAndWhoIsMissing(t *testing.T) {
	c := startedCluster(t, 3, calm)
	c.join(4)
	up := c.followers()[0]
	var down []raft.ServerID
	for _, id := range []raft.ServerID{1, 2, 3} {
		if id != up {
			c.nodes[id].kill()
			down = append(down, id)
		}
	}
	eventually(t, "the last voter knows that nobody leads", func() error {
		g, err := c.group(up)
		if err == nil && g.Leader != 0 {
			err = fmt.Errorf("server %d", g.Leader)
		}
		return err
	})
	words := []string{
		"nobody leads", fmt.Sprintf("servers %v do not answer", down), fmt.Sprintf("no majority: of the 3 voters %v are well, and 2 are needed", []raft.ServerID{up}),
		"oarlock status " + c.path,
	}
	for _, args := range [][]string{
		{"leader", "show", c.path}, // by itself, long before its timeout
		{"leader", "transfer", c.path, "--timeout", "3s"},
		{"leader", "step-down", c.path, "--timeout", "3s"},
		{"member", "remove", c.path, word(down[0]), "--timeout", "3s"},
		{"member", "plan", c.path, "remove", word(down[0]), "--timeout", "3s"},
	} {
		began := time.Now()
		e := oarlock(t, args...)
		e.fails(t, exitFailed, words...)
		require.NotContains(t, e.errors, "not born", args)
		require.Less(t, time.Since(began), time.Minute, args)
	}
	e := oarlock(t, "member", "list", c.path)
	e.fails(t, exitFailed, append(words, fmt.Sprintf("what is printed is what server %d knows", up))...)
	require.Contains(t, e.out, "membership of entry 0, settled\n")
	require.Contains(t, e.out, "does not answer")
	e = oarlock(t, "kv", "-c", c.path, "--timeout", "5s", "put", "a", "b")
	e.fails(t, exitFailed, "given up")
	require.NotContains(t, e.errors, "not born")
}
