package server_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
)

// heldFiles are snapshots that take long to be read.
type heldFiles struct {
	persistentlog.Snapshots
	until <-chan struct{}
}

func (s heldFiles) Open(meta raft.SnapshotMeta, offset int64) (io.ReadCloser, error) {
	<-s.until
	return s.Snapshots.Open(meta, offset)
}

// A server whose machine is long in coming back answers nobody, so that others lead until it is there; and where there are no others
// nothing is committed that would have to be kept for it.
func TestServerThatIsLongInRestoringLeadsNobodyMeanwhile(t *testing.T) {
	for _, servers := range []int{3, 1} {
		inBubble(t, func(t *testing.T) {
			until, held := make(chan struct{}), raft.ServerID(0)
			c := newCluster(t, servers, func(c *cluster) {
				c.options = func(o *server.Options) {
					if id, err := o.Log.Identity(); err == nil && id.Server == held {
						o.Snapshots = heldFiles{o.Snapshots, until}
					}
				}
			}).start()
			m := c.members[0]
			c.lead(m)
			c.propose("before")
			c.agree()
			for _, each := range c.members {
				require.NoError(t, each.server.TakeSnapshot(t.Context(), group))
			}
			for k := range c.members {
				c.members[len(c.members)-1-k].stop()
			}
			held = m.id
			for _, each := range c.members {
				each.start()
			}
			if servers > 1 {
				require.NotSame(t, m, c.leader())
				c.propose("meanwhile")
				require.NoError(t, c.leader().server.StepDown(t.Context(), group))
				require.NotSame(t, m, c.leader())
			} else {
				time.Sleep(20 * electionTimeoutMax)
				require.NotEqual(t, raft.RoleLeader, m.status().Role)
			}
			close(until)
			c.lead(m)
			c.propose("after")
			c.agree()
		})
	}
}

// slowQueries takes a while for each query.
type slowQueries struct{ ledger }

func (s *slowQueries) Query([]byte) ([]byte, error) {
	time.Sleep(time.Millisecond)
	return nil, nil
}

// Reads of a follower's own state that fill its inbox must not keep the leader's entries out.
func TestStaleReadsDoNotKeepEntriesOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3, func(c *cluster) {
			c.options = func(o *server.Options) {
				o.CommandBytesMax, o.BlockBytesMax, o.InboxBytesMax = 4<<10, 16<<10, 64<<10
			}
			c.machine = func(*member) statemachine.StateMachine { return new(slowQueries) }
		}).start()
		c.propose("before")
		lead := c.leader()
		ctx, stop := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		for _, m := range c.others(lead) {
			for range 300 {
				readers.Go(func() {
					q := []byte(strings.Repeat("q", 200))
					for ctx.Err() == nil {
						if _, err := m.server.QueryLocal(ctx, group, q); err != nil {
							time.Sleep(500 * time.Microsecond) // busy: again soon
						}
					}
				})
			}
		}
		for range 3 {
			_, err := lead.server.Propose(t.Context(), group, []byte(strings.Repeat("c", 3000)))
			require.NoError(t, err)
		}
		stop()
		readers.Wait()
	})
}
