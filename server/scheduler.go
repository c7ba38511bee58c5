package server

import (
	"runtime"
	"sync"
)

// scheduler runs groups that have something to do on a few goroutines. A group that has nothing to do is not in it.
type scheduler struct {
	mu      sync.Mutex
	more    *sync.Cond
	queue   []*group // a ring
	head, n int
	idle    int
	closed  bool
	done    sync.WaitGroup
}

func newScheduler(workers int) *scheduler {
	s := &scheduler{queue: make([]*group, 16)}
	s.more = sync.NewCond(&s.mu)
	s.done.Add(workers)
	for range workers {
		go s.work()
	}
	return s
}

// push puts a group at the end of the queue. The caller has made sure that it is in it once.
func (s *scheduler) push(g *group) {
	s.mu.Lock()
	if s.n == len(s.queue) {
		grown := make([]*group, 2*s.n)
		for k := range s.n {
			grown[k] = s.queue[(s.head+k)%s.n]
		}
		s.queue, s.head = grown, 0
	}
	s.queue[(s.head+s.n)%len(s.queue)] = g
	s.n++
	if s.idle > 0 {
		s.more.Signal()
	}
	s.mu.Unlock()
}

func (s *scheduler) work() {
	defer s.done.Done()
	for {
		s.mu.Lock()
		for s.n == 0 && !s.closed {
			s.idle++
			s.more.Wait()
			s.idle--
		}
		if s.n == 0 {
			s.mu.Unlock()
			return
		}
		g := s.queue[s.head]
		s.queue[s.head] = nil
		s.head = (s.head + 1) % len(s.queue)
		s.n--
		s.mu.Unlock()
		runtime.Gosched()
		g.run()
	}
}

// close lets the workers end once the queue is empty, and waits for them.
func (s *scheduler) close() {
	s.mu.Lock()
	s.closed = true
	s.more.Broadcast()
	s.mu.Unlock()
	s.done.Wait()
}

// elastic runs functions that may take long: a goroutine that is idle takes the next one, and if there is none another
// is started. What bounds their number is what is asked of it: one apply at a time for a group, a few fills.
type elastic struct {
	mu     sync.Mutex
	idle   []chan func()
	closed bool
	done   sync.WaitGroup
}

// elasticIdleMax is how many goroutines stay when there is nothing to do.
const elasticIdleMax = 8

func (e *elastic) run(f func()) {
	e.mu.Lock()
	if n := len(e.idle); n > 0 {
		next := e.idle[n-1]
		e.idle = e.idle[:n-1]
		e.mu.Unlock()
		next <- f
		return
	}
	e.done.Add(1)
	e.mu.Unlock()
	go e.work(f)
}

func (e *elastic) work(f func()) {
	defer e.done.Done()
	var next chan func()
	for f != nil {
		f()
		f = nil
		e.mu.Lock()
		if !e.closed && len(e.idle) < elasticIdleMax {
			if next == nil {
				next = make(chan func(), 1)
			}
			e.idle = append(e.idle, next)
			e.mu.Unlock()
			f = <-next
			continue
		}
		e.mu.Unlock()
	}
}

// close sends idle goroutines home; those that work end by themselves.
func (e *elastic) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for _, next := range e.idle {
		close(next)
	}
	e.idle = nil
}
