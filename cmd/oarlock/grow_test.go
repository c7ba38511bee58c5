package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
)

// asMember is a server that runs, as a change names it.
func (c *testCluster) asMember(id raft.ServerID) raft.Member {
	c.t.Helper()
	m := raft.Member{ID: id, Address: c.member(id).Address}
	eventually(c.t, fmt.Sprintf("server %d says which store it has", id), func() error {
		status, err := c.status(id)
		m.Store = status.Store
		return err
	})
	return m
}

// change asks for a membership and waits until it is committed.
func (c *testCluster) change(cl *client.Client, changes ...raft.Change) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	at, err := cl.ChangeMembership(ctx, raft.MembershipChange{Changes: changes})
	if err == nil && at.Membership.Changing() {
		err = fmt.Errorf("it is open still: %+v", at)
	}
	return err
}

// load has writers put keys until kept is called, which checks that no call has failed and that every acknowledged key is there.
func (c *testCluster) load(cl *client.Client) (l *demoLoad, kept func()) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*patience)
	l = startLoad(ctx, cl, 4, &demoView{w: io.Discard})
	c.t.Cleanup(func() { cancel(); l.stop() })
	c.goOn(l)
	return l, func() {
		c.t.Helper()
		require.NoError(c.t, l.finish())
		acked, unknown := l.results()
		require.Zero(c.t, unknown, "calls that said neither yes nor no")
		lost, err := l.readBack(ctx)
		require.NoError(c.t, err)
		require.Zero(c.t, lost, "of %d acknowledged keys", acked)
	}
}

// goOn waits until some more keys have been written.
func (c *testCluster) goOn(l *demoLoad) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	require.NoError(c.t, l.waitFor(ctx, l.written()+20))
}

func TestDemoGrowsToFiveServersAndShrinksToAnotherOne(t *testing.T) {
	toldToEnd(t)
	e := oarlock(t, "demo", "grow", "--keys", "700", "--writers", "8", "--dir", t.TempDir())
	e.succeeds(t)
	for _, line := range []string{
		`(?s)one server: .*server 1 leads.*four servers join`,
		`(?s)\$ oarlock join cluster.toml 2 --address .*\$ oarlock member add cluster.toml 2\n.*two voters now`,
		`(?s)three voters now.*\$ oarlock member add cluster.toml 4 5\n.*five voters now`,
		`all five servers hold [\d,]+ keys, state [0-9a-f]{16}`,
		`(?s)\$ oarlock member remove cluster.toml 1\n.*four left.*\$ oarlock member remove cluster.toml 2 3\n.*two left.*one left`,
		`read back [\d,]+ acknowledged keys: 0 missing or wrong`,
		`(?s)the longest time without an acknowledged write, in each step .*add server 2 .*add servers 4 and 5 .*remove server 1 \(1 leads\) .*remove server 5`,
		`calls that failed +0\n`,
		`state +on the one server that is left`,
		`\n  nothing was lost\n`,
	} {
		require.Regexp(t, regexp.MustCompile(line), e.out)
	}
	require.NotContains(t, e.out, "\x1b[")
	require.Empty(t, e.errors)
}

func TestServerWithoutItsDiskIsReplacedWhileClientsWrite(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3)
	l, kept := c.load(c.connect())
	victim := c.leader()
	old := c.asMember(victim)
	c.nodes[victim].kill()
	require.NoError(t, os.RemoveAll(c.dataDir(victim)))
	c.goOn(l)
	oarlock(t, "join", c.path, word(victim)).succeeds(t)
	c.start(victim)
	require.NotEqual(t, old.Store, c.asMember(victim).Store)
	oarlock(t, "member", "replace", c.path, word(victim)).succeeds(t)
	c.caughtUp(victim, c.leader())
	c.goOn(l)
	// It counts: with it there is a majority although another one dies.
	other := c.followers()[0]
	if other == victim {
		other = c.followers()[1]
	}
	c.nodes[other].kill()
	c.goOn(l)
	c.start(other)
	c.caughtUp(other, c.leader())
	require.Equal(t, voters(1, 2, 3), c.roles())
	kept()
}

func TestNewcomerThatNeverComesIsGivenUpWhileClientsWrite(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3, func(conf *config.Config) { conf.Timing.JoinTimeout = 2 * conf.Timing.ElectionTimeoutMax })
	cl := c.connect()
	l, kept := c.load(cl)
	err := c.change(cl, raft.Change{Kind: raft.ChangeAddVoter, Member: raft.Member{
		ID: 4, Store: raft.StoreID{4}, Address: fmt.Sprintf("127.0.0.1:%d", testPorts(t, 1)),
	}})
	require.ErrorIs(t, err, client.ErrChangeGivenUp)
	require.ErrorContains(t, err, "server 4")
	require.Equal(t, voters(1, 2, 3), c.roles())
	c.goOn(l)
	kept()
}

func TestLeaderThatIsKilledInAChangeLeavesItToTheNextWhileClientsWrite(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3)
	cl := c.connect()
	l, kept := c.load(cl)
	c.join(4)
	add := raft.Change{Kind: raft.ChangeAddVoter, Member: c.asMember(4)}
	c.nodes[4].kill() // so that the change cannot end
	changed := make(chan error, 1)
	go func() { changed <- c.change(cl, add) }()
	var victim raft.ServerID
	eventually(t, "the change has begun", func() error {
		victim = c.leader()
		g, err := c.group(victim)
		if err == nil && !g.Membership.Membership.Changing() {
			err = errors.New("not yet")
		}
		return err
	})
	c.nodes[victim].kill()
	c.goOn(l)
	c.start(4)
	require.NoError(t, <-changed, "the client asks the next leader")
	require.Equal(t, voters(1, 2, 3, 4), c.roles())
	c.start(victim)
	c.caughtUp(victim, c.leader())
	c.caughtUp(4, c.leader())
	kept()
}
