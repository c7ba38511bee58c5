// Package memlog is a PersistentLog in memory, for tests, simulations and toys. It keeps every promise of the interface
// but the one that matters in production: it forgets everything with its process. What a machine that lost its power
// would have kept is modelled exactly, so that crashes can be tried: see CrashCopy and HoldSyncs.
package memlog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Log is a PersistentLog in memory. Its methods may be called as the interface allows and in fact from any goroutine at
// any time. Memory is bounded by what is saved and not compacted.
type Log struct {
	identity persistentlog.Identity

	mu sync.RWMutex
	// now is what Load and Blocks see. synced is what a crash leaves. They are the same groups unless syncs are held.
	now map[raft.GroupID]*group
	// synced is nil while every change is durable at once: then it is now.
	synced map[raft.GroupID]*group
	// unsynced are the changes that synced lacks, in order.
	unsynced []change

	closed bool
	fence  error // why nothing may be written any more
	faults map[Call]*fault
}

var _ persistentlog.PersistentLog = (*Log)(nil)

// New returns an empty log that belongs to identity.
func New(identity persistentlog.Identity) *Log {
	return &Log{identity: identity, now: make(map[raft.GroupID]*group)}
}

// group is one group's log. Blocks stand in order; the first may begin before the spine's first index, when the log was
// compacted within it.
type group struct {
	spine  persistentlog.Spine
	blocks []raft.Block
}

// change is one thing that becomes durable as a whole.
type change struct {
	update  persistentlog.Update
	compact bool // through, of update.Group
	through raft.Index
}

// Identity returns what New was given.
func (l *Log) Identity() (persistentlog.Identity, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return persistentlog.Identity{}, errClosed("identity")
	}
	return l.identity, nil
}

// Groups returns every group in ascending order.
func (l *Log) Groups() ([]raft.GroupID, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, errClosed("groups")
	}
	return slices.Sorted(maps.Keys(l.now)), nil
}

// Load returns what was saved of a group.
func (l *Log) Load(id raft.GroupID) (persistentlog.State, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return persistentlog.State{}, errClosed("load")
	}
	g, ok := l.now[id]
	if !ok {
		return new(persistentlog.Spine).State(raft.Block{}), nil
	}
	var last raft.Block
	if n := len(g.blocks); n > 0 {
		last = g.blocks[n-1]
	}
	return g.spine.State(last), nil
}

// Save applies the updates, all or none of them, and makes them durable unless syncs are held.
func (l *Log) Save(updates []persistentlog.Update) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writable("save"); err != nil {
		return err
	}
	err := persistentlog.Validate(updates, func(id raft.GroupID) *persistentlog.Spine {
		if g, ok := l.now[id]; ok {
			return &g.spine
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("memlog: save: %w", err)
	}
	if err := l.takeFault(CallSave); err != nil {
		// A write that failed may have reached the disk in part, all the same.
		l.hold()
		l.fence = err
		for _, u := range updates {
			l.unsynced = append(l.unsynced, change{update: own(u)})
		}
		return fmt.Errorf("memlog: save: %w", err)
	}
	for _, u := range updates {
		c := change{update: own(u)}
		c.applyTo(l.now)
		if l.synced != nil {
			l.unsynced = append(l.unsynced, c)
		}
	}
	return nil
}

// Blocks returns the blocks of a range, with borders of the log's choosing.
func (l *Log) Blocks(id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
	if err := l.blocksFault(); err != nil {
		return nil, fmt.Errorf("memlog: blocks of group %d from %d: %w", id, from, err)
	}
	found, err := l.find(id, from, to, maxBytes)
	if err != nil {
		return nil, err
	}
	// Clipping copies, and a block never changes: the ends are cut without the lock.
	size := 0
	for i, b := range found {
		found[i] = b.Clip(from, to)
		if size += found[i].Size(); size >= maxBytes {
			return found[:i+1], nil
		}
	}
	return found, nil
}

// find returns whole blocks that hold the range, or so much of it that they hold maxBytes bytes of it.
func (l *Log) find(id raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, errClosed("blocks")
	}
	g, ok := l.now[id]
	if !ok {
		g = new(group)
	}
	first, next := g.spine.First(), g.spine.Next()
	switch {
	case from < first:
		return nil, fmt.Errorf("memlog: group %d: %w: index %d, the log begins at %d: send a snapshot", id, persistentlog.ErrCompacted, from, first)
	case from >= next || from >= to:
		return nil, fmt.Errorf("memlog: group %d: %w: range %d to %d, the log ends before %d", id, persistentlog.ErrUnavailable, from, to, next)
	}
	at := sort.Search(len(g.blocks), func(i int) bool { return g.blocks[i].Next() > from })
	var found []raft.Block
	size := 0
	for _, b := range g.blocks[at:] {
		if b.First() >= to || len(found) > 0 && size >= maxBytes {
			break
		}
		found = append(found, b)
		if b.First() >= from {
			size += b.Size() // of a block that is cut in front, nobody knows yet how much is left
		}
	}
	return found, nil
}

func (l *Log) blocksFault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.takeFault(CallBlocks)
	if errors.Is(err, persistentlog.ErrDamaged) {
		l.fence = err
	}
	return err
}

// Compact drops the front of a group's log, exactly through the index.
func (l *Log) Compact(id raft.GroupID, through raft.Index) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writable("compact"); err != nil {
		return err
	}
	g, ok := l.now[id]
	if !ok {
		return nil
	}
	if err := g.spine.Clone().Compact(through); err != nil {
		return fmt.Errorf("memlog: group %d: %w", id, err)
	}
	if err := l.takeFault(CallCompact); err != nil {
		l.fence = err
		return fmt.Errorf("memlog: compact group %d: %w", id, err)
	}
	c := change{update: persistentlog.Update{Group: id}, compact: true, through: through}
	c.applyTo(l.now)
	if l.synced != nil {
		l.unsynced = append(l.unsynced, c)
	}
	return nil
}

// Destroy forgets a group. It is durable when it returns, and so is everything saved before it.
func (l *Log) Destroy(id raft.GroupID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writable("destroy"); err != nil {
		return err
	}
	if err := l.takeFault(CallDestroy); err != nil {
		l.fence = err
		return fmt.Errorf("memlog: destroy group %d: %w", id, err)
	}
	delete(l.now, id)
	if l.synced != nil {
		l.sync()
		delete(l.synced, id)
	}
	return nil
}

// Close ends the use of this Log. Reopen returns another one on the same data.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed("close")
	}
	if l.fence == nil {
		l.sync()
	}
	l.closed = true
	return nil
}

func (l *Log) writable(call string) error {
	if l.closed {
		return errClosed(call)
	}
	if l.fence != nil {
		return fmt.Errorf("memlog: %s: %w: %w", call, persistentlog.ErrFenced, l.fence)
	}
	return nil
}

func errClosed(call string) error { return fmt.Errorf("memlog: %s: %w", call, persistentlog.ErrClosed) }

// own returns the update with a slice of its own, because the caller may use its slice again; the blocks are shared.
func own(u persistentlog.Update) persistentlog.Update {
	u.Blocks = slices.Clone(u.Blocks)
	if u.Hard != nil {
		hard := *u.Hard
		u.Hard = &hard
	}
	if u.Birth != nil {
		birth := *u.Birth
		u.Birth = &birth
	}
	if u.Snapshot != nil {
		snapshot := *u.Snapshot
		u.Snapshot = &snapshot
	}
	return u
}

func (c change) applyTo(groups map[raft.GroupID]*group) {
	g, ok := groups[c.update.Group]
	if !ok {
		g = new(group)
		groups[c.update.Group] = g
	}
	if c.compact {
		g.compact(c.through)
		return
	}
	g.apply(c.update)
}

func (g *group) apply(u persistentlog.Update) {
	if u.Installed {
		g.blocks = nil
	}
	if len(u.Blocks) > 0 {
		g.truncate(u.Blocks[0].First())
		g.blocks = append(g.blocks, u.Blocks...)
	}
	g.spine.Apply(u)
}

func (g *group) truncate(from raft.Index) {
	keep := sort.Search(len(g.blocks), func(i int) bool { return g.blocks[i].Next() > from })
	rest := g.blocks[keep:]
	if len(rest) > 0 && rest[0].First() < from {
		g.blocks[keep] = rest[0].Clip(rest[0].First(), from)
		keep++
	}
	clear(g.blocks[keep:])
	g.blocks = g.blocks[:keep]
}

// compact drops nothing that the spine refuses to drop; Log.Compact has asked it before and reported that.
func (g *group) compact(through raft.Index) {
	if g.spine.Compact(through) != nil {
		return
	}
	first := g.spine.First()
	drop := sort.Search(len(g.blocks), func(i int) bool { return g.blocks[i].Next() > first })
	g.blocks = slices.Delete(g.blocks, 0, drop)
}

func (g *group) clone() *group {
	return &group{spine: *g.spine.Clone(), blocks: slices.Clone(g.blocks)}
}
