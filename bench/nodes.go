package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// buildOarlock builds the command and returns its path.
func buildOarlock(dir string) (string, error) {
	where := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/oarlock/oarlock")
	root, err := where.Output()
	if err != nil {
		return "", fmt.Errorf("looking for the main module (run this in bench/): %w", err)
	}
	path := filepath.Join(dir, "oarlock")
	build := exec.Command("go", "build", "-C", strings.TrimSpace(string(root)), "-trimpath", "-o", path, "./cmd/oarlock")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building oarlock: %w\n%s", err, out)
	}
	return path, nil
}

// freeAddresses finds ports on loopback that nobody listens on now.
func freeAddresses(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:errcheck // nobody has connected
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// newConfig makes a cluster of three in dir and writes its file.
func newConfig(dir string, change func(*config.Config)) (*config.Config, error) {
	c, err := config.Generate(3, "data", 4501)
	if err != nil {
		return nil, err
	}
	addresses, err := freeAddresses(len(c.Members))
	if err != nil {
		return nil, err
	}
	for i := range c.Members {
		c.Members[i].Address = addresses[i]
	}
	change(c)
	if err := errors.Join(os.MkdirAll(dir, 0o700), c.Write(filepath.Join(dir, "cluster.toml"))); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// fork copies a prepared cluster. Tables and snapshots are linked: nobody ever writes to one again.
func fork(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case strings.HasSuffix(path, ".sst") || strings.HasSuffix(path, ".snapshot"):
			return os.Link(path, target)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, info.Mode().Perm())
	})
}

// node is an `oarlock node` process.
type node struct {
	process *exec.Cmd
	stderr  bytes.Buffer
}

func startNode(oarlock, configPath string, id int) (*node, error) {
	n := &node{process: exec.Command(oarlock, "node", configPath, strconv.Itoa(id))}
	n.process.Stderr = &n.stderr
	return n, n.process.Start()
}

// stop ends the process as an operator would and says what it had to complain about.
func (n *node) stop() error {
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := n.process.Wait(); err != nil {
		return fmt.Errorf("oarlock node: %w\n%s", err, n.stderr.String())
	}
	return nil
}

// bytesRead is what the process has asked the kernel for so far: files, and what came over its sockets.
func (n *node) bytesRead() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", n.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "rchar: "); ok {
			return strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
		}
	}
	return 0, errors.New("/proc/.../io has no rchar")
}

// started is one start of three processes.
type started struct {
	took time.Duration // to the first linearizable read
	read int64         // bytes read by the process that read most
}

// start starts the cluster in dir, reads once, and ends it.
func (h history) start(oarlock, dir string) (s started, err error) {
	path := filepath.Join(dir, "cluster.toml")
	c, err := config.Load(path)
	if err != nil {
		return s, err
	}
	reader, err := client.New(client.Options{Addresses: c.ClientAddresses(), Cluster: c.Cluster})
	if err != nil {
		return s, err
	}
	var nodes []*node
	defer func() {
		err = errors.Join(err, reader.Close())
		for _, n := range nodes {
			err = errors.Join(err, n.stop())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	key, want := h.last()
	begin := time.Now()
	for id := range c.Members {
		n, err := startNode(oarlock, path, id+1)
		if err != nil {
			return s, err
		}
		nodes = append(nodes, n)
	}
	answer, err := reader.Query(ctx, kv.Get(key))
	s.took = time.Since(begin)
	if err != nil {
		return s, err
	}
	for _, n := range nodes {
		read, err := n.bytesRead()
		if err != nil {
			return s, err
		}
		s.read = max(s.read, read)
	}
	got, ok, err := kv.DecodeGet(answer)
	if err == nil && (!ok || !bytes.Equal(got, want)) {
		err = fmt.Errorf("%s holds %q, and %q was written", key, got, want)
	}
	return s, err
}
