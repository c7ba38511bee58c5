// Package broken has one right state machine, a raffle, and the same raffle with one mistake each: the mistakes that state
// machines are made with. Its tests show by which message each of them is found.
package broken

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/oarlock/oarlock/statemachine"
)

// Raffle is the right one. The commands are "join NAME", answered with a ticket's number, and "draw", answered with the
// name that wins. A query is a name, answered with its ticket.
type Raffle struct {
	Tickets map[string]int // by name
	Next    int            // the number of the next ticket
	Winners []string
}

// New returns a raffle that nobody has joined.
func New() *Raffle { return &Raffle{Tickets: map[string]int{}} }

// Apply implements statemachine.StateMachine.
func (r *Raffle) Apply(e statemachine.Entry) []byte {
	if name, ok := strings.CutPrefix(string(e.Command), "join "); ok {
		return r.join(name)
	}
	names := slices.Sorted(maps.Keys(r.Tickets)) // the same order on every server
	if string(e.Command) != "draw" || len(names) == 0 {
		return []byte("no") // a refusal is a result, too
	}
	// What looks like chance has to come out of the entry, because that is all that the servers have in common.
	return r.wins(names[e.Index*2654435761%uint64(len(names))])
}

func (r *Raffle) join(name string) []byte {
	name = strings.ToValidUTF8(name, "?") // JSON could not keep it otherwise
	r.Next++
	r.Tickets[name] = r.Next
	return strconv.AppendInt(nil, int64(r.Next), 10)
}

func (r *Raffle) wins(name string) []byte {
	delete(r.Tickets, name)
	r.Winners = append(r.Winners, name)
	return []byte(name)
}

// Query implements statemachine.StateMachine.
func (r *Raffle) Query(name []byte) ([]byte, error) {
	ticket, ok := r.Tickets[string(name)]
	if !ok {
		return nil, fmt.Errorf("%q has not joined", name)
	}
	return strconv.AppendInt(nil, int64(ticket), 10), nil
}

// Snapshot implements statemachine.StateMachine. JSON sorts the names, so equal states have equal snapshots.
func (r *Raffle) Snapshot() (statemachine.Snapshot, error) {
	state, err := json.Marshal(r)
	return statemachine.Encoded(state), err
}

// Restore implements statemachine.StateMachine.
func (r *Raffle) Restore(snapshot io.Reader) error {
	restored := New()
	if err := json.NewDecoder(snapshot).Decode(restored); err != nil {
		return err
	}
	*r = *restored
	return nil
}
