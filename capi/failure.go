package main

/*
#include "bridge.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"syscall"
	"unsafe"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
)

// Reasons that only the C interface knows.
var (
	errPanic     = errors.New("a fault of the library")
	errCancelled = errors.New("given up by the caller")
	errOrder     = errors.New("not at this point")
	errPending   = errors.New("it goes on")
	errRefused   = errors.New("the other servers refuse this one")
	errTimeout   = errors.New("the time is over")
	errMissing   = errors.New("there is no such server")
	errSnapshot  = errors.New("the state machine did not give its snapshot")
)

// missing is the error about a server that there is not: it is no file.
type missing struct{ error }

// Is reports whether target is errMissing.
func (missing) Is(target error) bool { return target == errMissing }

type known struct {
	err    error
	status C.oar_status
}

// statuses is ordered: the first error that matches is the status. Unknown comes before all.
var statuses = []known{
	{server.ErrUnknown, C.OAR_ERR_UNKNOWN},
	{errPending, C.OAR_ERR_PENDING},
	{server.ErrNotSent, C.OAR_ERR_NOT_SENT},
	{errTimeout, C.OAR_ERR_TIMEOUT},
	{server.ErrStuck, C.OAR_ERR_TIMEOUT},
	{client.ErrStuck, C.OAR_ERR_TIMEOUT},
	{errOrder, C.OAR_ERR_ORDER},
	{errPanic, C.OAR_ERR_INTERNAL},
	{errRefused, C.OAR_ERR_REFUSED},
	{server.ErrNotLeader, C.OAR_ERR_NOT_LEADER},
	{server.ErrNoLeader, C.OAR_ERR_NO_LEADER},
	{server.ErrBusy, C.OAR_ERR_BUSY},
	{server.ErrBehind, C.OAR_ERR_BEHIND},
	{server.ErrChangeImpossible, C.OAR_ERR_CHANGE_IMPOSSIBLE},
	{server.ErrChangeOpen, C.OAR_ERR_CHANGE_OPEN},
	{server.ErrChangeMoved, C.OAR_ERR_CHANGE_MOVED},
	{server.ErrChangeUnsafe, C.OAR_ERR_CHANGE_UNSAFE},
	{server.ErrChangeGivenUp, C.OAR_ERR_CHANGE_GIVEN_UP},
	{server.ErrTransferTarget, C.OAR_ERR_TRANSFER_TARGET},
	{server.ErrTransferOpen, C.OAR_ERR_TRANSFER_OPEN},
	{server.ErrTransferFailed, C.OAR_ERR_TRANSFER_FAILED},
	{server.ErrFenced, C.OAR_ERR_FENCED},
	{server.ErrNotReady, C.OAR_ERR_NOT_READY},
	{server.ErrNoGroup, C.OAR_ERR_NO_GROUP},
	{server.ErrSessionExpired, C.OAR_ERR_SESSION_EXPIRED},
	{server.ErrSequence, C.OAR_ERR_SEQUENCE},
	{server.ErrClosed, C.OAR_ERR_CLOSED},
	{server.ErrTooLarge, C.OAR_ERR_TOO_LARGE},
	{server.ErrMalformed, C.OAR_ERR_MALFORMED},
	{server.ErrVersion, C.OAR_ERR_VERSION},
	{server.ErrCluster, C.OAR_ERR_CLUSTER},
	{server.ErrResultTooLarge, C.OAR_ERR_RESULT_TOO_LARGE},
	{server.ErrQuery, C.OAR_ERR_QUERY},
	{persistentlog.ErrNotFormatted, C.OAR_ERR_NOT_FORMATTED},
	{persistentlog.ErrFormatted, C.OAR_ERR_FORMATTED},
	{persistentlog.ErrInUse, C.OAR_ERR_IN_USE},
	{persistentlog.ErrDamaged, C.OAR_ERR_DAMAGED},
	{persistentlog.ErrFormatVersion, C.OAR_ERR_FORMAT_VERSION},
	{persistentlog.ErrFenced, C.OAR_ERR_STORAGE},
	{fs.ErrNotExist, C.OAR_ERR_NOT_FOUND},
	{errMissing, C.OAR_ERR_NOT_FOUND},
	{fs.ErrExist, C.OAR_ERR_EXISTS},
	{syscall.EADDRINUSE, C.OAR_ERR_ADDRESS},
	{syscall.EADDRNOTAVAIL, C.OAR_ERR_ADDRESS},
	{errNoSnapshots, C.OAR_ERR_UNSUPPORTED},
	{errSnapshot, C.OAR_ERR_SNAPSHOT},
	{errCheck, C.OAR_ERR_CHECK_FAILED},
	{errCancelled, C.OAR_ERR_CANCELLED},
	{errGenerator, C.OAR_ERR_STATE_MACHINE},
}

// causes say why an outcome is unknown, a wait ended or a replica stopped, in this order.
var causes = []known{
	{errCancelled, C.OAR_ERR_CANCELLED},
	{context.DeadlineExceeded, C.OAR_ERR_TIMEOUT},
	{errPanic, C.OAR_ERR_INTERNAL},
	{persistentlog.ErrDamaged, C.OAR_ERR_DAMAGED},
	{persistentlog.ErrFenced, C.OAR_ERR_STORAGE},
	{server.ErrClosed, C.OAR_ERR_CLOSED},
	{server.ErrFenced, C.OAR_ERR_FENCED},
	{server.ErrNotLeader, C.OAR_ERR_NOT_LEADER},
	{server.ErrNoLeader, C.OAR_ERR_NO_LEADER},
	{server.ErrBusy, C.OAR_ERR_BUSY},
	{server.ErrSessionExpired, C.OAR_ERR_SESSION_EXPIRED},
	{server.ErrSequence, C.OAR_ERR_SEQUENCE},
	{server.ErrChangeImpossible, C.OAR_ERR_CHANGE_IMPOSSIBLE},
	{server.ErrChangeOpen, C.OAR_ERR_CHANGE_OPEN},
	{server.ErrChangeMoved, C.OAR_ERR_CHANGE_MOVED},
	{server.ErrChangeUnsafe, C.OAR_ERR_CHANGE_UNSAFE},
	{server.ErrTransferTarget, C.OAR_ERR_TRANSFER_TARGET},
	{server.ErrTransferOpen, C.OAR_ERR_TRANSFER_OPEN},
}

func first(list []known, err error, otherwise C.oar_status) C.oar_status {
	for _, k := range list {
		if errors.Is(err, k.err) {
			return k.status
		}
	}
	return otherwise
}

// failure is a Go error as C hears of it.
type failure struct {
	status, cause C.oar_status
	text          string
	leader        raft.ServerID
	address       string
	errno         syscall.Errno
	index         raft.Index // of an error that is an answer: what it reflects
}

// failureOf says what err is; otherwise is the status of an error that nothing is known of.
func failureOf(err error, otherwise C.oar_status) failure {
	f := failure{text: err.Error()}
	var broken *statemachine.Broken
	var bad *config.Error
	f.status = first(statuses, err, 0)
	errors.As(err, &f.errno) // stays 0 where there is none
	switch {
	case f.status != 0:
	case errors.As(err, &broken):
		f.status = C.OAR_ERR_STATE_MACHINE
	case errors.As(err, &bad):
		f.status = C.OAR_ERR_CONFIG
	case f.errno != 0:
		f.status = C.OAR_ERR_IO
	default:
		f.status = otherwise
	}
	f.cause = f.status
	switch f.status {
	case C.OAR_ERR_UNKNOWN, C.OAR_ERR_NOT_SENT, C.OAR_ERR_FENCED, C.OAR_ERR_PENDING:
		if errors.As(err, &broken) {
			f.cause = C.OAR_ERR_STATE_MACHINE
		} else {
			f.cause = first(causes, err, f.status)
		}
	}
	if errors.Is(err, server.ErrClosed) { // a machine whose work was dropped by a close is no broken one
		switch f.status {
		case C.OAR_ERR_FENCED, C.OAR_ERR_STATE_MACHINE:
			f.status, f.cause = C.OAR_ERR_CLOSED, C.OAR_ERR_CLOSED
		case C.OAR_ERR_UNKNOWN, C.OAR_ERR_NOT_SENT, C.OAR_ERR_PENDING:
			f.cause = C.OAR_ERR_CLOSED
		}
	}
	var other *server.NotLeaderError
	if errors.As(err, &other) {
		f.leader, f.address = other.Leader, other.Address
	}
	return f
}

// through replaces the leader's address by the one that clients use, where the configuration has another.
func (f failure) through(addresses map[raft.ServerID]string) failure {
	if a := addresses[f.leader]; a != "" {
		f.address = a
	}
	return f
}

func chars(s string) (*C.char, C.size_t) {
	return (*C.char)(unsafe.Pointer(unsafe.StringData(s))), C.size_t(len(s))
}

// note makes f the last failure of the calling thread, which is the one that C called from.
func (f failure) note() C.oar_status {
	text, n := chars(f.text)
	address, m := chars(f.address)
	return C.oar_go_failed(f.status, f.cause, text, n, C.uint64_t(f.leader), address, m, C.int32_t(f.errno))
}

// fail notes err and returns its status; OAR_OK for nil.
func fail(err error, otherwise C.oar_status) C.oar_status {
	if err == nil {
		return C.OAR_OK
	}
	return failureOf(err, otherwise).note()
}

// failCall ends a call with err.
func failCall(call *C.struct_oar_call_object, f failure) {
	text, n := chars(f.text)
	address, m := chars(f.address)
	C.oar_go_call_fail(call, f.status, f.cause, text, n, C.uint64_t(f.leader), address, m, C.int32_t(f.errno), C.uint64_t(f.index))
}

// caught is deferred by every function that C calls: nothing that is thrown gets into the host.
func caught(status *C.oar_status) {
	if r := recover(); r != nil {
		*status = fail(thrown(r), C.OAR_ERR_INTERNAL)
	}
}

func thrown(r any) error { return fmt.Errorf("%w: %v\n%s", errPanic, r, debug.Stack()) }
