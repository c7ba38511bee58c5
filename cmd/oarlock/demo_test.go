package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/statemachine/kv"
)

func TestDemoKillsLeadersAndLosesNothing(t *testing.T) {
	dir := t.TempDir()
	e := oarlock(t, "demo", "--keys", "500", "--dir", dir)
	e.succeeds(t)
	for _, line := range []string{
		`three servers: a process each, Pebble on disk, TCP between them`,
		`server [123] leads, in term \d+\n`,
		`(?s)(SIGKILL server [123], the leader.*){3}`,
		`SIGKILL server [123], a follower`,
		`server [123] still leads; next write after \d+ ms`,
		`(?s)(server [123] is back and has caught up.*){4}`,
		`read back [\d,]+ acknowledged keys: 0 missing or wrong`,
		`keys acknowledged +[\d,]+, each applied once`,
		`missing or wrong +0\n`,
		`state +equal on all three servers`,
		`leader killed +3 times; writes went on after \d+ ms, \d+ ms, \d+ ms`,
		`dead servers +caught up after (\d+ ms(, )?){4}\n`,
		`\n  nothing was lost\n`,
	} {
		require.Regexp(t, regexp.MustCompile(line), e.out)
	}
	require.NotContains(t, e.out, "\x1b[", "colours are for terminals")
	require.Empty(t, e.errors)
}

// inProcess is a cluster of one whose server is part of the test, seen as the demo sees its processes.
func inProcess(t *testing.T) *demoProcess {
	t.Helper()
	conf, err := config.Generate(1, t.TempDir(), testPorts(t, 1))
	require.NoError(t, err)
	conf.Log.Kind = config.LogMemory
	s, err := conf.OpenServer(1, kv.New(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	look, err := client.New(client.Options{Servers: []string{conf.Members[0].Address}, Sessionless: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, look.Close()) })
	return &demoProcess{member: conf.Members[0], look: look}
}

// written is a demo after its last act: keys were acknowledged by every one of the given servers.
func written(t *testing.T, out io.Writer, keys int, servers ...*demoProcess) *demo {
	t.Helper()
	d := &demo{view: &demoView{w: out, began: time.Now()}, options: demoOptions{keys: keys}}
	d.cluster.processes = servers
	d.load = &demoLoad{client: servers[0].look, view: d.view}
	for n := range int64(keys) {
		d.load.keys = append(d.load.keys, n)
		for i, s := range servers {
			if i == 0 || s != servers[i-1] {
				propose(t, s, kv.Put(demoKey(n), demoValue(n)))
			}
		}
	}
	return d
}

func propose(t *testing.T, s *demoProcess, command []byte) {
	t.Helper()
	_, err := s.look.Propose(t.Context(), command)
	require.NoError(t, err)
}

func TestDemoNoticesWhatIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, s *demoProcess)
		lost  int
	}{
		"nothing":       {func(*testing.T, *demoProcess) {}, 0},
		"a key is gone": {func(t *testing.T, s *demoProcess) { propose(t, s, kv.Delete(demoKey(7))) }, 1},
		"a value is another's": {func(t *testing.T, s *demoProcess) {
			propose(t, s, kv.Put(demoKey(3), demoValue(4)))
			propose(t, s, kv.Put(demoKey(9), nil))
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			s := inProcess(t)
			d := written(t, &out, 20, s, s, s)
			c.spoil(t, s)
			err := d.verify(t.Context())
			require.Contains(t, out.String(), fmt.Sprintf("read back 20 acknowledged keys: %d missing or wrong", c.lost))
			if c.lost == 0 {
				require.NoError(t, err)
				require.Contains(t, out.String(), "nothing was lost")
				return
			}
			requireLost(t, err, fmt.Sprintf("%d acknowledged keys are lost", c.lost))
			require.Contains(t, out.String(), "SOMETHING WAS LOST")
		})
	}
}

func requireLost(t *testing.T, err error, words string) {
	t.Helper()
	var coded *exitError
	require.True(t, errors.As(err, &coded), "%v", err)
	require.Equal(t, exitLost, coded.code)
	require.ErrorContains(t, err, words)
}

func TestDemoNoticesAServerThatDiffers(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	first, other := inProcess(t), inProcess(t)
	d := written(t, &out, 20, first, first, other)
	propose(t, first, kv.Put([]byte("same"), []byte("length of log")))
	propose(t, other, kv.Put([]byte("same"), []byte("and another value")))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	requireLost(t, d.verify(ctx), "the three states differ")
	require.Contains(t, out.String(), "DIFFERENT")
}

func TestDemoThatWroteTooLittleFails(t *testing.T) {
	t.Parallel()
	s := inProcess(t)
	d := written(t, io.Discard, 5, s, s, s)
	d.options.keys = 6
	require.ErrorContains(t, d.verify(t.Context()), "only 5 of 6 keys were written")
}

// A retry that is applied again would find its key.
func TestDemoNoticesAKeyThatIsWrittenTwice(t *testing.T) {
	t.Parallel()
	s := inProcess(t)
	propose(t, s, kv.Put(demoKey(1), demoValue(1)))
	l := startLoad(t.Context(), s.look, 1, &demoView{w: io.Discard})
	defer l.stop()
	require.ErrorContains(t, l.waitFor(t.Context(), 1_000_000), "key 1 was written twice")
}
