package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// FrameHeaderSize is the length in bytes of what stands before each frame's head.
//
//	offset size value (big-endian)
//	0      4    crc       CRC32C (Castagnoli) of everything from offset 4 to the end of the head
//	4      1    type
//	5      3    reserved  0
//	8      4    head      bytes of the head, which follows
//	12     4    body      bytes of the body, which follows the head
//
// The head is one MessagePack value. The body is what would be a pity to copy or to checksum twice: the blocks of an
// append, each with the checksum that it was given when it was made, or the bytes of a chunk, whose checksum stands in
// the head. So every byte is covered once, and the lengths are known to be right before the body is read.
const FrameHeaderSize = 16

// FrameOverheadMax is the most that a frame with blocks adds to the blocks themselves, in bytes.
const FrameOverheadMax = 256

// FrameType says what a frame carries.
type FrameType uint8

const (
	// FrameHello opens a connection: the dialler says who it is and whom it wants (Hello).
	FrameHello FrameType = 1
	// FrameWelcome accepts it: the acceptor says who it is (Welcome).
	FrameWelcome FrameType = 2
	// FrameRefusal declines it with a reason (Refused); the connection is closed after it.
	FrameRefusal FrameType = 3
	// FrameMessage carries one raft.Message, its blocks as the body.
	FrameMessage FrameType = 4
	// FrameKeepalive says that the sender is there. Head and body are empty.
	FrameKeepalive FrameType = 5
	// FrameChunkRequest asks for a part of a snapshot.
	FrameChunkRequest FrameType = 6
	// FrameChunk answers with it as the body.
	FrameChunk FrameType = 7
	// FrameChunkRefusal answers with a reason why not.
	FrameChunkRefusal FrameType = 8
)

const frameTypeMax = FrameChunkRefusal

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// beginFrame makes room for a frame's header; the head is appended next.
func beginFrame(dst []byte) []byte {
	return append(dst, make([]byte, FrameHeaderSize)...)
}

// endFrame fills in the header of the frame that begins at dst[at] and whose head reaches to the end of dst. The body,
// of bodyBytes bytes, is sent after it.
func endFrame(dst []byte, at int, typ FrameType, bodyBytes int) []byte {
	h := dst[at:]
	h[4], h[5], h[6], h[7] = byte(typ), 0, 0, 0
	binary.BigEndian.PutUint32(h[8:], uint32(len(h)-FrameHeaderSize))
	binary.BigEndian.PutUint32(h[12:], uint32(bodyBytes))
	binary.BigEndian.PutUint32(h, crc32.Checksum(h[4:], castagnoli))
	return dst
}

// AppendKeepalive appends a whole keepalive frame.
func AppendKeepalive(dst []byte) []byte {
	at := len(dst)
	return endFrame(beginFrame(dst), at, FrameKeepalive, 0)
}

// Frame is one frame as it was read.
type Frame struct {
	Type FrameType
	Head []byte // good until the next call of FrameReader.Next
	Body []byte // the caller's to keep; nobody writes to it again
}

// Size returns how many bytes the frame took on the connection.
func (f Frame) Size() int { return FrameHeaderSize + len(f.Head) + len(f.Body) }

// FrameReader takes frames off a connection. It belongs to one goroutine. Whatever a length claims, it allocates no more
// than 256 KiB, or four times what has arrived of the frame.
type FrameReader struct {
	r        *bufio.Reader
	bytesMax int
	header   [FrameHeaderSize]byte
	head     []byte // reused from frame to frame
}

const (
	readBufferBytes = 64 << 10
	growFirstBytes  = 256 << 10
	headFirstBytes  = 512
	headKeepBytes   = 64 << 10 // a head buffer that grew beyond this is not kept
)

// NewFrameReader reads frames of at most bytesMax bytes from r, header and all.
func NewFrameReader(r io.Reader, bytesMax int) *FrameReader {
	return &FrameReader{
		r: bufio.NewReaderSize(r, readBufferBytes), bytesMax: bytesMax, head: make([]byte, 0, headFirstBytes),
	}
}

// SetBytesMax changes the limit for the frames that follow: a connection's first frame is held to a smaller one.
func (r *FrameReader) SetBytesMax(bytesMax int) { r.bytesMax = bytesMax }

// Next reads one frame and verifies its header and head; the body carries checksums of its own. It returns io.EOF at
// the end of the connection between two frames, io.ErrUnexpectedEOF within one, an error that matches ErrMalformed when
// the bytes are no frame, and otherwise what the connection returned. After an error the connection is of no more use.
func (r *FrameReader) Next() (Frame, error) {
	h := r.header[:]
	if _, err := io.ReadFull(r.r, h); err != nil {
		return Frame{}, err
	}
	head, body, err := r.sizes()
	if err != nil {
		return Frame{}, err
	}
	if cap(r.head) > headKeepBytes {
		r.head = make([]byte, 0, headFirstBytes)
	}
	if r.head, err = r.read(r.head[:0], head); err != nil {
		return Frame{}, err
	}
	sum := crc32.Update(crc32.Checksum(h[4:], castagnoli), castagnoli, r.head)
	if want := binary.BigEndian.Uint32(h); sum != want {
		return Frame{}, fmt.Errorf("%w: frame of type %d: checksum %08x, want %08x", ErrMalformed, h[4], sum, want)
	}
	f := Frame{Type: FrameType(h[4]), Head: r.head}
	if body > 0 {
		if f.Body, err = r.read(nil, body); err != nil {
			return Frame{}, err
		}
	}
	return f, nil
}

// sizes checks the header, all but its checksum, and returns the lengths that it claims.
func (r *FrameReader) sizes() (head, body int, err error) {
	h := r.header[:]
	if typ := FrameType(h[4]); typ == 0 || typ > frameTypeMax || h[5]|h[6]|h[7] != 0 {
		return 0, 0, fmt.Errorf("%w: % x is no frame header", ErrMalformed, h)
	}
	headBytes, bodyBytes := uint64(binary.BigEndian.Uint32(h[8:])), uint64(binary.BigEndian.Uint32(h[12:]))
	if total := FrameHeaderSize + headBytes + bodyBytes; total > uint64(r.bytesMax) {
		return 0, 0, fmt.Errorf("%w: frame of %d bytes, at most %d are read here", ErrMalformed, total, r.bytesMax)
	}
	return int(headBytes), int(bodyBytes), nil
}

// read reads n bytes behind buf. It allocates in steps, each paid for by bytes that have arrived.
func (r *FrameReader) read(buf []byte, n int) ([]byte, error) {
	for len(buf) < n {
		if cap(buf) < min(n, max(growFirstBytes, 4*len(buf))) {
			grown := make([]byte, len(buf), min(n, max(growFirstBytes, 4*len(buf))))
			copy(grown, buf)
			buf = grown
		}
		at := len(buf)
		buf = buf[:min(n, cap(buf))]
		if got, err := io.ReadFull(r.r, buf[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return buf[:at+got], err
		}
	}
	return buf, nil
}

// Ready reports whether the next frame has arrived as a whole, so that Next will not wait. Frames that are longer than
// the read buffer (64 KiB) are never ready.
func (r *FrameReader) Ready() bool {
	if r.r.Buffered() < FrameHeaderSize {
		return false
	}
	h, err := r.r.Peek(FrameHeaderSize)
	if err != nil {
		return false
	}
	head, body := uint64(binary.BigEndian.Uint32(h[8:])), uint64(binary.BigEndian.Uint32(h[12:]))
	return uint64(r.r.Buffered()) >= FrameHeaderSize+head+body
}
