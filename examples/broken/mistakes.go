package broken

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/oarlock/oarlock/statemachine"
)

// MapOrder draws whoever comes first in a map, which is somebody else on each server.
type MapOrder struct{ *Raffle }

// Apply implements statemachine.StateMachine.
func (m MapOrder) Apply(e statemachine.Entry) []byte {
	if string(e.Command) == "draw" {
		for name := range m.Tickets {
			return m.wins(name)
		}
	}
	return m.Raffle.Apply(e)
}

// RandomNumbers throws dice on each server.
type RandomNumbers struct{ *Raffle }

// Apply implements statemachine.StateMachine.
func (m RandomNumbers) Apply(e statemachine.Entry) []byte {
	if string(e.Command) == "draw" {
		e.Index = rand.Uint64()
	}
	return m.Raffle.Apply(e)
}

// WallClock gives tickets by the clock on the wall, and every server has a wall of its own. Entry.Time is the same on all.
type WallClock struct{ *Raffle }

// Apply implements statemachine.StateMachine.
func (m WallClock) Apply(e statemachine.Entry) []byte {
	if strings.HasPrefix(string(e.Command), "join ") {
		m.Next = int(time.Now().UnixNano())
	}
	return m.Raffle.Apply(e)
}

// LiveSnapshot looks at the state when the snapshot is written and not when it was taken; commands were executed between.
// Its lock keeps the race detector quiet, and does not make it right.
type LiveSnapshot struct {
	*Raffle
	lock *sync.Mutex
}

// Apply implements statemachine.StateMachine.
func (m LiveSnapshot) Apply(e statemachine.Entry) []byte {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.Raffle.Apply(e)
}

// Snapshot implements statemachine.StateMachine.
func (m LiveSnapshot) Snapshot() (statemachine.Snapshot, error) { return live(m), nil }

type live LiveSnapshot

func (l live) WriteTo(w io.Writer) (int64, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	state, err := json.Marshal(l.Raffle)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(state)
	return int64(n), err
}

func (l live) Close() error { return nil }

// LiveMap copies the struct for its snapshot, and with it only the reference to the map, which the copy has in common with Apply.
// Under real load Go's runtime ends the whole program for it.
type LiveMap struct{ *Raffle }

// Snapshot implements statemachine.StateMachine.
func (m LiveMap) Snapshot() (statemachine.Snapshot, error) {
	copied := *m.Raffle
	return live{&copied, new(sync.Mutex)}, nil
}

// Forgetful begins to count its tickets anew after a restore: a field that was added later, and not to Restore.
type Forgetful struct{ *Raffle }

// Restore implements statemachine.StateMachine.
func (m Forgetful) Restore(snapshot io.Reader) error {
	err := m.Raffle.Restore(snapshot)
	m.Next = len(m.Tickets)
	return err
}

// KeptBytes remembers the latest command without a copy of it. Its bytes belong to the log, which uses them again.
type KeptBytes struct {
	*Raffle
	Latest []byte
}

// Apply implements statemachine.StateMachine.
func (m *KeptBytes) Apply(e statemachine.Entry) []byte {
	m.Latest = e.Command
	return m.Raffle.Apply(e)
}

// Snapshot implements statemachine.StateMachine.
func (m *KeptBytes) Snapshot() (statemachine.Snapshot, error) {
	state, err := json.Marshal(m)
	return statemachine.Encoded(state), err
}

// Restore implements statemachine.StateMachine.
func (m *KeptBytes) Restore(snapshot io.Reader) error {
	restored := &KeptBytes{Raffle: New()}
	if err := json.NewDecoder(snapshot).Decode(restored); err != nil {
		return err
	}
	*m = *restored
	return nil
}

// WritingQuery has whoever is asked for join: only on the server that was asked.
type WritingQuery struct{ *Raffle }

// Query implements statemachine.StateMachine.
func (m WritingQuery) Query(name []byte) ([]byte, error) {
	if _, ok := m.Tickets[string(name)]; !ok {
		return m.join(string(name)), nil
	}
	return m.Raffle.Query(name)
}
