package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// session is an accepted connection of a peer: one lane's receiving end.
type session struct {
	t      *Transport
	conn   net.Conn
	frames *wire.FrameReader
	peer   wire.PeerIdentity
	lane   wire.Lane

	writing sync.Mutex // held while writing to conn: keepalives and chunks
}

// One call of Receive gets at most this much, so that what came first does not wait for all that follows.
const (
	receiveMessagesMax = 256
	receiveBytesMax    = 1 << 20
)

// serve reads the connection until it ends.
func (s *session) serve() {
	// Keepalives go out beside the reading, so that a peer can tell a server that is full from one that is gone.
	ctx, cancel := context.WithCancel(s.t.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.keepAlive(ctx) })
	err := s.read()
	cancel()
	s.conn.Close() //nolint:errcheck // err says why it ends
	wg.Wait()
	if s.t.ctx.Err() != nil || errors.Is(err, io.EOF) {
		return
	}
	if errors.Is(err, wire.ErrMalformed) {
		s.t.refuse(source(s.conn), err)
		return
	}
	s.t.logRefusal("connection of peer ended", source(s.conn), fmt.Errorf("server %d, lane for %s: %w", s.peer.Server, s.lane, err))
}

func (s *session) keepAlive(ctx context.Context) {
	ticker := time.NewTicker(s.t.options.KeepaliveInterval)
	defer ticker.Stop()
	frame := wire.AppendKeepalive(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := s.send(frame); err != nil {
				s.conn.Close() //nolint:errcheck // the reader sees it and says so
				return
			}
		}
	}
}

// send writes to the connection; the dialling side always reads, so it takes no longer than a network that works.
func (s *session) send(parts ...[]byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.t.options.IdleTimeout)); err != nil {
		return err
	}
	vec := net.Buffers(parts)
	n, err := vec.WriteTo(s.conn)
	s.t.sentBytes.Add(uint64(n))
	return err
}

// read takes frames until there are no more, and hands over together what has arrived together.
func (s *session) read() error {
	var messages []raft.Message
	for {
		messages = messages[:0]
		for bytes := 0; ; {
			f, err := s.frames.Next()
			if err != nil {
				return errors.Join(s.deliver(messages), err)
			}
			bytes += f.Size()
			s.t.receivedBytes.Add(uint64(f.Size()))
			if messages, err = s.take(messages, f); err != nil {
				return errors.Join(s.deliver(messages), err)
			}
			if !s.frames.Ready() || len(messages) >= receiveMessagesMax || bytes >= receiveBytesMax {
				break
			}
		}
		if err := s.deliver(messages); err != nil {
			return err
		}
		clear(messages)
	}
}

// take handles one frame; a message is added to messages.
func (s *session) take(messages []raft.Message, f wire.Frame) ([]raft.Message, error) {
	switch {
	case f.Type == wire.FrameKeepalive:
		return messages, nil
	case f.Type == wire.FrameMessage && s.lane != wire.LaneChunks:
		messages = append(messages, raft.Message{})
		m := &messages[len(messages)-1]
		if err := s.message(f, m); err != nil {
			return messages[:len(messages)-1], err
		}
		return messages, nil
	case f.Type == wire.FrameChunkRequest && s.lane == wire.LaneChunks:
		return messages, s.chunk(f)
	}
	return messages, fmt.Errorf("%w: frame of type %d on the lane for %s", wire.ErrMalformed, f.Type, s.lane)
}

func (s *session) message(f wire.Frame, m *raft.Message) error {
	if err := wire.DecodeMessage(f.Head, f.Body, m); err != nil {
		return err
	}
	if m.From != s.peer.Server || m.To != s.t.options.Local.Server {
		return fmt.Errorf("%w: message from server %d to server %d on a connection of server %d to server %d",
			wire.ErrMalformed, m.From, m.To, s.peer.Server, s.t.options.Local.Server)
	}
	if (m.Type == raft.MessageAppendRequest) != (s.lane == wire.LaneEntries) {
		return fmt.Errorf("%w: %s on the lane for %s", wire.ErrMalformed, m.Type, s.lane)
	}
	m.FromStore, m.FromRun = s.peer.Store, s.peer.Run
	return nil
}

// deliver calls Handler.Receive, unless the transport was closed meanwhile.
func (s *session) deliver(messages []raft.Message) (err error) {
	if len(messages) == 0 || s.t.ctx.Err() != nil {
		return nil
	}
	s.t.received.Add(uint64(len(messages)))
	defer s.t.recovered("Receive", s.peer.Server, &err)
	s.t.handler.Receive(messages)
	return nil
}

// chunk answers a request for part of a snapshot.
func (s *session) chunk(f wire.Frame) error {
	r, err := wire.DecodeChunkRequest(f)
	if err != nil {
		return err
	}
	if r.BytesMax < 1 || r.BytesMax > transport.ChunkBytesMax {
		return fmt.Errorf("%w: request for a chunk of %d bytes, at most %d", wire.ErrMalformed, r.BytesMax, transport.ChunkBytesMax)
	}
	chunk, err := s.serveChunk(transport.ChunkRequest{Snapshot: r.Snapshot, Offset: r.Offset, BytesMax: r.BytesMax})
	if err == nil && (chunk.Offset != r.Offset || len(chunk.Bytes) > r.BytesMax) {
		err = fmt.Errorf("tcp: %d bytes at offset %d were served, asked for were %d at %d",
			len(chunk.Bytes), chunk.Offset, r.BytesMax, r.Offset)
	}
	if err != nil {
		return s.send(wire.AppendChunkRefusal(nil, wire.ChunkRefusal{ID: r.ID, Reason: err.Error()}))
	}
	answer := wire.Chunk{ID: r.ID, Offset: chunk.Offset, Bytes: chunk.Bytes, Last: chunk.Last}
	return s.send(wire.AppendChunk(nil, answer), chunk.Bytes)
}

func (s *session) serveChunk(request transport.ChunkRequest) (chunk transport.Chunk, err error) {
	if err := s.t.ctx.Err(); err != nil {
		return chunk, transport.ErrClosed
	}
	defer s.t.recovered("ServeChunk", s.peer.Server, &err)
	return s.t.handler.ServeChunk(raft.Member{ID: s.peer.Server, Store: s.peer.Store}, request)
}
