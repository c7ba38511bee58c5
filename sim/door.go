package sim

import (
	"fmt"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// conn is one connection of a client to a server. What is written to it arrives in order, in pieces of any size.
type conn struct {
	w      *world
	client *simClient
	id     client.ConnID
	host   *host
	life   int // of the process that it leads to
	open   bool

	toServer, toClient time.Duration // when the last bytes arrive
	pieces             []byte        // arrived at the server and not read
	reader             *wire.ClientReader
}

// Read implements io.Reader for the server's end.
func (c *conn) Read(p []byte) (int, error) {
	n := copy(p, c.pieces)
	c.pieces = c.pieces[n:]
	if n == 0 {
		return 0, errNothingThere
	}
	return n, nil
}

var errNothingThere = fmt.Errorf("sim: nothing has arrived")

// lost ends a connection at both ends. The client may not hear of it.
func (c *conn) lost() {
	if !c.open {
		return
	}
	c.open = false
	w := c.w
	if chance(w.nets, 0.25) {
		return
	}
	w.after(w.net.delay(), func() {
		c.client.do(func() {
			c.client.core.Disconnected(w.now, c.id, errReset)
			c.client.act()
		})
	})
}

var errReset = fmt.Errorf("sim: connection reset")

// write takes bytes from the client to the server.
func (c *conn) write(raw []byte) {
	w := c.w
	for len(raw) > 0 {
		n := len(raw)
		if chance(w.nets, 0.1) {
			n = 1 + w.nets.IntN(n)
		}
		piece := raw[:n]
		raw = raw[n:]
		c.toServer = max(c.toServer, w.now+w.net.delay(), c.client.stalledUntil)
		w.at(c.toServer, func() {
			switch {
			case !c.open || !c.host.up || c.host.life != c.life:
			case c.client.apart(c.host):
				c.lost()
			default:
				c.host.after(0, func() { c.arrived(piece) })
			}
		})
	}
}

func (c *conn) arrived(piece []byte) {
	if !c.open {
		return
	}
	c.pieces = append(c.pieces, piece...)
	for {
		raw, err := c.reader.Buffered()
		if err != nil {
			c.respond(wire.AppendClientNotice(nil, err))
			return
		}
		if raw == nil {
			if c.reader.Fill() != nil {
				return
			}
			continue
		}
		r, _, err := wire.ParseClientRequest(raw)
		if err != nil {
			c.w.fail(checkAnswered, "a client sends what is no request: %v", err)
			return
		}
		r.Body = c.reader.Keep(r.Body)
		c.request(&r)
		if !c.open {
			return
		}
	}
}

// request does what the server's own door does with it.
func (c *conn) request(r *wire.ClientRequest) {
	h, p := c.host, c.w.plan
	call := &doorCall{c: c, id: r.ID, method: r.Method, at: c.w.now, indexed: r.Indexed, consistency: r.Consistency, group: r.Group}
	switch r.Method {
	case wire.MethodHello:
		id := h.identity
		raw, err := wire.AppendClientValue(nil, r.ID, wire.ClientHello{
			Version: wire.ClientVersion, Cluster: id.Cluster[:], Server: uint64(h.id), CommandBytesMax: p.CommandBytesMax,
			RequestBytesMax: p.CommandBytesMax + 128, OutstandingMax: 64, Indexes: true,
		})
		if err != nil {
			c.w.fail(checkAnswered, "hello: %v", err)
		}
		c.respond(raw)
		return
	case wire.MethodPing:
		c.respond(wire.AppendClientTrue(nil, r.ID))
		return
	}
	if (r.Method == wire.MethodStatus || r.Method == wire.MethodMembers) && int(r.Group) <= len(h.replicas) {
		c.cold(r)
		return
	}
	if r.Group < 1 || int(r.Group) > len(h.replicas) {
		call.Complete(nil, fmt.Errorf("%w: %d", server.ErrNoGroup, r.Group))
		return
	}
	if len(r.Body) > p.CommandBytesMax {
		call.Complete(nil, server.ErrTooLarge)
		return
	}
	rep := h.replicas[r.Group-1]
	if rep.full(r) || !c.w.calm && chance(c.w.people, 0.003) {
		call.Complete(nil, server.ErrBusy)
		return
	}
	call.r = rep
	call.r.owed[call] = true
	if call.writes() {
		call.r.owedWrites++
	}
	c.submit(rep, r, call)
}

// requestOverhead is what a request counts as beside its bytes.
const requestOverhead = 64

// full reports whether a request finds no room, as the inbox of a server does. What is empty takes anything.
func (r *replica) full(request *wire.ClientRequest) bool {
	p, bytes := r.h.w.plan, int64(len(request.Body)+requestOverhead)
	over := func(has int64, most int) bool { return has > 0 && has+bytes > int64(most) }
	var uncommitted, unapplied int64
	for _, other := range r.h.replicas {
		uncommitted, unapplied = uncommitted+other.seen.uncommitted+other.waiting, unapplied+other.seen.unapplied+other.waiting
	}
	if over(r.seen.unapplied+r.waiting, p.UnappliedBytesMax) || over(unapplied, p.UnappliedBytesMax*p.ServerBytesFactor) ||
		request.Method == wire.MethodPropose && (over(r.seen.uncommitted+r.waiting, p.UncommittedBytesMax) ||
			over(uncommitted, p.UncommittedBytesMax*p.ServerBytesFactor)) {
		return true
	}
	r.waiting += bytes
	return false
}

// cold answers what needs no log: with what the replica says of itself.
func (c *conn) cold(r *wire.ClientRequest) {
	rep := c.host.replicas[r.Group-1]
	st := rep.r.Status()
	var value any = wire.ClientStatus{Server: uint64(c.host.id), Groups: []wire.ClientGroup{{
		Group: uint64(r.Group), Role: st.Role.String(), Term: uint64(st.Term), Leader: uint64(st.Leader), First: uint64(st.First),
		Next: uint64(st.Next), Commit: uint64(st.Commit), Applied: uint64(st.Applied), Born: st.Born, Missing: []uint64{},
	}}}
	if r.Method == wire.MethodMembers {
		value = wire.ClientMembershipOf(rep.r.CommittedMembership())
	}
	raw, err := wire.AppendClientValue(nil, r.ID, value)
	if err != nil {
		c.w.fail(checkAnswered, "%s: %v", r.Method, err)
	}
	c.respond(raw)
}

func (c *conn) submit(rep *replica, r *wire.ClientRequest, call *doorCall) {
	switch r.Method {
	case wire.MethodPropose:
		rep.in.Propose(server.Proposal{
			Group: r.Group, Kind: raft.KindCommand, Session: r.Session, Sequence: r.Sequence, Floor: r.Floor, Command: r.Body,
		}, call)
	case wire.MethodQuery:
		if r.Consistency.Level == raft.Stale {
			j, ok := rep.r.QueryLocal(r.Body, call)
			if !ok {
				call.Complete(nil, server.ErrNotReady)
				return
			}
			rep.start(j)
			return
		}
		rep.in.Query(r.Body, r.Consistency, !r.Any, call)
	case wire.MethodBarrier:
		rep.in.Barrier(call)
	case wire.MethodSessionOpen:
		rep.in.Propose(server.Proposal{Group: r.Group, Kind: raft.KindSession}, call)
	case wire.MethodSessionClose, wire.MethodSessionKeep:
		rep.in.Propose(server.Proposal{
			Group: r.Group, Kind: raft.KindSession, Session: r.Session, Keep: r.Method == wire.MethodSessionKeep,
		}, call)
	default:
		call.Complete(nil, server.ErrMalformed)
		return
	}
	rep.poke()
}

// doorCall is one request under way: the Completion that turns an answer into bytes.
type doorCall struct {
	c      *conn
	id     uint32
	method wire.Method
	at     time.Duration
	r      *replica // that owes the answer; nil: the door gives it
	ended  bool

	group       raft.GroupID
	consistency raft.Consistency
	indexed     bool       // the client wants to know what the answer reflects
	index       raft.Index // which is the log up to here; 0: nobody said it
}

// CompleteAt implements server.IndexCompletion.
func (d *doorCall) CompleteAt(index raft.Index, result []byte, err error) {
	d.index = index
	d.Complete(result, err)
}

// writes reports whether the answer waits for an entry of the log.
func (d *doorCall) writes() bool {
	switch d.method {
	case wire.MethodPropose, wire.MethodSessionOpen, wire.MethodSessionClose, wire.MethodSessionKeep:
		return true
	}
	return false
}

// Complete implements server.Completion.
func (d *doorCall) Complete(result []byte, err error) {
	c := d.c
	if d.ended {
		c.w.fail(checkAnswered, "server %d answers a request twice: %s", c.host.id, firstLine(err))
	}
	if d.ended = true; d.r != nil {
		delete(d.r.owed, d)
		if d.writes() {
			d.r.owedWrites--
		}
	}
	if !c.open {
		if err == nil && d.method == wire.MethodPropose {
			c.w.saw(sawResponseLost)
		}
		return
	}
	c.w.sawError(err)
	if d.method == wire.MethodQuery {
		d.sawRead(result, err)
	}
	switch {
	case err != nil && d.indexed && d.index > 0 && wire.ClassOf(err) == wire.ClassResult:
		c.respond(wire.AppendClientErrorAt(nil, d.id, d.index, err))
	case err != nil:
		c.respond(wire.AppendClientError(nil, d.id, err))
	case d.indexed && d.index > 0 && (d.method == wire.MethodPropose || d.method == wire.MethodQuery):
		c.respond(wire.AppendClientIndexed(nil, d.id, d.index, result))
	case d.method == wire.MethodPropose || d.method == wire.MethodQuery:
		c.respond(wire.AppendClientBytes(nil, d.id, result))
	case d.method == wire.MethodSessionOpen:
		session, err := server.SessionID(result)
		if err != nil {
			c.w.fail(checkOnce, "a session is opened with %x: %v", result, err)
			return
		}
		limits := &c.w.plan.Limits
		c.respond(wire.AppendClientSession(nil, d.id, wire.ClientSession{
			Session: session, ExpiryNanos: limits.SessionExpiryNanos, Window: uint64(limits.SessionResultsMax),
		}))
	default:
		c.respond(wire.AppendClientTrue(nil, d.id))
	}
}

func (w *world) sawError(err error) {
	switch wire.CodeOf(err) {
	case wire.CodeNotLeader:
		w.saw(sawNotLeader)
	case wire.CodeBusy:
		w.saw(sawBusy)
	case wire.CodeSessionExpired:
		w.saw(sawSessionExpired)
	case wire.CodeSequence:
		w.saw(sawSequenceRefused)
	}
}

// respond takes a response to the client.
func (c *conn) respond(raw []byte) {
	w := c.w
	if !c.open {
		return
	}
	c.toClient = max(c.toClient, w.now+w.net.delay(), c.client.stalledUntil)
	w.at(c.toClient, func() {
		switch {
		case !c.open:
		case c.client.apart(c.host):
			c.lost()
		default:
			c.client.do(func() { c.client.received(c, raw) })
		}
	})
}
