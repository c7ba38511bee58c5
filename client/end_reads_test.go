package client_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport/memnet"
)

// TestReadsKeepTheirPromisesAtEveryServerWhileServersDie: one client counts up, others read the count from whichever server they drew
// and hold each answer against what had been answered when they asked.
func TestReadsKeepTheirPromisesAtEveryServerWhileServersDie(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		require.NoError(t, h.net.SetFaults(memnet.Faults{DelayMax: 5 * time.Millisecond, Loss: 0.01}))
		writer := h.client(client.Options{ReadFrom: client.ReadAny, Seed: 100})
		var answered atomic.Int64
		history := struct {
			sync.Mutex
			at []time.Time // at[i] is when count i+1 was answered
		}{}
		before := func(limit time.Time) (n int64) {
			history.Lock()
			defer history.Unlock()
			for n < int64(len(history.at)) && history.at[n].Before(limit) {
				n++
			}
			return n
		}
		var over atomic.Bool
		var callers sync.WaitGroup
		callers.Go(func() {
			for !over.Load() {
				result, err := writer.Propose(t.Context(), []byte("n"))
				if err != nil {
					t.Errorf("propose: %v", err)
					return
				}
				n, _ := strconv.ParseInt(string(result), 10, 64)
				answered.Store(n)
				history.Lock()
				history.at = append(history.at, time.Now())
				history.Unlock()
				own, err := writer.Query(t.Context(), []byte("n"), client.Consistency{Level: client.Bounded, MinIndex: 1})
				if saw, _ := strconv.ParseInt(string(own), 10, 64); err != nil || saw < n {
					t.Errorf("the writer does not see its own %d, but %q, %v", n, own, err)
				}
			}
		})
		const age = 300 * time.Millisecond
		for k := range 8 {
			reader := h.client(client.Options{ReadFrom: client.ReadAny, Seed: uint64(k + 1)})
			callers.Go(func() {
				last := int64(0)
				for i := 0; !over.Load(); i++ {
					began, floor := time.Now(), answered.Load()
					c := []client.Consistency{
						{}, {Level: client.Lease}, {Level: client.Bounded, MaxAge: age}, {Level: client.Bounded, MinIndex: 1},
					}[i%4]
					switch {
					case c.MaxAge > 0:
						floor = max(last, before(began.Add(-age)))
					case c.Level == client.Bounded:
						floor = last
					}
					got, err := reader.Query(t.Context(), []byte("n"), c)
					saw, _ := strconv.ParseInt(string(got), 10, 64)
					if err != nil || saw < floor {
						t.Errorf("reader %d, %v: saw %q, want at least %d: %v", k, c, got, floor, err)
						return
					}
					last = max(last, saw)
					time.Sleep(time.Millisecond)
				}
			})
		}
		for kill := range uint64(6) {
			time.Sleep(2 * time.Second)
			r := h.rooms[kill%3]
			if leader := h.leader(); leader != nil && kill%2 == 0 {
				r = leader
			}
			h.crash(r, kill)
			time.Sleep(2 * time.Second)
			h.start(r)
		}
		time.Sleep(time.Second)
		over.Store(true)
		callers.Wait()
		require.Greater(t, answered.Load(), int64(500))
	})
}

// TestReadersUseAllServers: with many clients no server is idle, and none that follows is asked for the leader's sake only.
func TestReadersUseAllServers(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		c := h.client(client.Options{})
		_, err := c.Propose(t.Context(), []byte("x"))
		require.NoError(t, err)
		index := c.Seen()
		require.Positive(t, index)
		for seed := range uint64(30) {
			reader := h.client(client.Options{ReadFrom: client.ReadAny, Seed: seed + 1})
			for range 10 {
				got, err := reader.Query(t.Context(), []byte("x"), client.Consistency{Level: client.Bounded, MinIndex: index})
				require.NoError(t, err)
				require.Equal(t, "1", string(got))
			}
			require.GreaterOrEqual(t, reader.Seen(), index)
		}
		var sum uint64
		for _, r := range h.rooms {
			st, _ := r.server.GroupStatus(raft.DefaultGroup)
			require.Greater(t, st.Reads.Bounded, uint64(30), fmt.Sprint("server ", r.id))
			sum += st.Reads.Bounded
		}
		require.EqualValues(t, 300, sum, "each query was answered by the server that was asked first")
	})
}
