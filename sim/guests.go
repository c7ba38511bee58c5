package sim

import (
	"bytes"
	"fmt"
	"io"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// What a user's machine promises and a run can see it break. They are not among the rules of the library (checks).
var (
	guestStates    = &check{101, "the same state after the same entries", nil}
	guestResults   = &check{102, "the same results of the same commands", nil}
	guestSnapshots = &check{103, "a snapshot is the state when it was captured, and restores to it", nil}
	guestQuery     = &check{104, "Query changes nothing, and answers the same in the same state", nil}
	guestSchedule  = &check{105, "what falls due comes to an end", nil}
	guestPanic     = &check{106, "every command is executed", nil}
	guestReturns   = &check{107, smtest.PromiseReturns, nil}
	guestFactory   = &check{108, smtest.PromiseFactory, nil}
	guestCaptures  = &check{109, smtest.PromiseSnapshot, nil}
)

// guestPlan is what a plan says of the user's machine.
type guestPlan struct {
	factory func() statemachine.StateMachine
	batches bool
	vary    bool // equal states may have different snapshots
	watch   *watch

	command, query []byte            // what it is asked in the end, when nothing fails any more
	damaged        map[string]string // how the commands were damaged that were
}

// probe is what a call of that kind has for the machine; nothing where no machine is tested.
func (p *guestPlan) probe(kind CallKind) []byte {
	switch {
	case p == nil:
		return nil
	case kind == CallRead:
		return p.query
	}
	return p.command
}

// input is what a call has for the machine, for the story.
func (c *Call) input() string {
	if c.Input == nil {
		return ""
	}
	return ", with " + shown(c.Input)
}

// guests is what an observer of all copies of a user's machine has seen, in one run.
type guests struct {
	w         *world
	plan      *guestPlan
	changes   []guestChange // by number, from 1
	answers   map[string]guestAnswer
	closers   []io.Closer
	empty     guestState // of a new machine
	hashed    bool       // the machine is a Hasher
	thorough  bool       // look at the state after every change also where that takes a snapshot
	snapshots int
	restores  int
	queries   int
	refused   int   // queries that were answered with an error
	refusal   error // the last such error
	failed    *guestFailure
}

// guestEntry is one change of the machine: a command, or what fell due.
type guestEntry struct {
	statemachine.Entry
	expire bool
}

// String describes the change in one line.
func (e *guestEntry) String() string {
	if e.expire {
		return fmt.Sprintf("Expire at index %d, time %d", e.Index, e.Time)
	}
	return fmt.Sprintf("the command at index %d, time %d, %s", e.Index, e.Time, shown(e.Command))
}

// guestChange is a change as the first server made it.
type guestChange struct {
	entry  guestEntry
	who    raft.ServerID
	result []byte
	state  guestState // behind it
}

// guestAnswer is an answer to a query.
type guestAnswer struct {
	result string
	failed bool
	who    raft.ServerID
}

// guestFailure is the first promise that was broken, beside the world's Failure.
type guestFailure struct {
	count uint64      // of the changes; 0: none is to blame
	entry *guestEntry // that was executed, if one was
	sums  *[2]uint64
}

// thoroughEvery is how often the state of a machine without a hash is looked at in runs that are not thorough.
const thoroughEvery = 16

func newGuests(w *world) *guests {
	g := &guests{w: w, plan: w.plan.guest, answers: map[string]guestAnswer{}, thorough: w.plan.Seed%2 == 1}
	fresh := g.newGuest(0)
	_, g.hashed = fresh.machine.(statemachine.Hasher)
	g.empty = g.fingerprint(fresh)
	return g
}

// theFactory is what is called when a machine is made.
const theFactory = "the factory"

// newGuest makes a machine without a state.
func (g *guests) newGuest(who raft.ServerID) *guest {
	copied := &guest{all: g, who: who}
	var failed error
	g.call(copied, 0, nil, theFactory, func() { copied.machine, failed = smtest.Made(g.plan.factory) })
	if copied.machine == nil {
		g.fail(guestFactory, copied, 0, nil, nil, "%v", failed)
		copied.machine = noMachine{}
	}
	copied.scheduled, _ = copied.machine.(statemachine.Scheduled)
	if g.plan.batches {
		copied.batcher, _ = copied.machine.(statemachine.BatchApplier)
	}
	if c, ok := copied.machine.(io.Closer); ok {
		g.closers = append(g.closers, c)
	}
	return copied
}

// noMachine stands where none was made, until the run has ended, which is at once.
type noMachine struct{}

func (noMachine) Apply(statemachine.Entry) []byte          { return nil }
func (noMachine) Query([]byte) ([]byte, error)             { return nil, errGuest }
func (noMachine) Snapshot() (statemachine.Snapshot, error) { return nil, errGuest }
func (noMachine) Restore(io.Reader) error                  { return errGuest }

// close closes the machines that can be closed. It only frees what they took.
func (g *guests) close() {
	if g == nil {
		return
	}
	for _, c := range g.closers {
		g.call(&guest{all: g}, 0, nil, "Close", func() { _ = c.Close() })
	}
	g.closers = nil
}

// call calls a machine. A panic ends the run; ok says that there was none.
func (g *guests) call(who *guest, count uint64, e *guestEntry, what string, do func()) (ok bool) {
	promise := promiseOf(e, what)
	if e != nil {
		what += ": " + e.String()
	}
	g.plan.watch.at(what)
	defer func() {
		if p := recover(); p != nil {
			ok = false
			g.fail(promise, who, count, e, nil, "%s panicked on server %d, which would stop it: %s", what, who.who, smtest.PanicText(p))
		}
	}()
	do()
	return true
}

// promiseOf is the one that a panic of a call breaks.
func promiseOf(e *guestEntry, what string) *check {
	if e != nil && what != "NextDue" {
		return guestPanic
	}
	return guestReturns
}

// fail ends the run with a promise that the machine broke.
func (g *guests) fail(c *check, _ *guest, count uint64, e *guestEntry, sums *[2]uint64, format string, args ...any) {
	if g.w.failure != nil {
		return
	}
	g.failed = &guestFailure{count: count, sums: sums}
	if e != nil {
		kept := guestEntry{Entry: e.entry(), expire: e.expire}
		g.failed.entry = &kept
	}
	g.w.fail(c, format, args...)
}

// changed holds what a machine has done against what the first one did there. ended says that its state can be seen.
func (g *guests) changed(who *guest, count uint64, e *guestEntry, result []byte, ended bool) {
	if g.w.failure != nil || count == 0 || count > uint64(len(g.changes))+1 {
		return
	}
	now := guestChange{who: who.who}
	if ended && (g.hashed || g.thorough || count%thoroughEvery == 0) {
		now.state = g.fingerprint(who)
	}
	if g.w.story != nil {
		g.w.fullNote("server %d makes change %d: %s: result %s, hash %016x", who.who, count, e, shown(result), now.state.sum)
		g.plainChange(who, e, result, now)
	}
	if count == uint64(len(g.changes))+1 {
		now.entry, now.result = guestEntry{Entry: e.entry(), expire: e.expire}, bytes.Clone(result)
		g.changes = append(g.changes, now)
		return
	}
	was := &g.changes[count-1]
	sums := was.state.apart(now.state)
	switch {
	case !bytes.Equal(was.result, result):
		g.fail(guestResults, who, count, e, sums, "%s gave %s on server %d, and gives %s on server %d",
			e, shown(was.result), was.who, shown(result), who.who)
	case sums != nil:
		g.fail(guestStates, who, count, e, sums, "first difference after %s: hash %016x on server %d, and %016x on server %d%s",
			e, sums[0], was.who, sums[1], who.who, was.state.bytesApart(now.state))
	case now.state.known:
		was.state = now.state
	}
}

// know notes the state behind a change, where it was not known.
func (g *guests) know(count uint64, state guestState) {
	if count == 0 || count > uint64(len(g.changes)) {
		return
	}
	if was := &g.changes[count-1]; !was.state.known {
		was.state = state
	}
}

// stateAt is the state behind a change, as far as it is known.
func (g *guests) stateAt(count uint64) guestState {
	switch {
	case g.plan.vary && !g.hashed, count > uint64(len(g.changes)):
		return guestState{}
	case count == 0:
		return g.empty
	}
	return g.changes[count-1].state
}

// place says in words where a machine stands.
func (g *guests) place(count uint64) string {
	if count == 0 || count > uint64(len(g.changes)) {
		return "has executed nothing"
	}
	return "has executed, last, " + g.changes[count-1].entry.String()
}

// answered holds an answer against the first one to the same query in the same state.
func (g *guests) answered(who *guest, count uint64, q []byte, a guestAnswer) {
	g.queries++
	key := fmt.Sprintf("%d %x", count, q)
	was, asked := g.answers[key]
	if !asked {
		g.answers[key] = a
		return
	}
	if was.result != a.result || was.failed != a.failed {
		g.fail(guestQuery, who, count, nil, nil, "the query %s was answered with %s (error: %t) on server %d, and is answered with %s (error: %t) on server %d, which %s",
			shown(q), shown([]byte(was.result)), was.failed, was.who, shown([]byte(a.result)), a.failed, a.who, g.place(count))
	}
}

func shown(b []byte) string { return smtest.Shown(b) }
