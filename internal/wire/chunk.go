package wire

import (
	"fmt"
	"hash/crc32"

	"github.com/oarlock/oarlock/raft"
)

// ChunkRequest asks for bytes of a snapshot. ID is the asker's and comes back in the answer.
type ChunkRequest struct {
	ID       uint64
	Snapshot raft.SnapshotMeta
	Offset   int64
	BytesMax int
}

// Chunk answers a ChunkRequest.
type Chunk struct {
	ID     uint64
	Offset int64
	Bytes  []byte
	Last   bool
}

// ChunkRefusal answers a ChunkRequest that cannot be met.
type ChunkRefusal struct {
	ID     uint64
	Reason string
}

// AppendChunkRequest appends a whole frame: [id, snapshot, offset, bytes max].
func AppendChunkRequest(dst []byte, r ChunkRequest) []byte {
	at := len(dst)
	dst = appendUint(appendArray(beginFrame(dst), 4), r.ID)
	dst = AppendSnapshotMeta(dst, r.Snapshot)
	dst = appendUint(dst, uint64(r.Offset))
	dst = appendUint(dst, uint64(r.BytesMax))
	return endFrame(dst, at, FrameChunkRequest, 0)
}

// DecodeChunkRequest reads a frame of that type. Errors match ErrMalformed.
func DecodeChunkRequest(f Frame) (ChunkRequest, error) {
	c := cursor{b: f.Head}
	c.array(4)
	r := ChunkRequest{ID: c.uint(), Snapshot: c.snapshotMeta(), Offset: c.natural(), BytesMax: int(c.uint32())}
	if len(f.Body) != 0 {
		c.fail("a body where none belongs")
	}
	if err := c.end("chunk request"); err != nil {
		return ChunkRequest{}, err
	}
	return r, nil
}

// AppendChunk appends a chunk's frame up to its body, which is c.Bytes and is sent after it: [id, offset, last, CRC32C
// of the body].
func AppendChunk(dst []byte, chunk Chunk) []byte {
	at := len(dst)
	dst = appendUint(appendArray(beginFrame(dst), 4), chunk.ID)
	dst = appendUint(dst, uint64(chunk.Offset))
	dst = appendBool(dst, chunk.Last)
	dst = appendUint(dst, uint64(crc32.Checksum(chunk.Bytes, castagnoli)))
	return endFrame(dst, at, FrameChunk, len(chunk.Bytes))
}

// DecodeChunk reads a frame of that type and verifies its bytes, which it refers to. Errors match ErrMalformed.
func DecodeChunk(f Frame) (Chunk, error) {
	c := cursor{b: f.Head}
	c.array(4)
	chunk := Chunk{ID: c.uint(), Offset: c.natural(), Last: c.bool(), Bytes: f.Body}
	want := c.uint32()
	if err := c.end("chunk"); err != nil {
		return Chunk{}, err
	}
	if got := crc32.Checksum(f.Body, castagnoli); got != want {
		return Chunk{}, fmt.Errorf("%w: chunk at offset %d: checksum %08x, want %08x", ErrMalformed, chunk.Offset, got, want)
	}
	return chunk, nil
}

// AppendChunkRefusal appends a whole frame: [id, reason]. A long reason is cut.
func AppendChunkRefusal(dst []byte, r ChunkRefusal) []byte {
	at := len(dst)
	dst = appendUint(appendArray(beginFrame(dst), 2), r.ID)
	dst = appendStr(dst, r.Reason[:min(len(r.Reason), refusalReasonBytesMax)])
	return endFrame(dst, at, FrameChunkRefusal, 0)
}

// DecodeChunkRefusal reads a frame of that type. Errors match ErrMalformed.
func DecodeChunkRefusal(f Frame) (ChunkRefusal, error) {
	c := cursor{b: f.Head}
	c.array(2)
	r := ChunkRefusal{ID: c.uint(), Reason: c.str(refusalReasonBytesMax)}
	if len(f.Body) != 0 {
		c.fail("a body where none belongs")
	}
	if err := c.end("chunk refusal"); err != nil {
		return ChunkRefusal{}, err
	}
	return r, nil
}
