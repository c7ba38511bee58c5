package server_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// Half of the shortest election timeout: what nobody who has to wait for one can keep.
const withoutAnElection = 150 * time.Millisecond

// cutOff separates a server from all others, who hear of it by their silence alone.
func (c *cluster) cutOff(m *member) {
	var rest []raft.ServerID
	for _, o := range c.others(m) {
		rest = append(rest, o.id)
	}
	c.net.Partition([]raft.ServerID{m.id}, rest)
}

// transferEnd returns how the one transfer ended of which a server that has closed told.
func transferEnd(t *testing.T, events *server.Subscription) (err error) {
	told := 0
	for e := range events.Events() {
		if e.Kind == server.EventTransferEnded {
			told++
			err = e.Err
		}
	}
	require.Equal(t, 1, told)
	return err
}

func TestCloseHandsLeadershipOverFirst(t *testing.T) {
	for _, members := range []int{2, 3, 5} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := newCluster(t, members).start()
				c.propose("before")
				old := c.leader()
				term := old.status().Term
				others := c.others(old)
				begun := time.Now()
				old.stop()
				require.Less(t, time.Since(begun), withoutAnElection)
				leads := 0
				for _, m := range others {
					st := m.status()
					if st.Role == raft.RoleLeader {
						leads++
						require.Equal(t, term+1, st.Term)
					}
					require.LessOrEqual(t, st.Term, term+1) // who was not needed for the election may not have heard of it yet
				}
				require.Equal(t, 1, leads, "when Close has returned another server leads")
				if members > 2 { // two of two are needed, and one of them is gone
					require.Equal(t, "2", c.propose("after"))
					require.Less(t, time.Since(begun), withoutAnElection)
				}
			})
		})
	}
}

func TestCloseByALeaderWhoseFollowersAreGoneWaitsForNobody(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("before")
		leader := c.leader()
		for _, m := range c.others(leader) {
			m.crash(1)
		}
		time.Sleep(100 * time.Millisecond) // the network tells that they are gone, before their silence does
		begun := time.Now()
		leader.stop()
		require.Zero(t, time.Since(begun))
	})
}

// They may end in the moment in which it begins to look for a successor.
func TestCloseEndsItsHandoverWhenTheFollowersAreGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("before")
		leader := c.leader()
		for _, m := range c.others(leader) {
			m.stop()
		}
		events := leader.server.Events(10_000)
		begun := time.Now()
		leader.stop()
		require.Less(t, time.Since(begun), withoutAnElection, "the network tells that they are gone")
		require.ErrorIs(t, transferEnd(t, events), server.ErrTransferFailed)
	})
}

// A leader that no quorum answers is deposed by nobody, and has nobody to wait for.
func TestCloseEndsItsHandoverWhenLeadershipIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("before")
		leader := c.leader()
		c.cutOff(leader)
		events := leader.server.Events(10_000)
		begun := time.Now()
		leader.stop()
		require.LessOrEqual(t, time.Since(begun), 600*time.Millisecond, "an election timeout of silence and no longer")
		require.ErrorIs(t, transferEnd(t, events), server.ErrUnknown)
		c.net.Heal()
		c.propose("after")
	})
}

func TestTransferOfALeaderThatIsCutOffIsUnknown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("before")
		leader := c.leader()
		c.cutOff(leader)
		require.ErrorIs(t, leader.server.TransferLeadership(t.Context(), group, c.others(leader)[0].id), server.ErrUnknown)
		require.NotEqual(t, raft.RoleLeader, leader.status().Role)
	})
}

func TestCloseWaitsNoLongerThanTwoElectionTimeoutsForASuccessor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("before")
		leader := c.leader()
		c.cutOff(leader)
		answers := make(chan error, 1)
		leader.server.Submit(server.Proposal{Group: group, Kind: raft.KindCommand, Command: []byte("no quorum")},
			completion(func(_ []byte, err error) { answers <- err }))
		begun := time.Now()
		leader.stop()
		require.LessOrEqual(t, time.Since(begun), 1200*time.Millisecond)
		require.ErrorIs(t, <-answers, server.ErrUnknown)
		c.net.Heal()
		c.propose("after")
	})
}

// A process that has no time left, and a crash in a test, leave it to the others to find out.
func TestCloseNowHandsNothingOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("before")
		leader := c.leader()
		term := leader.status().Term
		leader.stopBy((*server.Server).CloseNow)
		for _, m := range c.others(leader) {
			require.Equal(t, term, m.status().Term)
			require.Equal(t, raft.RoleFollower, m.status().Role)
		}
		c.propose("after")
	})
}

// While Close looks for a successor, what is proposed is refused and never half done.
func TestProposalsDuringTheHandoverAreAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("before")
		leader := c.leader()
		s := leader.server
		closed := make(chan struct{})
		var executed, refused int
		go func() {
			defer close(closed)
			leader.stop()
		}()
		for n := range 1000 {
			_, err := s.Propose(t.Context(), group, fmt.Appendf(nil, "n%d", n))
			switch {
			case err == nil:
				executed++
			case errors.Is(err, server.ErrClosed):
				<-closed
				c.agree()
				commands := machineOf(c.leader().machine).commands()
				require.GreaterOrEqual(t, len(commands), 1+executed)
				require.Less(t, len(commands), 1+executed+refused+1)
				return
			default:
				refused++
				time.Sleep(time.Millisecond)
			}
		}
		t.Fatal("it never closes")
	})
}
