package wire

import (
	"bytes"
	"fmt"
	"io"
)

const (
	// rpcDepthMax bounds how deep arrays and maps are nested; nothing in the protocol needs more than five.
	rpcDepthMax = 8
	// clientChunkMin and clientChunkMax bound the pieces in which a reader's buffer is allocated.
	clientChunkMin = 4 << 10
	clientChunkMax = 64 << 10
	// clientShareMax is the largest part of a message that shares its buffer with others when it is kept.
	clientShareMax = clientChunkMax / 4
	// clientReuseMax is the largest buffer that is used again. A longer message gets one of its own.
	clientReuseMax = 2 * clientChunkMax
	// clientRoomMin is the smallest rest of a buffer that is worth another read.
	clientRoomMin = 512
	// clientEmptyReadsMax ends a connection whose Read returns nothing and no error over and over.
	clientEmptyReadsMax = 100
)

// rpcScan finds the end of one message in bytes that arrive in pieces. It goes on where it stopped, so that a message
// that comes byte by byte costs no more than one that comes at once.
type rpcScan struct {
	pos   int
	known int // where the value ends that was looked at last
	depth int
	left  [rpcDepthMax]uint64 // values still to come in each open container
}

// advance scans what is there of the message at the start of b. An error matches ErrMalformed or, where the message
// claims to be longer than bytesMax, ErrTooLarge; both are found as soon as the claim is read.
func (s *rpcScan) advance(b []byte, bytesMax int) (done bool, err error) {
	for s.pos == 0 || s.depth > 0 {
		t, ok := rpcReadToken(b[s.pos:])
		if !ok {
			return false, fmt.Errorf("%w: byte 0x%02x is no MessagePack", ErrMalformed, b[s.pos])
		}
		if s.pos == 0 && len(b) > 0 && b[0]&0xf0 != 0x90 && b[0] != 0xdc && b[0] != 0xdd {
			return false, fmt.Errorf("%w: a message begins with an array, not with byte 0x%02x", ErrMalformed, b[0])
		}
		if t.size == 0 {
			return false, nil
		}
		// Every value that is still to come needs one byte at least.
		if t.size > uint64(bytesMax-s.pos) || t.children > uint64(bytesMax-s.pos) {
			return false, fmt.Errorf("%w: a message may have %d bytes", ErrTooLarge, bytesMax)
		}
		if s.known = s.pos + int(t.size); s.known > len(b) {
			return false, nil
		}
		s.pos += int(t.size)
		if t.children > 0 {
			if s.depth == rpcDepthMax {
				return false, fmt.Errorf("%w: nested deeper than %d", ErrMalformed, rpcDepthMax)
			}
			s.left[s.depth] = t.children
			s.depth++
			continue
		}
		for s.depth > 0 {
			s.left[s.depth-1]--
			if s.left[s.depth-1] > 0 {
				break
			}
			s.depth--
		}
	}
	return true, nil
}

// least returns how long the message is at least: every value that is still to come has one byte.
func (s *rpcScan) least() int {
	n := uint64(s.known)
	for _, left := range s.left[:s.depth] {
		n += left - 1
	}
	return int(n)
}

// ClientReader cuts a connection's bytes into messages of the client protocol. It allocates for what has arrived and
// never for what a length claims. It belongs to one goroutine.
//
//	for {
//		raw, err := r.Buffered()      // until there is none
//		...                           // r.Keep what outlives the next Fill
//		err = r.Fill()                // blocks
//	}
type ClientReader struct {
	r        io.Reader
	buf      []byte // buf[start:end] was read and not returned
	start    int
	end      int
	bytesMax int
	keep     bool
	shared   bool // parts of messages that are kept refer to buf: it is not written to again
	whole    bool // the last message is all of buf, which was made for it
	chunk    int
	scan     rpcScan
	err      error
}

// NewClientReader returns a reader of messages of up to bytesMax bytes. keep says that most messages will be kept: a long
// one then gets a buffer of its own, and no large buffer stays with an idle connection.
func NewClientReader(r io.Reader, bytesMax int, keep bool) *ClientReader {
	return &ClientReader{r: r, bytesMax: bytesMax, keep: keep, chunk: clientChunkMin}
}

// Buffered returns the next message if all of it has been read, and nil otherwise. It is good until the next Fill. An error matches ErrMalformed or
// ErrTooLarge and is final: where the next message would begin is not known.
func (r *ClientReader) Buffered() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	done, err := r.scan.advance(r.buf[r.start:r.end], r.bytesMax)
	if err != nil || !done {
		r.err = err
		return nil, err
	}
	n := r.scan.pos
	raw := r.buf[r.start : r.start+n : r.start+n]
	r.start += n
	r.scan = rpcScan{}
	r.whole = n == len(r.buf) && n > clientReuseMax
	return raw, nil
}

// Keep returns a part of the message that Buffered returned last, as it will be for ever. Small parts share a buffer of
// 64 KiB with others; a large one is copied and keeps nothing beside itself in memory.
func (r *ClientReader) Keep(part []byte) []byte {
	if len(part) > clientShareMax && !r.whole {
		return bytes.Clone(part)
	}
	r.shared = true
	return part
}

// Partial returns how many bytes of an unfinished message are held.
func (r *ClientReader) Partial() int { return r.end - r.start }

// Rest returns those bytes, good until the next Fill.
func (r *ClientReader) Rest() []byte { return r.buf[r.start:r.end] }

// Fill reads once from the connection. Its error is the connection's; io.EOF in the middle of a message is
// io.ErrUnexpectedEOF.
func (r *ClientReader) Fill() error {
	r.makeRoom()
	for range clientEmptyReadsMax {
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		if n > 0 {
			return nil // an error beside bytes comes again with the next read
		}
		if err == io.EOF && r.Partial() > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

func (r *ClientReader) makeRoom() {
	unread := r.end - r.start
	if r.keep && unread == 0 && len(r.buf) > clientReuseMax {
		r.buf, r.start, r.end, r.shared = nil, 0, 0, false
	}
	if !r.shared && r.start > 0 && (unread == 0 || len(r.buf)-r.end < clientRoomMin && unread <= len(r.buf)/2) {
		copy(r.buf, r.buf[r.start:r.end])
		r.start, r.end = 0, unread
	}
	least := r.scan.least()
	if room := len(r.buf) - r.end; room >= clientRoomMin || room > 0 && len(r.buf) == r.start+least {
		return
	}
	// A buffer that filled up was too small for the traffic: the next is twice as large, up to a bound, and always has
	// as much room again as it holds already. The last one for a long message that is kept has room for nothing else.
	if r.buf != nil {
		r.chunk = min(2*r.chunk, clientChunkMax)
	}
	size := 2 * unread
	if r.keep && least > max(unread, clientReuseMax) {
		size = min(size, least)
	}
	buf := make([]byte, max(r.chunk, size))
	copy(buf, r.buf[r.start:r.end])
	r.buf, r.start, r.end, r.shared = buf, 0, unread, false
}
