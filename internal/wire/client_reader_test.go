package wire

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

// proposals is a stream of n proposals of size bytes.
func proposals(n, size int) []byte {
	var stream []byte
	for k := range n {
		r := ClientRequest{ID: uint32(k), Method: MethodPropose, Group: 1, Body: bytes.Repeat([]byte{byte(k)}, size)}
		stream = AppendClientRequest(stream, &r)
	}
	return stream
}

// readAll reads proposals to the end and gives each message to f.
func readAll(t *testing.T, r *ClientReader, f func(raw []byte, request ClientRequest)) {
	t.Helper()
	for {
		raw, err := r.Buffered()
		require.NoError(t, err)
		if raw == nil {
			if err := r.Fill(); err != nil {
				require.ErrorIs(t, err, io.EOF)
				return
			}
			continue
		}
		request, _, err := ParseClientRequest(raw)
		require.NoError(t, err)
		f(raw, request)
	}
}

func TestKeptCommandsHoldLittleMoreThanTheirBytesInMemory(t *testing.T) {
	for _, size := range []int{100, 1000, 10_000, 17_000, 64 << 10, 200_000, 2 << 20} {
		n := min(100, 8<<20/size)
		var kept [][]byte
		buffers := make(map[*byte]int) // each distinct piece of memory, by its last byte
		r := NewClientReader(bytes.NewReader(proposals(n, size)), 4<<20, true)
		readAll(t, r, func(_ []byte, request ClientRequest) {
			body := r.Keep(request.Body)
			kept = append(kept, body)
			if r.shared {
				buffers[&r.buf[len(r.buf)-1]] = len(r.buf)
			} else {
				buffers[&body[len(body)-1]] = cap(body)
			}
		})
		held := 0
		for _, n := range buffers {
			held += n
		}
		require.LessOrEqual(t, held, n*size*3/2+clientChunkMax, "commands of %d bytes", size)
		for k, body := range kept {
			require.True(t, bytes.Equal(bytes.Repeat([]byte{byte(k)}, size), body), "command %d of %d bytes has changed", k, size)
		}
	}
}

func TestCommandsThatAreNotKeptTakeNoMemory(t *testing.T) {
	for _, size := range []int{100, 64 << 10} {
		stream := proposals(50, size)
		source := new(bytes.Reader)
		r := NewClientReader(source, 4<<20, true)
		read := func() {
			source.Reset(stream)
			readAll(t, r, func([]byte, ClientRequest) {})
		}
		read()
		before := &r.buf[0]
		read()
		require.Same(t, before, &r.buf[0], "commands of %d bytes", size)
	}
}

func TestLongMessageGetsABufferOfItsOwnAndIsNotCopied(t *testing.T) {
	const size = 1 << 20
	r := NewClientReader(bytes.NewReader(proposals(1, size)), 4<<20, true)
	messages := 0
	readAll(t, r, func(raw []byte, request ClientRequest) {
		messages++
		require.Len(t, r.buf, len(raw))
		require.Same(t, &request.Body[0], &r.Keep(request.Body)[0])
	})
	require.Equal(t, 1, messages)
	require.LessOrEqual(t, len(r.buf), clientReuseMax, "an idle connection holds on to a large buffer")
}

func TestQueryThatEndsBehindItsBodyFitsIntoItsBuffer(t *testing.T) {
	r := ClientRequest{ID: 1, Method: MethodQuery, Group: 1, Body: make([]byte, 300_000), Consistency: raft.Consistency{Level: raft.Stale}}
	reader := NewClientReader(bytes.NewReader(AppendClientRequest(nil, &r)), 1<<20, true)
	readAll(t, reader, func(raw []byte, request ClientRequest) {
		require.Len(t, reader.buf, len(raw))
		require.Equal(t, raft.Stale, request.Consistency.Level)
	})
}
