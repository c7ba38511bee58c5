package transporttest

import (
	"context"
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// meant is a heartbeat that names the store of its receiver.
func meant(a, b *server, round raft.Round) raft.Message {
	m := heartbeat(a, b, round)
	m.ToStore = b.local.Store
	return m
}

// reach sends heartbeats that name a store until one arrives.
func reach(a, b *server) error {
	b.forget()
	return until(fmt.Sprintf("a heartbeat from server %d at server %d, store %s", a.local.Server, b.local.Server, b.local.Store),
		func() { a.Send([]raft.Message{meant(a, b, 1)}) },
		func() bool { return b.count(raft.MessageHeartbeatRequest) > 0 })
}

// sharedID has one server take another's place: both have its id.
func sharedID(c *script) error {
	a, err := c.open(1)
	if err != nil {
		return err
	}
	old, err := c.open(2)
	if err != nil {
		return err
	}
	fresh, err := c.openStore(2, raft.StoreID{0: 0x51, 15: 2})
	if err != nil {
		return err
	}
	c.introduce()
	for _, way := range [][2]*server{{a, old}, {a, fresh}, {old, a}, {fresh, a}, {old, fresh}, {fresh, old}} {
		if err := reach(way[0], way[1]); err != nil {
			return err
		}
		if m := way[1].received(raft.MessageHeartbeatRequest)[0]; m.FromStore != way[0].local.Store {
			return fmt.Errorf("a message from store %s came from store %s", way[0].local.Store, m.FromStore)
		}
	}
	old.forget()
	fresh.forget()
	err = until("messages to both", func() { a.Send([]raft.Message{meant(a, old, 10), meant(a, fresh, 20)}) }, func() bool {
		return old.count(raft.MessageHeartbeatRequest) > 3 && fresh.count(raft.MessageHeartbeatRequest) > 3
	})
	if err != nil {
		return err
	}
	for s, round := range map[*server]raft.Round{old: 10, fresh: 20} {
		for _, m := range s.received(raft.MessageHeartbeatRequest) {
			if m.Round != round {
				return fmt.Errorf("store %s got what was for the other store of server 2", s.local.Store)
			}
		}
		s.onChunk(shelf(s.local.Store[:]).serve)
	}
	for _, s := range []*server{old, fresh} {
		chunk, err := fetch(context.Background(), a, s, transport.ChunkRequest{Snapshot: snapshot(), BytesMax: 100})
		if err != nil || string(chunk.Bytes) != string(s.local.Store[:]) {
			return fmt.Errorf("from store %s came %x, %v", s.local.Store, chunk.Bytes, err) //nolint:errorlint // a report of what came, not a cause
		}
	}
	if peers := a.Status().Peers; len(peers) != 2 || peers[0].Store != old.local.Store || peers[1].Store != fresh.local.Store {
		return fmt.Errorf("status names the peers %+v", peers)
	}
	return oneOfTwoIsGone(a, old, fresh)
}

// oneOfTwoIsGone closes one of two servers with one id.
func oneOfTwoIsGone(a, old, fresh *server) error {
	a.forget()
	err := until("the report that a message for one of two, and none in particular, has nowhere to go",
		func() { a.Send([]raft.Message{heartbeat(a, old, 1)}) }, func() bool { return a.unreached(2) > 0 })
	if err != nil {
		return err
	}
	if err := old.Close(); err != nil {
		return err
	}
	a.forget()
	err = until("the report that the one that was closed is unreachable", func() { a.Send([]raft.Message{meant(a, old, 1)}) },
		func() bool { return a.unreachedStore(old) > 0 })
	if err != nil {
		return err
	}
	if n := a.unreachedStore(fresh); n > 0 {
		return fmt.Errorf("the other store of the id was reported unreachable")
	}
	a.SetPeers([]raft.Member{fresh.member})
	fresh.forget()
	return until("a message for the only one that has the id", func() { a.Send([]raft.Message{heartbeat(a, fresh, 1)}) },
		func() bool { return fresh.count(raft.MessageHeartbeatRequest) > 0 })
}

// visitorIsAnswered has a server write to one that has no peers.
func visitorIsAnswered(c *script) error {
	a, err := c.open(1)
	if err != nil {
		return err
	}
	b, err := c.open(2)
	if err != nil {
		return err
	}
	a.SetPeers([]raft.Member{b.member})
	if err := reach(a, b); err != nil {
		return err
	}
	if err := reach(b, a); err != nil {
		return fmt.Errorf("the answer of a server without peers: %w", err)
	}
	a.onChunk(shelf("bytes").serve)
	chunk, err := fetch(context.Background(), b, a, transport.ChunkRequest{Snapshot: snapshot(), BytesMax: 100})
	if err != nil || string(chunk.Bytes) != "bytes" {
		return fmt.Errorf("a chunk for a server without peers: %q, %v", chunk.Bytes, err) //nolint:errorlint // a report of what came, not a cause
	}
	b.SetPeers([]raft.Member{a.member})
	if err := errors.Join(reach(b, a), reach(a, b)); err != nil {
		return fmt.Errorf("when it has become a peer: %w", err)
	}
	b.SetPeers(nil)
	if err := errors.Join(reach(a, b), reach(b, a)); err != nil {
		return fmt.Errorf("when it is no peer any more: %w", err)
	}
	a.SetPeers(nil)
	if err := until("the end of the visit", nothing, func() bool { return len(b.Status().Peers) == 0 }); err != nil {
		return err
	}
	b.forget()
	err = until("the report that a server that has gone is not sent to", func() { b.Send([]raft.Message{meant(b, a, 1)}) },
		func() bool { return b.unreachedStore(a) > 0 })
	if err != nil {
		return err
	}
	a.forget()
	for range 20 {
		b.Send([]raft.Message{meant(b, a, 33)})
	}
	if err := reach2(c, b); err != nil {
		return err
	}
	for _, m := range a.received(raft.MessageHeartbeatRequest) {
		if m.Round == 33 {
			return fmt.Errorf("a server that is no peer, and has gone, was sent to")
		}
	}
	return nil
}

// reach2 lets as much time pass as a message takes.
func reach2(c *script, b *server) error {
	third, err := c.open(3)
	if err != nil {
		return err
	}
	b.SetPeers([]raft.Member{third.member})
	return reach(b, third)
}

// movedPeer has a server start again at another address, which those that write to it know beside the old one, and those
// that answer it do not.
func movedPeer(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	if err := errors.Join(reach(a, b), reach(b, a)); err != nil {
		return err
	}
	if err := b.Close(); err != nil {
		return err
	}
	moved, err := c.open(2)
	if err != nil {
		return err
	}
	a.SetPeers([]raft.Member{b.member, moved.member})
	if err := reach(a, moved); err != nil {
		return fmt.Errorf("with both addresses, the old one first: %w", err)
	}
	if peers := a.Status().Peers; len(peers) != 1 || !peers[0].Connected {
		return fmt.Errorf("status names the peers %+v", peers)
	}
	a.SetPeers([]raft.Member{moved.member, b.member})
	if err := reach(a, moved); err != nil {
		return fmt.Errorf("with both addresses, the new one first: %w", err)
	}
	a.SetPeers([]raft.Member{moved.member})
	if err := reach(a, moved); err != nil {
		return fmt.Errorf("with the new address alone: %w", err)
	}
	moved.SetPeers([]raft.Member{a.member})
	a.SetPeers([]raft.Member{b.member})
	if err := errors.Join(reach(moved, a), reach(a, moved)); err != nil {
		return fmt.Errorf("answered by one that knows its old address alone: %w", err)
	}
	return nil
}
