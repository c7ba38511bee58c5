package main

/*
#include "internal.h"
*/
import "C"

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime/cgo"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// clientBox is a client with its calls under way.
type clientBox struct {
	client   *client.Client
	patience time.Duration // how long closing may take
	door     sync.Mutex    // held by who empties the door

	answers *deliverer

	mu    sync.Mutex
	calls map[*C.struct_oar_call_object]*clientCall
}

// clientCall is the completion of one call.
type clientCall struct {
	box   *clientBox
	call  *C.struct_oar_call_object
	op    C.enum_oar_op
	timer *time.Timer

	// Guarded by box.mu. handle names the call once it was submitted; a cancellation that comes before waits here.
	handle    client.Handle
	submitted bool
	cancelled error
}

// Complete implements client.Completion.
func (k *clientCall) Complete(result []byte, err error) {
	k.box.mu.Lock()
	delete(k.box.calls, k.call)
	k.box.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
	}
	if err == nil {
		result, err = answerOf(k.op, result)
	}
	a := answer{call: k.call, result: result}
	if err != nil {
		f := failureOf(err, C.OAR_ERR_UNKNOWN)
		if readsOnly(k.op) {
			f = ofQuery(f)
		}
		a.failed = &f
	}
	k.box.answers.bring(a)
}

func (k *clientCall) cancel(cause error) {
	k.box.mu.Lock()
	if !k.submitted {
		k.cancelled = cause
		k.box.mu.Unlock()
		return
	}
	h := k.handle
	k.box.mu.Unlock()
	_ = k.box.client.Cancel(h, cause) // a client that has fenced itself has ended all its calls
}

func clientOf(h C.uintptr_t) *clientBox { return cgo.Handle(h).Value().(*clientBox) }

var clientOps = map[C.enum_oar_op]client.Op{
	C.OAR_OP_PROPOSE: client.OpPropose, C.OAR_OP_QUERY: client.OpQuery, C.OAR_OP_BARRIER: client.OpBarrier,
	C.OAR_OP_CHANGE: client.OpChangeMembership, C.OAR_OP_PLAN: client.OpPlanMembership, C.OAR_OP_MEMBERS: client.OpMembers,
	C.OAR_OP_TRANSFER: client.OpTransferLeadership, C.OAR_OP_STEP_DOWN: client.OpStepDown,
}

//export oargo_client_empty
func oargo_client_empty(h C.uintptr_t, door *C.struct_oar_door) {
	b := clientOf(h)
	goThrough(&b.door, door, b.take, func() {}) // one at a time, so that calls stay in order
}

// take hands a call to the client. From then on it is the client's, which completes it, whatever happens.
func (b *clientBox) take(call *C.struct_oar_call_object) {
	defer func() { _ = recover() }()
	b.answers.underWay.Add(1)
	r := &call.request
	k := &clientCall{box: b, call: call, op: r.op}
	if r.timeout > 0 {
		k.timer = time.AfterFunc(time.Duration(r.timeout), func() { k.cancel(context.DeadlineExceeded) })
	}
	b.mu.Lock()
	b.calls[call] = k
	b.mu.Unlock()
	handle, err := b.submit(r, k)
	if err != nil {
		// It is not known whether the call will complete: it does now, if it has not.
		b.mu.Lock()
		_, under := b.calls[call]
		b.mu.Unlock()
		if under {
			k.Complete(nil, err)
		}
		return
	}
	b.mu.Lock()
	k.handle, k.submitted = handle, true
	cancelled := k.cancelled
	b.mu.Unlock()
	if cancelled != nil {
		k.cancel(cancelled)
	}
}

// submit begins a call with the client.
func (b *clientBox) submit(r *C.struct_oar_request, k *clientCall) (client.Handle, error) {
	body, err := clientBody(r, unsafe.Slice((*byte)(r.body), int(r.body_len)))
	switch {
	case err != nil:
		return client.Handle{}, err
	case r.op == C.OAR_OP_QUERY && r.consistency != C.OAR_LINEARIZABLE:
		return b.client.Submit(client.OpQuery, body, k, consistencyOf(r))
	}
	return b.client.Submit(clientOps[r.op], body, k)
}

//export oargo_client_cancel
func oargo_client_cancel(h C.uintptr_t, call *C.struct_oar_call_object, late C.bool) {
	defer func() { _ = recover() }() // the client was freed, and its calls have ended
	b := clientOf(h)
	b.mu.Lock()
	k := b.calls[call]
	b.mu.Unlock()
	switch {
	case k == nil: // it has ended
	case bool(late):
		k.cancel(context.DeadlineExceeded)
	default:
		k.cancel(errCancelled)
	}
}

//export oargo_client_open
func oargo_client_open(
	conf C.uintptr_t, o *C.oar_client_options, object *C.struct_oar_client_object, out *C.uintptr_t,
) (status C.oar_status) {
	defer caught(&status)
	return openClient(o, object, out, func(options *client.Options) error {
		if conf == 0 {
			return nil
		}
		b := configOf(conf)
		b.mu.Lock()
		c := b.config.Clone()
		b.mu.Unlock()
		return configure(options, c)
	})
}

// openClient makes a client of the options that C gives; whose says of which cluster.
func openClient(
	o *C.oar_client_options, object *C.struct_oar_client_object, out *C.uintptr_t, whose func(*client.Options) error,
) C.oar_status {
	options := client.Options{
		Group: raft.GroupID(o.group), Sessionless: o.flags&C.OAR_CLIENT_SESSIONLESS != 0, OutstandingMax: int(o.outstanding_max),
		OutstandingBytesMax: int(o.outstanding_bytes_max), ResponseBytesMax: int(o.response_bytes_max),
		DialTimeout: time.Duration(o.dial_timeout), SilenceMax: time.Duration(o.silence_max),
		BackoffMin: time.Duration(o.backoff_min), BackoffMax: time.Duration(o.backoff_max), CloseTimeout: time.Duration(o.close_timeout),
	}
	if o.flags&C.OAR_CLIENT_READ_ANY != 0 {
		options.ReadFrom = client.ReadAny
	}
	if options.CloseTimeout == 0 {
		options.CloseTimeout = time.Second
	}
	if o.servers != nil {
		for address := range strings.SplitSeq(C.GoString(o.servers), ",") {
			options.Servers = append(options.Servers, strings.TrimSpace(address))
		}
	}
	if err := whose(&options); err != nil {
		return fail(err, C.OAR_ERR_CONFIG)
	}
	c, err := client.New(options)
	if err != nil {
		return fail(err, C.OAR_ERR_CONFIG)
	}
	box := &clientBox{
		client: c, patience: options.CloseTimeout, calls: make(map[*C.struct_oar_call_object]*clientCall), answers: newDeliverer(&object.door, C.OAR_CLIENT),
	}
	enlist(box)
	*out = C.uintptr_t(cgo.NewHandle(box))
	box.answers.owner = *out
	return C.OAR_OK
}

//export oargo_client_seen
func oargo_client_seen(h C.uintptr_t) C.uint64_t { return C.uint64_t(clientOf(h).client.Seen()) }

// configure takes the cluster, its addresses and its TLS from a configuration.
func configure(o *client.Options, c *config.Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	o.Cluster = c.Cluster
	if len(o.Servers) == 0 {
		o.Addresses = c.ClientAddresses()
	}
	if !c.TLS.Enabled() {
		return nil
	}
	if strings.Contains(c.TLS.Certificate+c.TLS.Key, "{id}") {
		return fmt.Errorf("tls.certificate (%q) and tls.key (%q) of the configuration are the servers': a client needs files of its own, "+
			"which the authorities have signed for a client. Set both keys to them, or give clients a file that names them", c.TLS.Certificate, c.TLS.Key)
	}
	if err := o.Validate(); err != nil { // while there is no Dial, for which an address may be anything
		return err
	}
	t, err := config.ClientTLS(c.TLSFor(config.Member{}))
	if err != nil {
		return err
	}
	o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		return (&tls.Dialer{Config: t}).DialContext(ctx, "tcp", address)
	}
	return nil
}

//export oargo_client_json
func oargo_client_json(h C.uintptr_t, op C.enum_oar_op, timeout C.int64_t, out **C.char) (status C.oar_status) {
	defer caught(&status)
	b := clientOf(h)
	ctx, cancel := within(timeout)
	defer cancel()
	var value any
	var err error
	if op == C.OAR_OP_STATUS_JSON {
		value, err = b.client.Status(ctx)
	} else {
		var at raft.MembershipAt
		at, err = b.client.Members(ctx)
		value = memberList(at.Membership)
	}
	if err != nil {
		return ofQuery(failureOf(err, C.OAR_ERR_IO)).note()
	}
	text, err := json.Marshal(snakes(value))
	if err == nil {
		*out = C.CString(string(text))
	}
	return fail(err, C.OAR_ERR_INTERNAL)
}

// member is one member as JSON shows it.
type member struct {
	ID      raft.ServerID
	Role    string // voter, outgoing, learner, or joining: wanted and not there yet
	Address string
	Store   raft.StoreID
}

func memberList(m raft.Membership) []member {
	list := []member{}
	for _, part := range []struct {
		role    string
		members []raft.Member
	}{{"voter", m.Voters}, {"outgoing", m.Outgoing}, {"learner", m.Learners}, {"joining", m.WantedVoters}, {"joining", m.WantedLearners}} {
		for _, one := range part.members {
			if !slices.ContainsFunc(list, func(o member) bool { return o.ID == one.ID && o.Store == one.Store }) {
				list = append(list, member{ID: one.ID, Role: part.role, Address: one.Address, Store: one.Store})
			}
		}
	}
	return list
}

// close fails only while something is still running, and may be called again then. That a fault had ended the client before
// is what its calls ended with.
func (b *clientBox) close() error {
	over := time.After(b.patience)
	err := b.client.Close()
	switch {
	case !b.answers.end(over):
		return errors.Join(fmt.Errorf("%w: a completion callback does not return", server.ErrStuck), err)
	case errors.Is(err, client.ErrStuck):
		return err
	}
	return nil
}

//export oargo_client_close
func oargo_client_close(h C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	return fail(clientOf(h).close(), C.OAR_ERR_IO)
}

//export oargo_client_free
func oargo_client_free(h C.uintptr_t) {
	b := clientOf(h)
	strike(b)
	b.answers.end(nil)
	b.answers.free()
	cgo.Handle(h).Delete()
}
