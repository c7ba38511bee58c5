package main

/*
#include "internal.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/cgo"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
)

// serverBox is a server from oar_server_open to oar_server_free.
type serverBox struct {
	object    *C.struct_oar_server_object
	source    source
	patience  time.Duration // how long closing may take
	machine   statemachine.StateMachine
	frames    *frame
	log       *logBox                  // nil: no callback
	addresses map[raft.ServerID]string // where clients reach each server; nil: where servers do

	door    sync.Mutex // held by who empties the door
	batch   []server.Submission
	answers *deliverer
	started atomic.Pointer[running]
	stopped chan struct{} // closed by the first close

	mu     sync.Mutex // taken by who starts and who closes
	closed bool
	pumped sync.WaitGroup

	eventsMu sync.Mutex
	events   map[*eventsBox]struct{}
}

// running is a server that was started, with what closes it and its parts.
type running struct {
	*server.Server
	close func() error
}

// source is where a server comes from: a member of a configuration, or of a cluster in memory.
type source func(machine statemachine.StateMachine, logger *slog.Logger, tune func(*server.Options)) (*running, error)

// memberOf opens a member as the configuration has it.
func memberOf(c *config.Config, id raft.ServerID) source {
	return func(machine statemachine.StateMachine, logger *slog.Logger, tune func(*server.Options)) (*running, error) {
		s, err := c.OpenServerWith(id, machine, logger, tune)
		if err != nil {
			return nil, err
		}
		return &running{s.Server, s.Close}, nil
	}
}

// newServerBox makes a box for the object, whose machine, or queue of work, is there.
func newServerBox(object *C.struct_oar_server_object, from source, patience time.Duration, pullFlags C.uint32_t) *serverBox {
	s := &serverBox{
		object: object, source: from, patience: patience, frames: new(frame), stopped: make(chan struct{}),
		events: make(map[*eventsBox]struct{}), answers: newDeliverer(&object.door, C.OAR_SERVER),
	}
	if object.work != nil {
		s.machine = pulled(object.work, s.frames, pullFlags)
	} else {
		s.machine = pushed(object.machine, s.frames)
	}
	return s
}

//export oargo_server_format
func oargo_server_format(conf C.uintptr_t, id C.uint64_t, joining C.bool) (status C.oar_status) {
	defer caught(&status)
	b := configOf(conf)
	b.mu.Lock()
	c := b.config.Clone()
	b.mu.Unlock()
	if err := c.Validate(); err != nil {
		return fail(err, C.OAR_ERR_CONFIG)
	}
	return fail(formatMember(c, raft.ServerID(id), bool(joining)), C.OAR_ERR_IO)
}

//export oargo_server_open
func oargo_server_open(
	conf C.uintptr_t, id C.uint64_t, object *C.struct_oar_server_object, pullFlags C.uint32_t, levels *C.char, out *C.uintptr_t,
) (status C.oar_status) {
	defer caught(&status)
	b := configOf(conf)
	b.mu.Lock()
	c := b.config.Clone()
	b.mu.Unlock()
	if err := c.Validate(); err != nil {
		return fail(err, C.OAR_ERR_CONFIG)
	}
	if _, err := c.Member(raft.ServerID(id)); err != nil {
		return fail(missing{err}, C.OAR_ERR_NOT_FOUND)
	}
	var err error
	s := newServerBox(object, memberOf(c, raft.ServerID(id)), c.Timing.CloseTimeout, pullFlags)
	for _, m := range c.Members {
		if m.ClientAddress != "" && m.ClientAddress != m.Address {
			s.addresses = c.ClientAddresses()
		}
	}
	if object.log != nil {
		if s.log, err = newLogBox(object, C.GoString(levels)); err != nil {
			return fail(err, C.OAR_ERR_CONFIG)
		}
	}
	enlist(s)
	*out = s.named()
	return C.OAR_OK
}

// named gives the box its handle.
func (s *serverBox) named() C.uintptr_t {
	s.answers.owner = C.uintptr_t(cgo.NewHandle(s))
	return s.answers.owner
}

// running returns the server that was started.
func (s *serverBox) running() (*running, error) {
	if started := s.started.Load(); started != nil {
		return started, nil
	}
	select {
	case <-s.stopped:
		return nil, server.ErrClosed
	default:
		return nil, fmt.Errorf("%w: the server was not started (oar_server_start)", errOrder)
	}
}

//export oargo_server_start
func oargo_server_start(h C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	return fail(serverOf(h).start(), C.OAR_ERR_CONFIG)
}

func (s *serverBox) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return server.ErrClosed
	case s.started.Load() != nil:
		return fmt.Errorf("%w: the server was started already", errOrder)
	}
	events := server.NewSubscription(eventsPumped)
	opened, err := s.source(s.machine, slog.New(s.handler()), func(o *server.Options) {
		o.Subscription = events
		o.Answering = func(_ raft.GroupID, begins bool) { s.answers.gather(begins) }
	})
	if err != nil {
		return err
	}
	s.pumped.Go(func() { s.pump(events) })
	s.started.Store(opened)
	C.oar_server_is(s.object, C.OAR_STARTED)
	return nil
}

//export oargo_server_close
func oargo_server_close(h C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	return fail(serverOf(h).close(), C.OAR_ERR_IO)
}

// close may be called again after a failure.
func (s *serverBox) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	select {
	case <-s.stopped:
	default:
		close(s.stopped)
	}
	C.oar_server_is(s.object, C.OAR_CLOSED_ONE)
	if s.object.work != nil {
		C.oar_work_close(s.object.work)
	}
	over := time.After(s.patience)
	var failed error
	if started := s.started.Load(); started != nil {
		if failed = started.close(); errors.Is(failed, server.ErrStuck) {
			return failed
		}
		s.pumped.Wait()
	}
	if !s.answers.end(over) {
		return fmt.Errorf("%w: a completion callback does not return", server.ErrStuck)
	}
	s.endEvents()
	if !s.log.close(over) {
		return fmt.Errorf("%w: the log callback does not return", server.ErrStuck)
	}
	s.closed = true // also if a part has ended badly: that is told once
	return failed
}

//export oargo_server_free
func oargo_server_free(h C.uintptr_t) {
	s := serverOf(h)
	strike(s)
	s.mu.Lock()
	s.closed = true // of one that never started, too: nobody is to close what is gone
	s.mu.Unlock()
	s.log.close(nil)
	s.answers.end(nil)
	s.answers.free()
	s.frames.free()
	cgo.Handle(h).Delete()
}

// readyLookEvery is how often a replica that applies is looked at: nothing tells of every entry.
const readyLookEvery = 5 * time.Millisecond

//export oargo_server_wait_ready
func oargo_server_wait_ready(h C.uintptr_t, timeout C.int64_t) (status C.oar_status) {
	defer caught(&status)
	b := serverOf(h)
	s, err := b.running()
	if err != nil {
		return fail(err, C.OAR_ERR_ORDER)
	}
	ctx, cancel := within(timeout)
	defer cancel()
	ticker := time.NewTicker(readyLookEvery)
	defer ticker.Stop()
	var want ready
	for {
		ok, err := want.look(s)
		if err != nil || ok {
			return fail(err, C.OAR_ERR_FENCED)
		}
		select {
		case <-ctx.Done():
			return fail(fmt.Errorf("%w: %s", errTimeout, want.why), C.OAR_ERR_TIMEOUT)
		case <-b.stopped:
			return fail(server.ErrClosed, C.OAR_ERR_CLOSED)
		case <-ticker.C:
		}
	}
}

// ready is what a server waits for: to have applied what was committed when it learned of its leader.
type ready struct {
	refused time.Time // since when the others refuse this server; zero: they do not
	leader  raft.ServerID
	term    raft.Term
	index   raft.Index
	why     string // it is not ready
}

// refusalLasts is how long a server has to be refused for it to be told so. A refusal that was overtaken passes: at a group's
// birth, a server that asked for it before it had it may be answered afterwards.
const refusalLasts = time.Second

func (r *ready) look(s *running) (bool, error) {
	st, ok := s.GroupStatus(raft.DefaultGroup)
	switch {
	case st.Refusal == "":
		r.refused = time.Time{}
	case r.refused.IsZero():
		r.refused = time.Now()
	}
	switch {
	case !ok:
		return false, server.ErrNoGroup
	case st.Fenced != nil:
		return false, fmt.Errorf("%w: %w", server.ErrFenced, st.Fenced)
	case st.Refusal != "" && time.Since(r.refused) >= refusalLasts:
		return false, fmt.Errorf("%w: %s", errRefused, st.Refusal)
	case st.Refusal != "":
		r.why = st.Refusal
		return false, nil
	case st.NoSnapshot != nil:
		r.why = st.NoSnapshot.Error()
	case st.Leader == 0:
		r.why = "no leader is known"
		if len(st.BirthMissing) > 0 {
			r.why = fmt.Sprintf("the group is not born: servers %v have not answered yet", st.BirthMissing)
		}
	case st.Commit == 0:
		r.why = "nothing is committed yet"
	}
	if st.Leader == 0 || st.Commit == 0 || st.NoSnapshot != nil {
		*r = ready{refused: r.refused, why: r.why}
		return false, nil
	}
	if r.leader != st.Leader || r.term != st.Term {
		r.leader, r.term, r.index = st.Leader, st.Term, st.Commit
		if st.Role == raft.RoleLeader { // its own no-op, so that reads and proposals go through at once
			r.index = st.Next - 1
		}
	}
	r.why = fmt.Sprintf("server %d leads; %d of %d entries are applied", r.leader, st.Applied, r.index)
	return st.Applied >= r.index, nil
}

//export oargo_server_wait_stopped
func oargo_server_wait_stopped(h C.uintptr_t, timeout C.int64_t) (status C.oar_status) {
	defer caught(&status)
	b := serverOf(h)
	ctx, cancel := within(timeout)
	defer cancel()
	s := b.started.Load()
	if s == nil {
		_, err := b.running()
		return fail(err, C.OAR_ERR_ORDER)
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
		select {
		case <-s.Done(): // select draws lots where both are ready, as with a timeout of 0
		default:
			return fail(fmt.Errorf("%w: the server runs", errTimeout), C.OAR_ERR_TIMEOUT)
		}
	}
	err := s.Err()
	if err == nil || errors.Is(err, server.ErrClosed) {
		return fail(server.ErrClosed, C.OAR_ERR_CLOSED)
	}
	return fail(fmt.Errorf("%w: %w", server.ErrFenced, err), C.OAR_ERR_FENCED)
}

//export oargo_server_snapshot
func oargo_server_snapshot(h C.uintptr_t, group C.uint64_t, timeout C.int64_t) (status C.oar_status) {
	defer caught(&status)
	s, err := serverOf(h).running()
	if err != nil {
		return fail(err, C.OAR_ERR_ORDER)
	}
	ctx, cancel := within(timeout)
	defer cancel()
	err = s.TakeSnapshot(ctx, raft.GroupID(group))
	if err != nil && ctx.Err() != nil && !errors.Is(err, server.ErrNotSent) {
		err = fmt.Errorf("%w: %w", errPending, err)
	}
	return fail(err, C.OAR_ERR_IO)
}
