// Package main is liboarlock: what is behind bindings/c/include/oarlock.h. It is built as a C library (`make lib`).
//
// The public functions are C, in the .c files of this folder: they check arguments, handles and struct sizes, wait, keep
// the last error of a thread, and answer in a forked child. Behind them are the functions named oargo_* in the Go files,
// which no program sees. A Go function that is called from C recovers what is thrown in it: a fault becomes a status, and
// the host's process lives.
//
// # Where is what
//
//	thread.c, handle.c   the calling thread, the table of handles
//	call.c, queue.c      what is under way, and how its answer comes back
//	request.c            proposals and queries, of servers and of clients, each in four ways
//	machine.c, push.go   state machines that the library calls
//	work.c, pull.go      state machines whose work a host fetches
//	server.c, server.go  servers; events.go, log.go what they tell
//	cluster.c, cluster.go, memory.go  clusters in memory, for tests
//	check.c, check*.go   checks of state machines, on the thread that called
//	failure.go           Go errors as statuses
package main

/*
#cgo CFLAGS: -I${SRCDIR}/../bindings/c/include -D_GNU_SOURCE -std=gnu11 -O2 -Wall -Wextra
#include "internal.h"
*/
import "C"

func main() {} // a c-shared library needs one; nobody calls it
