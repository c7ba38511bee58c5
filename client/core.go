package client

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// Core is a client without goroutines, clock and sockets: it is told what happened and answers what is to be done. Client
// is the shell around it; a simulator may be another. What it does is a function of its inputs and its seed.
//
// What happens is told by Start, Cancel, Connected, Disconnected, Received, Heard, Tick and Close; each takes now, a
// monotonic time that does not go back. After any number of them the owner takes Actions and carries them out. A Core
// belongs to one goroutine at a time. No method blocks.
type Core struct {
	o      CoreOptions
	random *rand.Rand
	now    time.Duration
	pumped time.Duration // when everything was last looked at that becomes possible with time
	closed bool

	numbers   uint64
	free      callList
	proposals callList // not yet in the window
	window    window
	bytes     int // of the bodies of proposals that have been sent and not completed
	stray     int // proposals in flight that are not in the window: outside a session, or of one that has ended

	session        uint64
	sessionExpiry  time.Duration
	sessionUsed    time.Duration // when the last request was sent that the group has surely executed
	sessionOpening bool
	sessionKeeping bool

	addresses []string // where servers may be, in order of learning
	given     int      // how many of them the options named
	roams     bool     // a call asked for more than what one server has: any member may lead to the answer
	named     []string // members that were named while none had
	byID      map[raft.ServerID]string
	cluster   raft.ClusterID
	limit     int        // bytes of a command or query, as the last server said
	seen      raft.Index // the highest that an answer has reflected

	conns ConnID
	links []*link // open ones; order of opening
	lead  route   // to the leader
	near  route   // to any server, for queries, with ReadAny

	actions Actions
	done    bool // actions were taken: the next event clears them
}

// CoreOptions are a Core's settings. Zero values take the defaults that stand beside them.
type CoreOptions struct {
	Group     raft.GroupID   // raft.DefaultGroup
	Cluster   raft.ClusterID // zero: the cluster of the first server that answers
	Addresses []string       // where servers are; at least one here or in ByID
	// ByID says where clients reach a server, where that is not the address in the group's membership, by which servers
	// reach each other and which redirects name.
	ByID map[raft.ServerID]string
	// ReadFrom says which servers answer queries: ReadLeader.
	ReadFrom ReadFrom
	// Sessionless does without a session: no retry after an outcome that is not known, which is then the caller's answer.
	Sessionless bool
	// OutstandingMax bounds the proposals that have been sent and not answered outside of a session (a session has its
	// window), and likewise the queries: 1024. Others wait in order.
	OutstandingMax int
	// OutstandingBytesMax bounds the bytes of proposals that have been sent and not answered: 64 MiB.
	OutstandingBytesMax int
	// DialTimeout bounds the making of a connection up to the server's first answer: 3 s.
	DialTimeout time.Duration
	// SilenceMax is how long a server that owes an answer may be silent, to pings also, before its connection is given up: 3 s.
	SilenceMax time.Duration
	// BackoffMin and BackoffMax bound the pause between rounds of attempts: 10 ms and 250 ms. Pauses double and are jittered.
	BackoffMin, BackoffMax time.Duration
	Seed                   uint64
}

// withDefaults returns o with its zero values replaced.
func (o CoreOptions) withDefaults() CoreOptions {
	orDefault(&o.Group, raft.DefaultGroup)
	orDefault(&o.OutstandingMax, 1024)
	orDefault(&o.OutstandingBytesMax, 64<<20)
	orDefault(&o.DialTimeout, 3*time.Second)
	orDefault(&o.SilenceMax, 3*time.Second)
	orDefault(&o.BackoffMin, 10*time.Millisecond)
	orDefault(&o.BackoffMax, max(250*time.Millisecond, o.BackoffMin))
	return o
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Validate names the first setting, or the first two, that cannot work.
func (o CoreOptions) Validate() error {
	if len(o.Addresses)+len(o.ByID) == 0 {
		return fmt.Errorf("client: no server to ask: Servers is empty")
	}
	for _, a := range o.Addresses {
		if a == "" {
			return fmt.Errorf("client: Servers holds an empty address")
		}
	}
	for id, a := range o.ByID {
		if id == 0 || a == "" {
			return fmt.Errorf("client: Addresses says that server %d is at %q", id, a)
		}
	}
	if o.ReadFrom > ReadAny {
		return fmt.Errorf("client: ReadFrom is %d, and must be ReadLeader or ReadAny", o.ReadFrom)
	}
	o = o.withDefaults()
	if o.OutstandingMax < 1 || o.OutstandingBytesMax < 1 || o.DialTimeout < 1 || o.SilenceMax < 1 || o.BackoffMin < 1 {
		return fmt.Errorf("client: OutstandingMax (%d), OutstandingBytesMax (%d), DialTimeout (%v), SilenceMax (%v) and BackoffMin (%v) must be positive",
			o.OutstandingMax, o.OutstandingBytesMax, o.DialTimeout, o.SilenceMax, o.BackoffMin)
	}
	if o.BackoffMax < o.BackoffMin {
		return fmt.Errorf("client: BackoffMax (%v) must be at least BackoffMin (%v)", o.BackoffMax, o.BackoffMin)
	}
	return nil
}

// ConnID names a connection. It is never used again.
type ConnID uint64

// Actions is what is to be done. The value and its slices are the Core's and are good until its next event. Carry them
// out in the order of the fields.
type Actions struct {
	// Hangups are connections, or attempts at one, to be given up. The Core has forgotten them: what still arrives from
	// them is ignored, and Disconnected need not follow.
	Hangups []ConnID
	// Dials are connections to be made. Connected or Disconnected follows for each.
	Dials []Dial
	// Writable names connections that have something to write: take it by TakeOutput. A connection may be named again
	// before that was done.
	Writable []ConnID
	// Dones are calls that have ended, each once.
	Dones []Done
}

// Dial asks for a connection.
type Dial struct {
	Conn    ConnID
	Address string
}

// Done is a call's end.
type Done struct {
	Tag any // what Start was given
	// Result is the command's or the query's result, or, of the other operations, what stands in the response, encoded.
	// It refers to the message that Received was given: copy it before that is reused.
	Result []byte
	Err    error
}

// NewCore returns a core that has nothing to do. The options must be valid.
func NewCore(o CoreOptions) (*Core, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	c := &Core{
		o: o, random: rand.New(rand.NewPCG(o.Seed, 0x6f61726c6f636b)), cluster: o.Cluster,
		byID: make(map[raft.ServerID]string), limit: math.MaxInt,
	}
	c.window.reset()
	c.given = addressesMax // of those that are given, none takes another one's place
	for _, a := range o.Addresses {
		c.learn(a)
	}
	for _, id := range slices.Sorted(maps.Keys(o.ByID)) {
		c.learn(o.ByID[id])
	}
	c.given = len(c.addresses)
	// Many clients with one list should not all begin with the same server.
	c.lead.rotation = c.random.IntN(len(c.addresses))
	c.lead.target = c.addresses[c.lead.rotation]
	if o.ReadFrom == ReadAny {
		c.startNear()
	}
	return c, nil
}

// Start begins a call. body must stay as it is until the call's Done, which carries tag and may be among the actions at once.
// consistency, one at most, is for OpQuery.
func (c *Core) Start(now time.Duration, op Op, body []byte, tag any, consistency ...Consistency) Handle {
	c.turn(now)
	k := c.newCall(op)
	k.body, k.tag = body, tag
	h := Handle{call: k, life: k.life}
	var err error
	k.consistency, err = oneConsistency(op, consistency)
	c.wants(k)
	switch {
	case c.closed:
		c.finish(k, nil, ErrClosed)
	case err != nil:
		c.finish(k, nil, err)
	case op == OpPropose:
		k.state = callQueued
		c.proposals.push(k)
	default:
		k.state = callQueued
		c.listOf(k).push(k)
	}
	c.pump()
	return h
}

// Cancel ends a call because its caller waits no longer; cause says why, a context's error. A call that has ended stays
// as it was. Of a proposal that may have been sent the outcome is unknown. The error
// says what was in the way, as far as anybody has said it.
func (c *Core) Cancel(now time.Duration, h Handle, cause error) {
	c.turn(now)
	k := h.call
	if k == nil || k.life != h.life || k.state == callFree {
		return
	}
	c.finish(k, nil, c.cancelled(k, cause))
	c.pump()
}

// Tick tells that time has passed. It is wanted at Deadline.
func (c *Core) Tick(now time.Duration) {
	c.turn(now)
	c.checkLinks()
	c.pump()
}

// Close ends every call: ErrClosed for what was certainly not applied, unknown for the rest. It asks the server to end
// the session, if a connection is up, without waiting for the answer. Later calls end with ErrClosed.
func (c *Core) Close(now time.Duration) {
	c.turn(now)
	if c.closed {
		return
	}
	c.endAll(ErrClosed)
	if c.session != 0 && c.lead.active != nil && c.lead.active.up {
		c.sendOwn(c.lead.active, opSessionClose)
	}
	c.closed = true
}

// endAll completes every call with why.
func (c *Core) endAll(why error) {
	end := func(k *call) {
		if k.op.acts() && (k.maybe || k.state == callFlying) {
			c.finish(k, nil, unknown(why))
			return
		}
		c.finish(k, nil, why)
	}
	for _, l := range c.links {
		for k := l.flight.first; k != nil; {
			after := k.after
			if !k.op.own() {
				end(k)
			}
			k = after
		}
	}
	for s := c.window.floor; s < c.window.next; s++ {
		if k := c.window.at(s); k != nil {
			end(k)
		}
	}
	for c.proposals.first != nil {
		end(c.proposals.first)
	}
	for _, r := range c.routes() {
		for r.reads.first != nil {
			end(r.reads.first)
		}
		for r.resting.first != nil {
			end(r.resting.first)
		}
	}
}

// Actions returns what the events since the last call ask for.
func (c *Core) Actions() *Actions {
	c.dropTaken()
	c.done = true
	return &c.actions
}

// dropTaken drops what was handed out.
func (c *Core) dropTaken() {
	if c.done {
		c.done = false
		a := &c.actions
		clear(a.Dones)
		a.Hangups, a.Dials, a.Writable, a.Dones = a.Hangups[:0], a.Dials[:0], a.Writable[:0], a.Dones[:0]
	}
}

// TakeOutput returns what is to be written to a connection, and takes spare (its content is dropped) as memory for what
// comes next. It is nil when there is nothing, or no such connection; spare is then still the caller's.
func (c *Core) TakeOutput(conn ConnID, spare []byte) []byte {
	l := c.find(conn)
	if l == nil || len(l.out) == 0 {
		return nil
	}
	out := l.out
	l.out = spare[:0]
	return out
}

// turn begins an event.
func (c *Core) turn(now time.Duration) {
	c.now = max(c.now, now)
	c.dropTaken()
}

func (c *Core) newCall(op Op) *call {
	k := c.free.first
	if k == nil {
		k = new(call)
	} else {
		c.free.remove(k)
	}
	c.numbers++
	*k = call{op: op, number: c.numbers, life: k.life + 1}
	return k
}

// finish takes a call out of wherever it is and reports its end.
func (c *Core) finish(k *call, result []byte, err error) {
	c.lift(k)
	if k.session != 0 && k.session == c.session && c.window.at(k.sequence) == k {
		c.window.drop(k)
	}
	if !k.op.own() {
		c.actions.Dones = append(c.actions.Dones, Done{Tag: k.tag, Result: result, Err: err})
	}
	k.body, k.tag, k.link, k.last, k.state = nil, nil, nil, nil, callFree
	c.free.push(k)
}

// lift takes a call out of its list, or out of the waiting part of the window; it stays in the window itself.
func (c *Core) lift(k *call) {
	switch k.state {
	case callQueued:
		c.listOf(k).remove(k)
	case callResting:
		c.routeOf(k).resting.remove(k)
	case callWaiting:
		c.window.waiting--
		c.bytes -= len(k.body)
	case callFlying:
		k.link.flight.remove(k)
		delete(k.link.byID, k.id)
		if k.op == OpPropose {
			c.bytes -= len(k.body)
			if k.session == 0 || k.session != c.session {
				c.stray--
			}
		} else if !k.op.own() {
			k.link.reads--
		}
	}
	k.state = callFree
}

func (c *Core) listOf(k *call) *callList {
	if k.op == OpPropose {
		return &c.proposals
	}
	return &c.routeOf(k).reads
}

func unknown(why error) error {
	if why == nil {
		return ErrUnknown
	}
	return fmt.Errorf("%w: %w", ErrUnknown, why)
}
