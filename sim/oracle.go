package sim

import (
	"slices"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// oracle is what an observer of the whole cluster has seen since the beginning, crashes or not.
type oracle struct {
	w      *world
	groups []*groupOracle
	ops    []*op // by number, from 1
}

// groupOracle is the part of one group.
type groupOracle struct {
	w         *world
	group     raft.GroupID
	resultMax int
	mirrors   []*mirror // by host, from 1
	blocks    map[*byte][]uint64

	leaders     map[raft.Term]int // by term, the host that led it
	termMax     raft.Term
	votes       map[ballot]candidate
	given       map[given]bool
	handed      map[given]bool // who was told to take over from the leader of a term
	places      map[place]stood
	committed   []uint64 // chain hash behind each index that anyone called committed; 0: not known
	commitMax   raft.Index
	committedBy map[raft.Term]raft.Index // by the leader of a term, the most
	numbers     map[uint32]raft.Index    // of committed commands

	snapshots map[raft.Index]raft.SnapshotMeta // that pointers have named

	messages int // sent by its replicas
	offers   map[offer]bool

	memberships []raft.MembershipAt // that are committed, in order
	ambush      *Ambush             // nil: none waits
	hopes       []func()            // of those who wait for a leader
	twinsMet    bool                // two servers of one id have stood for election, or were meant to

	changes []change // of the application, in order
	keys    [keysMax]keyHistory
	told    uint64    // the largest count of changes that any client has been told of
	telling []telling // when it grew
}

type ballot struct {
	store raft.StoreID
	term  raft.Term
}

// given is a vote that was ever given, also by a store that has forgotten it since.
type given struct {
	ballot
	to candidate
}

// candidate is whom a vote is for.
type candidate struct {
	id    raft.ServerID
	store raft.StoreID
}

// offer is one snapshot that was offered to one follower after the last fault.
type offer struct {
	to    candidate
	index raft.Index
}

type place struct {
	index raft.Index
	term  raft.Term
}

type stood struct {
	chain  uint64
	number uint32 // of the command
}

// look is a replica as it shows itself.
type look struct {
	role              raft.Role
	term              raft.Term
	leader            raft.ServerID
	commit, applied   raft.Index
	first, next       raft.Index
	snapshot          raft.Index
	time              int64
	uncommitted       int64
	unapplied         int64
	tail, inflight    int64
	born, needsBackup bool
	membership        raft.Membership
	membershipIndex   raft.Index
	lease             bool
	leaseEnd          time.Duration
}

func (r *replica) look() look {
	st := r.r.Status()
	l := look{
		role: st.Role, term: st.Term, leader: st.Leader, commit: st.Commit, applied: st.Status.Applied, first: st.First, next: st.Next,
		snapshot: st.Snapshot, time: st.ClusterTime, uncommitted: st.Uncommitted.Bytes, unapplied: st.Unapplied.Bytes,
		born: st.Born, needsBackup: st.NoSnapshot != nil, tail: st.TailBytes, membership: st.Status.Membership, membershipIndex: st.Status.MembershipIndex, lease: st.Lease,
		leaseEnd: st.LeaseEnd,
	}
	for k := range st.Progress {
		l.inflight = max(l.inflight, int64(st.Progress[k].InflightBytes))
	}
	return l
}

// seen is a replica as the last check left it, and what this turn may bring.
type seen struct {
	look
	bound raft.Index // the messages of this turn verify the log up to here
	cut   bool       // its log was cut in this life
	asked *server.FetchJob
	ended bool
}

func (s *seen) begin(r *replica) { *s = seen{look: r.look()} }

func newOracle(w *world) *oracle {
	o := &oracle{w: w}
	for g := range w.plan.Groups {
		og := &groupOracle{
			w: w, group: raft.GroupID(g + 1), resultMax: int(w.plan.Limits.ResultBytesMax), blocks: map[*byte][]uint64{},
			leaders: map[raft.Term]int{}, votes: map[ballot]candidate{}, given: map[given]bool{}, handed: map[given]bool{}, places: map[place]stood{},
			committed: make([]uint64, 1, 512), committedBy: map[raft.Term]raft.Index{}, numbers: map[uint32]raft.Index{},
			snapshots: map[raft.Index]raft.SnapshotMeta{}, offers: map[offer]bool{},
		}
		o.groups = append(o.groups, og)
	}
	return o
}

// formatted forgets what a store held. Its promises of old stay: what it has acknowledged counts as having been there.
func (o *oracle) formatted(h *host) {
	for _, g := range o.groups {
		m := g.mirrors[h.number-1]
		if m.disk.next() > 1 {
			former := m.disk
			m.former = &former
		}
		*m = mirror{now: newImage(), disk: newImage(), former: m.former, store: h.identity.Store}
	}
}

// restarted holds what a store has after a crash against what its saves have promised: everything that was saved, and of
// what was being saved the first updates, each of them whole.
func (o *oracle) restarted(h *host, group raft.GroupID) error {
	g := o.groups[group-1]
	m := g.mirrors[h.number-1]
	if m.relearn {
		return g.relearn(h)
	}
	st, err := h.store.log().Load(group)
	if err != nil {
		return err
	}
	found := m.disk.clone()
	for k := 0; !found.is(&st); k++ {
		if k == len(m.pending) {
			o.w.fail(checkDurable, "server %d group %d: term %d, log %d to %d, snapshot %d are in the store, saved were term %d, log to %d, snapshot %d, and %d updates were under way",
				h.id, group, st.Hard.Term, st.First, st.Next, st.Snapshot.Index, m.disk.hard.Term, m.disk.next(), m.disk.snapshot.Index, len(m.pending))
			return nil
		}
		found.apply(g, &m.pending[k])
		if k == 0 {
			o.w.saw(sawTornSave)
		}
	}
	found.first = st.First
	m.disk, m.now, m.pending = found, found.clone(), nil
	return nil
}

// is reports whether a store holds what the image says.
func (m *image) is(st *persistentlog.State) bool {
	_, chain, _ := m.at(m.next() - 1)
	return m.hard == st.Hard && m.next() == st.Next && chain == st.Chain && m.snapshot.Index == st.Snapshot.Index && m.birth == !st.Birth.IsZero()
}

// write has the log write what goes into one call, and notes it.
func (h *host) write(call []queuedSave) error {
	updates := make([]persistentlog.Update, len(call))
	for i, q := range call {
		updates[i] = q.j.Update()
		q.r.mirror.pending = append(q.r.mirror.pending, updates[i])
	}
	return h.store.log().Save(updates)
}

// saved notes that a save is durable.
func (o *groupOracle) saved(r *replica, j *server.SaveJob) {
	u := j.Update()
	r.mirror.disk.apply(o, &u)
	r.mirror.pending = r.mirror.pending[1:]
}

// arriving notes how far the messages of a turn verify the log.
func (o *groupOracle) arriving(r *replica) {
	r.seen.bound = 0
	for i := range r.in.Messages {
		m := &r.in.Messages[i]
		switch m.Type {
		case raft.MessageAppendRequest:
			r.seen.bound = max(r.seen.bound, m.Next-1)
		case raft.MessageHeartbeatRequest:
			r.seen.bound = max(r.seen.bound, m.PrevIndex)
		case raft.MessageSnapshotOffer:
			r.seen.bound = max(r.seen.bound, m.Snapshot.Index)
		}
	}
}

// turned looks at a replica after a turn.
func (o *groupOracle) turned(r *replica, work *server.Work) {
	w := o.w
	if r.r.Err() != nil {
		if len(work.Sends) > 0 || len(work.Jobs) > 0 {
			w.fail(checkSilent, "server %v group %d sends %d messages", r.h, o.group, len(work.Sends))
		}
		r.seen.ended = true
		return
	}
	st := r.look()
	for _, j := range work.Jobs {
		if save, ok := j.(*server.SaveJob); ok {
			o.asked(r, &st, save.Update())
		}
	}
	for _, c := range turnChecks {
		if err := c.turn(r, &st); err != nil {
			w.fail(c, "server %v group %d: %v", r.h, o.group, err)
		}
	}
	o.witness(r, &st, work)
	o.reformed(r, &st, work)
	cut, asked := r.seen.cut, r.seen.asked
	r.voters = r.seen.membership
	r.seen = seen{look: st, cut: cut, asked: asked}
}

// asked takes in what a turn wants saved.
func (o *groupOracle) asked(r *replica, st *look, u persistentlog.Update) {
	w, m := o.w, &r.mirror.now
	if u.Snapshot != nil {
		r.seen.bound = max(r.seen.bound, u.Snapshot.Index)
		o.pointer(r, u.Snapshot)
	}
	if u.Installed {
		w.saw(sawSnapshotInstalled)
		if !r.h.in(r.seen.membership.Voters) {
			r.h.installed = true
			w.saw(sawNewcomerInstalled)
		}
		if len(r.mirror.pending) > 0 || len(r.h.writer.queue) > 0 {
			w.saw(sawInstalledBesideSaves)
		}
		for _, q := range slices.Concat(r.h.writer.flying, r.h.writer.queue) {
			if q.r == r && q.cuts() {
				w.saw(sawInstalledOverTruncation)
			}
		}
	}
	if len(u.Blocks) > 0 && u.Blocks[0].First() < m.next() && !u.Installed {
		r.seen.cut = true
		w.saw(sawTruncation)
		if st.role == raft.RoleLeader && r.seen.role == raft.RoleLeader && st.term == r.seen.term {
			w.fail(checkAppendOnly, "server %v group %d leads term %d and replaces index %d", r.h, o.group, st.term, u.Blocks[0].First())
		}
	}
	if u.Hard != nil && u.Hard.Lost && !m.hard.Lost && !r.h.mayLose() {
		w.fail(checkLostLog, "server %v group %d believes that its log is lost, and no fault has touched it", r.h, o.group)
	}
	before := len(m.members)
	m.apply(o, &u)
	if before > 1 && len(m.members) < before && !u.Installed {
		w.saw(sawMembershipCut)
	}
	for i := range u.Blocks {
		o.appended(r, st, &u.Blocks[i])
		o.membershipAppended(r, st, &u.Blocks[i])
	}
}

// appended looks at a block that comes to a log.
func (o *groupOracle) appended(r *replica, st *look, b *raft.Block) {
	w := o.w
	before, _, ok := r.mirror.now.at(b.First() - 1)
	if b.Term() > st.term || ok && before > b.Term() {
		w.fail(checkTerms, "server %d group %d: index %d is of term %d, before it stands term %d, and the server is in term %d",
			r.h.id, o.group, b.First(), b.Term(), before, st.term)
	}
	at := place{b.First(), b.Term()}
	var bodies []uint32
	for _, chain := range o.chainsOf(b) {
		was, known := o.places[at]
		if known && was.chain != chain {
			w.fail(checkMatching, "server %v group %d: index %d, term %d has two histories", r.h, o.group, at.index, at.term)
		}
		if !known {
			if bodies == nil {
				bodies = numbersOf(b)
			}
			o.places[at] = stood{chain, bodies[at.index-b.First()]}
		}
		at.index++
	}
}

// numbersOf returns the number of each command in a block, zero for other entries.
func numbersOf(b *raft.Block) []uint32 {
	numbers := make([]uint32, 0, b.Meta().Count)
	for body := range b.Entries() {
		n := uint32(0)
		if b.Kind() == raft.KindCommand {
			if c, err := wire.DecodeCommand(body); err == nil && len(c.Command) >= commandBytes {
				n = decodeCommand(c.Command).number
			}
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// commit notes that an index is committed, for the first time anywhere.
func (o *groupOracle) commit(i raft.Index, term raft.Term, chain uint64) {
	for raft.Index(len(o.committed)) <= i {
		o.committed = append(o.committed, 0)
	}
	o.committed[i] = chain
	o.commitMax = max(o.commitMax, i)
	if n := o.places[place{i, term}].number; n != 0 {
		if _, twice := o.numbers[n]; twice {
			o.w.saw(sawDuplicateCaught)
		}
		o.numbers[n] = i
	}
}

// pointer looks at a snapshot that a pointer is to name.
func (o *groupOracle) pointer(r *replica, s *raft.SnapshotMeta) {
	o.snapshotMembership(r, s)
	if s.Index < raft.Index(len(o.committed)) && o.committed[s.Index] != 0 && o.committed[s.Index] != s.Chain {
		o.w.fail(checkSnapshot, "server %v group %d: the snapshot at %d has another history than what was committed", r.h, o.group, s.Index)
	}
	if was, ok := o.snapshots[s.Index]; ok && !was.Same(*s) && o.w.plan.guest == nil {
		o.w.fail(checkSnapshot, "server %v group %d: the snapshot at %d has %d bytes with checksum %08x, and another one has %d with %08x",
			r.h, o.group, s.Index, s.Size, s.Checksum, was.Size, was.Checksum)
	}
	o.snapshots[s.Index] = *s
	if s.Index > o.commitMax {
		o.w.fail(checkSnapshot, "server %v group %d: a snapshot at %d, and %d is committed", r.h, o.group, s.Index, o.commitMax)
	}
}
