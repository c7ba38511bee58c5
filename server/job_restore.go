package server

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// RestoreJob brings the state machine to a snapshot: at the start of a replica, and after one was installed. It stands in
// the order of applies. At the start it falls back to an older snapshot, or to none, where the log continues that one
// without a gap.
type RestoreJob struct {
	outcome
	a         *applier
	log       persistentlog.PersistentLog
	snapshots persistentlog.Snapshots
	birth     *raft.Birth
	pointer   raft.SnapshotMeta // zero: there is none
	first     raft.Index        // at the start: the log's first entry
	next      raft.Index        // at the start: the log's end
	start     bool

	at      raft.Index // where the machine stands now
	lost    error      // the state cannot be had from this server; only the leader's snapshot helps
	damaged error      // the pointer's snapshot is damaged; an older one served
	due     int64
	hasDue  bool
}

// Lane implements Job.
func (j *RestoreJob) Lane() Lane { return LaneApply }

// Step implements Job.
func (j *RestoreJob) Step() (done bool) {
	done = true
	j.a.gate.Lock()
	defer j.a.gate.Unlock()
	defer func() {
		if j.err != nil && !errors.Is(j.err, errBeforeMachine) {
			j.a.broken = j.err // nobody sees the half of a state: not who stands behind this in the lane, nor who waits at the gate
		}
	}()
	defer guard(func() string { return fmt.Sprintf("restore at %d", j.pointer.Index) }, &j.err)
	if j.start {
		j.err = j.fromStart()
	} else {
		j.err = j.from(j.pointer)
	}
	if j.err == nil && j.lost == nil {
		j.at = j.a.index
		j.due, j.hasDue = j.a.nextDue()
	}
	return done
}

// Drop implements Job.
func (j *RestoreJob) Drop(why error) { j.err = why }

func (j *RestoreJob) fromStart() error {
	var kept *keptMachine
	if j.a.durable != nil {
		var err error
		if kept, err = j.loadMachine(); err != nil {
			return err
		}
		if kept != nil && kept.index >= j.pointer.Index {
			j.fromMachine(kept)
			return nil
		}
	}
	if j.pointer.IsZero() {
		j.a.begin(j.birth)
		if j.first > 1 {
			return fmt.Errorf("%w: the log begins at %d and no snapshot covers what was before", persistentlog.ErrDamaged, j.first)
		}
		return nil
	}
	err := j.from(j.pointer)
	if err == nil || !errors.Is(err, errBeforeMachine) {
		return err
	}
	j.damaged = err
	return j.fallBack(kept)
}

// fallBack looks for another place from which the log goes on without a gap: where a durable machine was found, an older
// snapshot, the very beginning.
func (j *RestoreJob) fallBack(kept *keptMachine) error {
	if kept != nil && kept.index+1 >= j.first {
		j.fromMachine(kept)
		return nil
	}
	older, listErr := j.snapshots.List(j.a.group)
	for _, meta := range older {
		if meta.Index >= j.pointer.Index || meta.Index+1 < j.first {
			continue
		}
		if err := j.from(meta); err == nil || !errors.Is(err, errBeforeMachine) {
			return err
		}
	}
	if j.first == 1 && kept == nil { // a durable machine is new
		j.a.begin(j.birth)
		return nil
	}
	j.lost = errors.Join(fmt.Errorf("snapshot at %d cannot be read, and the log begins at %d", j.pointer.Index, j.first), j.damaged, listErr)
	return nil
}

// errBeforeMachine marks a failure that came before the state machine was touched, so that another snapshot may be tried.
var errBeforeMachine = errors.New("snapshot is unusable")

// from restores the machine from one snapshot. The file is read and checked as a whole first, because a machine that was
// given half of a damaged one could not be used again.
func (j *RestoreJob) from(meta raft.SnapshotMeta) error {
	if err := verifySnapshot(j.snapshots, meta); err != nil {
		return fmt.Errorf("%w: at %d: %w", errBeforeMachine, meta.Index, err)
	}
	file, err := j.snapshots.Open(meta, 0)
	if err != nil {
		return fmt.Errorf("%w: at %d: %w", errBeforeMachine, meta.Index, err)
	}
	defer func() { _ = file.Close() }() // read only: a failure to close loses nothing
	r := bufio.NewReaderSize(file, snapshotBufferBytes)
	at, images, err := readStateRecords(r)
	if err != nil {
		return fmt.Errorf("%w: at %d: %w", errBeforeMachine, meta.Index, err)
	}
	if at.Index != uint64(meta.Index) || at.Term != uint64(meta.Term) {
		return fmt.Errorf("%w: its name says index %d, term %d, and its first record %d, %d", errBeforeMachine, meta.Index, meta.Term, at.Index, at.Term)
	}
	a := j.a
	if a.durable != nil {
		err = a.durable.RestoreDurable(r, uint64(meta.Index), recordsOf(at, images))
	} else {
		err = a.machine.Restore(r)
	}
	if err != nil {
		return fmt.Errorf("restore at %d: %w", meta.Index, err)
	}
	a.sessions.limits = limitsWithDefaults(meta.Limits)
	a.sessions.restore(images)
	a.index, a.term, a.time, a.chain = meta.Index, meta.Term, meta.Time, meta.Chain
	a.membership = raft.MembershipAt{Index: meta.MembershipIndex, Membership: meta.Membership}
	a.came()
	return nil
}

// keptMachine is what a durable machine was found with.
type keptMachine struct {
	index      raft.Index
	at         wire.Applied
	membership raft.Membership
	sessions   []sessionImage
}

// loadMachine asks a durable machine where it stands: nil where it is new.
func (j *RestoreJob) loadMachine() (*keptMachine, error) {
	index, records, err := j.a.durable.Load()
	if err != nil {
		return nil, fmt.Errorf("load the state machine: %w", err)
	}
	at, images, err := readRecords(records)
	switch end := max(j.next, j.pointer.Index+1); {
	case err != nil:
		return nil, fmt.Errorf("load the state machine: %w", err)
	case at.Index != index:
		return nil, fmt.Errorf("the state machine is at %d and its records are at %d: they were not kept in one transaction", index, at.Index)
	case raft.Index(index) >= end:
		return nil, fmt.Errorf("the state machine is at %d and the log ends at %d: its storage belongs to another log, or the log was put back to an older copy", index, end-1)
	case index == 0:
		return nil, nil
	}
	if err := j.follows(raft.Index(index), at); err != nil {
		return nil, err
	}
	m, err := wire.DecodeMembership(at.Membership)
	if err != nil {
		return nil, fmt.Errorf("load the state machine: %w", err)
	}
	return &keptMachine{index: raft.Index(index), at: at, membership: m, sessions: images}, nil
}

// follows looks whether a durable machine has come to where it is by this very log: an older copy of the log may be long enough and
// hold other entries at its end, which were replaced after it was made.
func (j *RestoreJob) follows(index raft.Index, at wire.Applied) error {
	term, chain := j.pointer.Term, j.pointer.Chain
	switch {
	case index >= j.first && index < j.next:
		blocks, err := j.log.Blocks(j.a.group, index, index+1, 1)
		if errors.Is(err, persistentlog.ErrCompacted) {
			return nil // so long did this take that a snapshot was installed, from which the machine is restored next
		}
		if err != nil {
			return fmt.Errorf("compare the state machine with the log: %w", err)
		}
		term, chain = blocks[0].Term(), blocks[0].ChainAfter()
	case index != j.pointer.Index:
		return nil // it lags behind the log's beginning, or what it had was compacted
	}
	if uint64(term) != at.Term || chain != at.Chain {
		return fmt.Errorf("the state machine is at %d with history %016x of term %d, and the log has %016x of term %d there: "+
			"its storage belongs to another log, or the log was put back to an older copy", index, at.Chain, at.Term, chain, term)
	}
	return nil
}

// fromMachine takes a durable machine at its word.
func (j *RestoreJob) fromMachine(kept *keptMachine) {
	a := j.a
	a.begin(j.birth)
	if !j.pointer.IsZero() {
		a.sessions.limits = limitsWithDefaults(j.pointer.Limits)
	}
	a.sessions.restore(kept.sessions)
	a.index, a.term, a.time, a.chain = kept.index, raft.Term(kept.at.Term), kept.at.Time, kept.at.Chain
	a.membership = raft.MembershipAt{Index: raft.Index(kept.at.MembershipIndex), Membership: kept.membership}
	a.came()
}
