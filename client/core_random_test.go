package client

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/oarlock/oarlock/internal/wire"
)

// trouble runs a client against a model with faults, then heals everything and lets the rest come to an end.
func trouble(seed uint64, f modelFaults, calls int) *model {
	m := newModel(seed, f)
	for range calls {
		if m.chance(0.2) {
			m.start(OpQuery, m.random.IntN(60), m.drawConsistency())
		} else {
			m.start(OpPropose, m.random.IntN(60))
		}
		m.disturb()
		if m.chance(0.3) {
			m.run(m.now + time.Duration(m.random.Int64N(int64(20*time.Millisecond))))
		}
	}
	m.faults = modelFaults{old: f.old}
	m.leader = 1 + m.random.IntN(m.servers)
	m.start(OpPropose, 1) // the entry that the last query may wait for
	m.run(m.now + time.Minute)
	return m
}

// check holds every answer against what really happened.
func (m *model) check(t require.TestingT) {
	for _, k := range m.calls {
		require.Equal(t, 1, k.dones, "%s: every call ends exactly once", k.command)
		n := m.executed[k.command]
		require.LessOrEqual(t, n, 1, "%s was executed more than once", k.command)
		switch {
		case k.op != OpPropose && k.err == nil:
			require.Equal(t, fmt.Sprintf("answer to %s at %d", k.command, k.saw), k.result)
			m.checkRead(t, k)
		case k.op != OpPropose:
			require.ErrorIs(t, k.err, ErrNotSent)
		case k.err == nil:
			require.Equal(t, 1, n, "%s: a result without an execution", k.command)
			require.Equal(t, m.results[k.command], k.result)
		case wire.ClassOf(k.err) != wire.ClassUnknown:
			require.Zero(t, n, "%s was answered %v and executed", k.command, k.err)
			require.True(t, errors.Is(k.err, ErrNotSent) || !errors.Is(k.err, ErrSequence), "%s: %v", k.command, k.err)
		}
	}
	require.Less(t, m.spread, wire.SequenceWindow)
	require.Zero(t, m.core.near.reads.n+m.core.proposals.n+m.core.lead.reads.n+m.core.window.waiting+m.core.bytes+m.core.stray)
	require.Equal(t, m.core.window.floor, m.core.window.next)
}

func drawFaults(t *rapid.T) modelFaults {
	p := func(name string, most float64) float64 {
		if rapid.Bool().Draw(t, name) {
			return most
		}
		return 0
	}
	return modelFaults{
		cut: p("cut", 0.02), move: p("move", 0.05), busy: p("busy", 0.05), expire: p("expire", 0.01),
		swallow: p("swallow", 0.02), ghost: p("ghost", 0.05), cancel: p("cancel", 0.2),
		sessionless: rapid.Bool().Draw(t, "sessionless"), outstandingBytesMax: int(p("few bytes", 400)),
		window: uint64(p("small window", 10)), resultBytesMax: int(p("few results", 500)),
		readAny: rapid.Bool().Draw(t, "read any"), old: p("old", 1) == 1, behind: p("behind", 0.3),
	}
}

func TestEveryAnswerIsTrueWhateverGoesWrong(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := trouble(rapid.Uint64().Draw(t, "seed"), drawFaults(t), rapid.IntRange(1, 600).Draw(t, "calls"))
		m.check(t)
	})
}

func TestWithoutFaultsEveryCallSucceeds(t *testing.T) {
	for seed := range uint64(20) {
		m := trouble(seed, modelFaults{}, 700)
		m.check(t)
		for _, k := range m.calls {
			require.NoError(t, k.err)
		}
	}
}

// In a session, a caller who waits long enough is told the outcome, unless the session itself was lost.
func TestInASessionOnlyExpiryAndGivingUpLeaveAnOutcomeUnknown(t *testing.T) {
	for seed := range uint64(40) {
		m := trouble(seed, modelFaults{cut: 0.05, move: 0.1, busy: 0.05, swallow: 0.05, ghost: 0.1}, 400)
		m.check(t)
		for _, k := range m.calls {
			require.NoError(t, k.err)
		}
	}
}

func TestSameSeedMakesTheSameRun(t *testing.T) {
	f := modelFaults{cut: 0.02, move: 0.05, busy: 0.02, expire: 0.01, swallow: 0.02, ghost: 0.05, cancel: 0.1, readAny: true, behind: 0.1}
	for seed := range uint64(5) {
		first, second := trouble(seed, f, 300), trouble(seed, f, 300)
		require.Equal(t, first.story.String(), second.story.String())
		require.NotEqual(t, first.story.String(), trouble(seed+100, f, 300).story.String())
	}
}

// The harness must be able to see what it looks for: each fault on its own leaves its mark somewhere.
func TestModelShowsEachFault(t *testing.T) {
	unknowns, expired, notSent := 0, 0, 0
	for seed := range uint64(30) {
		f := modelFaults{cut: 0.03, expire: 0.03, swallow: 0.05, ghost: 0.05, cancel: 0.3, move: 0.1}
		for _, k := range trouble(seed, f, 200).calls {
			if errors.Is(k.err, ErrUnknown) {
				unknowns++
			}
			if errors.Is(k.err, ErrSessionExpired) {
				expired++
			}
			if errors.Is(k.err, ErrNotSent) {
				notSent++
			}
		}
	}
	require.Positive(t, unknowns)
	require.Positive(t, expired)
	require.Positive(t, notSent)
}
