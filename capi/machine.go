package main

/*
#include "internal.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"io"
	"runtime/cgo"
	"unsafe"

	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
)

// host is an application on the other side of the C interface, pushed or pulled.
type host interface {
	apply(entries []statemachine.Entry, results [][]byte) error
	query(query []byte) ([]byte, error)
	prepare() (statemachine.Snapshot, error)
	restore(r io.Reader) error
	nextDue() (int64, bool, error)
	expire(index uint64, nanos int64) error
	hash() (uint64, error)
}

// machine makes a state machine of a host. What fails in the host stops the replica, with the host's words.
type machine struct{ host host }

func broken(err error) {
	if err != nil {
		panic(&statemachine.Broken{Err: err})
	}
}

// Apply implements statemachine.StateMachine; the server calls ApplyBatch instead.
func (m machine) Apply(e statemachine.Entry) []byte {
	var results [1][]byte
	m.ApplyBatch([]statemachine.Entry{e}, results[:])
	return results[0]
}

// ApplyBatch implements statemachine.BatchApplier.
func (m machine) ApplyBatch(entries []statemachine.Entry, results [][]byte) {
	broken(m.host.apply(entries, results))
}

// Query implements statemachine.StateMachine.
func (m machine) Query(query []byte) ([]byte, error) { return m.host.query(query) }

// Snapshot implements statemachine.StateMachine.
func (m machine) Snapshot() (statemachine.Snapshot, error) {
	s, err := m.host.prepare()
	return s, ofSnapshot(err)
}

// Restore implements statemachine.StateMachine.
func (m machine) Restore(r io.Reader) error {
	if err := m.host.restore(r); err != nil {
		return &statemachine.Broken{Err: err}
	}
	return nil
}

// Close implements io.Closer, which only checks look for.
func (m machine) Close() error {
	if c, ok := m.host.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// The optional parts of a machine, one method set each, to be put together as the host has them.
type (
	scheduled  struct{ h host }
	hashed     struct{ h host }
	concurrent struct{}
)

// NextDue implements statemachine.Scheduled.
func (s scheduled) NextDue() (int64, bool) {
	nanos, ok, err := s.h.nextDue()
	broken(err)
	return nanos, ok
}

// Expire implements statemachine.Scheduled.
func (s scheduled) Expire(index uint64, nanos int64) { broken(s.h.expire(index, nanos)) }

// StateHash implements statemachine.Hasher.
func (s hashed) StateHash() uint64 {
	hash, err := s.h.hash()
	broken(err)
	return hash
}

// ConcurrentQuery implements statemachine.ConcurrentQuerier.
func (concurrent) ConcurrentQuery() {}

func machineOf(h host, hasSchedule, hasHash, isConcurrent bool) statemachine.StateMachine {
	m, s, x, c := machine{h}, scheduled{h}, hashed{h}, concurrent{}
	type (
		_s struct {
			machine
			scheduled
		}
		_x struct {
			machine
			hashed
		}
		_sx struct {
			machine
			scheduled
			hashed
		}
	)
	switch {
	case hasSchedule && hasHash && isConcurrent:
		return struct {
			_sx
			concurrent
		}{_sx{m, s, x}, c}
	case hasSchedule && hasHash:
		return _sx{m, s, x}
	case hasSchedule && isConcurrent:
		return struct {
			_s
			concurrent
		}{_s{m, s}, c}
	case hasHash && isConcurrent:
		return struct {
			_x
			concurrent
		}{_x{m, x}, c}
	case hasSchedule:
		return _s{m, s}
	case hasHash:
		return _x{m, x}
	case isConcurrent:
		return struct {
			machine
			concurrent
		}{m, c}
	}
	return m
}

// errNoSnapshots is what a machine without snapshots answers. Its servers are not asked to take any.
var errNoSnapshots = errors.New("the state machine has no snapshots")

// ofSnapshot marks what a host said instead of giving a snapshot.
func ofSnapshot(err error) error {
	if err == nil || errors.Is(err, errNoSnapshots) || errors.Is(err, server.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", errSnapshot, err)
}

// said is what a host said of its failure.
func said(status C.oar_status, text string) error {
	if status == C.OAR_ERR_CLOSED && text == "" {
		return server.ErrClosed
	}
	if text == "" {
		text = C.GoString(C.oar_status_text(status))
	}
	switch {
	case status == C.OAR_ERR_CANCELLED:
		return fmt.Errorf("%w: %s", errCancelled, text)
	case status == C.OAR_ERR_ARGUMENT || C.oar_status_name(status) == C.oar_status_name(noStatus):
		return &misused{text}
	}
	return errors.New(text)
}

// misused is a failure that nobody has meant to report: the library refused the host's answer, or what came back is no status.
// To a server it is a failure like others.
type misused struct{ text string }

// Error implements error.
func (m *misused) Error() string { return m.text }

// noStatus is no status of oarlock.h.
const noStatus = -1

// snapshotWriter is where a host writes a snapshot to.
type snapshotWriter struct {
	w io.Writer
	n int64
}

//export oargo_writer_write
func oargo_writer_write(h C.uintptr_t, bytes unsafe.Pointer, n C.size_t) (status C.oar_status) {
	defer caught(&status)
	w := cgo.Handle(h).Value().(*snapshotWriter)
	written, err := w.w.Write(unsafe.Slice((*byte)(bytes), int(n)))
	w.n += int64(written)
	return fail(err, C.OAR_ERR_IO)
}

// snapshotReader is what a host reads a snapshot from. It notes a failure: a host need not look.
type snapshotReader struct {
	r      io.Reader
	failed error
}

// fill reads until b is full, or the snapshot ends, or it cannot be read on.
func (s *snapshotReader) fill(b []byte) (n int, err error) {
	for n < len(b) && s.failed == nil {
		var read int
		read, err = s.r.Read(b[n:])
		n += read
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			s.failed = fmt.Errorf("reading the snapshot: %w", err)
		}
	}
	if s.failed != nil {
		return 0, s.failed
	}
	return n, nil
}

// left tells what is wrong after a host has said that it restored a snapshot: that it did not come to the end, where half a state is
// what nobody would complain of. Of a machine in Go this is not asked: the contract of statemachine.StateMachine lets it leave what
// it does not need; oarlock.h and the Python package say that it is an error.
func (s *snapshotReader) left() error {
	if s.failed != nil {
		return s.failed
	}
	if n, err := io.Copy(io.Discard, s.r); n > 0 {
		return fmt.Errorf("restore has left %d bytes of the snapshot unread: it has to read to the end, or to fail", n)
	} else if err != nil {
		return fmt.Errorf("%w: %w", errBehind, err)
	}
	return nil
}

// errBehind is a snapshot that cannot be read on behind all that the host wanted of it: a server's snapshot is damaged then. In a check it is
// none of the machine's business.
var errBehind = errors.New("reading the snapshot to its end")

//export oargo_reader_read
func oargo_reader_read(h C.uintptr_t, buffer unsafe.Pointer, n C.size_t, got *C.size_t) (status C.oar_status) {
	defer caught(&status)
	*got = 0
	read, err := cgo.Handle(h).Value().(*snapshotReader).fill(unsafe.Slice((*byte)(buffer), int(n)))
	*got = C.size_t(read)
	return fail(err, C.OAR_ERR_IO)
}
