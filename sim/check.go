package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// Clusters says in how many simulated clusters a user's state machine is run. The zero value is what a test wants.
type Clusters struct {
	// From is the seed of the first cluster, 0 for 1; the next one has the seed after it. A seed says everything about a
	// cluster: how many servers, which commands, which crashes and faults, and when.
	From uint64
	// Runs is how many clusters there are; 0 means 20, a few seconds.
	Runs int
	// ShrinkRuns is how many further runs a failure may take to be made smaller; 0 means 150, negative none.
	ShrinkRuns int
}

// Validate names the first setting that cannot be.
func (c Clusters) Validate() error {
	if c.Runs < 0 {
		return fmt.Errorf("sim: Clusters.Runs is %d: not negative", c.Runs)
	}
	return nil
}

func (c Clusters) withDefaults() Clusters {
	if c.From == 0 {
		c.From = 1
	}
	if c.Runs == 0 {
		c.Runs = 20
	}
	if c.ShrinkRuns == 0 {
		c.ShrinkRuns = 150
	}
	return c
}

// MachineReport is what came of the checks of a user's state machine. It can be written as JSON.
type MachineReport struct {
	// Alone is what package smtest found; nil if it was not asked for.
	Alone *smtest.Report `json:"alone,omitempty"`
	// Findings are all broken promises, those of Alone first. None: the machine passed. A finding whose Check begins with
	// LibraryRule is about this library and not about the machine.
	Findings []smtest.Finding `json:"findings,omitempty"`
	// Unchecked says what could not be looked at, and what would change that.
	Unchecked []string `json:"unchecked,omitempty"`

	// What the clusters did, all together. Changes are commands executed and moments at which something fell due, once
	// for each cluster, however many servers it has.
	Runs      int           `json:"runs"`
	Changes   int           `json:"changes"`
	Queries   int           `json:"queries"`
	Snapshots int           `json:"snapshots"`
	Restores  int           `json:"restores"`
	Faults    int           `json:"faults"`
	Virtual   time.Duration `json:"virtual_nanos"`
}

// Line is what the clusters did, in one line.
func (r *MachineReport) Line() string {
	return fmt.Sprintf("%d clusters, %d changes, %d queries, %d snapshots, %d restores, %d faults in %.0f virtual seconds: %d findings",
		r.Runs, r.Changes, r.Queries, r.Snapshots, r.Restores, r.Faults, r.Virtual.Seconds(), len(r.Findings))
}

// Err returns nil for a machine that passed, and otherwise an error with all findings in its text.
func (r *MachineReport) Err() error {
	return (&smtest.Report{Findings: r.Findings}).Err()
}

// LibraryRule begins the Check of a finding that is not the machine's fault: a rule of the library was broken while it
// replicated the machine. It should be reported to those who make oarlock.
const LibraryRule = "a rule of oarlock's own: "

// T is what Check needs of a *testing.T.
type T = smtest.T

// Check tests a state machine, first alone, by the suite of package smtest, and if that finds nothing in simulated clusters:
// several copies of it on servers that crash, restart and restore snapshots, while clients try their commands again.
// Each broken promise is one error of t, with the command at which it was seen, both hashes, few commands that are enough
// to see it, and the seed. factory and options are as for smtest.Run, and a call of that one becomes a call of this one
// with sim.Clusters{} added.
//
//	func TestMachine(t *testing.T) {
//		sim.Check(t, func() statemachine.StateMachine { return mine.New() }, smtest.Options{
//			Examples: [][]byte{[]byte("put a 1"), []byte("delete a")},
//		}, sim.Clusters{})
//	}
func Check(t T, factory func() statemachine.StateMachine, options smtest.Options, clusters Clusters) {
	t.Helper()
	report, err := CheckMachine(factory, options, clusters)
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	for i := range report.Findings {
		f := &report.Findings[i]
		t.Errorf("sim: %s", f)
		if f.Story != "" {
			t.Logf("sim: what happened there:\n%s", lastLines(f.Story, storyLines))
		}
	}
	for _, what := range report.Unchecked {
		t.Logf("sim: not checked: %s", what)
	}
	t.Logf("sim: %s", report.Line())
}

// CheckMachine is Check with its outcome as a value. The error is about settings that cannot be used, never about the
// machine. The machines are called on goroutines of its own, in the clusters one at a time.
func CheckMachine(factory func() statemachine.StateMachine, options smtest.Options, clusters Clusters) (*MachineReport, error) {
	if err := clusters.Validate(); err != nil {
		return nil, err
	}
	alone, err := smtest.Check(factory, options)
	if err != nil {
		return nil, err
	}
	if len(alone.Findings) > 0 {
		unchecked := append([]string{"clusters, because the machine fails alone"}, alone.Unchecked...)
		return &MachineReport{Alone: alone, Findings: alone.Findings, Unchecked: unchecked}, nil
	}
	report, err := CheckClusters(factory, options, clusters)
	if err != nil {
		return nil, err
	}
	report.Alone = alone
	for _, what := range alone.Unchecked {
		report.note(what)
	}
	return report, nil
}

// CheckClusters runs the clusters of CheckMachine alone. It ends with the first finding. Of options it heeds what says how
// commands and queries are made, SnapshotsVary and Timeout, which bounds one cluster in real time.
func CheckClusters(factory func() statemachine.StateMachine, options smtest.Options, clusters Clusters) (*MachineReport, error) {
	if err := errors.Join(options.Validate(), clusters.Validate()); err != nil {
		return nil, err
	}
	if factory == nil {
		return nil, errors.New("sim: the factory is nil: give a function that makes a new machine")
	}
	clusters = clusters.withDefaults()
	c := &checker{factory: factory, options: options, clusters: clusters, report: new(MachineReport)}
	c.command, c.query = options.Generators()
	if c.timeout = options.Timeout; c.timeout == 0 {
		c.timeout = time.Minute
	}
	if !c.look() {
		return c.report, nil
	}
	for k := range uint64(clusters.Runs) {
		if f := c.run(clusters.From + k); f != nil {
			c.report.Findings = append(c.report.Findings, *f)
			break
		}
		if c.failed != nil {
			return nil, c.failed
		}
	}
	if c.report.Queries > 0 && c.refused >= c.report.Queries {
		c.report.note(smtest.Unanswered(c.refusal))
	}
	return c.report, nil
}

// note notes what could not be looked at, once: what stands before a colon says what.
func (r *MachineReport) note(what string) {
	name, _, _ := strings.Cut(what, ":")
	for _, known := range r.Unchecked {
		if before, _, _ := strings.Cut(known, ":"); before == name {
			return
		}
	}
	r.Unchecked = append(r.Unchecked, what)
}

// checker is one call of CheckClusters.
type checker struct {
	factory        func() statemachine.StateMachine
	options        smtest.Options
	clusters       Clusters
	command, query func(*rand.Rand) []byte
	timeout        time.Duration
	batches        bool
	watch          watch
	report         *MachineReport
	refused        int   // queries that were answered with an error
	refusal        error // the last such error
	failed         error // of a generator
}

// look makes one machine to see of what kind it is, and reports whether clusters can run it.
func (c *checker) look() bool {
	probe := &Plan{Seed: 1, Groups: 0, guest: c.guestPlan()}
	w := newWorld(probe)
	defer w.guests.close()
	if w.failure != nil {
		c.report.Findings = append(c.report.Findings, smtest.Finding{Check: w.failure.Name, Text: w.failure.Text})
		return false
	}
	machine := w.guests.newGuest(0).machine
	if _, durable := machine.(statemachine.Durable); durable {
		c.report.note("clusters of a machine with storage of its own (statemachine.Durable): the simulator gives machines no disk; " +
			"package smtest tries its crashes")
		return false
	}
	_, c.batches = machine.(statemachine.BatchApplier)
	_, hashed := machine.(statemachine.Hasher)
	if !hashed && c.options.SnapshotsVary {
		c.report.note("the state in clusters, but for what results and answers to queries show of it: be a statemachine.Hasher")
	}
	return true
}

func (c *checker) guestPlan() *guestPlan {
	return &guestPlan{factory: c.factory, batches: c.batches, vary: c.options.SnapshotsVary, watch: &c.watch}
}

// run runs the cluster of one seed.
func (c *checker) run(seed uint64) *smtest.Finding {
	var p *Plan
	if c.failed = smtest.Generated(func() { p = c.plan(seed) }); c.failed != nil {
		return nil
	}
	r, late := c.inTime(p, RunOptions{SkipHistories: true})
	if late != nil {
		late.Repeat = repeat(seed)
		return late
	}
	c.report.Runs++
	c.report.Changes += len(r.guests.changes)
	c.report.Queries += r.guests.queries
	if c.refused += r.guests.refused; r.guests.refusal != nil {
		c.refusal = r.guests.refusal
	}
	c.report.Snapshots += r.guests.snapshots
	c.report.Restores += r.guests.restores
	c.report.Faults += r.Faults
	c.report.Virtual += r.Virtual
	if r.Failure == nil {
		return nil
	}
	return c.finding(p, r)
}

func repeat(seed uint64) string { return fmt.Sprintf("sim.Clusters{From: %d, Runs: 1}", seed) }

// finding makes a failure smaller and describes it.
func (c *checker) finding(p *Plan, r *Result) *smtest.Finding {
	seed := p.Seed
	story, ok := "", false
	if p, r, ok = c.shrink(p, r); ok {
		r, story = c.tell(p, r)
	}
	f := &smtest.Finding{Check: r.Failure.Name, Text: r.Failure.Text, Repeat: repeat(seed), Story: story}
	failed := r.guests.failed
	if failed == nil {
		f.Check = LibraryRule + f.Check
		return f
	}
	if failed.sums != nil {
		f.Hashes = []string{fmt.Sprintf("%016x", failed.sums[0]), fmt.Sprintf("%016x", failed.sums[1])}
	}
	last := uint64(len(r.guests.changes))
	if failed.count > 0 {
		last = min(last, failed.count)
	}
	for _, ch := range r.guests.changes[:last] {
		if !ch.entry.expire {
			f.Script = append(f.Script, p.guest.described(len(f.Script), ch.entry.Entry))
		}
	}
	switch e := failed.entry; {
	case e != nil && !e.expire && len(f.Script) > 0 && f.Script[len(f.Script)-1].Index == e.Index:
		f.Command = &f.Script[len(f.Script)-1]
	case e != nil && !e.expire:
		command := p.guest.described(len(f.Script), e.Entry)
		f.Script = append(f.Script, command)
		f.Command = &command
	case len(f.Script) > 0:
		f.Command = &f.Script[len(f.Script)-1]
	}
	return f
}

// plan expands a seed, as for the simulator's own runs but for what would only cost time, and gives every call something for
// the user's machine.
func (c *checker) plan(seed uint64) *Plan {
	p := NewPlan(seed)
	p.Lossy, p.Durable, p.Groups, p.Batches, p.guest = false, false, 1, c.batches, c.guestPlan()
	p.Spares, p.Orders, p.Priorities = 0, nil, nil
	for i := range p.Clients {
		p.Clients[i].Group = raft.DefaultGroup
	}
	r, harm := rand.New(rand.NewPCG(seed, 21)), rand.New(rand.NewPCG(seed, 22))
	p.guest.command, p.guest.query = own(c.command(r)), own(c.query(r))
	longest := len(p.guest.command)
	for i := range p.Calls {
		call := &p.Calls[i]
		switch {
		case call.Kind == CallLarge:
			call.Kind = CallSet
			fallthrough
		case call.Kind < CallRead:
			call.Input = p.guest.damageSome(harm, own(c.command(r)))
		case call.Kind == CallRead || call.Kind == CallLocal:
			call.Input = own(c.query(r))
		}
		call.Size = 0
		longest = max(longest, len(call.Input))
	}
	p.Calls = thinOut(p.Calls)
	// Snapshots are what a machine is most often wrong about, so no cluster goes without.
	p.SnapshotLogBytes, p.SnapshotKeepBytes, p.StateBytes = min(p.SnapshotLogBytes, 4000), min(p.SnapshotKeepBytes, 500), 0
	// The sizes of the plan are small, so that their bounds are met; a user's commands may be larger.
	p.CommandBytesMax = max(p.CommandBytesMax, longest+2*commandBytes)
	p.BlockBytesMax = max(p.BlockBytesMax, p.CommandBytesMax+200)
	p.InflightBytesMax = max(p.InflightBytesMax, p.frameBytesMax())
	p.UncommittedBytesMax = max(p.UncommittedBytesMax, p.InflightBytesMax)
	p.UnappliedBytesMax = max(p.UnappliedBytesMax, p.BlockBytesMax)
	return p
}

// inputBytesMax is about how many bytes all commands and queries of a cluster have together. More would take a simulated
// server longer to catch up with than the end of a run waits, and real time.
const inputBytesMax = 2 << 20

// thinOut leaves out calls, evenly, where there are too many bytes in them.
func thinOut(calls []Call) (kept []Call) {
	bytes := 0
	for i := range calls {
		bytes += len(calls[i].Input)
	}
	every := 1 + bytes/inputBytesMax
	for i := range calls {
		if i%every == 0 {
			kept = append(kept, calls[i])
		}
	}
	return kept
}

// own is a copy, which is not nil.
func own(b []byte) []byte { return append([]byte{}, b...) }
