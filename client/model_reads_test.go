package client

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// modelLog is the model's log as far as reads see it: how long it was at each time, and how much of it each server has applied.
type modelLog struct {
	index   int
	times   []time.Duration // times[i] is when entry i+1 was executed
	applied [4]int          // by server
}

func (l *modelLog) add(now time.Duration) raft.Index {
	l.index++
	l.times = append(l.times, now)
	return raft.Index(l.index)
}

// at returns the last entry that had been executed before t.
func (l *modelLog) at(t time.Duration) int {
	n := l.index
	for n > 0 && l.times[n-1] >= t {
		n--
	}
	return n
}

// follow lets the servers apply some of what they have not applied.
func (l *modelLog) follow(random *rand.Rand) {
	for k := range l.applied {
		if behind := l.index - l.applied[k]; behind > 0 && random.IntN(4) == 0 {
			l.applied[k] += random.IntN(behind + 1)
		}
	}
}

func (f modelFaults) readFrom() ReadFrom {
	if f.readAny {
		return ReadAny
	}
	return ReadLeader
}

func (m *model) drawConsistency() Consistency {
	c := Consistency{Level: raft.Level(m.random.IntN(4))}
	if c.Level == Bounded {
		if m.chance(0.5) {
			c.MaxAge = time.Duration(1 + m.random.Int64N(int64(30*time.Millisecond)))
		}
		if c.MaxAge == 0 || m.chance(0.3) {
			c.MinIndex = 1 + raft.Index(m.random.IntN(m.log.index+1)) // the last of them is yet to come
		}
	}
	return c
}

// read answers a query as one server would: from what it has applied, once that is enough.
func (m *model) read(server int, r wire.ClientRequest) []byte {
	least, c := 0, r.Consistency
	switch c.Level {
	case Linearizable, Lease:
		if m.leader == 0 {
			return wire.AppendClientError(nil, r.ID, wire.ErrNoLeader)
		}
		least = m.log.index
	case Bounded:
		least = int(c.MinIndex)
		if c.MaxAge > 0 {
			least = max(least, m.log.at(m.now-c.MaxAge))
		}
	}
	applied := &m.log.applied[server]
	if *applied < least {
		if least > m.log.index || m.chance(m.faults.behind) {
			return wire.AppendClientError(nil, r.ID, wire.ErrBehind)
		}
		*applied = least
	}
	return m.reply(r, raft.Index(*applied), fmt.Sprintf("answer to %s at %d", r.Body, *applied))
}

// reply answers in the form that was asked for.
func (m *model) reply(r wire.ClientRequest, index raft.Index, result string) []byte {
	if r.Indexed {
		return wire.AppendClientIndexed(nil, r.ID, index, []byte(result))
	}
	return wire.AppendClientBytes(nil, r.ID, []byte(result))
}

// answered takes from a query's answer what it has seen.
func (m *model) answered(k *modelCall) {
	var body string
	if _, err := fmt.Sscanf(k.result, "answer to %s at %d", &body, &k.saw); err != nil {
		panic(fmt.Sprintf("%q: %v", k.result, err))
	}
}

// checkRead holds what a query saw against what it had to see.
func (m *model) checkRead(t require.TestingT, k *modelCall) {
	least := 0
	switch c := k.consistency; c.Level {
	case Linearizable, Lease:
		least = m.log.at(k.began)
	case Bounded:
		if !m.faults.old { // the leader's answer is then as good as any, but for entries that are yet to come
			least = max(int(k.seen), int(c.MinIndex))
		}
		if c.MaxAge > 0 {
			least = max(least, m.log.at(k.began-c.MaxAge))
		}
	}
	require.GreaterOrEqual(t, k.saw, least, "%s: %v", k.command, k.consistency)
}
