package servertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// pollInterval is how often a cluster is looked at by who waits for something.
const pollInterval = 2 * time.Millisecond

// poll calls ready until it says nothing is missing or ctx ends; the error then says what was missing.
func poll(ctx context.Context, ready func() error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var missing error
	for {
		now := ready()
		switch {
		case now == nil:
			return nil
		case missing == nil || ctx.Err() == nil: // what is said after the end of ctx may be about nothing else
			missing = now
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), missing)
		}
	}
}

var errNoLeader = errors.New("servertest: no server leads a majority")

// Leader waits for a leader that a majority follows, and returns its id. With a majority down or cut off there is none
// until ctx ends, and with as many stopped for good none at all: the error then matches ErrStopped. The next moment it may be another one.
func (c *Cluster) Leader(ctx context.Context) (raft.ServerID, error) {
	var leader raft.ServerID
	err := c.whileAble(ctx, func(ctx context.Context) error {
		return poll(ctx, func() error {
			if leader = c.leading(ctx); leader == 0 {
				return errNoLeader
			}
			return nil
		})
	})
	return leader, err
}

// leading returns who leads a majority now; 0: nobody does.
func (c *Cluster) leading(ctx context.Context) raft.ServerID {
	for _, m := range c.all() {
		s := m.running()
		if s == nil {
			continue
		}
		if st, ok := s.GroupStatus(raft.DefaultGroup); !ok || st.Role != raft.RoleLeader {
			continue
		}
		// Only who can still reach a majority answers this; who has followed another one since answers, too.
		short, cancel := context.WithTimeout(ctx, time.Second)
		err := s.Barrier(short, raft.DefaultGroup)
		cancel()
		if st, _ := s.GroupStatus(raft.DefaultGroup); err == nil && st.Role == raft.RoleLeader {
			return m.id
		}
	}
	return 0
}

// Settle waits until all servers that run and belong to the group have the same log and have executed all of it. Partitions that last keep it
// from that, and so do commands that go on. A server whose replica has stopped, because its machine panicked for
// instance, is an error at once.
func (c *Cluster) Settle(ctx context.Context) error {
	var stopped error
	err := poll(ctx, func() error {
		leader := c.leading(ctx)
		for _, m := range c.all() {
			if s := m.running(); s != nil {
				if err := s.GroupErr(raft.DefaultGroup); err != nil && !errors.Is(err, server.ErrClosed) {
					stopped = &stoppedError{server: m.id, err: err}
					return nil
				}
			}
		}
		return c.differs(leader)
	})
	return errors.Join(err, stopped)
}

// differs says which server that runs has not executed all that its leader has in its log; nil: none.
func (c *Cluster) differs(leader raft.ServerID) error {
	s := c.Server(leader)
	if s == nil {
		return errNoLeader
	}
	st, _ := s.GroupStatus(raft.DefaultGroup)
	end := st.Next
	for _, m := range c.all() {
		s := m.running()
		if s == nil || !isMember(&st, m.id, s) {
			continue
		}
		if st, ok := s.GroupStatus(raft.DefaultGroup); !ok || st.Next != end || st.Applied+1 != end {
			return fmt.Errorf("servertest: server %d has executed %d entries of %d", m.id, st.Applied, end-1)
		}
	}
	return nil
}

// isMember reports whether a server belongs to the group, as its leader sees it.
func isMember(leader *server.GroupStatus, id raft.ServerID, s *server.Server) bool {
	store := s.Status().Identity.Store
	return slices.ContainsFunc(leader.Membership.Members(), func(m raft.Member) bool { return m.ID == id && m.Store == store })
}
