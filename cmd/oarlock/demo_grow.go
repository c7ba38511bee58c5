package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
)

func newDemoGrow(o *demoOptions) *cobra.Command {
	return o.strictFlag(&cobra.Command{
		Use:   "grow",
		Short: "One server becomes five, and then one that is another: nothing is lost",
		Long: "Starts one `oarlock node` process and adds four others to it, with `oarlock join` and `oarlock member add`, while clients\n" +
			"write. Then it removes them again, the first one, which leads, before all others, until one is left that was not\n" +
			"there at the beginning. Everything that was acknowledged is on that one, no call fails, and it prints how long writes paused.",
		Args: args(),
		RunE: o.run((*demo).growAndShrink),
	})
}

// growAndShrink takes a cluster from one server over five to another one, under load.
func (d *demo) growAndShrink(ctx context.Context) error {
	d.view.title("oarlock demo grow: one server becomes five, and then another one")
	if err := d.open(ctx, 1, "one server: Pebble on disk, TCP for clients and for servers to come"); err != nil {
		return err
	}
	if err := d.startMeasured(ctx, 4); err != nil {
		return err
	}
	defer d.stopMeasured() //nolint:errcheck // what matters of it was asked for before
	d.view.section(fmt.Sprintf("%d writers put unique keys, and four servers join", d.options.writers))
	acts := []func(context.Context) error{
		d.grow(2), d.grow(3), d.grow(4, 5), d.compare,
		d.shrink(1), d.shrink(2, 3), d.shrink(5),
	}
	for n, act := range acts {
		if err := d.load.waitFor(ctx, d.options.keys*(n+1)/(len(acts)+1)); err != nil {
			return err
		}
		if err := act(ctx); err != nil {
			return err
		}
	}
	if err := d.load.waitFor(ctx, d.options.keys); err != nil {
		return err
	}
	return d.verifyMeasured(ctx)
}

// grow formats new servers, starts them, and has them added by one change.
func (d *demo) grow(ids ...raft.ServerID) func(context.Context) error {
	return func(ctx context.Context) error {
		d.pauses.begin("add " + servers(ids))
		began := time.Now()
		words := []string{"member", "add", d.cluster.conf.Path()}
		for _, id := range ids {
			if err := d.join(ctx, id); err != nil {
				return err
			}
			words = append(words, word(id))
		}
		if err := d.command(ctx, words...); err != nil {
			return err
		}
		d.view.event(began, "%s voters now, %s after the first word: %s", inWords(len(d.cluster.processes)), milliseconds(time.Since(began)), d.leads(ctx))
		return d.settle(ctx)
	}
}

// join makes a server that joins, and starts it.
func (d *demo) join(ctx context.Context, id raft.ServerID) error {
	c := &d.cluster
	if err := d.command(ctx, "join", c.conf.Path(), word(id), "--address", c.address(id)); err != nil {
		return err
	}
	conf, err := config.Load(c.conf.Path())
	if err != nil {
		return err
	}
	m, err := conf.Member(id)
	if err != nil {
		return err
	}
	c.conf = conf
	p, err := c.add(m, d.dir)
	if err != nil {
		return err
	}
	d.view.line("server %d   %s   pid %d", id, m.Address, p.pid())
	if err := poll(ctx, func() bool { _, err := p.group(ctx); return err == nil }); err != nil {
		return fmt.Errorf("server %d does not answer: %w; see %s", id, err, p.log)
	}
	return nil
}

// command runs another command of this program, as an operator does, and shows what it was.
func (d *demo) command(ctx context.Context, words ...string) error {
	d.view.print("36", "  %8s   $ oarlock %s", d.view.clock(), strings.Join(shown(words, d.dir), " "))
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, self, words...).CombinedOutput(); err != nil {
		return fmt.Errorf("oarlock %s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func word(id raft.ServerID) string { return strconv.FormatUint(uint64(id), 10) }

// shown are words without the folder that the demo has its files in.
func shown(words []string, dir string) []string {
	short := slices.Clone(words)
	for k := range short {
		short[k] = strings.TrimPrefix(short[k], dir+string(filepath.Separator))
	}
	return short
}

// leads says who leads, for the story; nothing depends on it.
func (d *demo) leads(ctx context.Context) string {
	leader, err := d.cluster.leader(ctx, 0, nil)
	if err != nil {
		return "nobody leads"
	}
	return fmt.Sprintf("server %d leads, in term %d", leader.server, leader.term)
}

// shrink removes servers by one change, waits until they know it, and ends them.
func (d *demo) shrink(ids ...raft.ServerID) func(context.Context) error {
	return func(ctx context.Context) error {
		leader, err := d.cluster.leader(ctx, 0, nil)
		if err != nil {
			return err
		}
		what := "remove " + servers(ids)
		if slices.Contains(ids, leader.server) {
			what += fmt.Sprintf(" (%d leads)", leader.server)
		}
		d.pauses.begin(what)
		began := time.Now()
		words := []string{"member", "remove", d.cluster.conf.Path()}
		for _, id := range ids {
			words = append(words, word(id))
		}
		if err := d.command(ctx, words...); err != nil {
			return err
		}
		for _, id := range ids {
			if err := d.retire(ctx, d.cluster.process(id)); err != nil {
				return err
			}
		}
		d.view.event(began, "%s left, %s after the word: %s", inWords(len(d.cluster.processes)), milliseconds(time.Since(began)), d.leads(ctx))
		return d.settle(ctx)
	}
}

// retire ends a server that was removed, once it says so itself.
func (d *demo) retire(ctx context.Context, p *demoProcess) error {
	err := poll(ctx, func() bool {
		g, err := p.group(ctx)
		return err == nil && g.Removed && g.Role != raft.RoleLeader.String()
	})
	if err != nil {
		return fmt.Errorf("server %d was not told that it is no member: %w", p.member.ID, err)
	}
	if err := p.terminate(ctx); err != nil {
		return err
	}
	d.cluster.drop(p)
	return nil
}

// compare has the writers rest for a moment, and compares what all servers have.
func (d *demo) compare(ctx context.Context) error {
	goOn := d.load.rest()
	defer goOn()
	states, err := d.cluster.states(ctx)
	if err != nil {
		return fmt.Errorf("comparing the servers' states: %w", err)
	}
	for _, s := range states {
		if s.hash != states[0].hash {
			return withCode(exitLost, fmt.Errorf("server %d has another state than server %d: %016x, %016x", s.server, states[0].server, s.hash, states[0].hash))
		}
	}
	d.view.section("the writers rest for a moment")
	d.view.event(time.Now(), "all %s servers hold %s keys, state %016x", inWords(len(states)), thousands(states[0].keys), states[0].hash)
	d.view.section("and back to one, which is not the first")
	return nil
}

// servers are ids as people write them.
func servers(ids []raft.ServerID) string {
	words := make([]string, len(ids))
	for k, id := range ids {
		words[k] = word(id)
	}
	if len(ids) == 1 {
		return "server " + words[0]
	}
	return "servers " + strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
