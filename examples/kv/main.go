// Command kv has a replicated key-value store inside of itself: three servers, on disk and over TCP. Run it again, and
// what it stored is there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/statemachine/kv"
)

func main() {
	dir := flag.String("dir", filepath.Join(os.TempDir(), "oarlock-kv"), "where the store is kept")
	port := flag.Int("port", 4601, "the first of three ports, when the store is made")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout, *dir, *port); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, dir string, port int) (err error) {
	conf, err := cluster(dir, port)
	if err != nil {
		return err
	}
	var servers []*config.Server
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Close()) // closing one that is closed does no harm
		}
	}()
	for _, m := range conf.Members {
		s, err := conf.OpenServer(m.ID, kv.New(), nil)
		if err != nil {
			return err
		}
		servers = append(servers, s)
	}
	c, err := client.New(client.Options{Addresses: conf.ClientAddresses(), Cluster: conf.Cluster})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return story(ctx, out, servers, c)
}

// cluster reads the config that an earlier run left in dir, or makes one with its stores.
func cluster(dir string, port int) (*config.Config, error) {
	path := filepath.Join(dir, "cluster.toml")
	conf, err := config.Load(path)
	if !errors.Is(err, os.ErrNotExist) {
		return conf, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if conf, err = config.Generate(3, "data", port); err != nil {
		return nil, err
	}
	if err := conf.Write(path); err != nil {
		return nil, err
	}
	for _, m := range conf.Members {
		if err := os.MkdirAll(filepath.Dir(conf.DataDir(m)), 0o700); err != nil {
			return nil, err
		}
		if err := conf.Format(m.ID); err != nil {
			return nil, err
		}
	}
	return conf, nil
}

func story(ctx context.Context, out io.Writer, servers []*config.Server, c *client.Client) error {
	result, err := c.Propose(ctx, kv.Append([]byte("runs"), []byte("|")))
	if err != nil {
		return err
	}
	run, err := kv.DecodeAppend(result) // the length of the value: one stroke a run
	if err != nil {
		return err
	}
	if err := show(ctx, out, c, run); err != nil {
		return err
	}
	if err := servers[0].Close(); err != nil {
		return err
	}
	fmt.Fprintf(out, "run %d: server %d has stopped\n", run, servers[0].Member.ID)
	if _, err := c.Propose(ctx, kv.Put([]byte("greeting"), fmt.Appendf(nil, "hello from run %d", run))); err != nil {
		return err
	}
	return show(ctx, out, c, run)
}

// show reads, through whoever leads now, and sees every write that was answered.
func show(ctx context.Context, out io.Writer, c *client.Client, run int) error {
	result, err := c.Query(ctx, kv.Get([]byte("greeting")))
	if err != nil {
		return err
	}
	value, found, err := kv.DecodeGet(result)
	if err != nil {
		return err
	}
	if !found {
		value = []byte("not there")
	}
	fmt.Fprintf(out, "run %d: greeting is %s\n", run, value)
	return nil
}
