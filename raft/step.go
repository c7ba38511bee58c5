package raft

import (
	"fmt"
	"time"
)

// Refused says that peers give this server's messages no effect, and why.
type Refused struct {
	By     ServerID // zero: nobody; the server's own id: it was told so in an earlier run
	Reason Refusal
}

// Step takes a message from a peer. The message is borrowed until Step returns; its blocks are taken over. One that is
// malformed, of another group, or from a server whose store is not the one its id is bound to has no effect, whatever
// is in it.
func (n *Node) Step(now time.Duration, m *Message) {
	if !n.input(now) {
		return
	}
	now = n.clock.now
	if err := n.inspect(m); err != nil {
		n.trace(Trace{Kind: TraceDropped, Server: m.From, Reason: err.Error()})
		return
	}
	if m.Type == MessageRefusal {
		n.takeRefusal(now, m)
		return
	}
	if n.role == RoleLeader && n.stranger(m) {
		n.refuse(m, RefusalStranger)
		return
	}
	switch m.Type {
	case MessageBirthRequest:
		if n.stranger(m) {
			n.refuse(m, RefusalStranger)
			return
		}
		n.handleBirthRequest(m)
		return
	case MessageBirthResponse:
		n.handleBirthResponse(m)
		return
	}
	if !n.born && !n.impliesBirth(m) {
		if n.birth.value.IsZero() && !n.hard.Lost {
			n.refuse(m, RefusalUnborn)
		}
		return
	}
	if n.refusal.By == m.From && n.refusal.Reason != RefusalLostLog {
		n.refusal = Refused{} // it talks to us again; but a log that was lost stays lost
	}
	n.dispatch(now, m)
}

// stranger reports whether a message comes from a store that its sender's id is not bound to. Only who counts may judge by that,
// and does so wherever it counts; a leader says it, too. Anybody else may know less than the sender: it may have slept while
// the sender took the place of a lost server.
func (n *Node) stranger(m *Message) bool {
	_, ok := n.membership().Find(m.From, m.FromStore)
	return !ok && n.membership().has(m.From)
}

func (n *Node) dispatch(now time.Duration, m *Message) {
	switch m.Type {
	case MessagePreVoteRequest:
		n.handlePreVoteRequest(now, m)
	case MessagePreVoteResponse:
		n.handlePreVoteResponse(now, m)
	case MessageVoteRequest:
		n.handleVoteRequest(now, m)
	case MessageVoteResponse:
		n.handleVoteResponse(now, m)
	case MessageAppendRequest:
		n.handleAppendRequest(now, m)
	case MessageAppendResponse:
		n.handleAppendResponse(now, m)
	case MessageHeartbeatRequest:
		n.handleHeartbeatRequest(now, m)
	case MessageHeartbeatResponse:
		n.handleHeartbeatResponse(now, m)
	case MessageSnapshotOffer:
		n.handleSnapshotOffer(now, m)
	case MessageTransferRequest:
		n.handleTransferRequest(now, m)
	case MessageReadIndexRequest:
		n.handleReadIndexRequest(now, m)
	case MessageReadIndexResponse:
		n.handleReadIndexResponse(m)
	}
}

// refuse tells a sender why its message has no effect.
func (n *Node) refuse(m *Message, reason Refusal) {
	n.trace(Trace{Kind: TraceRefused, Server: m.From, Refusal: reason})
	// For the store that asked, and for no other one with the same id: who takes its place, or was replaced, would not know what it is about.
	n.sendNow(Message{Type: MessageRefusal, To: m.From, ToStore: m.FromStore, Refusal: reason}, 0)
}

// inspect finds what no honest peer sends. Peers are trusted not to lie (dissertation 3.1 assumes as much), but a bug or
// a decayed message must not make this server panic or break its own log.
func (n *Node) inspect(m *Message) error {
	switch {
	case m.Group != n.config.Group:
		return fmt.Errorf("it is for group %d", m.Group)
	case m.To != n.config.ID || m.From == 0 || m.From == n.config.ID && !n.isOtherStore(m):
		return fmt.Errorf("it is from server %d to server %d", m.From, m.To)
	case !m.ToStore.IsZero() && m.ToStore != n.config.Store:
		return fmt.Errorf("it is for store %s", m.ToStore)
	case m.Term == 0 && m.Type != MessageBirthRequest && m.Type != MessageBirthResponse && m.Type != MessageRefusal:
		return fmt.Errorf("a %s without a term", m.Type)
	case m.Term > termMax:
		return fmt.Errorf("term %d cannot be", m.Term)
	case m.LastTerm > termMax || max(m.Commit, m.LastIndex, m.Match, m.HintIndex) > indexMax:
		return fmt.Errorf("a term or an index cannot be: %d, %d, %d, %d, %d", m.LastTerm, m.Commit, m.LastIndex, m.Match, m.HintIndex)
	case m.Time < 0:
		return fmt.Errorf("cluster time %d is negative", m.Time)
	}
	switch m.Type {
	case MessageAppendRequest:
		return n.inspectAppend(m)
	case MessageSnapshotOffer:
		return n.inspectOffer(m)
	case MessageBirthRequest, MessageBirthResponse:
		if !m.Birth.IsZero() {
			return m.Birth.Membership.Validate()
		}
	}
	return nil
}

// isOtherStore reports whether a message of this server's own id comes from another store: one of the two takes the other's place,
// and each may count in one half of a joint membership. The one that is there already may lead, and tell the other of the group's birth.
// Among founders a birth binds an id to one store, so there it is nobody.
func (n *Node) isOtherStore(m *Message) bool {
	switch {
	case m.FromStore == n.config.Store || m.FromStore.IsZero():
		return false
	case m.Type == MessageBirthRequest:
		return false
	case m.Type == MessageBirthResponse:
		return len(n.config.Founders) == 0
	}
	return true
}

// termMax and indexMax leave room above them, so that no sum overflows.
const (
	termMax  = Term(1) << 62
	indexMax = Index(1) << 62
)

func (n *Node) inspectAppend(m *Message) error {
	if m.PrevIndex >= indexMax || m.First != m.PrevIndex+1 || m.Next < m.First || m.Next > indexMax || m.PrevTerm > m.Term {
		return fmt.Errorf("an append of %d to %d after index %d, term %d", m.First, m.Next, m.PrevIndex, m.PrevTerm)
	}
	at, term, memberships := m.First, m.PrevTerm, 0
	for _, b := range m.Blocks {
		if b.Group() != m.Group || b.First() != at || b.Next() <= at || b.Term() < term || b.Term() > m.Term || b.IsBlank() {
			return fmt.Errorf("an append with a block at %d, term %d, after index %d, term %d", b.First(), b.Term(), at-1, term)
		}
		if b.Kind() == KindMembership {
			if memberships >= len(m.Memberships) || m.Memberships[memberships].Index != at {
				return fmt.Errorf("a membership entry at %d that was not decoded", at)
			}
			if err := m.Memberships[memberships].Membership.Validate(); err != nil {
				return err
			}
			memberships++
		}
		at, term = b.Next(), b.Term()
	}
	if at != m.Next || memberships != len(m.Memberships) {
		return fmt.Errorf("an append up to %d whose blocks end at %d", m.Next, at)
	}
	return nil
}

func (n *Node) inspectOffer(m *Message) error {
	s := m.Snapshot
	if s.Group != m.Group || s.Index == 0 || s.Index >= indexMax || s.Term == 0 || s.Term > m.Term || s.MembershipIndex > s.Index ||
		s.Size < 0 || s.Time < 0 {
		return fmt.Errorf("an offer of a snapshot at index %d, term %d", s.Index, s.Term)
	}
	return s.Membership.Validate()
}
