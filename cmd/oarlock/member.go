package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
)

// memberFlags are the flags of the commands about members and leadership.
type memberFlags struct {
	timeout time.Duration
	json    bool
	force   bool
	learner bool
	from    uint64
	given   func(flag string) bool // whether a flag was
	store   string
	address string
}

// groupCommand makes a command below `member` or `leader` that talks to the cluster.
func (f *memberFlags) groupCommand(use, short string, run func(g *groupCall, words []string) error) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.Args = func(c *cobra.Command, given []string) error {
		names := strings.Fields(use)[1:]
		many := strings.HasSuffix(names[len(names)-1], "...")
		optional := strings.HasPrefix(names[len(names)-1], "[")
		switch {
		case optional && len(given) == len(names)-1:
			return nil
		case many && len(given) > len(names):
			return nil
		}
		return args(names...)(c, given)
	}
	f.given = func(flag string) bool { return c.Flags().Changed(flag) }
	c.RunE = func(c *cobra.Command, a []string) error {
		conf, err := loadConfig(a[0])
		if err != nil {
			return err
		}
		dial, err := dialer(conf)
		if err != nil {
			return err
		}
		cl, err := client.New(client.Options{Addresses: conf.ClientAddresses(), Cluster: conf.Cluster, Dial: dial, Sessionless: true})
		if err != nil {
			return withCode(exitUsage, err)
		}
		defer cl.Close() //nolint:errcheck // it has no session to end
		ctx, stop := signalContext(c.Context())
		defer stop()
		ctx, cancel := context.WithTimeout(ctx, f.timeout)
		defer cancel()
		return run(&groupCall{f: f, conf: conf, client: cl, ctx: ctx}, a[1:])
	}
	c.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait for an answer")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// expected is the membership that a change starts from: the one that --from names, where 0 is the one that the cluster was born with;
// without the flag it is whichever there is.
func (f *memberFlags) expected() raft.Index {
	if f.given("from") && f.from == 0 {
		return raft.FromBirth
	}
	return raft.Index(f.from)
}

// groupCall is one run of such a command.
type groupCall struct {
	f      *memberFlags
	conf   *config.Config
	client *client.Client
	ctx    context.Context
}

func newMember() *cobra.Command {
	c := &cobra.Command{
		Use:   "member",
		Short: "Look at the members of a cluster, and change them",
		Long: "Every change is made by the servers together, and whole: a new voter receives the log first and counts once it has\n" +
			"caught up; if it does not, the change is given up and the cluster is as before. A command that is repeated does no\n" +
			"harm: what is so already is no error. `oarlock member plan` says beforehand what a change would do.",
		Args: subcommand, RunE: showHelp,
	}
	c.AddCommand(memberList(), memberPlan(), memberCancel())
	for _, v := range memberVerbs {
		c.AddCommand(memberChange(v))
	}
	return c
}

// memberVerb is a word for one kind of change.
type memberVerb struct {
	word, use, short, long string
	kind                   raft.ChangeKind
	newcomer               bool // the server runs on a store that the group does not know yet
}

var memberVerbs = []memberVerb{
	{
		word: "add", use: "add CONFIG ID...", kind: raft.ChangeAddVoter, newcomer: true,
		short: "Add servers, which `oarlock join` has formatted and which run",
		long: "Adds servers of CONFIG, each formatted by `oarlock join` and running: they are asked for the ids of their stores.\n" +
			"They vote once they have caught up, or, with --learner, only receive the log.",
	},
	{word: "remove", use: "remove CONFIG ID...", kind: raft.ChangeRemove, short: "Remove servers", long: "Removes servers. One that leads finishes the change and hands over. A removed server says so in its status and goes on\nrunning without harm: stop it, and keep its directory until nobody misses it."},
	{word: "promote", use: "promote CONFIG ID...", kind: raft.ChangePromote, short: "Make learners voters"},
	{word: "demote", use: "demote CONFIG ID...", kind: raft.ChangeDemote, short: "Make voters learners"},
	{
		word: "replace", use: "replace CONFIG ID", kind: raft.ChangeReplace, newcomer: true,
		short: "Give a server that lost its disk another store",
		long: "Puts a new store in the place of the one that server ID has lost. The server was formatted again by `oarlock join`\n" +
			"and runs: it is asked for the id of its store. Refused while the old store is heard of.",
	},
	{word: "address", use: "address CONFIG ID ADDRESS", kind: raft.ChangeAddress, short: "Say where the other servers reach a server now", long: "Start the server at its new address first: its `address` in the file. The others go on trying both until this command\nhas written the new one down. Then correct the file everywhere."},
}

func memberChange(v memberVerb) *cobra.Command {
	f := &memberFlags{}
	c := f.groupCommand(v.use, v.short, func(g *groupCall, words []string) error {
		changes, err := g.changes(append([]string{v.word}, words...))
		if err != nil {
			return err
		}
		return g.change(raft.MembershipChange{Changes: changes, From: f.expected(), Forced: f.force})
	})
	c.Long = v.long
	c.Flags().BoolVar(&f.force, "force", false, "also if the group could stand still after it, or a store that is replaced is heard of")
	c.Flags().Uint64Var(&f.from, "from", 0, "only if the present membership is that of this entry (INDEX of `oarlock member list`)")
	if v.newcomer {
		c.Flags().StringVar(&f.store, "store", "", "the id of its store, instead of asking the server (for one server)")
		c.Flags().StringVar(&f.address, "address", "", "where the other servers reach it, instead of its address in CONFIG (for one server)")
	}
	if v.kind == raft.ChangeAddVoter {
		c.Flags().BoolVar(&f.learner, "learner", false, "it receives the log and does not vote")
	}
	return c
}

func memberPlan() *cobra.Command {
	f := &memberFlags{}
	c := f.groupCommand("plan CONFIG CHANGE...", "Say what a change would do, and do nothing", func(g *groupCall, words []string) error {
		changes, err := g.changes(words)
		if err != nil {
			return err
		}
		return g.plan(raft.MembershipChange{Changes: changes, From: f.expected(), Forced: f.force})
	})
	c.Long = "CHANGE is what would follow `oarlock member`, and may be several: plan cluster.toml add 4 5 remove 1. Exit status 1\n" +
		"means that the change would be refused now."
	c.Flags().BoolVar(&f.force, "force", false, "what would it do with --force?")
	c.Flags().Uint64Var(&f.from, "from", 0, "only if the present membership is that of this entry")
	c.Flags().StringVar(&f.store, "store", "", "the id of a newcomer's store, instead of asking the server")
	return c
}

func memberCancel() *cobra.Command {
	f := &memberFlags{}
	return f.groupCommand("cancel CONFIG", "Give up a change whose new servers are still catching up", func(g *groupCall, _ []string) error {
		return g.change(raft.MembershipChange{Cancel: true})
	})
}

// changes reads words like: add 4 5 remove 1 address 2 10.0.0.2:4501.
func (g *groupCall) changes(words []string) ([]raft.Change, error) {
	var list []raft.Change
	verb := memberVerb{}
	for i := 0; i < len(words); i++ {
		if k := slices.IndexFunc(memberVerbs, func(v memberVerb) bool { return v.word == words[i] }); k >= 0 {
			verb = memberVerbs[k]
			continue
		}
		if verb.word == "" {
			return nil, withCode(exitUsage, fmt.Errorf("CHANGE begins with %q, which is none of: add, remove, promote, demote, replace, address", words[i]))
		}
		id, err := parseServer(words[i])
		if err != nil {
			return nil, err
		}
		c := raft.Change{Kind: verb.kind, Member: raft.Member{ID: id}}
		if verb.kind == raft.ChangeAddress {
			if i++; i == len(words) {
				return nil, withCode(exitUsage, fmt.Errorf("ADDRESS is missing: where do the others reach server %d?", id))
			}
			c.Member.Address = words[i]
		}
		if verb.newcomer {
			if c.Member, err = g.newcomer(id); err != nil {
				return nil, err
			}
		}
		if verb.kind == raft.ChangeAddVoter && g.f.learner {
			c.Kind = raft.ChangeAddLearner
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, withCode(exitUsage, errors.New("no server is named"))
	}
	return list, nil
}

// parseServer reads the id of a server.
func parseServer(word string) (raft.ServerID, error) {
	id, err := strconv.ParseUint(word, 10, 64)
	if err != nil || id == 0 {
		return 0, withCode(exitUsage, fmt.Errorf("ID %q is not the number of a server", word))
	}
	return raft.ServerID(id), nil
}

// newcomer says what the group has to know of a server that it does not know yet: it is asked, so that it is certain to run.
func (g *groupCall) newcomer(id raft.ServerID) (raft.Member, error) {
	m := raft.Member{ID: id, Address: g.f.address}
	in, err := g.conf.Member(id)
	switch {
	case err == nil && m.Address == "":
		m.Address = in.Address
	case err != nil && (m.Address == "" || g.f.store == ""):
		return m, withCode(exitUsage, fmt.Errorf("%w; add it to the file (`oarlock join` does), or name its --address and --store", err))
	}
	if g.f.store != "" {
		store, err := raft.ParseStoreID(g.f.store)
		if err != nil {
			return m, withCode(exitUsage, fmt.Errorf("--store: %w", err))
		}
		m.Store = store
		return m, nil
	}
	status, err := askStatus(g.conf, in, min(g.f.timeout, 5*time.Second))
	switch {
	case err != nil:
		return m, fmt.Errorf("server %d does not answer at %s: %w; start it (`oarlock node %s %d`), or name its --store", id, g.conf.ClientAddresses()[id], err, g.conf.Path(), id)
	case status.Server != id:
		return m, fmt.Errorf("server %d answers at the address of server %d in %s", status.Server, id, g.conf.Path())
	}
	m.Store = status.Store
	return m, nil
}

// unsafePause is how long a change that would not be safe now is left alone before it is asked for again.
const unsafePause = 100 * time.Millisecond

// change has the membership changed, and shows it.
func (g *groupCall) change(c raft.MembershipChange) error {
	for _, one := range c.Changes {
		if one.Kind == raft.ChangeAddVoter && !g.f.json {
			fmt.Fprintf(os.Stderr, "server %d receives the log, and votes once it has caught up\n", one.Member.ID)
		}
	}
	at, err := g.client.ChangeMembership(g.ctx, c)
	// A server that has just come is not heard of yet, and one that has just gone still is: for an election timeout.
	for began := time.Now(); errors.Is(err, client.ErrChangeUnsafe) && time.Since(began) < 2*g.conf.Timing.ElectionTimeoutMax; {
		select {
		case <-g.ctx.Done():
			return err
		case <-time.After(unsafePause):
		}
		at, err = g.client.ChangeMembership(g.ctx, c)
	}
	if errors.Is(err, client.ErrUnknown) {
		return fmt.Errorf("%w; the change may have begun and then goes on by itself: `oarlock member list %s` shows it", err, g.conf.Path())
	}
	if err != nil {
		return err
	}
	return g.show(at, nil)
}
