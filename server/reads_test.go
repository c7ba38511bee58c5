package server_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/transport/memnet"
)

// electionTimeoutMax is that of the groups of these tests.
const electionTimeoutMax = 600 * time.Millisecond

// apart cuts a member off from all others.
func (c *cluster) apart(m *member) {
	var rest []raft.ServerID
	for _, o := range c.others(m) {
		rest = append(rest, o.id)
	}
	c.net.Partition([]raft.ServerID{m.id}, rest)
}

// query reads at one member.
func (m *member) query(c server.Consistency) (string, error) {
	got, err := m.server.Query(m.c.t.Context(), group, nil, c)
	return string(got), err
}

// refusedRead requires the errors with which a server sends a read elsewhere.
func refusedRead(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, server.ErrNotLeader) && !errors.Is(err, server.ErrNoLeader) && !errors.Is(err, server.ErrBehind) {
		t.Fatalf("a read that cannot be served here: %v", err)
	}
}

func TestEveryServerAnswersWithAllThatWasAnsweredBefore(t *testing.T) {
	for _, level := range []raft.Level{server.Linearizable, server.Lease} {
		t.Run(level.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := newCluster(t, 3).start()
				leader := c.leader()
				require.NoError(t, c.net.SetFaults(memnet.Faults{DelayMax: 10 * time.Millisecond, Reorder: 0.3}))
				for k := range 30 {
					_, err := leader.server.Propose(t.Context(), group, fmt.Append(nil, "c", k))
					require.NoError(t, err)
					m := c.members[k%3]
					got, err := m.query(server.Consistency{Level: level})
					require.NoError(t, err)
					require.Contains(t, got, fmt.Sprint("c", k), "server %d", m.id)
					require.NoError(t, m.server.Barrier(t.Context(), group))
					require.Len(t, machineOf(m.machine).commands(), k+1, "the machine itself, after a barrier")
				}
				for _, m := range c.members {
					require.Zero(t, m.status().Reads.Leased, "no bound on the clocks is stated")
				}
			})
		})
	}
}

func TestReadWaitsForTheNextLeaderAndIsRefusedIfThereIsNone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("a")
		c.agree()
		leader := c.leader()
		asked := c.others(leader)
		var wg sync.WaitGroup
		leader.crash(1)
		for _, m := range asked {
			wg.Go(func() {
				got, err := m.query(server.Consistency{})
				if err != nil || got != machineOf(m.machine).all() {
					t.Errorf("server %d, while another leader is elected: %q, %v", m.id, got, err)
				}
			})
		}
		wg.Wait()
		asked[1].stop()
		began := time.Now()
		_, err := asked[0].query(server.Consistency{})
		refusedRead(t, err)
		require.LessOrEqual(t, time.Since(began), 3*electionTimeoutMax, "a read does not wait for ever")
		got, err := asked[0].query(server.Consistency{Level: server.Stale})
		require.NoError(t, err)
		require.Contains(t, got, "a")
	})
}

func TestBoundedReadNeedsNobodyAsLongAsItsAgeAllows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("a")
		far := c.others(c.leader())[0]
		of := func(age time.Duration) server.Consistency {
			return server.Consistency{Level: server.Bounded, MaxAge: age}
		}

		began := time.Now()
		_, err := far.query(of(time.Hour))
		require.NoError(t, err)
		require.EqualValues(t, 1, far.status().Reads.Confirmed, "a server that has confirmed nothing asks, whatever the age")
		confirmed := time.Now() // what the server has confirmed was asked between the two
		c.apart(far)
		time.Sleep(10 * time.Second)
		c.propose("b")
		got, err := far.query(of(time.Since(began)))
		require.NoError(t, err)
		require.NotContains(t, got, "b")
		require.EqualValues(t, 1, far.status().Reads.Confirmed)

		_, err = far.query(of(time.Since(confirmed) - 1))
		refusedRead(t, err)
		c.net.Heal()
		c.agree()
		got, err = far.query(of(1))
		require.NoError(t, err)
		require.Contains(t, got, "b")
		st := far.status().Reads
		require.EqualValues(t, 4, st.Bounded)
		require.EqualValues(t, 3, st.Confirmed)
	})
}

// TestBoundedReadsOfAnAgeShareWhatWasConfirmed: however many read, the leader is asked about once in the age.
func TestBoundedReadsOfAnAgeShareWhatWasConfirmed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		m := c.others(c.leader())[0]
		for range 1000 {
			_, err := m.query(server.Consistency{Level: server.Bounded, MaxAge: time.Second})
			require.NoError(t, err)
			time.Sleep(10 * time.Millisecond)
		}
		require.LessOrEqual(t, m.status().Reads.Confirmed, uint64(11))
	})
}

func TestMinIndexIsWaitedForAndHoldsNobodyElseUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		c.propose("a")
		c.agree()
		far := c.others(c.leader())[0]
		next := far.status().Applied + 1
		of := func(i raft.Index) server.Consistency { return server.Consistency{Level: server.Bounded, MinIndex: i} }

		c.apart(far)
		got, err := far.query(of(next - 1))
		require.NoError(t, err)
		require.Contains(t, got, "a")
		began := time.Now()
		_, err = far.query(of(next))
		require.ErrorIs(t, err, server.ErrBehind)
		require.Equal(t, 2*electionTimeoutMax, time.Since(began))
		require.EqualValues(t, 1, far.status().Reads.Behind)

		var wg sync.WaitGroup
		wg.Go(func() {
			if got, err := far.query(of(next)); err != nil {
				t.Errorf("what is to come comes in time: %q, %v", got, err)
			}
		})
		time.Sleep(time.Millisecond) // it waits
		_, err = far.query(of(next - 1))
		require.NoError(t, err)
		require.Equal(t, began.Add(2*electionTimeoutMax+time.Millisecond), time.Now(), "another one does not wait with it")
		c.net.Heal()
		c.propose("b")
		wg.Wait()
	})
}

func TestLeaseSparesTheRoundAndEndsBeforeAnotherLeads(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3, func(c *cluster) {
			c.options = func(o *server.Options) { o.Group.ClockDriftPPM = 1000 }
		}).start()
		c.propose("a")
		old := c.leader()
		time.Sleep(time.Second) // heartbeats carry the promises
		before := old.status().Reads
		for range 100 {
			got, err := old.query(server.Consistency{Level: server.Lease})
			require.NoError(t, err)
			require.Contains(t, got, "a")
		}
		after := old.status().Reads
		require.EqualValues(t, 100, after.Leased-before.Leased)
		require.Equal(t, before.Confirmed, after.Confirmed, "nobody was asked")
		_, err := old.query(server.Consistency{Level: server.Bounded, MaxAge: 1})
		require.NoError(t, err)
		require.Equal(t, before.Confirmed, old.status().Reads.Confirmed, "a lease is worth a round for bounded reads, too")

		// Cut off, it answers from its lease, and from the moment at which another one can lead it does not.
		c.apart(old)
		answered, refused := 0, 0
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 300 {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
				got, err := old.server.Query(ctx, group, nil, server.Consistency{Level: server.Lease})
				cancel()
				if err != nil {
					refused++
				} else if answered++; len(machineOf(c.others(old)[0].machine).commands()) > 1 {
					t.Errorf("answered by a lease when another server had led: %q", got)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		c.propose("b")
		wg.Wait()
		require.Positive(t, answered)
		require.Positive(t, refused)
	})
}

// indexed keeps the index that an answer came with.
type indexed struct {
	completion
	at chan raft.Index
}

func (i indexed) CompleteAt(index raft.Index, result []byte, err error) {
	i.at <- index
	i.Complete(result, err)
}

func TestAnswersSayWhatTheyReflect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3).start()
		leader := c.leader()
		done := indexed{at: make(chan raft.Index, 1), completion: func(_ []byte, err error) { require.NoError(t, err) }}
		session, err := leader.server.OpenSession(t.Context(), group)
		require.NoError(t, err)
		p := server.Proposal{Group: group, Kind: raft.KindCommand, Session: session, Sequence: 1, Floor: 1, Command: []byte("a")}
		leader.server.Submit(p, done)
		first := <-done.at
		require.Contains(t, machineOf(leader.machine).all(), fmt.Sprintf("%d a", first))
		leader.server.Submit(p, done)
		again := <-done.at
		require.Greater(t, again, first, "a repetition is an entry of its own")
		require.Len(t, machineOf(leader.machine).commands(), 1)
		for _, m := range c.others(leader) {
			m.server.SubmitQuery(group, nil, done, server.Consistency{Level: server.Bounded, MinIndex: again})
			require.GreaterOrEqual(t, <-done.at, again)
			m.server.SubmitLocal(group, nil, done)
			require.GreaterOrEqual(t, <-done.at, again)
		}
	})
}

func TestConsistencyThatSaysNothingIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newCluster(t, 1).start().leader().server
		for _, bad := range [][]server.Consistency{{{Level: 9}}, {{Level: server.Bounded}}, {{}, {}}, {{MaxAge: 1}}} {
			_, err := s.Query(t.Context(), group, nil, bad...)
			require.ErrorIs(t, err, server.ErrMalformed)
			require.ErrorIs(t, s.Barrier(t.Context(), group, bad...), server.ErrMalformed)
			answers := make(chan error, 1)
			s.SubmitQuery(group, nil, completion(func(_ []byte, err error) { answers <- err }), bad...)
			require.ErrorIs(t, <-answers, server.ErrMalformed)
		}
		_, err := s.Query(t.Context(), group, nil, server.Consistency{Level: server.Stale})
		require.NoError(t, err)
		require.NoError(t, s.Barrier(t.Context(), group, server.Consistency{Level: server.Stale}))
		st, _ := s.GroupStatus(group)
		require.EqualValues(t, 2, st.Reads.Stale)
	})
}
