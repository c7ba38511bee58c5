package server

import (
	"container/heap"
	"sync"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// alarm wakes groups at their deadlines: one heap, one goroutine, one timer. A deadline that moves back, which it does
// at each heartbeat, leaves the heap as it is; the early alarm finds the new deadline and takes its place there.
type alarm struct {
	clock Clock
	mu    sync.Mutex
	heap  alarmHeap
	poke  chan struct{}
	quit  chan struct{}
	done  chan struct{}
	next  time.Duration // what the goroutine sleeps for; Never while it looks
}

func newAlarm(c Clock) *alarm {
	a := &alarm{clock: c, poke: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), next: raft.Never}
	go a.run()
	return a
}

// set notes a group's deadline.
func (a *alarm) set(g *group, at time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g.deadline = at
	switch {
	case g.alarmAt <= at && g.alarmed:
		return // it will ring before, and look again
	case at == raft.Never:
		return
	case g.alarmed:
		g.alarmAt = at
		heap.Fix(&a.heap, g.alarmPlace)
	default:
		g.alarmAt, g.alarmed = at, true
		heap.Push(&a.heap, g)
	}
	if at < a.next {
		a.next = at
		select {
		case a.poke <- struct{}{}:
		default:
		}
	}
}

func (a *alarm) run() {
	defer close(a.done)
	for {
		wait := a.ring()
		var c <-chan time.Time
		stop := func() bool { return false }
		if wait >= 0 {
			c, stop = a.clock.NewTimer(wait)
		}
		select {
		case <-c:
		case <-a.poke:
		case <-a.quit:
			stop()
			return
		}
		stop()
	}
}

// ring wakes every group whose deadline has come and returns how long to sleep; negative for ever.
func (a *alarm) ring() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.heap) > 0 {
		now := a.clock.Now()
		g := a.heap[0]
		if g.alarmAt > now {
			a.next = g.alarmAt
			return g.alarmAt - now
		}
		if g.deadline > now && g.deadline != raft.Never {
			g.alarmAt = g.deadline
			heap.Fix(&a.heap, 0)
			continue
		}
		heap.Pop(&a.heap)
		g.alarmed = false
		if g.deadline <= now {
			g.due.Store(true)
			g.wake()
		}
	}
	a.next = raft.Never
	return -1
}

func (a *alarm) close() {
	close(a.quit)
	<-a.done
}

// alarmHeap orders groups by when the alarm looks at them.
type alarmHeap []*group

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].alarmAt < h[j].alarmAt }
func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].alarmPlace, h[j].alarmPlace = i, j
}

// Push implements heap.Interface.
func (h *alarmHeap) Push(x any) {
	g := x.(*group)
	g.alarmPlace = len(*h)
	*h = append(*h, g)
}

// Pop implements heap.Interface.
func (h *alarmHeap) Pop() any {
	old := *h
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return g
}
