package raft

import "time"

// progress is what a leader knows of one follower or learner. It lives for one term.
type progress struct {
	member Member
	state  ProgressState

	match      Index // the follower's log is ours up to here, durably
	matchRound Round // the newest round when match was acknowledged
	matchTerm  Term  // of the entry at match; 0: it was compacted when match was acknowledged
	next       Index // the first entry to send; above match

	inflight      []inflight // sent in Stream and not answered, in order
	inflightBytes int

	probed   bool          // Probe: one message is out,
	probedTo Index         // which ends before this index
	movedAt  time.Duration // when match last grew, or something was sent after nothing was out
	heardAt  time.Duration // when it last answered anything
	heard    bool
	gone     bool  // a connection to it failed, and it has answered nothing that was sent since:
	goneIn   Round // no round after this one

	fill      uint64 // the fill under way; zero: none
	fillFirst Index

	offered   SnapshotMeta // Snapshot: what it was offered
	offeredAt time.Duration

	round    Round // the newest round it has confirmed
	priority uint8
	promise  time.Duration // what it said of itself when it last confirmed one (lease.go); zero: nothing
	lost     bool          // it came back with less than it had acknowledged

	addedAt  time.Duration // when this leader began to feed it
	grewAt   time.Duration // when match, or fetched, last grew
	fetched  int64         // how far into one snapshot it was given bytes since match grew; who begins anew, and fails again, has no growth
	roundEnd Index         // catching up: where the log ended when the round began,
	roundAt  time.Duration // which was then
	slow     int           // rounds in a row that took too long
	quick    bool          // the last one did not

	left     Index         // the entry by which it left the membership; zero: it has not
	leftAt   time.Duration // when that was appended
	farewell Round         // the first heartbeat that told it that the entry is committed
}

// inflight is one append on its way.
type inflight struct {
	next  Index // the index after its last entry
	bytes int
}

func (p *progress) sent(now time.Duration, next Index, bytes int) {
	if len(p.inflight) == 0 {
		p.movedAt = now
	}
	p.inflight = append(p.inflight, inflight{next: next, bytes: bytes})
	p.inflightBytes += bytes
	p.next = next
}

// acknowledged takes a match that the follower claims and reports whether it is news.
func (p *progress) acknowledged(now time.Duration, match Index) bool {
	k := 0
	for ; k < len(p.inflight) && p.inflight[k].next <= match+1; k++ {
		p.inflightBytes -= p.inflight[k].bytes
	}
	p.inflight = append(p.inflight[:0], p.inflight[k:]...)
	p.next = max(p.next, match+1)
	if match <= p.match {
		return false
	}
	p.match, p.movedAt, p.grewAt, p.fetched = match, now, now, 0
	return true
}

// enter changes the state and forgets what was under way in the old one. A fill that is still being read will find that
// it is not wanted any more.
func (p *progress) enter(state ProgressState, next Index) {
	p.state, p.next = state, next
	p.inflight, p.inflightBytes = p.inflight[:0], 0
	p.probed, p.probedTo, p.fill = false, indexMax, 0
	if state != ProgressSnapshot {
		p.offered = SnapshotMeta{}
	}
}

// retryFrom is where to go on after something that was sent was lost: in Probe at the same place, because match may be
// zero for no other reason than that nothing was answered yet, and the log may begin far above it.
func (p *progress) retryFrom() Index {
	if p.state == ProgressProbe {
		return p.next
	}
	return p.match + 1
}

// full reports whether the window is closed.
func (p *progress) full(c *Config) bool {
	return len(p.inflight) >= c.InflightMessagesMax || p.inflightBytes >= c.InflightBytesMax
}

// has reports whether a member's log, which ends at index with an entry of term, holds all that was sent, in the term of
// the leader that asks. An entry of that term can only have come from this leader: it has arrived, however long the
// member's disk takes to make it durable.
func (p *progress) has(index Index, term, own Term) bool {
	sent := p.next
	if p.state == ProgressProbe {
		sent = p.probedTo
	}
	return term == own && index+1 >= sent
}

// stalled reports whether something was sent and nothing came back for so long that it must be taken for lost. A live
// connection loses nothing, so this is the net below Unreachable, not the way of the day.
func (p *progress) stalled(now time.Duration, c *Config) bool {
	return (p.probed || len(p.inflight) > 0) && now-p.movedAt > stallHeartbeats*c.HeartbeatInterval
}

// stallHeartbeats is how many heartbeat intervals an unanswered append is waited for before it is sent again.
const stallHeartbeats = 4
