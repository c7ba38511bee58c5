package raft

import "time"

// A read is linearizable when the leader, after it was asked, learns from a quorum that it still led, and the state
// machine then holds everything committed when it was asked (dissertation 6.4). One round of heartbeats is in flight at
// a time; all reads that arrive meanwhile share the next one.

type pendingRead struct {
	id     ReadID
	from   peer  // who asked; the zero value: this server itself
	run    RunID // of who asked,
	number Round // and of its question
	round  Round // zero: not yet assigned to a round
	index  Index
}

type sentRound struct {
	round Round
	at    time.Duration
	basis time.Duration // when the round that this one's messages say is confirmed had become so; zero: before a pause, or never
}

// ReadIndex asks for a linearizable read, on any server of the group: one that does not lead asks the leader. The decision comes
// out in Actions.Reads, in this turn or a later one, exactly once: the index to wait for, or ErrNotLeader when leadership
// was lost first, or when no leader answered within two election timeouts. If the error returned here is not nil nothing follows.
func (n *Node) ReadIndex(now time.Duration, id ReadID) error {
	if !n.input(now) {
		return ErrFault
	}
	if n.role != RoleLeader {
		n.ask(id)
		return nil
	}
	n.lead.reads = append(n.lead.reads, pendingRead{id: id})
	return nil
}

// hasAuthority reports whether a round that began within the last ElectionTimeoutMin, and after the last pause, was
// confirmed by a quorum.
func (n *Node) hasAuthority(now time.Duration) bool {
	l := &n.lead
	return n.role == RoleLeader && l.confirmed >= l.authority && l.confirmed > 0 && now-l.quorumAt < n.config.ElectionTimeoutMin
}

// ownTermCommitted reports whether an entry of the leader's own term is committed. Before that its commit index may be
// behind what an earlier leader answered, so it serves no read (dissertation 6.4 step 1).
func (n *Node) ownTermCommitted() bool { return n.commit >= n.lead.noop }

// startRound opens a round if reads wait for one and none is in flight for reads, or if a heartbeat is due.
func (n *Node) startRound() {
	l := &n.lead
	now := n.clock.now
	wanted := l.beat
	if n.ownTermCommitted() && l.readRound <= l.confirmed {
		for k := range l.reads {
			if l.reads[k].round == 0 {
				wanted = true
				break
			}
		}
	}
	if !wanted {
		return
	}
	l.round++
	l.rounds = append(l.rounds, sentRound{round: l.round, at: now, basis: l.confirmedAt})
	if n.ownTermCommitted() {
		for k := range l.reads {
			if l.reads[k].round == 0 {
				l.reads[k].round, l.reads[k].index = l.round, n.commit
				l.readRound = l.round
			}
		}
	}
	l.beat = false
	l.heartbeatAt = now + n.config.HeartbeatInterval
	for _, p := range l.progress {
		n.sendHeartbeat(p)
	}
	n.confirmRounds()
}

func (n *Node) sendHeartbeat(p *progress) {
	m := Message{
		Type: MessageHeartbeatRequest, To: p.member.ID, ToStore: p.member.Store, Term: n.hard.Term,
		Round: n.lead.round, Confirmed: n.lead.confirmed, Time: n.clock.stamp(),
	}
	if commit := min(n.commit, p.match); commit > 0 {
		if term, ok := n.trail.termAt(commit); ok {
			m.Commit, m.PrevIndex, m.PrevTerm = commit, commit, term
			if p.left != 0 && commit >= p.left && p.farewell == 0 {
				p.farewell = m.Round
			}
		}
	}
	n.sendNow(m, 0)
}

func (n *Node) handleHeartbeatResponse(now time.Duration, m *Message) {
	p := n.respondent(now, m)
	if p == nil {
		return
	}
	if n.hasForgotten(p, m) {
		return
	}
	p.priority, p.promise = m.Priority, max(m.Promise, 0)
	n.confirmed(p, m.Round)
	if m.Match > p.match || p.state == ProgressProbe && m.Match+1 >= p.next && m.Match > 0 {
		n.takeMatch(now, p, m) // the answer to an append was lost, or is still under way
	}
	if m.WantSnapshot && p.state != ProgressSnapshot && !n.snapshot.IsZero() {
		// Beside the log, not instead of it: the follower acknowledges like any other, and this snapshot may be older
		// than the one that it cannot restore.
		n.sendOffer(p, n.snapshot)
	}
	switch {
	case p.state == ProgressSnapshot:
		if now-p.offeredAt >= n.config.HeartbeatInterval {
			n.offerSnapshot(p, p.offered)
		}
	case p.stalled(now, &n.config) && !p.has(m.LastIndex, m.LastTerm, n.hard.Term):
		n.probe(p, p.retryFrom())
		p.movedAt = now
	}
}

// confirmed takes a round that a member has confirmed.
func (n *Node) confirmed(p *progress, round Round) {
	if round <= p.round || round > n.lead.round || p.lost {
		return
	}
	p.round = round
	n.confirmRounds()
}

// confirmRounds finds the newest round that a quorum has confirmed, the leader itself being in all of them, and decides
// the reads that waited for it.
func (n *Node) confirmRounds() {
	l := &n.lead
	value := func(m Member) uint64 {
		if n.isMe(m) {
			return uint64(l.round)
		}
		if p := l.of(m.ID, m.Store); p != nil {
			return uint64(p.round)
		}
		return 0
	}
	q := n.quorum()
	confirmed := Round(q.largest(value))
	if confirmed <= l.confirmed {
		return
	}
	if !q.confirms(uint64(confirmed), value) {
		n.breakRule("a round was confirmed without a quorum")
		return
	}
	l.confirmed, l.excused, l.confirmedAt = confirmed, false, n.clock.now
	k := 0
	for ; k < len(l.rounds) && l.rounds[k].round <= confirmed; k++ {
		l.quorumAt = max(l.quorumAt, l.rounds[k].at)
		if l.rounds[k].round == confirmed {
			n.extendLease(confirmed, l.rounds[k].basis)
		}
	}
	l.rounds = append(l.rounds[:0], l.rounds[k:]...)
	n.decideReads()
}

func (n *Node) decideReads() {
	l := &n.lead
	kept := l.reads[:0]
	for _, r := range l.reads {
		if r.round != 0 && r.round <= l.confirmed {
			n.answerRead(r)
			continue
		}
		kept = append(kept, r)
	}
	l.reads = kept
}

func (n *Node) answerRead(r pendingRead) {
	if r.from == (peer{}) {
		n.decide(Read{ID: r.id, Index: r.index})
		return
	}
	n.sendNow(Message{
		Type: MessageReadIndexResponse, To: r.from.id, ToStore: r.from.store, Term: n.hard.Term, Round: r.number, Run: r.run, Commit: r.index,
	}, 0)
}

// dropReads answers every pending read of this server with ErrNotLeader: none is left in silence (tikv#4688). Other servers ask
// the next leader.
func (n *Node) dropReads() {
	for _, r := range n.lead.reads {
		if r.from == (peer{}) {
			n.decide(Read{ID: r.id, Err: ErrNotLeader})
		}
	}
	n.lead.reads = n.lead.reads[:0]
}
