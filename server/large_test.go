package server_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// scales weighs what is saved.
type scales struct {
	persistentlog.PersistentLog
	mu          sync.Mutex
	call, block int // the heaviest
	gate        chan struct{}
}

func (s *scales) Save(updates []persistentlog.Update) error {
	call := 0
	s.mu.Lock()
	for _, u := range updates {
		for _, b := range u.Blocks {
			call += b.Size()
			s.block = max(s.block, b.Size())
		}
	}
	s.call = max(s.call, call)
	gate := s.gate
	s.mu.Unlock()
	if gate != nil && call > 0 {
		<-gate
	}
	return s.PersistentLog.Save(updates)
}

// A log takes memory in proportion to its largest block and its largest save. What piles up behind a disk that stands
// still, on the leader as on a follower, must still come in pieces.
func TestBlocksAndSavesStaySmallHoweverMuchHasPiledUp(t *testing.T) {
	const size, n, blockBytesMax = 64 << 10, 300, 256<<10 + 64<<10
	inBubble(t, func(t *testing.T) {
		var all []*scales
		c := newCluster(t, 3, func(c *cluster) {
			c.options = func(o *server.Options) {
				s := &scales{PersistentLog: o.Log}
				o.Log, all = s, append(all, s)
			}
		}).start()
		leader := c.leader()
		gate := make(chan struct{})
		for _, s := range all {
			s.mu.Lock()
			s.gate = gate
			s.mu.Unlock()
		}
		answers := make(chan error, n)
		for range n {
			leader.server.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: make([]byte, size)},
				completion(func(_ []byte, err error) { answers <- err }))
		}
		synctest.Wait()
		close(gate)
		for range n {
			require.NoError(t, <-answers)
		}
		c.agree()
		for k, s := range all {
			s.mu.Lock()
			require.LessOrEqual(t, s.call, persistentlog.SaveBytesMax, "server %d", k+1)
			require.LessOrEqual(t, s.block, blockBytesMax, "server %d", k+1)
			require.Greater(t, s.call, persistentlog.SaveBytesMax/2, "server %d: nothing has piled up", k+1)
			s.mu.Unlock()
		}
	})
}
