package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
)

// join formats a new member, at a port of its own, and starts it.
func (c *testCluster) join(id raft.ServerID) {
	c.t.Helper()
	oarlock(c.t, "join", c.path, word(id), "--address", fmt.Sprintf("127.0.0.1:%d", testPorts(c.t, 1))).succeeds(c.t)
	c.reload()
	c.start(id)
	c.answers(id)
}

// reload reads the config that a command has changed.
func (c *testCluster) reload() {
	c.t.Helper()
	conf, err := config.Load(c.path)
	require.NoError(c.t, err)
	c.conf = conf
}

// answers waits until a server tells what it knows.
func (c *testCluster) answers(id raft.ServerID) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("server %d answers", id), func() error { _, err := c.group(id); return err })
}

// table is what `member list --json` prints.
func (c *testCluster) table() (table memberTable) {
	c.t.Helper()
	out := oarlock(c.t, "member", "list", c.path, "--json").succeeds(c.t)
	require.NoError(c.t, json.Unmarshal([]byte(out), &table))
	return table
}

// roles are the members' roles by id, of a membership in which nothing is open.
func (c *testCluster) roles() map[raft.ServerID]string {
	c.t.Helper()
	table := c.table()
	require.Equal(c.t, "settled", table.Stage)
	roles := make(map[raft.ServerID]string)
	for _, m := range table.Members {
		roles[m.ID] = m.Role
	}
	return roles
}

func voters(ids ...raft.ServerID) map[raft.ServerID]string {
	roles := make(map[raft.ServerID]string)
	for _, id := range ids {
		roles[id] = "voter"
	}
	return roles
}

func TestClusterGrowsFromOneServerToThree(t *testing.T) {
	c := startedCluster(t, 1)
	p := promise{}
	c.write(c.connect(), p, "alone", 20, 100)
	c.join(2)
	require.Contains(t, oarlock(t, "status", c.path).succeeds(t), "no leader has added it yet (`oarlock member add` if its id is new, `oarlock member replace` if")
	plan := oarlock(t, "member", "plan", c.path, "add", "2").succeeds(t)
	require.Contains(t, plan, "step 2: both decide: 2 of servers [1 2], and 1 of servers [1]")
	require.Contains(t, plan, "after: one more failure would stop the cluster")
	require.Equal(t, voters(1), c.roles(), "a plan does nothing")
	oarlock(t, "member", "add", c.path, "2", "--learner").succeeds(t)
	require.Equal(t, map[raft.ServerID]string{1: "voter", 2: "learner"}, c.roles())
	oarlock(t, "member", "promote", c.path, "2").succeeds(t)
	c.join(3)
	oarlock(t, "member", "add", c.path, "3").succeeds(t)
	oarlock(t, "member", "add", c.path, "3").succeeds(t) // it is so already
	oarlock(t, "member", "remove", c.path, "2", "promote", "3").fails(t, exitFailed, "promote server 3: it is a voter already; leave that part out")
	require.Contains(t, oarlock(t, "member", "remove", "--help").succeeds(t), "oarlock member remove cluster.toml 4 demote 3")
	require.Equal(t, voters(1, 2, 3), c.roles())
	c.nodes[1].kill()
	c.write(c.connect(), p, "without the first", 20, 100)
	c.kept(c.connect(), p)
	c.start(1)
	c.caughtUp(1, c.leader())
	for _, id := range []raft.ServerID{1, 2, 3} {
		c.nodes[id].kill()
	}
	for _, id := range []raft.ServerID{1, 2, 3} {
		c.start(id)
	}
	c.kept(c.connect(), p)
	require.Equal(t, voters(1, 2, 3), c.roles())
}

func TestServerWhoseDirectoryIsGoneIsReplacedUnderItsID(t *testing.T) {
	c := startedCluster(t, 3, calm)
	p := promise{}
	c.write(c.connect(), p, "before", 20, 100)
	lost := c.followers()[0]
	c.nodes[lost].kill()
	require.NoError(t, os.RemoveAll(c.dataDir(lost)))
	before := c.table()
	out := oarlock(t, "join", c.path, word(lost)).succeeds(t)
	require.Contains(t, out, fmt.Sprintf("oarlock member replace %s %d", c.path, lost))
	c.start(lost)
	c.answers(lost)
	taken := oarlock(t, "member", "add", c.path, word(lost))
	taken.fails(t, exitFailed, fmt.Sprintf("if the change is accepted, server %d receives the log", lost), "the id is taken by another store; replace it")
	oarlock(t, "member", "replace", c.path, word(lost)).succeeds(t)
	c.caughtUp(lost, c.leader())
	require.Equal(t, voters(1, 2, 3), c.roles())
	require.NotEqual(t, before.Members[lost-1].Store, c.table().Members[lost-1].Store)
	oarlock(t, "leader", "transfer", c.path, word(lost)).succeeds(t)
	require.Equal(t, lost, c.leader())
	other := c.followers()[0]
	c.nodes[other].kill()
	c.write(c.connect(), p, "the new store counts", 20, 100)
	c.kept(c.connect(), p)
}

func TestFounderThatIsFormattedAgainCannotComeInByItself(t *testing.T) {
	c := startedCluster(t, 3)
	lost := c.followers()[0]
	c.nodes[lost].kill()
	c.wipe(lost)
	c.start(lost)
	c.nodes[lost].says("stranger")
	oarlock(t, "join", c.path, word(lost)).fails(t, exitFailed, "already formatted", "nothing was formatted", "move it away")
}

func TestClusterMovesToNewMachinesWithItsLeader(t *testing.T) {
	c := startedCluster(t, 3)
	p := promise{}
	c.write(c.connect(), p, "at home", 20, 100)
	for _, id := range []raft.ServerID{4, 5, 6} {
		c.join(id)
	}
	oarlock(t, "member", "add", c.path, "4", "5", "6").succeeds(t)
	require.Equal(t, voters(1, 2, 3, 4, 5, 6), c.roles())
	oarlock(t, "member", "remove", c.path, "1", "2", "3").succeeds(t)
	require.Equal(t, voters(4, 5, 6), c.roles())
	for _, id := range []raft.ServerID{1, 2, 3} {
		eventually(t, fmt.Sprintf("server %d knows that it was removed", id), func() error {
			if notes, _ := c.notes(); notes[word(id)] != fmt.Sprintf("server %d was removed from the group; stop it, and keep its directory until nobody misses it", id) {
				return fmt.Errorf("notes: %v", notes)
			}
			return nil
		})
	}
	for _, id := range []raft.ServerID{1, 2, 3} {
		c.nodes[id].says(fmt.Sprintf("msg=removed component=server server=%d", id))
		c.nodes[id].says(fmt.Sprintf("server %d was removed from the group; stop it, and keep its directory", id))
		code := c.nodes[id].terminate()
		require.Zero(t, code)
	}
	c.write(c.connect(), p, "elsewhere", 20, 100)
	c.kept(c.connect(), p)
}

func TestServerMovesToAnotherAddress(t *testing.T) {
	c := startedCluster(t, 3, calm)
	p := promise{}
	c.write(c.connect(), p, "before", 10, 100)
	moved := c.followers()[0]
	code := c.nodes[moved].terminate()
	require.Zero(t, code)
	address := fmt.Sprintf("127.0.0.1:%d", testPorts(t, 1))
	old := c.path
	for i := range c.conf.Members {
		if c.conf.Members[i].ID == moved {
			c.conf.Members[i].Address = address
		}
	}
	c.path = filepath.Join(filepath.Dir(old), "moved.toml")
	require.NoError(t, c.conf.Write(c.path))
	c.start(moved)
	c.answers(moved)
	oarlock(t, "member", "address", c.path, word(moved), address).succeeds(t)
	require.Equal(t, address, c.table().Members[moved-1].Address)
	c.caughtUp(moved, c.leader())
	oarlock(t, "leader", "transfer", c.path, word(moved)).succeeds(t)
	c.write(c.connect(), p, "after", 10, 100)
	c.kept(c.connect(), p)
}

func TestNewcomerThatNeverComesIsGivenUpAndTheClusterIsAsBefore(t *testing.T) {
	c := startedCluster(t, 1, func(conf *config.Config) { conf.Timing.JoinTimeout = 2 * time.Second })
	address := fmt.Sprintf("127.0.0.1:%d", testPorts(t, 1))
	oarlock(t, "join", c.path, "2", "--address", address).succeeds(t)
	oarlock(t, "member", "add", c.path, "2").fails(t, exitFailed, "server 2 does not answer at "+address, "oarlock node "+c.path+" 2", "--store")
	store := "00000000-0000-0000-0000-0000000000ff"
	oarlock(t, "member", "add", c.path, "2", "--store", store).fails(t, exitFailed,
		"given up because of server 2", address, store, "it is not heard of", "the membership is what it was before")
	require.Equal(t, voters(1), c.roles())
	c.write(c.connect(), promise{}, "as before", 5, 100)
}

func TestChangesThatCannotBeAreRefusedInWords(t *testing.T) {
	store := "00000000-0000-0000-0000-0000000000ff"
	c := startedCluster(t, 3, calm)
	free := fmt.Sprintf("127.0.0.1:%d", testPorts(t, 1))
	for _, r := range []struct {
		code  int
		args  []string
		words []string
	}{
		{exitFailed, []string{"member", "promote", c.path, "9"}, []string{"impossible membership change", "promote server 9: it is no member"}},
		{exitFailed, []string{"member", "remove", c.path, "1", "2", "3"}, []string{"impossible membership change", "no voter"}},
		{exitFailed, []string{"member", "demote", c.path, "2", "--from", "77777"}, []string{"another one than expected", "the one that the group was born with (entry 0)", "not that of entry 77777", "look at the members again"}},
		{exitFailed, []string{"leader", "transfer", c.path, "9"}, []string{"no such successor", "server 9 is no voter"}},
		{exitUsage, []string{"member", "add", c.path, "9"}, []string{"no member 9", "9@HOST:PORT", "oarlock join"}},
		{exitUsage, []string{"member", "add", c.path, "9@nowhere"}, []string{`"9@nowhere"`, "no HOST:PORT", "server 9"}},
		{exitUsage, []string{"member", "add", c.path, "9@"}, []string{`"9@"`, "no HOST:PORT"}},
		{exitUsage, []string{"member", "add", c.path, "9", "--address", "0.0.0.0:1"}, []string{"--address", `"0.0.0.0:1" is not where other servers can reach it`}},
		{exitUsage, []string{"member", "address", c.path, "3", "localhost"}, []string{"ADDRESS of server 3", `"localhost" is no address`, "host:port"}},
		{exitUsage, []string{"member", "plan", c.path, "address", "3", "garbage here"}, []string{"ADDRESS of server 3", `"garbage here" is no address`}},
		{exitUsage, []string{"member", "address", c.path, "3", "127.0.0.1:0"}, []string{`port "0" is not a number from 1 to 65535`}},
		{exitFailed, []string{"member", "address", c.path, "3", c.member(1).Address}, []string{c.member(1).Address + " is the address of server 1 already"}},
		{exitFailed, []string{"member", "address", c.path, "3", c.member(1).Address, "--force"}, []string{"is the address of server 1 already"}},
		{exitFailed, []string{"member", "address", c.path, "3", free}, []string{"server 3 does not answer at " + free, "oarlock node " + c.path + " 3", "--force"}},
		{exitFailed, []string{"member", "plan", c.path, "address", "9", "a:1"}, []string{"server 9: it is no member"}},
		{exitUsage, []string{"member", "remove", c.path, "3@a:1"}, []string{`ID "3@a:1" is not the number of a server`}},
		{exitUsage, []string{"member", "add", c.path, "9@a:1", "--address", "b:1"}, []string{"server 9 has two addresses: a:1", "b:1"}},
		{exitUsage, []string{"member", "add", c.path, "8", "9", "--store", store}, []string{"--store is for one server, and 2 are named"}},
		{exitUsage, []string{"member", "plan", c.path, "add", "8", "replace", "3", "--address", "a:1"}, []string{"--address is for one server, and 2 are named"}},
		{exitUsage, []string{"member", "plan", c.path, "remove", "3", "--store", store}, []string{"--store is for a server that is added or replaced"}},
		{exitUsage, []string{"member", "plan", c.path, "replace", "3", "--learner"}, []string{"--learner is for servers that are added"}},
		{exitUsage, []string{"member", "add", c.path, "zwei"}, []string{`ID "zwei" is not the number of a server`}},
		{exitUsage, []string{"member", "remove", c.path}, []string{"ID... is missing"}},
		{exitUsage, []string{"member", "adress", c.path, "1", "x"}, []string{`did you mean "address"?`}},
		{exitUsage, []string{"member", "plan", c.path, "4"}, []string{`CHANGE begins with "4"`, "add, remove"}},
		{exitUsage, []string{"join", c.path, "4"}, []string{"has no member 4", "--address"}},
		{exitUsage, []string{"join", c.path, "2", "--address", "127.0.0.1:1"}, []string{"has a member 2 already", "leave out --address"}},
		{exitUsage, []string{"join", c.path + ".new", "4"}, []string{"--from"}},
	} {
		oarlock(t, r.args...).fails(t, r.code, r.words...)
	}
	down := c.followers()[0]
	c.nodes[down].kill()
	up := c.followers()[0]
	if up == down {
		up = c.followers()[1]
	}
	eventually(t, "the plan sees who is down", func() error {
		e := oarlock(t, "member", "plan", c.path, "remove", word(up), "--json")
		var plan planView
		if err := json.Unmarshal([]byte(e.out), &plan); err != nil {
			return err
		}
		if e.code != exitFailed || plan.After != -1 || plan.Refused == "" {
			return fmt.Errorf("exit status %d: %s", e.code, e.out)
		}
		return nil
	})
	oarlock(t, "member", "remove", c.path, word(up)).fails(t, exitFailed, "could stop the group", "2 of the 2 new voters have to follow", fmt.Sprintf("server %d is not heard of (start it)", down), "force the change only if")
	require.Equal(t, voters(1, 2, 3), c.roles())
}

// Two operators have listed the membership of entry 0, which is what the cluster was born with: the second one is refused.
func TestChangeThatStartsFromTheFirstMembershipIsRefusedWhenThatHasChanged(t *testing.T) {
	c := startedCluster(t, 3, calm)
	require.Zero(t, c.table().Index)
	require.Contains(t, oarlock(t, "member", "list", c.path).succeeds(t), "membership of entry 0, settled\n")
	oarlock(t, "member", "plan", c.path, "demote", "2", "--from", "0").succeeds(t)
	removed := c.followers()[0]
	oarlock(t, "member", "remove", c.path, word(removed), "--from", "0").succeeds(t)
	other := 6 - removed - c.leader()
	words := []string{"another one than expected", fmt.Sprintf("that of entry %d", c.table().Index), "not the one that the group was born with (entry 0)"}
	oarlock(t, "member", "plan", c.path, "demote", word(other), "--from", "0").fails(t, exitFailed, words...)
	oarlock(t, "member", "demote", c.path, word(other), "--from", "0").fails(t, exitFailed, words...)
	require.Len(t, c.table().Members, 2)
	oarlock(t, "member", "demote", c.path, word(other)).succeeds(t)
	require.Equal(t, "learner", c.roles()[other])
}

func TestLeadershipIsHandedOverByCommand(t *testing.T) {
	c := startedCluster(t, 3, calm)
	to := c.followers()[1]
	require.Contains(t, oarlock(t, "leader", "transfer", c.path, word(to)).succeeds(t), fmt.Sprintf("now server %d leads in term ", to))
	oarlock(t, "leader", "transfer", c.path, word(to)).succeeds(t) // it leads already
	var l leaderView
	require.NoError(t, json.Unmarshal([]byte(oarlock(t, "leader", "show", c.path, "--json").succeeds(t)), &l))
	require.Equal(t, leaderView{Leader: to, Term: l.Term, Address: c.member(to).Address}, l)
	oarlock(t, "leader", "step-down", c.path).succeeds(t)
	require.NotEqual(t, to, c.leader())
}

func TestNewMachineWritesItsConfigFromARunningServer(t *testing.T) {
	c := startedCluster(t, 1)
	path := filepath.Join(t.TempDir(), "new.toml")
	address := fmt.Sprintf("127.0.0.1:%d", testPorts(t, 1))
	out := oarlock(t, "join", path, "2", "--from", c.conf.Members[0].Address, "--address", address).succeeds(t)
	require.Contains(t, out, "wrote "+path+": cluster "+c.conf.Cluster.String()+", 2 members")
	first := c.nodes[1]
	delete(c.nodes, 1)
	t.Cleanup(first.kill)
	c.path = path
	c.reload()
	c.start(2)
	c.answers(2)
	oarlock(t, "member", "add", path, "2").succeeds(t)
	require.Equal(t, voters(1, 2), c.roles())
}

// Each machine has a file of its own, which knows the first server and itself: all are added from one of them.
func TestServersThatOtherFilesKnowAreAddedByTheirAddresses(t *testing.T) {
	c := startedCluster(t, 1)
	added := []string{"member", "add", c.path}
	for _, id := range []raft.ServerID{2, 3} {
		address := fmt.Sprintf("127.0.0.1:%d", testPorts(t, 1))
		elsewhere := &testCluster{t: t, path: filepath.Join(t.TempDir(), "new.toml"), nodes: make(map[raft.ServerID]*testNode)}
		out := oarlock(t, "join", elsewhere.path, word(id), "--from", c.conf.Members[0].Address, "--address", address).succeeds(t)
		named := fmt.Sprintf("%d@%s", id, address)
		require.Contains(t, out, "it is named "+named+"\n")
		elsewhere.reload()
		t.Cleanup(elsewhere.start(id).kill)
		elsewhere.answers(id)
		added = append(added, named)
	}
	oarlock(t, "member", "add", c.path, "2", "3").fails(t, exitUsage, "no member 2", "2@HOST:PORT")
	oarlock(t, append([]string{"member", "plan", c.path}, append(added[1:2:2], added[3:]...)...)...).succeeds(t)
	swapped := strings.Replace(added[3], "2@", "3@", 1)
	oarlock(t, "member", "add", c.path, swapped).fails(t, exitFailed, "server 2 answers at ", "and not server 3")
	oarlock(t, added...).succeeds(t)
	require.Equal(t, voters(1, 2, 3), c.roles())
}

// With the port of a server of another cluster, starting ours or naming its store would not help.
func TestNewcomerWhoseAddressIsAnotherClustersIsRefused(t *testing.T) {
	c, other := startedCluster(t, 1), startedCluster(t, 1)
	wrong := "9@" + other.member(1).Address
	for _, args := range [][]string{
		{"member", "add", c.path, wrong},
		{"member", "plan", c.path, "add", wrong},
		{"member", "add", c.path, wrong, "--store", "00000000-0000-0000-0000-000000000009"},
		{"member", "replace", c.path, strings.Replace(wrong, "9@", "1@", 1), "--force"},
	} {
		e := oarlock(t, args...)
		e.fails(t, exitFailed, "the server at "+other.member(1).Address+" belongs to another cluster", "correct the address", other.conf.Cluster.String())
		require.NotContains(t, e.errors, "start it")
		require.NotContains(t, e.errors, "--store")
	}
	oarlock(t, "member", "add", c.path, "9@"+c.member(1).Address, "--store", "00000000-0000-0000-0000-000000000009").fails(t, exitFailed,
		"server 1 answers at "+c.member(1).Address+", and not server 9")
	require.Equal(t, voters(1), c.roles())
}

// Every change that can be made can be planned, with the same words and flags.
func TestEveryChangeCanBePlanned(t *testing.T) {
	c := startedCluster(t, 1)
	oarlock(t, "member", "add", c.path, "2@a:1", "--store", "00000000-0000-0000-0000-000000000002", "--learner").succeeds(t)
	before := c.table()
	for _, p := range []struct {
		words string
		then  string // what it prints of the server that is named first
	}{
		{"add 9 --address b:1 --store 00000000-0000-0000-0000-000000000009", "9 - voter"},
		{"add 9@b:1 --store 00000000-0000-0000-0000-000000000009 --learner", "9 - learner"},
		{"promote 2 --force", "2 learner voter"},
		{"replace 2@b:1 --store 00000000-0000-0000-0000-000000000009", "2 - learner"},
		{"address 2 b:1 --force", "a:1, then b:1"},
		{"remove 2 --from " + fmt.Sprint(before.Index), "2 learner -"},
		{"add 9@b:1 --store 00000000-0000-0000-0000-000000000009 remove 2 --learner", "9 - learner"},
	} {
		out := oarlock(t, append([]string{"member", "plan", c.path}, strings.Fields(p.words)...)...).succeeds(t)
		require.Contains(t, strings.Join(strings.Fields(out), " "), " "+p.then+" ", p.words)
	}
	oarlock(t, "member", "plan", c.path, "demote", "1").fails(t, exitFailed, "no voter")
	require.Equal(t, before, c.table(), "a plan does nothing")
}

// A leader that was elected just now does not know yet who is there. A plan waits for what it will say then, as the change does.
func TestPlanWaitsForALeaderThatWasElectedJustNow(t *testing.T) {
	c := startedCluster(t, 3, calm)
	down, next := c.followers()[0], c.followers()[1]
	c.nodes[down].kill()
	old := c.leader()
	oarlock(t, "leader", "transfer", c.path, word(next)).succeeds(t)
	e := oarlock(t, "member", "plan", c.path, "remove", word(old))
	e.fails(t, exitFailed, "the change would be refused", "could stop the group", fmt.Sprintf("server %d is not heard of (start it)", down))
	require.NotContains(t, e.errors, "busy")
}

// A client that was given one server, before the other one was there, finds that one at its own port for clients.
func TestClientsAreSentToThePortForClientsOfAServerThatJoined(t *testing.T) {
	port := testPorts(t, 1)
	c := startedCluster(t, 1, func(conf *config.Config) { conf.Members[0].ClientAddress = fmt.Sprintf("127.0.0.1:%d", port) })
	old := c.conf.Clone()
	door := fmt.Sprintf("127.0.0.1:%d", testPorts(t, 1))
	oarlock(t, "join", c.path, "2", "--address", fmt.Sprintf("127.0.0.1:%d", testPorts(t, 1)), "--client-address", door).succeeds(t)
	c.reload()
	c.start(2)
	c.answers(2)
	oarlock(t, "member", "add", c.path, "2").succeeds(t)
	oarlock(t, "leader", "transfer", c.path, "2").succeeds(t)
	eventually(t, "server 1 knows who leads", func() error {
		g, err := c.group(1)
		if err == nil && (g.Leader != 2 || g.LeaderAddress != door) {
			err = fmt.Errorf("server %d at %s", g.Leader, g.LeaderAddress)
		}
		return err
	})
	p := promise{}
	var mu sync.Mutex
	var dialled []string
	cl := c.connect(func(o *client.Options) {
		o.Addresses = old.ClientAddresses()
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dialled = append(dialled, address)
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	})
	c.write(cl, p, "there", 3, 10)
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(dialled) // a connection that broke on a slow machine was made again
	require.ElementsMatch(t, []string{old.Members[0].ClientAddress, door}, slices.Compact(dialled))
}
