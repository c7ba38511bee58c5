package server

import (
	"context"
	"fmt"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// Submit hands in a proposal and returns at once; done receives the result, a refusal (the command is certainly not
// applied) or an error that matches ErrUnknown (it may have been, or may yet be). It is the way in that allocates
// nothing, for those who have many proposals under way.
func (s *Server) Submit(p Proposal, done Completion) {
	if g := s.take(p, done); g != nil {
		g.wake()
	}
}

// Submission is a proposal with who receives its answer.
type Submission struct {
	Proposal Proposal
	Done     Completion
}

// SubmitBatch is Submit for all of batch, in order. The caller's goroutine then carries the groups on by itself where they are
// idle, which spares a wake-up; it waits for nothing. batch is the caller's again when it returns.
func (s *Server) SubmitBatch(batch []Submission) {
	var last *group
	for i := range batch {
		g := s.take(batch[i].Proposal, batch[i].Done)
		if g == nil || g == last {
			continue
		}
		if last != nil {
			last.runHere()
		}
		last = g
	}
	if last != nil {
		last.runHere()
	}
}

// take puts a proposal into its group's inbox, or answers it. It returns the group if that has to be given a turn.
func (s *Server) take(p Proposal, done Completion) *group {
	g := s.group(p.Group)
	var err error
	var wake bool
	switch {
	case g == nil:
		err = fmt.Errorf("%w: %d", ErrNoGroup, p.Group)
	case p.Kind != raft.KindCommand && p.Kind != raft.KindSession:
		err = fmt.Errorf("%w: nobody may propose a %s entry", ErrMalformed, p.Kind)
	case p.Keep && p.Session == 0:
		err = fmt.Errorf("%w: 0 is no session", ErrMalformed)
	case len(p.Command) > s.options.CommandBytesMax:
		err = fmt.Errorf("%w: %d bytes, and CommandBytesMax is %d", ErrTooLarge, len(p.Command), s.options.CommandBytesMax)
	default:
		wake, err = g.inbox.propose(p, done)
	}
	if err != nil {
		done.Complete(nil, err)
	}
	if err != nil || !wake {
		return nil
	}
	return g
}

// SubmitQuery is Query for a caller that does not wait. query must not change until done was called.
func (s *Server) SubmitQuery(group raft.GroupID, q []byte, done Completion, consistency ...Consistency) {
	c, err := oneConsistency(consistency)
	switch {
	case err != nil:
		done.Complete(nil, err)
	case c.Level == raft.Stale:
		s.SubmitLocal(group, q, done)
	case len(q) > s.options.CommandBytesMax:
		done.Complete(nil, fmt.Errorf("%w: a query of %d bytes, and CommandBytesMax is %d", ErrTooLarge, len(q), s.options.CommandBytesMax))
	default:
		s.submitQuery(group, query{query: q, consistency: c, done: done})
	}
}

// oneConsistency is what a caller has asked for: nothing, which is linearizable, or one thing.
func oneConsistency(given []Consistency) (c Consistency, err error) {
	switch len(given) {
	case 0:
		return c, nil
	case 1:
		c = given[0]
	default:
		return c, fmt.Errorf("%w: a query has one consistency, and %d were given", ErrMalformed, len(given))
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return c, nil
}

func (s *Server) submitQuery(group raft.GroupID, q query) {
	g := s.group(group)
	if g == nil {
		q.done.Complete(nil, fmt.Errorf("%w: %d", ErrNoGroup, group))
		return
	}
	if err := g.inbox.query(q); err != nil {
		q.done.Complete(nil, err)
		return
	}
	g.wake()
}

// notSent says that a context had ended before anything was sent: certainly nothing came of it.
func notSent(ctx context.Context) error { return fmt.Errorf("%w: %w", ErrNotSent, context.Cause(ctx)) }

// Propose has the group execute a command, outside of any session, and waits for its result. It makes one attempt: where
// the outcome is unknown, trying again may execute the command twice; a session is what prevents that. If ctx ends first
// the error matches ErrUnknown and ctx's; if it had ended before, ErrNotSent and ctx's.
func (s *Server) Propose(ctx context.Context, group raft.GroupID, command []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, notSent(ctx)
	}
	w := s.waiter()
	s.Submit(Proposal{Group: group, Kind: raft.KindCommand, Command: w.keep(ctx, command)}, w)
	return w.wait(ctx, ErrUnknown)
}

// ProposeIn is Propose in a session: however often it is tried with one sequence number, the command is executed once.
func (s *Server) ProposeIn(ctx context.Context, p Proposal) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, notSent(ctx)
	}
	w := s.waiter()
	p.Kind, p.Command = raft.KindCommand, w.keep(ctx, p.Command)
	s.Submit(p, w)
	return w.wait(ctx, ErrUnknown)
}

// Query reads through this server's state machine, whatever part the server has in the group. The answer reflects what
// consistency, one at most, asks for; without it, everything that was answered before Query was called: a server that
// does not lead then asks the leader up to where it has to have applied the log. With ErrNoLeader, ErrNotLeader and ErrBehind
// another server may do better. No error leaves anything behind; if ctx ends first the error matches ErrNotSent and ctx's.
func (s *Server) Query(ctx context.Context, group raft.GroupID, q []byte, consistency ...Consistency) ([]byte, error) {
	c, err := oneConsistency(consistency)
	g := s.group(group)
	switch {
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, notSent(ctx)
	case c.Level == raft.Stale:
		return s.QueryLocal(ctx, group, q)
	case g == nil:
		return nil, fmt.Errorf("%w: %d", ErrNoGroup, group)
	case len(q) > s.options.CommandBytesMax:
		return nil, fmt.Errorf("%w: a query of %d bytes, and CommandBytesMax is %d", ErrTooLarge, len(q), s.options.CommandBytesMax)
	}
	w := s.waiter()
	if g.replica.apply.concurrent {
		s.submitQuery(group, query{consistency: c, confirm: true, done: w})
		if _, err := w.wait(ctx, ErrNotSent); err != nil {
			return nil, err
		}
		return g.queryHere(q)
	}
	s.submitQuery(group, query{query: w.keep(ctx, q), consistency: c, done: w})
	return w.wait(ctx, ErrNotSent)
}

// SubmitLocal reads this server's own state as it is, and returns at once. What it reads may be stale without bound: it is
// what this replica has applied so far, leader or not, behind nothing that was answered by others. A replica that has
// applied nothing refuses with ErrNotReady: it may be waiting for a snapshot. query must not change until done was called.
// Queries that wait count into the inbox's bounds.
func (s *Server) SubmitLocal(group raft.GroupID, q []byte, done Completion) {
	g, err := s.local(group, q)
	if err == nil {
		j := g.replica.localQuery(q, done)
		if err = g.inbox.admitLocal(j.bytes); err == nil {
			g.replica.counts.levels[raft.Stale].Add(1)
			g.apply.push(j)
			return
		}
	}
	done.Complete(nil, err)
}

// QueryLocal returns the job that reads this replica's own state, to be put into its apply lane, and to be given back like
// every job. ok is false, and done is not called, where the replica has applied nothing yet. It is for those who drive a
// Replica by themselves: a server has SubmitLocal.
func (r *Replica) QueryLocal(q []byte, done Completion) (j Job, ok bool) {
	if r.apply.progress.Load() == 0 {
		return nil, false
	}
	r.counts.levels[raft.Stale].Add(1)
	local := r.localQuery(q, done)
	for _, b := range local.counted {
		b.add(local.bytes)
	}
	return local, true
}

// localQuery makes the job of a local read. The bytes are to be counted before it runs.
func (r *Replica) localQuery(q []byte, done Completion) *QueryJob {
	local := query{query: q, done: done}
	return &QueryJob{
		a: r.apply, queries: []query{local}, bytes: local.size(), counted: [2]*Bound{&r.bounds.inbox, &r.shared.bounds.inbox},
	}
}

// QueryLocal is SubmitLocal for a caller that waits, the short form of Query with raft.Stale. Its answer may be stale.
func (s *Server) QueryLocal(ctx context.Context, group raft.GroupID, q []byte) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, notSent(ctx)
	}
	w := s.waiter()
	s.SubmitLocal(group, w.keep(ctx, q), w)
	return w.wait(ctx, ErrNotSent)
}

// local is the group that a local read is for, if it can serve one.
func (s *Server) local(id raft.GroupID, q []byte) (*group, error) {
	g := s.group(id)
	switch {
	case g == nil:
		return nil, fmt.Errorf("%w: %d", ErrNoGroup, id)
	case len(q) > s.options.CommandBytesMax:
		return nil, fmt.Errorf("%w: a query of %d bytes, and CommandBytesMax is %d", ErrTooLarge, len(q), s.options.CommandBytesMax)
	case g.replica.apply.progress.Load() == 0:
		return nil, fmt.Errorf("%w: group %d has applied nothing on this server", ErrNotReady, id)
	}
	return g, nil
}

// queryHere runs a confirmed query on the caller's goroutine.
func (g *group) queryHere(q []byte) (result []byte, err error) {
	var thrown error
	defer func() {
		if thrown != nil {
			g.inbox.stop(thrown)
			g.wake()
			err = fenced(thrown)
		}
	}()
	defer guard(func() string { return "query" }, &thrown)
	return g.replica.apply.query(q)
}

// Barrier returns when this server has applied everything that a query of that consistency would have to reflect; without one,
// everything that was answered before Barrier was called. The errors are those of Query.
func (s *Server) Barrier(ctx context.Context, group raft.GroupID, consistency ...Consistency) error {
	if ctx.Err() != nil {
		return notSent(ctx)
	}
	w := s.waiter()
	s.SubmitBarrier(group, w, consistency...)
	_, err := w.wait(ctx, ErrNotSent)
	return err
}

// SubmitBarrier is Barrier for a caller that does not wait.
func (s *Server) SubmitBarrier(group raft.GroupID, done Completion, consistency ...Consistency) {
	c, err := oneConsistency(consistency)
	if err != nil {
		done.Complete(nil, err)
		return
	}
	s.submitQuery(group, query{consistency: c, confirm: true, done: done})
}

// OpenSession opens a session and returns its id.
func (s *Server) OpenSession(ctx context.Context, group raft.GroupID) (uint64, error) {
	if ctx.Err() != nil {
		return 0, notSent(ctx)
	}
	w := s.waiter()
	s.Submit(Proposal{Group: group, Kind: raft.KindSession}, w)
	result, err := w.wait(ctx, ErrUnknown)
	if err != nil {
		return 0, err
	}
	return SessionID(result)
}

// SessionID reads the result of a proposal that opened a session.
func SessionID(result []byte) (uint64, error) { return wire.DecodeSessionID(result) }

// KeepSession uses a session and does nothing else, so that it does not expire.
func (s *Server) KeepSession(ctx context.Context, group raft.GroupID, session uint64) error {
	if ctx.Err() != nil {
		return notSent(ctx)
	}
	w := s.waiter()
	s.Submit(Proposal{Group: group, Kind: raft.KindSession, Session: session, Keep: true}, w)
	_, err := w.wait(ctx, ErrUnknown)
	return err
}

// CloseSession ends a session. Ending one that has ended is no error.
func (s *Server) CloseSession(ctx context.Context, group raft.GroupID, session uint64) error {
	if ctx.Err() != nil {
		return notSent(ctx)
	}
	if session == 0 {
		return fmt.Errorf("%w: 0 is no session", ErrMalformed)
	}
	w := s.waiter()
	s.Submit(Proposal{Group: group, Kind: raft.KindSession, Session: session}, w)
	_, err := w.wait(ctx, ErrUnknown)
	return err
}

// TakeSnapshot takes a snapshot of this server's replica, leader or not, and returns when its pointer is durable. It
// returns at once if the newest snapshot covers everything that was applied.
func (s *Server) TakeSnapshot(ctx context.Context, group raft.GroupID) error {
	g := s.group(group)
	switch {
	case ctx.Err() != nil:
		return notSent(ctx)
	case g == nil:
		return fmt.Errorf("%w: %d", ErrNoGroup, group)
	}
	w := s.waiter()
	if err := g.inbox.snapshot(w); err != nil {
		w.Complete(nil, err)
	}
	g.wake()
	_, err := w.wait(ctx, nil)
	return err
}
