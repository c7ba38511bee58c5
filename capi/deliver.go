package main

/*
#include "internal.h"
*/
import "C"

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/oarlock/oarlock/raft"
)

// deliverer brings answers to C. Where many calls are under way their answers go together: one step from Go into C, one
// back for all that the callbacks propose in their turn, and a thread that is woken does not push aside the goroutine
// that applies. Its goroutine begins with the first answers that go together, and ends with the server or client.
type deliverer struct {
	door  *C.struct_oar_door
	kind  C.enum_oar_type
	owner C.uintptr_t // the handle of the server or client, for what callbacks submit

	underWay atomic.Int64 // calls that were taken and not answered

	mu         sync.Mutex
	waiting    []answer
	spare      []answer
	running    bool
	gathering  int           // batches whose answers are being brought
	kick       chan struct{} // has room for one, which wakes the goroutine; nil: there is none yet
	delivering int           // run, and those who deliver their answer themselves
	idle       chan struct{} // closed when nobody delivers any more; nil: nobody waits for it

	at   *C.struct_oar_answer // C memory for the answers of one delivery, with their results behind them
	size uintptr
}

// answer is one call's.
type answer struct {
	call   *C.struct_oar_call_object
	result []byte
	index  raft.Index // that the result reflects; 0: not known
	failed *failure   // nil: it succeeded
}

// directMax is how many calls may be under way for an answer to be delivered at once, by whoever brings it.
const directMax = 4

// deliveryBytesMax is how much memory a deliverer keeps.
const deliveryBytesMax = 1 << 20

func newDeliverer(door *C.struct_oar_door, kind C.enum_oar_type) *deliverer {
	return &deliverer{door: door, kind: kind}
}

// bring delivers an answer, or has it delivered.
func (d *deliverer) bring(a answer) {
	left := d.underWay.Add(-1)
	d.mu.Lock()
	if left < directMax && !d.running && len(d.waiting) == 0 && len(a.result) <= resultChunk {
		d.delivering++
		d.mu.Unlock()
		a.deliver()
		d.mu.Lock()
		d.delivered()
		d.mu.Unlock()
		return
	}
	d.waiting = append(d.waiting, a)
	d.start()
	d.mu.Unlock()
}

// gather has the answers of a batch delivered together, once it has ended.
func (d *deliverer) gather(begins bool) {
	d.mu.Lock()
	if begins {
		d.gathering++
	} else {
		d.gathering--
		d.start()
	}
	d.mu.Unlock()
}

// start sees to it that somebody delivers what waits. The caller holds mu.
func (d *deliverer) start() {
	if !d.running && d.gathering == 0 && len(d.waiting) > 0 {
		d.running = true
		d.delivering++
		if d.kick == nil {
			d.kick = make(chan struct{}, 1)
			go d.work(d.kick)
		}
		d.kick <- struct{}{}
	}
}

// work is the goroutine. It is kept because a new one would first have to grow a stack for C.
func (d *deliverer) work(kick <-chan struct{}) {
	for range kick {
		d.run()
	}
}

// delivered says that one of those who deliver has ended. The caller holds mu.
func (d *deliverer) delivered() {
	d.delivering--
	if d.delivering == 0 && d.idle != nil {
		close(d.idle)
		d.idle = nil
	}
}

func (a *answer) deliver() {
	if a.failed != nil {
		failCall(a.call, *a.failed)
		return
	}
	C.oar_call_succeed(a.call, unsafe.Pointer(unsafe.SliceData(a.result)), C.size_t(len(a.result)), C.uint64_t(a.index))
}

// run delivers until there is nothing left.
func (d *deliverer) run() {
	d.mu.Lock()
	for len(d.waiting) > 0 {
		all := d.waiting
		d.waiting, d.spare = d.spare[:0], nil
		d.mu.Unlock()
		d.deliver(all)
		clear(all)
		d.mu.Lock()
		d.spare = all[:0]
	}
	d.running = false
	d.delivered()
	d.mu.Unlock()
}

func (d *deliverer) deliver(all []answer) {
	for len(all) > 0 {
		n := 0
		for n < len(all) && all[n].failed == nil && len(all[n].result) <= deliveryBytesMax/4 {
			n++
		}
		if n == 0 { // a failure, or a large result, goes alone
			all[0].deliver()
			all = all[1:]
			continue
		}
		d.together(all[:n])
		all = all[n:]
	}
}

// together lays answers out in C memory and delivers them with one call.
func (d *deliverer) together(all []answer) {
	for len(all) > 0 {
		n, need := 0, uintptr(0)
		for n < len(all) {
			more := unsafe.Sizeof(C.struct_oar_answer{}) + uintptr(len(all[n].result))
			if n > 0 && need+more > deliveryBytesMax {
				break
			}
			need += more
			n++
		}
		d.lay(all[:n], need)
		C.oar_calls_succeed(d.at, C.size_t(n), d.door, d.kind, d.owner)
		all = all[n:]
	}
}

func (d *deliverer) lay(all []answer, need uintptr) {
	if need > d.size {
		C.free(unsafe.Pointer(d.at))
		d.size = max(need, 16<<10)
		d.at = (*C.struct_oar_answer)(C.malloc(C.size_t(d.size)))
	}
	list := unsafe.Slice(d.at, len(all))
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(d.at)), need)
	at := uintptr(len(all)) * unsafe.Sizeof(C.struct_oar_answer{})
	for i := range all {
		list[i] = C.struct_oar_answer{call: all[i].call, result_len: C.size_t(len(all[i].result)), index: C.uint64_t(all[i].index)}
		if len(all[i].result) > 0 {
			list[i].result = unsafe.Pointer(&bytes[at])
			at += uintptr(copy(bytes[at:], all[i].result))
		}
	}
}

// end returns true when no answer is being delivered, and false if over comes before. Nobody brings any more.
func (d *deliverer) end(over <-chan time.Time) bool {
	for {
		d.mu.Lock()
		if d.delivering == 0 {
			if d.kick != nil {
				close(d.kick)
				d.kick = nil
			}
			d.mu.Unlock()
			return true
		}
		if d.idle == nil {
			d.idle = make(chan struct{})
		}
		idle := d.idle
		d.mu.Unlock()
		select {
		case <-idle:
		case <-over:
			return false
		}
	}
}

// free gives the C memory back, after end.
func (d *deliverer) free() {
	C.free(unsafe.Pointer(d.at))
	d.at, d.size = nil, 0
}
