package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/memnet"
)

// tally is a state machine that counts how often it was given each command; that is also the result.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (m *tally) Apply(e statemachine.Entry) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[string(e.Command)]++
	return fmt.Append(nil, m.counts[string(e.Command)])
}

func (m *tally) Query(q []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(q) == 0 {
		return nil, errors.New("count what?")
	}
	return fmt.Append(nil, m.counts[string(q)]), nil
}

func (m *tally) copy() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counts)
}

func (m *tally) Snapshot() (statemachine.Snapshot, error) {
	b, err := json.Marshal(m.copy())
	return tallySnapshot{bytes.NewReader(b)}, err
}

func (m *tally) Restore(r io.Reader) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts = map[string]int{}
	return json.NewDecoder(r).Decode(&m.counts)
}

type tallySnapshot struct{ *bytes.Reader }

func (tallySnapshot) Close() error { return nil }

// house is three real servers on one network in memory.
type house struct {
	t     *testing.T
	net   *memnet.Network
	rooms []*room
	over  sync.WaitGroup
}

type room struct {
	id      raft.ServerID
	runs    uint64
	log     *memlog.Log
	files   *persistentlog.Files
	dir     string
	machine *tally
	server  *server.Server
}

func inHouse(t *testing.T, story func(t *testing.T, h *house)) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, net: memnet.New(1)}
		for id := raft.ServerID(1); id <= 3; id++ {
			identity := persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: id, Store: raft.StoreID{byte(id)}}
			h.rooms = append(h.rooms, &room{id: id, log: memlog.New(identity), dir: t.TempDir()})
		}
		for _, r := range h.rooms {
			h.start(r)
		}
		t.Cleanup(func() {
			for _, r := range h.rooms {
				h.stop(r)
			}
			h.over.Wait()
			require.NoError(t, h.net.Err())
		})
		story(t, h)
	})
}

func (h *house) start(r *room) {
	files, err := persistentlog.OpenFiles(r.dir, persistentlog.FilesOptions{})
	require.NoError(h.t, err)
	identity, err := r.log.Identity()
	require.NoError(h.t, err)
	var founders []raft.Member
	for id := raft.ServerID(1); id <= 3; id++ {
		founders = append(founders, raft.Member{ID: id, Address: memnet.Address(id)})
	}
	r.runs++
	r.files, r.machine = files, &tally{counts: map[string]int{}}
	r.server, err = server.Open(server.Options{
		Log: r.log, Snapshots: files, Seed: uint64(r.id)*100 + r.runs, Workers: 2,
		Transport: h.net.Transport(transport.Local{
			Cluster: identity.Cluster, Server: r.id, Store: identity.Store, Run: raft.RunID(uint64(r.id)<<32 + r.runs),
		}),
		Group: server.GroupOptions{
			ID: raft.DefaultGroup, StateMachine: r.machine, Founders: founders, Limits: raft.GroupLimits{SessionExpiryNanos: int64(time.Minute)},
		},
	})
	require.NoError(h.t, err)
	listener, err := h.net.Listen(r.id)
	require.NoError(h.t, err)
	h.over.Go(func() {
		if err := r.server.Serve(listener); !errors.Is(err, server.ErrClosed) {
			h.t.Errorf("server %d: %v", r.id, err)
		}
	})
}

// stop closes a server and keeps its disk.
func (h *house) stop(r *room) { h.stopBy(r, (*server.Server).Close) }

func (h *house) stopBy(r *room, end func(*server.Server) error) {
	if r.server == nil {
		return
	}
	require.NoError(h.t, end(r.server))
	require.NoError(h.t, r.files.Close())
	var err error
	r.log, err = r.log.Reopen()
	require.NoError(h.t, err)
	r.server = nil
}

// crash stops a server and takes from its disk what was not synced.
func (h *house) crash(r *room, seed uint64) {
	kept := r.log.CrashCopy(seed)
	h.stopBy(r, (*server.Server).CloseNow)
	r.log = kept
}

// leader returns the server that leads now, nil if none does.
func (h *house) leader() *room {
	for _, r := range h.rooms {
		if r.server == nil {
			continue
		}
		if st, ok := r.server.GroupStatus(raft.DefaultGroup); ok && st.Role == raft.RoleLeader {
			return r
		}
	}
	return nil
}

func (h *house) client(o client.Options) *client.Client {
	o.Servers = []string{memnet.Address(1), memnet.Address(2), memnet.Address(3)}
	o.Dial, o.Seed = h.net.DialAddress, max(o.Seed, 1)
	return open(h.t, o)
}

func TestPipelinedCommandsAreAppliedOnceWhileLeadersDie(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		c := h.client(client.Options{})
		const callers, each = 300, 10
		var done sync.WaitGroup
		for g := range callers {
			done.Go(func() {
				for i := range each {
					result, err := c.Propose(t.Context(), fmt.Append(nil, g, "/", i))
					if err != nil || string(result) != "1" {
						t.Errorf("%d/%d: %q, %v", g, i, result, err)
					}
					time.Sleep(time.Duration(g%7) * 100 * time.Millisecond)
				}
			})
		}
		for kill := range uint64(3) {
			time.Sleep(time.Second)
			if leader := h.leader(); leader != nil {
				h.crash(leader, kill)
				time.Sleep(time.Second)
				h.start(leader)
			}
		}
		done.Wait()
		for g := range callers {
			for i := range each {
				n, err := c.Query(t.Context(), fmt.Append(nil, g, "/", i))
				require.NoError(t, err)
				require.Equal(t, "1", string(n), "%d/%d", g, i)
			}
		}
		time.Sleep(time.Second)
		for _, r := range h.rooms {
			require.Equal(t, h.rooms[0].machine.copy(), r.machine.copy(), "server %d", r.id)
			require.Len(t, r.machine.copy(), callers*each)
		}
	})
}

// The client is told of one server alone, and that one goes for good.
func TestClientOutlivesTheServerThatItWasToldOf(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first := h.rooms[0]
		for h.leader() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		if leader := h.leader(); leader != first {
			require.NoError(t, leader.server.TransferLeadership(t.Context(), raft.DefaultGroup, first.id))
		}
		c := open(h.t, client.Options{Servers: []string{memnet.Address(first.id)}, Dial: h.net.DialAddress, Seed: 1})
		_, err := c.Propose(t.Context(), []byte("x"))
		require.NoError(t, err)
		h.stopBy(first, (*server.Server).CloseNow)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		result, err := c.Propose(ctx, []byte("x"))
		require.NoError(t, err)
		require.Equal(t, "2", string(result))
	})
}

func TestClientSeesWhatTheServersAre(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		c := h.client(client.Options{Cluster: raft.ClusterID{1}})
		_, err := c.Propose(t.Context(), []byte("x"))
		require.NoError(t, err)
		_, err = c.Query(t.Context(), nil)
		require.ErrorIs(t, err, client.ErrQuery)
		require.ErrorContains(t, err, "count what?")
		local, err := c.QueryLocal(t.Context(), []byte("x"))
		require.NoError(t, err)
		require.Equal(t, "1", string(local))
		require.NoError(t, c.Barrier(t.Context()))
		status, err := c.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, "leader", status.Groups[0].Role)
		require.Equal(t, status.Server, status.Groups[0].Leader)
		require.Equal(t, memnet.Address(status.Server), status.Groups[0].LeaderAddress)
		members, err := c.Members(t.Context())
		require.NoError(t, err)
		require.Len(t, members.Membership.Voters, 3)
		require.Empty(t, members.Membership.Learners)
		require.Equal(t, raft.ServerID(1), members.Membership.Voters[0].ID)
		require.False(t, members.Membership.Voters[0].Store.IsZero())
		require.Equal(t, members.Membership, status.Groups[0].Membership.Membership)
		require.Len(t, status.Groups[0].Progress, 2)
		gone := raft.MembershipChange{Changes: []raft.Change{{Kind: raft.ChangeRemove, Member: raft.Member{ID: 3}}}}
		plan, err := c.PlanMembership(t.Context(), gone)
		require.NoError(t, err)
		require.NoError(t, plan.Refused)
		require.Equal(t, members, plan.From)
		require.Equal(t, [3]int{1, 0, 0}, [3]int{plan.Before, plan.During, plan.After})
		require.NoError(t, c.TransferLeadership(t.Context(), 2))
		at, err := c.ChangeMembership(t.Context(), gone)
		require.NoError(t, err)
		require.Len(t, at.Membership.Voters, 2)
		again, err := c.ChangeMembership(t.Context(), gone)
		require.NoError(t, err)
		require.Equal(t, at, again)
		gone.Changes[0].Kind = raft.ChangePromote
		_, err = c.ChangeMembership(t.Context(), gone)
		require.ErrorIs(t, err, client.ErrChangeImpossible)
		plan, err = c.PlanMembership(t.Context(), gone)
		require.NoError(t, err)
		require.ErrorIs(t, plan.Refused, client.ErrChangeImpossible)
		require.NoError(t, c.StepDown(t.Context()))
		_, err = c.Propose(t.Context(), make([]byte, 3<<20))
		require.ErrorIs(t, err, client.ErrTooLarge)
		require.NotErrorIs(t, err, client.ErrUnknown)
	})
}

// An idle session outlives its expiry, because the client uses it; once the client is gone, the server ends it.
func TestIdleSessionIsKeptAliveAndClosedAtTheEnd(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		c := h.client(client.Options{})
		_, err := c.Propose(t.Context(), []byte("a"))
		require.NoError(t, err)
		time.Sleep(5 * time.Minute)
		_, err = c.Propose(t.Context(), []byte("a"))
		require.NoError(t, err)
		sessions := func() int64 {
			st, _ := h.leader().server.GroupStatus(raft.DefaultGroup)
			return st.Sessions
		}
		require.EqualValues(t, 1, sessions())
		require.Equal(t, 2, h.leader().machine.copy()["a"])
		require.NoError(t, c.Close())
		time.Sleep(time.Second)
		require.EqualValues(t, 0, sessions())
	})
}

func TestWithoutAMajorityNothingIsClaimed(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		c := h.client(client.Options{})
		_, err := c.Propose(t.Context(), []byte("a"))
		require.NoError(t, err)
		leader := h.leader()
		for _, r := range h.rooms {
			if r != leader {
				h.stop(r)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = c.Propose(ctx, []byte("b"))
		require.ErrorIs(t, err, client.ErrUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = c.Query(ctx, []byte("a"))
		require.ErrorIs(t, err, client.ErrNotSent)
		for _, r := range h.rooms {
			if r != leader {
				h.start(r)
			}
		}
		n, err := c.Query(t.Context(), []byte("b"))
		require.NoError(t, err)
		require.Contains(t, []string{"0", "1"}, string(n))
	})
}

// A program that holds a server reaches it without a network.
func TestClientFromInsideUsesAPipe(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		dial := func(_ context.Context, address string) (net.Conn, error) {
			for _, r := range h.rooms {
				if memnet.Address(r.id) == address {
					ours, theirs := net.Pipe()
					go r.server.ServeConn(theirs)
					return ours, nil
				}
			}
			return nil, errors.New("no such server")
		}
		c := open(t, client.Options{Servers: []string{memnet.Address(2)}, Dial: dial})
		result, err := c.Propose(t.Context(), []byte("x"))
		require.NoError(t, err)
		require.Equal(t, "1", string(result))
		require.NoError(t, c.Close())
	})
}
