package raft

import (
	"fmt"
	"slices"
	"strings"
)

// What a change is refused for, in words that name the cause and the way out of it.

// tooEarly says why nothing may be begun yet.
func (n *Node) tooEarly(at MembershipAt) error {
	if !n.ownTermCommitted() {
		return fmt.Errorf("%w: no entry of its term %d is committed yet, which takes the answers of a majority", ErrChangeEarly, n.hard.Term)
	}
	return fmt.Errorf("%w: the membership of entry %d is not committed yet, which takes the answers of a majority", ErrChangeEarly, at.Index)
}

// newSays says what a leader that was elected just now waits for.
func (n *Node) newSays(what string) error {
	return fmt.Errorf("%w: it was elected less than an election timeout ago; %s", ErrChangeEarly, what)
}

// mayChange refuses what could stop the group.
func (n *Node) mayChange(m, w Membership, forced bool) error {
	for _, old := range m.Voters {
		now, ok := w.Member(old.ID)
		if !ok || now.Store == old.Store {
			continue
		}
		switch {
		case n.isMe(old):
			return fmt.Errorf("%w: server %d leads, so its disk is not lost; if it is to have another store all the same, hand leadership "+
				"over to another server and stop it first: forcing the change does not pass this", ErrChangeUnsafe, old.ID)
		case !forced && n.hears(old):
			return fmt.Errorf("%w: server %d is heard of with the store that is to be replaced; stop the server that runs on that store, "+
				"and ask again an election timeout later", ErrChangeUnsafe, old.ID)
		case !forced && n.isNew():
			return n.newSays(fmt.Sprintf("it does not know yet whether server %d still runs with the store that is to be replaced", old.ID))
		}
	}
	able := func(v Member) bool { // who does not vote yet is waited for
		return n.follows(v) || !slices.ContainsFunc(m.Voters, v.same) && (n.hears(v) || !slices.ContainsFunc(m.Members(), v.same))
	}
	switch {
	case forced || n.majorityOf(w.Voters, able):
		return nil
	case n.isNew():
		return n.newSays(n.lacking(w.Voters, able))
	}
	return fmt.Errorf("%w: %s; force the change only if those are gone for good", ErrChangeUnsafe, n.lacking(w.Voters, able))
}

// lacking says, where no majority of new voters is able, which of them are not, and what helps each.
func (n *Node) lacking(voters []Member, able func(Member) bool) string {
	var why []string
	for _, v := range voters {
		if able(v) {
			continue
		}
		switch p := n.lead.of(v.ID, v.Store); {
		case p != nil && p.lost:
			why = append(why, fmt.Sprintf("server %d has lost its log (replace it)", v.ID))
		case n.hears(v):
			why = append(why, fmt.Sprintf("server %d has to install a snapshot first (wait until it has)", v.ID))
		case n.isNew():
			why = append(why, fmt.Sprintf("server %d is not heard of yet", v.ID))
		default:
			why = append(why, fmt.Sprintf("server %d is not heard of (start it)", v.ID))
		}
	}
	return fmt.Sprintf("%d of the %d new voters have to follow: %s", len(voters)/2+1, len(voters), strings.Join(why, ", "))
}

// isNew reports whether this leader was elected so lately that who has not answered yet may be well.
func (n *Node) isNew() bool { return n.clock.now-n.lead.electedAt < n.config.ElectionTimeoutMax }

func (n *Node) majorityOf(voters []Member, ok func(Member) bool) bool {
	return quorum{halves: [2][]Member{voters}}.reached(ok)
}

// hears reports whether a member has answered within the last election timeout.
func (n *Node) hears(m Member) bool {
	if n.isMe(m) {
		return true
	}
	p := n.lead.of(m.ID, m.Store)
	return p != nil && p.heard && !p.lost && n.clock.now-p.heardAt < n.config.ElectionTimeoutMax
}

// follows reports whether a member answers and is not so far behind that it has to install a snapshot first: until it has, nothing
// that needs it can be committed.
func (n *Node) follows(m Member) bool {
	if n.isMe(m) {
		return true
	}
	return n.hears(m) && n.lead.of(m.ID, m.Store).state != ProgressSnapshot
}
