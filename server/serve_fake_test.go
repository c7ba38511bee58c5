package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// fakeDoor is a backend for the serving of clients: it answers at once what it is told to, or holds what it is given.
type fakeDoor struct {
	mu       sync.Mutex
	hold     bool
	held     []heldCall
	leader   bool
	applied  []string
	result   []byte // of every command and query; nil: what was sent
	commands int    // the longest command that is taken

	full      bool // refuses at the door
	submitted int
}

type heldCall struct {
	p    Proposal
	done Completion
}

func newFakeDoor() *fakeDoor { return &fakeDoor{leader: true, commands: 1 << 16} }

func (f *fakeDoor) refuses(raft.GroupID, int) error {
	if f.full {
		return ErrBusy
	}
	return nil
}

func (f *fakeDoor) Submit(p Proposal, done Completion) {
	f.mu.Lock()
	f.submitted++
	if f.hold {
		f.held = append(f.held, heldCall{p, done})
		f.mu.Unlock()
		return
	}
	result, err := f.execute(p)
	f.mu.Unlock()
	complete(done, 8, result, err)
}

func (f *fakeDoor) execute(p Proposal) ([]byte, error) {
	switch {
	case p.Group != 1:
		return nil, fmt.Errorf("%w: %d", ErrNoGroup, p.Group)
	case !f.leader:
		return nil, &NotLeaderError{Leader: 2, Address: "two.example:7400"}
	case p.Kind == raft.KindSession && p.Session == 0:
		return wire.AppendSessionID(nil, 77), nil
	case p.Kind == raft.KindSession && !p.Keep:
		return nil, nil
	case p.Session != 0 && p.Session != 77:
		return nil, fmt.Errorf("%w: session %d", ErrSessionExpired, p.Session)
	case p.Kind == raft.KindSession:
		return nil, nil
	}
	f.applied = append(f.applied, string(p.Command))
	if string(p.Command) == "large" {
		return nil, ErrResultTooLarge
	}
	if f.result != nil {
		return f.result, nil
	}
	return []byte("did " + string(p.Command)), nil
}

// release answers what was held.
func (f *fakeDoor) release(n int) {
	f.mu.Lock()
	held := f.held[:n]
	f.held = f.held[n:]
	f.mu.Unlock()
	for _, h := range held {
		result, err := f.execute(h.p)
		complete(h.done, 8, result, err)
	}
}

func (f *fakeDoor) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.held)
}

func (f *fakeDoor) query(_ raft.GroupID, q []byte, c Consistency, leader bool, done Completion) {
	switch {
	case leader && !f.leader && c.Level != raft.Stale:
		done.Complete(nil, &NotLeaderError{Leader: 2, Address: "two.example:7400"})
	case c.MinIndex > 8:
		done.Complete(nil, behind(c.MinIndex, 8))
	case f.result != nil:
		complete(done, 8, f.result, nil)
	case c.Level == raft.Stale:
		complete(done, 8, append([]byte("local "), q...), nil)
	default:
		complete(done, 8, append([]byte("read "), q...), nil)
	}
}

func (f *fakeDoor) barrier(_ raft.GroupID, done Completion) { done.Complete(nil, nil) }

func (f *fakeDoor) hint(err error) error { return err }

func (f *fakeDoor) hello() wire.ClientHello {
	return wire.ClientHello{
		Version: 1, Cluster: bytes.Repeat([]byte{0xc1}, 16), Server: 1, RequestBytesMax: f.commands + clientRequestOverhead,
		CommandBytesMax: f.commands, OutstandingMax: 2048, Indexes: true,
	}
}

func (f *fakeDoor) limits(raft.GroupID) raft.GroupLimits {
	return raft.GroupLimits{SessionExpiryNanos: int64(time.Hour), SessionResultsMax: 256}
}

func (f *fakeDoor) status(group raft.GroupID) (wire.ClientStatus, error) {
	if group > 1 {
		return wire.ClientStatus{}, fmt.Errorf("%w: %d", ErrNoGroup, group)
	}
	return wire.ClientStatus{Server: 1, Cluster: bytes.Repeat([]byte{0xc1}, 16), Store: bytes.Repeat([]byte{0x51}, 16), Groups: []wire.ClientGroup{{
		Group: 1, Role: "leader", Term: 3, Leader: 1, LeaderAddress: "one.example:7400", First: 1, Next: 9, Commit: 8, Applied: 8,
		Born: true, Missing: []uint64{}, Membership: wire.ClientMembershipOf(fakeMembers()), Progress: []wire.ClientProgress{},
	}}}, nil
}

func fakeMembers() raft.MembershipAt {
	return raft.MembershipAt{Index: 3, Membership: raft.Membership{Voters: []raft.Member{
		{ID: 1, Store: raft.StoreID(bytes.Repeat([]byte{0x51}, 16)), Address: "one.example:7400"},
	}}}
}

func (f *fakeDoor) tell(value any, done Completion) {
	if !f.leader {
		done.Complete(nil, &NotLeaderError{Leader: 2, Address: "two.example:7400"})
		return
	}
	done.Complete(wire.EncodeClientValue(value))
}

func (f *fakeDoor) SubmitMembers(_ raft.GroupID, done Completion) {
	f.tell(wire.ClientMembershipOf(fakeMembers()), done)
}

func (f *fakeDoor) changed(c raft.MembershipChange) (raft.MembershipAt, error) {
	m, err := fakeMembers().Membership.After(c.Changes)
	if err != nil {
		return raft.MembershipAt{}, fmt.Errorf("%w: %w", ErrChangeImpossible, err)
	}
	return raft.MembershipAt{Index: 12, Membership: m}, nil
}

func (f *fakeDoor) SubmitChange(_ raft.GroupID, c raft.MembershipChange, done Completion) {
	at, err := f.changed(c)
	if err != nil {
		done.Complete(nil, err)
		return
	}
	f.tell(wire.ClientMembershipOf(at), done)
}

func (f *fakeDoor) SubmitPlan(_ raft.GroupID, c raft.MembershipChange, done Completion) {
	at, err := f.changed(c)
	plan := raft.MembershipPlan{From: fakeMembers(), Committed: true}
	if err == nil {
		plan.Stages = []raft.Membership{at.Membership}
	}
	f.tell(wire.ClientPlanOf(plan, err), done)
}

func (f *fakeDoor) SubmitTransfer(_ raft.GroupID, to raft.ServerID, done Completion) {
	if to != 1 {
		done.Complete(nil, fmt.Errorf("%w: server %d is no voter", ErrTransferTarget, to))
		return
	}
	done.Complete(nil, nil)
}

func (f *fakeDoor) SubmitStepDown(_ raft.GroupID, done Completion) { done.Complete(nil, nil) }

// visitor is the client's end of a connection that is being served.
type visitor struct {
	t    *testing.T
	conn net.Conn
	r    *wire.ClientReader
	over chan struct{} // closed when serveConn has returned
}

func visit(t *testing.T, c *clients) *visitor {
	ours, theirs := net.Pipe()
	v := &visitor{t: t, conn: ours, r: wire.NewClientReader(ours, 64<<20, true), over: make(chan struct{})}
	go func() {
		defer close(v.over)
		c.serveConn(theirs)
	}()
	t.Cleanup(func() {
		_ = ours.Close()
		<-v.over
	})
	return v
}

// say sends requests; a served connection reads even while it writes, so that it need not be a goroutine.
func (v *visitor) say(requests ...wire.ClientRequest) {
	var raw []byte
	for i := range requests {
		raw = wire.AppendClientRequest(raw, &requests[i])
	}
	_, err := v.conn.Write(raw)
	require.NoError(v.t, err)
}

// hear reads one response.
func (v *visitor) hear() wire.ClientResponse {
	raw, err := v.next()
	require.NoError(v.t, err)
	response, err := wire.ParseClientResponse(raw)
	require.NoError(v.t, err)
	return response
}

func (v *visitor) next() ([]byte, error) {
	for {
		raw, err := v.r.Buffered()
		if raw != nil || err != nil {
			return v.r.Keep(raw), err
		}
		if err := v.r.Fill(); err != nil {
			return nil, err
		}
	}
}

func (v *visitor) ask(r wire.ClientRequest) wire.ClientResponse {
	v.say(r)
	response := v.hear()
	require.Equal(v.t, r.ID, response.ID)
	return response
}

// gone reads to the end of the connection.
func (v *visitor) gone() {
	_, err := io.Copy(io.Discard, v.conn)
	require.NoError(v.t, err)
	<-v.over
}

func propose(id uint32, command string) wire.ClientRequest {
	return wire.ClientRequest{ID: id, Method: wire.MethodPropose, Group: 1, Body: []byte(command)}
}
