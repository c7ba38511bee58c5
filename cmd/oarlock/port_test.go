package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// residentBytes is how much memory a process has, where the system tells.
func (n *testNode) residentBytes() int {
	n.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		n.t.Skipf("the memory of a process cannot be read here: %v", err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(n.t, err)
	return kib << 10
}

// noise is bytes that mean nothing, the same for a seed each time.
func noise(seed uint8, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{seed})
	_, _ = r.Read(b) // never fails
	return b
}

// strangersWords are what strangers send to a port, and whether the server sees at once that it is nothing for it. Where it
// cannot, it waits for more, for as long as it waits for anybody.
var strangersWords = []struct {
	name   string
	words  []byte
	atOnce bool
	says   string
}{
	{"HTTP", []byte("GET / HTTP/1.1\r\nHost: oarlock\r\n\r\n"), true, "malformed"},
	{"TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), true, "malformed"},
	{"noise", noise(1, 1<<20), true, ""},
	{"a command of 4 GiB", append([]byte("\x94\x00\x01\xa7propose\x95\x01\x00\x00\x00\xc6\xff\xff\xff\xff"), noise(2, 100<<10)...), true, "command too large"},
	{"an array of 4 Gi", append([]byte("\xdd\xff\xff\xff\xff"), make([]byte, 1000)...), true, "command too large"},
	{"arrays in arrays", bytes.Repeat([]byte{0x91}, 100<<10), true, "nested deeper"},
	{"a peer's greeting and noise", append([]byte("\xc1oarlock"), noise(3, 1<<16)...), true, ""},
	{"a peer's frame of 8 GiB", append([]byte("\xc1oarlock\x00\x00\x00\x00\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), noise(4, 100<<10)...), true, ""},
	{"half a request", []byte("\x94\x00\x01"), false, ""},
	{"half a peer's greeting", []byte("\xc1oarl"), false, ""},
}

// strangerMax is how long a server may wait for the rest of what a stranger has begun to say: ten seconds, and a slow machine.
const strangerMax = patience

// speak sends words to an address and reads until the other side closes.
func speak(address string, words []byte) (answer []byte, took time.Duration, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	began := time.Now()
	if err := conn.SetDeadline(began.Add(strangerMax)); err != nil {
		return nil, 0, err
	}
	if _, err := conn.Write(words); err != nil {
		return nil, time.Since(began), nil // it was closed before all was sent: that is an answer too
	}
	answer, err = io.ReadAll(conn)
	if t, ok := err.(net.Error); ok && t.Timeout() { //nolint:errorlint // it is the connection's own
		return answer, time.Since(began), err
	}
	return answer, time.Since(began), nil
}

func TestGarbageOnThePortEndsItsConnectionAndNothingElse(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 1)
	n, address := c.nodes[1], c.member(1).Address
	cl := c.connect()
	p := promise{}
	c.write(cl, p, "before", 20, 100)
	resident := n.residentBytes()
	var strangers sync.WaitGroup
	for _, s := range strangersWords {
		for range 20 { // together, so that what each takes would add up
			strangers.Go(func() {
				answer, took, err := speak(address, s.words)
				switch {
				case err != nil:
					t.Errorf("%s: the connection still stands after %v: %v", s.name, took, err)
				case s.atOnce && took > 9*time.Second: // it did not wait for more until its patience of ten was over
					t.Errorf("%s: closed after %v", s.name, took)
				case len(answer) > 0 && !bytes.Contains(answer, []byte(s.says)):
					t.Errorf("%s: %q", s.name, answer)
				}
			})
		}
	}
	c.write(cl, p, "beside", 20, 100) // they are in nobody's way
	strangers.Wait()
	require.Less(t, n.residentBytes(), resident+256<<20, "200 strangers claimed some 400 GiB")
	c.write(cl, p, "after", 20, 100)
	c.kept(cl, p)
	require.NotContains(t, n.log.String(), "goroutine ")
	// The log says what came, and does not grow with the number of those who come.
	n.says("client dropped")
	n.says("connection refused")
	require.Less(t, strings.Count(n.log.String(), "\n"), 100)
}

func TestCommandOverTheLimitIsRefusedByNameAndNeverApplied(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 1, func(c *config.Config) { c.Sizes.CommandBytesMax = 16 << 10 })
	long := strings.Repeat("x", 20<<10)
	for _, args := range [][]string{{"put", "long", long}, {"append", "long", long}, {"get", long}} {
		oarlock(t, append([]string{"kv", "-c", c.path}, args...)...).fails(t, exitFailed, "command too large", "16384")
	}
	oarlock(t, "kv", "-c", c.path, "get", "long").fails(t, exitFailed, `there is no key "long"`)
	cl := c.connect()
	_, err := cl.Propose(t.Context(), kv.Put([]byte("long"), []byte(long)))
	require.ErrorIs(t, err, client.ErrTooLarge)
	require.NotErrorIs(t, err, client.ErrUnknown)
	p := promise{}
	c.write(cl, p, "short", 3, 15<<10)
	c.kept(cl, p)
}

func TestGroupThatDoesNotExistIsSaidToBeMissing(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 3)
	cl := c.connect(func(o *client.Options) { o.Group = 7 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := cl.Propose(ctx, kv.Put([]byte("k"), []byte("v")))
	require.ErrorIs(t, err, client.ErrNoGroup)
	require.ErrorContains(t, err, "7")
	_, err = cl.Query(ctx, kv.Get([]byte("k")))
	require.ErrorIs(t, err, client.ErrNoGroup)
	require.NoError(t, ctx.Err(), "all three have said so: waiting is no use")
}

func TestClientOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 1)
	// Its config names the ports of a cluster that was made anew.
	stale := *c.conf
	stale.Cluster = raft.ClusterID{1}
	path := filepath.Join(t.TempDir(), "stale.toml")
	require.NoError(t, stale.Write(path))
	oarlock(t, "kv", "-c", path, "put", "k", "v").fails(t, exitFailed, "another cluster", c.conf.Cluster.String())
	e := oarlock(t, "status", path)
	e.fails(t, exitFailed)
	require.Contains(t, e.out, "another cluster")
	oarlock(t, "kv", "-c", c.path, "get", "k").fails(t, exitFailed, `there is no key "k"`)
}

func TestPortThatIsTakenIsNamed(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 1)
	oarlock(t, "init", c.path).succeeds(t)
	l, err := net.Listen("tcp", c.member(1).Address)
	require.NoError(t, err)
	defer l.Close()
	e := runToEnd(t, nil, binary, "node", c.path, "1")
	e.fails(t, exitFailed, "server 1", c.member(1).Address, "address already in use")
}
