package raft

import "time"

// leadState is what only a leader knows. It is made at the start of leadership and dropped with it.
type leadState struct {
	progress   []*progress // of every other member, sorted by id
	noop       Index       // the first entry of the own term
	clockEntry Index       // the clock entry under way; zero: none
	fillSeq    uint64      // never reused in a run

	round       Round // the newest sent
	confirmed   Round // the newest that a quorum has confirmed
	readRound   Round // the newest that reads wait for
	authority   Round // rounds below it were sent before a pause and prove nothing about now
	rounds      []sentRound
	electedAt   time.Duration
	quorumAt    time.Duration // when the newest confirmed round was sent
	confirmedAt time.Duration // when the newest round became confirmed; zero: before a pause, or never
	leaseEnd    time.Duration
	noLease     bool          // a transfer was begun in this term
	transfer    *transfer     // under way; nil: none
	priorityAt  time.Duration // not before this does it hand over to a higher priority
	readyAt     time.Duration // since when nothing but a majority of the new voters is missing; zero: more is
	forced      bool          // the change that is open was asked for in spite of everything
	ended       Index         // the membership that ChangeEnded was last said of,
	endAsked    bool          // or is to be said of once more
	gaveUp      *GaveUp       // what was given up last,
	gaveUpAt    Index         // and the entry that did so
	excused     bool          // quorumAt began again after a pause, and no round was confirmed since
	heartbeatAt time.Duration
	beat        bool // a heartbeat is due in this turn
	reads       []pendingRead
}

// of returns the progress of a member, nil for a stranger.
func (l *leadState) of(id ServerID, store StoreID) *progress {
	for _, p := range l.progress {
		if p.member.is(id, store) {
			return p
		}
	}
	return nil
}

// filling returns the progress of the member that a fill is for, nil if it is not wanted any more.
func (l *leadState) filling(id ServerID, store StoreID, seq uint64) *progress {
	for _, p := range l.progress {
		if p.member.is(id, store) && p.fill == seq {
			return p
		}
	}
	return nil
}

// becomeLeader begins leadership. Nothing is known of any follower, so every match starts at zero (never seeded by
// hope), and the first entry is a no-op: until it is committed the leader does not know what is.
func (n *Node) becomeLeader(now time.Duration) {
	fills := n.lead.fillSeq
	n.leadsAgain()
	n.role, n.leader = RoleLeader, peer{n.config.ID, n.config.Store}
	n.lead = leadState{
		fillSeq: fills, electedAt: now, quorumAt: now, beat: true, heartbeatAt: now, authority: 1,
		priorityAt: now + n.priorityWait(),
	}
	n.clock.run(now)
	for _, member := range n.membership().Members() {
		if !n.isMe(member) {
			n.lead.progress = append(n.lead.progress, &progress{member: member, next: n.trail.next, addedAt: now, grewAt: now})
		}
	}
	n.lead.noop = n.trail.next
	n.trace(Trace{Kind: TraceBecameLeader, Index: n.lead.noop})
	n.appendOwn(KindNoOp, 1, BlockHeaderSize+entryHeaderBytes)
}

// entryHeaderBytes is the least that an entry takes in a block beside its body.
const entryHeaderBytes = 2

// endLeadership drops everything that belonged to it. It ends because somebody began the later term next, or within its own term.
func (n *Node) endLeadership(next Term) {
	n.dropReads()
	if n.lead.transfer != nil {
		var err error
		if next == n.hard.Term {
			err = ErrTransferUnknown
		}
		n.transferEnded(n.lead.transfer, err)
	}
	n.clock.stop()
	n.lead = leadState{fillSeq: n.lead.fillSeq}
}

// leadTurn is a leader's part at the end of a turn: what arrived in it goes out together.
func (n *Node) leadTurn() {
	n.maybeCommit()
	n.changeTurn()
	n.preferOthers()
	n.transferTurn()
	if n.role != RoleLeader {
		return
	}
	n.startRound()
	for _, p := range n.lead.progress {
		n.replicate(p)
	}
}

func (n *Node) uncommittedBytes() int { return n.weights.size(n.commit+1, n.trail.next) }

// maybeCommit advances the commit index. Only an entry of our own term may be committed by counting (dissertation
// 3.6.2): an older entry on a majority can still be overwritten by a leader that never saw it (figure 3.7 there). The
// leader counts itself up to what its own disk has, and only if it is a voter.
func (n *Node) maybeCommit() {
	if n.role != RoleLeader {
		return
	}
	value := func(m Member) uint64 {
		if n.isMe(m) {
			return uint64(n.saves.durable - 1)
		}
		if p := n.lead.of(m.ID, m.Store); p != nil && !p.lost {
			return uint64(p.match)
		}
		return 0
	}
	q := n.quorum()
	index := Index(q.largest(value))
	if index <= n.commit {
		return
	}
	if term, ok := n.trail.termAt(index); !ok || term != n.hard.Term {
		return
	}
	if !q.confirms(uint64(index), value) {
		n.breakRule("an entry was committed without a quorum")
		return
	}
	n.commit = index
}

// replicate sends a member what it lacks, as far as its window allows.
func (n *Node) replicate(p *progress) {
	if p.lost || p.state == ProgressSnapshot {
		return
	}
	limit := max(n.sendable(p), p.next)
	for limit > p.next || !p.probed && p.state == ProgressProbe {
		if p.fill != 0 || p.probed || p.full(&n.config) {
			return
		}
		prevTerm, ok := n.trail.termAt(p.next - 1)
		if !ok || p.next < n.trail.first {
			n.needsSnapshot(p)
			return
		}
		if p.next < n.cacheFirst && p.next < limit {
			n.requestFill(p, limit)
			return
		}
		next := n.weights.cut(p.next, limit, n.config.MessageBytesMax)
		bytes := n.weights.size(p.next, next)
		n.sendAppend(p, n.appendMessage(p, p.next, next, prevTerm), bytes)
	}
}

// sendable returns where ends what a member may be sent: the log for who votes, and what is committed of it for who does not. A
// server without a vote of its own stands for no election. If it had more in its log than others have, it would refuse its vote to those
// who count it as a voter already, by a membership that is not committed, and nobody could ever lead them.
func (n *Node) sendable(p *progress) Index {
	if n.membership().IsVoter(p.member.ID, p.member.Store) {
		return n.trail.next
	}
	return n.commit + 1
}

func (n *Node) appendMessage(p *progress, first, next Index, prevTerm Term) Message {
	return Message{
		Type: MessageAppendRequest, To: p.member.ID, ToStore: p.member.Store, Term: n.hard.Term, PrevIndex: first - 1, PrevTerm: prevTerm,
		First: first, Next: next, Commit: n.commit, Round: n.lead.round, Confirmed: n.lead.confirmed,
		Time: n.clock.stamp(),
	}
}

func (n *Node) sendAppend(p *progress, m Message, bytes int) {
	n.noteAppend(p, m.Next, bytes)
	n.sendNow(m, 0)
}

// noteAppend accounts for an append that leaves: in Stream it opens the way for the next one, a probe waits for its answer.
func (n *Node) noteAppend(p *progress, next Index, bytes int) {
	if p.state == ProgressProbe {
		p.probed, p.probedTo, p.movedAt = true, next, n.clock.now
		return
	}
	p.sent(n.clock.now, next, bytes)
}

func (n *Node) requestFill(p *progress, limit Index) {
	n.lead.fillSeq++
	p.fill, p.fillFirst = n.lead.fillSeq, p.next
	a := n.actions()
	a.Fills = append(a.Fills, Fill{
		To: p.member.ID, ToStore: p.member.Store, Seq: p.fill, First: p.next, Next: limit, MaxBytes: n.config.MessageBytesMax,
	})
}

// Filled reports the end of the Fill of that To, ToStore and Seq. For FillRead next is the index after the last entry read and bytes their size; if
// send is true the server puts the blocks it read into m and sends it now. Otherwise the world has moved on (another
// term, another state of the follower) and the blocks are dropped. The other results make the leader probe again, or
// offer a snapshot.
func (n *Node) Filled(
	now time.Duration, to ServerID, store StoreID, seq uint64, result FillResult, next Index, bytes int,
) (m Message, send bool) {
	if !n.input(now) || n.role != RoleLeader {
		return m, false
	}
	now = n.clock.now
	p := n.lead.filling(to, store, seq)
	if p == nil || p.lost {
		return m, false
	}
	first := p.fillFirst
	p.fill = 0
	prevTerm, ok := n.trail.termAt(first - 1)
	switch {
	case p.next != first:
		return m, false // answers overtook the read: what it found, or did not find, is there already
	case result == FillCompacted || !ok:
		n.needsSnapshot(p)
		return m, false
	case result != FillRead || next <= first || next > n.sendable(p):
		p.enter(ProgressProbe, p.retryFrom())
		p.probed, p.movedAt = true, now // paced by the next heartbeats, not at once again
		return m, false
	}
	m = n.appendMessage(p, first, next, prevTerm)
	m.Group, m.From = n.config.Group, n.config.ID
	n.noteAppend(p, next, bytes)
	return m, true
}

// respondent takes what every answer to a leader says: that the sender lives. It returns nil for an answer that has no
// effect: of another term, of a stranger, or to someone who does not lead.
func (n *Node) respondent(now time.Duration, m *Message) *progress {
	if n.learnTerm(now, m) {
		return nil
	}
	if n.role != RoleLeader || m.Term < n.hard.Term {
		return nil
	}
	p := n.lead.of(m.From, m.FromStore)
	if p != nil {
		p.heardAt, p.heard = now, true
		// Its last words may arrive after the connection to it has failed: they come by another one. Who answers what was sent later is there.
		p.gone = p.gone && m.Round <= p.goneIn
	}
	return p
}

func (n *Node) handleAppendResponse(now time.Duration, m *Message) {
	p := n.respondent(now, m)
	if p == nil {
		return
	}
	if n.hasForgotten(p, m) {
		return
	}
	n.confirmed(p, m.Round)
	if m.Reject {
		n.handleReject(p, m)
		return
	}
	n.takeMatch(now, p, m)
}

// hasForgotten reports whether a member's log ends below what it had acknowledged, or in an older term, as one does that was put
// back to an older copy. Its word counts for nothing then, until it is replaced. An answer to a round that began after match was
// acknowledged was given later than that acknowledgement, whichever connection it came by. (Run ids cannot tell: they have no
// order, and the last words of a former run may arrive after the first ones of the next.)
func (n *Node) hasForgotten(p *progress, m *Message) bool {
	short := m.LastIndex < p.match || m.Type == MessageHeartbeatResponse && m.LastTerm < p.matchTerm
	if !p.lost && (m.Round <= p.matchRound || !short) {
		return false
	}
	if !p.lost {
		p.lost = true
		n.trace(Trace{Kind: TraceLostLog, Server: m.From, Index: m.LastIndex})
	}
	n.refuse(m, RefusalLostLog)
	return true
}

// takeMatch takes up to where a member's log is this one's, durably.
func (n *Node) takeMatch(now time.Duration, p *progress, m *Message) {
	if m.Match > n.trail.last() {
		n.trace(Trace{Kind: TraceDropped, Server: m.From, Reason: "it claims a match past the end of the log"})
		return
	}
	news := p.acknowledged(now, m.Match)
	if news {
		p.matchRound = n.lead.round
		p.matchTerm, _ = n.trail.termAt(p.match)
	}
	switch p.state {
	case ProgressProbe:
		// Only an answer at or past the entry before the probe shows that the logs meet there.
		if m.Match+1 >= p.next || news {
			p.enter(ProgressStream, m.Match+1)
			n.traceProgress(p)
		}
	case ProgressSnapshot:
		if m.Match >= p.offered.Index {
			p.enter(ProgressProbe, m.Match+1)
			n.traceProgress(p)
		}
	}
	if news {
		n.maybeCommit()
	}
}

// handleReject moves back to where the logs can meet: the leader's last entry at or below the follower's hint whose term
// is at most the hint's, so that a whole term is passed in one message. It never moves below what is known to match: a
// rejection from before that is stale (etcd pull request 1207).
func (n *Node) handleReject(p *progress, m *Message) {
	if p.state == ProgressSnapshot {
		if m.PrevIndex == p.offered.Index && n.snapshot.Index > p.offered.Index {
			n.offerSnapshot(p, n.snapshot) // it could not fetch that one; a newer one is there
		}
		return
	}
	stale := m.PrevIndex <= p.match || p.state == ProgressProbe && m.PrevIndex != p.next-1
	if stale {
		return
	}
	hint, _ := n.trail.floor(min(m.HintIndex, m.PrevIndex-1), m.HintTerm)
	n.trace(Trace{Kind: TraceAppendRejected, Server: m.From, Index: hint})
	n.probe(p, max(hint, p.match)+1)
}

// probe makes the leader look for the place where the logs meet, from next on.
func (n *Node) probe(p *progress, next Index) {
	was := p.state
	p.enter(ProgressProbe, next)
	if was != ProgressProbe {
		n.traceProgress(p)
	}
}

func (n *Node) traceProgress(p *progress) {
	n.trace(Trace{Kind: TraceProgress, Server: p.member.ID, Index: p.next, Reason: p.state.String()})
}

// Unreachable reports that messages to a peer were lost. What was sent ahead of the answers is sent again, once the
// peer is heard of. A store of zero stands for every store that has the peer's id.
func (n *Node) Unreachable(now time.Duration, peer ServerID, store StoreID) {
	if !n.input(now) || n.role != RoleLeader {
		return
	}
	now = n.clock.now
	for _, p := range n.lead.progress {
		if p.member.ID != peer || !store.IsZero() && p.member.Store != store {
			continue
		}
		p.gone, p.goneIn = true, n.lead.round
		if p.state == ProgressStream {
			n.probe(p, p.match+1)
			p.probed, p.movedAt = true, now
		}
	}
}
