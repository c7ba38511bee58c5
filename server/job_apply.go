package server

import (
	"errors"
	"fmt"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// ApplyJob executes a committed range of the log with its waiters, who are answered from here without a way back
// through the replica. It comes after every earlier job of the apply lane and may overlap the save of the very entries
// it executes, unless the machine is durable.
type ApplyJob struct {
	outcome
	a        *applier
	log      persistentlog.PersistentLog
	birth    *raft.Birth
	from, to raft.Index // half open
	blocks   []chained  // what the tail held of it; none: it is read from the log
	waiters  []waiting  // those not answered yet: the rest of waitersKept
	bytes    int64      // of blocks held

	waitersKept []waiting // to be used again

	next    raft.Index // where it stands
	applied int64      // bytes executed
	gone    bool       // its entries are not in the log any more: an installed snapshot covers them
	due     int64
	hasDue  bool
}

// applyReadBytes is how much one step reads from the log.
const applyReadBytes = 1 << 20

// Lane implements Job.
func (j *ApplyJob) Lane() Lane { return LaneApply }

// Step implements Job. A step executes what the tail held, or reads and executes about a MiB.
func (j *ApplyJob) Step() (done bool) {
	done = true
	if j.a.answering != nil {
		j.a.answering(true)
		defer j.a.answering(false)
	}
	defer func() {
		if j.err != nil {
			j.a.giveUp(fenced(j.err)) // a batch is never left under way between steps
			j.giveUp(fenced(j.err))
		}
	}()
	defer guard(func() string { return fmt.Sprintf("apply entries %d to %d", j.a.through+1, j.a.index) }, &j.err)
	j.a.begin(j.birth)
	done, j.err = j.step()
	if j.err == nil {
		j.err = j.a.flush()
	}
	done = done || j.err != nil
	if done && j.err == nil {
		j.due, j.hasDue = j.a.nextDue()
		j.giveUp(nil) // those whose entries a restore in between has covered
	}
	return done
}

func (j *ApplyJob) step() (done bool, err error) {
	if len(j.blocks) > 0 {
		for i := range j.blocks {
			if err := j.block(j.blocks[i].block, j.blocks[i].after); err != nil {
				return true, err
			}
		}
		return true, nil
	}
	from := max(j.next, j.from, j.a.index+1)
	if from >= j.to {
		return true, nil
	}
	blocks, err := j.log.Blocks(j.a.group, from, j.to, applyReadBytes)
	if errors.Is(err, persistentlog.ErrCompacted) {
		j.gone = true
		j.giveUp(nil)
		return true, nil
	}
	if err != nil {
		return true, fmt.Errorf("read entries from %d: %w", from, err)
	}
	for _, b := range blocks {
		if err := j.block(b, b.ChainAfter()); err != nil {
			return true, err
		}
	}
	return j.next >= j.to, nil
}

func (j *ApplyJob) block(b raft.Block, after uint64) error {
	if b.Next() <= j.a.index+1 {
		j.next = b.Next()
		return nil // a restore came in between and covers it
	}
	if err := j.a.apply(b, after, j.to, &j.waiters); err != nil {
		return err
	}
	j.next = min(b.Next(), j.to)
	j.applied += int64(b.Size())
	return nil
}

// Drop implements Job.
func (j *ApplyJob) Drop(why error) {
	j.err = why
	j.giveUp(why)
}

// giveUp answers everybody who still waits: their commands are committed, and whether this machine will have executed
// them does not matter any more.
func (j *ApplyJob) giveUp(why error) {
	for _, w := range j.waiters {
		lastWord(w.done, unknown(why))
	}
	j.waiters = nil
}

// QueryJob answers reads that need wait for nothing more than for their turn in the apply lane.
type QueryJob struct {
	outcome
	a       *applier
	index   raft.Index // what they have to see
	queries []query
	memory  []query   // to be used again
	bytes   int64     // what the queries count as until they are answered,
	counted [2]*Bound // and where: they are given back at once, because no turn need follow
}

// Lane implements Job.
func (j *QueryJob) Lane() Lane { return LaneApply }

// Step implements Job.
func (j *QueryJob) Step() (done bool) {
	done = true
	if j.a.answering != nil {
		j.a.answering(true)
		defer j.a.answering(false)
	}
	defer j.release()
	defer func() {
		if j.err != nil {
			j.Drop(j.err)
		}
	}()
	defer guard(func() string { return fmt.Sprintf("query after entry %d", j.a.index) }, &j.err)
	for len(j.queries) > 0 {
		q := &j.queries[0]
		var result []byte
		var err error
		switch {
		case j.a.through < j.index:
			err = behind(j.index, j.a.through) // a snapshot has taken the place of entries that were to be applied before, and is yet to be restored
		case !q.confirm:
			result, err = j.a.query(q.query)
		}
		done := q.done
		j.queries = j.queries[1:]
		complete(done, j.a.through, result, err)
	}
	j.queries = nil
	return done
}

// Drop implements Job.
func (j *QueryJob) Drop(why error) {
	j.err = why
	defer j.release()
	for _, q := range j.queries {
		lastWord(q.done, fenced(why))
	}
	j.queries = nil
}

func (j *QueryJob) release() {
	for _, b := range j.counted {
		b.add(-j.bytes)
	}
	j.bytes = 0
}

// fenced says that a replica has stopped, and why.
func fenced(why error) error {
	if why == nil || errors.Is(why, ErrClosed) || errors.Is(why, ErrFenced) {
		return why
	}
	return fmt.Errorf("%w: %w", ErrFenced, why)
}
