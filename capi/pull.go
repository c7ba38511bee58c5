package main

/*
#include "internal.h"
*/
import "C"

import (
	"encoding/binary"
	"io"
	"runtime/cgo"
	"unsafe"

	"github.com/oarlock/oarlock/statemachine"
)

// pullHost is an application whose threads fetch work. The goroutine that has some waits here and not in C, where it
// would keep a processor of the runtime.
type pullHost struct {
	queue *C.struct_oar_work_queue
	frame *frame
	none  bool // it has no snapshots
}

func pulled(q *C.struct_oar_work_queue, f *frame, flags C.uint32_t) statemachine.StateMachine {
	h := &pullHost{queue: q, frame: f, none: flags&C.OAR_PULL_NO_SNAPSHOTS != 0}
	return machineOf(h, flags&C.OAR_PULL_SCHEDULED != 0, flags&C.OAR_PULL_STATE_HASH != 0, flags&C.OAR_PULL_CONCURRENT_QUERIES != 0)
}

// pullWork is a piece of work that somebody waits for.
type pullWork struct {
	take func(data []byte) // copies what was answered; data is C memory
	done chan error        // one slot
}

//export oargo_work_done
func oargo_work_done(h C.uintptr_t, with C.oar_status, data unsafe.Pointer, n C.size_t) (status C.oar_status) {
	defer caught(&status)
	w := cgo.Handle(h).Value().(*pullWork)
	answer := unsafe.Slice((*byte)(data), int(n))
	if with != C.OAR_OK {
		w.done <- said(with, string(answer))
		return C.OAR_OK
	}
	if w.take != nil {
		w.take(answer)
	}
	w.done <- nil
	return C.OAR_OK
}

// do has the host do a piece of work and waits. It returns the work's id.
func (p *pullHost) do(item *C.struct_oar_work_item, take func(data []byte)) (id C.uint64_t, err error) {
	w := &pullWork{take: take, done: make(chan error, 1)}
	h := cgo.NewHandle(w)
	defer h.Delete()
	item._go = C.uintptr_t(h)
	if id = C.oar_work_push(p.queue, item); id == 0 {
		return 0, said(C.OAR_ERR_NO_MEMORY, "")
	}
	return id, <-w.done
}

func (p *pullHost) work(kind C.uint32_t) *C.struct_oar_work_item {
	item := new(C.struct_oar_work_item)
	item.work.kind, item.work.group = kind, 1
	return item
}

func (p *pullHost) apply(entries []statemachine.Entry, results [][]byte) error {
	at, size := p.frame.lay(entries)
	item := p.work(C.OAR_WORK_APPLY)
	item.work.entries, item.work.entry_count = at, C.size_t(len(entries))
	item.work.data, item.work.data_len = unsafe.Pointer(at), C.size_t(size)
	_, err := p.do(item, func(data []byte) {
		lengths := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(data))), len(entries))
		takeResults(results, lengths, data[4*len(entries):])
	})
	return err
}

func (p *pullHost) query(query []byte) (answer []byte, err error) {
	item := p.work(C.OAR_WORK_QUERY)
	item.work.data, item.work.data_len = C.CBytes(query), C.size_t(len(query))
	defer C.free(item.work.data)
	_, err = p.do(item, func(data []byte) { answer = append([]byte(nil), data...) })
	return answer, err
}

func (p *pullHost) prepare() (statemachine.Snapshot, error) {
	if p.none {
		return nil, errNoSnapshots
	}
	id, err := p.do(p.work(C.OAR_WORK_SNAPSHOT_PREPARE), nil)
	if err != nil {
		return nil, err
	}
	return &pullSnapshot{host: p, id: id}, nil
}

// pullSnapshot is a capture, which the host knows by the id of the work that asked for it.
type pullSnapshot struct {
	host *pullHost
	id   C.uint64_t
}

// WriteTo implements statemachine.Snapshot.
func (s *pullSnapshot) WriteTo(w io.Writer) (int64, error) {
	to := &snapshotWriter{w: w}
	h := cgo.NewHandle(to)
	defer h.Delete()
	item := s.host.work(C.OAR_WORK_SNAPSHOT_WRITE)
	item.work.snapshot, item.writer._go = s.id, C.uintptr_t(h)
	_, err := s.host.do(item, nil)
	return to.n, ofSnapshot(err)
}

// Close implements statemachine.Snapshot. Nobody waits for it.
func (s *pullSnapshot) Close() error {
	item := s.host.work(C.OAR_WORK_SNAPSHOT_RELEASE)
	item.work.snapshot = s.id
	if C.oar_work_push(s.host.queue, item) == 0 {
		return said(C.OAR_ERR_NO_MEMORY, "")
	}
	return nil
}

func (p *pullHost) restore(r io.Reader) error {
	from := &snapshotReader{r: r}
	h := cgo.NewHandle(from)
	defer h.Delete()
	item := p.work(C.OAR_WORK_RESTORE)
	item.reader._go = C.uintptr_t(h)
	if _, err := p.do(item, nil); err != nil {
		return err
	}
	return from.left()
}

func (p *pullHost) nextDue() (nanos int64, due bool, err error) {
	_, err = p.do(p.work(C.OAR_WORK_NEXT_DUE), func(data []byte) {
		if due = len(data) == 8; due {
			nanos = int64(binary.NativeEndian.Uint64(data))
		}
	})
	return nanos, due, err
}

func (p *pullHost) expire(index uint64, nanos int64) error {
	item := p.work(C.OAR_WORK_EXPIRE)
	item.work.index, item.work.time = C.uint64_t(index), C.int64_t(nanos)
	_, err := p.do(item, nil)
	return err
}

func (p *pullHost) hash() (hash uint64, err error) {
	_, err = p.do(p.work(C.OAR_WORK_STATE_HASH), func(data []byte) { hash = binary.NativeEndian.Uint64(data) })
	return hash, err
}
