package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

// after gives the replica messages that wait for a save.
func (r *Replica) after(wait raft.SaveSeq, messages ...raft.Message) {
	for _, m := range messages {
		r.carrySend(&raft.Send{Message: m, Wait: wait})
	}
}

// saved has saves up to seq done, and returns what leaves.
func (r *Replica) saved(seq raft.SaveSeq) []raft.Message {
	r.work.Sends = nil
	r.saves.done = seq
	r.release()
	return r.work.Sends
}

// What was acknowledged to one leader may have been cut by the next one's entries in the very save that lets the answer go.
func TestNothingIsAcknowledgedToALeaderOfATermThatIsOver(t *testing.T) {
	r := newReplica(t)
	r.term = 9
	r.after(1,
		raft.Message{Type: raft.MessageAppendResponse, To: 2, Term: 8, Match: 57}, raft.Message{Type: raft.MessageHeartbeatResponse, To: 2, Term: 8, Match: 57},
		raft.Message{Type: raft.MessageVoteResponse, To: 2, Term: 8}, raft.Message{Type: raft.MessageHeartbeatResponse, To: 3, Term: 9, Match: 54},
	)
	sent := r.saved(1)
	require.Len(t, sent, 2)
	require.Equal(t, raft.MessageVoteResponse, sent[0].Type)
	require.EqualValues(t, 9, sent[1].Term)
}

// A server whose place another store has taken is not alone: it can have the leader's snapshot, or hears that it was replaced.
func TestWhoWasReplacedIsNotAlone(t *testing.T) {
	r := newReplica(t)
	me := r.shared.identity
	r.membership = raft.Membership{Voters: []raft.Member{{ID: me.Server, Store: me.Store}}}
	require.True(t, r.alone())
	r.membership.Voters[0].Store[0]++
	require.False(t, r.alone())
}

// TestAnswerThatWaitsForASaveTakesThePlaceOfTheOneBefore, and says what that one said, if it says less.
func TestAnswerThatWaitsForASaveTakesThePlaceOfTheOneBefore(t *testing.T) {
	type m = raft.Message
	const (
		appended, beat, vote  = raft.MessageAppendResponse, raft.MessageHeartbeatResponse, raft.MessageVoteResponse
		preVote, birth, asked = raft.MessagePreVoteResponse, raft.MessageBirthResponse, raft.MessageReadIndexRequest
	)
	other := raft.StoreID{9}
	for name, c := range map[string]struct{ in, out []m }{
		"heartbeats": {
			in:  []m{{Type: beat, Term: 5, Round: 3, Match: 4}, {Type: beat, Term: 5, Round: 4, Match: 8, LastIndex: 9, WantSnapshot: true}},
			out: []m{{Type: beat, Term: 5, Round: 4, Match: 8, LastIndex: 9, WantSnapshot: true}},
		},
		"a heartbeat that came late": {
			in:  []m{{Type: beat, Term: 5, Round: 4, LastIndex: 8}, {Type: beat, Term: 5, Round: 3, LastIndex: 9}},
			out: []m{{Type: beat, Term: 5, Round: 4, LastIndex: 9}},
		},
		"a round of a later term": {
			in:  []m{{Type: beat, Term: 4, Round: 9, Match: 7}, {Type: beat, Term: 5, Round: 1}},
			out: []m{{Type: beat, Term: 5, Round: 1}},
		},
		"an append that came late": {
			in:  []m{{Type: appended, Term: 5, Match: 9, Round: 1, LastIndex: 9}, {Type: appended, Term: 5, Match: 7, Round: 2, LastIndex: 10}},
			out: []m{{Type: appended, Term: 5, Match: 9, Round: 2, LastIndex: 10}},
		},
		"what matched in an earlier term": {
			in:  []m{{Type: appended, Term: 4, Match: 9, LastIndex: 9}, {Type: appended, Term: 5, Match: 7, LastIndex: 7}},
			out: []m{{Type: appended, Term: 5, Match: 7, LastIndex: 7}},
		},
		"rejections": {
			in: []m{
				{Type: appended, Term: 5, Reject: true, PrevIndex: 9, HintIndex: 2},
				{Type: appended, Term: 5, Match: 3, LastIndex: 3},
				{Type: appended, Term: 5, Reject: true, PrevIndex: 6, WantSnapshot: true},
				{Type: appended, Term: 5, Reject: true, PrevIndex: 8, HintIndex: 3},
			},
			out: []m{
				{Type: appended, Term: 5, Match: 3, LastIndex: 3},
				{Type: appended, Term: 5, Reject: true, PrevIndex: 6, WantSnapshot: true},
				{Type: appended, Term: 5, Reject: true, PrevIndex: 8, HintIndex: 3},
			},
		},
		"votes": {
			in:  []m{{Type: vote, Term: 5}, {Type: vote, Term: 5, Reject: true}, {Type: vote, Term: 5}, {Type: vote, Term: 5, Reject: true}},
			out: []m{{Type: vote, Term: 5}, {Type: vote, Term: 5, Reject: true}},
		},
		"pre-votes": {
			in:  []m{{Type: preVote, Term: 4, Reject: true}, {Type: vote, Term: 5, Reject: true}, {Type: preVote, Term: 5, Reject: true}},
			out: []m{{Type: vote, Term: 5, Reject: true}, {Type: preVote, Term: 5, Reject: true}},
		},
		"births":    {in: []m{{Type: birth}, {Type: birth, Birth: raft.Birth{Complete: true}}}, out: []m{{Type: birth, Birth: raft.Birth{Complete: true}}}},
		"questions": {in: []m{{Type: asked, Term: 5, Round: 3}, {Type: asked, Term: 5, Round: 4}}, out: []m{{Type: asked, Term: 5, Round: 4}}},
		"to others": {
			in:  []m{{Type: beat, Term: 5, To: 2}, {Type: beat, Term: 5, To: 3}, {Type: beat, Term: 5, To: 2, ToStore: other}},
			out: []m{{Type: beat, Term: 5, To: 2}, {Type: beat, Term: 5, To: 3}, {Type: beat, Term: 5, To: 2, ToStore: other}},
		},
		"requests": {
			in:  []m{{Type: raft.MessageVoteRequest, Term: 5}, {Type: raft.MessageVoteRequest, Term: 5}},
			out: []m{{Type: raft.MessageVoteRequest, Term: 5}, {Type: raft.MessageVoteRequest, Term: 5}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			r.after(7, c.in...)
			require.Empty(t, r.saved(6), "the save is not done")
			require.Equal(t, c.out, r.saved(7))
			require.Empty(t, r.held)
		})
	}
}

// TestWhatIsHeldLeavesWithItsSave: what waits for an earlier save says what is true earlier, and is not kept until a later one is done.
func TestWhatIsHeldLeavesWithItsSave(t *testing.T) {
	ack := func(match raft.Index) raft.Message {
		return raft.Message{Type: raft.MessageAppendResponse, Term: 5, To: 2, Match: match, LastIndex: match}
	}
	beat := func(round raft.Round) raft.Message {
		return raft.Message{Type: raft.MessageHeartbeatResponse, Term: 5, To: 2, Round: round}
	}
	r := newReplica(t)
	r.term = 5
	r.after(3, ack(10))
	r.after(4, ack(20))
	r.after(2, beat(1))
	r.after(6, ack(30))
	r.after(3, ack(11))
	r.after(2, beat(2))
	r.after(0, beat(3))
	require.Equal(t, []raft.Message{beat(3)}, r.work.Sends)
	require.Len(t, r.held, 4)
	require.Empty(t, r.saved(1))
	require.Equal(t, []raft.Message{beat(2)}, r.saved(2))
	require.Equal(t, []raft.Message{ack(11), ack(20)}, r.saved(5))
	require.Len(t, r.held, 1)
	r.term = 6
	require.Empty(t, r.saved(6), "the entries may have been cut")
	require.Empty(t, r.held)
}

// TestWhatIsHeldStaysBoundedWhileADiskHangs: neither time nor terms make it longer.
func TestWhatIsHeldStaysBoundedWhileADiskHangs(t *testing.T) {
	r := newReplica(t)
	longest := 0
	for term := raft.Term(1); term <= 200; term++ {
		save := raft.SaveSeq(term)
		r.carryRole(&raft.Actions{Term: term})
		for k := range raft.Round(100) {
			for to := raft.ServerID(2); to <= 3; to++ {
				r.after(
					save, raft.Message{Type: raft.MessageHeartbeatResponse, To: to, Term: term, Round: k},
					raft.Message{Type: raft.MessageAppendResponse, To: to, Term: term, Reject: true, PrevIndex: raft.Index(k), Round: k},
					raft.Message{Type: raft.MessageVoteResponse, To: to, Term: term, Reject: true},
					raft.Message{Type: raft.MessagePreVoteResponse, To: to, Term: term, Reject: true},
					raft.Message{Type: raft.MessageReadIndexRequest, To: to, Term: term, Round: k},
				)
			}
		}
		longest = max(longest, len(r.held))
	}
	require.LessOrEqual(t, longest, heldKeep+10)
	require.GreaterOrEqual(t, len(r.saved(200)), 10, "what is of the present term leaves")
}

// BenchmarkHold measures what a follower does whose disk is hundreds of saves behind.
func BenchmarkHold(b *testing.B) {
	r := &Replica{term: 5}
	for seq := raft.SaveSeq(1); b.Loop(); seq++ {
		r.carrySend(&raft.Send{Message: raft.Message{Type: raft.MessageAppendResponse, Term: 5, To: 2, Match: raft.Index(seq)}, Wait: seq})
		if seq%256 == 0 {
			r.saves.done = seq
			r.release()
			r.work.Sends = r.work.Sends[:0]
		}
	}
}
