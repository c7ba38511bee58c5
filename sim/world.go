package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// world is a cluster, its clients and the time that they share. Everything in it happens on one goroutine.
type world struct {
	plan     *Plan
	now      time.Duration // true time; servers' clocks may differ
	events   eventHeap
	count    uint64
	digest   uint64 // of all that happened, in order
	steps    uint64
	hosts    []*host // by number, from 1; the founders come first
	clients  []*simClient
	net      *network
	oracle   *oracle
	operator operator
	orders   [orderKinds]int // that were given
	cover    Coverage
	calm     bool // phase two: nothing goes wrong any more
	faults   int  // that came to pass
	byKind   [faultKinds]int
	story    *strings.Builder // nil: nobody reads it
	plain    *strings.Builder // the plain story of a run of a user's machine
	failure  *Failure
	guests   *guests // nil: no user's machine is tested

	// Streams of random numbers, each for a part of its own, so that a fault less in one part disturbs the others
	// less.
	jobs, disks, nets, people *rand.Rand
}

// startTime is the time at which a world begins: not zero, because a time of zero means none.
const startTime = time.Hour

func newWorld(p *Plan) *world {
	stream := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(p.Seed, n)) }
	w := &world{
		plan: p, now: startTime, digest: p.Seed, jobs: stream(11), disks: stream(12), nets: stream(13), people: stream(14),
	}
	w.net = &network{w: w}
	w.oracle = newOracle(w)
	w.operator.w = w
	if p.guest != nil {
		w.guests = newGuests(w)
	}
	return w
}

// event is something that will happen. Events of one moment happen in the order in which they were foreseen.
type event struct {
	at     time.Duration
	number uint64
	do     func()
}

// eventHeap is a binary heap: container/heap would box every event.
type eventHeap []event

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.number < o.number
}

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	q := *h
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q[i].before(&q[up]) {
			break
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (h *eventHeap) pop() event {
	q := *h
	top, last := q[0], len(q)-1
	q[0] = q[last]
	q[last] = event{}
	q = q[:last]
	for i := 0; ; {
		least := i
		for _, down := range [2]int{2*i + 1, 2*i + 2} {
			if down < last && q[down].before(&q[least]) {
				least = down
			}
		}
		if least == i {
			break
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
	*h = q
	return top
}

// after has something happen d from now.
func (w *world) after(d time.Duration, do func()) { w.at(w.now+max(0, d), do) }

// at has something happen at a time, which is not past.
func (w *world) at(t time.Duration, do func()) {
	w.count++
	w.events.push(event{at: max(t, w.now), number: w.count, do: do})
}

// run lets time pass until end, unless something fails before.
func (w *world) run(end time.Duration) {
	for w.failure == nil && len(w.events) > 0 && w.events[0].at <= end {
		e := w.events.pop()
		w.now = e.at
		w.steps++
		w.mix(uint64(e.at))
		w.mix(e.number)
		e.do()
	}
	if w.failure == nil {
		w.now = end
	}
}

// mix takes something that happened into the digest.
func (w *world) mix(v uint64) {
	x := (w.digest ^ v) * 0x9e3779b97f4a7c15
	w.digest = x ^ x>>29
}

// note writes a line of the story, and of the plain one if there is one.
func (w *world) note(format string, args ...any) {
	w.fullNote(format, args...)
	w.plainNote(format, args...)
}

// fail ends the run. The first failure counts.
func (w *world) fail(check *check, format string, args ...any) {
	if w.failure != nil {
		return
	}
	w.failure = &Failure{Check: check.number, Name: check.name, At: w.now - startTime, Text: fmt.Sprintf(format, args...)}
	w.note("FAILS: %s", w.failure.Error())
}

// Failure says which rule a run broke.
type Failure struct {
	Check int           // its number in the table of checks
	Name  string        // the rule in words
	At    time.Duration // virtual time since the run's beginning
	Text  string        // what happened
}

// Error returns the failure in one line.
func (f *Failure) Error() string {
	return fmt.Sprintf("after %v: breaks check %d, %s: %s", f.At, f.Check, f.Name, f.Text)
}

// find returns the server with an id and a store; where no server has that store (it was formatted anew, or the sender knows
// none), the first one with the id; nil if there is none.
func (w *world) find(id raft.ServerID, store raft.StoreID) (found *host) {
	for _, h := range w.hosts {
		if h.id != id {
			continue
		}
		if h.identity.Store == store {
			return h
		}
		if found == nil {
			found = h
		}
	}
	return found
}

// chance draws from a stream.
func chance(r *rand.Rand, p float64) bool { return p > 0 && r.Float64() < p }

// upTo draws a duration below d.
func upTo(r *rand.Rand, d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(r.Int64N(int64(d)))
}

// firstLine cuts a text that may hold a stack, which is not the same in every run.
func firstLine(err error) string {
	if err == nil {
		return ""
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }
