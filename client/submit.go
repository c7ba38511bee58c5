package client

import "fmt"

// Completion receives the answer of a call that Submit began. Complete is called exactly once, on any goroutine and
// perhaps before Submit returns. It must not block: other calls wait behind it. Submit and Cancel may be called from it,
// Close not. The result is the receiver's to keep.
type Completion interface {
	Complete(result []byte, err error)
}

// Submit begins a call and returns at once: any Op, with the errors of the method of its name; consistency, one at most, is for OpQuery.
// body must stay as it is until done was called. The call goes on until it is answered, is given up by
// Cancel, or the client is closed: it has no deadline of its own. With an error that matches ErrMalformed nothing was begun
// and done is never called; any other error is a fault of this package that has ended the client, and done may have been
// called too.
func (c *Client) Submit(op Op, body []byte, done Completion, consistency ...Consistency) (Handle, error) {
	_, err := oneConsistency(op, consistency)
	switch {
	case op < OpPropose || op > OpStepDown:
		return Handle{}, fmt.Errorf("%w: nobody may submit a call of kind %d", ErrMalformed, op)
	case err != nil:
		return Handle{}, err
	case done == nil:
		return Handle{}, fmt.Errorf("%w: a call without a Completion", ErrMalformed)
	}
	var h Handle
	err = c.guarded(func() { h = c.core.Start(c.now(), op, body, done, consistency...) })
	return h, err
}

// Cancel gives a call up; cause is matched by the error that it ends with, beside ErrUnknown if the command may have been
// sent and ErrNotSent if it certainly was not. A call that has ended is left alone.
func (c *Client) Cancel(h Handle, cause error) error { return c.cancel(h, cause) }

// ended is a call whose Completion is to be told once the client's lock is free.
type ended struct {
	done   Completion
	result []byte
	err    error
}

// tell tells Completions. One that panics loses its answer, not the process and not the answers of others.
func tell(all []ended) {
	for i := range all {
		func() {
			defer func() { _ = recover() }() // the host's own fault; a library does not end its process for it
			all[i].done.Complete(all[i].result, all[i].err)
		}()
	}
}
