package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// fakeCluster is a few servers that share one replicated session table, reached by in-memory or loopback connections.
// It executes a command by counting it.
type fakeCluster struct {
	mu       sync.Mutex
	leader   string
	conns    map[net.Conn]string
	sessions map[uint64]map[uint64]string
	executed map[string]int
	hung     bool // requests are read and not answered
	lose     int  // how many executed proposals to answer by breaking the connection
	frames   int  // reads that brought something, to see that writes are coalesced
	requests int
	gate     chan struct{} // closed, unless servers are to wait before they look at what they have read
	running  sync.WaitGroup
}

func newFakeCluster() *fakeCluster {
	open := make(chan struct{})
	close(open)
	return &fakeCluster{gate: open, leader: "s1", conns: map[net.Conn]string{}, sessions: map[uint64]map[uint64]string{}, executed: map[string]int{}}
}

// Dial is an Options.Dial: in memory, by name. Two names are nobody's: "down", and "nobody", which is the leader of a cluster
// that has none, so that no call ends by itself.
func (f *fakeCluster) Dial(_ context.Context, address string) (net.Conn, error) {
	if address == "down" || address == "nobody" {
		return nil, errors.New("nobody there")
	}
	ours, theirs := net.Pipe()
	f.running.Go(func() { f.serve(theirs, address) })
	return ours, nil
}

func (f *fakeCluster) serve(conn net.Conn, name string) {
	f.mu.Lock()
	f.conns[conn] = name
	f.mu.Unlock()
	r := wire.NewClientReader(conn, 1<<20, true)
	for r.Fill() == nil {
		<-f.gate
		f.mu.Lock()
		f.frames++
		var out []byte
		lost := false
		for {
			raw, err := r.Buffered()
			if err != nil || raw == nil {
				break
			}
			request, _, err := wire.ParseClientRequest(r.Keep(raw))
			if err != nil {
				panic(err)
			}
			f.requests++
			answer, lose := f.answer(name, request)
			out, lost = append(out, answer...), lost || lose
		}
		f.mu.Unlock()
		if lost {
			break
		}
		if _, err := conn.Write(out); err != nil {
			break
		}
	}
	f.mu.Lock()
	delete(f.conns, conn)
	f.mu.Unlock()
	_ = conn.Close()
}

func (f *fakeCluster) answer(name string, r wire.ClientRequest) (answer []byte, lose bool) {
	refused := func(err error) ([]byte, bool) { return wire.AppendClientError(nil, r.ID, err), false }
	switch {
	case f.hung:
		return nil, false
	case r.Method == wire.MethodHello:
		out, err := wire.AppendClientValue(nil, r.ID, wire.ClientHello{Version: 1, Cluster: make([]byte, 16), Server: uint64(name[1] - '0'), CommandBytesMax: 1 << 16})
		if err != nil {
			panic(err)
		}
		return out, false
	case r.Method == wire.MethodPing || r.Method == wire.MethodSessionClose:
		delete(f.sessions, r.Session)
		return wire.AppendClientTrue(nil, r.ID), false
	case r.Method == wire.MethodStatus:
		out, err := wire.AppendClientValue(nil, r.ID, wire.ClientStatus{Server: 1})
		if err != nil {
			panic(err)
		}
		return out, false
	case name != f.leader:
		return refused(&wire.NotLeaderError{Leader: raft.ServerID(f.leader[1] - '0'), Address: f.leader})
	case r.Method == wire.MethodSessionOpen:
		id := uint64(f.requests)
		f.sessions[id] = map[uint64]string{}
		return wire.AppendClientSession(nil, r.ID, wire.ClientSession{Session: id}), false
	case r.Method == wire.MethodBarrier:
		return wire.AppendClientTrue(nil, r.ID), false
	case r.Method == wire.MethodQuery:
		return wire.AppendClientBytes(nil, r.ID, r.Body), false
	}
	s := f.sessions[r.Session]
	if r.Session != 0 && s == nil {
		return refused(wire.ErrSessionExpired)
	}
	result, known := s[r.Sequence]
	if !known {
		f.executed[string(r.Body)]++
		result = fmt.Sprintf("done %s", r.Body)
		if s != nil {
			s[r.Sequence] = result
		}
	}
	if f.lose > 0 {
		f.lose--
		return nil, true
	}
	return wire.AppendClientBytes(nil, r.ID, []byte(result)), false
}

// move makes another server the leader; cut breaks every connection to one.
func (f *fakeCluster) move(to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leader = to
}

func (f *fakeCluster) cut(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn, at := range f.conns {
		if at == name {
			_ = conn.Close()
		}
	}
}

func (f *fakeCluster) count(command string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.executed[command]
}

// listen serves the same cluster by TCP under the address that it returns.
func (f *fakeCluster) listen(t *testing.T, name string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.running.Go(func() { f.serve(conn, name) })
		}
	})
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}
