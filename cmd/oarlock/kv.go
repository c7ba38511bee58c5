package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// kvFlags are the flags of every kv command.
type kvFlags struct {
	config  string
	timeout time.Duration
	ttl     time.Duration
	from    client.ReadFrom
}

func newKV() *cobra.Command {
	f := &kvFlags{}
	c := &cobra.Command{
		Use:   "kv",
		Short: "Read and write the cluster's key-value store",
		Long: "Reads are linearizable unless get is told otherwise; writes are applied exactly once, whatever happens to servers meanwhile. Exit status 1\n" +
			"of get and cas also means: no such key, or the value was another.",
		Args: subcommand, RunE: showHelp,
	}
	c.PersistentFlags().StringVarP(&f.config, "config", "c", "cluster.toml", "the cluster's config")
	c.PersistentFlags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to try")
	put := &cobra.Command{Use: "put KEY VALUE", Short: "Set a value", Args: args("KEY", "VALUE")}
	put.Flags().DurationVar(&f.ttl, "ttl", 0, "cluster time after which the key goes; 0 is never")
	put.RunE = f.run(func(ctx context.Context, c *client.Client, a []string) error {
		result, err := c.Propose(ctx, kv.PutExpiring([]byte(a[0]), []byte(a[1]), int64(f.ttl)))
		if err != nil {
			return err
		}
		_, err = kv.DecodePut(result)
		return err
	})
	app := &cobra.Command{Use: "append KEY VALUE", Short: "Add to the end of a value and print its length", Args: args("KEY", "VALUE")}
	app.RunE = f.run(func(ctx context.Context, c *client.Client, a []string) error {
		result, err := c.Propose(ctx, kv.Append([]byte(a[0]), []byte(a[1])))
		if err != nil {
			return err
		}
		length, err := kv.DecodeAppend(result)
		if err == nil {
			_, err = fmt.Println(length)
		}
		return err
	})
	c.AddCommand(newGet(f), put, app, newDelete(f), newCompareAndSet(f))
	return c
}

func newDelete(f *kvFlags) *cobra.Command {
	c := &cobra.Command{Use: "delete KEY", Short: "Remove a key; fails if there is none", Args: args("KEY")}
	c.RunE = f.run(func(ctx context.Context, c *client.Client, a []string) error {
		result, err := c.Propose(ctx, kv.Delete([]byte(a[0])))
		if err != nil {
			return err
		}
		existed, err := kv.DecodeDelete(result)
		if err == nil && !existed {
			err = fmt.Errorf("there is no key %q", a[0])
		}
		return err
	})
	return c
}

func newCompareAndSet(f *kvFlags) *cobra.Command {
	var absent bool
	c := &cobra.Command{
		Use: "cas KEY EXPECTED VALUE", Short: "Set a value if the present one is the expected one",
		Long: "Sets KEY to VALUE if it holds EXPECTED; with --absent, which takes no EXPECTED, if it is not there.",
	}
	c.Args = func(cmd *cobra.Command, given []string) error {
		if absent {
			return args("KEY", "VALUE")(cmd, given)
		}
		return args("KEY", "EXPECTED", "VALUE")(cmd, given)
	}
	c.Flags().BoolVar(&absent, "absent", false, "the key must not be there: cas --absent KEY VALUE")
	c.RunE = f.run(func(ctx context.Context, c *client.Client, a []string) error {
		var expected []byte // nil: none
		if !absent {
			expected = []byte(a[1])
		}
		result, err := c.Propose(ctx, kv.CompareAndSet([]byte(a[0]), expected, []byte(a[len(a)-1])))
		if err != nil {
			return err
		}
		set, err := kv.DecodeCompareAndSet(result)
		switch {
		case err != nil || set:
		case absent:
			err = errors.New("not set: the key is there")
		default:
			err = errors.New("not set: the value was another")
		}
		return err
	})
	return c
}

// run makes a command of a call through a client.
func (f *kvFlags) run(call func(context.Context, *client.Client, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, a []string) (err error) {
		conf, err := loadConfig(f.config)
		if err != nil {
			return err
		}
		c, err := newClient(conf, f.from)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		ctx, stop := signalContext(cmd.Context())
		defer stop()
		ctx, cancel := context.WithTimeout(ctx, f.timeout)
		defer cancel()
		return call(ctx, c, a)
	}
}

func newClient(conf *config.Config, from client.ReadFrom) (*client.Client, error) {
	dial, err := dialer(conf)
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{Addresses: conf.ClientAddresses(), Cluster: conf.Cluster, Dial: dial, ReadFrom: from})
}
