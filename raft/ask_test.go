package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Reads at servers that do not lead (dissertation 6.4). The leader's answer must be to this very question, however often it was
// asked, and given after a round that began later: in etcd#20418 a question that was repeated was answered by late answers to the first.

// asking is a follower of server 2 with a term and one read asked for; it returns the question.
func asking(t *testing.T, id ReadID) (*played, Message) {
	p := playAlone(t, 3, nil, func(d *disk) { d.hard = HardState{Term: 1} })
	p.says(2, Message{Type: MessageHeartbeatRequest, Term: 1, Round: 1})
	require.NoError(t, p.h.read(id))
	p.h.endTurn()
	questions := p.sentTo(2, MessageReadIndexRequest)
	require.Len(t, questions, 1)
	return p, questions[0]
}

func (p *played) answersRead(from ServerID, question Message, index Index) {
	p.says(from, Message{Type: MessageReadIndexResponse, Term: 1, Round: question.Round, Run: question.Run, Commit: index})
}

func (p *played) decided() []Read {
	reads := p.h.reads
	p.h.reads = nil
	return reads
}

func TestReadOfAFollowerIsAskedOfItsLeader(t *testing.T) {
	p, question := asking(t, 7)
	require.Equal(t, p.h.config.Run, question.Run)
	p.answersRead(2, question, 0)
	require.Equal(t, []Read{{ID: 7}}, p.decided())
	p.answersRead(2, question, 0) // the network says it twice
	require.Empty(t, p.decided())
}

// The answer to an older question, or to one of an earlier run, was perhaps given before this read came.
func TestAnswerToAnotherQuestionDecidesNothing(t *testing.T) {
	p, first := asking(t, 1)
	p.answersRead(2, first, 0)
	require.Len(t, p.decided(), 1)
	require.NoError(t, p.h.read(2))
	p.h.endTurn()
	second := p.sentTo(2, MessageReadIndexRequest)[0]
	require.NotEqual(t, first.Round, second.Round)
	p.answersRead(2, first, 0)
	require.Empty(t, p.decided())
	other := second
	other.Run++
	p.answersRead(2, other, 0)
	require.Empty(t, p.decided())
	p.answersRead(3, second, 0) // who answers makes no difference
	require.Len(t, p.decided(), 1)
}

// A group that is closed and opened again in one run of its server asks with numbers that it has not used.
func TestNumbersOfQuestionsAreNotUsedAgainInTheRun(t *testing.T) {
	p, first := asking(t, 1)
	p.runFor(time.Millisecond)
	n, err := NewNode(p.h.config, p.h.disk.state(), p.now)
	require.NoError(t, err)
	require.Greater(t, n.asks.number, uint64(first.Round))
}

// What comes while a question is under way has the next one: its answer may have been on its way already.
func TestReadsShareTheNextQuestionAndNotTheOneUnderWay(t *testing.T) {
	p, first := asking(t, 1)
	for id := ReadID(2); id < 5; id++ {
		require.NoError(t, p.h.read(id))
	}
	p.h.endTurn()
	require.Empty(t, p.sentTo(2, MessageReadIndexRequest))
	p.answersRead(2, first, 0)
	require.Equal(t, []Read{{ID: 1}}, p.decided())
	questions := p.sentTo(2, MessageReadIndexRequest)
	require.Len(t, questions, 1)
	p.answersRead(2, questions[0], 0)
	require.Len(t, p.decided(), 3)
}

// Messages get lost, and leaders change: the question is repeated, with its number, and of a new leader at once.
func TestQuestionIsRepeated(t *testing.T) {
	p, question := asking(t, 1)
	for range stallHeartbeats {
		require.Empty(t, p.sentTo(2, MessageReadIndexRequest))
		p.runFor(p.h.node.config.HeartbeatInterval)
	}
	again := p.sentTo(2, MessageReadIndexRequest)
	require.Len(t, again, 1)
	require.Equal(t, question.Round, again[0].Round)
	p.says(3, Message{Type: MessageHeartbeatRequest, Term: 2, Round: 1})
	p.runFor(2 * time.Millisecond)
	again = p.sentTo(3, MessageReadIndexRequest)
	require.Len(t, again, 1)
	require.Equal(t, question.Round, again[0].Round)
	require.EqualValues(t, 2, again[0].Term)
}

// None is left in silence (tikv#4688): not where no leader is, nor where none answers, nor at a server that waits to be told of its group.
func TestReadThatNobodyAnswersFails(t *testing.T) {
	for name, make := range map[string]func() *host{
		"no leader": func() *host {
			p := playAlone(t, 3, nil, nil)
			require.NoError(t, p.h.read(1))
			return p.h
		},
		"no answer": func() *host {
			p, _ := asking(t, 1)
			require.NoError(t, p.h.read(2))
			return p.h
		},
		"joining": func() *host {
			c := newCluster(t, 1)
			c.addHosts(1, 0, nil)
			c.startAll()
			require.NoError(t, c.hosts[0].read(1))
			return c.hosts[0]
		},
		"not born yet": func() *host {
			c := newCluster(t, 1)
			c.addHosts(2, 2, nil)
			c.hosts[0].start()
			require.NoError(t, c.hosts[0].read(1))
			return c.hosts[0]
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := make()
			h.endTurn()
			require.Empty(t, h.reads)
			h.c.runFor(askPatience*h.node.config.ElectionTimeoutMax + h.node.config.HeartbeatInterval)
			require.NotEmpty(t, h.reads)
			for _, r := range h.reads {
				require.ErrorIs(t, r.Err, ErrNotLeader)
			}
			require.Empty(t, h.c.history.undecidedReads())
		})
	}
}

// Who becomes leader meanwhile confirms its reads by a round of its own.
func TestReadOfAServerThatIsElectedNeedsARoundOfIt(t *testing.T) {
	p, question := asking(t, 1)
	p.lead(2)
	p.answersRead(3, question, 0)
	require.Empty(t, p.decided(), "it is another read now")
	p.acks(2, p.h.node.trail.last())
	require.Equal(t, []Read{{ID: 1, Index: 1}}, p.decided())
}

// asks lets another server ask the leader.
func (p *played) asks(from ServerID, number Round) []Message {
	p.says(from, Message{Type: MessageReadIndexRequest, Term: p.h.node.hard.Term, Round: number, Run: 99})
	return p.sentTo(from, MessageReadIndexResponse)
}

// 6.4 step 2: the leader answers when a round that began after the question was confirmed.
func TestLeaderAnswersAQuestionAfterARoundThatBeganLater(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.lead(2, 3)
	require.NoError(t, p.h.read(1))
	p.h.endTurn() // a round is under way
	require.Empty(t, p.asks(2, 5))
	p.acks(3, 1)
	require.Empty(t, p.sentTo(2, MessageReadIndexResponse), "that round began before the question came")
	require.Empty(t, p.asks(2, 5), "asked again it is the same question")
	require.Len(t, p.h.node.lead.reads, 1)
	p.acks(3, 1)
	answers := p.sentTo(2, MessageReadIndexResponse)
	require.Len(t, answers, 1)
	require.EqualValues(t, 1, answers[0].Commit)
	require.EqualValues(t, 5, answers[0].Round)
	require.EqualValues(t, 99, answers[0].Run)
}

// 6.4 step 1, for questions as well (tikv#6340).
func TestLeaderAnswersNoQuestionBeforeItsTermsFirstCommit(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	p.h.timeout()
	p.says(2, Message{Type: MessagePreVoteResponse, Term: 1})
	p.runFor(2 * time.Millisecond)
	p.says(2, Message{Type: MessageVoteResponse, Term: 1})
	require.Empty(t, p.asks(2, 1))
	for range 3 {
		p.runFor(p.h.node.config.HeartbeatInterval)
		p.promises(3, 0)
	}
	require.Empty(t, p.sentTo(2, MessageReadIndexResponse))
	p.acks(3, 1)
	p.runFor(p.h.node.config.HeartbeatInterval)
	p.acks(3, 1)
	require.Len(t, p.sentTo(2, MessageReadIndexResponse), 1)
}

// Nobody fills a leader's memory with questions; strangers and those of another term are not heard.
func TestQuestionsOfOneMemberAreBounded(t *testing.T) {
	p := playAlone(t, 3, nil, nil)
	term := p.lead(2, 3)
	require.NoError(t, p.h.read(1))
	p.h.endTurn() // no round begins meanwhile
	for number := Round(1); number < 100; number++ {
		require.Empty(t, p.asks(2, number))
	}
	require.Len(t, p.h.node.lead.reads, 1+questionsMax)
	p.says(3, Message{Type: MessageReadIndexRequest, Term: term - 1, Round: 1})
	p.h.step(Message{
		Type: MessageReadIndexRequest, Group: DefaultGroup, From: 9, FromStore: storeOf(9, 1), To: 1, Term: term, Round: 1,
	})
	require.Len(t, p.h.node.lead.reads, 1+questionsMax)
	p.acks(3, 1)
	p.acks(3, 1)
	answers := p.sentTo(2, MessageReadIndexResponse)
	require.Len(t, answers, questionsMax)
	require.EqualValues(t, 99, answers[len(answers)-1].Round, "the newest is the one that is waited for")
}
