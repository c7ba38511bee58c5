package storedir

import (
	"fmt"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// DamagedWayOut ends every message about damage.
const DamagedWayOut = " (keep the directory for inspection, format a new store in another one, and replace this server in its groups by it)"

// Damaged makes an ErrDamaged that names the group and the index, where there are any, the place, and the way out.
func Damaged(place string, group raft.GroupID, index raft.Index, format string, args ...any) error {
	where := place
	if group != 0 {
		where = fmt.Sprintf("group %d in %s", group, place)
		if index != 0 {
			where = fmt.Sprintf("group %d index %d in %s", group, index, place)
		}
	}
	return fmt.Errorf("%w: %s: %w%s", persistentlog.ErrDamaged, where, fmt.Errorf(format, args...), DamagedWayOut)
}

// CheckReadable refuses births and snapshot pointers that Load could not read back, because they hold what cannot be: a
// negative size, an address without end. Both are rare, so reading them back costs nothing.
func CheckReadable(updates []persistentlog.Update) (err error) {
	for _, u := range updates {
		if u.Birth != nil {
			_, err = wire.DecodeBirth(wire.AppendBirth(nil, *u.Birth))
		}
		if u.Snapshot != nil && err == nil {
			_, err = wire.DecodeSnapshotMeta(wire.AppendSnapshotMeta(nil, *u.Snapshot))
		}
		if err != nil {
			return fmt.Errorf("%w: group %d: %w", persistentlog.ErrBadUpdate, u.Group, err)
		}
	}
	return nil
}

// CheckRange compares what Blocks is asked for with a log from first up to next.
func (k Kind) CheckRange(group raft.GroupID, first, next, from, to raft.Index) error {
	switch {
	case from < first:
		return fmt.Errorf("%w: group %d begins at %d, asked for %d", persistentlog.ErrCompacted, group, first, from)
	case from >= next:
		return fmt.Errorf("%w: group %d ends before %d, asked for %d", persistentlog.ErrUnavailable, group, next, from)
	case from >= to:
		return fmt.Errorf("%w: group %d: no entries from %d up to %d", persistentlog.ErrUnavailable, group, from, to)
	}
	return nil
}
