package server

import (
	"slices"

	"github.com/oarlock/oarlock/raft"
)

// A message that claims what a save makes durable is held until that save is done. A disk that hangs lets none of them go, while
// leaders and candidates ask on: so an answer takes the place of the one before it, where they wait for the same save. What is
// held is then at most one message of a kind for each peer and each save under way of this term, and heldKeep of earlier terms.
// Within a term a leader's window bounds the saves.

// heldKeep is how many messages may be held when a term ends. If there are more the disk is far behind, and all of that term and of
// earlier ones are dropped: nobody asks any more for what they answer, or will ask again.
const heldKeep = 64

// hold keeps a message until its save is durable. Saves are done in their order, so that r.held stands in the order in which it leaves:
// by save, and for each save as it came. A new message waits for the newest save as a rule, and is compared with the few that do, too.
func (r *Replica) hold(s *raft.Send) {
	r.held = append(r.held, *s)
	at := len(r.held) - 1
	for ; at > 0 && r.held[at-1].Wait > s.Wait; at-- {
		r.held[at] = r.held[at-1]
	}
	r.held[at] = *s
	for k := at - 1; k >= 0 && r.held[k].Wait == s.Wait; k-- {
		if supersede(&r.held[at].Message, &r.held[k].Message) {
			r.held = slices.Delete(r.held, k, k+1)
			return
		}
	}
}

// supersede reports whether m, which waits for the same save as an older message, makes that one superfluous. What the older one says
// beyond it, because m answers a request that came late, is then in m, too.
func supersede(m, older *raft.Message) bool {
	if m.Type != older.Type || m.To != older.To || m.ToStore != older.ToStore {
		return false
	}
	switch m.Type {
	case raft.MessageAppendResponse:
		// What matches and what does not are two things, and that a snapshot cannot be had is a third. Of rejections only the one that
		// answers a leader's last probe is of use to it.
		if m.Reject != older.Reject || m.WantSnapshot != older.WantSnapshot {
			return false
		}
	case raft.MessageHeartbeatResponse:
		// Each says all there is to say: the newest round, and how the sender is now.
	case raft.MessageVoteResponse:
		if m.Reject != older.Reject {
			return false // the first answer is the one that counts
		}
		return true
	case raft.MessagePreVoteResponse, raft.MessageBirthResponse:
		// A refusal tells the newest term, a birth is saved and then complete. Pre-votes that are granted wait for nothing.
		return m.Reject == older.Reject
	case raft.MessageReadIndexRequest:
		return true // the same question again, or a later one: the answer to the former would be to nobody any more
	default:
		return false // a candidate asks once in a term; all others wait for nothing
	}
	if m.Term == older.Term {
		// One turn answers several appends with one message in the same way (raft.Node): what both claim is durable with the same save,
		// and within a term nothing of what a leader's log is known to share is cut.
		m.Round, m.Match = max(m.Round, older.Round), max(m.Match, older.Match)
	}
	return true
}

// release lets go what waited for saves that are durable now. An acknowledgement of a term that is over is not sent any more, nor an answer
// to a heartbeat, which acknowledges as well: what they claim may have been cut by another leader's entries in the very call that
// made it durable.
func (r *Replica) release() {
	k := 0
	for ; k < len(r.held) && r.held[k].Wait <= r.saves.done; k++ {
		m := &r.held[k].Message
		if claims := m.Type == raft.MessageAppendResponse || m.Type == raft.MessageHeartbeatResponse; !claims || m.Term >= r.term {
			r.send(m)
		}
	}
	if k > 0 {
		r.held = slices.Delete(r.held, 0, k)
	}
}

// termEnded drops what is held when too much is.
func (r *Replica) termEnded() {
	if len(r.held) > heldKeep {
		clear(r.held)
		r.held = r.held[:0]
	}
}
