package client

import (
	"fmt"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
)

// Op is what a call asks for.
type Op uint8

const (
	// OpPropose has a command applied, once.
	OpPropose Op = 1
	// OpQuery reads; how, its consistency says, and without one it is linearizable.
	OpQuery Op = 2
	// OpQueryLocal is OpQuery with Stale: it reads whatever the connected server has.
	OpQueryLocal Op = 3
	// OpBarrier waits until the leader has applied everything that was answered before.
	OpBarrier Op = 4
	// OpStatus asks the connected server for its state; its result is an encoded map.
	OpStatus Op = 5
	// OpMembers asks who belongs to the group; its result is an encoded array.
	OpMembers Op = 6

	// OpChangeMembership changes the membership; its body is of AppendChange, its result for ParseMembership.
	OpChangeMembership Op = 7
	// OpPlanMembership asks what OpChangeMembership would do with the same body; its result is for ParsePlan.
	OpPlanMembership Op = 8
	// OpTransferLeadership hands leadership over; its body is of AppendTransfer.
	OpTransferLeadership Op = 9
	// OpStepDown has the leader give leadership up.
	OpStepDown Op = 10

	// The core's own requests.
	opHello        Op = 11
	opSessionOpen  Op = 12
	opSessionKeep  Op = 13
	opSessionClose Op = 14
	opPing         Op = 15
)

var opMethods = [...]wire.Method{
	OpPropose: wire.MethodPropose, OpQuery: wire.MethodQuery, OpQueryLocal: wire.MethodQuery, OpBarrier: wire.MethodBarrier,
	OpStatus: wire.MethodStatus, OpMembers: wire.MethodMembers, OpChangeMembership: wire.MethodChangeMembership,
	OpPlanMembership: wire.MethodPlanMembership, OpTransferLeadership: wire.MethodTransferLeadership,
	OpStepDown: wire.MethodStepDown, opHello: wire.MethodHello,
	opSessionOpen: wire.MethodSessionOpen, opSessionKeep: wire.MethodSessionKeep, opSessionClose: wire.MethodSessionClose,
	opPing: wire.MethodPing,
}

// own reports whether the core made the request for itself, so that nobody waits for its end.
func (o Op) own() bool { return o >= opHello }

// acts reports whether an attempt whose answer is lost may have done something, or may yet do it.
func (o Op) acts() bool {
	return o == OpPropose || o == OpChangeMembership || o == OpTransferLeadership || o == OpStepDown
}

// once reports whether a call must not be repeated when the fate of an attempt is unknown: a second attempt would take
// leadership from the next leader, too.
func (k *call) once() bool {
	return k.op == OpStepDown || k.op == OpTransferLeadership && string(k.body) == toTheBest
}

// toTheBest is the body of a transfer that names nobody.
var toTheBest = string(AppendTransfer(nil, 0))

// queries reports whether the call asks the state machine.
func (o Op) queries() bool { return o == OpQuery || o == OpQueryLocal }

// oneConsistency is what a caller has asked for: nothing, which is linearizable, or one thing.
func oneConsistency(op Op, given []Consistency) (c Consistency, err error) {
	switch {
	case op == OpQueryLocal && len(given) == 0:
		return Consistency{Level: Stale}, nil
	case len(given) == 0:
		return c, nil
	case len(given) > 1 || op != OpQuery:
		return c, fmt.Errorf("%w: one consistency may go with a query, and %d were given to a call of kind %d", ErrMalformed, len(given), op)
	}
	if err := given[0].Validate(); err != nil {
		return c, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return given[0], nil
}

// callState says where a call is. A call is in exactly one of these places.
type callState uint8

const (
	callFree    callState = iota // in Core.free
	callQueued                   // in Core.proposals or its route's reads
	callWaiting                  // a proposal with its sequence number, in the window, to be sent or sent again
	callFlying                   // in the flight of its link
	callResting                  // in its route's resting, to be sent anew later
)

// call is one request from Start to Done.
type call struct {
	op     Op
	state  callState
	number uint64 // order of arrival
	life   uint32 // tells a Handle of an earlier use of this memory
	body   []byte
	tag    any

	consistency Consistency
	indexed     bool // the answer will say what it reflects

	session  uint64 // the session in which sequence stands; 0 outside of any
	sequence uint64
	// maybe is set once an attempt was sent whose fate nobody will report. From then on nothing may claim that a
	// command was not applied, or an order not begun; of a question it says nothing.
	maybe bool
	last  error // the last refusal

	rests      int           // how often it was put aside,
	restsUntil time.Duration // and until when the last time

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
