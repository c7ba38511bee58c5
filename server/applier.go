package server

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
)

// applier is a state machine with what has to move in step with it: the sessions, cluster time, the membership and the
// chain hash as of the last entry. It belongs to the apply lane; only queries of a ConcurrentQuerier and the counters
// are for others.
type applier struct {
	group      raft.GroupID
	machine    statemachine.StateMachine
	batcher    statemachine.BatchApplier
	scheduled  statemachine.Scheduled
	durable    statemachine.Durable
	concurrent bool

	sessions   *sessions
	index      raft.Index // the last entry taken; the machine has executed it once the batch is flushed
	term       raft.Term
	time       int64
	chain      uint64
	ahead      uint64 // the chain hash after the entry that is being taken
	membership raft.MembershipAt
	through    raft.Index // the last entry that the machine has executed

	// The batch under way, of a machine that takes batches.
	entries   []statemachine.Entry
	results   [][]byte
	calls     []call
	changes   changes
	answering func(begins bool) // is told when a step begins and when all that it answers is answered; nil: nobody wants to know
	batch     durableBatch      // of a durable machine

	// gate is held shared by queries that run beside applies, and alone by a restore.
	gate     sync.RWMutex
	broken   error         // why the machine is of no use: a restore failed half way; guarded by gate
	progress atomic.Uint64 // through, for those who look
	open     atomic.Int64  // sessions
	applied  atomic.Uint64 // commands executed
}

// call is a command of the batch under way: who asked, and which session keeps its result.
type call struct {
	index    raft.Index
	session  *session
	sequence uint64
	done     Completion
}

// waiting is who waits for the entry at an index.
type waiting struct {
	index raft.Index
	term  raft.Term
	done  Completion
}

// batchMax is how many commands one ApplyBatch is given at most.
const batchMax = 4096

func newApplier(group raft.GroupID, m statemachine.StateMachine) *applier {
	a := &applier{group: group, machine: m, sessions: newSessions(limitsWithDefaults(raft.GroupLimits{}))}
	a.batcher, _ = m.(statemachine.BatchApplier)
	a.scheduled, _ = m.(statemachine.Scheduled)
	_, a.concurrent = m.(statemachine.ConcurrentQuerier)
	if a.durable, _ = m.(statemachine.Durable); a.durable != nil {
		a.sessions.changes, a.batch.collect = &a.changes, a.collect
	}
	return a
}

// begin tells an applier that has nothing before the first entry how its group was born.
func (a *applier) begin(b *raft.Birth) {
	if b != nil && a.index == 0 {
		a.sessions.limits = limitsWithDefaults(b.Limits)
		a.membership = raft.MembershipAt{Membership: b.Membership}
	}
}

// apply executes the entries of one block up to, not including, index to. after is the chain hash behind the block.
// Waiters are taken off the front of w as their entries come.
func (a *applier) apply(b raft.Block, after uint64, to raft.Index, w *[]waiting) error {
	switch first := b.First(); {
	case first > a.index+1:
		return fmt.Errorf("entry %d is to be applied after %d: entries between them are missing", first, a.index)
	case first == a.index+1 && b.Chain() != a.chain:
		return fmt.Errorf("entry %d does not follow the entry before it: chain hash %016x, want %016x", first, b.Chain(), a.chain)
	case b.Time() < a.time || b.Term() < a.term:
		return fmt.Errorf("entry %d has term %d and time %d, after term %d and time %d", first, b.Term(), b.Time(), a.term, a.time)
	}
	i, from := b.First(), a.index+1
	for body := range b.Entries() {
		if i >= to {
			break
		}
		if i >= from {
			if a.durable != nil {
				a.ahead = raft.ChainNext(a.chain, b.Term(), b.Kind(), b.Time(), body)
			}
			if err := a.entry(b, i, body, a.waiter(w, b, i)); err != nil {
				return err
			}
		}
		i++
	}
	switch {
	case a.durable != nil:
	case i == b.Next():
		a.chain = after
	default:
		a.chain = b.Clip(b.First(), i).ChainAfter()
	}
	return nil
}

// took moves the applier to an entry. A durable machine may be brought to any entry and keeps the chain hash there; for
// the others the one at the end of the block will do.
func (a *applier) took(b raft.Block, i raft.Index) {
	a.index, a.term, a.time = i, b.Term(), b.Time()
	if a.durable != nil {
		a.chain = a.ahead
	}
}

// waiter takes who waits for entry i off the front of w. Who waits for an entry of another term waits for one that is
// not in the log any more.
func (a *applier) waiter(w *[]waiting, b raft.Block, i raft.Index) Completion {
	for len(*w) > 0 && (*w)[0].index <= i {
		head := (*w)[0]
		(*w)[0].done = nil
		*w = (*w)[1:]
		if head.index == i && head.term == b.Term() {
			return head.done
		}
		head.done.Complete(nil, errUnknownDeposed)
	}
	return nil
}

func (a *applier) entry(b raft.Block, i raft.Index, body []byte, done Completion) error {
	if due, ok := a.sessions.nextDue(); ok && due <= b.Time() {
		if err := a.flush(); err != nil {
			answerUnknown(done, err)
			return err
		}
		a.sessions.expire(b.Time())
	}
	switch b.Kind() {
	case raft.KindCommand:
		return a.command(b, i, body, done)
	case raft.KindSession:
		return a.sessionEntry(b, i, body, done)
	case raft.KindClock:
		return a.clock(b, i)
	case raft.KindMembership:
		m, err := wire.DecodeMembership(body)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		a.membership = raft.MembershipAt{Index: i, Membership: m}
	case raft.KindNoOp:
	default:
		// An entry that is not understood is never skipped: the other replicas may act on it.
		return fmt.Errorf("entry %d has kind %s, which this version does not know: upgrade this server", i, b.Kind())
	}
	a.took(b, i)
	return nil
}

func (a *applier) command(b raft.Block, i raft.Index, body []byte, done Completion) error {
	c, err := wire.DecodeCommand(body)
	if err != nil {
		answerUnknown(done, err)
		return fmt.Errorf("entry %d: %w", i, err)
	}
	var s *session
	if c.Session != 0 {
		if a.sessions.mustSettle(c) || len(a.entries) >= batchMax {
			if err := a.flush(); err != nil {
				answerUnknown(done, err)
				return err
			}
		}
		var kept *wire.Result
		s, kept, err = a.sessions.admit(c, i, b.Time())
		if err != nil || kept != nil {
			a.took(b, i)
			if done != nil {
				var result []byte
				if kept != nil {
					result, err = answerOf(kept)
				}
				complete(done, i, result, err)
			}
			return nil
		}
	}
	a.took(b, i)
	e := statemachine.Entry{Index: uint64(i), Term: uint64(b.Term()), Time: b.Time(), Command: c.Command}
	if a.batcher == nil && a.durable == nil {
		finish := call{index: i, session: s, sequence: c.Sequence, done: done}
		a.calls = append(a.calls, finish) // so that a panic leaves nobody waiting
		result := a.machine.Apply(e)
		a.calls = a.calls[:0]
		a.finish(finish, result)
		return nil
	}
	a.entries = append(a.entries, e)
	a.calls = append(a.calls, call{index: i, session: s, sequence: c.Sequence, done: done})
	if len(a.entries) >= batchMax {
		return a.flush()
	}
	return nil
}

// limited replaces a result that is longer than the group keeps by the error that says so, on every replica alike.
func (a *applier) limited(result []byte) ([]byte, error) {
	if len(result) > int(a.sessions.limits.ResultBytesMax) {
		return nil, ErrResultTooLarge
	}
	return result, nil
}

func (a *applier) finish(c call, result []byte) {
	result, err := a.limited(result)
	if c.session != nil {
		a.sessions.settle(c.session, c.sequence, result, err)
	}
	a.applied.Add(1)
	if c.done != nil {
		complete(c.done, c.index, result, err)
	}
}

// flush has the machine execute the batch under way, and brings a durable one to the last entry taken.
func (a *applier) flush() error {
	if a.durable != nil {
		return a.commit()
	}
	if n := len(a.entries); n > 0 {
		a.results = append(a.results[:0], make([][]byte, n)...)
		a.batcher.ApplyBatch(a.entries, a.results)
		calls := a.calls
		for k := range calls {
			a.calls = calls[k+1:] // everybody is answered once, even if a waiter panics
			a.finish(calls[k], a.results[k])
		}
		a.clearBatch(calls)
	}
	a.came()
	return nil
}

func (a *applier) clearBatch(calls []call) {
	clear(calls)
	clear(a.entries)
	clear(a.results)
	a.calls, a.entries, a.results = calls[:0], a.entries[:0], a.results[:0]
}

// giveUp answers those whose commands were in a batch that failed.
func (a *applier) giveUp(why error) {
	for _, c := range a.calls {
		if c.done != nil {
			lastWord(c.done, unknown(why))
		}
	}
	a.calls = nil
}

func (a *applier) came() {
	a.through = a.index
	a.progress.Store(uint64(a.index))
	a.open.Store(int64(len(a.sessions.byID)))
}

func (a *applier) sessionEntry(b raft.Block, i raft.Index, body []byte, done Completion) error {
	if err := a.flush(); err != nil {
		answerUnknown(done, err)
		return err
	}
	e, err := wire.DecodeSessionEntry(body)
	if err != nil {
		answerUnknown(done, err)
		return fmt.Errorf("entry %d: %w", i, err)
	}
	var result []byte
	var refused error
	switch e.Op {
	case wire.SessionOpen:
		result = wire.AppendSessionID(nil, a.sessions.open(i, b.Time()))
	case wire.SessionClose:
		a.sessions.close(e.Session)
	case wire.SessionKeep:
		refused = a.sessions.keep(e.Session, i, b.Time())
	}
	a.took(b, i)
	if done != nil {
		done.Complete(result, refused)
	}
	return nil
}

// clock executes what falls due at a clock entry. The sessions that do were ended before, by the entry's time.
func (a *applier) clock(b raft.Block, i raft.Index) error {
	if err := a.flush(); err != nil {
		return err
	}
	a.took(b, i)
	if a.scheduled == nil {
		return nil
	}
	a.scheduled.Expire(uint64(i), a.time)
	if due, ok := a.scheduled.NextDue(); ok && due <= a.time {
		return fmt.Errorf("entry %d: %w: due at %d, and cluster time is %d", i, statemachine.ErrStillDue, due, a.time)
	}
	if a.durable != nil { // what expired belongs to the transaction that follows at once
		return a.commit()
	}
	return nil
}

// nextDue is the earliest cluster time at which a session or something in the machine falls due.
func (a *applier) nextDue() (int64, bool) {
	due, ok := a.sessions.nextDue()
	if a.scheduled != nil {
		if d, has := a.scheduled.NextDue(); has && (!ok || d < due) {
			due, ok = d, true
		}
	}
	return due, ok
}

// query runs one query; the caller is on the apply lane, or the machine takes queries beside it.
func (a *applier) query(q []byte) ([]byte, error) {
	a.gate.RLock()
	defer a.gate.RUnlock()
	if a.broken != nil {
		return nil, fenced(a.broken)
	}
	result, err := a.machine.Query(q)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQuery, err)
	}
	if most := a.sessions.limits.ResultBytesMax; len(result) > int(most) {
		return nil, fmt.Errorf("%w: %d bytes, and the group gives %d", wire.ErrAnswerTooLarge, len(result), most)
	}
	return result, nil
}

// unusable returns why the machine must not be touched any more, nil while it may.
func (a *applier) unusable() error {
	a.gate.RLock()
	defer a.gate.RUnlock()
	return a.broken
}

func answerUnknown(done Completion, why error) {
	if done != nil {
		done.Complete(nil, unknown(why))
	}
}
