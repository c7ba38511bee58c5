package main

/*
#include "internal.h"
*/
import "C"

import (
	"unsafe"

	"github.com/oarlock/oarlock/statemachine"
)

// frame is a piece of C memory in which a batch is laid out for the host: the entries, and behind them their commands.
// It is reused, because there is one batch at a time.
type frame struct {
	at    unsafe.Pointer
	size  uintptr
	exact bool // no more than is needed, so that a sanitizer sees who reads beyond it
}

// frameKeepMax is how much memory a frame keeps for the next batch.
const frameKeepMax = 4 << 20

const entryBytes = unsafe.Sizeof(C.oar_entry{})

// lay copies the entries and returns how many bytes they take. at stays until the next lay.
func (f *frame) lay(entries []statemachine.Entry) (at *C.oar_entry, size uintptr) {
	head := uintptr(len(entries)) * entryBytes
	need := head
	for i := range entries {
		need += uintptr(len(entries[i].Command))
	}
	if need > f.size || f.size > frameKeepMax && need <= frameKeepMax {
		f.free()
		f.size = max(need, 1)
		if !f.exact {
			f.size = max(need, 64<<10)
		}
		f.at = C.malloc(C.size_t(f.size)) // Go ends the process if there is none, as it does with its own memory
	}
	list := unsafe.Slice((*C.oar_entry)(f.at), len(entries))
	bytes := unsafe.Slice((*byte)(f.at), need)
	for i := range entries {
		e := &entries[i]
		list[i] = C.oar_entry{
			index: C.uint64_t(e.Index), term: C.uint64_t(e.Term), time: C.int64_t(e.Time), command_len: C.size_t(len(e.Command)),
		}
		if len(e.Command) > 0 {
			list[i].command = unsafe.Pointer(&bytes[head])
			head += uintptr(copy(bytes[head:], e.Command))
		}
	}
	return (*C.oar_entry)(f.at), need
}

func (f *frame) free() {
	C.free(f.at)
	f.at, f.size = nil, 0
}

// resultChunk is how many small results share a piece of memory: a session that keeps one of them keeps the piece.
const resultChunk = 4 << 10

// takeResults copies results that stand one behind the other in C memory.
func takeResults(results [][]byte, lengths []uint32, bytes []byte) {
	var chunk []byte
	for i, n := range lengths {
		from := bytes[:n]
		bytes = bytes[n:]
		switch {
		case n == 0:
			results[i] = nil
		case n > resultChunk/4:
			results[i] = append([]byte(nil), from...)
		default:
			if cap(chunk)-len(chunk) < int(n) {
				chunk = make([]byte, 0, min(resultChunk, len(from)+len(bytes)))
			}
			at := len(chunk)
			chunk = append(chunk, from...)
			results[i] = chunk[at:len(chunk):len(chunk)]
		}
	}
}
