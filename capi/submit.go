package main

/*
#include "internal.h"
*/
import "C"

import (
	"bytes"
	"context"
	"fmt"
	"runtime/cgo"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// The completions of a server's calls are a box with a pointer to C memory, and a reference to that memory which completing
// the call gives up.
type (
	proposalDone struct {
		box  *serverBox
		call *C.struct_oar_call_object
	}
	queryDone struct {
		box  *serverBox
		call *C.struct_oar_call_object
	}
)

// Complete implements server.Completion.
func (d *proposalDone) Complete(result []byte, err error) { d.CompleteAt(0, result, err) }

// Complete implements server.Completion.
func (d *queryDone) Complete(result []byte, err error) { d.CompleteAt(0, result, err) }

// CompleteAt implements server.IndexCompletion.
func (d *proposalDone) CompleteAt(index raft.Index, result []byte, err error) {
	a := answer{call: d.call, result: result, index: index}
	if err != nil {
		f := failureOf(err, C.OAR_ERR_UNKNOWN).through(d.box.addresses)
		f.index, a.failed = index, &f
	}
	d.box.answers.bring(a)
}

// CompleteAt implements server.IndexCompletion.
func (d *queryDone) CompleteAt(index raft.Index, result []byte, err error) {
	a := answer{call: d.call, result: result, index: index}
	if err != nil {
		f := ofQuery(failureOf(err, C.OAR_ERR_UNKNOWN).through(d.box.addresses))
		f.index, a.failed = index, &f
	}
	d.box.answers.bring(a)
}

// ofQuery is what a failure is called where nothing can have been applied.
func ofQuery(f failure) failure {
	switch {
	case f.status == C.OAR_ERR_RESULT_TOO_LARGE:
		f.status, f.cause = C.OAR_ERR_ANSWER_TOO_LARGE, C.OAR_ERR_ANSWER_TOO_LARGE
	case f.status == C.OAR_ERR_UNKNOWN && f.cause != C.OAR_ERR_UNKNOWN:
		f.status = f.cause
	case f.status == C.OAR_ERR_UNKNOWN:
		f.status, f.cause = C.OAR_ERR_NOT_READY, C.OAR_ERR_NOT_READY
	}
	return f
}

// timedDone ends a call of a server at a time, whatever becomes of it then.
type timedDone struct {
	inner server.IndexCompletion
	ended atomic.Bool
	timer *time.Timer
}

// Complete implements server.Completion.
func (d *timedDone) Complete(result []byte, err error) {
	if d.ended.CompareAndSwap(false, true) {
		d.timer.Stop()
		d.inner.Complete(result, err)
	}
}

// CompleteAt implements server.IndexCompletion.
func (d *timedDone) CompleteAt(index raft.Index, result []byte, err error) {
	if d.ended.CompareAndSwap(false, true) {
		d.timer.Stop()
		d.inner.CompleteAt(index, result, err)
	}
}

func timed(inner server.IndexCompletion, timeout time.Duration, query bool) server.IndexCompletion {
	d := &timedDone{inner: inner}
	over := fmt.Errorf("%w: %w", server.ErrUnknown, context.DeadlineExceeded)
	if query {
		over = errTimeout
	}
	d.timer = time.AfterFunc(timeout, func() {
		if d.ended.CompareAndSwap(false, true) {
			d.inner.Complete(nil, over)
		}
	})
	return d
}

// goThrough empties a door, or leaves it to whoever is doing so, who looks once more after having let go of the lock. Nobody
// waits here: two who empty a door each may have calls for the other's.
func goThrough(lock *sync.Mutex, door *C.struct_oar_door, take func(call *C.struct_oar_call_object), flush func()) {
	pending := (*unsafe.Pointer)(unsafe.Pointer(&door.pending))
	for lock.TryLock() {
		func() {
			defer lock.Unlock()
			empty(door, take, flush)
		}()
		if atomic.LoadPointer(pending) == nil {
			return
		}
	}
}

// empty takes the calls that wait at a door, in the order in which they came, until there are none.
// flush is called after each look that found some.
func empty(door *C.struct_oar_door, take func(call *C.struct_oar_call_object), flush func()) {
	pending := (*unsafe.Pointer)(unsafe.Pointer(&door.pending))
	for {
		var first *C.struct_oar_call_object
		for call := (*C.struct_oar_call_object)(atomic.SwapPointer(pending, nil)); call != nil; {
			next := call.next
			call.next, first, call = first, call, next
		}
		if first == nil {
			return
		}
		for call := first; call != nil; {
			next := call.next // call may be gone when take returns
			take(call)
			call = next
		}
		flush()
	}
}

//export oargo_server_empty
func oargo_server_empty(h C.uintptr_t, door *C.struct_oar_door) {
	b := serverOf(h)
	goThrough(&b.door, door, b.take, b.flush) // one at a time, so that calls stay in order
}

// flush hands the proposals in that take has gathered. The caller holds door.
func (b *serverBox) flush() {
	if len(b.batch) == 0 {
		return
	}
	defer func() {
		_ = recover() // what was handed in is the server's, which completes it
		clear(b.batch)
		b.batch = b.batch[:0]
	}()
	if s := b.started.Load(); s != nil {
		s.SubmitBatch(b.batch)
	}
}

// take hands a call to the server. From then on it is the server's, which completes it, whatever happens.
func (b *serverBox) take(call *C.struct_oar_call_object) {
	submitted := false
	b.answers.underWay.Add(1)
	defer func() {
		if r := recover(); r != nil && !submitted {
			f := failureOf(thrown(r), C.OAR_ERR_INTERNAL)
			b.answers.bring(answer{call: call, failed: &f})
		}
	}()
	r := &call.request
	query := readsOnly(r.op)
	var done server.IndexCompletion = &proposalDone{b, call}
	if query {
		done = &queryDone{b, call}
	}
	s, err := b.running()
	if err != nil {
		submitted = true
		done.Complete(nil, err)
		return
	}
	body := unsafe.Slice((*byte)(r.body), int(r.body_len))
	if r.timeout > 0 {
		body = bytes.Clone(body) // C frees its copy when the call ends, and the server may still have it then
		done = timed(done, time.Duration(r.timeout), query)
	}
	submitted = true
	if p, ok := proposal(r, body); ok {
		var told server.Completion = done
		if r.op == C.OAR_OP_SESSION_OPEN {
			told = sessionDone{done}
		}
		b.batch = append(b.batch, server.Submission{Proposal: p, Done: told})
		return
	}
	b.flush()
	ask(s, r, body, done)
}

// proposal is what a request proposes; ok is false for one that reads.
func proposal(r *C.struct_oar_request, body []byte) (p server.Proposal, ok bool) {
	p = server.Proposal{Group: raft.GroupID(r.group), Kind: raft.KindSession, Session: uint64(r.session)}
	switch r.op {
	case C.OAR_OP_PROPOSE:
		p.Kind, p.Command, p.Sequence, p.Floor = raft.KindCommand, body, uint64(r.sequence), uint64(r.floor)
	case C.OAR_OP_SESSION_OPEN:
		p.Session = 0
	case C.OAR_OP_SESSION_KEEP:
		p.Keep = true
	case C.OAR_OP_SESSION_CLOSE:
	default:
		return p, false
	}
	return p, true
}

func ask(s *running, r *C.struct_oar_request, body []byte, done server.Completion) {
	group := raft.GroupID(r.group)
	switch {
	case r.op == C.OAR_OP_QUERY && r.consistency == C.OAR_LINEARIZABLE:
		s.SubmitQuery(group, body, done)
	case r.op == C.OAR_OP_QUERY:
		s.SubmitQuery(group, body, done, consistencyOf(r))
	case r.op == C.OAR_OP_BARRIER:
		s.SubmitBarrier(group, done, consistencyOf(r))
	default:
		order(s, r, body, done)
	}
}

// consistencyOf is what a query's answer has to reflect. The levels are the numbers of Go.
func consistencyOf(r *C.struct_oar_request) raft.Consistency {
	return raft.Consistency{Level: raft.Level(r.consistency), MaxAge: time.Duration(r.max_age), MinIndex: raft.Index(r.min_index)}
}

// sessionDone hands the id of a new session to C as the eight bytes of its number.
type sessionDone struct{ inner server.Completion }

// Complete implements server.Completion.
func (d sessionDone) Complete(result []byte, err error) {
	if err != nil {
		d.inner.Complete(nil, err)
		return
	}
	id, err := server.SessionID(result)
	number := *(*[8]byte)(unsafe.Pointer(&id))
	d.inner.Complete(number[:], err)
}

func serverOf(h C.uintptr_t) *serverBox { return cgo.Handle(h).Value().(*serverBox) }
