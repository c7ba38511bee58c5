package pebblelog

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Groups returns the groups of the store in ascending order.
func (l *Log) Groups() (groups []raft.GroupID, err error) {
	l.writer.Lock() // a batch under way is visible before it is durable
	defer l.writer.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	from := makeKey(1, 0, 0)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: from[:]})
	if err != nil {
		return nil, l.readError(0, 0, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for valid := it.First(); valid; {
		id, _, _, ok := parseKey(it.Key())
		if !ok || id == 0 {
			return nil, l.damaged(0, 0, "key %x belongs to no group", it.Key())
		}
		groups = append(groups, id)
		end := groupEnd(id)
		if end == nil {
			break
		}
		valid = it.SeekGE(end)
	}
	if err := it.Error(); err != nil {
		return nil, l.readError(0, 0, err)
	}
	return groups, nil
}

// Load reads a group: its small records and its last block.
func (l *Log) Load(id raft.GroupID) (persistentlog.State, error) {
	l.writer.Lock() // a batch under way is visible before it is durable
	defer l.writer.Unlock()
	if err := l.usable(); err != nil {
		return persistentlog.State{}, err
	}
	stored, err := l.readGroup(id)
	if err != nil {
		return persistentlog.State{}, err
	}
	if stored.spine == nil {
		return persistentlog.State{First: 1, Next: 1, Hard: raft.HardState{Lost: l.lost}}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[id]
	if g == nil {
		g = &group{spine: stored.spine, has: stored.has}
		l.groups[id] = g
	}
	// What Compact has dropped and no batch has taken along yet is gone all the same.
	state := g.spine.State(stored.last)
	state.Hard.Lost = state.Hard.Lost || l.lost
	return state, nil
}

// load returns the group, from the database if need be, and nil if it was never saved. The caller holds writer.
func (l *Log) load(id raft.GroupID) (*group, error) {
	l.mu.Lock()
	g := l.groups[id]
	l.mu.Unlock()
	if g != nil || id == 0 {
		return g, nil
	}
	stored, err := l.readGroup(id)
	if err != nil || stored.spine == nil {
		return nil, err
	}
	g = &group{spine: stored.spine, has: stored.has}
	l.mu.Lock()
	l.groups[id] = g
	l.mu.Unlock()
	return g, nil
}

// storedGroup is a group as the database has it; spine is nil if it has none.
type storedGroup struct {
	spine *persistentlog.Spine
	has   uint64
	last  raft.Block
}

// groupReader reads one group at one moment in the life of the database.
type groupReader struct {
	log *Log
	id  raft.GroupID
	it  *pebble.Iterator
}

func (l *Log) reader(id raft.GroupID) (*groupReader, error) {
	from := makeKey(id, 0, 0)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: from[:], UpperBound: groupEnd(id)})
	if err != nil {
		return nil, l.readError(id, 0, err)
	}
	return &groupReader{log: l, id: id, it: it}, nil
}

func (r *groupReader) close(err *error) { *err = errors.Join(*err, r.it.Close()) }

// at returns the kind and index of the record that the iterator stands on; ok is false where it stands on none of that kind.
func (r *groupReader) at(want kind) (raft.Index, bool) {
	if !r.it.Valid() {
		return 0, false
	}
	_, k, index, ok := parseKey(r.it.Key())
	return index, ok && k == want
}

// small returns the record without its checksum; found is false where there is none.
func (r *groupReader) small(k kind) (record []byte, found bool, err error) {
	at := makeKey(r.id, k, 0)
	r.it.SeekGE(at[:])
	if !r.it.Valid() || !bytes.Equal(r.it.Key(), at[:]) {
		return nil, false, r.failed(0)
	}
	record, err = r.value(0)
	return record, err == nil, err
}

// value returns the sealed record that the iterator stands on.
func (r *groupReader) value(index raft.Index) ([]byte, error) {
	value, err := r.it.ValueAndErr()
	if err != nil {
		return nil, r.log.readError(r.id, index, err)
	}
	record, err := unseal(r.it.Key(), value)
	if err != nil {
		return nil, r.log.damaged(r.id, index, "record of kind %#x: %w", r.it.Key()[8], err)
	}
	return record, nil
}

// failed returns the error that ended the iteration, if one did.
func (r *groupReader) failed(index raft.Index) error {
	if err := r.it.Error(); err != nil {
		return r.log.readError(r.id, index, err)
	}
	return nil
}

func (r *groupReader) logRecord() (record logRecord, found bool, err error) {
	b, found, err := r.small(kindLog)
	if err != nil || !found {
		return logRecord{}, false, err
	}
	record, err = parseLogRecord(b)
	if err != nil {
		return logRecord{}, false, r.log.damaged(r.id, 0, "%w", err)
	}
	return record, true, nil
}

// readGroup reads and checks everything of a group but its blocks, and the last of those.
func (l *Log) readGroup(id raft.GroupID) (stored storedGroup, err error) {
	r, err := l.reader(id)
	if err != nil {
		return storedGroup{}, err
	}
	defer r.close(&err)
	record, found, err := r.logRecord()
	if err != nil {
		return storedGroup{}, err
	}
	if !found {
		if r.it.First() {
			return storedGroup{}, l.damaged(id, 0, "there are records and none that says where the log begins and ends")
		}
		return storedGroup{}, r.failed(0)
	}
	state := persistentlog.State{First: record.first, Next: record.next, Commit: record.commit}
	if err := r.records(&state, record.has); err != nil {
		return storedGroup{}, err
	}
	if state.Trail, err = r.runs(record.first, record.next); err != nil {
		return storedGroup{}, err
	}
	if state.Memberships, err = r.memberships(); err != nil {
		return storedGroup{}, err
	}
	if uint64(len(state.Trail)) != record.runs || uint64(len(state.Memberships)) != record.memberships {
		return storedGroup{}, l.damaged(id, 0, "%d term runs and %d memberships, must be %d and %d",
			len(state.Trail), len(state.Memberships), record.runs, record.memberships)
	}
	stored.has = record.has
	if stored.spine, err = persistentlog.NewSpine(state); err != nil {
		return storedGroup{}, l.damaged(id, 0, "%w", err)
	}
	if record.first < record.next {
		stored.last, err = r.lastBlock(stored.spine)
	}
	return stored, err
}

// records reads hard state, birth and snapshot pointer, each of which must be there exactly if has says so.
func (r *groupReader) records(state *persistentlog.State, has uint64) error {
	for _, one := range []struct {
		kind   kind
		bit    uint64
		name   string
		decode func([]byte) error
	}{
		{kindHard, hasHard, "term and vote", func(b []byte) (err error) { state.Hard, err = wire.DecodeHardState(b); return }},
		{kindBirth, hasBirth, "birth", func(b []byte) (err error) { state.Birth, err = wire.DecodeBirth(b); return }},
		{kindSnapshot, hasSnapshot, "snapshot pointer", func(b []byte) (err error) { state.Snapshot, err = wire.DecodeSnapshotMeta(b); return }},
	} {
		record, found, err := r.small(one.kind)
		if err != nil {
			return err
		}
		if found != (has&one.bit != 0) {
			return r.log.damaged(r.id, 0, "%s: found %t, must be %t", one.name, found, !found)
		}
		if found {
			if err := one.decode(record); err != nil {
				return r.log.damaged(r.id, 0, "%s: %w", one.name, err)
			}
		}
	}
	return nil
}

// runs reads the trail of the range from up to to, from the run that holds from.
func (r *groupReader) runs(from, to raft.Index) (trail []raft.TermRun, err error) {
	if from == to {
		return nil, nil
	}
	seek := makeKey(r.id, kindRun, from+1)
	for valid := r.it.SeekLT(seek[:]); valid; valid = r.it.Next() {
		first, ok := r.at(kindRun)
		if !ok || first >= to {
			break
		}
		record, err := r.value(first)
		if err != nil {
			return nil, err
		}
		term, err := parseUint64(record)
		if err != nil {
			return nil, r.log.damaged(r.id, first, "term run: %w", err)
		}
		trail = append(trail, raft.TermRun{First: first, Term: raft.Term(term)})
	}
	if err := r.failed(from); err != nil {
		return nil, err
	}
	if len(trail) == 0 {
		return nil, r.log.damaged(r.id, from, "no term run holds the index")
	}
	return trail, nil
}

func (r *groupReader) memberships() (blocks []raft.Block, err error) {
	seek := makeKey(r.id, kindMembership, 0)
	for valid := r.it.SeekGE(seek[:]); valid; valid = r.it.Next() {
		index, ok := r.at(kindMembership)
		if !ok {
			break
		}
		b, err := r.block(index, nil)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, r.failed(0)
}

// block reads the block that the iterator stands on, into a copy of its own, and checks that it is what its key says.
// room, if it is not nil, gives the memory for the copy.
func (r *groupReader) block(index raft.Index, room func(size int) []byte) (raft.Block, error) {
	value, err := r.it.ValueAndErr()
	if err != nil {
		return raft.Block{}, r.log.readError(r.id, index, err)
	}
	r.log.readBytes.Add(uint64(len(value)))
	var record []byte
	if room == nil {
		record = bytes.Clone(value)
	} else {
		record = room(len(value))
		copy(record, value)
	}
	b, err := raft.ParseBlock(record)
	if err != nil {
		return raft.Block{}, r.log.damaged(r.id, index, "%w", err)
	}
	if b.Group() != r.id || b.First() != index {
		return raft.Block{}, r.log.damaged(r.id, index, "the block under this key is of group %d index %d", b.Group(), b.First())
	}
	return b, nil
}

// lastBlock reads the block at the log's end and compares it with the spine.
func (r *groupReader) lastBlock(s *persistentlog.Spine) (raft.Block, error) {
	end := makeKey(r.id, kindBlock+1, 0)
	r.it.SeekLT(end[:])
	index, ok := r.at(kindBlock)
	if !ok {
		if err := r.failed(s.Next() - 1); err != nil {
			return raft.Block{}, err
		}
		return raft.Block{}, r.log.damaged(r.id, s.Next()-1, "the log goes from %d to %d and there is no block", s.First(), s.Next())
	}
	b, err := r.block(index, nil)
	if err != nil {
		return raft.Block{}, err
	}
	if err := checkEnd(b, s); err != nil {
		return raft.Block{}, r.log.damaged(r.id, index, "%w", err)
	}
	return b, nil
}

func checkEnd(b raft.Block, s *persistentlog.Spine) error {
	if b.Next() != s.Next() {
		return fmt.Errorf("the last block ends before %d, and the log before %d", b.Next(), s.Next())
	}
	if first, last := s.TermAt(max(b.First(), s.First())), s.TermAt(b.Next()-1); first != b.Term() || last != b.Term() {
		return fmt.Errorf("the last block has term %d, and the trail terms %d to %d", b.Term(), first, last)
	}
	for _, m := range s.Memberships() {
		if m.Term() != s.TermAt(m.First()) {
			return fmt.Errorf("membership at %d has term %d, and the trail %d", m.First(), m.Term(), s.TermAt(m.First()))
		}
	}
	return nil
}
