package sim

import (
	"strings"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// RunOptions say how a plan is run. They change nothing about what happens in it.
type RunOptions struct {
	// Story has everything that happens written down, which costs time: Result.Story.
	Story bool
	// SkipHistories leaves out the search for an order that explains what clients were told, of which the time varies.
	SkipHistories bool
}

// Result is what came of a run.
type Result struct {
	// Failure is the first rule that was broken; nil if none was.
	Failure *Failure
	// Story tells what happened, a line for each thing, if it was asked for.
	Story string
	// Digest is a hash of everything that happened, in order: the same in every run of the same plan.
	Digest uint64
	// Virtual is how much time passed in the run.
	Virtual time.Duration
	// Steps is how many events there were, Calls how many calls, Answered how many of them had a known outcome, Changes how many
	// commands were executed, Faults how many faults came to pass.
	Steps    uint64
	Calls    int
	Answered int
	Changes  int
	Faults   int
	// ByKind counts the faults, by kind.
	ByKind [faultKinds]int
	// Coverage counts the situations that the run came into.
	Coverage Coverage

	guests *guests
}

// Run runs a plan from beginning to end, or to the first rule that is broken.
func Run(p *Plan, o RunOptions) *Result {
	w := newWorld(p)
	defer w.guests.close()
	if o.Story {
		w.story = new(strings.Builder)
		w.story.WriteString(p.String())
		if w.guests != nil {
			w.beginPlain()
		}
	}
	w.begin()
	w.run(startTime + p.Trouble)
	if w.failure == nil {
		w.heal()
	}
	if w.failure == nil && !o.SkipHistories {
		w.checkHistories()
	}
	return w.result()
}

// begin plants everything that is planned.
func (w *world) begin() {
	p := w.plan
	for k := range p.Servers {
		w.addHost(raft.ServerID(k + 1))
	}
	for k := range p.Spares {
		w.addHost(raft.ServerID(p.Servers + k + 1)).joins = true
	}
	for k, c := range p.Clients {
		w.clients = append(w.clients, w.newClient(k, c))
	}
	for _, h := range w.hosts[:p.Servers] {
		h.began = true
		w.after(upTo(w.jobs, 100*time.Millisecond), h.start)
	}
	for i := range p.Calls {
		c := &p.Calls[i]
		w.at(startTime+c.At, func() {
			client := w.clients[c.Client]
			client.do(func() { client.call(c) })
		})
	}
	for i := range p.Faults {
		f := &p.Faults[i]
		w.at(startTime+f.At, func() { w.strike(f) })
	}
	for i := range p.Orders {
		o := &p.Orders[i]
		w.at(startTime+o.At, func() { w.operator.give(o) })
	}
}

func (w *world) result() *Result {
	r := &Result{
		Failure: w.failure, Digest: w.digest, Virtual: w.now - startTime, Steps: w.steps, Calls: len(w.oracle.ops), Faults: w.faults,
		ByKind: w.byKind, Coverage: w.cover, guests: w.guests,
	}
	for _, k := range w.oracle.ops {
		if k.ended && k.err == nil {
			r.Answered++
		}
	}
	for _, o := range w.oracle.groups {
		r.Changes += len(o.changes)
	}
	r.Story = w.storyTold()
	return r
}
