package raft

import (
	"fmt"
	"slices"
	"time"
)

// Node is the consensus module of one replica: Raft's rules as a value. See the package comment for how it is driven.
// It belongs to one goroutine at a time and holds no bytes of any command.
type Node struct {
	config Config

	hard   HardState
	role   Role
	leader peer
	born   bool
	birth  birthState

	trail       trail
	weights     weights
	memberships []MembershipAt // those in the log, behind the one that the log began with
	commit      Index
	applied     Index
	snapshot    SnapshotMeta
	saves       saves
	cacheFirst  Index // blocks from here on are in the server's cache

	clock    clock
	election electionState
	lead     leadState
	install  Install
	ack      *Message // the answer to this turn's appends, sent once, at its end
	ackRoom  Message
	refusal  Refused
	belonged bool // a membership with this server in it was in force in this run
	removal  Mark // the committed membership without this server that a peer told of; zero: none
	asks     askState

	preference preference

	save    Save // under construction
	hardNew bool
	bornNew bool
	out     [2]Actions // two, so that inputs of the next turn do not disturb what the server still reads
	outNow  int
	fault   error
}

// NewNode returns a Node that continues from s. It sends nothing and asks for nothing before its first Tick.
func NewNode(c Config, s State, now time.Duration) (*Node, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	n := &Node{
		config: c, hard: s.Hard, trail: newTrail(s), snapshot: s.Snapshot,
		commit: max(s.Commit, s.Snapshot.Index), applied: s.Snapshot.Index,
	}
	if err := n.checkState(s); err != nil {
		return nil, err
	}
	n.birth.value = s.Birth
	n.born = s.Birth.Complete
	n.memberships = append(n.memberships, firstMembership(s))
	for _, at := range s.Memberships {
		if at.Index > n.memberships[0].Index { // the log may begin before the snapshot ends
			n.memberships = append(n.memberships, at)
		}
	}
	n.belonged = slices.ContainsFunc(n.memberships, func(at MembershipAt) bool {
		_, ok := at.Membership.Find(c.ID, c.Store)
		return ok
	})
	n.saves.durable = n.trail.next
	n.weights.next = n.trail.next
	n.cacheFirst = n.trail.next
	n.clock.start(now, max(s.Time, s.Snapshot.Time))
	n.election.random = mix64(c.Seed ^ uint64(c.ID)*0x9e3779b97f4a7c15 ^ uint64(c.Group))
	n.restartElectionTimer(now)
	n.birth.at = now
	n.asks.number = uint64(max(now, 0)) // above all numbers of an earlier Node of this run: each takes longer than a nanosecond
	n.election.promised, n.election.promisedAt = s.Hard.Term > 0, now
	if s.Hard.Lost {
		n.trace(Trace{Kind: TraceRefusedByPeer, Server: c.ID, Refusal: RefusalLostLog})
	}
	return n, nil
}

// firstMembership is what is in force before the log's own membership entries: the snapshot's, or the birth's.
func firstMembership(s State) MembershipAt {
	if !s.Snapshot.IsZero() {
		return MembershipAt{Index: s.Snapshot.MembershipIndex, Membership: s.Snapshot.Membership}
	}
	return MembershipAt{Membership: s.Birth.Membership}
}

// checkState refuses a State that no log that keeps its promises can have loaded.
func (n *Node) checkState(s State) error {
	t := &n.trail
	switch {
	case t.first > t.next || t.first > s.Snapshot.Index+1:
		return fmt.Errorf("raft: the log holds entries %d to %d and the snapshot ends at %d: entries are missing", t.first, t.next, s.Snapshot.Index)
	case n.commit > max(t.last(), s.Snapshot.Index):
		return fmt.Errorf("raft: index %d is known to be committed and the log ends at %d", n.commit, t.last())
	case t.next <= s.Snapshot.Index:
		return fmt.Errorf("raft: the log ends at %d, below the snapshot at %d", t.last(), s.Snapshot.Index)
	case t.next > t.first && (len(t.runs) == 0 || t.runs[0].First != t.first || t.runs[0].Term == 0):
		return fmt.Errorf("raft: the trail does not begin at the log's first entry, %d", t.first)
	case t.lastTerm() > s.Hard.Term:
		return fmt.Errorf("raft: the log ends in term %d and the hard state knows term %d", t.lastTerm(), s.Hard.Term)
	case len(s.Birth.Membership.Voters) == 0 && (t.next > 1 || s.Hard.Term > 0) && s.Snapshot.IsZero():
		return fmt.Errorf("raft: the log has a history and no birth record")
	}
	for k := 1; k < len(t.runs); k++ {
		if t.runs[k].First <= t.runs[k-1].First || t.runs[k].Term <= t.runs[k-1].Term || t.runs[k].First >= t.next {
			return fmt.Errorf("raft: the trail's run at %d does not follow the one at %d", t.runs[k].First, t.runs[k-1].First)
		}
	}
	return nil
}

// Actions ends a turn: it completes what the turn's inputs began and returns what the server has to do. The result is
// good until the call after the next input's Actions; it is carried out once.
func (n *Node) Actions() *Actions {
	out := &n.out[n.outNow]
	if n.fault == nil {
		n.finishTurn()
	}
	n.closeSave(out)
	n.check()
	out.Commit, out.Role, out.Term, out.Leader = n.commit, n.role, n.hard.Term, n.leader.id
	out.Fault = n.fault
	if n.fault != nil {
		// Nothing may leave a replica whose rules broke: not even a message that waits for nothing.
		*out = Actions{Commit: out.Commit, Fault: n.fault, Traces: out.Traces, Role: out.Role, Term: out.Term}
	}
	n.clock.wake = n.Deadline()
	n.outNow = 1 - n.outNow
	n.out[n.outNow].reset()
	return out
}

func (n *Node) finishTurn() {
	if n.role == RoleLeader {
		n.leadTurn()
	}
	n.askTurn()
	n.flushAck()
}

// closeSave numbers the save under construction, if there is anything in it.
func (n *Node) closeSave(out *Actions) {
	s := &n.save
	if n.fault != nil || (!n.hardNew && !n.bornNew && len(s.Blocks) == 0 && s.Snapshot == nil) {
		return
	}
	if n.saves.issued == n.saves.done {
		n.saves.movedAt, n.saves.excused = n.clock.now, false
	}
	n.saves.issued++
	s.Seq = n.saves.issued
	if n.hardNew {
		hard := n.hard
		s.Hard = &hard
	}
	if n.bornNew {
		birth := n.birth.value
		s.Birth = &birth
	}
	s.Commit = min(n.commit, n.trail.last())
	blocks := out.Save.Blocks
	out.Save = *s
	// The two Actions swap their block slices with the one under construction, so that neither is allocated anew.
	n.save = Save{Blocks: blocks[:0]}
	n.hardNew, n.bornNew = false, false
}

func (a *Actions) reset() {
	clear(a.Sends)
	clear(a.Save.Blocks)
	*a = Actions{
		Save: Save{Blocks: a.Save.Blocks[:0]}, Sends: a.Sends[:0], Fills: a.Fills[:0],
		Reads: a.Reads[:0], Traces: a.Traces[:0],
	}
}

func (n *Node) actions() *Actions { return &n.out[n.outNow] }

// Saved reports that every save up to seq is durable.
func (n *Node) Saved(now time.Duration, seq SaveSeq) {
	if !n.input(now) || seq > n.saves.issued {
		return
	}
	n.saves.saved(n.clock.now, seq)
	switch n.role {
	case RoleCandidate:
		n.countOwnVote(now)
	case RoleLeader:
		n.maybeCommit()
	}
	if !n.born {
		n.countOwnBirth()
	}
}

// Applied reports that the state machine has come to index, and the earliest cluster time at which something in it falls
// due (hasDue false: nothing does). A machine with storage of its own comes back with what it had applied, which may be more than the
// commit index that was saved: it is committed all the same.
func (n *Node) Applied(now time.Duration, index Index, due int64, hasDue bool) {
	if !n.input(now) {
		return
	}
	n.restoredTo(index)
	n.applied = max(n.applied, index)
	n.commit = max(n.commit, min(n.applied, n.trail.last()))
	n.clock.due, n.clock.hasDue = due, hasDue
	if n.lead.clockEntry <= n.applied {
		n.lead.clockEntry = 0
	}
}

// Propose appends count entries of one kind (KindCommand or KindSession), whose block will take bytes bytes, and returns
// the index of the first. The block comes out blank in this turn's Save. Only a leader takes proposals: the error is
// ErrNotLeader, ErrTransferring while it hands over (dissertation 3.10: hold the proposals until it has), or ErrUncommittedFull
// when too much is waiting for a quorum (etcd pull request 10167). On error nothing was appended.
func (n *Node) Propose(now time.Duration, kind Kind, count uint32, bytes int) (Index, error) {
	switch {
	case !n.input(now):
		return 0, ErrFault
	case n.role != RoleLeader:
		return 0, ErrNotLeader
	case n.handing():
		return 0, ErrTransferring
	case n.uncommittedBytes() > 0 && n.uncommittedBytes()+bytes > n.config.UncommittedBytesMax:
		return 0, ErrUncommittedFull
	}
	if count == 0 || count > 1 && kind != KindCommand {
		n.breakRule("a proposal of no entry, or of several that stand alone")
		return 0, ErrFault
	}
	first := n.trail.next
	n.appendOwn(kind, count, bytes)
	return first, nil
}

// CacheFrom tells the Node from which index on the server has the log's blocks in memory. The range of an append that
// begins below comes out as a Fill.
func (n *Node) CacheFrom(first Index) { n.cacheFirst = first }

// Restoring says that the state machine is being restored from the snapshot that the Node began with, or will be, which may take long. A
// leader could answer nobody meanwhile, so that the server votes and acknowledges and does not stand for election, until Applied says
// that the machine has come to that snapshot. From Actions.Restore on that is so without a word.
func (n *Node) Restoring() { n.election.restoring = true }

// restoredTo takes how far the state machine has come.
func (n *Node) restoredTo(index Index) {
	if !n.election.restoring || index < n.snapshot.Index {
		return
	}
	n.election.restoring = false
	if n.election.at <= n.clock.now && len(n.membership().Voters) > 1 {
		n.restartElectionTimer(n.clock.now) // others may have come to theirs in this moment, too
	}
}

// NeedSnapshot says whether the state machine cannot be restored from what this server has (need true), or can again. In
// need it votes and acknowledges, gives leadership up, does not stand for election, and asks the leader for its snapshot. It is told again when a
// snapshot that was installed cannot be restored either.
func (n *Node) NeedSnapshot(now time.Duration, need bool) {
	if !n.input(now) {
		return
	}
	n.election.fetched = 0 // what was installed since did not help, or did
	if need != n.election.needSnapshot {
		n.election.needSnapshot = need
		n.restartElectionTimer(now)
		if need && n.role != RoleFollower {
			n.stepDown(now, "its state machine cannot be restored")
		}
	}
}

// input begins every input: it takes the time and reports whether the Node still works.
func (n *Node) input(now time.Duration) bool {
	if n.fault != nil {
		return false
	}
	n.passTime(now)
	return true
}

// appendOwn appends entries of the leader's own term, blank.
func (n *Node) appendOwn(kind Kind, count uint32, bytes int) {
	meta := BlockMeta{
		Group: n.config.Group, First: n.trail.next, Count: count, Term: n.hard.Term, Kind: kind, Time: n.clock.stamp(),
	}
	n.appendBlock(Blank(meta), bytes)
}

// appendBlock puts a block at the end of the log and into the save under construction.
func (n *Node) appendBlock(b Block, bytes int) {
	n.saves.appended(b.First(), b.Next())
	n.weights.add(b.First(), b.Next(), bytes)
	n.trail.append(b.Next(), b.Term())
	n.clock.heard(b.Time())
	n.save.Blocks = append(n.save.Blocks, b)
}

// truncate drops the log from index from on, and what this turn was about to save of it.
func (n *Node) truncate(from Index) {
	if from <= n.commit {
		n.breakRule("the log would be cut at or below its commit index")
		return
	}
	n.trace(Trace{Kind: TraceTruncated, Index: from})
	n.trail.truncate(from)
	n.weights.truncate(from)
	n.saves.truncated(from)
	kept := n.save.Blocks[:0]
	for _, b := range n.save.Blocks {
		if b = b.Clip(b.First(), from); b.Meta().Count > 0 {
			kept = append(kept, b)
		}
	}
	n.save.Blocks = kept
	for len(n.memberships) > 1 && n.memberships[len(n.memberships)-1].Index >= from {
		n.memberships = n.memberships[:len(n.memberships)-1]
		n.membershipChanged()
	}
}

// Memberships returns the memberships in the log, oldest first, behind the one that the log began with: the last one is in force, and of
// those below the commit index the newest is committed. The list is the caller's; what it refers to must stay as it is.
func (n *Node) Memberships() []MembershipAt { return slices.Clone(n.memberships) }

// membership is the one in force: the latest in the log, committed or not.
func (n *Node) membership() Membership { return n.memberships[len(n.memberships)-1].Membership }

func (n *Node) membershipChanged() {
	at := n.memberships[len(n.memberships)-1]
	n.actions().Membership = &at
	n.isBack(at)
	n.trace(Trace{Kind: TraceMembership, Index: at.Index})
}

// isMe reports whether a member is this very server: the id with the store that it runs on.
func (n *Node) isMe(m Member) bool { return m.is(n.config.ID, n.config.Store) }

func (n *Node) votedForItself() bool {
	return n.hard.Vote == n.config.ID && n.hard.VoteStore == n.config.Store
}

func (n *Node) quorum() quorum { return quorumOf(n.membership()) }

// setHard changes term and vote; messages that claim them wait for this turn's save. What is lost stays lost.
func (n *Node) setHard(h HardState) {
	h.Lost = h.Lost || n.hard.Lost
	if h == n.hard {
		return
	}
	n.hard, n.hardNew = h, true
	n.saves.hard = n.saves.open()
}

// send queues a message that claims the present term and waits for it, and for wait if that is later.
func (n *Node) send(m Message, wait SaveSeq) {
	n.sendNow(m, max(wait, n.saves.wait(n.saves.hard)))
}

// sendNow queues a message that waits for no more than wait.
func (n *Node) sendNow(m Message, wait SaveSeq) {
	m.Group, m.From = n.config.Group, n.config.ID
	if member, ok := n.membership().Member(m.To); ok && m.ToStore.IsZero() && m.Type != MessageRefusal {
		m.ToStore = member.Store
	}
	a := n.actions()
	a.Sends = append(a.Sends, Send{Message: m, Wait: wait})
}

func (n *Node) trace(t Trace) {
	t.Term = n.hard.Term
	a := n.actions()
	a.Traces = append(a.Traces, t)
}
