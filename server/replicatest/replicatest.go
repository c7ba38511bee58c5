// Package replicatest runs Replicas in virtual time, without a goroutine: a seed decides how long every message and every
// step of every job takes, which messages are lost, and so in which order everything happens that may happen in any
// order. The same seed gives the same run to the last message. It is for tests of package server; the simulator drives
// the same values with disks and faults of its own.
package replicatest

import (
	"container/heap"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/transport"
)

// World is some members of one group and the time that they share.
type World struct {
	random  *rand.Rand
	now     time.Duration
	events  events
	count   uint64
	members map[raft.ServerID]*Member
	trace   []string

	// Loss is the chance that a message is lost, between 0 and 1.
	Loss float64
	// DelayMax bounds how long a message, and a step of a job, takes: 2 ms if zero.
	DelayMax time.Duration
	// Repeat is the chance that a message arrives twice, between 0 and 1.
	Repeat float64
	// StepDelay, if it is not nil, says how long the next step of a job takes beyond its random delay: a slow disk, a
	// slow machine.
	StepDelay func(id raft.ServerID, j server.Job) time.Duration
	// Done, if it is not nil, is told of each job that has ended, before its replica is. Servers may be stopped from it.
	Done func(id raft.ServerID, j server.Job)
	// Sent, if it is not nil, is shown each message that leaves, also one that is lost.
	Sent func(m *raft.Message)
	// Cut says whether nothing gets from one server to another; nil cuts nothing.
	Cut func(from, to raft.ServerID) bool
}

// New makes an empty world.
func New(seed uint64) *World {
	return &World{random: rand.New(rand.NewPCG(seed, 1)), members: make(map[raft.ServerID]*Member), now: time.Hour}
}

// Now is the time in this world.
func (w *World) Now() time.Duration { return w.now }

// Trace is what happened so far, a line for each turn that did something, message and finished job.
func (w *World) Trace() []string { return w.trace }

func (w *World) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%12v ", w.now-time.Hour)+fmt.Sprintf(format, args...))
}

// Member is one replica and what it works with.
type Member struct {
	world    *World
	replica  *server.Replica
	options  server.Options
	identity persistentlog.Identity
	run      raft.RunID
	in       server.Inputs
	poked    bool
	down     bool
	lanes    map[server.Lane][]server.Job
}

// Start starts a server on options.Log and options.Snapshots, with options.Group; its transport is the world's. A server
// of the same id that ran before is forgotten where it stands, as by a crash.
func (w *World) Start(options server.Options) (*Member, error) {
	m := &Member{world: w, lanes: make(map[server.Lane][]server.Job)}
	options.Transport = network{w: w}
	shared, err := server.NewShared(options)
	if err != nil {
		return nil, err
	}
	m.options, m.identity = options, shared.Identity()
	if m.replica, err = server.NewReplica(shared, options.Group, w.now); err != nil {
		return nil, err
	}
	w.count++
	m.run = raft.RunID(w.count)
	w.Stop(m.identity.Server)
	w.members[m.identity.Server] = m
	w.note("server %d starts", m.identity.Server)
	m.poke()
	return m, nil
}

// Stop forgets a server where it stands. Jobs that are under way never end, and messages to it are lost.
func (w *World) Stop(id raft.ServerID) {
	if m := w.members[id]; m != nil {
		m.down = true
		delete(w.members, id)
		w.note("server %d is gone", id)
	}
}

// Replica is the member's replica, to be looked at.
func (m *Member) Replica() *server.Replica { return m.replica }

// Propose hands in a proposal.
func (m *Member) Propose(p server.Proposal, done server.Completion) {
	m.in.Propose(p, done)
	m.poke()
}

// Query hands in a read of this member, whether it leads or not.
func (m *Member) Query(q []byte, c server.Consistency, done server.Completion) {
	m.in.Query(q, c, false, done)
	m.poke()
}

// TakeSnapshot asks for a snapshot.
func (m *Member) TakeSnapshot(done server.Completion) {
	m.in.TakeSnapshot(done)
	m.poke()
}

// Run lets the world go on for d.
func (w *World) Run(d time.Duration) {
	end := w.now + d
	for len(w.events) > 0 && w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.now = max(w.now, e.at)
		e.do()
	}
	w.now = end
}

func (w *World) after(d time.Duration, do func()) {
	w.count++
	heap.Push(&w.events, event{at: w.now + d, number: w.count, do: do})
}

func (w *World) delay() time.Duration {
	most := w.DelayMax
	if most == 0 {
		most = 2 * time.Millisecond
	}
	return time.Duration(w.random.Int64N(int64(most)))
}

// poke sees to it that a turn follows soon; what arrives before it shares it.
func (m *Member) poke() {
	if m.poked || m.down {
		return
	}
	m.poked = true
	m.world.after(m.world.delay()/10, m.turn)
}

func (m *Member) turn() {
	m.poked = false
	if m.down {
		return
	}
	w := m.world
	work := m.replica.Turn(w.now, &m.in)
	m.in.Reset()
	if work.Fenced != nil {
		w.note("server %d has stopped: %v", m.identity.Server, work.Fenced)
	}
	for _, message := range work.Sends {
		w.send(m, message)
	}
	for _, j := range work.Jobs {
		m.start(j)
	}
	if at := work.Deadline; at != raft.Never {
		w.after(max(0, at-w.now), func() {
			if !m.down && m.replica.Deadline() <= w.now {
				m.poke()
			}
		})
	}
}

func (w *World) send(from *Member, m raft.Message) {
	if w.Sent != nil {
		w.Sent(&m)
	}
	lost := w.random.Float64() < w.Loss || w.Cut != nil && w.Cut(m.From, m.To)
	w.note("%d to %d: %s, term %d, %d to %d, commit %d, match %d, reject %t, lost %t", m.From, m.To, m.Type, m.Term, m.First,
		m.Next, m.Commit, m.Match, m.Reject, lost)
	if lost {
		return
	}
	m.FromStore, m.FromRun = from.identity.Store, from.run
	w.deliver(m)
	if w.Repeat > 0 && w.random.Float64() < w.Repeat {
		w.deliver(m)
	}
}

func (w *World) deliver(m raft.Message) {
	w.after(w.delay(), func() {
		to := w.members[m.To]
		if to == nil || !m.ToStore.IsZero() && m.ToStore != to.identity.Store {
			return
		}
		to.in.Messages = append(to.in.Messages, m)
		to.poke()
	})
}

// start queues a job in its lane. A lane runs one job at a time, but for fills, which overlap each other too.
func (m *Member) start(j server.Job) {
	if j.Lane() == server.LaneFill {
		m.world.after(m.stepDelay(j), func() { m.step(j, nil) })
		return
	}
	m.lanes[j.Lane()] = append(m.lanes[j.Lane()], j)
	if len(m.lanes[j.Lane()]) == 1 {
		m.runLane(j.Lane())
	}
}

func (m *Member) runLane(lane server.Lane) {
	m.world.after(m.stepDelay(m.lanes[lane][0]), func() {
		m.step(m.lanes[lane][0], func() {
			m.lanes[lane] = m.lanes[lane][1:]
			if len(m.lanes[lane]) > 0 {
				m.runLane(lane)
			}
		})
	})
}

func (m *Member) stepDelay(j server.Job) time.Duration {
	d := m.world.delay()
	if m.world.StepDelay != nil {
		d += m.world.StepDelay(m.identity.Server, j)
	}
	return d
}

// step does one step of a job; next is called when the job is done.
func (m *Member) step(j server.Job, next func()) {
	if m.down {
		return
	}
	if m.replica.Err() != nil {
		j.Drop(m.replica.Err())
	} else if !j.Step() {
		m.world.after(m.stepDelay(j), func() { m.step(j, next) })
		return
	}
	m.world.note("server %d: %T done", m.identity.Server, j)
	if m.world.Done != nil {
		if m.world.Done(m.identity.Server, j); m.down {
			return
		}
	}
	m.in.Finished = append(m.in.Finished, j)
	if next != nil {
		next()
	}
	m.poke()
}

// network is the Transport of a world's members: replicas' messages go by send, so only snapshots go through it.
type network struct{ w *World }

// Start implements transport.Transport.
func (n network) Start(transport.Handler) error { return nil }

// Send implements transport.Transport.
func (n network) Send([]raft.Message) {}

// SetPeers implements transport.Transport.
func (n network) SetPeers([]raft.Member) {}

// Status implements transport.Transport.
func (n network) Status() transport.Status { return transport.Status{} }

// Close implements transport.Transport.
func (n network) Close() error { return nil }

// FetchChunk implements transport.Transport. It takes no time: the step that calls it does.
func (n network) FetchChunk(_ context.Context, from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
	m := n.w.members[from.ID]
	if m == nil || !from.Store.IsZero() && m.identity.Store != from.Store {
		return transport.Chunk{}, transport.ErrUnreachable
	}
	file, err := m.options.Snapshots.Open(r.Snapshot, r.Offset)
	if err != nil {
		return transport.Chunk{}, fmt.Errorf("%w: %w", transport.ErrChunkRefused, err)
	}
	size := min(int64(r.BytesMax), transport.ChunkBytesMax, r.Snapshot.Size-r.Offset)
	bytes := make([]byte, size)
	_, err = io.ReadFull(file, bytes)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return transport.Chunk{Offset: r.Offset, Bytes: bytes, Last: r.Offset+size == r.Snapshot.Size}, err
}

type event struct {
	at     time.Duration
	number uint64 // events of one moment happen in the order in which they were foreseen
	do     func()
}

type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].number < h[j].number
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *events) Push(x any) { *h = append(*h, x.(event)) }

// Pop implements heap.Interface.
func (h *events) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}
