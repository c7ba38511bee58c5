package memnet

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// link is one lane from one server to another. It has a goroutine while something is under way.
type link struct {
	from, to *Endpoint
	way      way
	random   *rand.Rand
	wake     chan struct{}
	serving  chan struct{} // holds a token while a chunk is served

	// Guarded by the network's mu.
	flights flights
	bytes   int
	last    time.Time // when the newest message that keeps its place arrives
	sent    uint64
	running bool
}

// flight is one message under way.
type flight struct {
	arrives time.Time
	number  uint64
	message raft.Message
	size    int
}

// flights is a heap by time of arrival, and by number where that is the same.
type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, k int) bool {
	if f[i].arrives.Equal(f[k].arrives) {
		return f[i].number < f[k].number
	}
	return f[i].arrives.Before(f[k].arrives)
}
func (f flights) Swap(i, k int) { f[i], f[k] = f[k], f[i] }

// Push implements heap.Interface.
func (f *flights) Push(x any) { *f = append(*f, x.(flight)) }

// Pop implements heap.Interface.
func (f *flights) Pop() any {
	end := len(*f) - 1
	last := (*f)[end]
	(*f)[end] = flight{}
	*f = (*f)[:end]
	return last
}

func newLink(from, to *Endpoint, lane wire.Lane) *link {
	w := way{from.local.Server, to.local.Server}
	return &link{
		from: from, to: to, way: w, wake: make(chan struct{}, 1), serving: make(chan struct{}, 1),
		random: rand.New(rand.NewPCG(from.network.seed^uint64(w.from)*0x9e3779b97f4a7c15, uint64(w.to)<<8|uint64(lane))),
	}
}

// fate is what the seed decided about one message. Every message draws the same number of times, so that a change of
// one fault leaves the others as they were.
type fate struct {
	lost, twice, passed bool
	delays              [2]time.Duration
	behind              time.Duration
}

func (l *link) draw(f Faults) fate {
	between := func(low, high time.Duration) time.Duration {
		return low + time.Duration(l.random.Float64()*float64(high-low))
	}
	late := f.ReorderDelay
	if late == 0 {
		late = 10 * time.Millisecond
	}
	return fate{
		lost: l.random.Float64() < f.Loss, twice: l.random.Float64() < f.Duplicate, passed: l.random.Float64() < f.Reorder,
		delays: [2]time.Duration{between(f.DelayMin, f.DelayMax), between(f.DelayMin, f.DelayMax)},
		behind: between(0, late),
	}
}

// send puts a message under way. It is called with the network's mu held.
func (l *link) send(m raft.Message, size int) {
	n := l.from.network
	fate := l.draw(n.faultsOn(l.way))
	if fate.lost || n.cuts[l.way] {
		return
	}
	l.launch(m, size, fate.delays[0], fate.passed, fate.behind)
	if fate.twice {
		again := clone(&m)
		l.launch(again, size, fate.delays[1], false, 0)
	}
	if !l.running {
		l.running = true
		go l.run()
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *link) launch(m raft.Message, size int, delay time.Duration, passed bool, behind time.Duration) {
	arrives := time.Now().Add(delay)
	if passed {
		arrives = arrives.Add(behind)
	} else {
		if arrives.Before(l.last) {
			arrives = l.last
		}
		l.last = arrives
	}
	l.sent++
	l.bytes += size
	heap.Push(&l.flights, flight{arrives, l.sent, m, size})
}

// run delivers what arrives until nothing is under way.
func (l *link) run() {
	n := l.from.network
	for {
		n.mu.Lock()
		if l.to.closed {
			l.flights, l.bytes = nil, 0
		}
		if len(l.flights) == 0 {
			l.running = false
			n.mu.Unlock()
			return
		}
		wait := time.Until(l.flights[0].arrives)
		if wait > 0 {
			n.mu.Unlock()
			l.sleep(wait)
			continue
		}
		messages := l.land()
		entered := len(messages) > 0 && l.to.enter()
		n.mu.Unlock()
		if entered {
			l.deliver(messages)
		}
	}
}

func (l *link) sleep(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.wake:
	case <-l.to.done:
	}
}

// land takes what has arrived off the heap. It is called with the network's mu held.
func (l *link) land() (messages []raft.Message) {
	const messagesMax = 256
	n, now := l.from.network, time.Now()
	for len(l.flights) > 0 && !l.flights[0].arrives.After(now) && len(messages) < messagesMax {
		f := heap.Pop(&l.flights).(flight)
		l.bytes -= f.size
		if n.cuts[l.way] {
			continue
		}
		l.to.status.Received++
		l.to.status.ReceivedBytes += uint64(f.size)
		messages = append(messages, f.message)
	}
	return messages
}

func (l *link) deliver(messages []raft.Message) {
	defer l.to.leave()
	if err := l.to.receive(messages); err != nil {
		// A real transport closes the connection, and the other side notices.
		n := l.from.network
		n.mu.Lock()
		defer n.mu.Unlock()
		l.from.unreachable(l.to.who())
	}
}
