package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// Plan is a run before it happens: a value that says everything that is not left to the streams of chance, which its seed
// begins. NewPlan makes one of a seed; Shrink makes smaller ones of it.
type Plan struct {
	Seed uint64
	// Lossy plans destroy more copies than the cluster can do without. What they must show is that nobody is told
	// anything wrong, not that somebody is told something.
	Lossy   bool
	Servers int // that found the groups
	Spares  int // that may join them later
	Groups  int
	Shape   Shape
	Batches bool // the application takes its commands in batches
	Durable bool // the application has storage of its own
	// Segments puts logs on simulated disks, in segments; else they are in memory.
	Segments bool

	ElectionTimeoutMin time.Duration
	ElectionTimeoutMax time.Duration
	HeartbeatInterval  time.Duration
	JoinTimeout        time.Duration
	// ClockDriftPPM is by how much the servers are told that the rates of clocks may differ; zero: they are told nothing, and have no
	// leases. Where Drifts is true it is not so.
	ClockDriftPPM uint32
	Drifts        bool
	Priorities    []uint8 // of the servers, from the first; none: they are all the same

	CommandBytesMax     int
	BlockBytesMax       int
	InflightBytesMax    int
	InflightMessagesMax int
	UncommittedBytesMax int
	UnappliedBytesMax   int
	ServerBytesFactor   int // the bounds of a server are so many times those of a group
	TailBytesMax        int
	SnapshotLogBytes    int64
	SnapshotKeepBytes   int64
	StateBytes          int // that a snapshot holds beside what commands have written
	Limits              raft.GroupLimits

	// DelayMax bounds how long a message usually takes; StepMax a step of a job.
	DelayMax time.Duration
	StepMax  time.Duration
	// RestoreMax bounds how much longer than a step it takes to restore the application, until nothing fails any more.
	RestoreMax time.Duration
	// Trouble is how long the first phase takes.
	Trouble time.Duration

	Clients []ClientPlan
	Calls   []Call  // by time
	Faults  []Fault // by time
	Orders  []Order // by time: what an operator asks for

	guest *guestPlan // the user's machine that is tested; nil: none
}

// ClientPlan is one client.
type ClientPlan struct {
	Group       raft.GroupID
	Sessionless bool
	ReadAny     bool // any server answers its reads
}

// CallKind is what a call asks for.
type CallKind uint8

// The kinds of calls: the commands of the simulated application, two kinds of reads, and what asks for no state.
const (
	CallSet    CallKind = 1
	CallSwap   CallKind = 2
	CallAppend CallKind = 3
	CallLarge  CallKind = 4 // its result is over the limit
	CallDue    CallKind = 5 // something falls due by cluster time
	CallRead   CallKind = 6
	CallLocal  CallKind = 7
	// CallBarrier returns when everything before it was applied; CallStatus and CallMembers ask what a server knows.
	CallBarrier CallKind = 8
	CallStatus  CallKind = 9
	CallMembers CallKind = 10
)

var callNames = [...]string{
	CallSet: "set", CallSwap: "swap", CallAppend: "append", CallLarge: "large", CallDue: "due", CallRead: "read", CallLocal: "local read",
	CallBarrier: "barrier", CallStatus: "status", CallMembers: "members",
}

// String returns the kind's name.
func (k CallKind) String() string { return callNames[k] }

// Call is one call of a client.
type Call struct {
	At          time.Duration // since the run began
	Client      int           // of Plan.Clients
	Kind        CallKind
	Key         uint8
	Size        int              // of the command in bytes; more than CommandBytesMax must be refused
	Cancel      time.Duration    // after which it is given up; zero: it is waited for
	Consistency raft.Consistency // of a read
	Input       []byte           // the command or the query for the user's machine that is tested
}

// NewPlan expands a seed.
func NewPlan(seed uint64) *Plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := &Plan{Seed: seed, Lossy: r.IntN(12) == 0}
	p.Servers = pick(r, 1, 2, 3, 3, 3, 3, 4, 5, 5, 6, 7)
	p.Groups = pick(r, 1, 1, 2, 3)
	if p.Servers > 5 {
		p.Groups = min(p.Groups, 2)
	}
	p.Batches, p.Segments = r.IntN(2) == 0, r.IntN(2) == 0
	p.ElectionTimeoutMin = pick[time.Duration](r, 200, 300, 500, 1000) * time.Millisecond
	p.ElectionTimeoutMax = 2 * p.ElectionTimeoutMin
	p.HeartbeatInterval = p.ElectionTimeoutMin / pick[time.Duration](r, 3, 4, 5)
	p.DelayMax = pick[time.Duration](r, 1, 2, 5, 20) * time.Millisecond
	p.StepMax = pick[time.Duration](r, 1, 2, 10) * time.Millisecond
	p.sizes(r)
	more := rand.New(rand.NewPCG(seed, 3))
	p.Durable, p.ServerBytesFactor = more.IntN(4) == 0, pick(more, 1, 2, 50)
	p.lean(more)
	orders := rand.New(rand.NewPCG(seed, 4))
	p.plantOperator(orders)
	p.Trouble = 18*time.Second + upTo(r, 14*time.Second)
	p.plantCalls(r)
	p.plantFaults(rand.New(rand.NewPCG(seed, 2)))
	p.plantShape(more)
	if more.IntN(4) == 0 { // while the groups are born, which does not take long
		p.plant(Fault{
			At: upTo(more, 2*p.HeartbeatInterval), Kind: pick(more, FaultCrash, FaultCrash, FaultPowerCut), Server: more.IntN(p.Servers),
			N: 1 + more.IntN(12), For: upTo(more, 2*p.ElectionTimeoutMax),
		})
	}
	p.plantOrders(orders)
	p.drift(rand.New(rand.NewPCG(seed, 5)))
	p.plantReads(rand.New(rand.NewPCG(seed, 6)))
	if rand.New(rand.NewPCG(seed, 7)).IntN(5) == 0 {
		p.RestoreMax = 3 * p.ElectionTimeoutMax
	}
	sortBy(p.Faults, func(f *Fault) time.Duration { return f.At })
	sortBy(p.Calls, func(c *Call) time.Duration { return c.At })
	return p
}

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

func (p *Plan) sizes(r *rand.Rand) {
	p.CommandBytesMax = pick(r, 500, 1500, 5000)
	p.BlockBytesMax = p.CommandBytesMax + 200 + r.IntN(2*p.CommandBytesMax)
	p.InflightBytesMax = p.frameBytesMax() * pick(r, 1, 1, 3)
	p.InflightMessagesMax = pick(r, 1, 4, 256)
	p.UncommittedBytesMax = p.InflightBytesMax * pick(r, 1, 2, 8)
	p.UnappliedBytesMax = p.BlockBytesMax * pick(r, 1, 3, 100)
	p.TailBytesMax = pick(r, 1, 1, 600, 3000, 1<<20) // zero would be the default
	p.SnapshotLogBytes = pick[int64](r, 1200, 4000, 15000, 1<<20)
	p.SnapshotKeepBytes = pick[int64](r, 1, 500, 4000, 1<<20)
	p.StateBytes = pick(r, 0, 0, 2000, 20000)
	p.Limits = raft.GroupLimits{
		SessionsMax: pick[uint32](r, 2, 8, 100), SessionResultsMax: pick[uint32](r, 4, 16, 256),
		SessionResultBytes: pick[uint32](r, 60, 1000, 1<<20), ResultBytesMax: 1000,
		SessionExpiryNanos: int64(pick[time.Duration](r, 2, 4, 30) * time.Second),
	}
}

func (p *Plan) frameBytesMax() int { return p.BlockBytesMax + 5000 }

// plantReads decides who answers reads, and what each has to reflect.
func (p *Plan) plantReads(r *rand.Rand) {
	for i := range p.Clients {
		p.Clients[i].ReadAny = r.IntN(3) == 0
	}
	for i := range p.Calls {
		c := &p.Calls[i]
		if c.Kind != CallRead {
			continue
		}
		switch n := r.IntN(10); {
		case n < 2:
			c.Consistency.Level = raft.Lease
		case n < 4:
			c.Consistency = raft.Consistency{Level: raft.Bounded, MaxAge: 1 + pick(r, 0, upTo(r, p.HeartbeatInterval/2), upTo(r, p.ElectionTimeoutMax))}
			if n == 3 && c.At%2 == 0 {
				c.Consistency = ownReads
			}
		}
	}
	p.askBehindErrors()
}

// ownReads bounds a query by no age, only by what its client has seen.
var ownReads = raft.Consistency{Level: raft.Bounded, MinIndex: 1}

// askBehindErrors has clients that read anywhere ask for what a command has done of which they were not told the result.
func (p *Plan) askBehindErrors() {
	large := make([]bool, len(p.Clients))
	for i := range p.Calls {
		c := &p.Calls[i]
		if large[c.Client] && p.Clients[c.Client].ReadAny {
			c.Kind, c.Size, c.Cancel, c.Consistency = CallRead, 0, 0, ownReads
		}
		large[c.Client] = c.Kind == CallLarge
	}
}

// drift decides about leases, and keeps the clocks within their bound where there is to be one.
func (p *Plan) drift(r *rand.Rand) {
	p.ClockDriftPPM = pick[uint32](r, 0, 1000, 20_000, 100_000)
	p.Drifts = p.ClockDriftPPM > 0 && r.IntN(6) == 0
	if p.Drifts || r.IntN(3) == 0 { // clocks as far apart as can be, see unequal
		for range 1 + p.ClockDriftPPM/25_000 {
			p.plant(Fault{At: upTo(r, p.Trouble), Kind: FaultClock, Server: leaderServer, N: 1 + 3*r.IntN(20), X: 1.3, For: 4 * p.ElectionTimeoutMax})
		}
	}
	if p.Drifts || p.ClockDriftPPM == 0 {
		return
	}
	for i := range p.Faults {
		if f := &p.Faults[i]; f.Kind == FaultClock { // of two clocks one may be as fast as it can be, and the other as slow
			f.X = 1 + (f.X-1)/0.3*0.48*float64(p.ClockDriftPPM)/1e6
		}
	}
}

// plantCalls plans what clients ask for: a steady rain, and bursts.
func (p *Plan) plantCalls(r *rand.Rand) {
	clients := p.Groups + 1 + r.IntN(3)
	for k := range clients {
		p.Clients = append(p.Clients, ClientPlan{Group: raft.GroupID(k%p.Groups + 1), Sessionless: r.IntN(4) == 0})
	}
	keys := 10 + r.IntN(keysMax-10+1)
	calls := 250 + r.IntN(250)
	for len(p.Calls) < calls {
		at := upTo(r, p.Trouble)
		burst, heavy := 1, false
		if r.IntN(25) == 0 {
			burst, heavy = 2+r.IntN(12), r.IntN(3) == 0
		}
		client := r.IntN(clients)
		for range burst {
			c := p.call(r, at, client, keys)
			if heavy {
				c.Size = max(c.Size, r.IntN(p.CommandBytesMax))
			}
			p.Calls = append(p.Calls, c)
			at += upTo(r, 3*time.Millisecond)
		}
	}
	sortBy(p.Calls, func(c *Call) time.Duration { return c.At })
}

func (p *Plan) call(r *rand.Rand, at time.Duration, client, keys int) Call {
	c := Call{At: at, Client: client, Key: uint8(r.IntN(keys)), Size: commandBytes + r.IntN(60)}
	switch n := r.IntN(100); {
	case n < 22:
		c.Kind = CallSet
	case n < 44:
		c.Kind = CallSwap
	case n < 64:
		c.Kind = CallAppend
	case n < 66:
		c.Kind = CallLarge
	case n < 69:
		c.Kind = CallDue
	case n < 90:
		c.Kind = CallRead
	case n < 96:
		c.Kind = CallLocal
	default:
		c.Kind = pick(r, CallBarrier, CallBarrier, CallStatus, CallMembers)
	}
	switch n := r.IntN(40); {
	case n == 0:
		c.Size = p.CommandBytesMax - r.IntN(20)
	case n == 1 && r.IntN(3) == 0:
		c.Size = p.CommandBytesMax + 1 + r.IntN(50)
	case n < 5:
		c.Size = r.IntN(p.CommandBytesMax)
	}
	if r.IntN(12) == 0 {
		c.Cancel = 1 + upTo(r, 800*time.Millisecond)
	}
	return c
}

// sortBy sorts by time and keeps the order of what happens at one time.
func sortBy[T any](list []T, at func(*T) time.Duration) {
	slices.SortStableFunc(list, func(a, b T) int { return cmp.Compare(at(&a), at(&b)) })
}

// String describes a plan in a few lines, its faults in one each.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d servers, %d groups, %d clients, %d calls, %d faults in %v", p.Seed, p.Servers, p.Groups, len(p.Clients), len(p.Calls), len(p.Faults), p.Trouble)
	if p.Lossy {
		b.WriteString(", lossy")
	}
	if p.Shape != ShapeNone {
		fmt.Fprintf(&b, ", leans to %s", p.Shape)
	}
	fmt.Fprintf(&b, "\n  election %v to %v, heartbeat %v, delay up to %v, step up to %v, restore up to %v, batches %t, durable %t, segments %t\n",
		p.ElectionTimeoutMin, p.ElectionTimeoutMax, p.HeartbeatInterval, p.DelayMax, p.StepMax, p.RestoreMax, p.Batches, p.Durable, p.Segments)
	fmt.Fprintf(&b, "  bytes: command %d, block %d, in flight %d (%d messages), uncommitted %d, unapplied %d (a server %d times), tail %d, snapshot after %d, kept %d, state %d\n",
		p.CommandBytesMax, p.BlockBytesMax, p.InflightBytesMax, p.InflightMessagesMax, p.UncommittedBytesMax, p.UnappliedBytesMax, p.ServerBytesFactor, p.TailBytesMax, p.SnapshotLogBytes, p.SnapshotKeepBytes, p.StateBytes)
	fmt.Fprintf(&b, "  limits %+v, clocks differ by %d ppm, more %t\n", p.Limits, p.ClockDriftPPM, p.Drifts)
	if len(p.Orders) > 0 {
		fmt.Fprintf(&b, "  %d servers may join, within %v, priorities %v\n", p.Spares, p.JoinTimeout, p.Priorities)
	}
	for i := range p.Faults {
		fmt.Fprintf(&b, "  %v\n", &p.Faults[i])
	}
	for i := range p.Orders {
		fmt.Fprintf(&b, "  %v\n", &p.Orders[i])
	}
	return b.String()
}
