package server

import (
	"fmt"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// snapshotState is how far a replica is with its own snapshots: capture in the apply lane, write beside it, wait until
// what it covers is durable, then the pointer, then the log's front and old files.
type snapshotState struct {
	pointer  raft.Index // the newest snapshot that a durable pointer names
	logBytes int64      // applied since the last capture
	wanted   bool
	running  bool
	written  *raft.SnapshotMeta // a file that waits until the log has caught up with it
	pending  raft.Index         // handed to the Node in this turn
	now      []Completion       // who asked before the capture under way
	then     []Completion       // who asked after it
	helpedAt time.Duration      // when a snapshot was last taken for a follower's sake
	marks    []logMark
	total    int64
}

// logMark says how many bytes of log stand below an index, counted from the start of this run.
type logMark struct {
	index raft.Index
	bytes int64
}

// markBytesMax is how far marks are apart: less where little is kept, so that a bound of any size is kept to.
const markBytesMax = 1 << 20

// wantSnapshots takes what TakeSnapshot asks for.
func (r *Replica) wantSnapshots(in *Inputs) {
	r.snapshot.then = append(r.snapshot.then, in.snapshots...)
	clear(in.snapshots)
	in.snapshots = in.snapshots[:0]
}

// helpEvery is how often a leader takes a snapshot because a follower cannot restore its own.
const helpEvery = time.Minute

// helpOut has a leader take a snapshot for a follower that cannot restore its own, or cannot get the newest one that there is: that may be
// older than the one that the follower has lost, or its file may be damaged, and then it serves nobody. Where nothing was
// applied since, it is taken as soon as something is.
func (r *Replica) helpOut(now time.Duration) {
	if s := &r.snapshot; r.role == raft.RoleLeader && (s.helpedAt == 0 || now-s.helpedAt >= helpEvery) {
		s.helpedAt, s.wanted = now, true
	}
}

// startSnapshot begins a snapshot if one is due or wanted and none is under way.
func (r *Replica) startSnapshot() {
	s := &r.snapshot
	if s.running || !r.restored || !r.restoring.IsZero() {
		return
	}
	due := r.applied > s.pointer && (s.wanted || s.logBytes >= r.group.SnapshotLogBytes)
	if !due && len(s.then) == 0 {
		return
	}
	if !s.wanted && r.applied <= s.pointer && r.next == r.applied+1 {
		s.now, s.then = append(s.now, s.then...), s.then[:0]
		s.logBytes = 0
		r.answerSnapshots(nil) // the newest one says it all
		return
	}
	s.now, s.then = s.then, nil
	s.running, s.wanted, s.logBytes = true, false, 0
	r.add(&CaptureJob{a: r.apply})
}

// answerSnapshots tells everybody who asked, those who asked late included if there is a reason.
func (r *Replica) answerSnapshots(err error) {
	s := &r.snapshot
	asked := s.now
	s.now = nil
	if err != nil {
		asked, s.then = append(asked, s.then...), nil
	}
	for _, done := range asked {
		r.answer(done, nil, err)
	}
}

func (r *Replica) snapshotFailed(err error) {
	r.snapshot.running = false
	r.event(Event{Kind: EventTrouble, Err: err})
	r.answerSnapshots(err)
}

func (r *Replica) finishCapture(j *CaptureJob) {
	if r.fence != nil || j.err != nil {
		r.fail(j.err)
		(&WriteJob{image: j.image}).close()
		return
	}
	if j.soft != nil {
		r.snapshotFailed(j.soft)
		return
	}
	r.add(&WriteJob{snapshots: r.shared.options.Snapshots, image: j.image})
}

func (r *Replica) finishWrite(j *WriteJob) {
	switch {
	case j.err != nil:
		r.fail(j.err)
	case j.soft != nil:
		r.snapshotFailed(j.soft)
	default:
		meta := j.meta
		r.snapshot.written = &meta
	}
}

// offerWritten tells the Node of a snapshot as soon as the local log holds everything that it covers and knows it to be
// committed: a pointer must not run ahead of the log. The machine may: on entries that a quorum has and this disk does
// not, and a durable one, at a start, on entries of which the log did not hear yet that they were committed.
func (r *Replica) offerWritten(now time.Duration) {
	s := &r.snapshot
	if s.written == nil || s.written.Index >= r.tail.saved || s.written.Index > min(r.applied, r.commit) {
		return
	}
	meta := *s.written
	s.written, s.pending = nil, meta.Index
	r.node.Snapshotted(now, meta)
}

// snapshotOffered looks whether the Node asks for the pointer; if it does not, a newer snapshot was installed meanwhile.
func (r *Replica) snapshotOffered(save *raft.Save) {
	s := &r.snapshot
	if s.pending == 0 {
		return
	}
	if save.Snapshot == nil || save.Snapshot.Index < s.pending {
		s.running = false
		r.answerSnapshots(nil)
	}
	s.pending = 0
}

// pointerSaved follows a durable pointer: what lies behind the older of two snapshots can go now.
func (r *Replica) pointerSaved(now time.Duration, meta raft.SnapshotMeta) {
	s := &r.snapshot
	s.pointer = max(s.pointer, meta.Index)
	r.event(Event{Kind: EventSnapshot, Index: meta.Index})
	s.running = false
	r.answerSnapshots(nil)
	if !r.restored {
		return // it was installed, and the machine may still be on its way to the one before: what is older goes with the next one
	}
	alive := 10 * r.group.ElectionTimeoutMax
	r.add(&CompactJob{
		log: r.shared.options.Log, snapshots: r.shared.options.Snapshots, group: r.group.ID, newest: meta.Index,
		keepFrom: r.node.KeepFrom(now, alive), offered: r.node.Offered(now, alive), overflow: s.overflow(meta.Index, r.group.SnapshotKeepBytes),
	})
}

func (r *Replica) finishCompact(now time.Duration, j *CompactJob) {
	if j.soft != nil {
		r.event(Event{Kind: EventTrouble, Err: j.soft})
	}
	if j.err != nil {
		r.failStore(fmt.Errorf("compact: %w", j.err))
		return
	}
	if j.through > 0 {
		r.node.Compacted(now, j.through)
		r.snapshot.forget(j.through)
		r.event(Event{Kind: EventCompacted, Index: j.through})
	}
}

// appended notes the size of the log, so that what is kept for laggards can be bounded in bytes.
func (s *snapshotState) appended(b raft.Block, keep int64) {
	if n := len(s.marks); n == 0 || s.total-s.marks[n-1].bytes >= min(markBytesMax, keep/64) {
		s.marks = append(s.marks, logMark{index: b.First(), bytes: s.total})
	}
	s.total += int64(b.Size())
}

// overflow is the index up to which the log is dropped whoever needs it: what lies between it and the snapshot is about
// keep bytes. Zero where the log of this run is not that long.
func (s *snapshotState) overflow(index raft.Index, keep int64) raft.Index {
	at := s.total
	for k := len(s.marks) - 1; k >= 0 && s.marks[k].index > index; k-- {
		at = s.marks[k].bytes
	}
	for k := len(s.marks) - 1; k >= 0; k-- {
		if at-s.marks[k].bytes >= keep {
			return s.marks[k].index - 1
		}
	}
	return 0
}

func (s *snapshotState) forget(through raft.Index) {
	k := 0
	for k < len(s.marks) && s.marks[k].index <= through {
		k++
	}
	s.marks = append(s.marks[:0], s.marks[k:]...)
}
