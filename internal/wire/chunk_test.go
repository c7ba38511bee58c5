package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestChunksKeepTheirBytes(t *testing.T) {
	chunk := Chunk{ID: 7, Offset: 1 << 33, Bytes: []byte("bytes of a snapshot"), Last: true}
	compareGolden(t, "chunks.golden", []goldenCase{
		{"chunk request", AppendChunkRequest(nil, ChunkRequest{ID: 7, Snapshot: exampleSnapshot(), Offset: 1 << 33, BytesMax: 1 << 20})},
		{"chunk", append(AppendChunk(nil, chunk), chunk.Bytes...)},
		{"chunk refusal", AppendChunkRefusal(nil, ChunkRefusal{ID: 7, Reason: "no such snapshot"})},
	})
}

func TestChunksReadBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		next := func(b []byte) Frame {
			f, err := NewFrameReader(bytes.NewReader(b), 8<<20).Next()
			require.NoError(t, err)
			return f
		}
		r := ChunkRequest{
			ID: rapid.Uint64().Draw(t, "id"), Snapshot: anySnapshot(t), Offset: rapid.Int64Min(0).Draw(t, "offset"),
			BytesMax: rapid.IntRange(0, 1<<20).Draw(t, "most"),
		}
		gotRequest, err := DecodeChunkRequest(next(AppendChunkRequest(nil, r)))
		require.NoError(t, err)
		require.Equal(t, r, gotRequest)

		c := Chunk{ID: r.ID, Offset: r.Offset, Last: rapid.Bool().Draw(t, "last"), Bytes: rapid.SliceOfN(rapid.Byte(), 1, 500).Draw(t, "bytes")}
		b := append(AppendChunk(nil, c), c.Bytes...)
		got, err := DecodeChunk(next(b))
		require.NoError(t, err)
		require.Equal(t, c, got)
		b[len(b)-1-rapid.IntRange(0, len(c.Bytes)-1).Draw(t, "damage")] ^= 0x10
		_, err = DecodeChunk(next(b))
		require.ErrorIs(t, err, ErrMalformed)

		no := ChunkRefusal{ID: r.ID, Reason: rapid.StringN(0, 100, refusalReasonBytesMax).Draw(t, "reason")}
		gotNo, err := DecodeChunkRefusal(next(AppendChunkRefusal(nil, no)))
		require.NoError(t, err)
		require.Equal(t, no, gotNo)
	})
}

func FuzzChunk(f *testing.F) {
	add := func(b []byte) { f.Add(b[FrameHeaderSize:], []byte{}) }
	add(AppendChunkRequest(nil, ChunkRequest{ID: 7, Snapshot: exampleSnapshot(), Offset: 1 << 33, BytesMax: 1 << 20}))
	add(AppendChunkRefusal(nil, ChunkRefusal{ID: 7, Reason: "no such snapshot"}))
	f.Add(AppendChunk(nil, Chunk{ID: 7, Bytes: []byte("bytes")})[FrameHeaderSize:], []byte("bytes"))
	f.Fuzz(func(t *testing.T, head, body []byte) {
		frame := Frame{Head: head, Body: body}
		if r, err := DecodeChunkRequest(frame); err == nil {
			require.Equal(t, head, AppendChunkRequest(nil, r)[FrameHeaderSize:])
		} else {
			require.ErrorIs(t, err, ErrMalformed)
		}
		if c, err := DecodeChunk(frame); err == nil {
			require.Equal(t, head, AppendChunk(nil, c)[FrameHeaderSize:])
		} else {
			require.ErrorIs(t, err, ErrMalformed)
		}
		if r, err := DecodeChunkRefusal(frame); err == nil {
			require.Equal(t, head, AppendChunkRefusal(nil, r)[FrameHeaderSize:])
		} else {
			require.ErrorIs(t, err, ErrMalformed)
		}
	})
}
