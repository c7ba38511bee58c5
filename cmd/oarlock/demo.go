package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/config"
)

// demoOptions are the demo's flags.
type demoOptions struct {
	keys    int
	writers int
	dir     string
	keep    bool
	strict  bool // of the demos that measure pauses: one that is too long is an error
}

func newDemo() *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo",
		Short: "Three servers, real disks and sockets: kill the leader, lose nothing",
		Long: "Starts three `oarlock node` processes on this machine, with Pebble on disk and TCP between them. It writes\n" +
			"unique keys while it kills the leader three times and a follower once, with SIGKILL, and starts them again.\n" +
			"Then it reads every acknowledged key back and compares the state of all three. Exit status 4 means that\n" +
			"something was lost.",
		Args: args(),
		RunE: o.run((*demo).loseServers),
	}
	c.PersistentFlags().IntVar(&o.keys, "keys", 12_000, "write at least this many keys")
	c.PersistentFlags().IntVar(&o.writers, "writers", 16, "goroutines that write")
	c.PersistentFlags().StringVar(&o.dir, "dir", "", "where the servers' data goes (default: a new temporary folder)")
	c.PersistentFlags().BoolVar(&o.keep, "keep", false, "keep the data and the servers' logs")
	c.AddCommand(newDemoGrow(&o), newDemoRestart(&o))
	return c
}

// run makes a command of a demo's acts.
func (o *demoOptions) run(acts func(*demo, context.Context) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		ctx, stop := signalContext(c.Context())
		defer stop()
		return runDemo(ctx, *o, acts)
	}
}

// demoPorts is how many servers a demo has in all.
const demoPorts = 5

// demoTimeout ends a demo that hangs; a whole one takes about half a minute.
const demoTimeout = 110 * time.Second

func runDemo(ctx context.Context, o demoOptions, acts func(*demo, context.Context) error) (err error) {
	if o.keys < 1 || o.writers < 1 {
		return withCode(exitUsage, fmt.Errorf("--keys (%d) and --writers (%d) must be positive", o.keys, o.writers))
	}
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	dir, made, err := demoDir(o.dir)
	if err != nil {
		return err
	}
	v := newDemoView(os.Stdout)
	d := &demo{options: o, view: v, dir: dir}
	defer func() {
		d.cluster.stop()
		v.end()
		switch {
		case err != nil:
			fmt.Printf("\n  the servers' data and logs are in %s\n", dir)
		case made && !o.keep:
			err = os.RemoveAll(dir)
		}
	}()
	return acts(d, ctx)
}

func demoDir(dir string) (path string, made bool, err error) {
	if dir == "" {
		path, err = os.MkdirTemp("", "oarlock-demo-")
		return path, true, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", false, err
	}
	path, err = filepath.Abs(dir)
	return path, false, err
}

// demo is one run: the acts in order, and what they found.
type demo struct {
	options demoOptions
	view    *demoView
	dir     string
	cluster demoCluster
	load    *demoLoad

	measured

	failovers []time.Duration
	catchUps  []time.Duration
}

// loseServers kills leaders and a follower, under load.
func (d *demo) loseServers(ctx context.Context) error {
	d.view.title("oarlock demo: a replicated key-value store outlives its leader")
	if err := d.open(ctx, 3, "three servers: a process each, Pebble on disk, TCP between them"); err != nil {
		return err
	}
	d.view.section(fmt.Sprintf("%d writers put unique keys, and the machine is not kind to them", d.options.writers))
	d.load = startLoad(ctx, d.cluster.client, d.options.writers, d.view)
	defer d.load.stop()
	for act := range 4 {
		// The load runs on; each act waits for its share of it first.
		if err := d.load.waitFor(ctx, d.options.keys*(act+1)/6); err != nil {
			return err
		}
		kill := d.loseLeader
		if act == 2 {
			kill = d.loseFollower
		}
		if err := kill(ctx); err != nil {
			return err
		}
	}
	if err := d.load.waitFor(ctx, d.options.keys); err != nil {
		return err
	}
	d.load.stop()
	return d.verify(ctx)
}

// open makes a cluster and waits for its first leader.
func (d *demo) open(ctx context.Context, servers int, what string) error {
	v := d.view
	c, port, err := demoConfig(d.dir, servers)
	if err != nil {
		return err
	}
	if err := formatMembers(c, c.Members, "name another folder with --dir"); err != nil {
		return err
	}
	v.section(what)
	began := time.Now()
	d.cluster.port = port
	if err := d.cluster.start(c, d.dir); err != nil {
		return err
	}
	for _, p := range d.cluster.processes {
		v.line("server %d   %s   pid %d", p.member.ID, p.member.Address, p.pid())
	}
	leader, err := d.cluster.leader(ctx, 0, nil)
	if err != nil {
		return fmt.Errorf("no leader was elected: %w", err)
	}
	v.event(began, "server %d leads, in term %d", leader.server, leader.term)
	return nil
}

func demoConfig(dir string, servers int) (c *config.Config, port int, err error) {
	port, err = freePorts(demoPorts)
	if err != nil {
		return nil, 0, err
	}
	c, err = config.Generate(servers, filepath.Join(dir, "data"), port)
	if err != nil {
		return nil, 0, err
	}
	return c, port, c.Write(filepath.Join(dir, "cluster.toml"))
}

// loseLeader kills the leader, waits for the first write that succeeds after it, and brings the dead one back.
func (d *demo) loseLeader(ctx context.Context) error {
	old, err := d.cluster.leader(ctx, 0, nil)
	if err != nil {
		return err
	}
	victim := d.cluster.process(old.server)
	killed := time.Now()
	if err := victim.kill(); err != nil {
		return err
	}
	d.view.kill("SIGKILL server %d, the leader (%s keys written)", old.server, thousands(d.load.written()))
	took, err := d.load.probe(ctx, killed)
	if err != nil {
		return fmt.Errorf("no write succeeded after the leader was killed: %w", err)
	}
	d.failovers = append(d.failovers, took)
	leader, err := d.cluster.leader(ctx, old.term+1, victim)
	if err != nil {
		return err
	}
	d.view.event(killed, "server %d leads, in term %d; first write after %s", leader.server, leader.term, milliseconds(took))
	return d.revive(ctx, victim)
}

// loseFollower kills a follower. The majority goes on without a pause.
func (d *demo) loseFollower(ctx context.Context) error {
	leader, err := d.cluster.leader(ctx, 0, nil)
	if err != nil {
		return err
	}
	victim := d.cluster.notServer(leader.server)
	killed := time.Now()
	if err := victim.kill(); err != nil {
		return err
	}
	d.view.kill("SIGKILL server %d, a follower (%s keys written)", victim.member.ID, thousands(d.load.written()))
	took, err := d.load.probe(ctx, killed)
	if err != nil {
		return fmt.Errorf("no write succeeded after a follower was killed: %w", err)
	}
	d.view.event(killed, "server %d still leads; next write after %s", leader.server, milliseconds(took))
	return d.revive(ctx, victim)
}

// revive starts a dead server again and waits until it has what the others have.
func (d *demo) revive(ctx context.Context, p *demoProcess) error {
	missed := d.load.written()
	began := time.Now()
	if err := p.start(); err != nil {
		return err
	}
	if err := d.cluster.caughtUp(ctx, p); err != nil {
		return fmt.Errorf("server %d did not catch up: %w", p.member.ID, err)
	}
	took := time.Since(began)
	d.catchUps = append(d.catchUps, took)
	d.view.event(began, "server %d is back and has caught up, %s after its start, %s keys later", p.member.ID, milliseconds(took), thousands(d.load.written()-missed))
	return nil
}

// verify reads everything back and compares the states of all servers.
func (d *demo) verify(ctx context.Context) error {
	v := d.view
	v.section("was anything lost?")
	acked, unknown := d.load.results()
	began := time.Now()
	lost, err := d.load.readBack(ctx)
	if err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	v.event(began, "read back %s acknowledged keys: %s missing or wrong", thousands(acked), thousands(lost))
	began = time.Now()
	states, err := d.cluster.states(ctx)
	if err != nil {
		return fmt.Errorf("comparing the servers' states: %w", err)
	}
	same := true
	for _, s := range states {
		same = same && s.hash == states[0].hash && s.applied == states[0].applied
		v.event(began, "server %d   applied %-8s %s keys   state %016x", s.server, thousands(int(s.applied)), thousands(s.keys), s.hash)
	}
	if d.pauses != nil {
		v.printPauses(d.pauses, d.aim)
	}
	v.summary(d, unknown, lost, same)
	switch {
	case lost > 0:
		return withCode(exitLost, fmt.Errorf("%d acknowledged keys are lost", lost))
	case !same:
		return withCode(exitLost, fmt.Errorf("the %s states differ", inWords(len(states))))
	case acked < d.options.keys:
		return fmt.Errorf("only %d of %d keys were written", acked, d.options.keys)
	}
	return nil
}
