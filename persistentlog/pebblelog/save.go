package pebblelog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/raft"
)

// Save writes all updates as one batch with one sync. Everything is validated before anything is written.
func (l *Log) Save(updates []persistentlog.Update) error {
	if len(updates) == 0 {
		return l.usable()
	}
	l.writer.Lock()
	defer l.writer.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	for _, u := range updates {
		if _, err := l.load(u.Group); err != nil {
			return err
		}
	}
	if err := l.validate(updates); err != nil {
		return err
	}
	if err := l.write(l.number.Load()+1, updates); err != nil {
		return err
	}
	l.saves.Add(1)
	for _, u := range updates {
		for _, b := range u.Blocks {
			l.savedBytes.Add(uint64(b.Size()))
		}
	}
	return nil
}

func (l *Log) validate(updates []persistentlog.Update) error {
	if err := storedir.CheckReadable(updates); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return persistentlog.Validate(updates, func(id raft.GroupID) *persistentlog.Spine {
		if g := l.groups[id]; g != nil {
			return g.spine
		}
		return nil
	})
}

// usable returns the reason why nothing can be done any more.
func (l *Log) usable() error {
	if l.closed.Load() {
		return fmt.Errorf("%w: %s", persistentlog.ErrClosed, l.dir)
	}
	return l.fence.Check()
}

// write makes one batch of the noted compactions and the updates, which have been validated, and syncs it. The caller
// holds writer.
//
// The spines change before the batch is durable. If it never is, the fence is up and nobody asks them again.
func (l *Log) write(number uint64, updates []persistentlog.Update) error {
	l.batch.Reset()
	return l.finish(number, l.build(l.batch, number, updates))
}

// finish commits the batch, which took the number, unless building it failed. The caller holds writer.
func (l *Log) finish(number uint64, built error) error {
	if built != nil {
		// Nothing was written, but the spines are ahead of the database now.
		l.fence.Fail("build a batch for", l.dir, built)
	} else if err := commitBatch(l.batch); err != nil {
		l.fence.Fail("commit to", l.dir, err)
	}
	// Pebble reports success after a failed sync when its logger did not end the process. Only the fence knows.
	if err := l.fence.Check(); err != nil {
		return err
	}
	if err := errors.Join(l.witness.Note(number, l.salt), l.fs.used.noted()); err != nil {
		l.fence.Fail("note in", l.witness.Path(), err)
	}
	if err := l.fence.Check(); err != nil {
		return err
	}
	l.number.Store(number)
	return nil
}

// commitBatch commits and syncs. A panic of Pebble becomes an error; the database is not used any more then.
func commitBatch(batch *pebble.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("pebble panicked: %v", r)
		}
	}()
	return batch.Commit(pebble.Sync)
}

func (l *Log) build(batch *pebble.Batch, number uint64, updates []persistentlog.Update) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.beginBatch(batch, number); err != nil {
		return err
	}
	for id, c := range l.compacted {
		if err := appendCompaction(batch, id, l.groups[id], c); err != nil {
			return err
		}
		delete(l.compacted, id)
	}
	for _, u := range updates {
		g := l.groups[u.Group]
		if g == nil {
			g = &group{spine: new(persistentlog.Spine)}
			l.groups[u.Group] = g
		}
		if err := appendUpdate(batch, g, u); err != nil {
			return err
		}
	}
	return nil
}

// beginBatch lays down what every batch of a store begins with: the salt, which stands in the write-ahead log alone, and its save number.
func (l *Log) beginBatch(batch *pebble.Batch, number uint64) error {
	if err := batch.LogData(binary.LittleEndian.AppendUint32(make([]byte, 0, 4), l.salt), nil); err != nil {
		return err
	}
	return mergeSaves(batch, l.number.Load(), number)
}

// appendUpdate lays one update into the batch and carries it out on the group's spine.
func appendUpdate(batch *pebble.Batch, g *group, u persistentlog.Update) error {
	if err := appendRecords(batch, g, u); err != nil {
		return err
	}
	if err := appendTruncation(batch, g.spine, u); err != nil {
		return err
	}
	for _, b := range u.Blocks {
		if err := appendBlock(batch, b); err != nil {
			return err
		}
	}
	g.spine.Apply(u)
	if len(u.Blocks) > 0 {
		// Runs from here on are new: those that stood here before were truncated.
		from := u.Blocks[0].First()
		trail := g.spine.Trail()
		for i := len(trail) - 1; i >= 0 && trail[i].First >= from; i-- {
			if err := setRun(batch, u.Group, trail[i]); err != nil {
				return err
			}
		}
	}
	return setLog(batch, u.Group, g)
}

func appendRecords(batch *pebble.Batch, g *group, u persistentlog.Update) error {
	var errs [3]error
	if u.Hard != nil {
		errs[0] = setSealed(batch, makeKey(u.Group, kindHard, 0), wire.AppendHardState(make([]byte, 0, 32), *u.Hard))
		g.has |= hasHard
	}
	if u.Birth != nil {
		errs[1] = setSealed(batch, makeKey(u.Group, kindBirth, 0), wire.AppendBirth(nil, *u.Birth))
		g.has |= hasBirth
	}
	if u.Snapshot != nil {
		errs[2] = setSealed(batch, makeKey(u.Group, kindSnapshot, 0), wire.AppendSnapshotMeta(nil, *u.Snapshot))
		g.has |= hasSnapshot
	}
	return errors.Join(errs[:]...)
}

// appendTruncation deletes what the update replaces: the whole log for an installed snapshot, else what stands from the
// first block's index on. A block that the new first one cuts into stays as it is and is read up to there.
func appendTruncation(batch *pebble.Batch, s *persistentlog.Spine, u persistentlog.Update) error {
	if u.Installed {
		from, to := makeKey(u.Group, kindRun, 0), makeKey(u.Group, kindBlock+1, 0)
		return batch.DeleteRange(from[:], to[:], nil)
	}
	if len(u.Blocks) == 0 || u.Blocks[0].First() >= s.Next() {
		return nil
	}
	at := u.Blocks[0].First()
	from, to := makeKey(u.Group, kindBlock, at), makeKey(u.Group, kindBlock, s.Next())
	if err := batch.DeleteRange(from[:], to[:], nil); err != nil {
		return err
	}
	for _, run := range s.Trail() {
		if k := makeKey(u.Group, kindRun, run.First); run.First >= at {
			if err := batch.Delete(k[:], nil); err != nil {
				return err
			}
		}
	}
	for _, b := range s.Memberships() {
		if k := makeKey(u.Group, kindMembership, b.First()); b.First() >= at {
			if err := batch.Delete(k[:], nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendBlock lays the block's bytes straight into the batch.
func appendBlock(batch *pebble.Batch, b raft.Block) error {
	if err := setBytes(batch, makeKey(b.Group(), kindBlock, b.First()), b.Bytes()); err != nil {
		return err
	}
	if b.Kind() == raft.KindMembership {
		return setBytes(batch, makeKey(b.Group(), kindMembership, b.First()), b.Bytes())
	}
	return nil
}

func setRun(batch *pebble.Batch, group raft.GroupID, run raft.TermRun) error {
	var buf [9 + sealSize]byte
	return setSealed(batch, makeKey(group, kindRun, run.First), appendUint64(buf[:0], uint64(run.Term)))
}

func setLog(batch *pebble.Batch, id raft.GroupID, g *group) error {
	var buf [logRecordSize + sealSize]byte
	record := logRecord{
		first: g.spine.First(), next: g.spine.Next(), commit: g.spine.Commit(), has: g.has,
		runs: uint64(len(g.spine.Trail())), memberships: uint64(len(g.spine.Memberships())),
	}
	return setSealed(batch, makeKey(id, kindLog, 0), record.append(buf[:0]))
}

func setSealed(batch *pebble.Batch, k key, record []byte) error {
	return setBytes(batch, k, seal(k, record))
}

func setBytes(batch *pebble.Batch, k key, value []byte) error {
	op := batch.SetDeferred(len(k), len(value))
	copy(op.Key, k[:])
	copy(op.Value, value)
	return op.Finish()
}
