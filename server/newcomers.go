package server

import (
	"strings"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// What a leader knows, beside what the consensus module does, of servers that are to become members.

// noteGivenUp keeps what stood in the way of the newcomer that a change is given up for: once that is committed nobody looks for the
// newcomer any more.
func (r *Replica) noteGivenUp(g *raft.GaveUp) {
	if g != nil {
		r.orders.inTheWay = r.inTheWay(g.Member)
	}
}

// inTheWay says why a newcomer is not heard of, as far as this leader knows: what it answers, or why there is no connection to it. Empty:
// nothing is known.
func (r *Replica) inTheWay(m raft.Member) string {
	if refused := r.node.Status().Refused; refused.By == m.ID && refused.Reason == raft.RefusalUnborn {
		return "it answers that it knows no history of the group, and takes none: its store was formatted for one of the group's founders. " +
			"Stop it, move its data directory away, format it as one that joins (`oarlock join`), and start it; it has another store then"
	}
	for _, p := range r.shared.options.Transport.Status().Peers {
		if p.ID == m.ID && p.Store == m.Store && !p.Connected {
			return strings.ReplaceAll(p.Error, "\n", "; ")
		}
	}
	return ""
}

// hearNewcomers marks in a plan those who are no members and are connected with this server.
func (r *Replica) hearNewcomers(plan *raft.MembershipPlan) {
	t, can := r.shared.options.Transport.(transport.VisitTeller)
	for k := range plan.Members {
		if p := &plan.Members[k]; can && !p.Votes && !p.Learns && !p.Heard {
			p.Heard = t.VisitedBy(p.Member.ID, p.Member.Store)
		}
	}
}
