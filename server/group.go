package server

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// group is the shell around one replica: its inbox, its place in the queues, and the lanes that run its jobs.
type group struct {
	s       *Server
	id      raft.GroupID
	inbox   *inbox
	state   atomic.Int32
	due     atomic.Bool // its deadline has come
	trim    atomic.Bool // other groups need the room that its tail takes
	replica *Replica
	turning sync.Mutex // held during a turn, and by those who look
	apply   lane
	files   lane
	peers   []raft.Member // guarded by Server.peersMu
	fetched chan struct{} // closed when the latest transfer has ended; the turn's

	// Guarded by writer.mu.
	saves []*SaveJob

	// Guarded by alarm.mu.
	deadline   time.Duration
	alarmAt    time.Duration
	alarmed    bool
	alarmPlace int

	fence atomic.Pointer[error]
	ended chan struct{} // closed when the replica has stopped for good
}

// The states of a group's place in the scheduler.
const (
	groupIdle    int32 = 0
	groupQueued  int32 = 1
	groupRunning int32 = 2
	groupAgain   int32 = 3 // something arrived while it was running
)

// wake sees to it that a turn follows. It never blocks.
func (g *group) wake() {
	for {
		switch g.state.Load() {
		case groupIdle:
			if g.state.CompareAndSwap(groupIdle, groupQueued) {
				g.s.scheduler.push(g)
				return
			}
		case groupRunning:
			if g.state.CompareAndSwap(groupRunning, groupAgain) {
				return
			}
		default:
			return
		}
	}
}

// runHere gives the group its turn on the caller's goroutine, if it is idle. A turn waits for nothing, so whoever brings
// something that ends a wait (a peer's message, a save that is durable) may carry it on by itself: that spares the
// wake-up of a worker. The caller holds no lock and is not in a turn.
func (g *group) runHere() {
	if g.state.CompareAndSwap(groupIdle, groupRunning) {
		g.run()
		return
	}
	g.wake()
}

// run is called by the scheduler or by runHere, by one goroutine at a time for a group.
func (g *group) run() {
	g.state.Store(groupRunning)
	g.turn()
	if !g.state.CompareAndSwap(groupRunning, groupIdle) {
		g.state.Store(groupQueued)
		g.s.scheduler.push(g) // at the end, so that a busy group does not starve the others
	}
}

func (g *group) turn() {
	in := g.inbox.drain()
	due, trim := g.due.Swap(false), g.trim.Swap(false)
	arrived := in != nil
	if !arrived {
		if !due && !trim {
			return
		}
		in = new(Inputs)
	}
	g.turning.Lock()
	defer g.turning.Unlock()
	work := g.guarded(in)
	if g.inbox.hold(g.replica.Holds(), in) {
		g.wake()
	}
	for _, j := range work.Jobs {
		if save, ok := j.(*SaveJob); ok {
			g.s.writer.push(g, save)
		}
	}
	if len(work.Sends) > 0 {
		g.s.options.Transport.Send(work.Sends)
	}
	for _, j := range work.Jobs {
		g.start(j)
	}
	if work.Members != nil {
		g.s.setPeers(g, work.Members)
	}
	g.s.hub.publish(work.Events)
	if work.Fenced != nil {
		g.stopped(work)
	}
	g.s.alarm.set(g, work.Deadline)
	// Only what arrives makes a tail grow. Groups that can drop nothing, because none of it is saved, would ask each other
	// without end.
	if arrived && g.s.shared.tails.exceeded() {
		g.s.trimTails(g)
	}
}

// guarded runs the turn. A panic in it is a bug of this module or of a part that a turn calls into; it stops the replica
// and not the process, and whoever was not answered yet is told that the outcome is unknown.
func (g *group) guarded(in *Inputs) (work *Work) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		err := fmt.Errorf("group %d: %w: %v\n%s", g.id, errPanic, r, debug.Stack())
		g.replica.fail(err)
		in.giveUp(unknown(fenced(err)))
		work = g.replica.stopped()
	}()
	return g.replica.Turn(g.s.clock.Now(), in)
}

// start hands a job to whatever runs its lane.
func (g *group) start(j Job) {
	switch j.Lane() {
	case LaneApply:
		g.apply.push(j)
	case LaneSnapshot:
		g.files.push(j)
	case LaneFill:
		g.s.fills.push(g, j)
	case LaneFetch:
		g.s.fetch(g, j.(*FetchJob))
	}
}

// finished gives a job back to the replica.
func (g *group) finished(j Job) {
	if back(j) {
		g.inbox.finished(j)
	}
	if matters(j) {
		g.wake()
	}
}

// matters reports whether anything follows from a job's end. From a query nothing does: the next turn will do.
func matters(j Job) bool {
	q, ok := j.(*QueryJob)
	return !ok || q.err != nil
}

// back reports whether the replica is to see a job again. Of a query that asked for this server's own state it wants nothing,
// and there may be many without any turn: in a group that waits for nothing, on a server that was removed.
func back(j Job) bool {
	q, ok := j.(*QueryJob)
	return !ok || q.err != nil || q.memory != nil
}

// stopped ends what still runs for a replica that has stopped.
func (g *group) stopped(work *Work) {
	cause := work.Fenced // work is used again in the next turn
	why := fenced(cause)
	g.inbox.mu.Lock()
	g.inbox.shut(why)
	g.inbox.mu.Unlock()
	g.fence.Store(&cause)
	g.apply.close(why)
	g.files.close(why)
	close(g.ended)
	if work.StoreFailed {
		g.s.storeFailed(cause)
	}
	g.s.groupEnded()
}

// lane runs the jobs of one lane of one group, one at a time, in order, on a goroutine of the elastic pool that it
// gives back when it has none.
type lane struct {
	g       *group
	mu      sync.Mutex
	queue   []Job
	spare   []Job
	running bool
	closed  error
	job     func()
}

func (l *lane) init(g *group) {
	l.g = g
	l.job = l.run
}

func (l *lane) push(j Job) {
	l.mu.Lock()
	if l.closed != nil {
		why := l.closed
		l.mu.Unlock()
		j.Drop(why)
		l.g.finished(j)
		return
	}
	l.queue = append(l.queue, j)
	start := !l.running
	l.running = true
	l.mu.Unlock()
	if start {
		l.g.s.elastic.run(l.job)
	}
}

func (l *lane) run() {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.running = false
			l.mu.Unlock()
			return
		}
		jobs := l.queue
		l.queue, l.spare = l.spare[:0], nil
		l.mu.Unlock()
		turn := false
		for i, j := range jobs {
			l.do(j)
			if back(j) {
				l.g.inbox.finished(j)
			}
			turn = turn || matters(j)
			jobs[i] = nil
		}
		l.mu.Lock()
		l.spare = jobs[:0]
		l.mu.Unlock()
		if turn {
			l.g.runHere()
		}
	}
}

// do runs one job, unless the replica has stopped.
func (l *lane) do(j Job) {
	for {
		l.mu.Lock()
		why := l.closed
		l.mu.Unlock()
		if why != nil {
			j.Drop(why)
			break
		}
		began := l.g.s.clock.Now()
		done := j.Step()
		switch j := j.(type) {
		case *ApplyJob:
			l.g.timed(j, l.g.s.clock.Now()-began)
			l.breaks(j.err)
		case *RestoreJob:
			l.breaks(j.a.unusable())
		}
		if done {
			break
		}
	}
}

// breaks keeps what stands behind a failed apply or restore from the state machine: its replica is about to stop.
func (l *lane) breaks(why error) {
	if why == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed == nil {
		l.closed = fenced(why)
	}
}

// timed tells who watches of a state machine that holds up what comes behind it.
func (g *group) timed(j *ApplyJob, took time.Duration) {
	if took >= g.s.options.SlowApplyMin {
		g.s.hub.publish([]Event{{Kind: EventSlowApply, Group: g.id, Index: j.to - 1, Elapsed: took}})
	}
}

// close drops what is queued, and what comes.
func (l *lane) close(why error) {
	l.mu.Lock()
	if l.closed == nil {
		l.closed = why
	}
	jobs := l.queue
	l.queue = nil
	l.mu.Unlock()
	for _, j := range jobs {
		j.Drop(why)
		l.g.finished(j)
	}
}
