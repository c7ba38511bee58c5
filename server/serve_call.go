package server

import (
	"fmt"
	"sync"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// clientCall is one request under way: the Completion that turns an answer into bytes on its connection. It is reused.
type clientCall struct {
	k      *clientConn
	id     uint32
	method wire.Method
	silent bool // a notification: nobody wants the answer
	asked  bool // the answer is to carry its index
	index  raft.Index
	bytes  int
	limits raft.GroupLimits // of the group, for session_open; zero: not known
}

var clientCalls = sync.Pool{New: func() any { return new(clientCall) }}

func (k *clientConn) newCall(r *wire.ClientRequest) *clientCall {
	call := clientCalls.Get().(*clientCall)
	*call = clientCall{k: k, id: r.ID, method: r.Method, silent: r.Notification, asked: r.Indexed, bytes: len(r.Body) + clientRequestOverhead}
	k.mu.Lock()
	k.outstanding++
	k.bytes += call.bytes
	k.mu.Unlock()
	return call
}

// Complete implements Completion: it leaves the answer to the connection's writer.
func (c *clientCall) Complete(result []byte, err error) {
	k := c.k
	c.answer(result, err)
	k.poke()
	*c = clientCall{}
	clientCalls.Put(c)
}

// CompleteAt implements IndexCompletion.
func (c *clientCall) CompleteAt(index raft.Index, result []byte, err error) {
	c.index = index
	c.Complete(result, err)
}

func (c *clientCall) answer(result []byte, err error) {
	k := c.k
	k.mu.Lock()
	defer k.mu.Unlock()
	k.outstanding--
	k.bytes -= c.bytes
	if !k.dead && !c.silent {
		k.expect(len(result))
		c.lay(&k.out, result, err)
	}
	if k.waiting > 0 {
		k.changed.Broadcast()
	}
}

// lay lays the response. The caller holds k.mu.
func (c *clientCall) lay(o *outbox, result []byte, err error) {
	if unread := c.k.unread(); err == nil && len(result) > clientShortBytes && unread > 0 && unread+len(result) > c.k.c.options.UnreadBytesMax {
		err = withheld(c.method)
	}
	if err != nil {
		result = nil
	}
	if len(result) >= outboxResultMin && (c.method == wire.MethodPropose || c.method == wire.MethodQuery) {
		head := o.room(clientRequestOverhead)
		if c.asked {
			head = wire.AppendClientIndexedHead(head, c.id, c.index, len(result))
		} else {
			head = wire.AppendClientBytesHead(head, c.id, len(result))
		}
		o.grown(head)
		o.refer(result)
		return
	}
	o.grown(c.append(o.room(len(result)+clientRequestOverhead), result, err))
}

// withheld is what is said instead of an answer that finds no room: it is true of what was only asked that nothing was done.
func withheld(m wire.Method) error {
	err := fmt.Errorf("%w: answers are not read fast enough, and this one was withheld", ErrBusy)
	switch m {
	case wire.MethodQuery, wire.MethodMembers, wire.MethodPlanMembership:
		return err
	}
	return unknown(err) // it was done; a command that is asked again, in its session, will be answered
}

func (c *clientCall) append(out, result []byte, err error) []byte {
	switch {
	case err != nil && c.asked && c.index > 0 && wire.ClassOf(err) == wire.ClassResult:
		return wire.AppendClientErrorAt(out, c.id, c.index, err)
	case err != nil:
		return wire.AppendClientError(out, c.id, c.k.c.backend.hint(err))
	}
	switch c.method {
	case wire.MethodPropose, wire.MethodQuery:
		if c.asked {
			return wire.AppendClientIndexed(out, c.id, c.index, result)
		}
		return wire.AppendClientBytes(out, c.id, result)
	case wire.MethodMembers, wire.MethodChangeMembership, wire.MethodPlanMembership:
		return wire.AppendClientEncoded(out, c.id, result)
	case wire.MethodSessionOpen:
		session, err := wire.DecodeSessionID(result)
		if err != nil {
			return wire.AppendClientError(out, c.id, unknown(err))
		}
		return wire.AppendClientSession(out, c.id, wire.ClientSession{
			Session: session, ExpiryNanos: c.limits.SessionExpiryNanos, Window: uint64(c.limits.SessionResultsMax),
		})
	}
	return wire.AppendClientTrue(out, c.id)
}

// request hands in one request, or answers it at once. An error ends the connection; its reason has been told.
func (k *clientConn) request(raw []byte) error {
	r, answerable, err := wire.ParseClientRequest(raw)
	if err != nil {
		if !answerable {
			k.say(func(out []byte) []byte { return wire.AppendClientNotice(out, err) })
			k.told = true
			return err
		}
		k.respond(&r, func(out []byte) []byte { return wire.AppendClientError(out, r.ID, err) })
		return nil
	}
	b := k.c.backend
	if r.Method == wire.MethodPropose && len(r.Body) > clientCopyMin {
		if err := b.refuses(r.Group, len(r.Body)); err != nil {
			k.respond(&r, func(out []byte) []byte { return wire.AppendClientError(out, r.ID, err) })
			return nil
		}
	}
	r.Body = k.requests.Keep(r.Body)
	switch r.Method {
	case wire.MethodPropose:
		b.Submit(Proposal{Group: r.Group, Kind: raft.KindCommand, Session: r.Session, Sequence: r.Sequence, Floor: r.Floor, Command: r.Body}, k.newCall(&r))
	case wire.MethodQuery:
		b.query(r.Group, r.Body, r.Consistency, !r.Any, k.newCall(&r))
	case wire.MethodBarrier:
		b.barrier(r.Group, k.newCall(&r))
	case wire.MethodSessionOpen:
		call := k.newCall(&r)
		call.limits = b.limits(r.Group)
		b.Submit(Proposal{Group: r.Group, Kind: raft.KindSession}, call)
	case wire.MethodSessionClose, wire.MethodSessionKeep:
		k.session(&r)
	case wire.MethodMembers:
		b.SubmitMembers(r.Group, k.newCall(&r))
	case wire.MethodChangeMembership:
		b.SubmitChange(r.Group, *r.Change, k.newCall(&r))
	case wire.MethodPlanMembership:
		b.SubmitPlan(r.Group, *r.Change, k.newCall(&r))
	case wire.MethodTransferLeadership:
		b.SubmitTransfer(r.Group, r.To, k.newCall(&r))
	case wire.MethodStepDown:
		b.SubmitStepDown(r.Group, k.newCall(&r))
	default:
		return k.cold(&r)
	}
	return nil
}

// session ends a session or keeps it. Zero names none: as a proposal it would open a session.
func (k *clientConn) session(r *wire.ClientRequest) {
	if r.Session == 0 {
		k.respond(r, func(out []byte) []byte {
			return wire.AppendClientError(out, r.ID, fmt.Errorf("%w: %s: 0 is no session", wire.ErrMalformed, r.Method))
		})
		return
	}
	p := Proposal{Group: r.Group, Kind: raft.KindSession, Session: r.Session, Keep: r.Method == wire.MethodSessionKeep}
	k.c.backend.Submit(p, k.newCall(r))
}

// cold answers what needs no log.
func (k *clientConn) cold(r *wire.ClientRequest) error {
	var value any
	var refused error
	switch r.Method {
	case wire.MethodHello:
		hello := k.c.backend.hello()
		switch {
		case r.Version != wire.ClientVersion:
			refused = fmt.Errorf("%w: %d; this server speaks %d", wire.ErrVersion, r.Version, wire.ClientVersion)
		case !r.Cluster.IsZero() && string(r.Cluster[:]) != string(hello.Cluster):
			refused = fmt.Errorf("%w: this server belongs to %s, not to %s", wire.ErrCluster, raft.ClusterID(hello.Cluster), r.Cluster)
		}
		value = hello
	case wire.MethodStatus:
		value, refused = k.c.backend.status(r.Group)
	case wire.MethodPing:
		k.respond(r, func(out []byte) []byte { return wire.AppendClientTrue(out, r.ID) })
		return nil
	}
	k.respond(r, func(out []byte) []byte {
		if refused == nil {
			var err error
			if out, err = wire.AppendClientValue(out, r.ID, value); err == nil {
				return out
			}
			return wire.AppendClientError(out, r.ID, err)
		}
		return wire.AppendClientError(out, r.ID, refused)
	})
	if r.Method == wire.MethodHello && refused != nil {
		// What it sent behind its hello was meant for somebody else.
		k.told = true
		return refused
	}
	return nil
}

// respond answers a request from the reader, unless nobody wants the answer.
func (k *clientConn) respond(r *wire.ClientRequest, lay func(out []byte) []byte) {
	if !r.Notification {
		k.say(lay)
	}
}

func (k *clientConn) say(lay func(out []byte) []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.dead {
		k.out.lay(lay)
	}
	k.poke()
}
