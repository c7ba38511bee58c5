package seglog

import (
	"fmt"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// restore reads the small state of every group from a checkpoint.
func (l *Log) restore(b batch) error {
	var states []persistentlog.State
	var ids []raft.GroupID
	err := b.each(func(it item, _ int) error {
		n := len(ids)
		if it.kind == itemGroup {
			v, err := it.numbers(3)
			if err != nil || n > 0 && it.group <= ids[n-1] {
				return fmt.Errorf("%w: group %d in a checkpoint", errBadBatch, it.group)
			}
			ids = append(ids, it.group)
			states = append(states, persistentlog.State{First: raft.Index(v[0]), Next: raft.Index(v[1]), Commit: raft.Index(v[2])})
			return nil
		}
		if n == 0 || it.group != ids[n-1] {
			return fmt.Errorf("%w: item of kind %d of group %d", errBadBatch, it.kind, it.group)
		}
		return restoreItem(&states[n-1], it)
	})
	if err != nil {
		return err
	}
	for i, id := range ids {
		spine, err := persistentlog.NewSpine(states[i])
		if err != nil {
			return fmt.Errorf("%w: group %d: %w", errBadBatch, id, err)
		}
		l.group(id).spine = spine
	}
	return nil
}

func restoreItem(s *persistentlog.State, it item) (err error) {
	switch it.kind {
	case itemHard:
		s.Hard, err = wire.DecodeHardState(it.data)
	case itemBirth:
		s.Birth, err = wire.DecodeBirth(it.data)
	case itemTaken:
		s.Snapshot, err = wire.DecodeSnapshotMeta(it.data)
	case itemRuns:
		v, err := it.numbers(len(it.data) / 16 * 2)
		if err != nil {
			return err
		}
		for ; len(v) > 0; v = v[2:] {
			s.Trail = append(s.Trail, raft.TermRun{First: raft.Index(v[0]), Term: raft.Term(v[1])})
		}
	case itemMembership:
		b, err := ownBlock(it)
		if err != nil {
			return err
		}
		s.Memberships = append(s.Memberships, b)
	default:
		return fmt.Errorf("%w: item of kind %d in a checkpoint", errBadBatch, it.kind)
	}
	if err != nil {
		return fmt.Errorf("%w: group %d: %w", errBadBatch, it.group, err)
	}
	return nil
}

// ownBlock reads a block into memory of its own.
func ownBlock(it item) (raft.Block, error) {
	b, err := raft.ParseBlock(append([]byte(nil), it.data...))
	if err != nil || b.Group() != it.group {
		return raft.Block{}, fmt.Errorf("%w: group %d: block of group %d: %w", errBadBatch, it.group, b.Group(), err)
	}
	return b, nil
}

// replay carries out one item of a save, whose data begins at an offset of the segment. The batch passed its checksum, so what
// makes no sense here was written so.
func (l *Log) replay(seg *segment, it item, offset uint32) error {
	if it.kind == itemDestroy {
		if g := l.groups[it.group]; g != nil {
			g.index.clear()
			delete(l.groups, it.group)
		}
		return nil
	}
	g := l.group(it.group)
	if it.kind == itemMoved {
		b, err := ownBlock(it)
		if err != nil {
			return err
		}
		g.index.move(seg, b.First(), place{count: uint32(b.Next() - b.First()), offset: offset, size: uint32(b.Size())})
		return nil
	}
	if g.spine == nil {
		g.spine = new(persistentlog.Spine)
	}
	if err := g.replay(seg, it, offset); err != nil {
		return fmt.Errorf("%w: group %d: %w", errBadBatch, it.group, err)
	}
	return nil
}

func (g *group) replay(seg *segment, it item, offset uint32) error {
	u := persistentlog.Update{Group: it.group}
	switch it.kind {
	case itemHard:
		hard, err := wire.DecodeHardState(it.data)
		if err != nil {
			return err
		}
		u.Hard = &hard
	case itemBirth:
		birth, err := wire.DecodeBirth(it.data)
		if err != nil {
			return err
		}
		u.Birth = &birth
	case itemTaken, itemInstalled:
		meta, err := wire.DecodeSnapshotMeta(it.data)
		if err != nil {
			return err
		}
		u.Snapshot, u.Installed = &meta, it.kind == itemInstalled
		if u.Installed {
			g.index.clear()
		}
	case itemCommit, itemCompact:
		v, err := it.numbers(1)
		if err != nil {
			return err
		}
		if it.kind == itemCompact {
			return g.replayCompact(raft.Index(v[0]))
		}
		u.Commit = raft.Index(v[0])
	case itemBlock:
		b, err := ownBlock(it)
		if err != nil {
			return err
		}
		if b.First() > g.spine.Next() || b.First() < g.spine.First() {
			return fmt.Errorf("a block at %d in a log from %d to %d", b.First(), g.spine.First(), g.spine.Next())
		}
		u.Blocks = []raft.Block{b}
		g.index.append(seg, false, b.First(), place{count: uint32(b.Next() - b.First()), offset: offset, size: uint32(b.Size())})
	case itemNothing:
	default:
		return fmt.Errorf("item of kind %d in a save", it.kind)
	}
	g.spine.Apply(u)
	return nil
}

func (g *group) replayCompact(first raft.Index) error {
	if err := g.spine.Compact(first - 1); err != nil {
		return err
	}
	g.cut(first)
	return nil
}
