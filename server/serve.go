package server

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// Serve accepts clients from a listener and serves each of them, until the listener fails or the server is closed: then
// the error is ErrClosed. The listener is the server's from then on. docs/client-protocol.md says what clients speak.
//
// Whoever can connect can propose, query and read the status of every group: keep the listener on loopback, or give one
// that asks for certificates (tls.NewListener).
func (s *Server) Serve(listener net.Listener) error {
	return s.clients.serve(listener)
}

// ServeConn serves one connection of a client and returns when it has ended. The connection is the server's from then
// on. A program that holds the server can give it one end of a net.Pipe, and the other to a client.
func (s *Server) ServeConn(conn net.Conn) { s.clients.serveConn(conn) }

// clientDoor is a Server as its clients see it.
type clientDoor struct{ *Server }

func (d clientDoor) hello() wire.ClientHello {
	id := d.shared.identity
	return wire.ClientHello{
		Version: wire.ClientVersion, Cluster: id.Cluster[:], Server: uint64(id.Server),
		RequestBytesMax: d.options.CommandBytesMax + clientRequestOverhead, CommandBytesMax: d.options.CommandBytesMax,
		OutstandingMax: d.clients.options.OutstandingMax, Indexes: true, Members: d.addresses(),
	}
}

// addresses are those of the members of all groups, sorted by id.
func (d clientDoor) addresses() (all []wire.ClientAddress) {
	d.peersMu.Lock()
	defer d.peersMu.Unlock()
	for _, g := range d.sorted() {
		for _, m := range g.peers {
			one := wire.ClientAddress{ID: uint64(m.ID), Address: cmp.Or(d.clientAddress(m.ID), m.Address)}
			if !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
	}
	slices.SortFunc(all, func(a, b wire.ClientAddress) int {
		return cmp.Or(compare(a.ID, b.ID), strings.Compare(a.Address, b.Address))
	})
	return all
}

// clientAddress is where clients reach another server, as that one says; empty: it is not known.
func (d clientDoor) clientAddress(server raft.ServerID) string {
	if a, ok := d.options.Transport.(transport.ClientAddresser); ok && server != 0 {
		return a.ClientAddress(server)
	}
	return ""
}

func (d clientDoor) hint(err error) error {
	var n *NotLeaderError
	if !errors.As(err, &n) || errors.Is(err, ErrUnknown) {
		return err
	}
	if address := d.clientAddress(n.Leader); address != "" {
		return &NotLeaderError{Leader: n.Leader, Address: address}
	}
	return err
}

func (d clientDoor) refuses(group raft.GroupID, bytes int) error {
	if g := d.group(group); g != nil {
		return g.inbox.refuses(bytes)
	}
	return nil // Submit has the words for it
}

func (d clientDoor) query(group raft.GroupID, q []byte, c Consistency, leader bool, done Completion) {
	switch {
	case c.Level == raft.Stale:
		d.SubmitLocal(group, q, done)
	case !leader:
		d.SubmitQuery(group, q, done, c)
	case len(q) > d.options.CommandBytesMax:
		done.Complete(nil, fmt.Errorf("%w: a query of %d bytes, and CommandBytesMax is %d", ErrTooLarge, len(q), d.options.CommandBytesMax))
	default:
		d.submitQuery(group, query{query: q, consistency: c, leader: true, done: done})
	}
}

func (d clientDoor) barrier(group raft.GroupID, done Completion) {
	d.submitQuery(group, query{leader: true, confirm: true, done: done})
}

func (d clientDoor) limits(id raft.GroupID) raft.GroupLimits {
	g := d.group(id)
	if g == nil {
		return raft.GroupLimits{}
	}
	g.turning.Lock()
	defer g.turning.Unlock()
	if g.replica.birth == nil {
		return raft.GroupLimits{}
	}
	return limitsWithDefaults(g.replica.birth.Limits)
}

func (d clientDoor) status(id raft.GroupID) (wire.ClientStatus, error) {
	st := wire.ClientStatus{Server: uint64(d.shared.identity.Server), Cluster: d.shared.identity.Cluster[:], Store: d.shared.identity.Store[:], Groups: []wire.ClientGroup{}}
	for _, g := range d.sorted() {
		if id == 0 || id == g.id {
			st.Groups = append(st.Groups, d.clientGroup(g.id, g.status()))
		}
	}
	if id != 0 && len(st.Groups) == 0 {
		return st, fmt.Errorf("%w: %d", ErrNoGroup, id)
	}
	return st, nil
}

func (d clientDoor) clientGroup(id raft.GroupID, st GroupStatus) wire.ClientGroup {
	leader, _ := st.Membership.Member(st.Leader)
	if leader.ID = st.Leader; leader.ID != 0 {
		leader = d.group(id).replica.reached(leader)
	}
	g := wire.ClientGroup{
		Group: uint64(id), Role: st.Role.String(), Term: uint64(st.Term), Leader: uint64(st.Leader), LeaderAddress: cmp.Or(d.clientAddress(st.Leader), leader.Address),
		First: uint64(st.First), Next: uint64(st.Next), Commit: uint64(st.Commit), Applied: uint64(st.Applied), Born: st.Born,
		Missing: []uint64{}, Progress: []wire.ClientProgress{},
	}
	for _, m := range st.BirthMissing {
		g.Missing = append(g.Missing, uint64(m))
	}
	if st.Fenced != nil {
		g.Fenced = st.Fenced.Error()
	}
	g.Refusal, g.Removed, g.LostData = st.Refusal, st.Removed, st.LostData
	g.Membership = wire.ClientMembershipOf(raft.MembershipAt{Index: st.MembershipIndex, Membership: st.Membership})
	g.StorageHung, g.Transferring, g.Successor, g.Priority = st.StorageHung, st.Transferring, uint64(st.Successor), uint64(st.Priority)
	for _, p := range st.Progress {
		g.Progress = append(g.Progress, clientProgress(p))
	}
	if st.NoSnapshot != nil {
		g.NoSnapshot = st.NoSnapshot.Error()
	}
	return g
}

func clientProgress(p raft.ProgressStatus) wire.ClientProgress {
	silent := int64(p.Silent)
	if p.Silent == raft.Never {
		silent = -1
	}
	return wire.ClientProgress{
		ID: uint64(p.ID), Store: p.Store[:], State: p.State.String(), Match: uint64(p.Match), Silent: silent, CaughtUp: p.CaughtUp,
		Left: p.Left != 0,
	}
}
