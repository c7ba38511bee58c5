package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
)

// measured is what a demo has whose clients are to notice nothing: every call of theirs has to succeed, and how long they waited
// is measured, step by step.
type measured struct {
	pauses  *pauses
	aim     time.Duration // two of the longest election timeouts
	clients []*client.Client
	deaf    func() error // ends the listening to the machine
}

// startMeasured starts the load through a few clients, each of which has a session of its own for as long as the demo lasts.
func (d *demo) startMeasured(ctx context.Context, clients int) (err error) {
	c := d.cluster.conf
	d.pauses, d.aim = new(pauses), 2*c.Timing.ElectionTimeoutMax
	d.pauses.begin("nothing happens")
	if d.deaf, err = d.pauses.listen(d.dir); err != nil {
		return err
	}
	addresses := make([]string, demoPorts)
	for k := range addresses {
		addresses[k] = d.cluster.address(raft.ServerID(k + 1))
	}
	for range clients {
		one, err := client.New(client.Options{Servers: addresses, Cluster: c.Cluster, BackoffMax: 100 * time.Millisecond})
		if err != nil {
			return err
		}
		d.clients = append(d.clients, one)
	}
	d.load = startLoadBy(ctx, d.clients, d.options.writers, d.view, d.pauses)
	return nil
}

// stopMeasured ends the load, its clients and the listening. It may be called twice.
func (d *demo) stopMeasured() (err error) {
	if d.load != nil {
		d.load.stop()
	}
	for _, c := range d.clients {
		err = errors.Join(err, c.Close())
	}
	d.clients = nil
	if d.deaf != nil {
		err = errors.Join(err, d.deaf())
		d.deaf = nil
	}
	return err
}

// settleKeys is how many more keys have to be written before a step is over: what it caused comes to an end within it.
const settleKeys = 100

// settle lets the load run on for a moment and prints the pause of the step that ends with it.
func (d *demo) settle(ctx context.Context) error {
	if err := d.load.waitFor(ctx, d.load.written()+min(settleKeys, d.options.keys/10)); err != nil {
		return err
	}
	s := d.pauses.latest()
	d.view.line("longest time without an acknowledged write: %s%s", milliseconds(s.pause), noisy(s))
	return nil
}

// strictFlag gives the command of such a demo the flag that makes a pause an error. Without it the exit status says nothing about
// time, so that a test does not depend on how fast its machine is.
func (o *demoOptions) strictFlag(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&o.strict, "strict", false, "fail (exit status 1) if a step's pause was longer than two of the longest election timeouts, and the machine itself was quiet in it")
	return c
}

// verifyMeasured ends the load in good order, reads everything back, compares states, prints what was found, and judges the pauses.
func (d *demo) verifyMeasured(ctx context.Context) error {
	if err := d.load.finish(); err != nil {
		return fmt.Errorf("a write failed: %w", err)
	}
	if err := d.verify(ctx); err != nil {
		return err
	}
	if _, unknown := d.load.results(); unknown > 0 {
		return withCode(exitLost, fmt.Errorf("%d calls ended without saying whether the key was written", unknown))
	}
	return d.judge()
}

// judge makes a pause an error that was too long, if it was asked for.
func (d *demo) judge() error {
	if s, found := d.pauses.tooLong(d.aim); found && d.options.strict {
		return fmt.Errorf("nothing was lost, but in the step %q no write was acknowledged for %s, and this machine was quiet: it kept nothing waiting for longer than %s (the aim: %s)",
			s.name, milliseconds(s.pause), milliseconds(s.noise), milliseconds(d.aim))
	}
	return nil
}
