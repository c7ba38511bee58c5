package main

/*
#include "internal.h"
*/
import "C"

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"unsafe"

	"github.com/oarlock/oarlock/sim"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// errCheck is what a machine that breaks a promise is told as.
var errCheck = errors.New("the state machine breaks a promise")

// checkRun is one call of oar_state_machine_check or oar_sim_run. The suites run on the goroutine that C has called, and so on its
// thread.
type checkRun struct {
	c      *C.struct_oar_check
	number uint64                  // of the machines made so far
	alive  map[*checkHost]struct{} // those that nobody has closed
	ended  error                   // why the host wants an end: nothing of it is called any more
}

// errEnded is what a machine is broken by when nobody is to call it any more.
var errEnded = errors.New("the check has ended")

// end has the host left alone from now on. The suites go on, with machines that fail, and are soon through.
func (r *checkRun) end(why error) {
	if r.ended == nil {
		r.ended = why
	}
}

// goOn panics with what stops a machine, once the host wants an end.
func (r *checkRun) goOn() {
	if r.ended != nil {
		panic(&statemachine.Broken{Err: errEnded})
	}
}

//export oargo_check
func oargo_check(c *C.struct_oar_check, o *C.oar_check_options, clusters C.bool, out **C.char) (status C.oar_status) {
	defer caught(&status)
	r := &checkRun{c: c, alive: make(map[*checkHost]struct{})}
	report, failed := r.check(o, bool(clusters))
	for h := range r.alive {
		h.release()
	}
	if r.ended != nil {
		failed = r.ended
	}
	if failed != nil {
		return fail(failed, C.OAR_ERR_ARGUMENT)
	}
	text, err := json.Marshal(report)
	if err != nil {
		return fail(err, C.OAR_ERR_INTERNAL)
	}
	*out = C.CString(string(text))
	return fail(report.err(), C.OAR_ERR_CHECK_FAILED)
}

// check runs the suites. The error of a host that has ended them is not among what it returns.
func (r *checkRun) check(o *C.oar_check_options, clusters bool) (*checkReport, error) {
	options := smtest.Options{
		Commands: int(o.commands), Seed: uint64(o.seed), Inline: true,
		SnapshotsVary:      o.flags&C.OAR_CHECK_SNAPSHOTS_VARY != 0,
		SnapshotsUnchecked: o.flags&C.OAR_CHECK_SNAPSHOTS_UNCHECKED != 0,
	}
	if o.command != nil {
		options.Command = func(random *rand.Rand) []byte { return r.generate(false, random) }
	}
	if o.query != nil {
		options.Query = func(random *rand.Rand) []byte { return r.generate(true, random) }
	}
	report := &checkReport{Findings: []checkFinding{}, Unchecked: []string{}}
	alone, err := smtest.Check(r.machine, options)
	if err != nil {
		return nil, err
	}
	report.alone(alone, max(options.Seed, 1))
	if !clusters {
		return report, nil
	}
	if len(report.Findings) > 0 {
		report.note("clusters, because the machine fails alone")
		return report, nil
	}
	from, runs := max(uint64(o.clusters_from), 1), uint64(o.clusters)
	if runs == 0 {
		runs = clustersUsual
	}
	for seed := from; seed < from+runs && len(report.Findings) == 0 && r.ended == nil; seed++ {
		one, err := sim.CheckClusters(r.machine, options, sim.Clusters{From: seed, Runs: 1})
		if err != nil {
			return nil, err
		}
		report.cluster(one, seed)
	}
	return report, nil
}

// clustersUsual is how many clusters there are if the options do not say.
const clustersUsual = 20

// machine is the factory of the suites. One that fails ends the run.
func (r *checkRun) machine() statemachine.StateMachine {
	r.goOn()
	h := &checkHost{run: r, captures: make(map[*checkSnapshot]struct{})}
	r.number++
	var text *C.char
	if err := saidIn(C.oar_check_machine(r.c, C.uint64_t(r.number), &h.m, &text), text); err != nil {
		if !errors.Is(err, errCancelled) {
			err = &statemachine.Broken{Err: err}
		}
		r.end(err)
		return nil
	}
	h.push = &pushHost{m: h.m}
	r.alive[h] = struct{}{}
	v := &r.c.vtable
	return machineOf(h, v.next_due != nil, v.state_hash != nil, v.flags&C.OAR_MACHINE_CONCURRENT_QUERIES != 0)
}

// generate has the host make a command or a query. If it cannot, that ends the run.
func (r *checkRun) generate(query bool, random *rand.Rand) []byte {
	number := C.uint64_t(random.Uint64())
	if r.ended != nil {
		return nil
	}
	var text *C.char
	var into C.struct_oar_buf
	defer C.oar_bytes_free(&into.bytes)
	if err := saidIn(C.oar_check_generate(r.c, C.bool(query), number, &into, &text), text); err != nil {
		if !errors.Is(err, errCancelled) {
			err = fmt.Errorf("%w: %w", errGenerator, err)
		}
		r.end(err)
		return nil
	}
	return append([]byte{}, unsafe.Slice((*byte)(into.bytes.at), int(into.bytes.len))...)
}

// errGenerator is why a check without commands ends.
var errGenerator = errors.New("a command or query could not be made")
