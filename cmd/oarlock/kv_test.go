package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeyValueCommandsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3)
	kv := func(args ...string) ended { return oarlock(t, append([]string{"kv", "-c", c.path}, args...)...) }

	require.Empty(t, kv("put", "k", "one").succeeds(t))
	require.Equal(t, "one\n", kv("get", "k").succeeds(t))
	require.Equal(t, "7\n", kv("append", "k", "--", "-two").succeeds(t))
	require.Equal(t, "one-two\n", kv("get", "k").succeeds(t))
	require.Equal(t, "3\n", kv("append", "new", "abc").succeeds(t), "append makes a key")

	require.Empty(t, kv("cas", "k", "one-two", "three").succeeds(t))
	kv("cas", "k", "one-two", "four").fails(t, exitFailed, "not set: the value was another")
	require.Equal(t, "three\n", kv("get", "k").succeeds(t))
	kv("cas", "k", "five", "--absent").fails(t, exitFailed, "not set: the key is there")
	kv("cas", "fresh", "five", "--absent").succeeds(t)
	require.Equal(t, "five\n", kv("get", "fresh").succeeds(t))

	require.Empty(t, kv("delete", "k").succeeds(t))
	kv("delete", "k").fails(t, exitFailed, `there is no key "k"`)
	kv("get", "k").fails(t, exitFailed, `there is no key "k"`)

	kv("put", "brief", "v", "--ttl", "1ms").succeeds(t)
	kv("put", "long", "v", "--ttl", "1h").succeeds(t)
	eventually(t, "a key's time is over", func() error {
		if e := kv("get", "brief"); e.code != exitFailed || !strings.Contains(e.errors, "there is no key") {
			return fmt.Errorf("%s%s", e.out, e.errors)
		}
		return nil
	})
	require.Equal(t, "v\n", kv("get", "long").succeeds(t))

	for _, args := range [][]string{
		{}, {"--any"}, {"--consistency", "lease"}, {"--consistency", "bounded", "--max-age", "1m", "--any"}, {"--consistency", "bounded", "--min-index", "3"},
	} {
		require.Equal(t, "v\n", kv(append([]string{"get", "long"}, args...)...).succeeds(t), args)
	}
	seen := strings.Fields(kv("get", "long", "--show-index").succeeds(t))
	require.Len(t, seen, 2)
	require.Equal(t, "v\n", kv("get", "long", "--any", "--consistency", "bounded", "--min-index", seen[1]).succeeds(t))
	kv("get", "long", "--consistency", "stale", "--any") // whatever it says
	kv("get", "k", "--consistency", "fresh").fails(t, exitFailed, "linearizable, lease, bounded or stale")
	kv("get", "k", "--consistency", "bounded").fails(t, exitFailed, "neither MaxAge nor MinIndex")
	kv("get", "k", "--max-age", "1s").fails(t, exitFailed, "belong to bounded")

	kv("put", "k").fails(t, exitUsage, "VALUE is missing", "oarlock kv put KEY VALUE")
	kv("cas", "k", "v").fails(t, exitUsage, "VALUE is missing", "oarlock kv cas KEY EXPECTED VALUE")
	kv("cas", "k", "-", "v", "--absent").fails(t, exitUsage, `"v" is one argument too many`)
	kv("get", "a", "b").fails(t, exitUsage, `"b" is one argument too many`)
	kv("put", "k", "v", "--ttl", "soon").fails(t, exitUsage, `invalid argument "soon" for "--ttl"`)
}

func TestKeyValueCommandWithoutServersSaysWhoRefused(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3)
	for _, args := range [][]string{{"put", "k", "v"}, {"get", "k"}} {
		e := oarlock(t, append([]string{"kv", "-c", c.path, "--timeout", "3s"}, args...)...)
		e.fails(t, exitFailed, "given up: context deadline exceeded", "connection refused", "127.0.0.1:")
	}
	e := oarlock(t, "status", c.path)
	e.fails(t, exitFailed, "no member of "+c.path+" answers")
	require.Equal(t, 3, strings.Count(e.out, "connection refused"))
}

func TestStatusShowsEachServersReplica(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3, calm)
	cl := c.connect()
	c.write(cl, promise{}, "k", 20, 100)
	leader := c.leader()
	dead := leader%3 + 1
	c.nodes[dead].kill()
	e := oarlock(t, "status", c.path, "--timeout", "30s")
	lines := strings.Split(strings.TrimSpace(e.succeeds(t)), "\n")
	require.Len(t, lines, 4, e.out)
	require.Equal(t, []string{"SERVER", "ADDRESS", "GROUP", "ROLE", "TERM", "LEADER", "FIRST", "NEXT", "COMMIT", "APPLIED", "NOTE"}, strings.Fields(lines[0]))
	for i, m := range c.conf.Members {
		f := strings.Fields(lines[i+1])
		require.Equal(t, []string{fmt.Sprint(m.ID), m.Address}, f[:2])
		switch m.ID {
		case dead:
			require.Contains(t, lines[i+1], "connection refused")
		case leader:
			require.Equal(t, "leader", f[3])
			require.Len(t, f, 10, "a leader that leads needs no note: %s", lines[i+1])
		default:
			require.Equal(t, []string{"1", "follower"}, f[2:4])
			require.Equal(t, fmt.Sprint(leader), f[5])
		}
	}
}
