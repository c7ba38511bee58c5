package client

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// model is a cluster as a client sees one, in virtual time and with faults: a replicated session table with a leader
// that moves, servers at the ends of connections that break, and attempts that live on after whoever sent them was told
// that their outcome is unknown. A run is a function of its seed.
type model struct {
	random *rand.Rand
	now    time.Duration
	events eventHeap
	number uint64
	faults modelFaults
	limit  int // faults.resultBytesMax, which healing does not lift
	core   *Core
	story  strings.Builder // everything that the core was told and asked for

	leader   int // 1 to servers; 0 while there is none
	servers  int
	sessions map[uint64]*modelSession
	opened   uint64
	executed map[string]int    // by command
	results  map[string]string // by command
	spread   int               // the widest distance of a sequence number from its floor

	conns map[ConnID]*modelConn
	calls []*modelCall
	log   modelLog
}

// modelFaults says what may go wrong, each with a probability per chance.
type modelFaults struct {
	cut, move, busy, expire, swallow, ghost, cancel float64
	sessionless                                     bool
	outstandingBytesMax                             int
	window                                          uint64 // of a session; zero: not said
	resultBytesMax                                  int    // kept in a session; zero: any

	readAny bool    // queries go to any server
	old     bool    // servers tell no index and know two levels
	behind  float64 // a server that does not have what a query has to see stays behind
}

type modelSession struct {
	floor   uint64
	results map[uint64]string
}

func (s *modelSession) bytes() (n int) {
	for _, r := range s.results {
		n += len(r)
	}
	return n
}

type modelConn struct {
	id     ConnID
	server int
	open   bool
	in     time.Duration // when the last request arrives: a connection keeps the order
	out    time.Duration
}

type modelCall struct {
	command string
	op      Op
	handle  Handle
	dones   int
	result  string
	err     error

	consistency Consistency
	began       time.Duration
	seen        raft.Index // by the client, when it began
	saw         int        // the entry that a query's answer reflects
}

type event struct {
	at     time.Duration
	number uint64
	do     func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].at, h[j].at), cmp.Compare(h[i].number, h[j].number)) < 0
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(e any)   { *h = append(*h, e.(event)) }
func (h *eventHeap) Pop() any {
	e := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return e
}

func newModel(seed uint64, f modelFaults) *model {
	m := &model{
		random: rand.New(rand.NewPCG(seed, 1)), faults: f, limit: f.resultBytesMax, leader: 1, servers: 3, sessions: map[uint64]*modelSession{},
		executed: map[string]int{}, results: map[string]string{}, conns: map[ConnID]*modelConn{},
	}
	core, err := NewCore(CoreOptions{Addresses: []string{"s1", "s2", "s3"}, Seed: seed, Sessionless: f.sessionless, OutstandingBytesMax: f.outstandingBytesMax, ReadFrom: f.readFrom()})
	if err != nil {
		panic(err)
	}
	m.core = core
	return m
}

func (m *model) chance(p float64) bool { return m.random.Float64() < p }

func (m *model) delay() time.Duration {
	return time.Duration(m.random.Int64N(int64(3 * time.Millisecond)))
}

func (m *model) at(t time.Duration, do func()) {
	m.number++
	heap.Push(&m.events, event{at: max(t, m.now), number: m.number, do: do})
}

func (m *model) after(d time.Duration, do func()) { m.at(m.now+d, do) }

// run lets virtual time pass up to, not including, until.
func (m *model) run(until time.Duration) {
	for {
		next := until
		if len(m.events) > 0 {
			next = min(next, m.events[0].at)
		}
		deadline := m.core.Deadline()
		if min(deadline, next) >= until {
			m.now = until
			return
		}
		if deadline < next {
			m.now = max(m.now, deadline)
			m.note("tick")
			m.core.Tick(m.now)
			m.act()
			if again := m.core.Deadline(); again <= deadline {
				panic(fmt.Sprintf("a tick at %v wants another one at %v", m.now, again))
			}
			continue
		}
		e := heap.Pop(&m.events).(event)
		m.now = max(m.now, e.at)
		e.do()
	}
}

func (m *model) note(format string, args ...any) {
	fmt.Fprintf(&m.story, "%v ", m.now)
	fmt.Fprintf(&m.story, format, args...)
	m.story.WriteByte('\n')
}

// start begins a call of the client.
func (m *model) start(op Op, size int, consistency ...Consistency) *modelCall {
	k := &modelCall{op: op, command: fmt.Sprintf("%d:%s", len(m.calls), strings.Repeat("x", size)), began: m.now, seen: m.core.Seen()}
	for _, c := range consistency {
		k.consistency = c
	}
	m.calls = append(m.calls, k)
	m.note("start %d %s %v", op, k.command, k.consistency)
	k.handle = m.core.Start(m.now, op, []byte(k.command), k, consistency...)
	m.act()
	if m.chance(m.faults.cancel) {
		m.after(time.Duration(m.random.Int64N(int64(400*time.Millisecond))), func() {
			m.note("cancel %s", k.command)
			m.core.Cancel(m.now, k.handle, context.DeadlineExceeded)
			m.act()
		})
	}
	return k
}

// act carries out what the core asks for.
func (m *model) act() {
	a := m.core.Actions()
	for _, id := range a.Hangups {
		m.note("hang up %d", id)
		if conn := m.conns[id]; conn != nil {
			conn.open = false
		}
	}
	for _, d := range a.Dials {
		m.dial(d)
	}
	for _, id := range a.Writable {
		m.write(id)
	}
	for _, d := range a.Dones {
		k := d.Tag.(*modelCall)
		k.dones++
		k.result, k.err = string(d.Result), d.Err
		if k.op == OpQuery && d.Err == nil {
			m.answered(k)
		}
		m.note("done %s %q %v", k.command, d.Result, d.Err)
	}
}

func (m *model) dial(d Dial) {
	server, _ := strconv.Atoi(d.Address[1:])
	m.note("dial %d %s", d.Conn, d.Address)
	conn := &modelConn{id: d.Conn, server: server}
	m.conns[d.Conn] = conn
	m.after(m.delay(), func() {
		if m.chance(m.faults.cut) {
			m.core.Disconnected(m.now, conn.id, errors.New("connection refused"))
		} else {
			conn.open = true
			m.core.Connected(m.now, conn.id)
		}
		m.act()
	})
}

func (m *model) cut(conn *modelConn) {
	if !conn.open {
		return
	}
	conn.open = false
	m.after(m.delay(), func() {
		m.note("cut %d", conn.id)
		m.core.Disconnected(m.now, conn.id, errors.New("connection reset"))
		m.act()
	})
}

// write takes what is to be written and lets it arrive, each request a little later than the one before.
func (m *model) write(id ConnID) {
	raw := m.core.TakeOutput(id, nil)
	conn := m.conns[id]
	m.note("write %d %x", id, raw)
	r := wire.NewClientReader(bytes.NewReader(raw), 1<<20, true)
	for len(raw) > 0 {
		message, err := r.Buffered()
		if err != nil {
			panic(err)
		}
		if message == nil {
			if r.Fill() != nil {
				break
			}
			continue
		}
		request, _, err := wire.ParseClientRequest(r.Keep(message))
		if err != nil {
			panic(err)
		}
		conn.in = max(conn.in, m.now+m.delay())
		m.at(conn.in, func() {
			switch {
			case !conn.open: // lost on the way
			case m.chance(m.faults.cut):
				m.cut(conn)
			default:
				m.serve(conn, request)
			}
		})
	}
}

// respond sends a response by the connection, if it still stands.
func (m *model) respond(conn *modelConn, raw []byte) {
	if m.chance(m.faults.cut) {
		m.cut(conn)
	}
	r, err := wire.ParseClientResponse(raw)
	if err != nil {
		panic(err)
	}
	conn.out = max(conn.out, m.now+m.delay())
	m.at(conn.out, func() {
		if conn.open {
			m.note("receive %d %x", conn.id, raw)
			m.core.Received(m.now, conn.id, &r)
			m.act()
		}
	})
}

func (m *model) refuse(conn *modelConn, id uint32, err error) {
	m.respond(conn, wire.AppendClientError(nil, id, err))
}

func (m *model) serve(conn *modelConn, r wire.ClientRequest) {
	switch r.Method {
	case wire.MethodHello:
		raw, err := wire.AppendClientValue(nil, r.ID, wire.ClientHello{Version: 1, Cluster: bytes.Repeat([]byte{7}, 16), Server: uint64(conn.server), CommandBytesMax: 1000, Indexes: !m.faults.old})
		if err != nil {
			panic(err)
		}
		m.respond(conn, raw)
		return
	case wire.MethodPing, wire.MethodSessionClose:
		m.respond(conn, wire.AppendClientTrue(nil, r.ID))
		return
	}
	switch {
	case m.chance(m.faults.busy):
		m.refuse(conn, r.ID, wire.ErrBusy)
	case r.Method == wire.MethodQuery && (r.Any || r.Consistency.Level == raft.Stale):
		m.after(m.delay(), func() { m.respond(conn, m.read(conn.server, r)) })
	case m.leader == 0:
		m.refuse(conn, r.ID, wire.ErrNoLeader)
	case m.leader != conn.server && m.chance(0.5):
		m.refuse(conn, r.ID, &wire.NotLeaderError{Leader: raft.ServerID(m.leader), Address: fmt.Sprintf("s%d", m.leader)})
	case m.leader != conn.server:
		m.refuse(conn, r.ID, &wire.NotLeaderError{Leader: raft.ServerID(m.leader)})
	case r.Method != wire.MethodQuery && m.chance(m.faults.ghost):
		// The leader loses its place with the entry in its log: told unknown, it may be applied much later, or never.
		m.refuse(conn, r.ID, fmt.Errorf("%w: leadership was lost", wire.ErrUnknown))
		if m.chance(0.5) {
			m.after(100*m.delay(), func() { m.apply(r) })
		}
	default:
		m.after(m.delay(), func() {
			var answer []byte
			if r.Method == wire.MethodQuery {
				m.log.applied[conn.server] = m.log.index
				answer = m.read(conn.server, r)
			} else {
				answer = m.apply(r)
			}
			if !m.chance(m.faults.swallow) {
				m.respond(conn, answer)
			} else {
				m.cut(conn)
			}
		})
	}
}

// apply executes a request as the replicated state machine would, and returns the response.
func (m *model) apply(r wire.ClientRequest) []byte {
	refused := func(err error) []byte { return wire.AppendClientError(nil, r.ID, err) }
	switch r.Method {
	case wire.MethodSessionOpen:
		m.opened++
		m.sessions[m.opened] = &modelSession{results: map[uint64]string{}}
		return wire.AppendClientSession(nil, r.ID, wire.ClientSession{Session: m.opened, ExpiryNanos: int64(20 * time.Second), Window: m.faults.window})
	case wire.MethodSessionKeep:
		if m.sessions[r.Session] == nil {
			return refused(wire.ErrSessionExpired)
		}
		return wire.AppendClientTrue(nil, r.ID)
	}
	if r.Session == 0 {
		result := m.execute(string(r.Body))
		return m.reply(r, m.log.add(m.now), result)
	}
	s := m.sessions[r.Session]
	if s == nil {
		return refused(wire.ErrSessionExpired)
	}
	m.spread = max(m.spread, int(r.Sequence-r.Floor))
	s.floor = max(s.floor, r.Floor)
	for sequence := range s.results {
		if sequence < s.floor {
			delete(s.results, sequence)
		}
	}
	if r.Sequence < s.floor || r.Sequence >= s.floor+wire.SequenceWindow {
		return refused(wire.ErrSequence)
	}
	result, known := s.results[r.Sequence]
	if !known && m.limit > 0 && s.bytes() >= m.limit {
		return refused(wire.ErrSequence)
	}
	if !known {
		result = m.execute(string(r.Body))
		s.results[r.Sequence] = result
	}
	return m.reply(r, m.log.add(m.now), result)
}

func (m *model) execute(command string) string {
	m.executed[command]++
	result := fmt.Sprintf("result %d of %s", len(m.executed), command)
	m.results[command] = result
	m.note("execute %s", command)
	return result
}

// disturb lets the leader move and sessions end for as long as it is called.
func (m *model) disturb() {
	if m.chance(m.faults.move) {
		m.leader = m.random.IntN(m.servers + 1)
		m.note("leader %d", m.leader)
	}
	if m.chance(m.faults.expire) {
		for _, id := range sortedKeys(m.sessions) {
			if m.chance(0.7) {
				m.note("expire %d", id)
				delete(m.sessions, id)
			}
		}
	}
	m.log.follow(m.random)
}

func sortedKeys(s map[uint64]*modelSession) (keys []uint64) {
	for id := range s {
		keys = append(keys, id)
	}
	slices.Sort(keys)
	return keys
}
