package raft

import "time"

// A server that does not lead serves linearizable reads too: it asks the leader for the index, waits until its own state
// machine has applied it, and answers itself (dissertation 6.4). All reads that arrive while a question is under way
// share the next one.

// askState is what a server that does not lead knows of its reads.
type askState struct {
	waiting []askedRead // for the next question
	asked   []askedRead // for the answer to the one under way
	number  uint64      // of the newest question; never used again in this run of the server
	sentAt  time.Duration
}

type askedRead struct {
	id ReadID
	at time.Duration // when it came
}

// ask takes a read where this server does not lead.
func (n *Node) ask(id ReadID) {
	n.asks.waiting = append(n.asks.waiting, askedRead{id: id, at: n.clock.now})
}

// askPatience is how many election timeouts a read waits for a leader's answer. It covers one election.
const askPatience = 2

// askTurn sends the question that is due, and gives up what has waited for too long.
func (n *Node) askTurn() {
	a := &n.asks
	if len(a.waiting)+len(a.asked) == 0 {
		return
	}
	now := n.clock.now
	if n.role == RoleLeader {
		n.takeAsked()
		return
	}
	a.asked, a.waiting = n.expire(a.asked), n.expire(a.waiting)
	if n.leader == (peer{}) || len(a.asked) > 0 && now < n.askAgainAt() {
		return
	}
	if len(a.asked) == 0 {
		if len(a.waiting) == 0 {
			return
		}
		a.number++
		a.asked, a.waiting = a.waiting, a.asked[:0]
	}
	a.sentAt = now
	n.sendNow(Message{
		Type: MessageReadIndexRequest, To: n.leader.id, ToStore: n.leader.store, Term: n.hard.Term, Round: Round(a.number), Run: n.config.Run,
	}, n.saves.wait(n.saves.hard))
}

// expire answers the reads that have waited for too long with ErrNotLeader, and returns the others.
func (n *Node) expire(list []askedRead) []askedRead {
	k := 0
	for ; k < len(list) && n.clock.now-list[k].at >= askPatience*n.config.ElectionTimeoutMax; k++ {
		n.decide(Read{ID: list[k].id, Err: ErrNotLeader})
	}
	return append(list[:0], list[k:]...)
}

// takeAsked makes what was to be asked this leader's own.
func (n *Node) takeAsked() {
	a := &n.asks
	for _, list := range [][]askedRead{a.asked, a.waiting} {
		for _, r := range list {
			n.lead.reads = append(n.lead.reads, pendingRead{id: r.id})
		}
	}
	a.asked, a.waiting = a.asked[:0], a.waiting[:0]
}

// askAgain makes the next turn ask again: there is another leader.
func (n *Node) askAgain() { n.asks.sentAt = n.clock.now - stallHeartbeats*n.config.HeartbeatInterval }

func (n *Node) askAgainAt() time.Duration {
	return n.asks.sentAt + stallHeartbeats*n.config.HeartbeatInterval
}

// askDeadline is when the reads that wait want the next turn.
func (n *Node) askDeadline() time.Duration {
	a := &n.asks
	at := Never
	if len(a.asked) > 0 {
		at = a.asked[0].at + askPatience*n.config.ElectionTimeoutMax
		if n.leader != (peer{}) {
			at = min(at, n.askAgainAt())
		}
	}
	if len(a.waiting) > 0 {
		at = min(at, a.waiting[0].at+askPatience*n.config.ElectionTimeoutMax)
	}
	return at
}

// questionsMax is how many questions of one member a leader keeps; a member has one under way.
const questionsMax = 4

// handleReadIndexRequest takes a member's question as a read of its own.
func (n *Node) handleReadIndexRequest(now time.Duration, m *Message) {
	if n.learnTerm(now, m) || n.role != RoleLeader || m.Term < n.hard.Term {
		return
	}
	if n.lead.of(m.From, m.FromStore) == nil {
		return
	}
	question := pendingRead{from: m.sender(), run: m.Run, number: m.Round}
	count, oldest := 0, -1
	for k, r := range n.lead.reads {
		if r.from == question.from {
			if r.run == question.run && r.number == question.number {
				return // it is under way
			}
			if count++; oldest < 0 {
				oldest = k
			}
		}
	}
	if count >= questionsMax {
		n.lead.reads = append(n.lead.reads[:oldest], n.lead.reads[oldest+1:]...)
	}
	n.lead.reads = append(n.lead.reads, question)
}

// handleReadIndexResponse decides the reads that the answer is for. It holds whatever has become of the leader since:
// the index was confirmed after the question was asked. An answer to a question of an earlier run is to another question.
func (n *Node) handleReadIndexResponse(m *Message) {
	a := &n.asks
	if m.Run != n.config.Run || uint64(m.Round) != a.number || len(a.asked) == 0 {
		return
	}
	for _, r := range a.asked {
		n.decide(Read{ID: r.id, Index: m.Commit})
	}
	a.asked = a.asked[:0]
}

func (n *Node) decide(r Read) {
	a := n.actions()
	a.Reads = append(a.Reads, r)
}
