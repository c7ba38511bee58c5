package transporttest

import (
	"bytes"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// oneOfEach returns a message of every type, with different values in all fields that the type has.
func oneOfEach(a, b *server) []raft.Message {
	members := raft.Membership{Voters: []raft.Member{
		{ID: 1, Store: storeOf(1), Address: "one:1"}, {ID: 2, Store: storeOf(2), Address: "two:2"},
	}}
	limits := raft.GroupLimits{SessionsMax: 10, SessionResultsMax: 20, SessionResultBytes: 30, SessionExpiryNanos: 40, ResultBytesMax: 50}
	list := []raft.Message{
		{Type: raft.MessagePreVoteRequest, Term: 4, LastIndex: 300, LastTerm: 3},
		{Type: raft.MessagePreVoteResponse, Term: 4, Reject: true},
		{Type: raft.MessageVoteRequest, Term: 4, LastIndex: 70_000, LastTerm: 3, Forced: true},
		{Type: raft.MessageVoteResponse, Term: 4},
		{
			Type: raft.MessageAppendRequest, Term: 4, PrevIndex: 9, PrevTerm: 3, First: 10, Next: 12, Commit: 8, Round: 6,
			Confirmed: 5, Time: 1 << 40, Blocks: []raft.Block{blockOf(10, 100), blockOf(11, 70_000)},
		},
		{Type: raft.MessageAppendResponse, Term: 4, Reject: true, LastIndex: 20, PrevIndex: 9, HintIndex: 7, HintTerm: 2, Round: 6},
		{Type: raft.MessageHeartbeatRequest, Term: 4, Commit: 8, Round: 7, Confirmed: 6, Time: 1 << 40},
		{Type: raft.MessageHeartbeatResponse, Term: 4, Round: 7},
		{Type: raft.MessageSnapshotOffer, Term: 4, Snapshot: raft.SnapshotMeta{
			Group: 1, Index: 70_000, Term: 9, Time: 12, Chain: 1 << 63, Membership: members, MembershipIndex: 5,
			Limits: limits, Size: 1 << 33, Checksum: 0xdeadbeef,
		}},
		{Type: raft.MessageBirthRequest},
		{Type: raft.MessageBirthRequest, Birth: raft.Birth{Membership: members, Limits: limits}},
		{Type: raft.MessageBirthResponse, Birth: raft.Birth{Membership: members, Limits: limits, Complete: true}},
		{Type: raft.MessageRefusal, Term: 4, Refusal: raft.RefusalStranger},
		{Type: raft.MessageTransferRequest, Term: 4, LastIndex: 20, LastTerm: 4},
	}
	for i := range list {
		list[i].Group, list[i].From, list[i].To = 1, a.local.Server, b.local.Server
	}
	return list
}

func arriveAsSent(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	for _, way := range [][2]*server{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		for _, m := range oneOfEach(from, to) {
			to.forget()
			err := until(fmt.Sprintf("arrival of %s", m.Type), func() { from.Send([]raft.Message{m}) },
				func() bool { return to.count(m.Type) > 0 })
			if err != nil {
				return err
			}
			want := m
			want.FromStore, want.FromRun = from.local.Store, from.local.Run
			if got := to.received(m.Type)[0]; !reflect.DeepEqual(got, want) {
				return fmt.Errorf("%s arrived as %+v, sent was %+v", m.Type, got, want)
			}
		}
	}
	return nil
}

func stayInOrder(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	if err := connect(a, b); err != nil {
		return err
	}
	if err := connectEntries(a, b); err != nil {
		return err
	}
	b.forget()
	const total = 2000
	for i := 2; i < total; i += 2 {
		a.Send([]raft.Message{
			heartbeat(a, b, raft.Round(i)), appendOf(a, b, raft.Index(i), 300),
			heartbeat(a, b, raft.Round(i+1)), appendOf(a, b, raft.Index(i+1), 10),
		})
	}
	// The last ones are sent until they arrive; what came before may be lost, and may not come after what followed it.
	return until("the last messages", func() {
		a.Send([]raft.Message{heartbeat(a, b, total), appendOf(a, b, total, 10)})
	}, func() bool {
		beats, appends := b.received(raft.MessageHeartbeatRequest), b.received(raft.MessageAppendRequest)
		for i := 1; i < len(beats); i++ {
			if beats[i].Round < beats[i-1].Round {
				panic(fmt.Sprintf("heartbeat %d came after %d", beats[i].Round, beats[i-1].Round))
			}
		}
		for i := 1; i < len(appends); i++ {
			if appends[i].First < appends[i-1].First {
				panic(fmt.Sprintf("append from %d came after the one from %d", appends[i].First, appends[i-1].First))
			}
		}
		return len(beats) > 0 && beats[len(beats)-1].Round == total && len(appends) > 0 && appends[len(appends)-1].First == total
	})
}

func copiedBeforeReturn(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	if err := connectEntries(a, b); err != nil {
		return err
	}
	b.forget()
	blocks := make([]raft.Block, 1)
	messages := make([]raft.Message, 1)
	for i := raft.Index(1); i <= 500; i++ {
		m := appendOf(a, b, i, 50)
		blocks[0] = m.Blocks[0]
		m.Blocks = blocks
		messages[0] = m
		a.Send(messages)
		messages[0], blocks[0] = raft.Message{}, raft.Block{} // ours again
	}
	last := appendOf(a, b, 501, 50)
	err = until("the last append", func() { a.Send([]raft.Message{last}) }, func() bool {
		got := b.received(raft.MessageAppendRequest)
		return len(got) > 0 && got[len(got)-1].First == 501
	})
	if err != nil {
		return err
	}
	got := b.received(raft.MessageAppendRequest)
	if len(got) < 100 {
		return fmt.Errorf("%d of 501 appends arrived on a network that loses nothing", len(got))
	}
	for _, m := range got {
		if len(m.Blocks) != 1 || m.Blocks[0].First() != m.First || !bytes.Equal(m.Blocks[0].Bytes(), blockOf(m.First, 50).Bytes()) {
			return fmt.Errorf("append from %d arrived with other blocks: %+v", m.First, m.Blocks)
		}
	}
	return nil
}

func largestBlocks(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	room := blockBytesMax - raft.BlockHeaderSize - 5
	m := appendOf(a, b, 10, room)
	if m.Blocks[0].Size() != blockBytesMax {
		return fmt.Errorf("the suite made a block of %d bytes", m.Blocks[0].Size())
	}
	err = until("a block of the largest size", func() { a.Send([]raft.Message{m}) },
		func() bool { return b.count(raft.MessageAppendRequest) > 0 })
	if err != nil {
		return err
	}
	if got := b.received(raft.MessageAppendRequest)[0].Blocks[0]; !bytes.Equal(got.Bytes(), m.Blocks[0].Bytes()) {
		return fmt.Errorf("a block of %d bytes arrived with other bytes", m.Blocks[0].Size())
	}
	return nil
}

func otherStore(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	if err := connect(a, b); err != nil {
		return err
	}
	b.forget()
	wrong, right := heartbeat(a, b, 10), heartbeat(a, b, 11)
	wrong.ToStore, right.ToStore = raft.StoreID{9}, b.local.Store
	err = until("a heartbeat that names the right store", func() { a.Send([]raft.Message{wrong, right}) },
		func() bool { return b.count(raft.MessageHeartbeatRequest) > 2 })
	if err != nil {
		return err
	}
	for _, m := range b.received(raft.MessageHeartbeatRequest) {
		if m.Round == 10 {
			return fmt.Errorf("a message for store %s arrived at store %s", wrong.ToStore, b.local.Store)
		}
	}
	if a.Status().DroppedMessages == 0 {
		return fmt.Errorf("a message for another store was not counted as dropped")
	}
	return nil
}

func fullReceiver(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	var blocked atomic.Int64
	b.onReceive(func(messages []raft.Message) {
		for _, m := range messages {
			if len(m.Blocks) > 0 {
				blocked.Add(1)
				<-b.released
			}
		}
	})
	err = until("an append that fills the receiver", func() { a.Send([]raft.Message{appendOf(a, b, 9, 1000)}) },
		func() bool { return blocked.Load() > 0 })
	if err != nil {
		return err
	}
	for i := raft.Index(10); i < 60; i++ {
		a.Send([]raft.Message{appendOf(a, b, i, 100_000)})
	}
	b.forget()
	err = until("heartbeats beside appends that are not taken", func() { a.Send([]raft.Message{heartbeat(a, b, 2)}) },
		func() bool { return b.count(raft.MessageHeartbeatRequest) > 20 })
	if err != nil {
		return err
	}
	if n := blocked.Load(); n > 1 || b.count(raft.MessageAppendRequest) > 0 {
		return fmt.Errorf("%d appends were delivered beside one that blocks", n-1)
	}
	b.release()
	return until("appends after the receiver has room again", func() { a.Send([]raft.Message{appendOf(a, b, 60, 100)}) },
		func() bool { return b.count(raft.MessageAppendRequest) > 0 })
}

func sendNeverBlocks(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	b.onReceive(func(messages []raft.Message) {
		if len(messages[0].Blocks) > 0 {
			<-b.released
		}
	})
	if err := connectEntries(a, b); err != nil {
		return err
	}
	m := appendOf(a, b, 9, 500_000)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range 2000 { // a gigabyte, of which no queue holds more than a part
			a.Send([]raft.Message{m})
		}
	}()
	select {
	case <-sent:
	case <-time.After(patience):
		return fmt.Errorf("Send blocked")
	}
	if s := a.Status(); s.QueuedBytes > s.QueuedBytesMax || s.QueuedBytesMax > 1<<30 {
		return fmt.Errorf("%d bytes are queued, the bound is %d", s.QueuedBytes, s.QueuedBytesMax)
	}
	err = until("the report that messages were dropped", nothing, func() bool { return a.unreached(b.local.Server) > 0 })
	if err != nil {
		return err
	}
	if a.Status().DroppedMessages == 0 {
		return fmt.Errorf("dropped messages were not counted")
	}
	b.release()
	return until("an append after the jam", func() { a.Send([]raft.Message{appendOf(a, b, 77, 10)}) }, func() bool {
		got := b.received(raft.MessageAppendRequest)
		return len(got) > 0 && got[len(got)-1].First == 77
	})
}

func unreachablePeer(c *script) error {
	a, err := c.open(1)
	if err != nil {
		return err
	}
	gone, err := c.open(2)
	if err != nil {
		return err
	}
	if err := gone.Close(); err != nil {
		return err
	}
	c.introduce()
	err = until("the report that a closed peer is unreachable", func() { a.Send([]raft.Message{heartbeat(a, gone, 1)}) },
		func() bool { return a.unreached(2) > 0 })
	if err != nil {
		return err
	}
	err = until("the peer's status", nothing, func() bool {
		s := a.Status()
		return len(s.Peers) == 1 && s.Peers[0].ID == 2 && !s.Peers[0].Connected && s.Peers[0].Error != ""
	})
	if err != nil {
		return err
	}
	m := heartbeat(a, gone, 1)
	m.To = 77
	return until("the report that an unknown peer is unreachable", func() { a.Send([]raft.Message{m}) },
		func() bool { return a.unreached(77) > 0 })
}

var _ transport.Handler = (*handler)(nil)
