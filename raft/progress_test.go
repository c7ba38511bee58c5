package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A server that restarted sends on two connections for a moment. What its former run said is late, not lost: it must not
// cost the server its place, which it would not get back before the next election.
func TestDelayedAnswerOfAnEarlierRunIsNotTakenForALostLog(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	_, err := p.h.propose(3)
	require.NoError(t, err)
	p.h.endTurn()
	p.says(2, Message{Type: MessageAppendResponse, Term: term, FromRun: 8, Match: 4, LastIndex: 4, Round: 1})
	p.says(2, Message{Type: MessageAppendResponse, Term: term, FromRun: 7, Match: 1, LastIndex: 1, Round: 1})
	require.False(t, p.h.node.lead.of(2, storeOf(2, 1)).lost)
}

// A follower whose log ends below what it has acknowledged has lost it: no matter in which run, once it answers a round
// that began after the acknowledgement.
func TestFollowerThatComesBackWithLessThanItAcknowledgedIsRefused(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	_, err := p.h.propose(3)
	require.NoError(t, err)
	p.h.endTurn()
	p.runFor(2 * time.Millisecond)
	p.says(2, Message{Type: MessageAppendResponse, Term: term, FromRun: 7, Match: 4, LastIndex: 4, Round: p.h.node.lead.round})
	require.EqualValues(t, 4, p.h.node.commit)
	p.runFor(p.h.node.config.HeartbeatInterval)
	p.sentTo(2)
	p.says(2, Message{
		Type: MessageAppendResponse, Term: term, FromRun: 8, Reject: true, PrevIndex: 4, HintIndex: 1, HintTerm: term,
		LastIndex: 1, Round: p.h.node.lead.round,
	})
	refusals := p.sentTo(2, MessageRefusal)
	require.Len(t, refusals, 1)
	require.Equal(t, RefusalLostLog, refusals[0].Refusal)
	require.True(t, p.h.node.lead.of(2, storeOf(2, 1)).lost)
}

// A store that was put back to an older copy may have as many entries as it had acknowledged, of an older term: what it says of its
// end gives it away, or else it would refuse for ever what follows its acknowledgement.
func TestFollowerThatComesBackInAnOlderTermIsRefused(t *testing.T) {
	for _, late := range []bool{false, true} {
		p := playAlone(t, 3, nil, func(d *disk) { d.hard = HardState{Term: 2} })
		term := p.lead(2, 3)
		p.runFor(p.h.node.config.HeartbeatInterval)
		p.sentTo(2)
		round := p.h.node.lead.round
		if late {
			round = p.h.node.lead.of(2, storeOf(2, 1)).matchRound
		}
		p.says(2, Message{Type: MessageHeartbeatResponse, Term: term, FromRun: 8, LastIndex: 1, LastTerm: term - 1, Round: round})
		require.Equal(t, !late, p.h.node.lead.of(2, storeOf(2, 1)).lost, "what it said before it acknowledged proves nothing")
		if !late {
			require.Equal(t, RefusalLostLog, p.sentTo(2, MessageRefusal)[0].Refusal)
		}
	}
}

// What a follower has lost is no copy: its word counts for nothing until it is replaced, neither for a commit nor for a
// round of reads.
func TestFollowerWithALostLogCountsForNothing(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	p.says(2, Message{Type: MessageAppendResponse, Term: term, FromRun: 7, Match: 1, LastIndex: 1, Round: p.h.node.lead.round})
	p.runFor(p.h.node.config.HeartbeatInterval)
	p.says(2, Message{
		Type: MessageAppendResponse, Term: term, FromRun: 8, Reject: true, PrevIndex: 1, LastIndex: 0, Round: p.h.node.lead.round,
	})
	require.True(t, p.h.node.lead.of(2, storeOf(2, 1)).lost)
	p.runFor(p.h.node.config.HeartbeatInterval)
	confirmed := p.h.node.lead.confirmed
	p.says(2, Message{Type: MessageHeartbeatResponse, Term: term, FromRun: 8, Round: p.h.node.lead.round})
	require.Equal(t, confirmed, p.h.node.lead.confirmed, "a server that forgot its log may have forgotten its vote")
	p.says(3, Message{Type: MessageHeartbeatResponse, Term: term, Round: p.h.node.lead.round})
	require.Greater(t, p.h.node.lead.confirmed, confirmed)
}

// A follower that cannot restore its own snapshot votes and acknowledges like any other: it asks for the leader's snapshot
// beside the log, not instead of it, even when the leader's is of no use to it.
func TestFollowerThatCannotRestoreStillReceivesTheLog(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	p.runFor(time.Millisecond)
	meta, ok := p.h.takeSnapshot()
	require.True(t, ok)
	p.h.snapshotted(meta)
	p.h.endTurn()
	p.runFor(p.h.node.config.HeartbeatInterval)
	p.sentTo(2)
	for range 3 {
		p.says(2, Message{Type: MessageHeartbeatResponse, Term: term, Round: p.h.node.lead.round, WantSnapshot: true})
		_, err := p.h.propose(1)
		require.NoError(t, err)
		p.h.endTurn()
		p.runFor(p.h.node.config.HeartbeatInterval)
		require.Len(t, p.sentTo(2, MessageAppendRequest), 1)
		p.acks(2, p.h.node.trail.last())
	}
	p.says(2, Message{Type: MessageHeartbeatResponse, Term: term, Round: p.h.node.lead.round, WantSnapshot: true})
	offers := p.sentTo(2, MessageSnapshotOffer)
	require.Len(t, offers, 1)
	require.Equal(t, meta.Index, offers[0].Snapshot.Index)
}

// An append to such a follower that was lost is sent again all the same.
func TestFollowerThatCannotRestoreIsSentLostAppendsAgain(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	p.runFor(time.Millisecond)
	meta, ok := p.h.takeSnapshot()
	require.True(t, ok)
	p.h.snapshotted(meta)
	_, err := p.h.propose(1)
	require.NoError(t, err)
	p.h.endTurn()
	p.sentTo(2)
	for range stallHeartbeats + 2 {
		p.runFor(p.h.node.config.HeartbeatInterval)
		p.says(2, Message{Type: MessageHeartbeatResponse, Term: term, Round: p.h.node.lead.round, WantSnapshot: true})
	}
	require.NotEmpty(t, p.sentTo(2, MessageAppendRequest))
}

// A follower that was down when its leader was elected missed the first probe. It is asked again at the same place: going
// back to what it has acknowledged in this term, nothing, would send it the whole log or a snapshot for no reason.
func TestLostProbeIsSentAgainFromWhereItWas(t *testing.T) {
	entries := logOf(1, 1, 1, 1, 1, 1)
	compacted := func(d *disk) {
		d.hard = HardState{Term: 1}
		d.log.put(1, entries)
		d.log.compact(4)
		d.snapshot = SnapshotMeta{Group: DefaultGroup, Index: 4, Term: 1, Chain: entries[3].chain, Membership: d.birth.Membership}
	}
	for _, fillLost := range []bool{false, true} {
		p := playAlone(t, 3, nil, compacted)
		if fillLost {
			p.pace.cacheLag, p.pace.fillLost = 0, 1 // every block is read from the disk, and no read succeeds
		}
		term := p.lead(3)
		p.sentTo(2)
		for range stallHeartbeats + 2 {
			p.runFor(p.h.node.config.HeartbeatInterval)
			p.says(2, Message{Type: MessageHeartbeatResponse, Term: term, Round: p.h.node.lead.round})
		}
		require.Empty(t, p.sentTo(2, MessageSnapshotOffer))
		require.EqualValues(t, 7, p.h.node.lead.of(2, storeOf(2, 1)).next)
	}
}

// While old entries are read for a follower, its late answers may show that it has them. What the read found, or did not
// find, is of no interest any more; taken for news it offered a snapshot below the match, and the leader fenced itself
// (seed 45496 of the random runs).
func TestReadThatAnswersOvertookChangesNothing(t *testing.T) {
	for _, result := range []FillResult{FillRead, FillDropped, FillCompacted} {
		p := playAlone(t, 3, nil, nil)
		p.lead(2, 3)
		p.runFor(2 * time.Millisecond)
		meta, ok := p.h.takeSnapshot()
		require.True(t, ok)
		p.h.snapshotted(meta)
		p.pace.cacheLag, p.pace.fill = 0, time.Hour
		_, err := p.h.propose(3)
		require.NoError(t, err)
		p.h.endTurn()
		of := p.h.node.lead.of(2, storeOf(2, 1))
		seq := of.fill
		require.NotZero(t, seq)
		p.acks(2, 3)
		_, send := p.h.node.Filled(p.now, 2, storeOf(2, 1), seq, result, 3, 80)
		require.False(t, send)
		p.h.endTurn()
		require.Equal(t, ProgressStream, of.state)
		require.EqualValues(t, 4, of.next)
		require.NotZero(t, of.fill, "what is still missing is read at once")
	}
}

// A read that failed is not tried again at once, round and round, but with the heartbeats.
func TestReadThatFailedIsTriedAgainWithTheHeartbeats(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	p.pace.cacheLag, p.pace.fill = 0, time.Hour
	_, err := p.h.propose(3)
	require.NoError(t, err)
	p.h.endTurn()
	of := p.h.node.lead.of(2, storeOf(2, 1))
	fills := 0
	for seq := of.fill; ; seq = of.fill {
		require.NotZero(t, seq)
		fills++
		_, send := p.h.node.Filled(p.now, 2, storeOf(2, 1), seq, FillDropped, 0, 0)
		require.False(t, send)
		p.h.endTurn()
		require.Zero(t, of.fill)
		if fills == 3 {
			return
		}
		for range stallHeartbeats + 1 {
			p.runFor(p.h.node.config.HeartbeatInterval)
			p.says(2, Message{Type: MessageHeartbeatResponse, Term: term, Round: p.h.node.lead.round})
		}
	}
}

// An answer that was lost on its way back is made good by the next heartbeat's, which repeats what is durable: else an
// idle group would keep an entry uncommitted that a quorum has (camunda#8324).
func TestLostAnswerIsMadeGoodByAHeartbeat(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	_, err := p.h.propose(1)
	require.NoError(t, err)
	p.h.endTurn()
	p.runFor(p.h.node.config.HeartbeatInterval)
	last := p.h.node.trail.last()
	require.Less(t, p.h.node.commit, last)
	p.says(2, Message{
		Type: MessageHeartbeatResponse, Term: term, Round: p.h.node.lead.round, LastIndex: last, LastTerm: term, Match: last,
	})
	require.Equal(t, last, p.h.node.commit)
}

// What has arrived at a follower whose disk is slow is not sent again and again.
func TestAppendThatHasArrivedIsNotSentAgainToASlowDisk(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	p.acks(2, 1)
	p.sentTo(2)
	_, err := p.h.propose(1)
	require.NoError(t, err)
	p.h.endTurn()
	require.Len(t, p.sentTo(2, MessageAppendRequest), 1)
	last := p.h.node.trail.last()
	for range 4 * stallHeartbeats {
		p.runFor(p.h.node.config.HeartbeatInterval)
		p.says(2, Message{
			Type: MessageHeartbeatResponse, Term: term, Round: p.h.node.lead.round, LastIndex: last, LastTerm: term, Match: 1,
		})
		p.says(3, Message{Type: MessageHeartbeatResponse, Term: term, Round: p.h.node.lead.round})
	}
	require.Empty(t, p.sentTo(2, MessageAppendRequest))
}

// A rejection that was given before what is known now is late. It must not send the leader back below what matches
// (etcd pull request 1207), nor step by step through a log that a snapshot has replaced meanwhile (NuRaft#102).
func TestLateRejectionMovesNothingBack(t *testing.T) {
	p := follower(t, 3, 1, 1, 2, 2, 3, 3)
	term := p.lead(2, 3)
	of := p.h.node.lead.of(2, storeOf(2, 1))
	late := func(prev, hint Index) {
		p.says(2, Message{
			Type: MessageAppendResponse, Term: term, Reject: true, PrevIndex: prev, HintIndex: hint, HintTerm: 1, LastIndex: 7, Round: 1,
		})
	}
	require.Equal(t, ProgressStream, of.state)
	p.sentTo(2)
	for prev := Index(1); prev <= 7; prev++ {
		late(prev, 0)
	}
	require.Equal(t, ProgressStream, of.state)
	require.EqualValues(t, 7, of.match)
	require.EqualValues(t, 8, of.next)

	// As after a snapshot that it has installed: the probe is behind it.
	of.enter(ProgressProbe, of.match+1)
	p.h.endTurn()
	for prev := Index(1); prev <= 6; prev++ {
		late(prev, prev-1)
		require.EqualValues(t, 8, of.next, "a rejection at %d", prev)
	}
	require.Len(t, p.sentTo(2, MessageAppendRequest), 1, "one probe, and nothing for the late ones")
	// One that is of now moves it, and never below what matches.
	of.match = 3
	late(7, 1)
	require.EqualValues(t, 4, of.next)
}

// Two servers may have one id, while one takes the place of the other: what is lost on the way to one, and what is read for
// it, says nothing of the other.
func TestWhatIsLostOrReadForAnotherStoreChangesNothing(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	of := p.h.node.lead.of(2, storeOf(2, 1))
	require.Equal(t, ProgressStream, of.state)
	p.h.node.Unreachable(p.now, 2, storeOf(2, 2))
	require.Equal(t, ProgressStream, of.state)
	p.h.node.Unreachable(p.now, 2, storeOf(2, 1))
	require.Equal(t, ProgressProbe, of.state)
	p.acks(2, p.h.node.trail.next-1)
	require.Equal(t, ProgressStream, of.state)
	p.h.node.Unreachable(p.now, 2, StoreID{})
	require.Equal(t, ProgressProbe, of.state, "no store stands for all")

	p.acks(2, p.h.node.trail.next-1)
	p.pace.cacheLag, p.pace.fill = 0, time.Hour
	_, err := p.h.propose(3)
	require.NoError(t, err)
	p.h.endTurn()
	seq := of.fill
	require.NotZero(t, seq)
	_, send := p.h.node.Filled(p.now, 2, storeOf(2, 2), seq, FillRead, p.h.node.trail.next, 80)
	require.False(t, send)
	require.Equal(t, seq, of.fill)
}

// While one server takes another's place under its id, the two may have to talk to each other: what is not of this very server is
// not its own.
func TestServerHearsAnotherOneWithItsID(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	m := Message{Type: MessagePreVoteRequest, Group: DefaultGroup, From: 1, To: 1, Term: 9, LastIndex: 9, LastTerm: 8}
	m.FromStore = storeOf(1, 1)
	require.ErrorContains(t, p.h.node.inspect(&m), "from server 1 to server 1")
	m.FromStore = storeOf(1, 2)
	require.NoError(t, p.h.node.inspect(&m))
	p.h.step(m)
	require.Len(t, p.h.node.actions().Sends, 1)
	answer := p.h.node.actions().Sends[0].Message
	require.Equal(t, MessagePreVoteResponse, answer.Type)
	require.Equal(t, storeOf(1, 2), answer.ToStore)
	p.h.endTurn()
}
