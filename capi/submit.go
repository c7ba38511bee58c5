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
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// The completions of calls are a pointer in an interface: they allocate nothing. call is C memory, with a reference that
// completing it gives up.
type (
	proposalDone struct{ call *C.struct_oar_call_object }
	queryDone    struct{ call *C.struct_oar_call_object }
)

// Complete implements server.Completion and client.Completion.
func (d proposalDone) Complete(result []byte, err error) { complete(d.call, result, err, false) }

// Complete implements server.Completion and client.Completion.
func (d queryDone) Complete(result []byte, err error) { complete(d.call, result, err, true) }

func complete(call *C.struct_oar_call_object, result []byte, err error, query bool) {
	if err == nil {
		C.oar_call_succeed(call, unsafe.Pointer(unsafe.SliceData(result)), C.size_t(len(result)))
		return
	}
	f := failureOf(err, C.OAR_ERR_UNKNOWN)
	if query {
		f = ofQuery(f)
	}
	failCall(call, f)
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

// leaderDone is a completion of a server whose clients have other addresses than its peers.
type leaderDone struct {
	call  *C.struct_oar_call_object
	box   *serverBox
	query bool
}

// Complete implements server.Completion.
func (d *leaderDone) Complete(result []byte, err error) {
	if err == nil {
		complete(d.call, result, nil, d.query)
		return
	}
	f := failureOf(err, C.OAR_ERR_UNKNOWN).through(d.box.addresses)
	if d.query {
		f = ofQuery(f)
	}
	failCall(d.call, f)
}

// timedDone ends a call of a server at a time, whatever becomes of it then.
type timedDone struct {
	inner server.Completion
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

func timed(inner server.Completion, timeout time.Duration, query bool) server.Completion {
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

//export oargo_server_submit
func oargo_server_submit(h C.uintptr_t, r *C.struct_oar_request, call *C.struct_oar_call_object) (status C.oar_status) {
	submitted := false
	defer func() {
		if !submitted {
			caughtBy(recover(), &status)
		} else {
			_ = recover() // the call is the server's by now, which completes it
		}
	}()
	b := serverOf(h)
	s, err := b.running()
	if err != nil {
		return fail(err, C.OAR_ERR_ORDER)
	}
	query := r.op == C.OAR_OP_QUERY || r.op == C.OAR_OP_QUERY_STALE || r.op == C.OAR_OP_BARRIER
	var done server.Completion = proposalDone{call}
	switch {
	case b.addresses != nil:
		done = &leaderDone{call: call, box: b, query: query}
	case query:
		done = queryDone{call}
	}
	body := unsafe.Slice((*byte)(r.body), int(r.body_len))
	if r.timeout > 0 {
		body = bytes.Clone(body) // C frees its copy when the call ends, and the server may still have it then
		done = timed(done, time.Duration(r.timeout), query)
	}
	submitted = true
	submit(s, r, body, done)
	return C.OAR_OK
}

// submitter is what a server takes requests by.
type submitter interface {
	Submit(p server.Proposal, done server.Completion)
	SubmitQuery(group raft.GroupID, query []byte, done server.Completion)
	SubmitLocal(group raft.GroupID, query []byte, done server.Completion)
	SubmitBarrier(group raft.GroupID, done server.Completion)
}

func submit(s submitter, r *C.struct_oar_request, body []byte, done server.Completion) {
	group := raft.GroupID(r.group)
	switch r.op {
	case C.OAR_OP_PROPOSE:
		s.Submit(server.Proposal{
			Group: group, Kind: raft.KindCommand, Command: body,
			Session: uint64(r.session), Sequence: uint64(r.sequence), Floor: uint64(r.floor),
		}, done)
	case C.OAR_OP_QUERY:
		s.SubmitQuery(group, body, done)
	case C.OAR_OP_QUERY_STALE:
		s.SubmitLocal(group, body, done)
	case C.OAR_OP_BARRIER:
		s.SubmitBarrier(group, done)
	case C.OAR_OP_SESSION_OPEN:
		s.Submit(server.Proposal{Group: group, Kind: raft.KindSession}, sessionDone{done})
	case C.OAR_OP_SESSION_KEEP:
		s.Submit(server.Proposal{Group: group, Kind: raft.KindSession, Session: uint64(r.session), Keep: true}, done)
	case C.OAR_OP_SESSION_CLOSE:
		s.Submit(server.Proposal{Group: group, Kind: raft.KindSession, Session: uint64(r.session)}, done)
	default:
		done.Complete(nil, server.ErrMalformed)
	}
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

func caughtBy(r any, status *C.oar_status) {
	if r != nil {
		*status = fail(thrown(r), C.OAR_ERR_INTERNAL)
	}
}

func serverOf(h C.uintptr_t) *serverBox { return cgo.Handle(h).Value().(*serverBox) }
