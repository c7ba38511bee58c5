package raft

import "time"

// birthState is how far this server has come with the birth of its group. A group is born once: the founder with the
// lowest id proposes the first membership, with the stores that it heard of in handshakes; every voter saves it, one in
// its life, and says so; whoever has heard that from all of them knows that the birth is complete and tells the others.
// Until then nobody campaigns and nobody grants a vote. A founder whose disk was lost after that is a stranger and gets
// no second birth, because every other voter would have to answer for one.
type birthState struct {
	value    Birth
	at       time.Duration // when to ask again
	stores   []Member      // founders heard of, with the stores they proved
	answered []ServerID    // voters known to have saved value
}

func (b *birthState) hasAnswered(id ServerID) bool {
	for _, a := range b.answered {
		if a == id {
			return true
		}
	}
	return false
}

func (b *birthState) store(id ServerID) (StoreID, bool) {
	for _, m := range b.stores {
		if m.ID == id {
			return m.Store, true
		}
	}
	return StoreID{}, false
}

// noteStore remembers the store of a founder; the latest handshake counts, because before the birth a founder may be
// formatted as often as its operator likes.
func (b *birthState) noteStore(id ServerID, store StoreID) {
	for k := range b.stores {
		if b.stores[k].ID == id {
			b.stores[k].Store = store
			return
		}
	}
	b.stores = append(b.stores, Member{ID: id, Store: store})
}

// seekBirth asks the others, again and again until the group is born.
func (n *Node) seekBirth(now time.Duration) {
	n.birth.at = now + n.config.HeartbeatInterval
	if n.hard.Lost {
		return // it may have been born once, and not know it any more
	}
	b := &n.birth
	if b.value.IsZero() {
		n.proposeBirth()
	}
	n.countOwnBirth()
	if n.born {
		return
	}
	request := Message{Type: MessageBirthRequest}
	voters := n.config.Founders
	if !b.value.IsZero() && n.saves.wait(n.saves.birth) == 0 {
		request.Birth, voters = b.value, b.value.Membership.Voters
	}
	for _, v := range voters {
		if v.ID != n.config.ID && !b.hasAnswered(v.ID) {
			request.To = v.ID
			n.sendNow(request, 0)
		}
	}
}

// proposeBirth makes the birth, if this is the founder with the lowest id and it has heard of every other one.
func (n *Node) proposeBirth() {
	founders := n.config.Founders
	if len(founders) == 0 || founders[0].ID != n.config.ID {
		return
	}
	m := Membership{Voters: append([]Member(nil), founders...)}
	for k := range m.Voters {
		store, ok := n.birth.store(m.Voters[k].ID)
		if m.Voters[k].ID == n.config.ID {
			store, ok = n.config.Store, true
		}
		if !ok {
			return
		}
		m.Voters[k].Store = store
	}
	n.adoptBirth(Birth{Membership: m, Limits: n.config.Limits}, "proposed")
}

func (n *Node) adoptBirth(b Birth, how string) {
	b.Membership = b.Membership.Clone()
	n.birth.value, n.bornNew = b, true
	n.birth.answered = n.birth.answered[:0]
	n.saves.birth = n.saves.open()
	n.memberships = append(n.memberships[:0], MembershipAt{Membership: b.Membership})
	n.membershipChanged()
	n.trace(Trace{Kind: TraceBirth, Reason: how})
}

// countOwnBirth counts this voter's own answer once it is durable.
func (n *Node) countOwnBirth() {
	if n.birth.value.IsZero() || n.saves.wait(n.saves.birth) != 0 {
		return
	}
	n.answeredBirth(n.config.ID)
}

func (n *Node) answeredBirth(id ServerID) {
	b := &n.birth
	if !b.hasAnswered(id) {
		b.answered = append(b.answered, id)
	}
	for _, v := range b.value.Membership.Voters {
		if !b.hasAnswered(v.ID) {
			return
		}
	}
	n.completeBirth()
}

// completeBirth makes the server a member for good. The founder that proposed stands for election at once: somebody has
// to, and nobody else does yet.
func (n *Node) completeBirth() {
	if n.born {
		return
	}
	n.born, n.bornNew = true, true
	n.birth.value.Complete = true
	n.saves.birth = n.saves.open()
	n.trace(Trace{Kind: TraceBirth, Reason: "complete"})
	if n.refusal.Reason == RefusalLostBirth {
		n.refusal = Refused{} // overtaken: it asked before it was told
	}
	now := n.clock.now
	n.restartElectionTimer(now)
	voters := n.birth.value.Membership.Voters
	for _, v := range voters {
		if v.ID != n.config.ID {
			n.sendNow(Message{Type: MessageBirthResponse, To: v.ID, Birth: n.birth.value}, 0)
		}
	}
	if voters[0].ID == n.config.ID {
		n.election.at = now
	}
}

// handleBirthRequest answers with the birth that is saved here, after saving the proposed one if there was none.
func (n *Node) handleBirthRequest(m *Message) {
	if len(n.config.Founders) == 0 && n.birth.value.IsZero() {
		return // a server that joins takes no part in a birth
	}
	if n.hard.Lost && n.birth.value.IsZero() {
		return // what it saved once may be what it has lost
	}
	own := &n.birth.value
	if !n.born {
		n.birth.noteStore(m.From, m.FromStore)
	}
	switch {
	case m.Birth.IsZero():
		if own.Complete {
			// It answered for this birth once, with this very store, and does not know it any more; or it asked before.
			n.refuse(m, RefusalLostBirth)
			return
		}
	case own.IsZero():
		if !n.acceptable(m.Birth) {
			n.refuse(m, RefusalFounders)
			return
		}
		n.adoptBirth(Birth{Membership: m.Birth.Membership, Limits: m.Birth.Limits}, "saved")
	case !own.Same(m.Birth):
		n.refuse(m, RefusalBorn)
		return
	}
	if m.Birth.Complete && !n.born {
		n.completeBirth()
	}
	n.sendNow(Message{Type: MessageBirthResponse, To: m.From, ToStore: m.FromStore, Birth: *own}, n.saves.wait(n.saves.birth))
}

// acceptable reports whether a proposed birth is of the founders that this server was configured with, and binds it to
// the store that it has.
func (n *Node) acceptable(b Birth) bool {
	voters := b.Membership.Voters
	if b.Membership.Validate() != nil || len(voters) != len(n.config.Founders) || b.Membership.Joint() {
		return false
	}
	for k, v := range voters {
		if v.ID != n.config.Founders[k].ID || v.ID == n.config.ID && v.Store != n.config.Store || v.Store.IsZero() {
			return false
		}
	}
	return b.Membership.IsVoter(n.config.ID, n.config.Store)
}

func (n *Node) handleBirthResponse(m *Message) {
	if n.born || n.hard.Lost && n.birth.value.IsZero() {
		return
	}
	n.birth.noteStore(m.From, m.FromStore)
	b := &n.birth
	switch {
	case b.value.IsZero() && len(n.config.Founders) == 0:
		if m.Birth.Complete {
			n.adoptBirth(m.Birth, "joined")
			n.completeBirth()
		}
	case b.value.IsZero() && m.Birth.IsZero():
		n.proposeBirth() // one founder more is known
	case b.value.IsZero() && !m.Birth.Complete && n.acceptable(m.Birth):
		n.adoptBirth(Birth{Membership: m.Birth.Membership, Limits: m.Birth.Limits}, "saved")
	case !b.value.IsZero() && !m.Birth.IsZero() && b.value.Same(m.Birth):
		if m.Birth.Complete {
			n.completeBirth()
			return
		}
		n.answeredBirth(m.From)
	}
}

// impliesBirth takes a message that only a server with a complete birth sends, from a member that the saved birth binds:
// whoever campaigns or leads knows that every voter has answered.
func (n *Node) impliesBirth(m *Message) bool {
	_, ok := n.birth.value.Membership.Find(m.From, m.FromStore)
	if !ok || n.saves.wait(n.saves.birth) != 0 {
		return false
	}
	n.completeBirth()
	return true
}
