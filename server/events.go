package server

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// EventKind says what an Event tells.
type EventKind uint8

// The events. Each comment says which fields of Event it uses beside Group.
const (
	EventTrace         EventKind = iota + 1 // Trace: what the consensus module has to tell
	EventRole                               // Role, Term, Server: the leader if known
	EventLeader                             // Server: the leader, zero for none; Term
	EventMembership                         // Index: its entry
	EventSnapshot                           // Index: a snapshot's pointer is durable
	EventSnapshotFetch                      // Index, Server: from whom it is being fetched
	EventInstalled                          // Index: the state machine was restored from a fetched snapshot
	EventCompacted                          // Index: the log was dropped through it
	EventDropped                            // Server, Err: a message had no effect
	EventTrouble                            // Err: something failed and will be tried again, or needs an operator
	EventFenced                             // Err: the replica has stopped for good
	EventDroppedEvents                      // Dropped: the subscriber was too slow for so many
	EventSlowApply                          // Elapsed: one step of applying took at least Options.SlowApplyMin; Index: its last entry
	EventChangeEnded                        // Index: the entry of a membership that is committed, and in which no change is open; told by the leader
	EventChangeGivenUp                      // Index: as EventChangeEnded; Server: the newcomer it failed on, zero if none; Err: why
	EventTransferEnded                      // Server: who was to take over; Err: nil if leadership was handed over, ErrTransferFailed or ErrUnknown
	EventRemoved                            // Server: this one, which is no member any more; Index: the newest membership that it knows; Err: what to do about it
)

var eventNames = [...]string{
	EventTrace: "trace", EventRole: "role", EventLeader: "leader", EventMembership: "membership", EventSnapshot: "snapshot",
	EventSnapshotFetch: "snapshot fetch", EventInstalled: "installed", EventCompacted: "compacted", EventDropped: "dropped message",
	EventTrouble: "trouble", EventFenced: "fenced", EventDroppedEvents: "dropped events",
	EventSlowApply: "slow apply", EventChangeEnded: "membership change ended", EventChangeGivenUp: "membership change given up",
	EventTransferEnded: "leadership transfer ended", EventRemoved: "removed",
}

// String returns the kind's name.
func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return "event"
}

// Event is one thing that happened on this server.
type Event struct {
	Kind    EventKind
	Group   raft.GroupID
	Term    raft.Term
	Index   raft.Index
	Role    raft.Role
	Server  raft.ServerID
	Err     error
	Trace   raft.Trace
	Dropped uint64
	Elapsed time.Duration
}

func (r *Replica) event(e Event) {
	e.Group = r.group.ID
	if e.Term == 0 {
		e.Term = r.term
	}
	r.work.Events = append(r.work.Events, e)
}

// Subscription is a bounded queue of events. What does not fit is dropped and counted, and the count comes as an event
// of its own as soon as there is room, so that a slow reader delays nobody and knows what it missed.
type Subscription struct {
	events  chan Event
	dropped atomic.Uint64
	owed    uint64 // dropped and not told yet; guarded by hub.mu
	hub     *hub
}

// NewSubscription returns one for Options.Subscription, with room for size events.
func NewSubscription(size int) *Subscription {
	return &Subscription{events: make(chan Event, max(2, size))}
}

// Events is the channel that events come from. It is closed by Close, and when the server closes.
func (s *Subscription) Events() <-chan Event { return s.events }

// Dropped is how many events did not fit.
func (s *Subscription) Dropped() uint64 { return s.dropped.Load() }

// Close ends the subscription. One that was made by NewSubscription may be closed once its server is open.
func (s *Subscription) Close() { s.hub.remove(s) }

// hub hands events to subscribers. It never blocks.
type hub struct {
	mu     sync.Mutex
	subs   []*Subscription
	some   atomic.Bool
	closed bool
}

func (h *hub) subscribe(size int) *Subscription {
	s := NewSubscription(size)
	h.add(s)
	return s
}

func (h *hub) add(s *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.hub = h
	if h.closed {
		close(s.events)
		return
	}
	h.subs = append(h.subs, s)
	h.some.Store(true)
}

func (h *hub) remove(s *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k := range h.subs {
		if h.subs[k] == s {
			h.subs = append(h.subs[:k], h.subs[k+1:]...)
			close(s.events)
			break
		}
	}
	h.some.Store(len(h.subs) > 0)
}

func (h *hub) publish(events []Event) {
	if len(events) == 0 || !h.some.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.subs {
		for i := range events {
			s.put(events[i])
		}
	}
}

func (s *Subscription) put(e Event) {
	if s.owed > 0 && cap(s.events)-len(s.events) >= 2 {
		s.events <- Event{Kind: EventDroppedEvents, Dropped: s.owed}
		s.owed = 0
	}
	if s.owed == 0 {
		select {
		case s.events <- e:
			return
		default:
		}
	}
	s.owed++
	s.dropped.Add(1)
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, s := range h.subs {
		close(s.events)
	}
	h.subs = nil
	h.some.Store(false)
}
