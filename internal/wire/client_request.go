package wire

import (
	"fmt"
	"math"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// ClientVersion is the version of the client protocol that this package speaks; docs/client-protocol.md describes it.
const ClientVersion = 1

// Method is a method of the client protocol.
type Method uint8

// The methods, each with its parameters.
const (
	MethodHello        Method = 1  // version, cluster id or nil
	MethodPropose      Method = 2  // group, session, sequence, floor, command, and true or nothing
	MethodQuery        Method = 3  // group, query, consistency: an integer or an array
	MethodSessionOpen  Method = 4  // group
	MethodSessionClose Method = 5  // group, session
	MethodSessionKeep  Method = 6  // group, session
	MethodBarrier      Method = 7  // group
	MethodStatus       Method = 8  // group, or nil for all
	MethodMembers      Method = 9  // group
	MethodPing         Method = 10 // none

	MethodChangeMembership   Method = 11 // group, changes, from, forced, cancel
	MethodPlanMembership     Method = 12 // as MethodChangeMembership
	MethodTransferLeadership Method = 13 // group, server
	MethodStepDown           Method = 14 // group
)

// methodLast is the highest method.
const methodLast = MethodStepDown

var methodNames = [...]string{
	MethodHello: "hello", MethodPropose: "propose", MethodQuery: "query", MethodSessionOpen: "session_open",
	MethodSessionClose: "session_close", MethodSessionKeep: "session_keep", MethodBarrier: "barrier",
	MethodStatus: "status", MethodMembers: "members", MethodPing: "ping",
	MethodChangeMembership: "change_membership", MethodPlanMembership: "plan_membership",
	MethodTransferLeadership: "transfer_leadership", MethodStepDown: "step_down",
}

// methodParams is how many parameters each method takes.
var methodParams = [...]int{
	MethodHello: 2, MethodPropose: 5, MethodQuery: 3, MethodSessionOpen: 1, MethodSessionClose: 2, MethodSessionKeep: 2,
	MethodBarrier: 1, MethodStatus: 1, MethodMembers: 1, MethodPing: 0,
	MethodChangeMembership: 5, MethodPlanMembership: 5, MethodTransferLeadership: 2, MethodStepDown: 1,
}

// String returns the method's name as it stands on the wire.
func (m Method) String() string {
	if m > 0 && int(m) < len(methodNames) {
		return methodNames[m]
	}
	return fmt.Sprintf("method-%d", uint8(m))
}

func methodOf(name []byte) (Method, bool) {
	for m := MethodHello; m <= methodLast; m++ {
		if string(name) == methodNames[m] {
			return m, true
		}
	}
	return 0, false
}

// consistencyParams is how many elements a consistency has as an array: level, age in nanoseconds, index, any.
const consistencyParams = 4

// ClientRequest is one request of a client: [0, id, method, params]. Which fields a method uses stands at its constant.
type ClientRequest struct {
	ID           uint32 // chosen by the client, comes back in the response
	Notification bool   // sent as [2, method, params]: wants no response
	Method       Method

	Group    raft.GroupID // zero in status: all groups
	Session  uint64       // zero in propose: no session
	Sequence uint64
	Floor    uint64
	// Body is the command or the query; of a change of membership it is what AppendClientChange wrote. A parsed one refers
	// to the message.
	Body   []byte
	Change *raft.MembershipChange // parsed from Body
	To     raft.ServerID          // who is to lead; zero: the best
	// Consistency is what the answer of a query has to reflect.
	Consistency raft.Consistency
	// Any lets any server answer; without it, servers that do not lead refuse all but Stale.
	Any bool
	// Indexed asks for an answer of propose or query that carries the index that it reflects. Of a query it also stands for the form in
	// which it is sent: without it, no other levels than Linearizable and Stale can be said, and Any not at all.
	Indexed bool
	Version uint64
	Cluster raft.ClusterID // zero: the client does not care
}

// AppendClientRequest appends the request in its encoded form. A caller that reuses buf allocates nothing.
func AppendClientRequest(buf []byte, r *ClientRequest) []byte {
	if r.Notification {
		buf = append(buf, 0x93, 0x02)
	} else {
		buf = appendUint(append(buf, 0x94, 0x00), uint64(r.ID))
	}
	buf = rpcAppendText(buf, methodNames[r.Method])
	params := methodParams[r.Method]
	if r.Method == MethodPropose && r.Indexed {
		params++
	}
	buf = append(buf, 0x90|byte(params))
	switch r.Method {
	case MethodHello:
		buf = appendUint(buf, r.Version)
		if r.Cluster.IsZero() {
			return append(buf, rpcNil)
		}
		return rpcAppendBytes(buf, r.Cluster[:])
	case MethodPropose:
		buf = appendUint(buf, uint64(r.Group))
		buf = appendUint(buf, r.Session)
		buf = appendUint(buf, r.Sequence)
		buf = rpcAppendBytes(appendUint(buf, r.Floor), r.Body)
		if r.Indexed {
			buf = appendBool(buf, true)
		}
		return buf
	case MethodQuery:
		buf = appendUint(buf, uint64(r.Group))
		buf = rpcAppendBytes(buf, r.Body)
		if !r.Indexed {
			return appendUint(buf, uint64(r.Consistency.Level))
		}
		buf = appendUint(appendArray(buf, consistencyParams), uint64(r.Consistency.Level))
		buf = appendUint(appendUint(buf, uint64(r.Consistency.MaxAge)), uint64(r.Consistency.MinIndex))
		return appendBool(buf, r.Any)
	case MethodSessionClose, MethodSessionKeep:
		return appendUint(appendUint(buf, uint64(r.Group)), r.Session)
	case MethodStatus:
		if r.Group == 0 {
			return append(buf, rpcNil)
		}
		return appendUint(buf, uint64(r.Group))
	case MethodChangeMembership, MethodPlanMembership:
		return append(appendUint(buf, uint64(r.Group)), r.Body...)
	case MethodTransferLeadership:
		return appendUint(appendUint(buf, uint64(r.Group)), uint64(r.To))
	case MethodSessionOpen, MethodBarrier, MethodMembers, MethodStepDown:
		return appendUint(buf, uint64(r.Group))
	}
	return buf
}

// ParseClientRequest reads one message that ClientReader returned. Every error matches ErrMalformed. When the message is
// a request whose envelope could be read, ID is set beside the error, and answerable is true: the error can be answered
// and the connection can go on.
func ParseClientRequest(raw []byte) (r ClientRequest, answerable bool, err error) {
	c := rpcCursor{b: raw}
	n, kind := c.array(), c.uint()
	switch {
	case !c.bad && n == 4 && kind == 0:
		r.ID = c.uint32()
	case !c.bad && n == 3 && kind == 2:
		r.Notification = true
	default:
		return r, false, fmt.Errorf("%w: a request is [0, id, method, params]", ErrMalformed)
	}
	if c.bad {
		return r, false, fmt.Errorf("%w: a request's id is an integer of 32 bits", ErrMalformed)
	}
	name := c.bytes()
	if c.bad {
		return r, true, fmt.Errorf("%w: a method is named by a string", ErrMalformed)
	}
	method, ok := methodOf(name)
	if !ok {
		return r, true, fmt.Errorf("%w: no method %.40q in version %d", ErrMalformed, name, ClientVersion)
	}
	r.Method = method
	// Parameters that we do not know are refused and never skipped: their sender meant something by them.
	n = c.array()
	if method == MethodPropose && n == methodParams[method]+1 {
		r.Indexed = true
		n--
	}
	if c.bad || n != methodParams[method] {
		return r, true, fmt.Errorf("%w: %s takes an array of %d parameters", ErrMalformed, method, methodParams[method])
	}
	if err := r.parseParams(&c); err != nil {
		return r, true, err
	}
	if c.bad || len(c.b) != 0 {
		return r, true, fmt.Errorf("%w: a parameter of %s has the wrong type", ErrMalformed, method)
	}
	return r, true, nil
}

func (r *ClientRequest) parseParams(c *rpcCursor) error {
	switch r.Method {
	case MethodHello:
		r.Version = c.uint()
		if c.null() {
			return nil
		}
		id := c.bytes()
		if !c.bad && len(id) != len(r.Cluster) {
			return fmt.Errorf("%w: a cluster id has %d bytes, not %d", ErrMalformed, len(r.Cluster), len(id))
		}
		copy(r.Cluster[:], id)
		return nil
	case MethodStatus:
		if c.null() {
			return nil
		}
	case MethodPing:
		return nil
	}
	r.Group = raft.GroupID(c.uint())
	switch r.Method {
	case MethodPropose:
		r.Session, r.Sequence, r.Floor = c.uint(), c.uint(), c.uint()
		r.Body = c.bytes()
		if r.Indexed && !c.bool() && !c.bad {
			return fmt.Errorf("%w: the sixth parameter of propose is true, or is left out", ErrMalformed)
		}
	case MethodQuery:
		r.Body = c.bytes()
		return r.parseConsistency(c)
	case MethodSessionClose, MethodSessionKeep:
		r.Session = c.uint()
	case MethodTransferLeadership:
		r.To = raft.ServerID(c.uint())
	case MethodChangeMembership, MethodPlanMembership:
		whole := c.b
		change, err := c.change()
		if err != nil {
			return err
		}
		r.Body, r.Change = whole[:len(whole)-len(c.b):len(whole)-len(c.b)], &change
	}
	return nil
}

// parseConsistency reads the consistency of a query in either form.
func (r *ClientRequest) parseConsistency(c *rpcCursor) error {
	if c.token().kind != rpcArray {
		level := c.uint()
		if level > uint64(raft.Stale) {
			return fmt.Errorf("%w: consistency is 0 (linearizable), 1 (stale) or an array, not %d", ErrMalformed, level)
		}
		r.Consistency.Level = raft.Level(level)
		return nil
	}
	if n := c.array(); !c.bad && n != consistencyParams {
		return fmt.Errorf("%w: a consistency has %d elements, not %d", ErrMalformed, consistencyParams, n)
	}
	level, age := c.uint(), c.uint()
	r.Consistency.MinIndex = raft.Index(c.uint())
	r.Any, r.Indexed = c.bool(), true
	if c.bad {
		return nil
	}
	if level > math.MaxUint8 || age > math.MaxInt64 {
		return fmt.Errorf("%w: a consistency of level %d with an age of %d ns", ErrMalformed, level, age)
	}
	r.Consistency.Level, r.Consistency.MaxAge = raft.Level(level), time.Duration(age)
	if err := r.Consistency.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// ClientRequestID reads the id of a request of which only the beginning is there, so that a request that is refused for
// its length can be answered.
func ClientRequestID(prefix []byte) (id uint32, ok bool) {
	c := rpcCursor{b: prefix}
	t := c.token()
	if c.bad || t.kind != rpcArray || t.children != 4 {
		return 0, false
	}
	c.take(t)
	kind := c.uint()
	id = c.uint32()
	return id, !c.bad && kind == 0
}
