package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// played is a cluster in which only server 1 runs; the test plays the others, by hand. What server 1 sends is kept.
type played struct {
	*cluster
	h *host
}

// playAlone starts server 1 of a born group of count voters.
func playAlone(t testing.TB, count int, change func(*Config), prepare func(d *disk)) *played {
	c := newCluster(t, 1)
	c.history.played = true
	c.addHosts(count, 0, change)
	c.presetBirth()
	if prepare != nil {
		prepare(&c.hosts[0].disk)
	}
	for id := ServerID(2); int(id) <= count; id++ {
		c.net.hold[[2]ServerID{1, id}] = true
	}
	c.hosts[0].start()
	return &played{cluster: c, h: c.hosts[0]}
}

// presetBirth gives every server the complete birth of a group of all of them.
func (c *cluster) presetBirth() {
	m := Membership{}
	for _, h := range c.hosts {
		m.Voters = append(m.Voters, Member{ID: h.id, Store: storeOf(h.id, 1)})
	}
	for _, h := range c.hosts {
		h.disk.birth = Birth{Membership: m, Complete: true}
	}
}

// says lets another server say something to server 1 and ends the turn.
func (p *played) says(from ServerID, m Message) {
	m.Group, m.From, m.To, m.FromStore = DefaultGroup, from, 1, storeOf(from, 1)
	if m.FromRun == 0 {
		m.FromRun = RunID(from)
	}
	if of := p.h.node.lead.of(from, storeOf(from, 1)); m.Type == MessageHeartbeatResponse && of != nil && (m.LastIndex == 0 || m.LastTerm == 0) {
		m.LastIndex, m.LastTerm = max(m.LastIndex, of.match), max(m.LastTerm, of.matchTerm) // an honest follower's log ends at least where it has acknowledged
	}
	p.h.step(m)
	p.h.endTurn()
}

// lead makes server 1 the leader of a next term, with a committed no-op if all the others answer.
func (p *played) lead(answering ...ServerID) Term {
	p.t.Helper()
	p.h.timeout()
	for _, id := range answering {
		p.says(id, Message{Type: MessagePreVoteResponse, Term: p.h.node.hard.Term + 1})
	}
	term := p.h.node.hard.Term
	p.runFor(2 * time.Millisecond) // the vote for itself is saved
	for _, id := range answering {
		p.says(id, Message{Type: MessageVoteResponse, Term: term})
	}
	require.Equal(p.t, RoleLeader, p.h.node.role)
	p.runFor(2 * time.Millisecond)
	for _, id := range answering {
		p.acks(id, p.h.node.trail.last())
	}
	return term
}

// acks lets a follower acknowledge all up to match, in the newest round.
func (p *played) acks(from ServerID, match Index) {
	p.says(from, Message{
		Type: MessageAppendResponse, Term: p.h.node.hard.Term, Match: match, LastIndex: match, Round: p.h.node.lead.round,
	})
}

// sentTo takes what server 1 has sent to another one since the last call.
func (p *played) sentTo(id ServerID, types ...MessageType) []Message {
	var out, kept []Message
	for _, m := range p.net.held {
		if m.To != id {
			kept = append(kept, m)
			continue
		}
		for _, t := range types {
			if m.Type == t {
				out = append(out, m)
			}
		}
		if len(types) == 0 {
			out = append(out, m)
		}
	}
	p.net.held = kept
	return out
}
