package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// spoilt writes a cluster's config with one text replaced by another.
func spoilt(t *testing.T, old, with string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "cluster.toml")
	oarlock(t, "init", path, "--port", "4501").succeeds(t)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(content), old), "%q in\n%s", old, content)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(content), old, with, 1)), 0o600))
	return path
}

func TestConfigThatCannotWorkIsRefusedWithItsLineAndTheWayOut(t *testing.T) {
	for name, c := range map[string]struct {
		old, with string
		words     []string
	}{
		"two members of one id":  {"id = 2", "id = 1", []string{"member 1 is already on line", "give each server its own id"}},
		"an address twice":       {`"127.0.0.1:4502"`, `"127.0.0.1:4501"`, []string{`"127.0.0.1:4501" is member.1.address`, "already"}},
		"no port":                {`"127.0.0.1:4502"`, `"localhost"`, []string{`"localhost" is no address: missing port`, `write host:port, like "10.0.0.7:7101"`}},
		"a port that is none":    {`"127.0.0.1:4502"`, `"127.0.0.1:http"`, []string{`port "http" is not a number from 1 to 65535`}},
		"nowhere to be reached":  {`"127.0.0.1:4502"`, `"0.0.0.0:4502"`, []string{"is not where other servers can reach it", "put it under listen"}},
		"off the loopback":       {`"127.0.0.1:4502"`, `"192.0.2.7:4502"`, []string{"there is no TLS", "fill in [tls], or set cluster.insecure = true"}},
		"heartbeat too slow":     {`# heartbeat_interval = "60ms"`, `heartbeat_interval = "700ms"`, []string{"timing.heartbeat_interval (700ms, line 10)", "timing.election_timeout_min (300ms, the default)"}},
		"elections all at once":  {`# election_timeout_max = "600ms"`, `election_timeout_max = "300ms"`, []string{"timing.election_timeout_max (300ms, line 9) must be longer than timing.election_timeout_min"}},
		"an unknown key":         {`# heartbeat_interval = "60ms"`, `heartbeat_intervall = "60ms"`, []string{"unknown key", `did you mean "timing.heartbeat_interval"?`}},
		"a command over a block": {`# command_bytes_max = "2 MiB"`, `command_bytes_max = "8 MiB"`, []string{"sizes.command_bytes_max (8 MiB, line", "sizes.block_bytes_max (4 MiB, the default)", "raise the second or lower the first"}},
		"a log that is none":     {`# kind = "pebble"`, `kind = "peble"`, []string{`there is no log "peble"; did you mean "pebble"?`}},
		"no cluster":             {`id = "`, `# id = "`, []string{"cluster.id: is missing; `oarlock init` writes a file with a new one"}},
		"half of TLS":            {`# key = ""`, `key = "k.pem"`, []string{"tls.certificate: is missing", "tls.authorities: is missing", "come together"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := spoilt(t, c.old, c.with)
			for _, command := range [][]string{{"node", path, "1"}, {"init", path}, {"status", path}, {"kv", "-c", path, "get", "k"}} {
				oarlock(t, command...).fails(t, exitUsage, append(c.words, path+":")...)
			}
			require.NoDirExists(t, filepath.Join(filepath.Dir(path), "data", "1", "snapshots"), "nothing was started")
		})
	}
}
