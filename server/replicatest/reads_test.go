package replicatest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/server/replicatest"
)

// TestBoundedReadAtALeaderThatCannotCommitIsRefused: as a follower it learned an index that it has to commit as a leader, and nobody
// is left to do it with.
func TestBoundedReadAtALeaderThatCannotCommitIsRefused(t *testing.T) {
	for seed := uint64(1); !readAtANewLeader(t, seed); seed++ {
		require.Less(t, seed, uint64(50), "the one with the slow disk is never elected")
	}
}

// readAtANewLeader reports whether the story came about: the server with the slow disk is the one that is elected.
func readAtANewLeader(t *testing.T, seed uint64) bool {
	w := replicatest.New(seed)
	members := make([]*replicatest.Member, 4)
	var founders []raft.Member
	for id := range raft.ServerID(3) {
		founders = append(founders, raft.Member{ID: id + 1, Address: fmt.Sprint(id + 1)})
	}
	for id := raft.ServerID(1); id <= 3; id++ {
		files, err := persistentlog.OpenFiles(t.TempDir(), persistentlog.FilesOptions{})
		require.NoError(t, err)
		defer func() { require.NoError(t, files.Close()) }()
		members[id], err = w.Start(server.Options{
			Log:       memlog.New(persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: id, Store: raft.StoreID{byte(id)}}),
			Snapshots: files, Seed: seed + uint64(id), Group: server.GroupOptions{ID: 1, StateMachine: new(list), Founders: founders},
		})
		require.NoError(t, err)
	}
	state := func(id raft.ServerID) server.GroupStatus { return members[id].Replica().Status() }
	until := func(what string, ok func() bool) {
		t.Helper()
		for k := 0; !ok(); k++ {
			require.Less(t, k, 100_000, what)
			w.Run(100 * time.Microsecond)
		}
	}
	var old raft.ServerID
	until("a leader", func() bool {
		for id := raft.ServerID(1); id <= 3; id++ {
			if s := state(id); s.Role == raft.RoleLeader && s.Applied > 0 {
				old = id
			}
		}
		return old != 0
	})
	next, other := old%3+1, (old+1)%3+1
	w.Run(time.Second)

	// One follower's disk is slow: it has entries that the others commit, and is not told so.
	slow, told, cut := true, false, false
	w.StepDelay = func(id raft.ServerID, j server.Job) time.Duration {
		if _, saves := j.(*server.SaveJob); saves && id == next && slow {
			return 200 * time.Millisecond
		}
		return 0
	}
	w.Sent = func(m *raft.Message) {
		told = told || m.To == next && m.Type == raft.MessageReadIndexResponse
		cut = cut || m.From != old && m.Type == raft.MessageAppendRequest // the moment at which another one leads
	}
	w.Cut = func(raft.ServerID, raft.ServerID) bool { return cut }
	before := state(next).Commit
	for k := range 5 {
		members[old].Propose(server.Proposal{Group: 1, Kind: raft.KindCommand, Command: fmt.Append(nil, k)}, answer(func([]byte, error) {}))
	}
	until("it is committed without the slow one", func() bool { return state(old).Applied >= before+5 })
	members[next].Query(nil, server.Consistency{}, answer(func([]byte, error) {}))
	until("the slow one asks how far the leader is", func() bool { return told })
	w.Run(5 * time.Millisecond)
	require.Equal(t, before, state(next).Commit)

	// The leader dies, and who leads next is cut off from the last other one before it commits anything.
	w.Stop(old)
	slow = false
	until("there is another leader", func() bool { return cut })
	if state(other).Role == raft.RoleLeader {
		return false
	}
	require.Equal(t, raft.RoleLeader, state(next).Role)
	require.Equal(t, before, state(next).Commit)

	answers := 0
	var last error
	members[next].Query(nil, server.Consistency{Level: server.Bounded, MaxAge: time.Minute},
		answer(func(_ []byte, err error) { answers, last = answers+1, err }))
	w.Run(time.Minute)
	require.Equal(t, 1, answers, "nothing heals, and the read hangs")
	require.ErrorIs(t, last, server.ErrBehind)
	require.Zero(t, state(next).Unapplied.Bytes)
	return true
}
