package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/config"
)

// anAddress is one at which nobody listens.
func anAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", testPorts(t, 1))
}

func TestJoinUnderTheIDOfAServerThatRunsIsRefused(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 1)
	dir := t.TempDir()
	path, door := filepath.Join(dir, "two.toml"), c.member(1).Address
	wrong := []string{"join", path, "1", "--from", door, "--address", anAddress(t)}
	for range 2 { // nothing stays that a second one would meet
		oarlock(t, wrong...).fails(t, exitFailed, "server 1 runs already, and answers at "+door, "another id", "If the disk of server 1 is lost, stop it first")
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	wrong[2] = "2"
	oarlock(t, wrong...).succeeds(t)

	// The file was copied here, and its data stays where the server runs.
	copied := filepath.Join(t.TempDir(), "cluster.toml")
	content, err := os.ReadFile(c.path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(copied, content, 0o600))
	oarlock(t, "join", copied, "1").fails(t, exitFailed, "server 1 runs already, and answers at "+door)
	require.NoDirExists(t, filepath.Join(filepath.Dir(copied), "data"))
}

func TestServerWhoseMachineIsLostJoinsUnderItsIDFromARunningOne(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3)
	lost := c.followers()[0]
	c.nodes[lost].kill()
	from := c.member(c.followers()[1]).Address
	if c.followers()[1] == lost {
		from = c.member(c.leader()).Address
	}
	path := filepath.Join(t.TempDir(), "new.toml")
	out := oarlock(t, "join", path, word(lost), "--from", from).succeeds(t)
	require.Contains(t, out, fmt.Sprintf("oarlock member replace %s %d", path, lost))
	conf, err := config.Load(path)
	require.NoError(t, err)
	m, err := conf.Member(lost)
	require.NoError(t, err)
	require.Equal(t, c.member(lost).Address, m.Address, "it is where it was, unless --address says something else")
	moved := anAddress(t)
	other := filepath.Join(t.TempDir(), "moved.toml")
	oarlock(t, "join", other, word(lost), "--from", from, "--address", moved).succeeds(t)
	conf, err = config.Load(other)
	require.NoError(t, err)
	require.Equal(t, moved, conf.ClientAddresses()[lost])
}

func TestJoinThatFailsLeavesTheFileAsItWas(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 1)
	dir := filepath.Dir(c.path)
	oarlock(t, "join", c.path, "4", "--address", anAddress(t)).succeeds(t)
	before, err := os.ReadFile(c.path)
	require.NoError(t, err)

	// The data directory is another server's, and then one that cannot be.
	address := anAddress(t)
	e := oarlock(t, "join", c.path, "5", "--address", address, "--data", filepath.Join("data", "4"))
	e.fails(t, exitFailed, "server 5", "already formatted", "nothing was formatted, and the file is as it was", "wrong data directory")
	require.Empty(t, e.out)
	inTheWay := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(inTheWay, nil, 0o600))
	oarlock(t, "join", c.path, "5", "--address", address, "--data", filepath.Join("file", "5")).fails(t, exitFailed, "not a directory")
	after, err := os.ReadFile(c.path)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
	out := oarlock(t, "join", c.path, "5", "--address", address, "--data", filepath.Join("data", "5")).succeeds(t)
	require.Contains(t, out, "added member 5 at "+address+" to "+c.path)

	path := filepath.Join(t.TempDir(), "six.toml")
	from := []string{"join", path, "6", "--from", c.member(1).Address, "--address", address, "--data"}
	oarlock(t, append(from, filepath.Join(inTheWay, "6"))...).fails(t, exitFailed, "not a directory")
	require.NoFileExists(t, path)
	oarlock(t, append(from, "data")...).succeeds(t)
}

// What an interrupted join has left is a file with the new member, and no store.
func TestJoinThatWasInterruptedIsRepeatedWordForWord(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 1)
	other := startedCluster(t, 1)
	address := anAddress(t)
	path := filepath.Join(t.TempDir(), "two.toml")
	from := []string{"join", path, "2", "--from", c.member(1).Address, "--address", address}
	for _, line := range [][]string{{"join", c.path, "2", "--address", address}, from} {
		oarlock(t, line...).succeeds(t)
		require.NoError(t, os.RemoveAll(filepath.Join(filepath.Dir(line[1]), "data", "2")))
		out := oarlock(t, line...).succeeds(t)
		require.Contains(t, out, "formatted server 2 in ")
		require.NotContains(t, out, "wrote ")
		require.NotContains(t, out, "added ")
		oarlock(t, line...).fails(t, exitFailed, "already formatted")
	}
	from[2] = "3"
	oarlock(t, from...).fails(t, exitUsage, path+" is there already", "leave out --from", "or remove it")
	from[2], from[4] = "2", other.member(1).Address
	oarlock(t, from...).fails(t, exitFailed, path+" is there already", "another cluster", "leave out --from", "or remove it")
}
