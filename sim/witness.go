package sim

import (
	"errors"
	"fmt"
	"strings"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/transport"
)

// sent holds what a message claims against the sender's disk, at the moment when it leaves.
func (o *groupOracle) sent(r *replica, m *raft.Message) {
	w, hard := o.w, r.mirror.disk.hard
	o.messages++
	if w.calm && m.Type == raft.MessageSnapshotOffer {
		o.offers[offer{candidate{m.To, m.ToStore}, m.Snapshot.Index}] = true
	}
	if hard.Lost {
		o.mute(r, m)
	}
	claims := m.Term
	switch m.Type {
	case raft.MessagePreVoteRequest, raft.MessageBirthRequest, raft.MessageBirthResponse, raft.MessageRefusal:
		claims = 0
	case raft.MessagePreVoteResponse:
		if !m.Reject {
			claims = 0 // it repeats the candidate's proposal
		}
	}
	if claims > hard.Term {
		w.fail(checkVoteDurable, "server %v group %d sends %s of term %d with term %d on disk", r.h, o.group, m.Type, m.Term, hard.Term)
	}
	// An answer that a turn makes before it takes the vote from a server is for one that has it.
	if votes := r.seen.membership.IsVoter(m.To, m.ToStore) || r.voters.IsVoter(m.To, m.ToStore); !votes &&
		m.Type == raft.MessageAppendRequest && m.Next > max(m.First, m.Commit+1) {
		w.fail(checkLearners, "server %v group %d sends entries up to %d to server %d, which has no vote, and has committed %d", r.h, o.group, m.Next-1, m.To, m.Commit)
	}
	me := candidate{r.h.id, r.h.identity.Store}
	switch {
	case m.Type == raft.MessageTransferRequest:
		o.handed[given{ballot{term: m.Term}, candidate{m.To, m.ToStore}}] = true
	case m.Type == raft.MessageVoteRequest && m.Forced && !o.handed[given{ballot{term: m.Term - 1}, me}]:
		w.fail(checkTransfer, "server %v group %d asks for votes in term %d as one that was told to take over, and nobody has told it", r.h, o.group, m.Term)
	}
	var vote candidate
	switch {
	case m.Type == raft.MessageVoteRequest:
		vote = me
	case m.Type == raft.MessageVoteResponse && !m.Reject:
		vote = candidate{m.To, m.ToStore}
	}
	if vote.id != 0 {
		if has := (candidate{hard.Vote, hard.VoteStore}); m.Term == hard.Term && has != vote {
			w.fail(checkVoteDurable, "server %v group %d votes for %v in term %d with a vote for %v on disk", r.h, o.group, vote, m.Term, has)
		}
		b := ballot{r.h.identity.Store, m.Term}
		if was, ok := o.votes[b]; ok && was != vote {
			w.fail(checkVoteOnce, "server %v group %d votes for %v and for %v in term %d", r.h, o.group, was, vote, m.Term)
		}
		o.votes[b] = vote
		o.given[given{b, vote}] = true
	}
	switch {
	case m.Type == raft.MessageAppendResponse && !m.Reject, m.Type == raft.MessageHeartbeatResponse && m.Match > 0:
		o.acknowledged(r, m)
	}
}

// mute looks at what a server says whose log was lost.
func (o *groupOracle) mute(r *replica, m *raft.Message) {
	switch m.Type {
	case raft.MessageVoteResponse, raft.MessagePreVoteResponse:
		if m.Reject {
			return
		}
	case raft.MessageAppendResponse:
		if m.Reject && m.Round == 0 { // to a leader whose term is over; it confirms nothing
			return
		}
	case raft.MessageVoteRequest, raft.MessagePreVoteRequest, raft.MessageAppendRequest, raft.MessageHeartbeatRequest,
		raft.MessageHeartbeatResponse, raft.MessageSnapshotOffer:
	default:
		return
	}
	o.w.fail(checkMute, "server %v group %d has lost its log and sends %s of term %d to server %d", r.h, o.group, m.Type, m.Term, m.To)
}

// acknowledged looks whether a match stands on the sender's disk and is the leader's.
func (o *groupOracle) acknowledged(r *replica, m *raft.Message) {
	disk := &r.mirror.disk
	if m.Match >= disk.next() {
		o.w.fail(checkAppend, "server %v group %d acknowledges index %d and its disk ends at %d", r.h, o.group, m.Match, disk.next()-1)
		return
	}
	leader := o.w.find(m.To, m.ToStore)
	_, chain, ok := disk.at(m.Match)
	if !ok || leader == nil || int(o.group) > len(leader.replicas) {
		return
	}
	l := leader.replicas[o.group-1]
	if l.seen.role != raft.RoleLeader || l.seen.term != m.Term || l.seen.ended {
		return
	}
	if _, want, held := l.mirror.now.at(m.Match); held && want != chain || m.Match >= l.mirror.now.next() {
		o.w.fail(checkAppend, "server %v group %d acknowledges index %d, which is not server %d's", r.h, o.group, m.Match, m.To)
	}
}

// witness counts what a turn shows.
func (o *groupOracle) witness(r *replica, st *look, work *server.Work) {
	w := o.w
	if st.role == raft.RoleLeader && r.seen.role != raft.RoleLeader {
		w.saw(sawElection)
		if r.seen.cut {
			w.saw(sawCutLogElection)
		}
	}
	if st.role != raft.RoleLeader && r.seen.role == raft.RoleLeader && r.mirror.now.next() > st.commit+1 {
		w.saw(sawDeposed)
	}
	if st.needsBackup && !r.seen.needsBackup {
		w.saw(sawSnapshotLost)
	}
	for i := range work.Events {
		e := &work.Events[i]
		if w.story != nil {
			w.fullNote("server %v group %d: %s", r.h, o.group, describeEvent(e))
			w.plainEvent(r.h, e)
		}
		switch e.Kind {
		case server.EventTrace:
			w.trace(&e.Trace)
			if e.Trace.Kind == raft.TraceDropped && !strings.HasPrefix(e.Trace.Reason, "a transfer that is over") {
				o.malformed(r, e.Trace.Server, e.Trace.Reason)
			}
		case server.EventSnapshot:
			w.saw(sawSnapshotTaken)
			if w.calm {
				r.taken++
			}
		case server.EventCompacted:
			w.saw(sawCompaction)
			if newest := r.mirror.disk.snapshot.Index; e.Index >= newest {
				w.fail(checkCompact, "server %v group %d compacts through %d, and its newest snapshot is at %d", r.h, o.group, e.Index, newest)
			}
		case server.EventDropped:
			w.saw(sawRefusedMessage)
			o.malformed(r, e.Server, firstLine(e.Err))
		case server.EventTrouble:
			if strings.Contains(firstLine(e.Err), "serves instead") {
				w.saw(sawSnapshotFallback)
			}
			o.trouble(r, e.Err)
			if strings.Contains(firstLine(e.Err), "fetch snapshot") {
				w.saw(sawTransferFailed)
			}
		}
	}
}

// malformed looks at a message that was dropped for what is in it. Where no fault has spoiled or misrouted any, somebody has sent it so.
func (o *groupOracle) malformed(r *replica, from raft.ServerID, why string) {
	if w := o.w; w.byKind[FaultGarbage] == 0 && w.byKind[FaultMisroute] == 0 {
		w.fail(checkFormed, "server %v group %d drops a message of server %d: %s", r.h, o.group, from, why)
	}
}

// trouble looks whether a replica had to do without a snapshot that no fault has touched.
func (o *groupOracle) trouble(r *replica, err error) {
	text := firstLine(err)
	missed := strings.Contains(text, "serves instead") || strings.Contains(text, "cannot be read")
	if missed && !r.h.flipped && r.h.mayFail == nil && !errors.Is(err, errPower) {
		o.w.fail(checkDurable, "server %v group %d lacks a snapshot that no fault has touched: %s", r.h, o.group, text)
	}
}

func (w *world) trace(t *raft.Trace) {
	switch t.Kind {
	case raft.TraceTimeJump:
		w.saw(sawTimeJump)
	case raft.TraceDropped:
		w.saw(sawRefusedMessage)
	case raft.TraceRefusedByPeer:
		switch t.Refusal {
		case raft.RefusalStranger:
			w.saw(sawStranger)
		case raft.RefusalLostLog:
			w.saw(sawLostLog)
		}
	}
}

// wants looks at a request of a transfer.
func (o *groupOracle) wants(r *replica, request transport.ChunkRequest) {
	if r.seen.asked != r.fetch {
		r.seen.asked = r.fetch
		if request.Offset > 0 {
			o.w.saw(sawTransferResumed)
		}
	}
}

// finished looks at a job that has ended.
func (o *groupOracle) finished(r *replica, j server.Job) {
	w := o.w
	if _, ok := j.(*server.FillJob); ok {
		w.saw(sawFill)
		if r.seen.role != raft.RoleLeader {
			w.saw(sawLateFillDropped)
		}
	}
	if w.story != nil {
		w.fullNote("server %v group %d: %T done", r.h, o.group, j)
	}
}

// describe puts a message into words.
func describe(m *raft.Message, lost bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s term %d", m.Type, m.Term)
	for _, f := range [...]struct {
		name  string
		value uint64
	}{
		{"first", uint64(m.First)},
		{"next", uint64(m.Next)},
		{"prev", uint64(m.PrevIndex)},
		{"prev term", uint64(m.PrevTerm)},
		{"commit", uint64(m.Commit)},
		{"match", uint64(m.Match)},
		{"hint", uint64(m.HintIndex)},
		{"last", uint64(m.LastIndex)},
		{"last term", uint64(m.LastTerm)},
		{"round", uint64(m.Round)},
		{"snapshot", uint64(m.Snapshot.Index)},
		{"refusal", uint64(m.Refusal)},
	} {
		if f.value != 0 {
			fmt.Fprintf(&b, ", %s %d", f.name, f.value)
		}
	}
	if m.Reject {
		b.WriteString(", reject")
	}
	if m.WantSnapshot {
		b.WriteString(", wants a snapshot")
	}
	if lost {
		b.WriteString(" (lost)")
	}
	return b.String()
}

func describeEvent(e *server.Event) string {
	text := e.Kind.String()
	if e.Kind == server.EventTrace {
		text = e.Trace.Kind.String()
		if e.Trace.Reason != "" {
			text += ": " + e.Trace.Reason
		}
		if e.Trace.Index != 0 {
			text += fmt.Sprintf(", index %d", e.Trace.Index)
		}
	}
	if e.Index != 0 {
		text += fmt.Sprintf(", index %d", e.Index)
	}
	if e.Server != 0 {
		text += fmt.Sprintf(", server %d", e.Server)
	}
	if e.Kind == server.EventRole {
		text += fmt.Sprintf(", %s of term %d", e.Role, e.Term)
	}
	if e.Err != nil {
		text += ": " + firstLine(e.Err)
	}
	return text
}
