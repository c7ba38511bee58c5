package raft

import "time"

// host is a server around a Node as the tests play it: it carries Actions out in the order that the package demands and
// nothing more cleverly than that.
type host struct {
	c       *cluster
	id      ServerID
	life    int // how often its disk was formatted
	config  Config
	disk    disk
	damaged bool // its snapshot's file, when it starts next
	wiped   bool // a stranger: the group knows another disk of it
	former  disk // that one; what it acknowledged in its last moment may still count

	// All below belongs to one run of the process.
	run          RunID
	node         *Node // nil: not running
	pausedUntil  time.Duration
	late         time.Duration // how late its timers wake it
	diskStalled  bool
	hungUntil    time.Duration // saves that begin before complete after it
	log          logbook       // the Node's log, saved or not
	pending      []diskUpdate
	lastSaveAt   time.Duration
	waiting      []Send
	machine      machine
	appliedTo    Index // asked to be applied, or applied
	restore      *SnapshotMeta
	reads        []Read
	compactedTo  Index
	needSnapshot bool
	seen         seen
	bound        Index // commit may come to here at most by this turn's messages

	changeEnds   []ChangeEnded
	transferEnds []TransferEnded

	dueEvery int64 // its state machine has something due at each multiple of this; zero: never
}

// machine is a state machine that knows nothing but what came: the chain hash is its state.
type machine struct {
	index        Index
	term         Term
	time         int64
	chain        uint64
	membership   Membership
	membershipAt Index
}

func (h *host) start() {
	c := h.c
	h.disk.store = storeOf(h.id, h.life)
	h.config.Store = h.disk.store
	run := RunID(c.rng.Uint64() | 1)
	h.config.Run = run
	*h = host{c: c, id: h.id, life: h.life, config: h.config, disk: h.disk, run: run, late: h.late, dueEvery: h.dueEvery, damaged: h.damaged, wiped: h.wiped, former: h.former}
	h.log = h.disk.log.clone()
	node, err := NewNode(h.config, h.disk.state(), c.now)
	if err != nil {
		c.fail("server %d does not start: %v", h.id, err)
	}
	h.node = node
	h.machine = machine{membership: h.disk.birth.Membership}
	if s := h.disk.snapshot; !s.IsZero() {
		h.machine = machine{s.Index, s.Term, s.Time, s.Chain, s.Membership, s.MembershipIndex}
	}
	h.appliedTo = h.machine.index
	h.seen.begin(h)
	if h.damaged && !h.disk.snapshot.IsZero() {
		h.damaged, h.needSnapshot = false, true
		node.NeedSnapshot(c.now, true)
	}
	h.endTurn()
}

// crash ends the run. Of the saves under way the first kept ones have come to the disk, unreported.
func (h *host) crash(kept int) {
	for k := 0; k < len(h.pending) && k < kept; k++ {
		h.disk.save(h.pending[k])
	}
	h.node, h.pending, h.waiting = nil, nil, nil
	h.c.history.crashed(h)
}

// wake is when its timer wakes it.
func (h *host) wake() time.Duration {
	at := h.node.Deadline()
	if at == Never {
		return Never
	}
	return max(at+h.late, h.pausedUntil)
}

// instant gives the host what has come for it, and its Tick if that is due.
func (h *host) instant(events []event) {
	c := h.c
	if c.now < h.pausedUntil {
		for _, e := range events {
			c.schedule(h.pausedUntil, e.host, e.run, e.do)
		}
		return
	}
	for _, e := range events {
		if h.node == nil || e.run != 0 && e.run != h.run {
			continue
		}
		e.do(h)
		if h.node != nil && c.chance(c.pace.split) {
			h.endTurn()
		}
	}
	if h.node == nil {
		return
	}
	if len(events) == 0 && c.now < h.wake() {
		return
	}
	h.endTurn()
}

// endTurn ticks if that is due, takes the Actions and carries them out.
func (h *host) endTurn() {
	c := h.c
	if c.now >= h.node.Deadline() {
		h.node.Tick(c.now)
	}
	h.node.CacheFrom(Index(max(int64(h.log.first), int64(h.node.trail.next)-int64(c.pace.cacheLag))))
	a := h.node.Actions()
	if a.Fault != nil {
		c.fail("server %d: %v", h.id, a.Fault)
	}
	for _, t := range a.Traces {
		c.logTrace(h, t)
		switch t.Kind {
		case TraceTruncated:
			c.history.totals.truncations++
		case TraceInstalled:
			c.history.totals.installs++
		}
	}
	if a.ChangeEnded != nil {
		if at := a.ChangeEnded.At; at.Index > a.Commit || at.Membership.Changing() || a.Role != RoleLeader {
			c.fail("server %d says that a change has ended with %v, and %d is committed", h.id, at, a.Commit)
		}
		h.changeEnds = append(h.changeEnds, *a.ChangeEnded)
		if c.transcript != nil {
			c.logf("%d: the change has ended: %s", h.id, encodeMembership(a.ChangeEnded.At.Membership))
		}
	}
	if a.TransferEnded != nil {
		h.transferEnds = append(h.transferEnds, *a.TransferEnded)
		c.logf("%d: the transfer to %d has ended: %v", h.id, a.TransferEnded.To, a.TransferEnded.Err)
	}
	h.takeSave(&a.Save, a.Membership)
	for _, s := range a.Sends {
		if s.Wait > h.node.saves.issued {
			c.fail("server %d: a message waits for save %d, which is not asked for", h.id, s.Wait)
		}
		s.Message.Blocks = h.blocksFor(s.Message)
		if s.Wait > h.node.saves.done {
			h.waiting = append(h.waiting, s)
			continue
		}
		c.transmit(h, s.Message)
	}
	for _, f := range a.Fills {
		c.history.totals.fills++
		c.schedule(c.now+c.pace.fill+c.between(c.pace.disk), h.id, h.run, func(h *host) { h.fill(f) })
	}
	for _, r := range a.Reads {
		h.reads = append(h.reads, r)
		c.history.read(h, r)
		c.logRead(h, r)
	}
	if !a.Restore.IsZero() {
		meta := a.Restore
		h.restore = &meta
	}
	if !a.Install.Snapshot.IsZero() {
		h.fetch(a.Install)
	}
	if a.Commit > h.seen.commit {
		c.logf("%d: commit %d", h.id, a.Commit)
	}
	h.apply(a.Commit)
	c.checkInvariants(h)
}

func (h *host) blocksFor(m Message) []Block {
	if m.Type != MessageAppendRequest || m.First == m.Next {
		return nil
	}
	if m.First < h.log.first || m.Next > h.log.next() {
		h.c.fail("server %d sends entries [%d,%d) of a log of [%d,%d)", h.id, m.First, m.Next, h.log.first, h.log.next())
	}
	return h.log.blocks(m.First, m.Next)
}

// takeSave completes the blank blocks, brings the log up to date and hands the save to the disk.
func (h *host) takeSave(s *Save, membership *MembershipAt) {
	if s.Seq == 0 {
		return
	}
	c := h.c
	u := diskUpdate{save: *s}
	if s.Snapshot != nil && s.Installed {
		h.log.reset(*s.Snapshot)
	}
	for _, b := range s.Blocks {
		entries := h.entriesOf(b, membership)
		if len(u.entries) == 0 {
			u.first = b.First()
		} else if b.First() != u.first+Index(len(u.entries)) {
			c.fail("server %d: save %d has a gap before %d", h.id, s.Seq, b.First())
		}
		if b.First() < h.log.first || b.First() > h.log.next() {
			c.fail("server %d: save %d continues a log of [%d,%d) at %d", h.id, s.Seq, h.log.first, h.log.next(), b.First())
		}
		h.log.put(b.First(), entries)
		u.entries = append(u.entries, entries...)
	}
	u.save.Blocks = nil
	c.history.appended(h, u)
	h.pending = append(h.pending, u)
	c.logSave(h, u)
	if !h.diskStalled {
		h.scheduleSave()
	}
}

// entriesOf encodes a blank, or checks that what came from a leader continues this log by its chain hash.
func (h *host) entriesOf(b Block, membership *MembershipAt) []entry {
	chain, ok := h.log.chainAfter(b.First() - 1)
	if !ok {
		h.c.fail("server %d: entries at %d continue nothing", h.id, b.First())
	}
	if !b.IsBlank() {
		if b.Chain() != chain {
			h.c.fail("server %d: log matching broken before %d", h.id, b.First())
		}
		return entriesOf(b)
	}
	buf := make([]byte, BlockHeaderSize)
	for range b.Meta().Count {
		var body []byte
		if b.Kind() == KindMembership {
			if membership == nil || membership.Index != b.First() {
				h.c.fail("server %d: the membership of entry %d is not told", h.id, b.First())
			}
			body = encodeMembership(membership.Membership)
		}
		if b.Kind() == KindCommand {
			h.c.words++
			body = []byte{byte(h.c.words >> 16), byte(h.c.words >> 8), byte(h.c.words)}
		}
		buf = AppendEntry(buf, body)
	}
	meta := b.Meta()
	meta.Chain = chain
	return entriesOf(NewBlock(meta, buf))
}

func (h *host) scheduleSave() {
	c := h.c
	if h.hungUntil > c.now {
		h.lastSaveAt = max(h.lastSaveAt, h.hungUntil)
	}
	h.lastSaveAt = max(h.lastSaveAt, c.now+c.between(c.pace.disk))
	c.schedule(h.lastSaveAt, h.id, h.run, func(h *host) { h.saved() })
}

// saved completes the oldest save: first what waited for it may leave, then the Node hears of it.
func (h *host) saved() {
	if len(h.pending) == 0 {
		return
	}
	u := h.pending[0]
	h.pending = h.pending[1:]
	h.disk.save(u)
	kept := h.waiting[:0]
	for _, s := range h.waiting {
		if s.Wait > u.save.Seq {
			kept = append(kept, s)
			continue
		}
		h.c.transmit(h, s.Message)
	}
	h.waiting = kept
	h.node.Saved(h.c.now, u.save.Seq)
	if h.restore != nil && u.save.Snapshot != nil && u.save.Snapshot.Index == h.restore.Index {
		h.restoreMachine()
	}
	if u.save.Snapshot != nil {
		h.compact()
	}
}

func (h *host) propose(count uint32) (Index, error) {
	return h.node.Propose(h.c.now, KindCommand, count, BlockHeaderSize+int(count)*5)
}

func (h *host) read(id ReadID) error {
	h.c.history.reading(h, id)
	return h.node.ReadIndex(h.c.now, id)
}

// timeout makes the election timer run out.
func (h *host) timeout() {
	h.node.election.at = h.c.now
	h.endTurn()
}

// applied reports where the state machine is and what falls due next.
func (h *host) applied() {
	due := int64(0)
	if h.dueEvery > 0 {
		due = (h.machine.time/h.dueEvery + 1) * h.dueEvery
	}
	h.node.Applied(h.c.now, h.machine.index, due, h.dueEvery > 0)
}
