package server

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// Completion receives the answer of a Proposal or a query. Complete is called exactly once, on any goroutine, often one
// that serves a whole group: it must not block, not ask for the Status of the server, and should do little. Submit and
// SubmitQuery may be called from it. A panic in it stops the replica, like one in the state machine. The result is the receiver's to keep and not to
// change: a session's table may hold the same bytes.
type Completion interface {
	Complete(result []byte, err error)
}

// IndexCompletion is a Completion that is told which part of the log its answer reflects.
type IndexCompletion interface {
	Completion
	// CompleteAt is called instead of Complete when a command was executed or a query answered, and keeps to the same rules. err
	// is nil, or an error that is the answer: it matches ErrResultTooLarge or ErrQuery. index is the command's entry, or of one that had been executed before, the entry of its
	// repetition; of a query it is the last entry that the state machine had executed. Whoever reads from a server that has
	// applied index sees what this answer reflects.
	CompleteAt(index raft.Index, result []byte, err error)
}

// complete gives an answer that reflects the log up to index.
func complete(done Completion, index raft.Index, result []byte, err error) {
	if at, ok := done.(IndexCompletion); ok && (err == nil || wire.ClassOf(err) == wire.ClassResult) {
		at.CompleteAt(index, result, err)
		return
	}
	done.Complete(result, err)
}

// answer answers from within a turn. What a Completion throws stops the replica at the end of the turn; those behind it
// are answered all the same.
func (r *Replica) answer(done Completion, result []byte, err error) {
	var thrown error
	defer func() { r.fail(thrown) }()
	defer guard(func() string { return "a Completion" }, &thrown)
	done.Complete(result, err)
}

// lastWord answers for a replica that has its reason to stop already, so that what a Completion throws changes nothing.
func lastWord(done Completion, err error) {
	defer func() { _ = recover() }()
	done.Complete(nil, err)
}

// Proposal asks for one entry. KindCommand carries an application's command, in a session or, with Session 0, outside of
// any. KindSession opens a session where Session is 0; where it is not, it closes the session or, with Keep, uses it, so
// that it does not expire.
type Proposal struct {
	Group    raft.GroupID
	Kind     raft.Kind
	Session  uint64
	Sequence uint64
	Floor    uint64 // the lowest sequence that the client still waits for
	Keep     bool   // KindSession: the session stays open
	// Command must not change until Complete was called.
	Command []byte
}

// waiter is the one-slot Completion that a blocked caller waits on. It is reused, with its buffer, once its answer was
// taken; one that its caller gave up on is left to the collector, because its answer is still to come.
type waiter struct {
	slot chan answer
	buf  []byte
	pool *sync.Pool
}

type answer struct {
	result []byte
	err    error
}

// waiter returns a free one. The pool is the server's own: what waits in one bubble of virtual time must not turn up in
// another.
func (s *Server) waiter() *waiter {
	if w, ok := s.waiters.Get().(*waiter); ok {
		return w
	}
	return &waiter{slot: make(chan answer, 1), pool: &s.waiters}
}

// waiterBufMax is the largest command buffer that goes back into the pool with its waiter.
const waiterBufMax = 64 << 10

// Complete implements Completion; the slot has room because there is one answer.
func (w *waiter) Complete(result []byte, err error) { w.slot <- answer{result, err} }

// keep copies command into the waiter's buffer, for a caller that may leave before the command was encoded.
func (w *waiter) keep(ctx context.Context, command []byte) []byte {
	if ctx.Done() == nil {
		return command
	}
	w.buf = append(w.buf[:0], command...)
	return w.buf
}

// wait returns the answer, or gives up when ctx ends. lost is what giving up means for the caller.
func (w *waiter) wait(ctx context.Context, lost error) ([]byte, error) {
	var a answer
	if done := ctx.Done(); done == nil {
		a = <-w.slot
	} else {
		select {
		case a = <-w.slot:
		case <-done:
			return nil, errors.Join(lost, context.Cause(ctx))
		}
	}
	if cap(w.buf) > waiterBufMax {
		w.buf = nil
	}
	w.pool.Put(w)
	return a.result, a.err
}

// unknown says why an outcome is not known.
func unknown(why error) error {
	if why == nil {
		return ErrUnknown
	}
	return fmt.Errorf("%w: %w", ErrUnknown, why)
}

// unknownFor keeps the reasons that are the same for many waiters from being built for each.
var (
	errUnknownDeposed = fmt.Errorf("%w: leadership was lost before the entry was committed", ErrUnknown)
)
