package main

/*
#include "internal.h"
*/
import "C"

import (
	"errors"
	"io"
	"unsafe"

	"github.com/oarlock/oarlock/statemachine"
)

// checkHost is a machine that a check has made.
type checkHost struct {
	run      *checkRun
	m        *C.struct_oar_machine
	push     *pushHost
	captures map[*checkSnapshot]struct{} // that were not closed

	lent      []*lent
	lentBytes uintptr
}

// release closes what is open of the machine and destroys it, once.
func (h *checkHost) release() {
	if _, is := h.run.alive[h]; !is {
		return
	}
	delete(h.run.alive, h)
	for s := range h.captures {
		_ = s.release() // it never fails
	}
	for _, l := range h.lent {
		l.frame.free()
	}
	C.oar_check_release(h.m)
}

// on has the host do f. A failure that says that the host wants an end, ends the run.
func (h *checkHost) on(f func() error) error {
	h.run.goOn()
	if n := len(h.lent); n > 0 && h.lent[n-1].commands != nil {
		h.lent[n-1].spoil()
	}
	err := f()
	if errors.Is(err, errCancelled) {
		h.run.end(err)
	}
	if err == nil {
		return nil
	}
	return &hostWords{err}
}

// apply lends each batch memory of its own.
func (h *checkHost) apply(entries []statemachine.Entry, results [][]byte) error {
	return h.on(func() error {
		l := &lent{frame: frame{exact: true}}
		h.push.frame = &l.frame
		err := h.push.apply(entries, results)
		for i := range entries {
			l.commands = append(l.commands, entries[i].Command)
		}
		h.lent = append(h.lent, l)
		for h.lentBytes += l.frame.size; h.lentBytes > lentBytesMax && len(h.lent) > 1; h.lent = h.lent[1:] {
			h.lentBytes -= h.lent[0].frame.size
			h.lent[0].frame.free()
		}
		return err
	})
}

// lent is the memory of a batch, which stays when the batch is over: what the suites then write over its commands is written here,
// too, so that a machine that keeps a pointer is found by the check that is about that.
type lent struct {
	frame    frame
	commands [][]byte
}

// lentBytesMax is how much memory of batches a machine is left.
const lentBytesMax = 16 << 20

// spoil does what was done to the commands since they were lent.
func (l *lent) spoil() {
	at := uintptr(len(l.commands)) * entryBytes
	bytes := unsafe.Slice((*byte)(l.frame.at), l.frame.size)
	for _, c := range l.commands {
		at += uintptr(copy(bytes[at:], c))
	}
	l.commands = nil
}

// query passes on an error, which is an answer; but an answer that is none is a mistake of the machine's.
func (h *checkHost) query(query []byte) (answer []byte, err error) {
	err = h.on(func() (err error) { answer, err = h.push.query(query); return err })
	if wrong := (*misused)(nil); errors.As(err, &wrong) {
		broken(err)
	}
	return answer, err
}

func (h *checkHost) prepare() (statemachine.Snapshot, error) {
	s := &checkSnapshot{host: h}
	err := h.on(func() (err error) {
		if s.captured, err = h.push.prepare(); err == nil {
			h.captures[s] = struct{}{}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (h *checkHost) restore(r io.Reader) error {
	return h.on(func() error {
		if err := h.push.restore(r); !errors.Is(err, errBehind) {
			return err
		}
		return nil
	})
}

func (h *checkHost) nextDue() (nanos int64, due bool, err error) {
	err = h.on(func() (err error) { nanos, due, err = h.push.nextDue(); return err })
	return nanos, due, err
}

func (h *checkHost) expire(index uint64, nanos int64) error {
	return h.on(func() error { return h.push.expire(index, nanos) })
}

func (h *checkHost) hash() (hash uint64, err error) {
	err = h.on(func() (err error) { hash, err = h.push.hash(); return err })
	return hash, err
}

// Close implements io.Closer: the suites close the machines that they do not need any more.
func (h *checkHost) Close() error { h.release(); return nil }

// checkSnapshot is a capture of a machine.
type checkSnapshot struct {
	host     *checkHost
	captured statemachine.Snapshot
}

// WriteTo implements statemachine.Snapshot.
func (s *checkSnapshot) WriteTo(w io.Writer) (n int64, err error) {
	err = s.host.on(func() (err error) { n, err = s.captured.WriteTo(w); return err })
	return n, err
}

// Close implements statemachine.Snapshot.
func (s *checkSnapshot) Close() error { return s.release() }

// release closes the capture, if that was not done.
func (s *checkSnapshot) release() error {
	if _, open := s.host.captures[s]; !open {
		return nil
	}
	delete(s.host.captures, s)
	return s.captured.Close()
}
