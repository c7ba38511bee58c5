package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// getFlags are the flags of kv get.
type getFlags struct {
	consistency string
	maxAge      time.Duration
	minIndex    uint64
	any         bool
	showIndex   bool
}

func newGet(f *kvFlags) *cobra.Command {
	g := &getFlags{}
	get := &cobra.Command{
		Use: "get KEY", Short: "Print a value", Args: args("KEY"),
		Long: "Prints the value of KEY. --consistency says how fresh it must be: linearizable (all that was answered to anyone\n" +
			"before), lease (the same, on the word of the servers' clocks), bounded (by --max-age, --min-index or both), stale\n" +
			"(whatever the server that answers has).",
	}
	get.Flags().StringVar(&g.consistency, "consistency", client.Linearizable.String(), "linearizable, lease, bounded or stale")
	get.Flags().DurationVar(&g.maxAge, "max-age", 0, "bounded: what was answered longer ago than this must be seen")
	get.Flags().Uint64Var(&g.minIndex, "min-index", 0, "bounded: the entry of the log up to which all must be seen")
	get.Flags().BoolVar(&g.any, "any", false, "let any server answer, not the leader alone")
	get.Flags().BoolVar(&g.showIndex, "show-index", false, "also print the entry up to which the answer has seen the log, for --min-index")
	read := f.run(func(ctx context.Context, c *client.Client, a []string) error {
		consistency, err := g.parse()
		if err != nil {
			return err
		}
		return g.get(ctx, c, a[0], consistency)
	})
	get.RunE = func(cmd *cobra.Command, a []string) error {
		if g.any {
			f.from = client.ReadAny
		}
		return read(cmd, a)
	}
	return get
}

// parse reads the flags of consistency.
func (g *getFlags) parse() (client.Consistency, error) {
	c := client.Consistency{MaxAge: g.maxAge, MinIndex: raft.Index(g.minIndex)}
	for _, level := range []raft.Level{client.Linearizable, client.Stale, client.Lease, client.Bounded} {
		if level.String() == g.consistency {
			c.Level = level
			return c, c.Validate()
		}
	}
	return c, fmt.Errorf("--consistency is linearizable, lease, bounded or stale, not %q", g.consistency)
}

func (g *getFlags) get(ctx context.Context, c *client.Client, key string, consistency client.Consistency) error {
	result, err := c.Query(ctx, kv.Get([]byte(key)), consistency)
	if err != nil {
		return err
	}
	value, found, err := kv.DecodeGet(result)
	switch {
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("there is no key %q", key)
	}
	if _, err = fmt.Fprintf(os.Stdout, "%s\n", value); err == nil && g.showIndex {
		_, err = fmt.Fprintf(os.Stdout, "%d\n", c.Seen())
	}
	return err
}
