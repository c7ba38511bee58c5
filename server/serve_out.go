package server

import "sync"

// outbox is what a connection has to write, in order and in pieces: answers one behind the other in buffers of its own,
// which are used again, and large results as they are, which are referred to and never copied. Two of them take turns on
// a connection, so that in a steady state nothing is allocated. Its zero value is ready.
type outbox struct {
	pieces [][]byte
	buffer []byte // the rest of it, from sealed on, is the last piece
	sealed int
	bytes  int
	own    []byte          // the first buffer
	lent   []*outboxBuffer // the others
}

type outboxBuffer [outboxBufferBytes]byte

// outboxBuffers lends to connections that have much to write at the moment.
var outboxBuffers = sync.Pool{New: func() any { return new(outboxBuffer) }}

const (
	outboxOwnBytes    = 4 << 10 // so much stays with an idle connection, twice
	outboxBufferBytes = 64 << 10
	// outboxResultMin is the smallest result that is not copied: a piece of its own costs about as much as its copy.
	outboxResultMin = 16 << 10
)

// lay adds what f appends.
func (o *outbox) lay(f func(b []byte) []byte) {
	b := o.room(clientRequestOverhead)
	o.grown(f(b))
}

// room returns the buffer to be appended to and then given to grown. size is about how much that will be.
func (o *outbox) room(size int) []byte {
	if o.buffer == nil {
		if o.own == nil {
			o.own = make([]byte, 0, outboxOwnBytes)
		}
		o.buffer = o.own
	}
	if len(o.buffer)+size > cap(o.buffer) {
		o.seal()
		lent := outboxBuffers.Get().(*outboxBuffer)
		o.lent = append(o.lent, lent)
		o.buffer, o.sealed = lent[:0], 0
	}
	return o.buffer
}

func (o *outbox) grown(b []byte) {
	o.bytes += len(b) - len(o.buffer)
	o.buffer = b
}

// refer adds bytes that nobody changes.
func (o *outbox) refer(b []byte) {
	o.seal()
	o.pieces = append(o.pieces, b)
	o.bytes += len(b)
}

// seal makes a piece of what was appended since the last one. What is appended next may move the buffer; the piece keeps
// what it has.
func (o *outbox) seal() {
	if n := len(o.buffer); n > o.sealed {
		o.pieces = append(o.pieces, o.buffer[o.sealed:n:n])
		o.sealed = n
	}
}

// reset empties the outbox, of which everything was written.
func (o *outbox) reset() {
	for _, lent := range o.lent {
		outboxBuffers.Put(lent)
	}
	clear(o.lent)
	clear(o.pieces)
	*o = outbox{pieces: o.pieces[:0], own: o.own, lent: o.lent[:0]}
}

// cut moves the first bytesMax bytes of the pieces to vec and returns the rest of them, which may begin within a piece.
func cut(vec, pieces [][]byte, bytesMax int) (_, rest [][]byte) {
	for bytesMax > 0 && len(pieces) > 0 {
		n := min(len(pieces[0]), bytesMax)
		vec = append(vec, pieces[0][:n])
		bytesMax -= n
		if n < len(pieces[0]) {
			pieces[0] = pieces[0][n:]
			break
		}
		pieces[0] = nil // written, it is not held on to
		pieces = pieces[1:]
	}
	return vec, pieces
}
