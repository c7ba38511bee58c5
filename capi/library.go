package main

/*
#include "internal.h"
*/
import "C"

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// closer is a server or a client that is open.
type closer interface{ close() error }

// open is what oar_shutdown closes.
var open struct {
	mu  sync.Mutex
	all map[closer]struct{}
}

func enlist(c closer) {
	open.mu.Lock()
	defer open.mu.Unlock()
	if open.all == nil {
		open.all = make(map[closer]struct{})
	}
	open.all[c] = struct{}{}
}

func strike(c closer) {
	open.mu.Lock()
	defer open.mu.Unlock()
	delete(open.all, c)
}

//export oargo_shutdown
func oargo_shutdown(timeout C.int64_t) (status C.oar_status) {
	defer caught(&status)
	open.mu.Lock()
	var all []closer
	for c := range open.all {
		all = append(all, c)
	}
	open.mu.Unlock()
	ended := make(chan error, len(all))
	for _, c := range all {
		go func() {
			var err error
			defer func() {
				if r := recover(); r != nil {
					err = thrown(r)
				}
				ended <- err
			}()
			err = c.close()
		}()
	}
	ctx, cancel := within(timeout)
	defer cancel()
	var errs []error
	for range all {
		select {
		case err := <-ended:
			errs = append(errs, err)
		case <-ctx.Done():
			return fail(errors.Join(errTimeout, errors.New("some servers or clients are still closing")), C.OAR_ERR_TIMEOUT)
		}
	}
	return fail(errors.Join(errs...), C.OAR_ERR_IO)
}

// within is the context of a timeout in nanoseconds; a negative one never ends.
func within(timeout C.int64_t) (context.Context, context.CancelFunc) {
	if timeout < 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(timeout))
}

//export oargo_runtime_configure
func oargo_runtime_configure(gcPercent C.int32_t, memory C.int64_t, processors C.int32_t) (status C.oar_status) {
	defer caught(&status)
	if gcPercent > 0 {
		debug.SetGCPercent(int(gcPercent))
	}
	if memory > 0 {
		debug.SetMemoryLimit(int64(memory))
	}
	if processors > 0 {
		runtime.GOMAXPROCS(int(processors))
	}
	return C.OAR_OK
}

//export oargo_goroutines
func oargo_goroutines() C.uint32_t { return C.uint32_t(runtime.NumGoroutine()) }
