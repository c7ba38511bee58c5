package raft

import (
	"errors"
	"fmt"
	"time"
)

// Config is what a Node is told once, at its start. A zero field takes the default that stands beside it.
type Config struct {
	Group GroupID
	ID    ServerID
	Store StoreID

	// Founders are the voters of the group's first membership, with their addresses; their stores are left zero and
	// bound at the birth. They are looked at only while the group is unborn. Empty for a server that joins later.
	Founders []Member
	// Limits become the group's, if this is the founder with the lowest id.
	Limits GroupLimits

	// ElectionTimeoutMin and ElectionTimeoutMax bound the random time without a leader after which a server campaigns
	// (dissertation 3.4); a leader that no quorum has answered for ElectionTimeoutMax steps down. 300 ms and 600 ms.
	ElectionTimeoutMin time.Duration
	ElectionTimeoutMax time.Duration
	// HeartbeatInterval is how often an idle leader speaks. 60 ms; at most a third of ElectionTimeoutMin.
	HeartbeatInterval time.Duration

	// Run is a random number that no earlier Node of this replica had: an answer to a question of an earlier one is told by it.
	Run RunID

	// Priority: a leader hands over to a voter with a higher one that has caught up. It decides no election. 0.
	Priority uint8

	// ClockDriftPPM, if it is not zero, allows leases (Node.Lease): a bound, in parts per million, on how much the rates of the monotonic
	// clocks of any two servers differ. Set it on all servers of a group, and restart none of them with another value or another
	// ElectionTimeoutMin within ElectionTimeoutMin.
	ClockDriftPPM uint32

	// JoinTimeout is how long a server that is to become a voter may be silent before the change is given up, and how long one
	// that has left is still told so: 30 s.
	JoinTimeout time.Duration

	MessageBytesMax     int // blocks in one append message, if it is more than one block: 4 MiB
	InflightBytesMax    int // sent to a follower and not answered: 16 MiB
	InflightMessagesMax int // the same in messages: 256
	UncommittedBytesMax int // appended by a leader and not committed: 64 MiB

	// Seed makes the random election timeouts. Give each server another one.
	Seed uint64
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	defInt := func(d *int, v int) {
		if *d == 0 {
			*d = v
		}
	}
	if c.ElectionTimeoutMin == 0 && c.ElectionTimeoutMax > 0 {
		c.ElectionTimeoutMin = c.ElectionTimeoutMax / 2
	}
	def(&c.ElectionTimeoutMin, 300*time.Millisecond)
	def(&c.ElectionTimeoutMax, 2*c.ElectionTimeoutMin)
	def(&c.HeartbeatInterval, c.ElectionTimeoutMin/5)
	def(&c.JoinTimeout, 30*time.Second)
	defInt(&c.MessageBytesMax, 4<<20)
	defInt(&c.InflightBytesMax, 16<<20)
	defInt(&c.InflightMessagesMax, 256)
	defInt(&c.UncommittedBytesMax, 64<<20)
	return c
}

// Validate reports the first setting, or pair of settings, that cannot work.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Group == 0:
		return errors.New("raft: Config.Group is 0, which is not a group")
	case c.ID == 0:
		return errors.New("raft: Config.ID is 0, which is no server")
	case c.Store.IsZero():
		return errors.New("raft: Config.Store is zero: format the store first")
	case c.ElectionTimeoutMin <= 0 || c.ElectionTimeoutMax <= c.ElectionTimeoutMin:
		return fmt.Errorf("raft: ElectionTimeoutMax (%v) must be longer than ElectionTimeoutMin (%v)", c.ElectionTimeoutMax, c.ElectionTimeoutMin)
	case c.HeartbeatInterval <= 0 || c.HeartbeatInterval*3 > c.ElectionTimeoutMin:
		return fmt.Errorf("raft: HeartbeatInterval (%v) must be at most a third of ElectionTimeoutMin (%v)", c.HeartbeatInterval, c.ElectionTimeoutMin)
	case c.ClockDriftPPM > driftMax:
		return fmt.Errorf("raft: ClockDriftPPM (%d) must be at most %d: with clocks that differ more a lease is worth nothing", c.ClockDriftPPM, driftMax)
	case c.MessageBytesMax <= 0 || c.MessageBytesMax > c.InflightBytesMax:
		return fmt.Errorf("raft: MessageBytesMax (%d) must be at most InflightBytesMax (%d)", c.MessageBytesMax, c.InflightBytesMax)
	case c.InflightBytesMax > c.UncommittedBytesMax:
		return fmt.Errorf("raft: InflightBytesMax (%d) must be at most UncommittedBytesMax (%d)", c.InflightBytesMax, c.UncommittedBytesMax)
	case c.InflightMessagesMax <= 0:
		return fmt.Errorf("raft: InflightMessagesMax (%d) must be positive", c.InflightMessagesMax)
	}
	if len(c.Founders) > 0 {
		if err := (Membership{Voters: c.Founders}).Validate(); err != nil {
			return fmt.Errorf("raft: Config.Founders: %w", err)
		}
	}
	return nil
}

// driftMax is a clock that runs by a tenth faster than another.
const driftMax = 100_000

// The errors of a Node's inputs.
var (
	// ErrNotLeader: only a leader can do that; Actions.Leader may say who is.
	ErrNotLeader = errors.New("raft: not the leader")
	// ErrUncommittedFull: the leader holds UncommittedBytesMax of entries that no quorum has confirmed yet.
	ErrUncommittedFull = errors.New("raft: too many uncommitted bytes")
	// ErrFault: an invariant was broken; the Node does nothing any more (Actions.Fault).
	ErrFault = errors.New("raft: invariant broken")
)
