package server

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/transport"
)

// Options are the parts and the sizes of a Server. A zero size takes the default that stands beside it; all of them show
// in Status when they bite.
type Options struct {
	// Log, Snapshots and Transport are the parts. Once Open has returned without an error they belong to the server,
	// and Close closes the log and the transport. All three are required.
	Log       persistentlog.PersistentLog
	Snapshots persistentlog.Snapshots
	Transport transport.Transport

	// Addresses says where this server's own configuration has servers. A member whose address in the group's membership the transport
	// cannot use (transport.AddressChecker) is reached at the one here, or at that of GroupOptions.Founders. It may be nil.
	Addresses map[raft.ServerID]string

	// Group, if its ID is not zero, is opened by Open: the easy case of a server with one group.
	Group GroupOptions

	// Logger takes what happens, on a goroutine of its own, so that a slow one delays nothing but itself. nil logs nothing.
	Logger *slog.Logger
	// TraceLogger takes what the consensus module tells of itself, at debug; nil is Logger.
	TraceLogger *slog.Logger
	// Subscription, if it is not nil, hears of all that happens, from the first event on (NewSubscription). Where Open fails it
	// is closed, unless the options could not be used at all.
	Subscription *Subscription
	// Answering, if it is not nil, is called before a step in which commands or queries are executed and answered, and after
	// it, on the goroutine that does both: for a host that passes answers on together. The second call comes whatever
	// happens between, and answers may also come outside of a step: refusals, and the unknown outcomes of a leader that is
	// deposed.
	Answering func(group raft.GroupID, begins bool)
	// Clock tells the time; nil is the machine's monotonic clock.
	Clock Clock
	// Seed makes the election timeouts; 0 draws one.
	Seed uint64
	run  uint64 // drawn by Open: tells this run from earlier ones with the same Seed

	CommandBytesMax int // of a command, and of a query: 2 MiB
	BlockBytesMax   int // of a block of entries with its header: 4 MiB; larger than 256 KiB only with one command
	FrameBytesMax   int // of a frame that the transport carries; must hold a block: 8 MiB

	InflightBytesMax    int // sent to a follower and not answered: 16 MiB
	InflightMessagesMax int // the same in messages: 256
	TailBytesMax        int // recent blocks cached, for all groups together: 64 MiB

	// Each of the three queues has a bound for one group (64 MiB) and one for the server (256 MiB).
	InboxBytesMax             int // arrived and not yet looked at
	InboxServerBytesMax       int
	UncommittedBytesMax       int // appended by this server as leader and not committed
	UncommittedServerBytesMax int
	UnappliedBytesMax         int // committed, or to be read, and on the way to the state machine
	UnappliedServerBytesMax   int

	// Clients bounds what clients may take (Serve, ServeConn).
	Clients ClientOptions

	// SlowApplyMin is how long one step of applying, some MiB of commands at most, takes before EventSlowApply: 250 ms.
	SlowApplyMin time.Duration

	// Workers is how many goroutines run replicas: GOMAXPROCS.
	Workers int
	// CloseTimeout bounds Close: 10 s.
	CloseTimeout time.Duration
}

// GroupOptions open one replica.
type GroupOptions struct {
	// ID names the group; raft.DefaultGroup for an application that has one.
	ID raft.GroupID
	// StateMachine is the application. It belongs to the server from then on.
	StateMachine statemachine.StateMachine
	// Founders are the voters of the group's first membership, with addresses and without stores. They are looked at
	// only until the group is born, but for an address that the membership lacks (Options.Addresses). Empty for a server that joins a group that exists.
	Founders []raft.Member
	// Limits become the group's at its birth, if this is the founder with the lowest id. Zero fields take defaults:
	// 10,000 sessions, 256 results and 1 MiB of results for each, 1 h of cluster time, results of 2 MiB.
	Limits raft.GroupLimits

	ElectionTimeoutMin time.Duration // 300 ms
	ElectionTimeoutMax time.Duration // 600 ms
	HeartbeatInterval  time.Duration // 60 ms

	// Priority: a leader hands over to a voter with a higher one that has caught up. It decides no election. 0.
	Priority uint8
	// ClockDriftPPM, if it is not zero, allows reads by lease: a bound, in parts per million, on how much the rates of the monotonic
	// clocks of any two servers differ. Set it on all servers of a group (raft.Config.ClockDriftPPM says more).
	ClockDriftPPM uint32
	// JoinTimeout is how long a server that is to become a voter may be silent before the change is given up: 30 s.
	JoinTimeout time.Duration

	SnapshotLogBytes  int64 // applied since the last snapshot before another one is taken: 256 MiB
	SnapshotKeepBytes int64 // log kept behind the older snapshot for a live follower that lags: 1 GiB
}

// Clock is the server's time. Now never goes back. NewTimer's channel receives once, when d has passed, unless stop is
// called before.
type Clock interface {
	Now() time.Duration
	NewTimer(d time.Duration) (c <-chan time.Time, stop func() bool)
}

type machineClock struct{ start time.Time }

func (c machineClock) Now() time.Duration { return time.Since(c.start) }

func (c machineClock) NewTimer(d time.Duration) (<-chan time.Time, func() bool) {
	t := time.NewTimer(d)
	return t.C, t.Stop
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (o Options) withDefaults() Options {
	orDefault(&o.CommandBytesMax, 2<<20)
	orDefault(&o.BlockBytesMax, 4<<20)
	orDefault(&o.FrameBytesMax, 8<<20)
	orDefault(&o.InflightBytesMax, 16<<20)
	orDefault(&o.InflightMessagesMax, 256)
	orDefault(&o.TailBytesMax, 64<<20)
	for _, each := range []*int{&o.InboxBytesMax, &o.UncommittedBytesMax, &o.UnappliedBytesMax} {
		orDefault(each, 64<<20)
	}
	for _, all := range []*int{&o.InboxServerBytesMax, &o.UncommittedServerBytesMax, &o.UnappliedServerBytesMax} {
		orDefault(all, 256<<20)
	}
	orDefault(&o.CloseTimeout, 10*time.Second)
	orDefault(&o.SlowApplyMin, 250*time.Millisecond)
	return o
}

// frameOverhead is room for what a frame carries beside the blocks of an append.
const frameOverhead = 4 << 10

// entryOverhead is the most that session, sequence, floor and the two lengths add to a command.
const entryOverhead = 48

// Validate names the first part that is missing or the first two settings that clash.
func (o Options) Validate() error {
	switch {
	case o.Log == nil:
		return errors.New("server: Options.Log is missing: open one, pebblelog.Open for instance")
	case o.Snapshots == nil:
		return errors.New("server: Options.Snapshots is missing: persistentlog.Files serves every log")
	case o.Transport == nil:
		return errors.New("server: Options.Transport is missing")
	}
	o = o.withDefaults()
	type pair struct {
		small string
		a     int
		large string
		b     int
	}
	for _, p := range []pair{
		{"CommandBytesMax with its header", o.CommandBytesMax + entryOverhead + raft.BlockHeaderSize, "BlockBytesMax", o.BlockBytesMax},
		{"BlockBytesMax with its header", o.BlockBytesMax + frameOverhead, "FrameBytesMax", o.FrameBytesMax},
		{"FrameBytesMax", o.FrameBytesMax, "InflightBytesMax", o.InflightBytesMax},
		{"InflightBytesMax", o.InflightBytesMax, "UncommittedBytesMax", o.UncommittedBytesMax},
		{"BlockBytesMax", o.BlockBytesMax, "InboxBytesMax", o.InboxBytesMax},
		{"BlockBytesMax", o.BlockBytesMax, "UnappliedBytesMax", o.UnappliedBytesMax},
		{"InboxBytesMax", o.InboxBytesMax, "InboxServerBytesMax", o.InboxServerBytesMax},
		{"UncommittedBytesMax", o.UncommittedBytesMax, "UncommittedServerBytesMax", o.UncommittedServerBytesMax},
		{"UnappliedBytesMax", o.UnappliedBytesMax, "UnappliedServerBytesMax", o.UnappliedServerBytesMax},
	} {
		if p.a < 0 || p.b < 0 {
			return fmt.Errorf("server: %s (%d) and %s (%d) must not be negative", p.small, p.a, p.large, p.b)
		}
		if p.a > p.b {
			return fmt.Errorf("server: %s (%d) must be at most %s (%d)", p.small, p.a, p.large, p.b)
		}
	}
	if o.InflightMessagesMax < 1 || o.TailBytesMax < 0 || o.Workers < 0 || o.CloseTimeout < 0 {
		return fmt.Errorf("server: InflightMessagesMax (%d) must be positive, TailBytesMax (%d), Workers (%d) and CloseTimeout (%v) not negative",
			o.InflightMessagesMax, o.TailBytesMax, o.Workers, o.CloseTimeout)
	}
	if err := o.Clients.Validate(); err != nil {
		return err
	}
	if o.Group.ID != 0 {
		return o.Group.Validate()
	}
	return nil
}

func (g GroupOptions) withDefaults() GroupOptions {
	orDefault(&g.ElectionTimeoutMin, 300*time.Millisecond)
	orDefault(&g.ElectionTimeoutMax, 2*g.ElectionTimeoutMin)
	orDefault(&g.HeartbeatInterval, g.ElectionTimeoutMin/5)
	orDefault(&g.SnapshotLogBytes, 256<<20)
	orDefault(&g.SnapshotKeepBytes, 1<<30)
	g.Limits = limitsWithDefaults(g.Limits)
	return g
}

func limitsWithDefaults(l raft.GroupLimits) raft.GroupLimits {
	orDefault(&l.SessionsMax, 10_000)
	orDefault(&l.SessionResultsMax, 256)
	orDefault(&l.SessionResultBytes, 1<<20)
	orDefault(&l.SessionExpiryNanos, int64(time.Hour))
	orDefault(&l.ResultBytesMax, 2<<20)
	return l
}

// Validate names the first setting, or the first two, that cannot work.
func (g GroupOptions) Validate() error {
	if g.ID == 0 {
		return errors.New("server: GroupOptions.ID is 0, which is not a group; raft.DefaultGroup is the usual one")
	}
	if g.StateMachine == nil {
		return fmt.Errorf("server: group %d has no StateMachine", g.ID)
	}
	g = g.withDefaults()
	switch {
	case g.ElectionTimeoutMin <= 0 || g.ElectionTimeoutMax <= g.ElectionTimeoutMin:
		return fmt.Errorf("server: group %d: ElectionTimeoutMax (%v) must be longer than ElectionTimeoutMin (%v)", g.ID, g.ElectionTimeoutMax, g.ElectionTimeoutMin)
	case g.HeartbeatInterval <= 0 || g.HeartbeatInterval*3 > g.ElectionTimeoutMin:
		return fmt.Errorf("server: group %d: HeartbeatInterval (%v) must be at most a third of ElectionTimeoutMin (%v)", g.ID, g.HeartbeatInterval, g.ElectionTimeoutMin)
	case g.JoinTimeout < 0:
		return fmt.Errorf("server: group %d: JoinTimeout (%v) must not be negative", g.ID, g.JoinTimeout)
	case g.SnapshotLogBytes < 0 || g.SnapshotKeepBytes < 0:
		return fmt.Errorf("server: group %d: SnapshotLogBytes (%d) and SnapshotKeepBytes (%d) must not be negative", g.ID, g.SnapshotLogBytes, g.SnapshotKeepBytes)
	case g.Limits.SessionExpiryNanos < 0 || g.Limits.ResultBytesMax > math.MaxInt32:
		return fmt.Errorf("server: group %d: SessionExpiryNanos (%d) must not be negative and ResultBytesMax (%d) must be below 2 GiB", g.ID, g.Limits.SessionExpiryNanos, g.Limits.ResultBytesMax)
	}
	return nil
}
