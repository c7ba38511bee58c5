package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/raft"
)

func newDemoRestart(o *demoOptions) *cobra.Command {
	return o.strictFlag(&cobra.Command{
		Use:   "restart",
		Short: "Three servers, restarted one after the other: no call fails",
		Long: "Starts three `oarlock node` processes and restarts each with SIGTERM, the leader first, while clients write. A leader that is\n" +
			"told to end hands leadership over before it does. No call fails, and it prints how long writes paused.",
		Args: args(),
		RunE: o.run((*demo).restartServers),
	})
}

// restartServers restarts every server in turn, a leader wherever there is one to choose, under load.
func (d *demo) restartServers(ctx context.Context) error {
	d.view.title("oarlock demo restart: every server is restarted, and no client notices")
	if err := d.open(ctx, 3, "three servers: a process each, Pebble on disk, TCP between them"); err != nil {
		return err
	}
	if err := d.startMeasured(ctx, 4); err != nil {
		return err
	}
	defer d.stopMeasured() //nolint:errcheck // what matters of it was asked for before
	d.view.section(fmt.Sprintf("%d writers put unique keys, and every server is restarted, as for an upgrade", d.options.writers))
	var done []raft.ServerID
	for n := range d.cluster.processes {
		if err := d.load.waitFor(ctx, d.options.keys*(n+1)/(len(d.cluster.processes)+1)); err != nil {
			return err
		}
		p, leads, err := d.nextToRestart(ctx, done)
		if err != nil {
			return err
		}
		if err := d.restart(ctx, p, leads); err != nil {
			return err
		}
		done = append(done, p.member.ID)
	}
	if err := d.load.waitFor(ctx, d.options.keys); err != nil {
		return err
	}
	return d.verifyMeasured(ctx)
}

// nextToRestart returns the leader, or another server if the leader had its turn already.
func (d *demo) nextToRestart(ctx context.Context, done []raft.ServerID) (p *demoProcess, leads bool, err error) {
	leader, err := d.cluster.leader(ctx, 0, nil)
	if err != nil {
		return nil, false, err
	}
	if !slices.Contains(done, leader.server) {
		return d.cluster.process(leader.server), true, nil
	}
	for _, p := range d.cluster.processes {
		if !slices.Contains(done, p.member.ID) {
			return p, false, nil
		}
	}
	return nil, false, errors.New("every server was restarted")
}

// restart ends one server as a supervisor does, starts it again, and waits until it has what the others have.
func (d *demo) restart(ctx context.Context, p *demoProcess, leads bool) error {
	what := fmt.Sprintf("server %d, a follower", p.member.ID)
	if leads {
		what = fmt.Sprintf("server %d, the leader", p.member.ID)
	}
	d.pauses.begin("restart " + what)
	d.view.kill("SIGTERM %s (%s keys written)", what, thousands(d.load.written()))
	began := time.Now()
	if err := p.terminate(ctx); err != nil {
		return err
	}
	took := time.Since(began)
	leader, err := d.cluster.leader(ctx, 0, p)
	if err != nil {
		return err
	}
	d.view.event(began, "it has ended by itself after %s, and server %d leads, in term %d", milliseconds(took), leader.server, leader.term)
	if err := d.revive(ctx, p); err != nil {
		return err
	}
	return d.settle(ctx)
}
