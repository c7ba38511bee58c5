package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/config"
)

// binary is the command as a stranger has it, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "oarlock-command-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "oarlock")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	code := 1
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the command: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// commandMax is how long a command that should end by itself may take.
const commandMax = 4 * time.Minute

// ended is what a command left behind.
type ended struct {
	code        int
	out, errors string
}

// oarlock runs the command to its end.
func oarlock(t *testing.T, args ...string) ended {
	t.Helper()
	return oarlockWith(t, nil, args...)
}

// oarlockWith runs the command with more in its environment.
func oarlockWith(t *testing.T, env []string, args ...string) ended {
	t.Helper()
	return runToEnd(t, env, binary, args...)
}

func runToEnd(t *testing.T, env []string, name string, args ...string) ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandMax)
	defer cancel()
	var out, problems bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Stdout, c.Stderr, c.WaitDelay = &out, &problems, 5*time.Second
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // so that a script can end what it has started
	c.Env = append(environment(), env...)
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	e := ended{code: c.ProcessState.ExitCode(), out: out.String(), errors: problems.String()}
	require.NoError(t, ctx.Err(), "%s %q did not end: %s", name, args, e.errors)
	return e
}

// environment is the test's own without what would change what is logged.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "OARLOCK_") {
			env = append(env, v)
		}
	}
	return env
}

// succeeds checks that a command did what it was asked for, and returns what it printed.
func (e ended) succeeds(t *testing.T) string {
	t.Helper()
	require.Zero(t, e.code, "%s%s", e.out, e.errors)
	return e.out
}

// fails checks the exit code of a command, and that its one error has all these words.
func (e ended) fails(t *testing.T, code int, words ...string) {
	t.Helper()
	require.Equal(t, code, e.code, "%s%s", e.out, e.errors)
	for _, w := range words {
		require.Contains(t, e.errors, w)
	}
	require.Equal(t, 1, strings.Count("\n"+e.errors, "\noarlock: "), "the error is said once: %s", e.errors)
	require.NotContains(t, e.errors, "oarlock: oarlock: ")
	require.NotContains(t, e.errors, "goroutine ")
}

func TestHelpNamesEveryCommandAndTheVariable(t *testing.T) {
	help := oarlock(t, "--help").succeeds(t)
	for _, c := range []string{"init", "join", "node", "cluster", "status", "member", "leader", "kv", "demo"} {
		require.Contains(t, help, "\n  "+c+" ")
		require.Contains(t, oarlock(t, c, "--help").succeeds(t), "oarlock "+c)
	}
	require.Contains(t, help, "OARLOCK_LOG=raft=debug,info")
	require.Equal(t, help, oarlock(t).succeeds(t), "without words it says what there is")
	for _, c := range []string{"get", "put", "append", "delete", "cas"} {
		require.Contains(t, oarlock(t, "kv").succeeds(t), "\n  "+c+" ")
	}
	for _, c := range []string{"grow", "restart"} {
		require.Contains(t, oarlock(t, "demo", "--help").succeeds(t), "\n  "+c+" ")
	}
	require.Contains(t, oarlock(t, "kv", "put", "--help").succeeds(t), "--ttl")
	require.Contains(t, oarlock(t, "node", "--help").succeeds(t), "Exit status 3")
}

func TestWrongWordsExitWithTwoAndSayWhatWasMeant(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cluster.toml")
	oarlock(t, "init", path).succeeds(t)
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"nod", path, "1"}, []string{`no command "nod"`, `did you mean "node"?`}},
		{[]string{"kv", "gte", "k"}, []string{`oarlock kv has no command "gte"`, `did you mean "get"?`}},
		{[]string{"kv", "zzzzzzzz"}, []string{"`oarlock kv --help` lists"}},
		{[]string{"node", path}, []string{"INDEX is missing", "oarlock node CONFIG INDEX"}},
		{[]string{"node", path, "1", "2"}, []string{`"2" is one argument too many`}},
		{[]string{"node", path, "1", "--inti"}, []string{"unknown flag: --inti"}},
		{[]string{"node", path, "7"}, []string{"there is no member 7; the file has: 1, 2, 3"}},
		{[]string{"node", path, "first"}, []string{`INDEX "first" is not a number`, "the id of a member"}},
		{[]string{"cluster", path, "4"}, []string{`N "4" is not a number from 1 to 3`, "how many members"}},
		{[]string{"status", filepath.Join(dir, "none.toml")}, []string{"none.toml: no such file", "`oarlock init", "writes a new cluster's config"}},
		{[]string{"init", filepath.Join(dir, "new.toml"), "--member", "2"}, []string{"new.toml does not exist", "--member formats one member of a config that does"}},
		{[]string{"init", path, "--port", "99"}, []string{"is there already", "--port is for a new one"}},
		{[]string{"init", filepath.Join(dir, "big.toml"), "--members", "100"}, []string{"100 members", "3 or 5 are usual"}},
		{[]string{"demo", "--keys", "0"}, []string{"--keys (0)", "must be positive"}},
	} {
		oarlock(t, c.args...).fails(t, exitUsage, c.words...)
	}
	require.NoFileExists(t, filepath.Join(dir, "big.toml"))
}

func TestLevelsThatCannotBeReadStopANodeBeforeItStarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.toml")
	oarlock(t, "init", path).succeeds(t)
	for value, words := range map[string][]string{
		"raft=loud":       {`OARLOCK_LOG: "raft=loud": "loud" is not a level (debug, info, warn, error, off)`},
		"raft=debgu,info": {`"debgu" is not a level`, `did you mean "debug"?`},
		"raft=debug,,":    {"has an empty item between its commas"},
		"=debug":          {"names no part before its \"=\""},
		"info,warn":       {`"warn": there was a level for that already`},
		"rafft=debug":     {`OARLOCK_LOG: nothing here is called "rafft" (raft, server, tcp, pebble, seglog)`, `did you mean "raft"?`},
	} {
		oarlockWith(t, []string{"OARLOCK_LOG=" + value}, "node", path, "1").fails(t, exitUsage, words...)
	}
}

func TestEveryPartThatIsLoggedMayBeGivenALevel(t *testing.T) {
	for _, part := range []string{"raft", "server", "tcp", "pebble", "seglog"} {
		t.Setenv(config.LevelsVariable, part+"=debug")
		_, err := newLogger()
		require.NoError(t, err, part)
	}
}
