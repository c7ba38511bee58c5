package server_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/transport"
)

// hungLog is a log whose Save does not come back while it hangs.
type hungLog struct {
	persistentlog.PersistentLog
	mu     sync.Mutex
	letGo  chan struct{} // nil: it does not hang
	inside int           // calls that wait
}

func (l *hungLog) Save(updates []persistentlog.Update) error {
	l.mu.Lock()
	gate := l.letGo
	if gate != nil {
		l.inside++
	}
	l.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return l.PersistentLog.Save(updates)
}

// hang has every Save from now on wait, and returns what lets them go on.
func (l *hungLog) hang() (letGo func()) {
	gate := make(chan struct{})
	l.mu.Lock()
	l.letGo = gate
	l.mu.Unlock()
	return func() {
		l.mu.Lock()
		l.letGo = nil
		l.mu.Unlock()
		close(gate)
	}
}

func (l *hungLog) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inside
}

// hangable gives every server a log that can hang.
func hangable(c *cluster) map[raft.ServerID]*hungLog {
	logs := make(map[raft.ServerID]*hungLog)
	c.options = func(o *server.Options) {
		identity, err := o.Log.Identity()
		require.NoError(c.t, err)
		logs[identity.Server] = &hungLog{PersistentLog: o.Log}
		o.Log = logs[identity.Server]
	}
	return logs
}

// TestLeaderWhoseLogHangsHandsLeadershipOverAndDoesNotLeadAgain: neither waits for the disk, which never moves.
func TestLeaderWhoseLogHangsHandsLeadershipOverAndDoesNotLeadAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var logs map[raft.ServerID]*hungLog
		c := newCluster(t, 3, func(c *cluster) { logs = hangable(c) }).start()
		c.propose("before")
		old := c.leader()
		term := old.status().Term
		letGo := logs[old.id].hang()
		began := time.Now()
		during := make(chan error, 1)
		go func() {
			_, err := old.server.Propose(t.Context(), group, []byte("during"))
			during <- err
		}()
		told := false
		for old.status().Role == raft.RoleLeader {
			time.Sleep(10 * time.Millisecond)
			told = told || old.status().StorageHung
			require.Less(t, time.Since(began), 3*electionTimeoutMax)
		}
		require.True(t, told, "its status says why")
		require.Positive(t, logs[old.id].waiting())
		next := c.leader()
		require.NotSame(t, old, next)
		require.Less(t, time.Since(began), 3*electionTimeoutMax)
		require.Equal(t, term+1, next.status().Term, "it was handed over: nobody waited for an election timeout")
		c.propose("after")
		require.NoError(t, <-during, "the others have it, so it is committed, and applied here too")

		// With another one gone nobody can lead: the old leader does not, and votes for nobody.
		next.crash(1)
		for end := time.Now().Add(20 * electionTimeoutMax); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			for _, m := range c.others(next) {
				require.Equal(t, m == old, m.status().StorageHung)
				require.NotEqual(t, raft.RoleLeader, m.status().Role)
			}
		}
		next.start()
		require.NotSame(t, old, c.leader())
		c.propose("without it")
		letGo()
		c.propose("with it")
		c.agree()
	})
}

// TestCloseOfAServerWhoseLogHangsEnds: leadership is handed over, what is stuck is named, and Close comes to its end when that has.
func TestCloseOfAServerWhoseLogHangsEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var logs map[raft.ServerID]*hungLog
		c := newCluster(t, 3, func(c *cluster) {
			logs = hangable(c)
			plain := c.options
			c.options = func(o *server.Options) { plain(o); o.CloseTimeout = 5 * time.Second }
		}).start()
		c.propose("before")
		old := c.leader()
		letGo := logs[old.id].hang()
		begun := time.Now()
		err := old.server.Close()
		require.ErrorIs(t, err, server.ErrStuck)
		require.ErrorContains(t, err, "a save is stuck in the log")
		require.Equal(t, 5*time.Second, time.Since(begun))
		closing := old.server
		old.server = nil // the others look for a leader without it
		c.leader()
		letGo()
		require.NoError(t, closing.Close())
		require.NoError(t, old.files.Close())
		c.propose("after")
	})
}

// counting is a transport that counts what it is given to send.
type counting struct {
	transport.Transport
	sent *atomic.Int64
}

func (c counting) Send(messages []raft.Message) {
	c.sent.Add(int64(len(messages)))
	c.Transport.Send(messages)
}

// TestAnswersDoNotPileUpBehindALogThatHangs: a leader that has handed over is told of the next term, and all that it answers to heartbeats,
// candidates and its own readers waits for the save of that.
func TestAnswersDoNotPileUpBehindALogThatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var logs map[raft.ServerID]*hungLog
		var sent [4]atomic.Int64
		c := newCluster(t, 3, func(c *cluster) {
			logs = hangable(c)
			plain := c.options
			c.options = func(o *server.Options) {
				plain(o)
				identity, err := o.Log.Identity()
				require.NoError(t, err)
				o.Transport = counting{o.Transport, &sent[identity.Server]}
			}
		}).start()
		c.propose("before")
		old := c.leader()
		letGo := logs[old.id].hang()
		during := make(chan error, 1)
		go func() {
			_, err := old.server.Propose(t.Context(), group, []byte("during"))
			during <- err
		}()
		for old.status().Role == raft.RoleLeader {
			time.Sleep(10 * time.Millisecond)
		}
		for range 60 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			require.Error(t, old.server.Barrier(ctx, group), "the question waits for the disk, too")
			cancel()
		}
		require.NoError(t, <-during)
		before := sent[old.id].Load()
		letGo()
		synctest.Wait()
		require.Less(t, sent[old.id].Load()-before, int64(20), "a minute's answers")
		c.propose("after")
		require.NoError(t, old.server.Barrier(t.Context(), group))
		c.agree()
	})
}
