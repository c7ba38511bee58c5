package wire

import (
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/raft"
)

// ClientResponse is one response of a server, [1, id, error, result], or a notification with which it says why it is
// about to close the connection, [2, "error", [error]].
type ClientResponse struct {
	ID           uint32
	Notification bool
	// Err is nil, a *NotLeaderError or a *RemoteError.
	Err error
	// Index is, of an error that is an answer (ClassResult), up to where the log is reflected in it; 0: the server does not say.
	Index raft.Index
	// Result is the result as it stands in the message, one MessagePack value, read by the functions below. It refers to
	// the message.
	Result []byte
}

func appendResponseHead(buf []byte, id uint32) []byte {
	return append(appendUint(append(buf, 0x94, 0x01), uint64(id)), rpcNil)
}

// AppendClientBytes appends a response whose result is a byte string: propose and query.
func AppendClientBytes(buf []byte, id uint32, result []byte) []byte {
	return rpcAppendBytes(appendResponseHead(buf, id), result)
}

// AppendClientBytesHead appends what AppendClientBytes puts in front of a result of size bytes, which is to follow.
func AppendClientBytesHead(buf []byte, id uint32, size int) []byte {
	return raft.AppendEntryHeader(appendResponseHead(buf, id), size)
}

// AppendClientIndexed appends the response of a propose or query that asked for an index.
func AppendClientIndexed(buf []byte, id uint32, index raft.Index, result []byte) []byte {
	return append(AppendClientIndexedHead(buf, id, index, len(result)), result...)
}

// AppendClientIndexedHead appends what AppendClientIndexed puts in front of a result of size bytes, which is to follow.
func AppendClientIndexedHead(buf []byte, id uint32, index raft.Index, size int) []byte {
	return raft.AppendEntryHeader(appendUint(appendArray(appendResponseHead(buf, id), 2), uint64(index)), size)
}

// AppendClientTrue appends a response that says no more than done: barrier, ping, session_close, session_keep.
func AppendClientTrue(buf []byte, id uint32) []byte {
	return appendBool(appendResponseHead(buf, id), true)
}

// ClientSession is the result of session_open, an array.
type ClientSession struct {
	Session uint64
	// ExpiryNanos is the cluster time after which the session ends if it is not used. Zero: the server does not say.
	ExpiryNanos int64
	// Window is how far above its floor a sequence number may be, half open. Zero: the server does not say; SequenceWindow then.
	Window uint64
}

// AppendClientSession appends the response of session_open.
func AppendClientSession(buf []byte, id uint32, s ClientSession) []byte {
	buf = appendUint(appendArray(appendResponseHead(buf, id), 3), s.Session)
	return appendUint(appendUint(buf, uint64(max(s.ExpiryNanos, 0))), s.Window)
}

// AppendClientError appends a response that is an error: its code, its text, and for a NotLeaderError who leads.
func AppendClientError(buf []byte, id uint32, err error) []byte {
	buf = appendUint(append(buf, 0x94, 0x01), uint64(id))
	return append(appendError(buf, err), rpcNil)
}

// AppendClientErrorAt appends a response that is an error and an answer (ClassResult), which reflects the log up to index.
func AppendClientErrorAt(buf []byte, id uint32, index raft.Index, err error) []byte {
	buf = appendUint(append(buf, 0x94, 0x01), uint64(id))
	buf = rpcAppendText(appendUint(appendArray(buf, 3), uint64(CodeOf(err))), err.Error())
	buf = appendUint(appendStr(append(buf, 0x81), "index"), uint64(index))
	return append(buf, rpcNil)
}

// AppendClientNotice appends the notification that a server sends before it closes a connection that broke the protocol.
func AppendClientNotice(buf []byte, err error) []byte {
	buf = appendStr(append(buf, 0x93, 0x02), "error")
	return appendError(append(buf, 0x91), err)
}

func appendError(buf []byte, err error) []byte {
	buf = appendUint(appendArray(buf, 3), uint64(CodeOf(err)))
	buf = rpcAppendText(buf, err.Error())
	var hint *NotLeaderError
	if !errors.As(err, &hint) || hint.Leader == 0 {
		return append(buf, rpcNil)
	}
	buf = appendStr(append(buf, 0x82), "leader")
	buf = appendStr(appendUint(buf, uint64(hint.Leader)), "address")
	return rpcAppendText(buf, hint.Address)
}

// ParseClientResponse reads one message that ClientReader returned. Every error matches ErrMalformed and ends the
// connection: what it answered is unknown.
func ParseClientResponse(raw []byte) (r ClientResponse, err error) {
	c := rpcCursor{b: raw}
	n, kind := c.array(), c.uint()
	switch {
	case !c.bad && n == 4 && kind == 1:
		r.ID = c.uint32()
		if !c.null() {
			r.Index, r.Err = c.error()
		}
		r.Result = c.skip()
	case !c.bad && n == 3 && kind == 2:
		r.Notification = true
		c.bytes()
		if c.array() == 1 {
			_, r.Err = c.error()
		}
	default:
		c.bad = true
	}
	if c.bad || len(c.b) != 0 {
		return ClientResponse{}, fmt.Errorf("%w: a response is [1, id, error, result]", ErrMalformed)
	}
	return r, nil
}

// error takes an error value and the index in its detail. Elements and details that this version does not know are skipped.
func (c *rpcCursor) error() (index raft.Index, err error) {
	n := c.array()
	if n < 2 {
		c.bad = true
		return 0, nil
	}
	code := c.uint()
	text := string(c.bytes())
	if c.bad || code == 0 || code > 999 {
		c.bad = true
		return 0, nil
	}
	var hint NotLeaderError
	for i := 2; i < n && !c.bad; i++ {
		if i > 2 || c.token().kind != rpcMap {
			c.skip()
			continue
		}
		for range c.pairs() {
			switch string(c.bytes()) {
			case "leader":
				hint.Leader = raft.ServerID(c.uint())
			case "address":
				hint.Address = string(c.bytes())
			case "index":
				index = raft.Index(c.uint())
			default:
				c.skip()
			}
			if c.bad {
				return 0, nil
			}
		}
	}
	if Code(code) == CodeNotLeader {
		return 0, &hint
	}
	if Code(code).Class() != ClassResult {
		index = 0
	}
	return index, &RemoteError{Code: Code(code), Text: text}
}

// ClientBytes reads the result of propose and query. The bytes refer to the message.
func (r *ClientResponse) ClientBytes() ([]byte, error) {
	c := rpcCursor{b: r.Result}
	b := c.bytes()
	return b, c.result("a byte string")
}

// ClientIndexed reads the result of a propose or query that asked for an index. The bytes refer to the message.
func (r *ClientResponse) ClientIndexed() (index raft.Index, b []byte, err error) {
	c := rpcCursor{b: r.Result}
	n := c.array()
	index, b = raft.Index(c.uint()), c.bytes()
	for i := 2; i < n && !c.bad; i++ {
		c.skip()
	}
	return index, b, c.result("an index and a byte string")
}

// ClientSession reads the result of session_open.
func (r *ClientResponse) ClientSession() (s ClientSession, err error) {
	c := rpcCursor{b: r.Result}
	n := c.array()
	s.Session = c.uint()
	expiry := c.uint()
	s.Window = c.uint()
	for i := 3; i < n && !c.bad; i++ {
		c.skip()
	}
	if s.Session == 0 || expiry > 1<<62 {
		c.bad = true
	}
	s.ExpiryNanos = int64(expiry)
	return s, c.result("a session, its expiry and its window")
}

func (c *rpcCursor) result(want string) error {
	if c.bad || len(c.b) != 0 {
		return fmt.Errorf("%w: the result is not %s", ErrMalformed, want)
	}
	return nil
}
