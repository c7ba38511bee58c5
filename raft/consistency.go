package raft

import (
	"fmt"
	"time"
)

// Level names a promise about how fresh the answer of a query is. The numbers are the same in every language and on the wire.
type Level uint8

const (
	// Linearizable: the answer reflects everything that was answered to anyone before the query began (dissertation 6.4).
	// Whoever answers has the leader confirm that it leads. Needs a leader with a quorum.
	Linearizable Level = 0
	// Stale: the answer reflects whatever the asked server has applied, however long ago that was. Needs nobody else.
	Stale Level = 1
	// Lease: as Linearizable, but a leader that holds a lease answers without asking anyone (dissertation 6.4.1). The promise
	// holds as long as the clocks of the servers keep to the group's bound on their drift, and no machine among them is
	// suspended. Where there is no lease it is Linearizable.
	Lease Level = 2
	// Bounded: the answer reflects everything that was answered up to Consistency.MaxAge before the query began, and the log
	// up to Consistency.MinIndex; of the two, those that are set, one at least.
	Bounded Level = 3
)

// String returns the level's name as it stands in commands and documents.
func (l Level) String() string {
	switch l {
	case Linearizable:
		return "linearizable"
	case Stale:
		return "stale"
	case Lease:
		return "lease"
	case Bounded:
		return "bounded"
	}
	return fmt.Sprintf("level-%d", uint8(l))
}

// Consistency is what the answer of a query has to reflect. The zero value is Linearizable.
type Consistency struct {
	Level Level
	// MaxAge belongs to Bounded: how long ago what the answer does not reflect may have been answered to others, at most. Zero: any
	// time. It is measured by the answering server alone, on its monotonic clock, so that no clocks have to agree; time in
	// which that server's machine was suspended may not be counted.
	MaxAge time.Duration
	// MinIndex belongs to Bounded: the entry up to which the state machine must have executed the log, at least. Zero: any.
	MinIndex Index
}

// Validate says why c promises nothing that can be kept or understood; nil: it does.
func (c Consistency) Validate() error {
	switch {
	case c.Level > Bounded:
		return fmt.Errorf("consistency: there is no %s", c.Level)
	case c.MaxAge < 0:
		return fmt.Errorf("consistency: MaxAge is %v, and must not be negative", c.MaxAge)
	case c.Level != Bounded && (c.MaxAge != 0 || c.MinIndex != 0):
		return fmt.Errorf("consistency: MaxAge (%v) and MinIndex (%d) belong to bounded, not to %s", c.MaxAge, c.MinIndex, c.Level)
	case c.Level == Bounded && c.MaxAge == 0 && c.MinIndex == 0:
		return fmt.Errorf("consistency: bounded by neither MaxAge nor MinIndex; stale is the level without a bound")
	}
	return nil
}

// String returns the level with its bounds.
func (c Consistency) String() string {
	s := c.Level.String()
	if c.MaxAge != 0 {
		s += fmt.Sprintf(" max-age %v", c.MaxAge)
	}
	if c.MinIndex != 0 {
		s += fmt.Sprintf(" min-index %d", c.MinIndex)
	}
	return s
}
