package client

import (
	"time"

	"github.com/oarlock/oarlock/internal/wire"
)

// Op is what a call asks for.
type Op uint8

const (
	// OpPropose has a command applied, once.
	OpPropose Op = 1
	// OpQuery reads through the leader, linearizably.
	OpQuery Op = 2
	// OpQueryLocal reads whatever the connected server has.
	OpQueryLocal Op = 3
	// OpBarrier waits until the leader has applied everything that was answered before.
	OpBarrier Op = 4
	// OpStatus asks the connected server for its state; its result is an encoded map.
	OpStatus Op = 5
	// OpMembers asks who belongs to the group; its result is an encoded array.
	OpMembers Op = 6

	// The core's own requests.
	opHello        Op = 7
	opSessionOpen  Op = 8
	opSessionKeep  Op = 9
	opSessionClose Op = 10
	opPing         Op = 11
)

var opMethods = [...]wire.Method{
	OpPropose: wire.MethodPropose, OpQuery: wire.MethodQuery, OpQueryLocal: wire.MethodQuery, OpBarrier: wire.MethodBarrier,
	OpStatus: wire.MethodStatus, OpMembers: wire.MethodMembers, opHello: wire.MethodHello,
	opSessionOpen: wire.MethodSessionOpen, opSessionKeep: wire.MethodSessionKeep, opSessionClose: wire.MethodSessionClose,
	opPing: wire.MethodPing,
}

// own reports whether the core made the request for itself, so that nobody waits for its end.
func (o Op) own() bool { return o >= opHello }

// callState says where a call is. A call is in exactly one of these places.
type callState uint8

const (
	callFree    callState = iota // in Core.free
	callQueued                   // in Core.proposals or Core.reads
	callWaiting                  // a proposal with its sequence number, in the window, to be sent or sent again
	callFlying                   // in the flight of its link
)

// call is one request from Start to Done.
type call struct {
	op     Op
	state  callState
	number uint64 // order of arrival
	life   uint32 // tells a Handle of an earlier use of this memory
	body   []byte
	tag    any

	session  uint64 // the session in which sequence stands; 0 outside of any
	sequence uint64
	// maybe is set once an attempt was sent whose fate nobody will report. From then on nothing may claim that the
	// command was not applied.
	maybe bool
	last  error // the last refusal

	link *link
	id   uint32
	sent time.Duration

	before, after *call
}

// Handle names a call for Cancel. The zero Handle names none.
type Handle struct {
	call *call
	life uint32
}

// callList is a list of calls in order; each call is in at most one.
type callList struct {
	first, last *call
	n           int
}

func (l *callList) push(k *call) { l.insert(l.last, k) }

// insert puts k behind after, or at the front where that is nil.
func (l *callList) insert(after, k *call) {
	l.n++
	k.before = after
	if after == nil {
		k.after, l.first = l.first, k
	} else {
		k.after, after.after = after.after, k
	}
	if k.after == nil {
		l.last = k
	} else {
		k.after.before = k
	}
}

// putBack puts k where its arrival says: what was sent and refused stands before what was not.
func (l *callList) putBack(k *call) {
	var after *call
	for at := l.first; at != nil && at.number < k.number; at = at.after {
		after = at
	}
	l.insert(after, k)
}

func (l *callList) remove(k *call) {
	l.n--
	if k.before == nil {
		l.first = k.after
	} else {
		k.before.after = k.after
	}
	if k.after == nil {
		l.last = k.before
	} else {
		k.after.before = k.before
	}
	k.before, k.after = nil, nil
}

// window holds the proposals of one session that are not completed, by sequence number: those from floor up to, not
// including, next. next never passes floor + size.
type window struct {
	slots       [wire.SequenceWindow]*call
	size        uint64
	floor, next uint64
	waiting     int // how many of them are callWaiting
}

func (w *window) reset() { *w = window{size: wire.SequenceWindow, floor: 1, next: 1} }

func (w *window) at(sequence uint64) *call { return w.slots[sequence%wire.SequenceWindow] }

func (w *window) full() bool { return w.next >= w.floor+w.size }

func (w *window) add(k *call) {
	k.sequence = w.next
	w.slots[k.sequence%wire.SequenceWindow] = k
	w.next++
}

// drop ends the wait for a sequence number; the floor rises to the lowest that is still waited for.
func (w *window) drop(k *call) {
	w.slots[k.sequence%wire.SequenceWindow] = nil
	for w.floor < w.next && w.at(w.floor) == nil {
		w.floor++
	}
}
