package seglog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/raft"
)

// numbersLeftOut is how many save numbers Open leaves out: a crash may have torn off one save, or the two batches of a new segment.
const numbersLeftOut = 3

// recovery finds out what a store holds.
type recovery struct {
	log     *Log
	headers map[*segment]header
	seals   map[*segment][]byte // of all but the newest, as they stand
	useless []string            // paths of files that belong to no segment of the log

	last      []byte // the newest batch, as it stands
	lastBegin int64
	number    uint64
}

// recover reads the store and makes its end durable. The caller holds writer.
func (l *Log) recover() error {
	r := &recovery{log: l, headers: make(map[*segment]header), seals: make(map[*segment][]byte)}
	numbers, spare, err := l.list()
	if err != nil {
		return err
	}
	if err := r.chain(numbers); err != nil {
		for seg := range r.headers {
			err = errors.Join(err, seg.close())
		}
		return err
	}
	l.mu.Lock()
	err = r.read()
	if err == nil {
		err = r.check()
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if err := r.finish(); err != nil {
		return err
	}
	for _, path := range r.useless {
		l.remove(path)
	}
	l.spares = newSpares(l, spare)
	if head := l.head(); head.used >= int64(l.options.SegmentBytes)/2 {
		l.spares.wake()
	}
	return l.retire()
}

// list returns the numbers of the segments, rising, and the names of what may become one.
func (l *Log) list() (numbers []uint64, spare []string, err error) {
	names, err := l.fs.List(l.segments)
	if isNotExist(err) {
		return nil, nil, l.damaged("%w", err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("seglog: %s: %w", l.segments, err)
	}
	for _, name := range names {
		if number, ok := parseSegmentName(name); ok {
			numbers = append(numbers, number)
		} else if strings.HasSuffix(name, spareSuffix) || strings.HasSuffix(name, spareSuffix+unfinishedSuffix) {
			spare = append(spare, name)
		}
	}
	slices.Sort(numbers)
	return numbers, spare, nil
}

// chain finds the newest segment and those before it that follow one another, each named by the seal of the one before. The
// newest file is of no segment yet if the one before it has no seal that names it.
func (r *recovery) chain(numbers []uint64) error {
	l := r.log
	n := len(numbers)
	if n == 0 {
		return l.damaged("there is no segment")
	}
	before := func() bool { return n > 1 && numbers[n-2] == numbers[n-1]-1 }
	top, err := r.open(numbers[n-1])
	switch {
	case errors.Is(err, errNoHeader) && before():
		if err := r.setAside(top); err != nil {
			return err
		}
		n--
		top, err = r.open(numbers[n-1])
	case err == nil && before():
		below, belowErr := r.open(numbers[n-2])
		if belowErr != nil {
			top, err = below, belowErr
			break
		}
		if sealErr := r.readSeal(below, top); sealErr != nil {
			if !errors.Is(sealErr, persistentlog.ErrDamaged) {
				return sealErr
			}
			if err := r.unsealed(top, sealErr); err != nil {
				return err
			}
			n--
			top = below
		}
	}
	if err != nil {
		return r.headerError(top, err)
	}
	l.files = []*segment{top}
	for ; before(); n-- {
		above := l.files[0]
		below, err := r.open(numbers[n-2])
		if err != nil {
			return r.headerError(below, err)
		}
		if err := r.readSeal(below, above); err != nil {
			return err
		}
		l.files = slices.Insert(l.files, 0, below)
	}
	for _, number := range numbers[:n-1] {
		r.useless = append(r.useless, l.fs.PathJoin(l.segments, segmentName(number)))
	}
	return nil
}

// open returns a segment with its header read; the error matches errNoHeader if it has none.
func (r *recovery) open(number uint64) (*segment, error) {
	l := r.log
	seg := &segment{number: number, path: l.fs.PathJoin(l.segments, segmentName(number))}
	for known := range r.headers {
		if known.number == number {
			return known, nil
		}
	}
	h, err := l.readHeader(seg)
	if err != nil {
		return seg, errors.Join(err, seg.close())
	}
	r.headers[seg] = h
	return seg, nil
}

func (r *recovery) headerError(seg *segment, err error) error {
	if errors.Is(err, errNoHeader) {
		return storedir.Damaged(seg.path, 0, 0, "offset 0: %w", err)
	}
	return err
}

// setAside says that a file is of no segment.
func (r *recovery) setAside(seg *segment) error {
	r.useless = append(r.useless, seg.path)
	delete(r.headers, seg)
	return seg.close()
}

// unsealed judges the newest file when the segment before it has no seal that reads. If the file holds saves, the seal was
// there. The error is nil if the file is of no segment yet.
func (r *recovery) unsealed(top *segment, sealErr error) error {
	file, err := top.reader(r.log.fs)
	if err != nil {
		return err
	}
	s, err := newScan(file, top.salt, headerSize)
	if err != nil {
		return err
	}
	_, _, err = s.next()
	if err == nil {
		if _, found, err := s.follower(); err != nil {
			return fmt.Errorf("seglog: %s: %w", top.path, err)
		} else if found {
			return sealErr
		}
		if _, _, err = s.next(); err == nil {
			return sealErr
		}
	}
	if !errors.Is(err, errNoBatch) && !errors.Is(err, errBadBatch) {
		return fmt.Errorf("seglog: %s: %w", top.path, err)
	}
	return r.setAside(top)
}

// readSeal reads the seal of a segment, which the header of the next one knows the place of.
func (r *recovery) readSeal(seg, next *segment) error {
	l, h := r.log, r.headers[next]
	wrong := func(err error) error {
		return storedir.Damaged(seg.path, 0, 0, "offset %d: the seal of the segment: %w", h.sealOffset, err)
	}
	if h.before != seg.number || h.sealSize > batchBytesMax || h.sealOffset > 1<<40 {
		return wrong(fmt.Errorf("the next segment says that it follows segment %d", h.before))
	}
	raw := make([]byte, h.sealSize)
	if err := l.readAt(seg, raw, int64(h.sealOffset)); isTooShort(err) {
		return wrong(err)
	} else if err != nil {
		return fmt.Errorf("seglog: %s: %w", seg.path, err) // of the disk, which may pass
	}
	b, err := parseBatch(raw, seg.salt, int64(h.sealOffset))
	if err != nil {
		return wrong(err)
	}
	it, _, err := splitItem(b.items)
	if err != nil || b.kind != batchSeal || it.kind != itemNext {
		return wrong(errors.Join(err, errBadBatch))
	}
	if named, err := it.numbers(2); err != nil || named[0] != next.number || named[1] != next.salt {
		return wrong(errors.Join(err, errors.New("it names another segment")))
	}
	r.seals[seg] = raw
	seg.used = int64(h.sealOffset) + int64(h.sealSize)
	return nil
}

// read reads the seals, the checkpoint and what follows it. The caller holds mu.
func (r *recovery) read() error {
	l := r.log
	for _, seg := range l.files[:len(l.files)-1] {
		if err := r.places(seg); err != nil {
			return err
		}
	}
	head := l.head()
	file, err := head.reader(l.fs)
	if err != nil {
		return fmt.Errorf("seglog: %s: %w", head.path, err)
	}
	s, err := newScan(file, head.salt, headerSize)
	if err != nil {
		return fmt.Errorf("seglog: %s: %w", head.path, err)
	}
	for {
		begin := s.at
		b, raw, err := s.next()
		if errors.Is(err, errNoBatch) && begin > headerSize {
			return r.end(s)
		}
		if err == nil {
			err = r.apply(b, begin, raw)
		}
		if errors.Is(err, errBadBatch) || errors.Is(err, errNoBatch) {
			return storedir.Damaged(head.path, 0, 0, "offset %d: %w", begin, err)
		}
		if err != nil {
			return fmt.Errorf("seglog: %s: offset %d: %w", head.path, begin, err)
		}
	}
}

// places adds what the seal of a segment lists.
func (r *recovery) places(seg *segment) error {
	raw := r.seals[seg]
	b, err := parseBatch(raw, seg.salt, seg.used-int64(len(raw)))
	if err == nil {
		err = b.each(func(it item, _ int) error {
			switch it.kind {
			case itemNext:
				return nil
			case itemPlaces, itemMovedPlace:
				return r.log.group(it.group).index.addPart(seg, it)
			}
			return fmt.Errorf("%w: item of kind %d in a seal", errBadBatch, it.kind)
		})
	}
	if err != nil {
		return storedir.Damaged(seg.path, 0, 0, "the seal of the segment: %w", err)
	}
	return nil
}

// group returns the group and makes one without a spine if need be.
func (l *Log) group(id raft.GroupID) *group {
	g := l.groups[id]
	if g == nil {
		g = new(group)
		l.groups[id] = g
	}
	return g
}

// apply takes one batch of the newest segment in.
func (r *recovery) apply(b batch, begin int64, raw []byte) error {
	l, head := r.log, r.log.head()
	switch {
	case (b.kind == batchCheckpoint) != (begin == headerSize):
		return fmt.Errorf("%w: batch of kind %d", errBadBatch, b.kind)
	case b.kind == batchSeal:
		return fmt.Errorf("%w: the segment is sealed and the next one is missing or does not read", errBadBatch)
	case b.number <= r.number:
		return fmt.Errorf("%w: save %d behind save %d", errBadBatch, b.number, r.number)
	}
	seen, sum := l.witness.Newest()
	if seen > r.number && r.number > 0 && seen < b.number && !l.witness.HasLost() {
		return l.witness.Lost(head.path, "save %d is missing between %d and %d", seen, r.number, b.number)
	} else if seen == b.number && sum != b.sum {
		return l.witness.Lost(head.path, "save %d is not the one that was acknowledged", seen)
	}
	var err error
	if b.kind == batchCheckpoint {
		err = l.restore(b)
		head.begin = begin + int64(b.size)
	} else {
		err = b.each(func(it item, offset int) error { return l.replay(head, it, uint32(begin)+uint32(offset)) })
	}
	r.number, r.lastBegin, r.last = b.number, begin, append(r.last[:0], raw...)
	head.used = begin + int64(b.size)
	return err
}

// end judges the place where no batch reads any more.
func (r *recovery) end(s *scan) error {
	head := r.log.head()
	at, found, err := s.follower()
	if err != nil {
		return fmt.Errorf("seglog: %s: %w", head.path, err)
	}
	if found {
		return storedir.Damaged(head.path, 0, 0, "offset %d: no batch reads, and one that was saved later begins at %d", s.at, at)
	}
	return r.judge()
}

// check compares borders and blocks of each group. The caller holds mu.
func (r *recovery) check() error {
	l := r.log
	for id, g := range l.groups {
		if g.spine == nil {
			g.index.clear() // its blocks were dropped when it was destroyed
			delete(l.groups, id)
			continue
		}
		first, next := g.spine.First(), g.spine.Next()
		spine, err := persistentlog.NewSpine(g.spine.State(raft.Block{}))
		if err != nil {
			return storedir.Damaged(l.segments, id, 0, "%w", err)
		}
		g.spine = spine
		g.index.clip(first, next)
		if at, err := g.index.check(first, next); err != nil {
			return storedir.Damaged(l.segments, id, at, "%w", err)
		}
	}
	return nil
}

// finish writes the newest batch again, and then an empty one behind it, and syncs each. A process that was killed, or whose sync
// failed, may have left the newest batch in the kernel's cache alone; all earlier ones had been synced. It must be durable before
// any vote or acknowledgement rests on it, and before anything stands behind it, which would vouch for it after a power cut that tore
// it. A sync of pages that the kernel takes for clean would prove nothing. So a store that cannot be written is known now, too.
func (r *recovery) finish() error {
	l, head := r.log, r.log.head()
	l.number.Store(r.number + numbersLeftOut)
	if n := len(l.files); n > 1 && head.used == head.begin {
		// The seal was written after the checkpoint was synced.
		seg := l.files[n-2]
		raw := r.seals[seg]
		if err := seg.openWrite(l.fs); err != nil {
			return fmt.Errorf("seglog: %s: %w", seg.path, err)
		}
		seg.used -= int64(len(raw))
		if err := l.append(seg, raw); err != nil {
			return err
		}
		seg.used += int64(len(raw))
	}
	if err := head.openWrite(l.fs); err != nil {
		return fmt.Errorf("seglog: %s: %w", head.path, err)
	}
	head.used = r.lastBegin
	if err := l.append(head, r.last); err != nil {
		return err
	}
	head.used += int64(len(r.last))
	b := beginBatch(nil)
	number := l.number.Load() + 1
	sum := sealBatch(b, head.salt, head.used, number, batchSave, 0)
	if err := l.append(head, b); err != nil {
		return err
	}
	head.used += int64(len(b))
	return l.acknowledge(number, sum)
}
