package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
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
		g := &groupCall{f: f, conf: conf, client: cl, ctx: ctx}
		return g.explained(run(g, a[1:]))
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
			"harm: what is so already is no error, if all of the change is so. `oarlock member plan` says beforehand what a change\n" +
			"would do.\n\n" + severalChanges,
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
		word: "add", use: "add CONFIG ID[@HOST:PORT]...", kind: raft.ChangeAddVoter, newcomer: true,
		short: "Add servers, which `oarlock join` has formatted and which run",
		long: "Adds servers, each formatted by `oarlock join` and running: they are asked for the ids of their stores. One that is\n" +
			"not in CONFIG, because it was joined with the file of another machine, is named with its address: 4@10.0.0.4:4501.\n" +
			"They vote once they have caught up, or, with --learner, only receive the log.",
	},
	{word: "remove", use: "remove CONFIG ID...", kind: raft.ChangeRemove, short: "Remove servers", long: "Removes servers. One that leads finishes the change and hands over. A removed server says so in its status and its log,\nand goes on running without harm: stop it, and keep its directory until nobody misses it."},
	{word: "promote", use: "promote CONFIG ID...", kind: raft.ChangePromote, short: "Make learners voters"},
	{word: "demote", use: "demote CONFIG ID...", kind: raft.ChangeDemote, short: "Make voters learners"},
	{
		word: "replace", use: "replace CONFIG ID[@HOST:PORT]", kind: raft.ChangeReplace, newcomer: true,
		short: "Give a server that lost its disk another store",
		long: "Puts a new store in the place of the one that server ID has lost. The server was formatted again by `oarlock join`\n" +
			"and runs: it is asked for the id of its store. Refused while the old store is heard of.",
	},
	{word: "address", use: "address CONFIG ID ADDRESS", kind: raft.ChangeAddress, short: "Say where the other servers reach a server now", long: "Start the server at its new address first: its `address` in the file. The others go on trying both until this command\nhas written the new one down. It asks whether the server answers there, unless --force is given. Then correct the file everywhere."},
}

// severalChanges says how the words of the commands go together.
const severalChanges = "Several changes are made as one, whole or not at all, if they follow one another:\n\n" +
	"  oarlock member remove cluster.toml 4 demote 3"

func memberChange(v memberVerb) *cobra.Command {
	f := &memberFlags{}
	c := f.groupCommand(v.use, v.short, func(g *groupCall, words []string) error {
		changes, err := g.changes(append([]string{v.word}, words...))
		if err != nil {
			return err
		}
		return g.change(raft.MembershipChange{Changes: changes, From: f.expected(), Forced: f.force})
	})
	c.Long = cmp.Or(v.long, v.short+".")
	if strings.HasSuffix(v.use, "...") {
		c.Long += "\n\n" + severalChanges
	}
	f.changeFlags(c, v)
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
	c.Long = "CHANGE is what would follow `oarlock member`, without CONFIG, and may be several, which are one change then:\n\n" +
		"  oarlock member plan cluster.toml add 4 5 remove 1\n\n" +
		"--learner is for all that are added. Exit status 1 means that the change would be refused now. A leader that was elected just\n" +
		"now is given the time to hear of the others."
	f.changeFlags(c, memberVerbs...)
	return c
}

// changeFlags gives a command the flags of some kinds of change.
func (f *memberFlags) changeFlags(c *cobra.Command, verbs ...memberVerb) {
	is := func(ok func(memberVerb) bool) bool { return slices.ContainsFunc(verbs, ok) }
	c.Flags().BoolVar(&f.force, "force", false, "also if the group could stand still after it, a store that is replaced is heard of, or nobody answers at a server's new address")
	c.Flags().Uint64Var(&f.from, "from", 0,
		"only if the present membership is that of this `ENTRY`, as member list says; 0: the one that the cluster was born with (default: whichever is there)")
	if is(func(v memberVerb) bool { return v.newcomer }) {
		c.Flags().StringVar(&f.store, "store", "", "the id of the new server's store, instead of asking it (for one server)")
		c.Flags().StringVar(&f.address, "address", "", "where the other servers reach the new one, as ID@HOST:PORT (for one server)")
	}
	if is(func(v memberVerb) bool { return v.kind == raft.ChangeAddVoter }) {
		c.Flags().BoolVar(&f.learner, "learner", false, "who is added receives the log and does not vote")
	}
}

func memberCancel() *cobra.Command {
	f := &memberFlags{}
	return f.groupCommand("cancel CONFIG", "Give up a change whose new servers are still catching up", func(g *groupCall, _ []string) error {
		return g.change(raft.MembershipChange{Cancel: true})
	})
}

// askPause is how long a leader that refused for a reason that passes is left alone before it is asked again.
const askPause = 100 * time.Millisecond

// patiently asks again, for two election timeouts, while the answer is an error that passes by itself.
func (g *groupCall) patiently(passes error, ask func() error) error {
	err := ask()
	waits := func() bool { return errors.Is(err, passes) && !errors.Is(err, client.ErrUnknown) }
	for began := time.Now(); waits() && time.Since(began) < 2*g.conf.Timing.ElectionTimeoutMax; {
		select {
		case <-g.ctx.Done():
			return err
		case <-time.After(askPause):
		}
		err = ask()
	}
	return err
}

// change has the membership changed, and shows it.
func (g *groupCall) change(c raft.MembershipChange) error {
	if err := g.await(); err != nil {
		return err
	}
	for _, one := range c.Changes {
		if one.Kind == raft.ChangeAddVoter && !g.f.json {
			fmt.Fprintf(os.Stderr, "if the change is accepted, server %d receives the log, and votes once it has caught up\n", one.Member.ID)
		}
	}
	var at raft.MembershipAt
	// A server that has just come is not heard of yet, and one that has just gone still is: for an election timeout.
	err := g.patiently(client.ErrChangeUnsafe, func() (err error) {
		at, err = g.client.ChangeMembership(g.ctx, c)
		return err
	})
	if errors.Is(err, client.ErrUnknown) {
		return fmt.Errorf("%w; the change may have begun and then goes on by itself: `oarlock member list %s` shows it", err, g.conf.Path())
	}
	if err != nil {
		return err
	}
	return g.show(at, 0, nil)
}
