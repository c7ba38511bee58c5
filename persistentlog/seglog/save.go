package seglog

import (
	"encoding/binary"
	"fmt"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/raft"
)

// outBytesKept is how large the buffer of a batch may stay.
const outBytesKept = 8 << 20

// out is the batch under way: what is written, and what is to be done once it is durable. The writer's.
type out struct {
	buf    []byte
	items  int
	cuts   []cut
	moved  []moved
	places []place // of the updates' blocks, in order; offsets are the batch's
}

// cut is the front of a group's log as the batch has it.
type cut struct {
	group *group
	first raft.Index
}

// moved is a block that the batch takes along from an older segment.
type moved struct {
	group *group
	first raft.Index
	at    place
}

func (o *out) reset() {
	if cap(o.buf) > outBytesKept {
		o.buf = nil
	}
	o.buf, o.items = beginBatch(o.buf[:0]), 0
	o.cuts, o.moved, o.places = o.cuts[:0], o.moved[:0], o.places[:0]
}

// item appends an item with these bytes.
func (o *out) item(kind itemKind, group raft.GroupID, data []byte) (offset int) {
	at := len(o.buf)
	o.buf = append(appendItem(o.buf, kind, group), data...)
	o.end(at)
	return at + itemHeaderSize
}

// number appends an item that is one number.
func (o *out) number(kind itemKind, group raft.GroupID, value uint64) {
	at := len(o.buf)
	o.buf = binary.BigEndian.AppendUint64(appendItem(o.buf, kind, group), value)
	o.end(at)
}

func (o *out) end(at int) {
	o.buf = endItem(o.buf, at)
	o.items++
}

// Save writes all updates as one batch: one write, one sync. Everything is validated before anything is written.
func (l *Log) Save(updates []persistentlog.Update) error {
	if len(updates) == 0 {
		return l.usable()
	}
	l.writer.Lock()
	defer l.writer.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if err := l.validate(updates); err != nil {
		return err
	}
	if err := l.write(updates); err != nil {
		return err
	}
	l.saves.Add(1)
	return nil
}

func (l *Log) validate(updates []persistentlog.Update) error {
	if err := storedir.CheckReadable(updates); err != nil {
		return err
	}
	bytes := 0
	for _, u := range updates {
		for _, b := range u.Blocks {
			bytes += b.Size()
		}
	}
	if bytes > batchBytesMax/2 {
		return fmt.Errorf("%w: %d bytes of blocks in one save, at most %d", persistentlog.ErrBadUpdate, bytes, batchBytesMax/2)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return persistentlog.Validate(updates, l.spineOf)
}

// write makes one batch of the noted compactions, the blocks that are to be taken along, and the updates, which have been
// validated, and puts them in force once it is durable. The caller holds writer.
func (l *Log) write(updates []persistentlog.Update) error {
	o := &l.out
	o.reset()
	l.addCompactions()
	l.addMoved(updates)
	for i := range updates {
		o.add(&updates[i])
	}
	at, err := l.commit()
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.settle(updates, uint32(at))
	l.mu.Unlock()
	return l.retire()
}

// add lays out one update, in the order in which Spine.Apply carries it out.
func (o *out) add(u *persistentlog.Update) {
	at := len(o.buf)
	if u.Hard != nil {
		o.buf = wire.AppendHardState(appendItem(o.buf, itemHard, u.Group), *u.Hard)
		o.end(at)
	}
	if u.Birth != nil {
		o.item(itemBirth, u.Group, wire.AppendBirth(nil, *u.Birth))
	}
	if u.Snapshot != nil {
		kind := itemTaken
		if u.Installed {
			kind = itemInstalled
		}
		o.item(kind, u.Group, wire.AppendSnapshotMeta(nil, *u.Snapshot))
	}
	for i := range u.Blocks {
		b := &u.Blocks[i]
		offset := o.item(itemBlock, u.Group, b.Bytes())
		o.places = append(o.places, place{count: uint32(b.Next() - b.First()), offset: uint32(offset), size: uint32(b.Size())})
	}
	if u.Commit != 0 {
		o.number(itemCommit, u.Group, uint64(u.Commit))
	}
	if len(o.buf) == at {
		o.item(itemNothing, u.Group, nil)
	}
}

// commit writes the batch under way to the newest segment and makes it durable; at is where it begins. After an error
// nothing is in force and the fence is up.
func (l *Log) commit() (at int64, err error) {
	o := &l.out
	o.buf = padBatch(o.buf, 0)
	size := int64(len(o.buf))
	head := l.head()
	if head.used+size > int64(l.options.SegmentBytes) && head.used > head.begin {
		if err := l.rotate(); err != nil {
			return 0, err
		}
		head = l.head()
	}
	number := l.number.Load() + 1
	sum := sealBatch(o.buf, head.salt, head.used, number, batchSave, o.items)
	if err := l.append(head, o.buf); err != nil {
		return 0, err
	}
	at = head.used
	head.used += size
	if half := int64(l.options.SegmentBytes) / 2; at < half && head.used >= half {
		l.spares.wake()
	}
	return at, l.acknowledge(number, sum)
}

// append writes to the end of a segment and syncs.
func (l *Log) append(seg *segment, b []byte) error {
	if l.fence.Down() {
		return l.fence.Check()
	}
	o := l.fence.Begin("write", seg.path)
	_, err := seg.file.WriteAt(b, seg.used)
	if err == nil {
		l.syncs.Add(1)
		err = seg.file.SyncData()
	}
	l.fence.End(o)
	if err != nil {
		l.fence.Fail("write or sync", seg.path, err)
		return l.fence.Check()
	}
	return nil
}

// acknowledge tells the witness that a save is durable.
func (l *Log) acknowledge(number uint64, sum uint32) error {
	if err := l.fence.Do("note in", l.witness.Path(), func() error { return l.witness.Note(number, sum) }); err != nil {
		return err
	}
	l.number.Store(number)
	return nil
}

// head is the segment that is written to.
func (l *Log) head() *segment { return l.files[len(l.files)-1] }

// settle puts in force what the batch at an offset of the newest segment says. The caller holds mu.
func (l *Log) settle(updates []persistentlog.Update, at uint32) {
	o, head := &l.out, l.head()
	for _, c := range o.cuts {
		c.group.cut(c.first)
	}
	for _, m := range o.moved {
		m.at.offset += at
		m.group.index.move(head, m.first, m.at)
		l.movedBytes.Add(uint64(m.at.size))
	}
	places := o.places
	for i := range updates {
		u := &updates[i]
		g := l.groups[u.Group]
		if g == nil {
			g = &group{spine: new(persistentlog.Spine)}
			l.groups[u.Group] = g
		}
		g.spine.Apply(*u)
		if u.Installed {
			g.index.clear()
		}
		for k := range u.Blocks {
			p := places[k]
			p.offset += at
			g.index.append(head, false, u.Blocks[k].First(), p)
			l.savedBytes.Add(uint64(p.size))
		}
		places = places[len(u.Blocks):]
	}
}

// cut drops the blocks before an index.
func (g *group) cut(first raft.Index) {
	if first == g.spine.Next() {
		g.index.clear()
		return
	}
	g.index.cut(first)
}

// Destroy forgets a group, durably.
func (l *Log) Destroy(id raft.GroupID) error {
	if id == 0 {
		return fmt.Errorf("%w: 0 is no group", persistentlog.ErrBadUpdate)
	}
	l.writer.Lock()
	defer l.writer.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	l.out.reset()
	l.out.item(itemDestroy, id, nil)
	if _, err := l.commit(); err != nil {
		return err
	}
	l.mu.Lock()
	if g := l.groups[id]; g != nil {
		g.index.clear()
		delete(l.groups, id)
	}
	l.mu.Unlock()
	return l.retire()
}
