package server

import (
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/statemachine"
)

// durableBatch is what a durable machine's transaction under way has told so far.
type durableBatch struct {
	collect func() []statemachine.Record // applier.collect, once for all calls
	asked   bool                         // the machine has asked for the changes
	records []statemachine.Record        // what it was given
	answers []answer                     // what each command's waiter is told
}

// errNotAsked is what a machine is stopped for that keeps its state and not the records of the same index.
var errNotAsked = errors.New("ApplyDurable returned without having called changes, so state and records are of different indexes")

// commit has a durable machine execute the batch under way, in one transaction with all that it changes of the server's
// own state: where the machine stands, the sessions, and the results that they keep of this very batch.
func (a *applier) commit() error {
	if a.through == a.index {
		return nil
	}
	a.results = append(a.results[:0], make([][]byte, len(a.entries))...)
	a.batch.asked = false
	err := a.durable.ApplyDurable(a.entries, a.results, uint64(a.index), a.batch.collect)
	if err == nil && !a.batch.asked {
		err = errNotAsked
	}
	if err != nil {
		return fmt.Errorf("entries %d to %d: %w", a.through+1, a.index, err)
	}
	clear(a.changes.records)
	a.changes.records, a.batch.records = a.changes.records[:0], nil
	calls := a.calls
	for k := range calls {
		a.calls = calls[k+1:] // everybody is answered once, even if a waiter panics
		a.applied.Add(1)
		if done := calls[k].done; done != nil {
			complete(done, calls[k].index, a.batch.answers[k].result, a.batch.answers[k].err)
		}
	}
	clear(a.batch.answers)
	a.clearBatch(calls)
	a.came()
	return nil
}

// collect is what the machine calls once the results are there: it settles the batch's commands in their sessions and
// returns every record that is another one now. A machine that asks again gets the same answer.
func (a *applier) collect() []statemachine.Record {
	b := &a.batch
	if b.asked {
		return b.records
	}
	b.asked, b.answers = true, b.answers[:0]
	for k, c := range a.calls {
		result, err := a.limited(a.results[k])
		b.answers = append(b.answers, answer{result, err})
		if c.session != nil {
			a.sessions.settle(c.session, c.sequence, result, err)
		}
	}
	a.changes.put([]byte{keyApplied}, wire.AppendApplied(nil, a.at()))
	b.records = a.changes.latest()
	return b.records
}

// at is where the machine stands, as its snapshots and its records say it.
func (a *applier) at() wire.Applied {
	return wire.Applied{
		Index: uint64(a.index), Term: uint64(a.term), Time: a.time, Chain: a.chain,
		MembershipIndex: uint64(a.membership.Index), Membership: wire.AppendMembership(nil, a.membership.Membership),
	}
}
