package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

func onlyPeers(c *script) error {
	a, err := c.open(1)
	if err != nil {
		return err
	}
	b, err := c.open(2)
	if err != nil {
		return err
	}
	third, err := c.open(3)
	if err != nil {
		return err
	}
	a.SetPeers(c.members) // and nobody else: who has it among its peers would be answered
	if err := errors.Join(connect(a, b), connect(a, third)); err != nil {
		return err
	}
	a.SetPeers([]raft.Member{third.member})
	err = until("the report that a former peer is unreachable", func() { a.Send([]raft.Message{heartbeat(a, b, 50)}) },
		func() bool { return a.unreached(2) > 0 })
	if err != nil {
		return err
	}
	b.forget()
	third.forget()
	err = until("messages to the peer that is left", func() {
		a.Send([]raft.Message{heartbeat(a, b, 99), heartbeat(a, third, 99)})
	}, func() bool { return third.count(raft.MessageHeartbeatRequest) > 5 })
	if err != nil {
		return err
	}
	for _, m := range b.received(raft.MessageHeartbeatRequest) {
		if m.Round == 99 {
			return fmt.Errorf("a server that is no longer a peer was sent to")
		}
	}
	if peers := a.Status().Peers; len(peers) != 1 || peers[0].ID != 3 || peers[0].Store != third.local.Store {
		return fmt.Errorf("status names the peers %+v", peers)
	}
	c.introduce()
	b.forget()
	return connect(a, b)
}

func startedAgain(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	if err := errors.Join(connect(a, b), connect(b, a)); err != nil {
		return err
	}
	if err := b.Close(); err != nil {
		return err
	}
	again, err := c.open(2)
	if err != nil {
		return err
	}
	c.introduce()
	a.forget()
	if err := errors.Join(connect(a, again), connect(again, a)); err != nil {
		return err
	}
	for _, m := range a.received(raft.MessageHeartbeatRequest) {
		if m.FromRun != again.local.Run || m.FromStore != again.local.Store {
			return fmt.Errorf("message of run %d, store %s; the sender has run %d, store %s",
				m.FromRun, m.FromStore, again.local.Run, again.local.Store)
		}
	}
	return nil
}

func panickingHandler(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	var once sync.Once
	b.onReceive(func([]raft.Message) {
		once.Do(func() { panic("the suite's handler panics once") })
	})
	b.onChunk(func(raft.Member, transport.ChunkRequest) (transport.Chunk, error) {
		panic("the suite's handler panics at chunks")
	})
	if err := connect(a, b); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = fetch(ctx, a, b, transport.ChunkRequest{Snapshot: snapshot(), BytesMax: 10})
	if err == nil || ctx.Err() != nil {
		return fmt.Errorf("the chunk of a handler that panicked: %v", err) //nolint:errorlint // a report of what came, not a cause
	}
	return connect(a, b)
}

func snapshot() raft.SnapshotMeta {
	return raft.SnapshotMeta{Group: 1, Index: 100, Term: 3, Size: 5000, Checksum: 77}
}

// fetch asks for a chunk until the connection stands.
func fetch(ctx context.Context, a, b *server, request transport.ChunkRequest) (chunk transport.Chunk, err error) {
	waited := until("a connection for chunks", func() {
		chunk, err = a.FetchChunk(ctx, b.member, request)
	}, func() bool { return !errors.Is(err, transport.ErrUnreachable) })
	return chunk, errors.Join(err, waited)
}

// shelf serves the bytes of one snapshot.
type shelf []byte

func (s shelf) serve(_ raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
	if !r.Snapshot.Same(snapshot()) {
		return transport.Chunk{}, fmt.Errorf("no snapshot at index %d", r.Snapshot.Index)
	}
	if r.Offset > int64(len(s)) {
		return transport.Chunk{}, fmt.Errorf("offset %d is past the end", r.Offset)
	}
	end := min(int64(len(s)), r.Offset+int64(r.BytesMax))
	return transport.Chunk{Offset: r.Offset, Bytes: s[r.Offset:end], Last: end == int64(len(s))}, nil
}

func chunksArrive(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	bytesOf := make(shelf, 3<<20)
	for i := range bytesOf {
		bytesOf[i] = byte(i * 31 >> 3)
	}
	froms := make(chan raft.Member, 100)
	b.onChunk(func(from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
		froms <- from
		return bytesOf.serve(from, r)
	})
	var got []byte
	for {
		most := 1 + len(got)%transport.ChunkBytesMax*3
		chunk, err := fetch(context.Background(), a, b, transport.ChunkRequest{Snapshot: snapshot(), Offset: int64(len(got)), BytesMax: most})
		if err != nil {
			return err
		}
		if chunk.Offset != int64(len(got)) || len(chunk.Bytes) == 0 || len(chunk.Bytes) > min(most, transport.ChunkBytesMax) {
			return fmt.Errorf("chunk of %d bytes at %d, asked for were %d at %d", len(chunk.Bytes), chunk.Offset, most, len(got))
		}
		if from := <-froms; from.ID != a.local.Server || from.Store != a.local.Store {
			return fmt.Errorf("the chunk was served to server %d, store %s; asked had server %d, store %s",
				from.ID, from.Store, a.local.Server, a.local.Store)
		}
		got = append(got, chunk.Bytes...)
		if chunk.Last {
			break
		}
	}
	if !bytes.Equal(got, bytesOf) {
		return fmt.Errorf("%d bytes came, which are not the %d of the snapshot", len(got), len(bytesOf))
	}
	return nil
}

func chunkRefused(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	b.onChunk(shelf("bytes").serve)
	other := snapshot()
	other.Index = 4711
	_, err = fetch(context.Background(), a, b, transport.ChunkRequest{Snapshot: other, BytesMax: 10})
	if !errors.Is(err, transport.ErrChunkRefused) || !strings.Contains(err.Error(), "no snapshot at index 4711") {
		return fmt.Errorf("a refused chunk is reported as %v", err) //nolint:errorlint // a report of what came, not a cause
	}
	_, err = a.FetchChunk(context.Background(), raft.Member{ID: 77}, transport.ChunkRequest{Snapshot: snapshot(), BytesMax: 10})
	if !errors.Is(err, transport.ErrUnreachable) {
		return fmt.Errorf("a chunk of an unknown peer is reported as %v", err) //nolint:errorlint // a report of what came, not a cause
	}
	chunk, err := fetch(context.Background(), a, b, transport.ChunkRequest{Snapshot: snapshot(), BytesMax: 10})
	if err != nil || string(chunk.Bytes) != "bytes" || !chunk.Last {
		return fmt.Errorf("after a refusal came %q, %v", chunk.Bytes, err) //nolint:errorlint // a report of what came, not a cause
	}
	return nil
}

func fetchCancelled(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	b.onChunk(shelf("bytes").serve)
	request := transport.ChunkRequest{Snapshot: snapshot(), BytesMax: 10}
	if _, err := fetch(context.Background(), a, b, request); err != nil {
		return err
	}
	asked, done := make(chan struct{}, 10), make(chan struct{})
	b.onChunk(func(from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
		asked <- struct{}{}
		select {
		case <-done:
		case <-b.released:
		}
		return shelf("late").serve(from, r)
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := a.FetchChunk(ctx, b.member, request)
		ended <- err
	}()
	select {
	case <-asked:
	case <-time.After(patience):
		return fmt.Errorf("the request did not arrive")
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("a cancelled fetch returned %v", err) //nolint:errorlint // a report of what came, not a cause
		}
	case <-time.After(patience):
		return fmt.Errorf("a cancelled fetch did not return")
	}
	b.onChunk(shelf("fresh").serve)
	close(done)
	chunk, err := fetch(context.Background(), a, b, request)
	if err != nil || string(chunk.Bytes) != "fresh" {
		return fmt.Errorf("after a cancelled fetch came %q, %v", chunk.Bytes, err) //nolint:errorlint // a report of what came, not a cause
	}
	return nil
}

func chunksHoldUpNothing(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	asked := make(chan struct{}, 10)
	b.onChunk(func(from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
		asked <- struct{}{}
		<-b.released
		return shelf("bytes").serve(from, r)
	})
	ended := make(chan error, 1)
	go func() {
		_, err := fetch(context.Background(), a, b, transport.ChunkRequest{Snapshot: snapshot(), BytesMax: 10})
		ended <- err
	}()
	select {
	case <-asked:
	case <-time.After(patience):
		return fmt.Errorf("the request did not arrive")
	}
	if err := errors.Join(connect(a, b), connectEntries(a, b), connect(b, a)); err != nil {
		return err
	}
	b.release()
	return <-ended
}

func closeWithTraffic(c *script) error {
	a, b, err := c.pair()
	if err != nil {
		return err
	}
	if err := connect(a, b); err != nil {
		return err
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, s := range []*server{a, b} {
		to := map[*server]*server{a: b, b: a}[s]
		wg.Go(func() {
			for i := raft.Index(9); ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				s.Send([]raft.Message{heartbeat(s, to, 2), appendOf(s, to, i, 1000)})
			}
		})
	}
	closing := until("traffic", nothing, func() bool {
		return b.count(raft.MessageAppendRequest) > 20 && a.count(raft.MessageAppendRequest) > 20
	})
	if closing == nil {
		closing = b.Close()
	}
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	closing = errors.Join(closing, until("the report that the closed peer is unreachable", nothing, func() bool {
		return a.unreached(b.local.Server) > 3
	}))
	close(stop)
	wg.Wait()
	b.Send([]raft.Message{heartbeat(b, a, 3)})
	b.SetPeers(nil)
	if _, err := b.FetchChunk(context.Background(), raft.Member{ID: 1}, transport.ChunkRequest{Snapshot: snapshot(), BytesMax: 1}); !errors.Is(err, transport.ErrClosed) {
		closing = errors.Join(closing, fmt.Errorf("FetchChunk after Close returned %v", err)) //nolint:errorlint // a report of what came, not a cause
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.late > 0 {
		closing = errors.Join(closing, fmt.Errorf("the handler was called %d times after Close", b.late))
	}
	return closing
}
