package server

import (
	"fmt"

	"github.com/oarlock/oarlock/internal/wire"
)

// commit has a durable machine execute the batch under way, in one transaction with what it changes of the sessions.
// Results are known only afterwards, so those that a session keeps are promised first and follow in a transaction of
// their own; a machine that is found between the two is restored from a snapshot (RestoreJob).
func (a *applier) commit() error {
	if a.through == a.index {
		return nil
	}
	a.results = append(a.results[:0], make([][]byte, len(a.entries))...)
	for _, c := range a.calls {
		if c.session != nil {
			a.changes.result(c.session.ID, wire.Result{Sequence: c.sequence, Code: codePromised})
		}
	}
	a.changes.put([]byte{keyApplied}, wire.AppendApplied(nil, a.at()))
	if err := a.transact(); err != nil {
		return err
	}
	for k, c := range a.calls {
		if c.session != nil {
			result, err := a.limited(a.results[k])
			if c.sequence < c.session.Floor {
				a.changes.dropResult(c.session.ID, c.sequence) // settle does not keep it
			}
			a.sessions.settle(c.session, c.sequence, result, err)
		}
	}
	calls, results := a.calls, a.results
	a.calls, a.entries, a.results = nil, a.entries[:0], nil
	if len(a.changes.records) > 0 {
		if err := a.transact(); err != nil {
			a.calls = calls
			return err
		}
	}
	a.results = results
	for k := range calls {
		a.applied.Add(1)
		if calls[k].done != nil {
			result, err := a.limited(results[k])
			calls[k].done.Complete(result, err)
		}
	}
	a.clearBatch(calls)
	a.came()
	return nil
}

// transact gives a durable machine the batch and the changes collected so far.
func (a *applier) transact() error {
	err := a.durable.ApplyDurable(a.entries, a.results, uint64(a.index), a.changes.latest())
	if err != nil {
		return fmt.Errorf("entries %d to %d: %w", a.through+1, a.index, err)
	}
	clear(a.changes.records)
	a.changes.records = a.changes.records[:0]
	return nil
}

// at is where the machine stands, as its snapshots and its records say it.
func (a *applier) at() wire.Applied {
	return wire.Applied{
		Index: uint64(a.index), Term: uint64(a.term), Time: a.time, Chain: a.chain,
		MembershipIndex: uint64(a.membership.Index), Membership: wire.AppendMembership(nil, a.membership.Membership),
	}
}
