package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What no honest peer sends must not make a log that its own server refuses to load.
func TestAppendThatContradictsTheCommittedLogHasNoEffect(t *testing.T) {
	old := logOf(5, 5, 5)
	for _, c := range []struct {
		name string
		m    Message
		add  []entry
	}{
		{"entries of a lower term after a committed one", Message{PrevIndex: 3, PrevTerm: 0}, logOf(1)},
		{"another term before what is new", Message{PrevIndex: 2, PrevTerm: 4}, logOf(5, 5)},
		{"another term in what is committed", Message{PrevIndex: 1, PrevTerm: 5}, logOf(6, 6, 6)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := playAlone(t, 3, nil, func(d *disk) {
				d.hard, d.commit = HardState{Term: 5}, 3
				d.log.put(1, old)
			})
			m := c.m
			m.Type, m.Term = MessageAppendRequest, 7
			m.First = m.PrevIndex + 1
			l := logbook{first: m.First, entries: c.add}
			m.Next, m.Blocks = l.next(), l.blocks(m.First, l.next())
			p.says(2, m)
			require.Equal(t, []TermRun{{First: 1, Term: 5}}, p.h.node.trail.runs)
			require.EqualValues(t, 4, p.h.node.trail.next)
			require.Empty(t, p.sentTo(2, MessageAppendResponse), "there is nothing true to answer")
		})
	}
}

// An index that no log can have would make a read wait for ever, and a sum go round.
func TestMessageWithAnIndexThatCannotBeHasNoEffect(t *testing.T) {
	p, question := asking(t, 1)
	for _, m := range []Message{
		{Type: MessageReadIndexResponse, Term: 1, Round: question.Round, Run: question.Run, Commit: ^Index(0)},
		{Type: MessageRefusal, Refusal: RefusalRemoved, LastIndex: 1, LastTerm: ^Term(0)},
		{Type: MessageRefusal, Refusal: RefusalRemoved, LastIndex: ^Index(0), LastTerm: 9},
	} {
		p.says(2, m)
		require.Empty(t, p.decided())
		require.False(t, p.h.node.toldRemoved())
	}
	p.lead(3)
	for _, m := range []Message{
		{Type: MessageAppendResponse, Match: ^Index(0)},
		{Type: MessageAppendResponse, LastIndex: ^Index(0)},
		{Type: MessageAppendResponse, Reject: true, PrevIndex: 1, HintIndex: ^Index(0)},
		{Type: MessageHeartbeatResponse, Match: ^Index(0)},
	} {
		m.Term = p.h.node.hard.Term
		p.says(2, m)
		require.Zero(t, p.h.node.lead.of(2, storeOf(2, 1)).heardAt)
	}
}

func TestStateThatNoLogCanHaveLoadedIsRefused(t *testing.T) {
	member := []Member{{ID: 1, Store: storeOf(1, 1)}}
	config := Config{Group: 1, ID: 1, Store: storeOf(1, 1)}
	good := State{
		Birth: Birth{Membership: Membership{Voters: member}, Complete: true}, Hard: HardState{Term: 3, Vote: 1}, Commit: 4,
		First: 3, Next: 7, Trail: []TermRun{{3, 1}, {5, 3}}, Snapshot: SnapshotMeta{Index: 4, Term: 1},
	}
	_, err := NewNode(config, good, 0)
	require.NoError(t, err)
	for name, spoil := range map[string]func(s *State){
		"entries are missing after the snapshot": func(s *State) { s.First, s.Trail = 6, []TermRun{{6, 3}} },
		"the log ends below the snapshot":        func(s *State) { s.Next, s.Trail, s.Commit = 4, s.Trail[:1], 3 },
		"it ends before it begins":               func(s *State) { s.Next = 2 },
		"commit is past the end":                 func(s *State) { s.Commit = 7 },
		"no first index":                         func(s *State) { s.First = 0 },
		"no trail":                               func(s *State) { s.Trail = nil },
		"the trail begins elsewhere":             func(s *State) { s.Trail = []TermRun{{4, 1}, {5, 3}} },
		"the trail's terms go back":              func(s *State) { s.Trail = []TermRun{{3, 3}, {5, 1}} },
		"the trail's indexes go back":            func(s *State) { s.Trail = []TermRun{{3, 1}, {3, 3}} },
		"the trail runs past the end":            func(s *State) { s.Trail = []TermRun{{3, 1}, {7, 3}} },
		"a term of zero":                         func(s *State) { s.Trail = []TermRun{{3, 0}, {5, 3}} },
		"the log is ahead of the term":           func(s *State) { s.Hard.Term = 2 },
		"a history and no birth":                 func(s *State) { s.Birth, s.Snapshot, s.First, s.Trail = Birth{}, SnapshotMeta{}, 1, []TermRun{{1, 1}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			s.Trail = append([]TermRun(nil), good.Trail...)
			spoil(&s)
			_, err := NewNode(config, s, 0)
			require.Error(t, err)
		})
	}
}

// A server that waits to be admitted has nothing to do until someone speaks to it.
func TestServerThatJoinsSleepsUntilItIsSpokenTo(t *testing.T) {
	n, err := NewNode(Config{Group: 1, ID: 4, Store: storeOf(4, 1)}, State{}, 0)
	require.NoError(t, err)
	n.Tick(0)
	n.Actions()
	require.Equal(t, Never, n.Deadline())
	n.Step(time.Second, &Message{Type: MessageBirthRequest, Group: 1, From: 1, To: 4, FromStore: storeOf(1, 1)})
	n.Actions()
	require.Equal(t, Never, n.Deadline())
}

// It may be the one whose place it takes that leads when it is spoken to, with the same id and another store.
func TestServerThatJoinsIsToldOfTheBirthByTheOneWhosePlaceItTakes(t *testing.T) {
	birth := Birth{Membership: membersOf(1, 2, 3), Limits: GroupLimits{SessionsMax: 1}, Complete: true}
	for _, founders := range [][]Member{nil, membersOf(1, 2, 3).Voters} {
		n, err := NewNode(Config{Group: 1, ID: 3, Store: storeOf(3, 2), Founders: founders}, State{}, 0)
		require.NoError(t, err)
		n.Step(0, &Message{Type: MessageBirthResponse, Group: 1, From: 3, FromStore: storeOf(3, 1), To: 3, Birth: birth})
		require.Equal(t, len(founders) == 0, n.Status().Born, "a founder is nobody's heir")
	}
}

// Once a rule is broken nothing leaves the replica any more, whatever comes in: not even what waits for no save.
func TestBrokenRuleStopsTheNodeForGood(t *testing.T) {
	for name, broken := range map[string]func(p *played){
		"compacted past the snapshot": func(p *played) { p.h.node.Compacted(p.now, 1) },
		"a snapshot of what is not saved": func(p *played) {
			p.h.node.Snapshotted(p.now, SnapshotMeta{Group: DefaultGroup, Index: 9, Term: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := playAlone(t, 3, nil, nil)
			p.lead(2, 3)
			n := p.h.node
			require.NoError(t, n.ReadIndex(p.now, 1))
			_, err := n.Propose(p.now, KindCommand, 1, 80)
			require.NoError(t, err)
			broken(p)
			a := n.Actions()
			require.ErrorIs(t, a.Fault, ErrFault)
			require.Empty(t, a.Sends)
			require.Zero(t, a.Save.Seq)
			require.Equal(t, Never, n.Deadline())
			_, err = n.Propose(p.now, KindCommand, 1, 80)
			require.ErrorIs(t, err, ErrFault)
			require.ErrorIs(t, n.ReadIndex(p.now, 2), ErrFault)
			n.Tick(p.now + time.Hour)
			n.Step(p.now, &Message{Type: MessageHeartbeatRequest, Group: DefaultGroup, From: 2, To: 1, Term: 9, FromStore: storeOf(2, 1)})
			a = n.Actions()
			require.ErrorIs(t, a.Fault, ErrFault)
			require.Empty(t, a.Sends)
		})
	}
}
