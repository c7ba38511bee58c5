// Package persistentlog promises durability: it defines what oarlock asks of the place where logs live. Implementations
// are memlog (memory, for tests and toys), pebblelog (the default), seglog (segments) and whatever you write; the package logtest holds the
// conformance suite that each of them passes and yours should.
//
// One PersistentLog serves all groups of one server, so that their syncs are shared. Snapshots are kept beside it as
// files; Files in this package does that for every log.
package persistentlog

import (
	"errors"
	"fmt"
	"io"

	"github.com/oarlock/oarlock/raft"
)

// PersistentLog is one server's durable memory. It stores blocks of entries without looking into them.
//
// Goroutines: Save is called by one goroutine, one call at a time. Load, Blocks and Compact come from other goroutines
// and may overlap Save, each other and themselves. Destroy overlaps no call for the same group. Close comes once, after
// all other calls returned.
//
// Bytes: a block's bytes given to Save may be kept, shared and read for as long as the implementation likes, because
// nobody ever writes to them. A block returned by Blocks or Load is the caller's to keep on the same terms: the
// implementation must not reuse its bytes.
//
// Errors: an error of Save, Destroy or Compact, and any error that matches ErrDamaged, is final. The server then stops
// every replica on this log and calls nothing but Close; it never repeats a failed Save, because after a failed fsync
// a second one proves nothing (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
type PersistentLog interface {
	// Identity returns who this store is. It was fixed by an explicit act of formatting before the log was opened.
	Identity() (Identity, error)

	// Groups returns every group that was saved and not destroyed, in ascending order.
	Groups() ([]raft.GroupID, error)

	// Load returns what is durable of one group, without reading more than the trail, the memberships and the last
	// block. A group that was never saved has First and Next 1, nothing else, and no error. Acknowledged data that is missing or damaged
	// is an error that matches ErrDamaged and is never cut off silently; only what no completed Save promised, a torn
	// end, is dropped; a missing end may be told by State.Hard.Lost instead.
	Load(group raft.GroupID) (State, error)

	// Save makes the updates durable, together and with one sync. Each update is atomic: after a crash at any point
	// Load sees all of it or none of it. A group may have any number of updates in one call: they take effect in their
	// order in the slice, each by the rules that the ones before it leave. When Save returns nil all of it is durable.
	Save(updates []Update) error

	// Blocks returns blocks that hold the entries from index from up to, not including, index to: contiguous, the first
	// one beginning exactly at from and none reaching past to (Block.Clip). It stops after the block with which it has
	// collected maxBytes bytes, and returns at least one. The error matches ErrCompacted when from is below the log's
	// first index, ErrUnavailable when it is at or past its end or the range is empty, and ErrDamaged when a record does
	// not pass its checks. A to past the end is cut to it. One call answers from one moment: the blocks are linked by
	// their chain hashes, whatever is saved meanwhile.
	Blocks(group raft.GroupID, from, to raft.Index, maxBytes int) ([]raft.Block, error)

	// Compact drops the group's entries up to and including through. It need not be durable on return, and it may keep
	// entries where that is cheaper, as long as Load and Blocks agree on what is there. It is called only after the
	// Save of a snapshot pointer at or above through has returned. Compacting what is gone is no error.
	Compact(group raft.GroupID, through raft.Index) error

	// Destroy forgets a group, durably. Destroying a group that does not exist is no error.
	Destroy(group raft.GroupID) error

	// Close releases everything. Whatever Save promised stays promised.
	Close() error
}

// Identity says who a store is.
type Identity struct {
	Cluster raft.ClusterID
	Server  raft.ServerID
	Store   raft.StoreID
}

// Update is one atomic change of one group. What is nil or empty stays as it was. An update that breaks one of these rules
// is a bug of the caller, refused with ErrBadUpdate before anything of the call is written (Validate checks them): a term,
// a commit or a snapshot pointer that goes back; a second vote in a term; a log that is lost no more; another birth than the one saved, except that
// one may become complete; blocks that are not contiguous, leave a gap, go back in term, or replace what is committed or
// covered by the snapshot; a taken snapshot past the end of the log or of another term than the log has there.
type Update struct {
	Group raft.GroupID
	// Hard replaces term and vote.
	Hard *raft.HardState
	// Birth replaces the group's birth record.
	Birth *raft.Birth
	// Blocks continue the log, contiguous and in order. The first one may begin at or below the log's end: then it
	// replaces every entry from its First on. On an empty log that was never compacted the first begins at 1; after an
	// installed snapshot, at its index plus one.
	Blocks []raft.Block
	// Snapshot replaces the pointer to the newest snapshot, whose file is durable already.
	Snapshot *raft.SnapshotMeta
	// Installed says that Snapshot came from another server: the whole log of the group, on both sides of it, is
	// dropped in the same atom, and the log continues at Snapshot.Index+1. Blocks, if any, are appended after that.
	Installed bool
	// Commit, if not zero, is an index known to be committed; it rides along and is never below what it was.
	Commit raft.Index
}

// State is what Load found.
type State struct {
	Birth raft.Birth // zero (no voters): none saved
	// Hard is what was saved last. A log that knows by other means that acknowledged saves are missing at its end (a witness outside of it) opens
	// and says Lost of every group, also of one that it knows nothing of, at this start and at every later one: the server then
	// neither votes nor acknowledges there.
	Hard raft.HardState
	// Commit is the last commit hint saved; an installed snapshot cuts it to its index.
	Commit raft.Index
	// First and Next bound the entries in the log, half open. Both are 1 for a new group, and Snapshot.Index+1 after an
	// installed snapshot.
	First, Next raft.Index
	// Trail gives the term of every entry from First to Next; its first run begins at First.
	Trail []raft.TermRun
	// Memberships are the blocks of kind membership in the log, in order.
	Memberships []raft.Block
	// Snapshot is the pointer saved last.
	Snapshot raft.SnapshotMeta
	// Time and Chain are the cluster time of the last block and the chain hash after its last entry; where the log is
	// empty, those of the snapshot.
	Time  int64
	Chain uint64
}

// SaveBytesMax is how many bytes of blocks a server puts in one Save, groups in turn, so that one group delays another by one
// call at most, and a log may lay a call out in memory. Only a single block that is larger makes a call larger.
const SaveBytesMax = 4 << 20

// The errors that callers tell apart. Implementations wrap them with the name of the thing and the way out.
var (
	// ErrDamaged: something that a completed Save promised is missing or does not pass its checks.
	ErrDamaged = errors.New("persistentlog: damaged")
	// ErrTailLost: the log lacks saves that were acknowledged, as a witness outside of it says, and cannot be read as one that ended
	// before them. It matches ErrDamaged too.
	ErrTailLost = fmt.Errorf("%w: acknowledged saves are missing at the log's end", ErrDamaged)
	// ErrCompacted: the index is below the first entry that is still in the log.
	ErrCompacted = errors.New("persistentlog: compacted")
	// ErrUnavailable: the index is past the end of the log.
	ErrUnavailable = errors.New("persistentlog: past the end of the log")
	// ErrNotFormatted: the directory holds no store. Format it, or join with a new one.
	ErrNotFormatted = errors.New("persistentlog: not formatted")
	// ErrFormatted: the directory holds a store already and will not be formatted again.
	ErrFormatted = errors.New("persistentlog: already formatted")
	// ErrInUse: another process has the store open.
	ErrInUse = errors.New("persistentlog: in use")
	// ErrFormatVersion: the store was written by a newer version.
	ErrFormatVersion = errors.New("persistentlog: format is newer than this version")
	// ErrFenced: an earlier write failed, so nothing after it counts.
	ErrFenced = errors.New("persistentlog: fenced after a failed write")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("persistentlog: closed")
	// ErrBadUpdate: an update that breaks the rules of Update; a bug of the caller, refused before anything is written.
	// Validate knows the rules.
	ErrBadUpdate = errors.New("persistentlog: update breaks the log's rules")
)

// Snapshots is where snapshots live. Files in this package serves every log; it is an interface so that a simulator can
// put a disk of its own beneath it. All methods may be called from any goroutine.
type Snapshots interface {
	// Create begins a snapshot, or resumes a transfer: with meta.Size and meta.Checksum known (a transfer) it finds
	// what an earlier attempt at the same bytes (SnapshotMeta.Same) left behind. With both zero (a snapshot being
	// taken) it begins anew, and Commit fills them in. One writer at a time for a group's index. A transfer replaces the
	// group's other unfinished transfers.
	Create(meta raft.SnapshotMeta) (SnapshotWriter, error)

	// Open reads a committed snapshot from offset on; one that is not there is ErrNoSnapshot. The whole file's checksum has been verified when the last byte
	// was read from offset 0; a mismatch is an error of Read that matches ErrDamaged. What is open is not removed.
	Open(meta raft.SnapshotMeta, offset int64) (io.ReadCloser, error)

	// List returns the committed snapshots of a group, newest first, after checking each one's header but not its bytes.
	// A file whose header is damaged is left out and reported in the joined error beside the others.
	List(group raft.GroupID) ([]raft.SnapshotMeta, error)

	// Remove deletes a committed snapshot, or what a transfer of it left behind. Removing one that is open, or that is
	// not there, is no error: an open one goes when it is closed.
	Remove(meta raft.SnapshotMeta) error
}

// SnapshotWriter receives one snapshot. It belongs to one goroutine.
type SnapshotWriter interface {
	io.Writer
	// Offset is how many bytes are there already: where a transfer goes on.
	Offset() int64
	// Commit makes the snapshot durable under its name (file synced, renamed, directory synced) and returns its meta
	// with Size and Checksum filled in. For a transfer it first checks both, and on a mismatch drops the bytes and
	// returns an error that matches ErrDamaged.
	Commit() (raft.SnapshotMeta, error)
	// Abort ends the writing. keep leaves the bytes of a transfer to be resumed; what was being taken is dropped.
	Abort(keep bool) error
}

// OpenBlock reads a stored record back into a block and verifies its checksum: for writers of logs. The block refers to
// record. An error matches ErrDamaged.
func OpenBlock(record []byte) (raft.Block, error) {
	b, err := raft.ParseBlock(record)
	if err != nil {
		return raft.Block{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return b, nil
}
