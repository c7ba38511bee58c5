package raft

import "fmt"

// breakRule stops the Node for good: a rule was broken that no input may break. What was being asked for is not asked.
func (n *Node) breakRule(what string) {
	if n.fault == nil {
		n.fault = fmt.Errorf("%w: group %d, server %d, term %d: %s", ErrFault, n.config.Group, n.config.ID, n.hard.Term, what)
	}
}

// check holds the Node against the rules that can be told at any moment. It runs at the end of every turn, in
// production too: a replica that stops is better than one that goes on wrongly.
func (n *Node) check() {
	t := &n.trail
	switch {
	case n.fault != nil:
	case n.commit > t.last():
		n.breakRule("the commit index is past the end of the log")
	case t.first > n.snapshot.Index+1:
		n.breakRule("entries are missing between the snapshot and the log")
	case n.saves.durable > t.next:
		n.breakRule("more is durable than is in the log")
	case t.lastTerm() > n.hard.Term:
		n.breakRule("the log is ahead of the term")
	case n.role == RoleLeader && !n.votedForItself():
		n.breakRule("a leader that did not vote for itself")
	case n.hard.Term < n.clock.seenTerm || n.commit < n.clock.seenCommit:
		n.breakRule("the term or the commit index went back")
	}
	n.clock.seenTerm, n.clock.seenCommit = n.hard.Term, n.commit
	for _, p := range n.lead.progress {
		if p.match >= p.next || p.match > t.last() || p.inflightBytes < 0 || len(p.inflight) == 0 && p.inflightBytes != 0 {
			n.breakRule("a follower's progress does not add up")
		}
	}
}
