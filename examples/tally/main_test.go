package main

import (
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/config"
)

func TestReadmeShowsThisProgram(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	require.Contains(t, string(readme), "```go\n"+string(program)+"```\n", "README.md and examples/tally/main.go differ")
	suite, err := os.ReadFile("smtest_test.go")
	require.NoError(t, err)
	_, test, _ := strings.Cut(string(suite), "func Test")
	require.Contains(t, string(readme), "```go\nfunc Test"+test+"```\n", "README.md and examples/tally/smtest_test.go differ")
}

// TestWordsAreCountedOnThreeServersAlsoAfterOneDied runs the README's commands, with the servers as processes.
func TestWordsAreCountedOnThreeServersAlsoAfterOneDied(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "tally")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)

	conf, err := config.Generate(3, filepath.Join(dir, "data"), freePorts(t))
	require.NoError(t, err)
	path := filepath.Join(dir, "cluster.toml")
	require.NoError(t, conf.Write(path))
	var servers []*exec.Cmd
	for _, id := range []string{"1", "2", "3"} {
		member := conf.Members[len(servers)]
		require.NoError(t, os.MkdirAll(filepath.Dir(conf.DataDir(member)), 0o700))
		require.NoError(t, conf.Format(member.ID))
		server := exec.Command(binary, path, id)
		server.Stderr = os.Stderr
		require.NoError(t, server.Start())
		t.Cleanup(func() {
			_ = server.Process.Kill() // it may be dead already
			_ = server.Wait()
		})
		servers = append(servers, server)
	}
	say := func(word string) string {
		out, err := exec.Command(binary, path, "say", word).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return strings.TrimSpace(string(out))
	}
	require.Equal(t, `"hello" was said 1 times`, say("hello"))
	require.Equal(t, `"hello" was said 2 times`, say("hello"))
	require.NoError(t, servers[0].Process.Kill())
	require.Equal(t, `"hello" was said 3 times`, say("hello"))
	require.Equal(t, `"bye" was said 1 times`, say("bye"))
}

// freePorts returns the first of three ports in a row that nobody listens on, below those that systems give to outgoing connections.
func freePorts(t *testing.T) int {
	for range 1000 {
		first := 10_000 + rand.IntN(20_000)
		if !taken(first) && !taken(first+1) && !taken(first+2) {
			return first
		}
	}
	t.Fatal("no three free ports in a row")
	return 0
}

func taken(port int) bool {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return true
	}
	return l.Close() != nil
}
