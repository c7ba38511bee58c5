package replicatest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// calm is a world in which nothing goes wrong by itself.
func calm(t *testing.T, kind, unappliedBytesMax int) *chaos {
	c := newChaos(t, 3)
	c.calm, c.kind, c.unappliedBytesMax = true, kind, unappliedBytesMax
	c.world.Loss, c.world.Repeat = 0, 0
	for _, s := range c.servers {
		s.start()
	}
	c.world.Run(2 * time.Second)
	return c
}

func (c *chaos) leader() *chaosServer {
	for range 1000 {
		for _, s := range c.servers {
			if s.member != nil && s.member.Replica().Status().Role == raft.RoleLeader {
				return s
			}
		}
		c.world.Run(10 * time.Millisecond)
	}
	c.t.Fatal("no leader")
	return nil
}

// fill has n commands executed.
func (c *chaos) fill(n int) {
	for range n {
		answered := false
		c.leader().member.Propose(server.Proposal{Group: 1, Kind: raft.KindCommand, Command: fmt.Appendf(nil, "%0300d", 0)}, answer(func(_ []byte, err error) {
			answered = err == nil
		}))
		c.world.Run(20 * time.Millisecond)
		require.True(c.t, answered)
	}
}

func TestReplicaWhoseRestoreIsOvertakenByNewerSnapshotsRestoresTheNewest(t *testing.T) {
	for kind := range 3 {
		c := calm(t, kind, 0)
		c.fill(5)
		slow := c.servers[0]
		if slow == c.leader() {
			slow = c.servers[1]
		}
		hold := false
		c.world.StepDelay = func(id raft.ServerID, j server.Job) time.Duration {
			if _, restore := j.(*server.RestoreJob); restore && id == slow.id && hold {
				hold = false
				return 20 * time.Second
			}
			return 0
		}
		hold = true
		fetched := 0
		c.world.Done = func(id raft.ServerID, j server.Job) {
			if _, ok := j.(*server.FetchJob); ok && id == slow.id {
				fetched++
			}
		}
		for round := range 3 {
			c.world.Cut = func(from, to raft.ServerID) bool { return from == slow.id || to == slow.id }
			c.fill(40)
			c.world.Cut = nil
			for k := 0; fetched <= round; k++ {
				require.Less(t, k, 300, "no snapshot is fetched")
				c.world.Run(10 * time.Millisecond)
			}
		}
		c.world.Run(30 * time.Second)
		require.NoError(t, slow.member.Replica().Err())
		c.fill(1)
		c.world.Run(time.Second)
		require.Equal(t, c.leader().machine, slow.machine)
	}
}

func TestThoseWhoWaitForWhatASnapshotCoversAreAnswered(t *testing.T) {
	for kind := range 3 {
		c := calm(t, kind, blockBytesMax)
		c.fill(5)
		old := c.leader()
		slow := true
		c.world.StepDelay = func(id raft.ServerID, j server.Job) time.Duration {
			if slow && id == old.id && j.Lane() == server.LaneApply {
				return 10 * time.Second
			}
			return 0
		}
		const asked = 20
		answers := 0
		for range asked { // more than may be on the way to the machine at a time
			old.member.Propose(server.Proposal{Group: 1, Kind: raft.KindCommand, Command: make([]byte, 9000)}, answer(func(_ []byte, err error) {
				if answers++; err != nil {
					require.ErrorIs(t, err, server.ErrUnknown)
				}
			}))
		}
		c.world.Run(100 * time.Millisecond)
		st := old.member.Replica().Status()
		require.Less(t, st.Applied, st.Commit)
		c.world.Cut = func(from, to raft.ServerID) bool { return from == old.id || to == old.id }
		for c.leader() == old {
			c.world.Run(100 * time.Millisecond)
		}
		for range 3 { // the newest of them ends where the log ends
			c.fill(10)
			c.leader().member.TakeSnapshot(answer(func(_ []byte, err error) { require.NoError(t, err) }))
			c.world.Run(time.Second)
		}
		slow, c.world.Cut = false, nil
		c.world.Run(30 * time.Second)
		require.Equal(t, c.leader().machine, old.machine)
		require.Equal(t, asked, answers)
	}
}
