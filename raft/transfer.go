package raft

import (
	"errors"
	"fmt"
	"time"
)

// The errors of leadership transfers.
var (
	// ErrTransferOpen: another transfer is under way; it ends within ElectionTimeoutMax.
	ErrTransferOpen = errors.New("raft: a leadership transfer is under way")
	// ErrTransferTarget: the chosen server cannot take over, or nobody can.
	ErrTransferTarget = errors.New("raft: no such successor")
	// ErrTransferTimeout: the successor did not take over within ElectionTimeoutMax, and this server leads on.
	ErrTransferTimeout = errors.New("raft: the successor did not take over in time")
	// ErrTransferUnknown: this server leads no more, and nobody is known to have taken over: no quorum answered it, or it gave leadership up.
	ErrTransferUnknown = errors.New("raft: leadership has ended without a successor that is known")
	// ErrTransferring: the leader is handing over and takes nothing new. Ask again after Actions.TransferEnded, or when it leads no more.
	ErrTransferring = errors.New("raft: the leader is handing over")
)

// TransferEnded says how a leadership transfer ended.
type TransferEnded struct {
	To ServerID // who was asked last; zero: nobody was
	// Err is nil if a later term has begun: leadership was given away. With ErrTransferTimeout this server leads on, and so it does with
	// ErrTransferTarget: nobody is reached any more who could take over. With ErrTransferUnknown it does not lead any more.
	Err error
}

// transfer is a leadership transfer under way (dissertation 3.10). It belongs to a term and ends with it.
type transfer struct {
	to     peer // who is to take over; the zero value where the best one is looked for anew
	chosen bool // by the caller: nobody else will do
	asked  bool // by a caller, who is told of the end
	leaves bool // at its end this server does not lead on, whoever does
	reason string

	startedAt time.Duration
	turnAt    time.Duration // when to is given up for another one
	sentAt    time.Duration // when it was last told to campaign
	sent      bool
	tried     []peer
}

// TransferLeadership hands leadership to a voter, or, with to zero, to the best there is: the one with the highest priority
// among those that have answered lately and whose logs are level with this one. Until it has ended (Actions.TransferEnded)
// nothing is appended, so that the successor can catch up. With to zero it ends as soon as nobody is reached who could take over; to
// the end of its time it goes on with a successor that was chosen. With an error nothing was begun: ErrNotLeader, ErrTransferOpen,
// ErrTransferTarget, ErrFault.
func (n *Node) TransferLeadership(now time.Duration, to ServerID) error {
	switch {
	case !n.input(now):
		return ErrFault
	case n.role != RoleLeader:
		return ErrNotLeader
	case n.lead.transfer != nil && n.lead.transfer.asked:
		return ErrTransferOpen
	case n.storageHung() && n.best(nil) != nil: // asked for again and again, a transfer in vain would keep a leader that can do nothing
		return fmt.Errorf("%w: its storage hangs, and whoever can takes over", ErrTransferOpen)
	}
	t := transfer{asked: true, reason: "it was asked to"}
	if to != 0 {
		p := n.successor(to)
		switch {
		case to == n.config.ID:
			return fmt.Errorf("%w: server %d leads already", ErrTransferTarget, to)
		case p == nil:
			return fmt.Errorf("%w: server %d is no voter", ErrTransferTarget, to)
		case !n.hears(p.member):
			return fmt.Errorf("%w: server %d is not heard of", ErrTransferTarget, to)
		}
		t.to, t.chosen = peer{p.member.ID, p.member.Store}, true
	} else if n.best(nil) == nil {
		return fmt.Errorf("%w: no other voter is heard of", ErrTransferTarget)
	}
	if n.lead.transfer != nil { // one that this server began by itself gives way
		t.leaves = n.lead.transfer.leaves
		n.lead.transfer = nil
	}
	n.beginTransfer(t)
	return nil
}

// StepDown gives leadership up at once, to nobody. The server stands for election again after two election timeouts at the
// earliest, so that others come first. With an error nothing was done: ErrNotLeader, ErrFault.
func (n *Node) StepDown(now time.Duration) error {
	switch {
	case !n.input(now):
		return ErrFault
	case n.role != RoleLeader:
		return ErrNotLeader
	}
	n.retire("it was asked to")
	return nil
}

// retire gives leadership up to nobody, and lets the others stand first.
func (n *Node) retire(reason string) {
	now := n.clock.now
	n.stepDown(now, reason)
	n.election.at = max(n.election.at, now+2*n.config.ElectionTimeoutMax)
}

// successor returns the progress of a voter that may lead when what is in force has come to its end.
func (n *Node) successor(id ServerID) *progress {
	for _, p := range n.lead.progress {
		if p.member.ID == id && n.maySucceed(p) {
			return p
		}
	}
	return nil
}

func (n *Node) maySucceed(p *progress) bool {
	for _, v := range n.membership().Voters {
		if v.same(p.member) {
			return true
		}
	}
	return false
}

// best returns who should lead next, nil where nobody can: of the voters that are reached and were not tried, the one
// with the highest priority among those that are level, and else the one with the longest log.
func (n *Node) best(tried []peer) *progress {
	var best *progress
	for _, p := range n.lead.progress {
		if !n.maySucceed(p) || !n.reaches(p) || contains(tried, p.member) {
			continue
		}
		if best == nil || n.better(p, best) {
			best = p
		}
	}
	return best
}

// reaches reports whether a member is heard of, and has answered what was sent since a connection to it failed last: one that has just
// ended is no successor.
func (n *Node) reaches(p *progress) bool { return n.hears(p.member) && !p.gone }

func (n *Node) better(a, b *progress) bool {
	level := func(p *progress) bool { return p.match >= n.commit }
	switch {
	case level(a) != level(b):
		return level(a)
	case level(a) && a.priority != b.priority:
		return a.priority > b.priority
	}
	return a.match > b.match
}

func contains(list []peer, m Member) bool {
	for _, p := range list {
		if m.is(p.id, p.store) {
			return true
		}
	}
	return false
}

func (n *Node) beginTransfer(t transfer) {
	t.startedAt = n.clock.now
	n.lead.transfer = &t
	// A successor that is told to campaign is voted for although this leader is heard: what a quorum confirmed proves nothing
	// any more about who leads. The message may arrive late, so this is for the rest of the term (dissertation 6.4.1).
	n.lead.noLease = true
	n.trace(Trace{Kind: TraceTransfer, Server: t.to.id, Reason: t.reason})
}

// transferTurn goes on with a transfer. Every message on this path waits for no disk.
func (n *Node) transferTurn() {
	now, t := n.clock.now, n.lead.transfer
	switch {
	case t == nil:
		return
	case now-t.startedAt >= n.config.ElectionTimeoutMax:
		n.endTransfer(ErrTransferTimeout)
		return
	}
	p := n.lead.of(t.to.id, t.to.store)
	switch {
	case t.chosen && p == nil:
		n.endTransfer(ErrTransferTarget)
		return
	case p == nil || !t.chosen && (now >= t.turnAt || !n.reaches(p)):
		if p = n.best(t.tried); p == nil {
			t.tried = t.tried[:0]
			if p = n.best(nil); p == nil {
				if t.asked {
					n.endTransfer(ErrTransferTarget) // as it would not have begun
				}
				return // a server that is to go by itself goes when the time is over: somebody may be reached until then
			}
		}
		t.to, t.sent, t.turnAt = peer{p.member.ID, p.member.Store}, false, now+n.config.ElectionTimeoutMin/2
		t.tried = append(t.tried, t.to)
	}
	if p.match < n.trail.last() || t.sent && now-t.sentAt < n.config.HeartbeatInterval {
		return
	}
	t.sent, t.sentAt = true, now
	n.sendNow(Message{
		Type: MessageTransferRequest, To: t.to.id, ToStore: t.to.store, Term: n.hard.Term,
		LastIndex: n.trail.last(), LastTerm: n.trail.lastTerm(),
	}, 0)
}

// endTransfer ends a transfer that nobody followed.
func (n *Node) endTransfer(why error) {
	t := n.lead.transfer
	n.lead.transfer = nil
	n.leadsAgain()
	n.lead.priorityAt = n.clock.now + n.priorityWait()
	n.trace(Trace{Kind: TraceTransferEnded, Server: t.to.id, Reason: "in vain"})
	if t.leaves {
		n.transferEnded(t, ErrTransferUnknown)
		n.retire(t.reason)
		return
	}
	n.transferEnded(t, why)
}

// transferEnded reports the end; the proposals that waited for it are heard again.
func (n *Node) transferEnded(t *transfer, err error) {
	n.actions().TransferEnded = &TransferEnded{To: t.to.id, Err: err}
}

// handing reports whether nothing may be appended, because this leader is about to go.
func (n *Node) handing() bool { return n.lead.transfer != nil || n.leaving() }

// priorityPatience is how many election timeouts a leader lets pass, at its beginning and after a transfer in vain, before it
// hands over to a server with a higher priority: leadership must not go round. Each time that it comes back within twice as long, which
// is what a preferred server that nobody else can reach brings about, the time doubles, up to priorityVainMax times.
const (
	priorityPatience = 5
	priorityVainMax  = 4
)

// preference is what a server remembers over its leaderships of those that it handed over to a higher priority.
type preference struct {
	handed   bool // since it led last
	handedAt time.Duration
	vain     int // how often in a row it was of no use
}

// priorityWait is how long this leader keeps leadership although a higher priority is there.
func (n *Node) priorityWait() time.Duration {
	return priorityPatience * n.config.ElectionTimeoutMax << n.preference.vain
}

// leadsAgain looks, at the beginning of a leadership, what became of the last one that was handed to a higher priority.
func (n *Node) leadsAgain() {
	p := &n.preference
	switch {
	case !p.handed:
	case n.clock.now-p.handedAt < 2*n.priorityWait():
		p.vain = min(p.vain+1, priorityVainMax)
	default:
		p.vain = 0
	}
	p.handed = false
}

// preferOthers begins a transfer that nobody asked for: to a server with a higher priority that is level, or to
// whoever can, when the own disk hangs. Where nobody else votes, or is heard of, it helps nobody that this leader goes.
func (n *Node) preferOthers() {
	now := n.clock.now
	if n.lead.transfer != nil || n.alone() {
		return
	}
	if n.storageHung() && n.best(nil) != nil {
		n.beginTransfer(transfer{leaves: true, reason: "its storage hangs"})
		return
	}
	at := n.memberships[len(n.memberships)-1]
	if now < n.lead.priorityAt || at.Membership.Changing() || at.Index > n.commit || !n.ownTermCommitted() {
		return
	}
	best := (*progress)(nil)
	for _, p := range n.lead.progress {
		if p.priority > n.config.Priority && n.maySucceed(p) && n.hears(p.member) && p.state == ProgressStream && p.match >= n.commit &&
			(best == nil || p.priority > best.priority) {
			best = p
		}
	}
	if best != nil {
		n.preference.handed, n.preference.handedAt = true, now
		n.beginTransfer(transfer{to: peer{best.member.ID, best.member.Store}, chosen: true, reason: "it has a higher priority"})
	}
}

// handleTransferRequest campaigns at once, for the leader that asked for it (dissertation 3.10): without asking first,
// and with requests that voters grant although they hear a leader. It dies with its term and with a log that is shorter
// than the leader's was.
func (n *Node) handleTransferRequest(now time.Duration, m *Message) {
	term, ok := n.trail.termAt(m.LastIndex)
	if m.Term != n.hard.Term || m.sender() != n.leader || !n.electable() || !ok || term != m.LastTerm {
		n.trace(Trace{Kind: TraceDropped, Server: m.From, Reason: "a transfer that is over or cannot be followed"})
		return
	}
	n.campaign(now, true)
}

// storageHung reports whether saves are under way and none has completed for an election timeout.
func (n *Node) storageHung() bool {
	s := &n.saves
	return s.issued > s.done && n.clock.now-s.movedAt >= n.config.ElectionTimeoutMax
}
