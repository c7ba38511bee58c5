package raft

import (
	"fmt"
	"testing"
	"time"
)

// benchLeader returns a leader of three whose followers answer whatever the benchmark says.
func benchLeader(tb testing.TB) (*Node, time.Duration) {
	p := playAlone(tb, 3, nil, nil)
	p.lead(2, 3)
	return p.h.node, p.now
}

// leaderTurn is one proposal's whole way through a leader: appended and sent, saved, acknowledged by one follower,
// committed, acknowledged by the other.
func leaderTurn(n *Node, now time.Duration, proposals int, answer *Message) error {
	for range proposals {
		if _, err := n.Propose(now, KindCommand, 1, 200); err != nil {
			return err
		}
	}
	a := n.Actions()
	if a.Save.Seq > 0 {
		n.Saved(now, a.Save.Seq)
	}
	answer.Match, answer.LastIndex = n.trail.last(), n.trail.last()
	for id := ServerID(2); id <= 3; id++ {
		answer.From, answer.FromStore = id, storeOf(id, 1)
		n.Step(now, answer)
		if a = n.Actions(); a.Fault != nil {
			return a.Fault
		}
	}
	return nil
}

func answerOf(n *Node) *Message {
	return &Message{Type: MessageAppendResponse, Group: DefaultGroup, To: 1, FromRun: 1, Term: n.hard.Term, Round: n.lead.round}
}

func BenchmarkLeaderTurn(b *testing.B) {
	for _, proposals := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d proposals", proposals), func(b *testing.B) {
			n, now := benchLeader(b)
			answer := answerOf(n)
			b.ReportAllocs()
			for b.Loop() {
				if err := leaderTurn(n, now, proposals, answer); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(proposals), "ns/proposal")
		})
	}
}

// BenchmarkFollowerAppend is an append of 64 entries in one block: stepped, saved, answered.
func BenchmarkFollowerAppend(b *testing.B) {
	p := playAlone(b, 3, nil, nil)
	n, now := p.h.node, p.now
	turn := followerTurn(n, now, 64)
	b.ReportAllocs()
	for b.Loop() {
		if err := turn(); err != nil {
			b.Fatal(err)
		}
	}
}

func followerTurn(n *Node, now time.Duration, entries int) func() error {
	buf := make([]byte, BlockHeaderSize)
	for range entries {
		buf = AppendEntry(buf, make([]byte, 128))
	}
	meta := BlockMeta{Group: DefaultGroup, First: 1, Count: uint32(entries), Term: 1, Kind: KindCommand}
	block := NewBlock(meta, buf)
	m := Message{Type: MessageAppendRequest, Group: DefaultGroup, From: 2, To: 1, FromStore: storeOf(2, 1), Term: 1, Blocks: make([]Block, 1)}
	return func() error {
		last := n.trail.last()
		block.meta.First = last + 1 // the bytes are not looked at
		m.PrevIndex, m.First, m.Next, m.Commit = last, last+1, last+1+Index(entries), last
		m.PrevTerm, _ = n.trail.termAt(last)
		m.Blocks[0] = block
		n.Step(now, &m)
		a := n.Actions()
		if a.Save.Seq > 0 {
			n.Saved(now, a.Save.Seq)
		}
		if a.Fault == nil && len(a.Sends) != 1 {
			return fmt.Errorf("%d messages", len(a.Sends))
		}
		return a.Fault
	}
}

func BenchmarkReadRound(b *testing.B) {
	n, now := benchLeader(b)
	answer := Message{Type: MessageHeartbeatResponse, Group: DefaultGroup, From: 2, To: 1, FromStore: storeOf(2, 1), Term: n.hard.Term, LastIndex: n.trail.last(), LastTerm: n.hard.Term}
	b.ReportAllocs()
	for b.Loop() {
		if err := n.ReadIndex(now, 1); err != nil {
			b.Fatal(err)
		}
		n.Actions()
		answer.Round = n.lead.round
		n.Step(now, &answer)
		if a := n.Actions(); len(a.Reads) != 1 {
			b.Fatal("the read was not decided")
		}
	}
}

// A turn's memory is the Node's and is used again: what a server pays for an entry is its bytes.
func TestTurnsAllocateNothingPerEntry(t *testing.T) {
	n, now := benchLeader(t)
	answer := answerOf(n)
	leader := func(proposals int) float64 {
		return testing.AllocsPerRun(200, func() {
			if err := leaderTurn(n, now, proposals, answer); err != nil {
				t.Fatal(err)
			}
		})
	}
	leader(64) // slices grow to their size
	if few, many := leader(1), leader(64); few > 0 || many > 0 {
		t.Errorf("a leader allocates %v times for 1 proposal and %v times for 64", few, many)
	}
	p := playAlone(t, 3, nil, nil)
	turn := followerTurn(p.h.node, p.now, 64)
	follower := testing.AllocsPerRun(200, func() {
		if err := turn(); err != nil {
			t.Fatal(err)
		}
	})
	if follower > 0 {
		t.Errorf("a follower allocates %v times for an append", follower)
	}
}
