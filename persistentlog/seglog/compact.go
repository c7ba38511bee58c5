package seglog

import (
	"fmt"
	"io"
	"slices"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Compact drops the front of a group's log, for readers at once and on disk with the next batch of any group, or with
// Close. So it costs no sync. A segment is used again when the batch that dropped its last block is durable.
func (l *Log) Compact(id raft.GroupID, through raft.Index) error {
	if err := l.usable(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[id]
	if g == nil || through < g.spine.First() {
		return nil
	}
	if err := g.spine.Compact(through); err != nil {
		return fmt.Errorf("seglog: group %d in %s: %w", id, l.dir, err)
	}
	if !g.noted {
		g.noted = true
		l.noted = append(l.noted, id)
	}
	return nil
}

// addCompactions lays what Compact noted into the batch under way.
func (l *Log) addCompactions() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range l.noted {
		g := l.groups[id]
		if g == nil || !g.noted {
			continue // destroyed meanwhile, and perhaps born again
		}
		g.noted = false
		first := g.spine.First()
		l.out.number(itemCompact, id, uint64(first))
		l.out.cuts = append(l.out.cuts, cut{g, first})
	}
	l.noted = l.noted[:0]
}

// retire gives the oldest segments back in which no live block is left, and decides whether to begin moving blocks. Only the
// oldest: a block in a later segment may stand for one in an earlier one, and must not be forgotten before it. The
// caller holds writer.
func (l *Log) retire() error {
	for {
		l.mu.Lock()
		oldest := l.files[0]
		if len(l.files) == 1 || oldest.count > 0 || oldest.readers > 0 {
			l.clean.judge(l)
			l.mu.Unlock()
			return nil
		}
		l.files = slices.Delete(l.files, 0, 1)
		l.mu.Unlock()
		if err := l.fence.Do("close", oldest.path, oldest.close); err != nil {
			return err
		}
		if err := l.spares.give(oldest); err != nil {
			return err
		}
	}
}

// cleaner moves the live blocks of the oldest segment to the newest when most of what is kept is garbage. The writer's.
type cleaner struct {
	victim *segment // nil: nothing is to be moved
	groups []raft.GroupID
	failed *segment // a block of it did not read: it stays, and whoever reads the block is told
}

const (
	// A save takes along about twice its own bytes, within these bounds, so that cleaning keeps up with saving.
	movedBytesMin = 64 << 10
	movedBytesMax = 1 << 20
)

// judge chooses what is to be moved. The caller holds writer and mu.
func (c *cleaner) judge(l *Log) {
	var used, live int64
	for _, seg := range l.files[:len(l.files)-1] {
		used += seg.used
		live += seg.live
	}
	oldest := l.files[0]
	if used <= 2*live+2*int64(l.options.SegmentBytes) || oldest == c.failed || len(l.files) < 3 {
		c.victim = nil
		return
	}
	if c.victim == oldest {
		return
	}
	c.victim, c.groups = oldest, c.groups[:0]
	for id, g := range l.groups {
		if slices.ContainsFunc(g.index.parts, func(p part) bool { return p.seg == oldest }) {
			c.groups = append(c.groups, id)
		}
	}
	slices.Sort(c.groups)
}

// addMoved lays some of the victim's blocks into the batch under way, before the updates, which may replace them.
func (l *Log) addMoved(updates []persistentlog.Update) {
	c, o := &l.clean, &l.out
	if c.victim == nil {
		return
	}
	bytes := 0
	for _, u := range updates {
		for _, b := range u.Blocks {
			bytes += 2 * b.Size()
		}
	}
	l.mu.Lock()
	wanted := c.choose(l, min(max(bytes, movedBytesMin), movedBytesMax))
	l.mu.Unlock()
	for _, w := range wanted {
		record := make([]byte, w.size)
		if err := l.readAt(w.seg, record, w.offset); err != nil {
			c.fail(l, w, err)
			return
		}
		b, err := persistentlog.OpenBlock(record)
		if err != nil || b.Group() != w.id || b.First() != w.first {
			c.fail(l, w, fmt.Errorf("a block of group %d index %d: %w", b.Group(), b.First(), err))
			return
		}
		offset := o.item(itemMoved, w.id, record)
		at := place{count: uint32(w.next - w.first), offset: uint32(offset), size: uint32(w.size)}
		o.moved = append(o.moved, moved{w.group, w.first, at})
	}
}

func (c *cleaner) fail(l *Log, w chosen, err error) {
	l.options.Logger.Error("seglog: block does not read; its segment stays", "path", w.seg.path, "offset", w.offset,
		"group", uint64(w.id), "index", uint64(w.first), "error", err)
	c.failed, c.victim = w.seg, nil
}

// chosen is a block that is to be moved.
type chosen struct {
	found
	id    raft.GroupID
	group *group
}

// choose takes blocks of the victim, group after group. The caller holds mu.
func (c *cleaner) choose(l *Log, budget int) (wanted []chosen) {
	for len(c.groups) > 0 && budget > 0 {
		id := c.groups[0]
		more := false
		if g := l.groups[id]; g != nil {
			first, next := g.spine.First(), g.spine.Next()
			g.index.in(c.victim, next, func(f found) bool {
				if f.end <= first {
					return true // compacted, and the batch under way says so
				}
				if budget <= 0 {
					more = true
					return false
				}
				wanted = append(wanted, chosen{f, id, g})
				budget -= f.size
				return true
			})
		}
		if more {
			break
		}
		c.groups = c.groups[1:]
	}
	return wanted
}

// readAt reads bytes of a segment that nobody can take away meanwhile.
func (l *Log) readAt(seg *segment, b []byte, at int64) error {
	file, err := seg.reader(l.fs)
	if err != nil {
		return err
	}
	n, err := file.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}
