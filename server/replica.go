package server

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Shared is what the replicas of one server have in common beside their parts: the room for recent blocks and the
// bounds of the server's queues.
type Shared struct {
	options  Options
	identity persistentlog.Identity
	tails    tailBudget
	bounds   bounds
}

// NewShared prepares what the replicas of one server share. Open does this by itself; it is for those who drive
// replicas by themselves.
func NewShared(o Options) (*Shared, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	identity, err := o.Log.Identity()
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s := &Shared{options: o, identity: identity}
	s.tails.max = int64(o.TailBytesMax)
	s.bounds.inbox.Max = int64(o.InboxServerBytesMax)
	s.bounds.uncommitted.Max = int64(o.UncommittedServerBytesMax)
	s.bounds.unapplied.Max = int64(o.UnappliedServerBytesMax)
	return s, nil
}

// Identity is who the server is.
func (s *Shared) Identity() persistentlog.Identity { return s.identity }

// Replica is one server's copy of one group: everything that has to happen in order, without a goroutine, a clock or an
// I/O of its own. Turn takes what arrived and returns what is to be done; the same inputs give the same work, whoever
// asks. It belongs to one goroutine at a time.
type Replica struct {
	shared *Shared
	group  GroupOptions
	bounds bounds
	node   *raft.Node
	tail   tail
	apply  *applier
	birth  *raft.Birth
	fence  error // why the replica has stopped for good
	ended  bool  // and everybody was told

	started bool
	now     time.Duration // of the turn

	role       raft.Role
	term       raft.Term
	leader     raft.ServerID
	commit     raft.Index
	membership raft.Membership
	committed  atomic.Pointer[raft.MembershipAt] // the newest that is committed
	orders     orderState

	// Saves.
	saves saveProgress
	held  []raft.Send // messages that wait for a save, in the order of the saves

	// Proposals.
	built       []builtBlock // this turn's own blocks, to be completed by what the Node says of them
	fresh       []waiting    // this turn's waiters
	waiters     []waiting    // by index
	waitersHead int
	pointed     int        // how often elsewhere was asked
	own         []ownBlock // appended as leader and not committed
	ownBytes    int64
	ownNext     raft.Index // the end of the latest of them
	parked      []proposal // until leadership was handed over, or was not
	resume      bool       // they may be proposed

	// Applies.
	restored  bool              // the state machine stands at next-1
	restoring raft.SnapshotMeta // an installed snapshot that the machine does not have yet
	installed raft.Index        // the newest snapshot that took the log's place
	lost      error             // why the machine cannot be restored from this server
	next      raft.Index        // the first entry that the apply lane was not given
	applied   raft.Index        // the last one that it reported
	queued    int64             // bytes that it was given and has not reported
	jobs      int               // ApplyJobs that it has not reported
	spare     []*ApplyJob

	// Reads.
	readID  raft.ReadID
	reads   []readBatch  // asked and not decided, by id
	decided []readBatch  // decided; their index was not given to the apply lane yet
	idle    [][]query    // memory of batches that were answered
	latest  confirmation // the newest that is known: for reads that may be of some age
	counts  readCounters

	snapshot snapshotState
	fetch    *FetchJob

	refusals map[raft.ServerID]raft.Refusal // told as events already: what each peer said last

	work Work
}

// Work is what a turn asks for. It and its slices are good until the next turn.
type Work struct {
	// Sends leave now. Their values may be copied; the slices in them are theirs for good.
	Sends []raft.Message
	// Jobs are to be run, each after those before it in its lane.
	Jobs []Job
	// Deadline is when the next turn is due if nothing arrives before.
	Deadline time.Duration
	// Members is set when another membership is in force: whom to be connected with.
	Members []raft.Member
	// Events tell what happened.
	Events []Event
	// Fenced is why the replica has stopped in this turn; nil when it did not. StoreFailed says that the reason lies in
	// the store, so that every replica on it has to stop.
	Fenced      error
	StoreFailed bool
}

func (w *Work) reset() {
	clear(w.Sends)
	clear(w.Jobs)
	clear(w.Events)
	*w = Work{Sends: w.Sends[:0], Jobs: w.Jobs[:0], Events: w.Events[:0]}
}

// NewReplica loads a group from the log and prepares its replica. Its first turn asks for the state machine to be
// restored. now is the time of the same clock that later turns are given.
func NewReplica(s *Shared, g GroupOptions, now time.Duration) (*Replica, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	g = g.withDefaults()
	o := &s.options
	loaded, err := o.Log.Load(g.ID)
	if err != nil {
		return nil, fmt.Errorf("server: load group %d: %w", g.ID, err)
	}
	state, err := nodeState(loaded)
	if err != nil {
		return nil, fmt.Errorf("server: load group %d: %w", g.ID, err)
	}
	node, err := raft.NewNode(raft.Config{
		Group: g.ID, ID: s.identity.Server, Store: s.identity.Store, Founders: g.Founders, Limits: g.Limits,
		ElectionTimeoutMin: g.ElectionTimeoutMin, ElectionTimeoutMax: g.ElectionTimeoutMax,
		HeartbeatInterval: g.HeartbeatInterval, MessageBytesMax: o.BlockBytesMax, InflightBytesMax: o.InflightBytesMax,
		InflightMessagesMax: o.InflightMessagesMax, UncommittedBytesMax: o.UncommittedBytesMax, Seed: o.Seed,
		Run: raft.RunID(o.run ^ o.Seed ^ uint64(now)*0x9e3779b97f4a7c15), Priority: g.Priority, ClockDriftPPM: g.ClockDriftPPM, JoinTimeout: g.JoinTimeout,
	}, state, now)
	if err != nil {
		return nil, fmt.Errorf("server: group %d: %w", g.ID, err)
	}
	r := &Replica{shared: s, group: g, node: node, apply: newApplier(g.ID, g.StateMachine)}
	if o.Answering != nil {
		r.apply.answering = func(begins bool) { o.Answering(g.ID, begins) }
	}
	r.bounds.inbox.Max = int64(o.InboxBytesMax)
	r.bounds.uncommitted.Max = int64(o.UncommittedBytesMax)
	r.bounds.unapplied.Max = int64(o.UnappliedBytesMax)
	r.tail = tail{next: state.Next, chain: loaded.Chain, saved: state.Next, budget: &s.tails}
	s.tails.replicas.Add(1)
	if !state.Birth.IsZero() {
		r.birth = &state.Birth
	}
	r.term, r.commit = state.Hard.Term, max(state.Commit, state.Snapshot.Index)
	r.membership = node.Status().Membership
	r.followMembership(true)
	r.snapshot.pointer = state.Snapshot.Index
	node.Restoring()
	r.add(&RestoreJob{
		a: r.apply, log: o.Log, snapshots: o.Snapshots, birth: r.birth, pointer: state.Snapshot, first: state.First,
		next: state.Next, start: true,
	})
	r.work.Members = r.members()
	return r, nil
}

// nodeState is what a log loaded with its membership entries decoded.
func nodeState(l persistentlog.State) (raft.State, error) {
	s := raft.State{
		Birth: l.Birth, Hard: l.Hard, Commit: l.Commit, First: l.First, Next: l.Next, Trail: l.Trail, Snapshot: l.Snapshot,
		Time: l.Time,
	}
	for _, b := range l.Memberships {
		for body := range b.Entries() {
			m, err := wire.DecodeMembership(body)
			if err != nil {
				return s, fmt.Errorf("%w: membership entry %d: %w", persistentlog.ErrDamaged, b.First(), err)
			}
			s.Memberships = append(s.Memberships, raft.MembershipAt{Index: b.First(), Membership: m})
		}
	}
	return s, nil
}

// members are those to be connected with: the membership in force or, before the birth, the founders. Each is looked for where the
// transport can look (reached).
func (r *Replica) members() []raft.Member {
	members := r.membership.Members()
	for _, at := range r.orders.memberships { // a server that moves is reached at both addresses until that is committed
		for _, m := range at.Membership.Members() {
			if moved, is := r.membership.Find(m.ID, m.Store); is && moved.Address != m.Address && !slices.Contains(members, m) {
				members = append(members, m)
			}
		}
	}
	if len(members) == 0 {
		return r.group.Founders
	}
	usable := members[:0]
	for _, m := range members {
		if m = r.reached(m); !slices.Contains(usable, m) {
			usable = append(usable, m)
		}
	}
	return usable
}

func (r *Replica) add(j Job) { r.work.Jobs = append(r.work.Jobs, j) }

// Group names the group.
func (r *Replica) Group() raft.GroupID { return r.group.ID }

// Deadline is when the next turn is due if nothing arrives before.
func (r *Replica) Deadline() time.Duration {
	if r.fence != nil {
		return raft.Never
	}
	return min(r.node.Deadline(), r.readsDeadline())
}

// Err returns why the replica has stopped for good, nil while it works.
func (r *Replica) Err() error { return r.fence }
