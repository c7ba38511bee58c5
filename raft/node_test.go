package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testStore(id ServerID) StoreID { return StoreID{byte(id), 1} }

// TestThreeServersAreBornElectAndCommit drives three Nodes by hand: every message arrives, every save is durable at once.
func TestThreeServersAreBornElectAndCommit(t *testing.T) {
	founders := []Member{{ID: 1}, {ID: 2}, {ID: 3}}
	nodes := map[ServerID]*Node{}
	for id := ServerID(1); id <= 3; id++ {
		n, err := NewNode(Config{Group: 1, ID: id, Store: testStore(id), Founders: founders, Seed: 7}, State{}, 0)
		require.NoError(t, err)
		nodes[id] = n
	}
	var queue []Message
	logs := map[ServerID][]Block{}
	chains := map[ServerID]uint64{}
	turn := func(id ServerID, now time.Duration) {
		n := nodes[id]
		for {
			a := n.Actions()
			require.NoError(t, a.Fault)
			for _, b := range a.Save.Blocks {
				if b.IsBlank() {
					meta := b.Meta()
					meta.Chain = chains[id]
					b = NewBlock(meta, testEntries(meta.Count))
				}
				chains[id] = b.ChainAfter()
				logs[id] = append(logs[id], b)
			}
			n.CacheFrom(1)
			for _, s := range a.Sends {
				m := s.Message
				for _, b := range logs[id] {
					if c := b.Clip(m.First, m.Next); c.Meta().Count > 0 && m.Type == MessageAppendRequest {
						m.Blocks = append(m.Blocks, c)
					}
				}
				m.FromStore, m.FromRun = testStore(id), 1
				queue = append(queue, m)
			}
			if a.Save.Seq == 0 {
				return
			}
			n.Saved(now, a.Save.Seq)
		}
	}
	now := time.Duration(0)
	for range 200 {
		for len(queue) > 0 {
			m := queue[0]
			queue = queue[1:]
			nodes[m.To].Step(now, &m)
			turn(m.To, now)
		}
		for id := ServerID(1); id <= 3; id++ {
			if n := nodes[id]; now >= n.Deadline() {
				n.Tick(now)
				turn(id, now)
			}
		}
		now += 10 * time.Millisecond
		for _, n := range nodes {
			if n.Status().Role == RoleLeader && n.Status().Next < 50 {
				_, err := n.Propose(now, KindCommand, 2, 100)
				require.NoError(t, err)
				turn(n.config.ID, now)
			}
		}
	}
	for id, n := range nodes {
		s := n.Status()
		require.True(t, s.Born)
		require.GreaterOrEqual(t, s.Commit, Index(49), "server %d: %+v", id, s)
		require.Equal(t, chains[1], chains[id])
	}
}

func testEntries(count uint32) []byte {
	buf := make([]byte, BlockHeaderSize)
	for range count {
		buf = AppendEntry(buf, []byte("x"))
	}
	return buf
}
