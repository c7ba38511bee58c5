package server

import (
	"slices"
	"sync"

	"github.com/oarlock/oarlock/raft"
)

// proposal is a Proposal that waits in an inbox, with its cost there.
type proposal struct {
	Proposal
	done  Completion
	bytes int64
}

// query is a read that waits in an inbox.
type query struct {
	query       []byte
	consistency Consistency
	// leader asks for the leader's answer: another server refuses.
	leader bool
	// confirm asks for no query, only for the moment from which one is linearizable: a barrier, or a query that its
	// caller will run itself.
	confirm bool
	done    Completion
}

// messageOverhead is what a message without blocks is counted as; the reserve holds 16 MiB of them. What a peer sends
// beyond that, while the loop is not running, is lost as the network might have lost it.
const (
	messageOverhead = 512
	reserveBytesMax = 16 << 20
)

// Inputs is everything that arrived for a replica since its last turn.
type Inputs struct {
	Messages    []raft.Message
	Finished    []Job
	Unreachable []raft.Member // servers by ID and Store, a store of zero for all that have the id
	Fetched     []Fetched
	proposals   []proposal
	queries     []query
	snapshots   []Completion // asked for by TakeSnapshot
	orders      []order
	stop        error // the replica is to end with this reason
	bytes       int64 // of proposals, queries and blocks

	mayWait  bool // proposals may be left for a later turn, if the replica has a use for that
	mayLeave bool // those that are too much for one turn may be left for the next
	proposed int  // how many proposals the turn has taken care of
	asked    bool // the turn has taken care of the queries
	ordered  int  // how many orders the turn has taken care of
}

// Fetched says how much of a snapshot of the group a server was given.
type Fetched struct {
	By       raft.Member // by ID and Store
	Snapshot raft.SnapshotMeta
	Offset   int64 // before this
}

// giveUp answers what a turn that ended half way did not take care of.
func (in *Inputs) giveUp(why error) {
	for ; in.proposed < len(in.proposals); in.proposed++ {
		lastWord(in.proposals[in.proposed].done, why)
	}
	if !in.asked {
		in.asked = true
		for i := range in.queries {
			lastWord(in.queries[i].done, why)
		}
	}
	for ; in.ordered < len(in.orders); in.ordered++ {
		lastWord(in.orders[in.ordered].done, why)
	}
	for _, done := range in.snapshots {
		lastWord(done, why)
	}
	in.snapshots = in.snapshots[:0]
}

func (in *Inputs) empty() bool {
	return len(in.Messages) == 0 && len(in.Finished) == 0 && len(in.Unreachable) == 0 && len(in.Fetched) == 0 && len(in.proposals) == 0 &&
		len(in.queries) == 0 && len(in.snapshots) == 0 && len(in.orders) == 0 && in.stop == nil
}

// Propose adds a proposal: for those who drive a Replica by themselves.
func (in *Inputs) Propose(p Proposal, done Completion) {
	in.proposals = append(in.proposals, proposal{Proposal: p, done: done})
}

// Query adds a read: for those who drive a Replica by themselves. The consistency must be valid. With leader, a server that does
// not lead refuses with ErrNotLeader.
func (in *Inputs) Query(q []byte, c Consistency, leader bool, done Completion) {
	in.queries = append(in.queries, query{query: q, consistency: c, leader: leader, done: done})
}

// Barrier adds a wait until everything that was answered before is applied by the leader: for those who drive a Replica by
// themselves.
func (in *Inputs) Barrier(done Completion) {
	in.queries = append(in.queries, query{leader: true, confirm: true, done: done})
}

// TakeSnapshot asks for a snapshot: for those who drive a Replica by themselves.
func (in *Inputs) TakeSnapshot(done Completion) { in.snapshots = append(in.snapshots, done) }

// Stop ends the replica with a reason: for those who drive a Replica by themselves. Every waiter is answered.
func (in *Inputs) Stop(why error) { in.stop = why }

// Reset empties the inputs and keeps their memory.
func (in *Inputs) Reset() {
	clear(in.Messages)
	clear(in.Finished)
	clear(in.proposals)
	clear(in.queries)
	clear(in.snapshots)
	clear(in.orders)
	clear(in.Fetched)
	*in = Inputs{
		Messages: in.Messages[:0], Finished: in.Finished[:0], Unreachable: in.Unreachable[:0], Fetched: in.Fetched[:0],
		proposals: in.proposals[:0], queries: in.queries[:0], snapshots: in.snapshots[:0], orders: in.orders[:0],
	}
}

// inbox collects what arrives for one group between turns. The two Inputs change places at every drain, so that a turn
// reads one without a lock while the other fills.
type inbox struct {
	mu      sync.Mutex
	in      *Inputs
	spare   *Inputs
	closed  error // why nothing is taken any more
	reserve int64 // bytes of messages without blocks
	lost    uint64
	own     *bounds // the group's
	all     *bounds // the server's
	room    *sync.Cond
	waiting int // goroutines in room.Wait, guarded by mu

	// holds: proposals wait for a turn that something else brings about (Replica.Holds).
	holds bool
	held  int64 // bytes of proposals among in
}

func newInbox(own, all *bounds) *inbox {
	b := &inbox{in: new(Inputs), spare: new(Inputs), own: own, all: all}
	b.room = sync.NewCond(&b.mu)
	return b
}

// admit accounts for bytes at the door, or refuses them. The caller holds mu.
func (b *inbox) admit(bytes int64, proposal bool) error {
	if err := b.door(bytes, proposal); err != nil {
		return err
	}
	b.own.inbox.add(bytes)
	b.all.inbox.add(bytes)
	b.in.bytes += bytes
	return nil
}

// door says why bytes more find no room, after counting it at the bound that is full. The caller holds mu.
func (b *inbox) door(bytes int64, proposal bool) error {
	if b.closed != nil {
		return b.closed
	}
	for _, s := range [...]*bounds{b.own, b.all} {
		if b.waiting > 0 || s.inbox.full(bytes) {
			s.inbox.refused.Add(1)
			return ErrBusy
		}
		if proposal && s.uncommitted.full(bytes) {
			s.uncommitted.refused.Add(1)
			return ErrBusy
		}
		if s.behind.Load() || s.unapplied.full(bytes) {
			s.unapplied.refused.Add(1)
			return ErrBusy
		}
	}
	return nil
}

// proposalSize is what a proposal counts as.
func proposalSize(command int) int64 { return int64(command) + entryOverhead }

// refuses says why a command of so many bytes would be refused now.
func (b *inbox) refuses(command int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.door(proposalSize(command), true)
}

// propose takes a proposal; wake says whether a turn should follow for its sake.
func (b *inbox) propose(p Proposal, done Completion) (wake bool, err error) {
	bytes := proposalSize(len(p.Command))
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.admit(bytes, true); err != nil {
		return false, err
	}
	b.in.proposals = append(b.in.proposals, proposal{Proposal: p, done: done, bytes: bytes})
	b.held += bytes
	return !b.holds || b.held >= holdBytesMax, nil
}

// hold says whether proposals wait from now on, and puts those back in front that the turn left for a later one. wake
// says whether some are there that should not wait.
func (b *inbox) hold(holds bool, in *Inputs) (wake bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holds = holds
	done := in.bytes
	if rest := in.proposals[in.proposed:]; len(rest) > 0 {
		var bytes int64
		for i := range rest {
			bytes += rest[i].bytes
		}
		done -= bytes
		b.in.bytes += bytes
		b.held += bytes
		b.in.proposals = slices.Insert(b.in.proposals, 0, rest...)
	}
	in.Reset() // what no longer counts must not be held on to until the next turn
	b.own.inbox.add(-done)
	b.all.inbox.add(-done)
	if b.waiting > 0 {
		b.room.Broadcast()
	}
	return len(b.in.proposals) > 0 && (!holds || b.held >= holdBytesMax)
}

// size is what a query counts as, from the door until it is answered.
func (q *query) size() int64 { return int64(len(q.query)) + entryOverhead }

func (b *inbox) query(q query) error {
	bytes := q.size()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.admit(bytes, false); err != nil {
		return err
	}
	b.in.queries = append(b.in.queries, q)
	return nil
}

// admitLocal accounts for a read that goes to the apply lane without a turn, and is given back by its job.
func (b *inbox) admitLocal(bytes int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.admit(bytes, false)
	if err == nil {
		b.in.bytes -= bytes // no turn takes it out
	}
	return err
}

func (b *inbox) snapshot(done Completion) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return b.closed
	}
	b.in.snapshots = append(b.in.snapshots, done)
	return nil
}

// message takes a message of a peer. One that carries blocks waits until there is room, which holds up its lane alone;
// the others have room of their own. It finds room where nothing else waits for the next turn, and nothing is let in before it: reads
// that count until they are answered must not keep a follower's log from growing. It returns false, with the message not taken, where
// it would have to wait and may not.
func (b *inbox) message(m raft.Message, mayWait bool) bool {
	var bytes int64
	for i := range m.Blocks {
		bytes += int64(m.Blocks[i].Size())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if bytes == 0 {
		if b.closed != nil || b.reserve+messageOverhead > reserveBytesMax {
			b.lost++
			return true
		}
		b.reserve += messageOverhead
		b.in.Messages = append(b.in.Messages, m)
		return true
	}
	for b.closed == nil && b.in.bytes > 0 && (b.own.inbox.full(bytes) || b.all.inbox.full(bytes)) {
		if !mayWait {
			return false
		}
		b.waiting++
		b.room.Wait()
		b.waiting--
	}
	if b.closed != nil {
		return true
	}
	b.own.inbox.add(bytes)
	b.all.inbox.add(bytes)
	b.in.bytes += bytes
	b.in.Messages = append(b.in.Messages, m)
	return true
}

// finished takes a completion. It has room always: each stands for a job that the replica itself has asked for.
func (b *inbox) finished(j Job) {
	b.mu.Lock()
	b.in.Finished = append(b.in.Finished, j)
	b.mu.Unlock()
}

func (b *inbox) unreachable(peer raft.Member) {
	b.mu.Lock()
	if n := len(b.in.Unreachable); b.closed == nil && (n == 0 || b.in.Unreachable[n-1] != peer) && n < 1024 {
		b.in.Unreachable = append(b.in.Unreachable, peer)
	}
	b.mu.Unlock()
}

// fetched takes how much a server was given of a snapshot. No turn follows for its sake, and of one server only the last stands.
func (b *inbox) fetched(f Fetched) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.in.Fetched {
		if b.in.Fetched[k].By == f.By {
			b.in.Fetched[k] = f
			return
		}
	}
	if b.closed == nil && len(b.in.Fetched) < 1024 {
		b.in.Fetched = append(b.in.Fetched, f)
	}
}

// stop lets nothing more in and tells the replica to end.
func (b *inbox) stop(why error) {
	b.mu.Lock()
	b.in.stop = why
	b.shut(fenced(why))
	b.mu.Unlock()
}

// shut lets nothing more in; completions still come. The caller holds mu.
func (b *inbox) shut(why error) {
	if b.closed == nil {
		b.closed = why
	}
	b.room.Broadcast()
}

// drain takes everything that has arrived; it goes on counting as queued until hold ends the turn, because part of it may
// come back. The result is good until the next drain. A nil result means that there was nothing.
func (b *inbox) drain() *Inputs {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.in.empty() {
		return nil
	}
	in := b.in
	b.spare.Reset()
	b.in, b.spare = b.spare, in
	in.mayWait, in.mayLeave = b.held < holdBytesMax, true
	b.held, b.reserve = 0, 0
	return in
}
