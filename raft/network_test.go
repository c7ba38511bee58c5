package raft

import (
	"fmt"
	"time"
)

// network says which messages arrive. Everything that it holds back keeps its order.
type network struct {
	cut  map[[2]ServerID]bool // from, to: lost
	hold map[[2]ServerID]bool // from, to: kept back until released
	held []Message
}

func newNetwork() network {
	return network{cut: map[[2]ServerID]bool{}, hold: map[[2]ServerID]bool{}}
}

// transmit sends a message that may leave: what its claims need is durable.
func (c *cluster) transmit(h *host, m Message) {
	c.history.sent(h, m)
	m.FromStore, m.FromRun = h.disk.store, h.run
	way := [2]ServerID{m.From, m.To}
	lost := ""
	switch {
	case int(m.To) > len(c.hosts) || m.To == 0:
		lost = "nobody"
	case !m.ToStore.IsZero() && c.host(m.To).disk.store != m.ToStore:
		lost = "other store"
	case c.net.cut[way] || c.chance(c.pace.lose):
		lost = "lost"
	case c.net.hold[way]:
		lost = "held"
	}
	c.logMessage(m, lost)
	if lost == "held" {
		c.net.held = append(c.net.held, m)
	}
	if lost != "" {
		return
	}
	c.deliver(m, c.now+c.between(c.pace.network))
	if c.chance(c.pace.twice) {
		c.deliver(m, c.now+4*c.between(c.pace.network)+time.Millisecond)
	}
}

func (c *cluster) deliver(m Message, at time.Duration) {
	c.schedule(at, m.To, 0, func(h *host) { h.step(m) })
}

// release lets the held messages of one way through, all at once; count 0 means all of them.
func (c *cluster) release(from, to ServerID, backwards bool, count int) {
	var out, kept []Message
	for _, m := range c.net.held {
		if m.From == from && m.To == to && (count == 0 || len(out) < count) {
			out = append(out, m)
			continue
		}
		kept = append(kept, m)
	}
	c.net.held = kept
	for k := range out {
		m := out[k]
		if backwards {
			m = out[len(out)-1-k]
		}
		c.deliver(m, c.now)
	}
}

func (c *cluster) logMessage(m Message, lost string) {
	if c.transcript == nil || c.hide[m.Type.String()] {
		return
	}
	if lost != "" {
		lost = "  (" + lost + ")"
	}
	c.logf("  %d->%d %s%s", m.From, m.To, describe(m), lost)
}

// describe puts a message in a line; what is zero is left out.
func describe(m Message) string {
	s := m.Type.String()
	add := func(format string, args ...any) { s += " " + fmt.Sprintf(format, args...) }
	if m.Term != 0 {
		add("term %d", m.Term)
	}
	switch m.Type {
	case MessagePreVoteRequest, MessageVoteRequest:
		add("log ends %d/%d", m.LastIndex, m.LastTerm)
		if m.Forced {
			add("forced")
		}
	case MessagePreVoteResponse, MessageVoteResponse:
		if m.Reject {
			add("no")
		} else {
			add("yes")
		}
	case MessageAppendRequest:
		add("after %d/%d entries [%d,%d) commit %d", m.PrevIndex, m.PrevTerm, m.First, m.Next, m.Commit)
	case MessageAppendResponse:
		if m.Reject {
			add("no match at %d, try %d/%d", m.PrevIndex, m.HintIndex, m.HintTerm)
		} else {
			add("match %d", m.Match)
		}
	case MessageHeartbeatRequest:
		add("round %d confirmed %d commit %d/%d", m.Round, m.Confirmed, m.Commit, m.PrevTerm)
	case MessageHeartbeatResponse:
		add("round %d", m.Round)
		if m.WantSnapshot {
			add("wants a snapshot")
		}
	case MessageSnapshotOffer:
		add("snapshot %d/%d", m.Snapshot.Index, m.Snapshot.Term)
	case MessageBirthRequest, MessageBirthResponse:
		switch {
		case m.Birth.IsZero():
			add("(no birth yet)")
		case m.Birth.Complete:
			add("complete %s", encodeMembership(m.Birth.Membership))
		default:
			add("%s", encodeMembership(m.Birth.Membership))
		}
	case MessageRefusal:
		add("%s", m.Refusal)
	case MessageTransferRequest:
		add("log ends %d/%d", m.LastIndex, m.LastTerm)
	}
	return s
}
