package pebblelog

import (
	"sync"
	"sync/atomic"

	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
)

// walSuffix ends the name of every file of the write-ahead log.
const walSuffix = ".log"

// usedLogs sees that no file of the write-ahead log is begun behind another one, goes, or is used for another one, before the witness of
// the newest save is durable.
//
// checkTail looks at the newest file alone. In an older one Pebble takes a record that is cut off, or one whose header by a single flipped
// bit becomes the mark of a log that was closed, for the end; until something is saved in the newer one, only the witness tells.
//
// What stood in such a file stands in a table, which the last edits of the manifest name. A manifest that decays there reads as a shorter one:
// while the file is there its saves are read from it again, and when it is gone they are missing. If later ones are there, record
// 02 tells; if there are none, only the witness does, and a power cut takes from that what was not synced.
//
// A nil one lets every file go.
type usedLogs struct {
	mu      sync.Mutex
	witness *storedir.Witness // nil: Open has not come so far
	kept    []string          // what Pebble believes to be removed

	turns atomic.Uint64 // files that have been begun, or allowed to go
	seen  uint64        // of those, by the newest save; the writer's
}

// stays reports whether a file must not go: it is noted until the witness is open, and stays where the witness could not be synced.
func (u *usedLogs) stays(path string, fence *fence) (bool, error) {
	if u == nil {
		return false, nil
	}
	u.mu.Lock()
	witness := u.witness
	if witness == nil {
		u.kept = append(u.kept, path)
	}
	u.mu.Unlock()
	if witness == nil {
		return true, nil
	}
	u.turns.Add(1)
	err := witness.Sync()
	return err != nil || fence.Down(), err
}

// begins is called before a file is begun. Open needs no witness for its own: what stands in older ones is in tables by then, and they
// are kept.
func (u *usedLogs) begins() error {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	witness := u.witness
	u.mu.Unlock()
	if witness == nil {
		return nil
	}
	u.turns.Add(1)
	return witness.Sync()
}

// noted is called when a save has been noted, before it is reported: another file may have been begun behind the one in which it stands,
// and that one gone, by the flush of a batch that is a memtable of its own. What comes later finds it in the witness.
func (u *usedLogs) noted() error {
	turns := u.turns.Load()
	if turns == u.seen {
		return nil
	}
	u.seen = turns
	return u.witness.Sync()
}

// opened gives the witness, and returns the files that were kept until now.
func (u *usedLogs) opened(witness *storedir.Witness) (kept []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.witness, kept, u.kept = witness, u.kept, nil
	return kept
}

// letGo removes the files that were kept until the witness was open. It must have noted the newest save.
func (l *Log) letGo() error {
	for _, path := range l.fs.used.opened(l.witness) {
		if err := l.fs.Remove(path); err != nil {
			return err
		}
	}
	return l.fence.Check()
}
