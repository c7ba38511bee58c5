package memnet_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/memnet"
)

// arrival is a heartbeat that came, and when.
type arrival struct {
	from  raft.ServerID
	round raft.Round
	after time.Duration
}

// recorder is a handler that writes down what comes.
type recorder struct {
	mu       sync.Mutex
	since    time.Time
	arrivals []arrival
	messages []raft.Message
}

func (r *recorder) Receive(messages []raft.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range messages {
		r.arrivals = append(r.arrivals, arrival{m.From, m.Round, time.Since(r.since)})
		r.messages = append(r.messages, m)
	}
}

func (r *recorder) Unreachable(raft.ServerID, raft.StoreID) {}

func (r *recorder) ServeChunk(_ raft.Member, q transport.ChunkRequest) (transport.Chunk, error) {
	return transport.Chunk{Offset: q.Offset, Bytes: []byte("chunk"), Last: true}, nil
}

// taken returns what came since it was last called.
func (r *recorder) taken() (list []arrival) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, r.arrivals = r.arrivals, nil
	return list
}

func (r *recorder) rounds() (list []raft.Round) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.arrivals {
		list = append(list, a.round)
	}
	return list
}

// cluster starts servers 1 to count on a network.
func cluster(t *testing.T, n *memnet.Network, count int) ([]*memnet.Endpoint, []*recorder) {
	var members []raft.Member
	for id := 1; id <= count; id++ {
		members = append(members, raft.Member{ID: raft.ServerID(id), Address: memnet.Address(raft.ServerID(id))})
	}
	endpoints, recorders := make([]*memnet.Endpoint, count+1), make([]*recorder, count+1)
	for id := 1; id <= count; id++ {
		e := n.Transport(transport.Local{Cluster: raft.ClusterID{1}, Server: raft.ServerID(id), Store: raft.StoreID{byte(id)}, Run: 1})
		recorders[id] = &recorder{since: time.Now()}
		require.NoError(t, e.Start(recorders[id]))
		e.SetPeers(members)
		endpoints[id] = e
		t.Cleanup(func() { require.NoError(t, e.Close()) })
	}
	t.Cleanup(func() { require.NoError(t, n.Err()) })
	return endpoints, recorders
}

func beat(from, to raft.ServerID, round raft.Round) raft.Message {
	return raft.Message{Type: raft.MessageHeartbeatRequest, Group: 1, From: from, To: to, Term: 1, Round: round}
}

func sendBeats(e *memnet.Endpoint, from, to raft.ServerID, count int) {
	for i := 1; i <= count; i++ {
		e.Send([]raft.Message{beat(from, to, raft.Round(i))})
	}
}

func upTo(count int) (list []raft.Round) {
	for i := 1; i <= count; i++ {
		list = append(list, raft.Round(i))
	}
	return list
}

func TestCutLosesOneDirectionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		e, r := cluster(t, n, 2)
		n.Cut(1, 2)
		sendBeats(e[1], 1, 2, 10)
		sendBeats(e[2], 2, 1, 10)
		synctest.Wait()
		require.Empty(t, r[2].rounds())
		require.Equal(t, upTo(10), r[1].rounds())
		n.Mend(1, 2)
		sendBeats(e[1], 1, 2, 10)
		synctest.Wait()
		require.Equal(t, upTo(10), r[2].rounds())
	})
}

func TestPartitionSeparatesSidesAndHealJoinsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		e, r := cluster(t, n, 5)
		exchange := func() map[string]bool {
			for id := 1; id <= 5; id++ {
				r[id].taken()
			}
			for from := raft.ServerID(1); from <= 5; from++ {
				for to := raft.ServerID(1); to <= 5; to++ {
					if from != to {
						e[from].Send([]raft.Message{beat(from, to, 1)})
					}
				}
			}
			synctest.Wait()
			got := make(map[string]bool)
			for id := 1; id <= 5; id++ {
				for _, a := range r[id].taken() {
					got[fmt.Sprint(a.from, id)] = true
				}
			}
			return got
		}
		n.Partition([]raft.ServerID{1, 2}, []raft.ServerID{3, 4, 5})
		require.Equal(t, map[string]bool{
			"1 2": true, "2 1": true, "3 4": true, "4 3": true, "3 5": true, "5 3": true, "4 5": true, "5 4": true,
		}, exchange())
		n.Heal()
		require.Len(t, exchange(), 20)
	})
}

func TestWhatIsUnderWayWhenTheCutComesIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		e, r := cluster(t, n, 2)
		require.NoError(t, n.SetFaults(memnet.Faults{DelayMin: time.Second, DelayMax: time.Second}))
		sendBeats(e[1], 1, 2, 3)
		<-time.After(500 * time.Millisecond)
		n.Cut(1, 2)
		<-time.After(time.Second)
		n.Heal()
		<-time.After(time.Second)
		require.Empty(t, r[2].rounds())
	})
}

// story sends 500 heartbeats under faults and returns what came of them.
func story(t *testing.T, seed uint64, f memnet.Faults) (arrivals []arrival) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(seed)
		e, r := cluster(t, n, 2)
		require.NoError(t, n.SetFaultsBetween(1, 2, f))
		for i := raft.Round(1); i <= 500; i++ {
			e[1].Send([]raft.Message{beat(1, 2, i)})
			<-time.After(time.Millisecond)
		}
		<-time.After(time.Minute)
		arrivals = r[2].taken()
	})
	return arrivals
}

func TestFaultsAreWhatTheSeedSays(t *testing.T) {
	all := memnet.Faults{
		Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, DelayMin: time.Millisecond, DelayMax: 20 * time.Millisecond,
	}
	require.Equal(t, story(t, 7, all), story(t, 7, all))
	require.NotEqual(t, story(t, 7, all), story(t, 8, all))
}

func TestEachFaultDoesWhatItsNameSays(t *testing.T) {
	rounds := func(list []arrival) (got []raft.Round) {
		for _, a := range list {
			got = append(got, a.round)
		}
		return got
	}
	require.Equal(t, upTo(500), rounds(story(t, 1, memnet.Faults{})))
	require.Empty(t, story(t, 1, memnet.Faults{Loss: 1}))

	lossy := rounds(story(t, 1, memnet.Faults{Loss: 0.2}))
	require.InDelta(t, 400, len(lossy), 40)
	require.True(t, slices.IsSorted(lossy))

	twice := rounds(story(t, 1, memnet.Faults{Duplicate: 0.2}))
	require.InDelta(t, 600, len(twice), 40)
	require.Equal(t, upTo(500), slices.Compact(slices.Sorted(slices.Values(twice))))

	delayed := story(t, 1, memnet.Faults{DelayMin: 5 * time.Millisecond, DelayMax: 50 * time.Millisecond})
	require.Equal(t, upTo(500), rounds(delayed), "a delay alone keeps the order")
	for _, a := range delayed {
		sent := time.Duration(a.round-1) * time.Millisecond
		require.GreaterOrEqual(t, a.after-sent, 5*time.Millisecond)
		require.LessOrEqual(t, a.after-sent, 51*time.Millisecond)
	}

	reordered := rounds(story(t, 1, memnet.Faults{Reorder: 0.2}))
	require.Len(t, reordered, 500)
	require.False(t, slices.IsSorted(reordered))
}

func TestFaultsThatCannotBeAreRefused(t *testing.T) {
	n := memnet.New(1)
	for _, f := range []memnet.Faults{{Loss: 1.1}, {Duplicate: -1}, {DelayMin: 2, DelayMax: 1}, {ReorderDelay: -1}} {
		require.Error(t, n.SetFaults(f))
		require.Error(t, n.SetFaultsBetween(1, 2, f))
	}
}

func TestChunkOverACutIsUnreachableInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		e, _ := cluster(t, n, 2)
		request := transport.ChunkRequest{Snapshot: raft.SnapshotMeta{Group: 1, Index: 5}, BytesMax: 100}
		chunk, err := e[1].FetchChunk(t.Context(), raft.Member{ID: 2}, request)
		require.NoError(t, err)
		require.Equal(t, "chunk", string(chunk.Bytes))
		for _, cut := range [][2]raft.ServerID{{1, 2}, {2, 1}} {
			n.Cut(cut[0], cut[1])
			since := time.Now()
			_, err = e[1].FetchChunk(t.Context(), raft.Member{ID: 2}, request)
			require.ErrorIs(t, err, transport.ErrUnreachable)
			require.Equal(t, time.Second, time.Since(since))
			n.Heal()
		}
	})
}

func TestServersOfTwoClustersDoNotMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		e, _ := cluster(t, n, 1)
		other := n.Transport(transport.Local{Cluster: raft.ClusterID{2}, Server: 2, Store: raft.StoreID{2}})
		r := &recorder{}
		require.NoError(t, other.Start(r))
		e[1].SetPeers([]raft.Member{{ID: 2}})
		e[1].Send([]raft.Message{beat(1, 2, 1)})
		synctest.Wait()
		require.Empty(t, r.rounds())
		require.Contains(t, e[1].Status().Peers[0].Error, "wrong cluster id")
		require.NoError(t, other.Close())
	})
}

func TestAServerIsOnTheNetworkOnce(t *testing.T) {
	n := memnet.New(1)
	e, _ := cluster(t, n, 1)
	twin := n.Transport(transport.Local{Cluster: raft.ClusterID{1}, Server: 1, Store: raft.StoreID{1}, Run: 2})
	require.ErrorContains(t, twin.Start(&recorder{}), "running already")
	require.NoError(t, e[1].Close())
	require.NoError(t, twin.Start(&recorder{}))
	require.NoError(t, twin.Close())
}

func TestMessageThatWouldNotSurviveItsEncodingIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		e := n.Transport(transport.Local{Cluster: raft.ClusterID{1}, Server: 1, Store: raft.StoreID{1}})
		require.NoError(t, e.Start(&recorder{}))
		e.SetPeers([]raft.Member{{ID: 2}})
		m := beat(1, 2, 1)
		m.First, m.Next = 5, 9
		e.Send([]raft.Message{m})
		require.ErrorContains(t, n.Err(), "a range without its blocks")
		require.NoError(t, e.Close())
	})
}

func TestReceiverSharesNoMemoryWithTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		e, r := cluster(t, n, 2)
		buf := raft.AppendEntry(make([]byte, raft.BlockHeaderSize), []byte("before"))
		b := raft.NewBlock(raft.BlockMeta{Group: 1, First: 5, Count: 1, Term: 1, Kind: raft.KindCommand}, buf)
		e[1].Send([]raft.Message{{
			Type: raft.MessageAppendRequest, Group: 1, From: 1, To: 2, Term: 1, PrevIndex: 4, First: 5, Next: 6, Blocks: []raft.Block{b},
		}})
		copy(buf[len(buf)-6:], "after!")
		synctest.Wait()
		r[2].mu.Lock()
		defer r[2].mu.Unlock()
		require.Len(t, r[2].messages, 1)
		for body := range r[2].messages[0].Blocks[0].Entries() {
			require.Equal(t, "before", string(body))
		}
	})
}
