package seglog

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// rotate ends the newest segment and begins another one. In this order, so that a crash between leaves the old one the
// newest: the new one's name, its header and checkpoint, then the old one's seal. The caller holds writer, and the batch
// under way has changed nothing yet.
func (l *Log) rotate() error {
	old := l.head()
	salt, err := drawSalt(l.options.Random)
	if err != nil {
		l.fence.Fail("draw", l.segments, err)
		return l.fence.Check()
	}
	seg := &segment{number: old.number + 1, salt: salt}
	seg.path = l.fs.PathJoin(l.segments, segmentName(seg.number))
	number := l.number.Load()
	l.mu.Lock()
	seal := l.buildSeal(old, seg, number+1)
	first := make([]byte, headerSize, 2*headerSize)
	header{
		number: seg.number, salt: salt, store: l.identity.Store,
		before: old.number, sealOffset: uint64(old.used), sealSize: uint32(len(seal)),
	}.put(first)
	first = l.buildCheckpoint(first, seg, number+2)
	l.mu.Unlock()

	if err := l.fence.Do("begin", seg.path, func() error { return l.spares.take(seg) }); err != nil {
		return err
	}
	err = l.fence.Do("write", seg.path, func() error {
		if _, err := seg.file.WriteAt(first, 0); err != nil {
			return err
		}
		return seg.file.Sync()
	})
	if err == nil {
		err = l.append(old, seal)
	}
	seg.begin, seg.used = int64(len(first)), int64(len(first))
	old.used += int64(len(seal))
	// It is listed in any case, so that Close finds its file.
	l.mu.Lock()
	l.files = append(l.files, seg)
	l.mu.Unlock()
	l.number.Store(number + 2)
	return err
}

// buildSeal lists where the live blocks of a segment stand. The caller holds mu.
func (l *Log) buildSeal(old, next *segment, number uint64) []byte {
	o := out{buf: beginBatch(nil)}
	var data [16]byte
	binary.BigEndian.PutUint64(data[:], next.number)
	binary.BigEndian.PutUint64(data[8:], next.salt)
	o.item(itemNext, 0, data[:])
	for _, id := range l.sorted() {
		parts := l.groups[id].index.parts
		for i := range parts {
			if parts[i].seg != old {
				continue
			}
			kind := itemPlaces
			if parts[i].moved {
				kind = itemMovedPlace
			}
			at := len(o.buf)
			o.buf = parts[i].appendTo(appendItem(o.buf, kind, id))
			o.end(at)
		}
	}
	o.buf = padBatch(o.buf, 0)
	sealBatch(o.buf, old.salt, old.used, number, batchSeal, o.items)
	return o.buf
}

// buildCheckpoint appends the small state of every group as the first batch of a segment. The caller holds mu.
func (l *Log) buildCheckpoint(buf []byte, seg *segment, number uint64) []byte {
	begin := len(buf)
	o := out{buf: beginBatch(buf)}
	for _, id := range l.sorted() {
		o.checkpoint(id, l.groups[id])
	}
	o.buf = padBatch(o.buf, begin)
	sealBatch(o.buf[begin:], seg.salt, int64(begin), number, batchCheckpoint, o.items)
	return o.buf
}

func (l *Log) sorted() []raft.GroupID { return slices.Sorted(maps.Keys(l.groups)) }

func (o *out) checkpoint(id raft.GroupID, g *group) {
	s := g.spine
	at := len(o.buf)
	o.buf = appendItem(o.buf, itemGroup, id)
	for _, v := range [...]raft.Index{s.First(), s.Next(), s.Commit()} {
		o.buf = binary.BigEndian.AppendUint64(o.buf, uint64(v))
	}
	o.end(at)
	o.item(itemHard, id, wire.AppendHardState(nil, s.Hard()))
	if birth := s.Birth(); len(birth.Membership.Voters) > 0 {
		o.item(itemBirth, id, wire.AppendBirth(nil, birth))
	}
	if snapshot := s.Snapshot(); snapshot.Index > 0 {
		o.item(itemTaken, id, wire.AppendSnapshotMeta(nil, snapshot))
	}
	if trail := s.Trail(); len(trail) > 0 {
		at := len(o.buf)
		o.buf = appendItem(o.buf, itemRuns, id)
		for _, run := range trail {
			o.buf = binary.BigEndian.AppendUint64(o.buf, uint64(run.First))
			o.buf = binary.BigEndian.AppendUint64(o.buf, uint64(run.Term))
		}
		o.end(at)
	}
	for _, b := range s.Memberships() {
		o.item(itemMembership, id, b.Bytes())
	}
}
