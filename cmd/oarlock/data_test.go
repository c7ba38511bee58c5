package main

import (
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tree returns the content of every file below a folder, by its path, without what locks leave behind.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	}))
	return files
}

func TestInitIsDoneOnceAndASecondOneChangesNothing(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	out := oarlock(t, "init", c.path).succeeds(t)
	require.Contains(t, out, "formatted server 3 in ")
	require.Contains(t, out, "to serve the key-value store: oarlock node "+c.path+" 1")
	before := tree(t, filepath.Dir(c.path))
	oarlock(t, "init", c.path).fails(t, exitFailed, "already formatted", c.dataDir(1), "nothing was changed")
	again := oarlock(t, "init", c.path, "--member", "2")
	again.fails(t, exitFailed, "already formatted", c.dataDir(2), "nothing was changed")
	require.NotContains(t, again.errors, "--member")
	oarlock(t, "node", "--init", c.path, "2").fails(t, exitFailed, "already formatted", c.dataDir(2), "leave out --init")
	require.Equal(t, before, tree(t, filepath.Dir(c.path)))

	// One of them is gone: formatting all is still refused before anything is made.
	require.NoError(t, os.RemoveAll(c.dataDir(1)))
	oarlock(t, "init", c.path).fails(t, exitFailed, "already formatted", c.dataDir(2), "--member ID")
	require.NoDirExists(t, c.dataDir(1))
}

func TestDirectoryThatIsNotThisServersIsRefusedByName(t *testing.T) {
	t.Parallel()
	c, other := newTestCluster(t, 3), newTestCluster(t, 3)
	oarlock(t, "init", c.path).succeeds(t)
	oarlock(t, "init", other.path).succeeds(t)
	node := func() ended { return oarlock(t, "node", c.path, "1") }
	put := func(from string) {
		require.NoError(t, os.RemoveAll(c.dataDir(1)))
		require.NoError(t, os.CopyFS(c.dataDir(1), os.DirFS(from)))
		require.NoError(t, os.Chmod(c.dataDir(1), 0o700))
	}

	put(other.dataDir(1))
	node().fails(t, exitUsage, c.dataDir(1)+" belongs to server 1 of cluster "+other.conf.Cluster.String(),
		"this is server 1 of cluster "+c.conf.Cluster.String(), "is it the right directory?", "member.1.data")
	put(c.dataDir(2))
	node().fails(t, exitUsage, c.dataDir(1)+" belongs to server 2 of cluster "+c.conf.Cluster.String(), "is it the right directory?")

	require.NoError(t, os.RemoveAll(c.dataDir(1)))
	for range 2 { // not there, and then empty
		e := node()
		e.fails(t, exitUsage, "not formatted: "+c.dataDir(1), "see that its disk is mounted",
			"`oarlock join "+c.path+" 1` formats another one", "`oarlock member replace "+c.path+" 1` gives it its place",
			"only for a cluster that has never run, `oarlock init "+c.path+" --member 1` makes a new, empty store")
		require.Less(t, strings.Index(e.errors, "oarlock join"), strings.Index(e.errors, "oarlock init"), "what loses nothing comes first")
		require.NoDirExists(t, filepath.Join(c.dataDir(1), "log", "pebble"), "a refusal makes nothing")
		require.NoError(t, os.MkdirAll(c.dataDir(1), 0o700))
	}
}

func TestStoreOfANewerFormatIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 1)
	oarlock(t, "init", c.path).succeeds(t)
	path := filepath.Join(c.dataDir(1), "log", "identity")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	text, _, found := strings.Cut(string(content), "crc32c ")
	require.True(t, found)
	text = strings.Replace(text, "version 1\n", "version 2\n", 1)
	text += fmt.Sprintf("crc32c %08x\n", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	before := tree(t, c.dataDir(1))
	oarlock(t, "node", c.path, "1").fails(t, exitFailed, path, "the store has format 2, this version reads 1", "install the version that wrote it")
	require.Equal(t, before, tree(t, c.dataDir(1)))
}

func TestSecondNodeOnADirectoryIsRefusedWithTheProcessThatHasIt(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 1)
	second := oarlock(t, "node", c.path, "1")
	second.fails(t, exitFailed, "in use", c.dataDir(1), "process "+strconv.Itoa(c.nodes[1].cmd.Process.Pid)+" has ", "stop it first")
	p := promise{}
	c.write(c.connect(), p, "after", 3, 0)
	c.kept(c.connect(), p)
}

func TestDirectoryThatCannotBeWrittenIsRefused(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 1)
	oarlock(t, "init", c.path).succeeds(t)
	script := inNamespace(t, `mount --bind "$DIR" "$DIR" && mount -o remount,ro,bind "$DIR" && exec "$OARLOCK" node "$CONFIG" 1`)
	e := runToEnd(t, []string{"DIR=" + c.dataDir(1), "OARLOCK=" + binary, "CONFIG=" + c.path}, script[0], script[1:]...)
	e.fails(t, exitFailed, c.dataDir(1), "cannot be written", "read-only file system")
}

// inNamespace returns a command that runs a shell script where it may mount what it likes and nobody else sees it. A test
// that finds no way to do so is skipped and says why.
func inNamespace(t *testing.T, script string) []string {
	t.Helper()
	tool, err := exec.LookPath("unshare")
	if err != nil {
		t.Skipf("mounting needs unshare, which is not here: %v", err)
	}
	if out, err := exec.Command(tool, "-Urm", "mount", "-t", "tmpfs", "tmpfs", t.TempDir()).CombinedOutput(); err != nil {
		t.Skipf("this system does not let a process mount for itself alone: %v: %s", err, out)
	}
	return []string{tool, "-Urm", "sh", "-c", script}
}

// How long that takes is looked at in virtual time, in package server.
func TestTerminatedNodeEndsInGoodOrderAndComesBack(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3)
	p := promise{}
	cl := c.connect()
	c.write(cl, p, "before", 20, 0)
	leader := c.leader()
	code := c.nodes[leader].terminate()
	require.Zero(t, code, "%s", c.nodes[leader].log)
	require.NotContains(t, c.nodes[leader].log.String(), "level=ERROR", "to be ended is no fault")
	c.write(cl, p, "without", 20, 0)
	c.start(leader)
	c.caughtUp(leader, c.leader())
	c.kept(cl, p)
	for _, n := range c.nodes {
		code := n.terminate()
		require.Zero(t, code, "%s", n.log)
		require.NotContains(t, n.log.String(), "level=ERROR")
	}
	for _, m := range c.conf.Members {
		c.start(m.ID)
	}
	c.kept(cl, p)
}

func TestClusterCommandRunsAllMembersInOneProcess(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	all := c.startBy(1, exec.Command(binary, "cluster", "--init", c.path, "3"))
	p := promise{}
	c.write(c.connect(), p, "k", 10, 0)
	c.kept(c.connect(), p)
	eventually(t, "nothing is to be said of a server", func() error {
		if notes, code := c.notes(); code != 0 || notes["1"]+notes["2"]+notes["3"] != "" {
			return fmt.Errorf("exit code %d, notes %q", code, notes)
		}
		return nil
	})
	require.Zero(t, all.terminate(), "%s", all.log)
	c.startBy(1, exec.Command(binary, "cluster", c.path, "3"))
	c.kept(c.connect(), p)
}
