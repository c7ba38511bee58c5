package main

/*
#include "internal.h"
*/
import "C"

import (
	"errors"
	"log/slog"
	"runtime/cgo"
	"sync"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// eventsPumped is how many events wait between a server and its subscribers in C.
const eventsPumped = 4096

// happened is an event of a server, or a line of its log.
type happened struct {
	server.Event
	log *logLine
}

// eventsBox is one subscription: a bounded queue that drops and counts what does not fit.
type eventsBox struct {
	server *serverBox
	levels *config.Levels // nil: no log
	queue  chan happened
	ended  chan struct{} // the server has closed
	freed  chan struct{}

	mu     sync.Mutex
	owed   uint64 // dropped and not told yet
	closed bool
}

func (b *eventsBox) put(e happened) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.owed > 0 && cap(b.queue)-len(b.queue) >= 2 {
		b.queue <- happened{Event: server.Event{Kind: server.EventDroppedEvents, Dropped: b.owed}}
		b.owed = 0
	}
	if b.owed == 0 {
		select {
		case b.queue <- e:
			return
		default:
		}
	}
	b.owed++
}

func (b *eventsBox) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.ended)
	}
}

// pump hands a server's events to all who have subscribed in C, until the server closes.
func (s *serverBox) pump(from *server.Subscription) {
	for e := range from.Events() {
		closed := e.Kind == server.EventFenced && errors.Is(e.Err, server.ErrClosed)
		if e.Kind != server.EventTrace && !closed {
			s.tell(happened{Event: e})
		}
	}
}

func (s *serverBox) tell(e happened) {
	s.eventsMu.Lock()
	defer s.eventsMu.Unlock()
	for b := range s.events {
		if e.log == nil || b.levels != nil && e.log.level >= b.levels.Of(e.log.component) {
			b.put(e)
		}
	}
}

func (s *serverBox) endEvents() {
	s.eventsMu.Lock()
	defer s.eventsMu.Unlock()
	for b := range s.events {
		b.end()
	}
}

//export oargo_events_open
func oargo_events_open(h C.uintptr_t, room C.uint32_t, levels *C.char, out *C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	b := &eventsBox{server: serverOf(h), queue: make(chan happened, int(room)), ended: make(chan struct{}), freed: make(chan struct{})}
	if levels != nil {
		parsed, err := config.ParseLevels(C.GoString(levels))
		if err != nil {
			return fail(err, C.OAR_ERR_CONFIG)
		}
		b.levels = &parsed
	}
	b.server.eventsMu.Lock()
	b.server.events[b] = struct{}{}
	b.server.eventsMu.Unlock()
	select {
	case <-b.server.stopped:
		b.end()
	default:
	}
	*out = C.uintptr_t(cgo.NewHandle(b))
	return C.OAR_OK
}

//export oargo_events_next
func oargo_events_next(h C.uintptr_t, timeout C.int64_t, out *C.oar_event, text, component **C.char) (status C.oar_status) {
	defer caught(&status)
	b := cgo.Handle(h).Value().(*eventsBox)
	ctx, cancel := within(timeout)
	defer cancel()
	if e, ok := b.now(); ok {
		return give(e, out, text, component)
	}
	select {
	case e := <-b.queue:
		return give(e, out, text, component)
	case <-b.freed:
		return fail(server.ErrClosed, C.OAR_ERR_CLOSED)
	case <-b.ended:
	case <-ctx.Done():
		select {
		case <-b.ended: // select draws lots where both are ready, as with a timeout of 0
		default:
			return fail(errTimeout, C.OAR_ERR_TIMEOUT)
		}
	}
	if e, ok := b.now(); ok { // what came before the end
		return give(e, out, text, component)
	}
	return fail(server.ErrClosed, C.OAR_ERR_CLOSED)
}

// now takes an event without waiting. Behind the last one comes how many were dropped.
func (b *eventsBox) now() (e happened, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case e = <-b.queue:
		return e, true
	default:
	}
	if b.owed == 0 {
		return e, false
	}
	e.Event = server.Event{Kind: server.EventDroppedEvents, Dropped: b.owed}
	b.owed = 0
	return e, true
}

func give(e happened, out *C.oar_event, text, component **C.char) C.oar_status {
	out.kind, out.group, out.term, out.index = C.uint32_t(e.Kind), C.uint64_t(e.Group), C.uint64_t(e.Term), C.uint64_t(e.Index)
	out.server, out.role, out.dropped = C.uint64_t(e.Server), roleNumber(e.Role), C.uint64_t(e.Dropped)
	out.elapsed = C.int64_t(e.Elapsed)
	if e.Err != nil {
		*text = C.CString(e.Err.Error())
	}
	if e.log != nil {
		out.kind, out.level = C.OAR_EVENT_LOG, C.int32_t(e.log.level)
		*text, *component = C.CString(e.log.text), C.CString(e.log.component)
	}
	return C.OAR_OK
}

func roleNumber(r raft.Role) C.uint32_t {
	switch r {
	case raft.RoleLeader:
		return C.OAR_ROLE_LEADER
	case raft.RoleCandidate:
		return C.OAR_ROLE_CANDIDATE
	case raft.RolePreCandidate:
		return C.OAR_ROLE_PRE_CANDIDATE
	}
	return C.OAR_ROLE_FOLLOWER
}

// oargo_events_end ends a subscription: whoever waits for an event comes out, and may still come in until oargo_events_free.
//
//export oargo_events_end
func oargo_events_end(h C.uintptr_t) {
	b := cgo.Handle(h).Value().(*eventsBox)
	b.server.eventsMu.Lock()
	delete(b.server.events, b)
	b.server.eventsMu.Unlock()
	close(b.freed)
}

//export oargo_events_free
func oargo_events_free(h C.uintptr_t) { cgo.Handle(h).Delete() }

// handler is where a server's log goes: to the callback and to subscribers, each by its levels.
func (s *serverBox) handler() slog.Handler {
	return newLineHandler(func(l *logLine) {
		s.log.put(l)
		s.tell(happened{log: l})
	}, s.wantsLog)
}

// wantsLog reports whether anybody takes lines of a component from a level on.
func (s *serverBox) wantsLog(component string, level slog.Level) bool {
	if s.log != nil && level >= s.log.levels.Of(component) {
		return true
	}
	s.eventsMu.Lock()
	defer s.eventsMu.Unlock()
	for b := range s.events {
		if b.levels != nil && level >= b.levels.Of(component) {
			return true
		}
	}
	return false
}
