package main

/*
#include "internal.h"
*/
import "C"

import (
	"fmt"
	"io"
	"runtime/cgo"
	"unsafe"

	"github.com/oarlock/oarlock/statemachine"
)

// pushHost is an application whose callbacks the library calls.
type pushHost struct {
	m     *C.struct_oar_machine
	frame *frame
}

func pushed(m *C.struct_oar_machine, f *frame) statemachine.StateMachine {
	v := &m.vtable
	return machineOf(&pushHost{m: m, frame: f}, v.next_due != nil, v.state_hash != nil, v.flags&C.OAR_MACHINE_CONCURRENT_QUERIES != 0)
}

// saidIn is what a callback said of its failure; its text is given back.
func saidIn(status C.oar_status, text *C.char) error {
	if status == C.OAR_OK {
		return nil
	}
	defer C.free(unsafe.Pointer(text))
	return said(status, C.GoString(text))
}

func (p *pushHost) apply(entries []statemachine.Entry, results [][]byte) error {
	at, _ := p.frame.lay(entries)
	var text *C.char
	if err := saidIn(C.oar_machine_apply(p.m, at, C.size_t(len(entries)), &text), text); err != nil {
		return err
	}
	r := &p.m.results
	lengths := unsafe.Slice((*uint32)(unsafe.Pointer(r.lengths)), int(r.ended))
	takeResults(results, lengths, unsafe.Slice((*byte)(r.bytes.at), int(r.bytes.len)))
	if r.bytes.cap > frameKeepMax {
		C.oar_bytes_free(&r.bytes)
	}
	return nil
}

func (p *pushHost) query(query []byte) ([]byte, error) {
	var text *C.char
	var answer C.struct_oar_buf
	defer C.oar_bytes_free(&answer.bytes)
	status := C.oar_machine_query(p.m, unsafe.Pointer(unsafe.SliceData(query)), C.size_t(len(query)), &answer, &text)
	if err := saidIn(status, text); err != nil {
		return nil, err
	}
	return append([]byte(nil), unsafe.Slice((*byte)(answer.bytes.at), int(answer.bytes.len))...), nil
}

func (p *pushHost) prepare() (statemachine.Snapshot, error) {
	if p.m.vtable.snapshot_write == nil {
		return nil, errNoSnapshots
	}
	var text *C.char
	s := &pushSnapshot{m: p.m, at: (*unsafe.Pointer)(C.oar_alloc(captureBytes))}
	if s.at == nil {
		return nil, said(C.OAR_ERR_NO_MEMORY, "")
	}
	if err := saidIn(C.oar_machine_prepare(p.m, s.at, &text), text); err != nil {
		C.oar_release(unsafe.Pointer(s.at), captureBytes)
		return nil, err
	}
	return s, nil
}

const captureBytes = C.size_t(unsafe.Sizeof(uintptr(0)))

// pushSnapshot is a capture. at is C memory that holds the host's pointer, which may be anything.
type pushSnapshot struct {
	m  *C.struct_oar_machine
	at *unsafe.Pointer
}

// WriteTo implements statemachine.Snapshot.
func (s *pushSnapshot) WriteTo(w io.Writer) (int64, error) {
	to := &snapshotWriter{w: w}
	h := cgo.NewHandle(to)
	defer h.Delete()
	var text *C.char
	err := saidIn(C.oar_machine_write(s.m, s.at, C.uintptr_t(h), &text), text)
	return to.n, ofSnapshot(err)
}

// Close implements statemachine.Snapshot.
func (s *pushSnapshot) Close() error {
	C.oar_machine_release(s.m, s.at)
	C.oar_release(unsafe.Pointer(s.at), captureBytes)
	return nil
}

func (p *pushHost) restore(r io.Reader) error {
	if p.m.vtable.restore == nil {
		return errNoSnapshots
	}
	from := &snapshotReader{r: r}
	h := cgo.NewHandle(from)
	defer h.Delete()
	var text *C.char
	if err := saidIn(C.oar_machine_restore(p.m, C.uintptr_t(h), &text), text); err != nil {
		return err
	}
	return from.left()
}

func (p *pushHost) nextDue() (int64, bool, error) {
	var nanos C.int64_t
	due := C.oar_machine_next_due(p.m, &nanos)
	return int64(nanos), due != 0, nil
}

func (p *pushHost) expire(index uint64, nanos int64) error {
	var text *C.char
	err := saidIn(C.oar_machine_expire(p.m, C.uint64_t(index), C.int64_t(nanos), &text), text)
	if err != nil {
		return fmt.Errorf("expire: %w", err)
	}
	return nil
}

func (p *pushHost) hash() (uint64, error) { return uint64(C.oar_machine_hash(p.m)), nil }
