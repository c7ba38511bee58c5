package raft

import (
	"fmt"
	"strings"
)

// What a transcript says, in lines that a stranger can read.

func (c *cluster) logTrace(h *host, t Trace) {
	refusal := t.Kind == TraceRefused || t.Kind == TraceRefusedByPeer
	if c.transcript == nil || refusal && c.hide["Refusal"] {
		return
	}
	c.logf("%d: %s", h.id, describeTrace(t))
}

func describeTrace(t Trace) string {
	switch t.Kind {
	case TraceBecameFollower:
		if t.Server == 0 {
			return fmt.Sprintf("follower, term %d", t.Term)
		}
		return fmt.Sprintf("follower of %d, term %d", t.Server, t.Term)
	case TraceBecamePreCandidate:
		return fmt.Sprintf("pre-candidate, term %d", t.Term)
	case TraceBecameCandidate:
		return fmt.Sprintf("candidate, term %d", t.Term)
	case TraceBecameLeader:
		return fmt.Sprintf("leader, term %d, no-op at %d", t.Term, t.Index)
	case TraceSteppedDown:
		return "steps down: " + t.Reason
	case TraceVoteGranted:
		return fmt.Sprintf("votes for %d, term %d", t.Server, t.Term)
	case TraceVoteRejected:
		return fmt.Sprintf("no vote for %d: %s", t.Server, t.Reason)
	case TraceTruncated:
		return fmt.Sprintf("cuts its log from %d on", t.Index)
	case TraceAppendRejected:
		return fmt.Sprintf("%d does not match, can meet at %d", t.Server, t.Index)
	case TraceProgress:
		return fmt.Sprintf("progress of %d: %s from %d", t.Server, t.Reason, t.Index)
	case TraceSnapshotOffered:
		return fmt.Sprintf("offers %d its snapshot %d", t.Server, t.Index)
	case TraceInstalled:
		return fmt.Sprintf("installed snapshot %d", t.Index)
	case TraceBirth:
		return "birth " + t.Reason
	case TraceRefused:
		return fmt.Sprintf("refuses %d: %s", t.Server, t.Refusal)
	case TraceRefusedByPeer:
		return fmt.Sprintf("is refused by %d: %s", t.Server, t.Refusal)
	case TraceMembership:
		return fmt.Sprintf("membership of index %d in force", t.Index)
	case TraceTimeJump:
		return fmt.Sprintf("woke up %v late", t.Elapsed)
	case TraceDropped:
		return fmt.Sprintf("drops a message of %d: %s", t.Server, t.Reason)
	case TraceGaveUp:
		return "gives the change up: " + t.Reason
	case TraceTransfer:
		return "hands over: " + t.Reason
	case TraceTransferEnded:
		return "handed over " + t.Reason
	case TraceLostLog:
		return fmt.Sprintf("%d has lost its log after %d", t.Server, t.Index)
	}
	return fmt.Sprintf("trace %d", t.Kind)
}

func (c *cluster) logSave(h *host, u diskUpdate) {
	if c.transcript == nil || c.hide["saves"] {
		return
	}
	var parts []string
	if hard := u.save.Hard; hard != nil {
		parts = append(parts, fmt.Sprintf("term %d vote %d", hard.Term, hard.Vote))
		if hard.Lost {
			parts = append(parts, "its log is lost")
		}
	}
	if b := u.save.Birth; b != nil {
		parts = append(parts, fmt.Sprintf("birth %s complete %v", encodeMembership(b.Membership), b.Complete))
	}
	if s := u.save.Snapshot; s != nil {
		how := "taken"
		if u.save.Installed {
			how = "installed"
		}
		parts = append(parts, fmt.Sprintf("snapshot %d %s", s.Index, how))
	}
	if len(u.entries) > 0 {
		parts = append(parts, fmt.Sprintf("entries [%d,%d)", u.first, u.first+Index(len(u.entries))))
	}
	c.logf("%d: save %d: %s", h.id, u.save.Seq, strings.Join(parts, ", "))
}

func (c *cluster) logRead(h *host, r Read) {
	if r.Err != nil {
		c.logf("%d: read %d fails: %v", h.id, r.ID, r.Err)
		return
	}
	c.logf("%d: read %d at index %d", h.id, r.ID, r.Index)
}

// describeLog puts a log in a line: terms by index, as the dissertation's figures do.
func describeLog(h *host) string {
	var terms []string
	for _, e := range h.log.entries {
		word := fmt.Sprint(e.term)
		if e.kind == KindMembership {
			word += "m"
		}
		terms = append(terms, word)
	}
	if h.log.first > 1 {
		terms = append([]string{fmt.Sprintf("(from %d)", h.log.first)}, terms...)
	}
	return strings.Join(terms, " ")
}

// look puts a server in a few lines.
func (h *host) look() string {
	if h.node == nil {
		return fmt.Sprintf("%d: down, log [%d,%d), term %d", h.id, h.disk.log.first, h.disk.log.next(), h.disk.hard.Term)
	}
	s := h.node.Status()
	text := fmt.Sprintf("%d: %s term %d leader %d log [%d,%d) saved %d commit %d applied %d snapshot %d", h.id, s.Role, s.Term, s.Leader,
		s.First, s.Next, s.Durable, s.Commit, s.Applied, s.Snapshot)
	for _, p := range s.Progress {
		text += fmt.Sprintf("\n   %d: %s match %d next %d inflight %d", p.ID, p.State, p.Match, p.Next, p.InflightMessages)
		if p.Filling {
			text += " filling"
		}
		if p.LostLog {
			text += " lost its log"
		}
	}
	return text
}
