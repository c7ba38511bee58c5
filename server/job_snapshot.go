package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
)

// snapshotImage is a captured state: what a snapshot's file will hold.
type snapshotImage struct {
	meta     raft.SnapshotMeta
	at       wire.Applied
	sessions []sessionImage
	state    statemachine.Snapshot
}

// CaptureJob has the state machine capture its state. It is short and holds up the applies behind it.
type CaptureJob struct {
	outcome
	a     *applier
	image snapshotImage
	soft  error // the machine could not; it goes on and is asked again later
}

// Lane implements Job.
func (j *CaptureJob) Lane() Lane { return LaneApply }

// Step implements Job.
func (j *CaptureJob) Step() (done bool) {
	done = true
	defer guard(func() string { return fmt.Sprintf("snapshot after entry %d", j.a.index) }, &j.err)
	a := j.a
	if a.index == 0 {
		j.soft = errNothingApplied
		return done
	}
	state, err := a.machine.Snapshot()
	if err != nil {
		j.soft = fmt.Errorf("snapshot after entry %d: %w", a.index, err)
		return done
	}
	j.image = snapshotImage{
		meta: raft.SnapshotMeta{
			Group: a.group, Index: a.index, Term: a.term, Time: a.time, Chain: a.chain, Membership: a.membership.Membership,
			MembershipIndex: a.membership.Index, Limits: a.sessions.limits,
		},
		at: a.at(), sessions: a.sessions.capture(), state: state,
	}
	return done
}

// Drop implements Job.
func (j *CaptureJob) Drop(why error) { j.err = why }

var errNothingApplied = errors.New("nothing was applied yet")

// WriteJob writes a captured state to a file, beside later applies, and makes the file durable.
type WriteJob struct {
	outcome
	snapshots persistentlog.Snapshots
	image     snapshotImage
	meta      raft.SnapshotMeta // with size and checksum
	soft      error
	closed    bool
}

// Lane implements Job.
func (j *WriteJob) Lane() Lane { return LaneSnapshot }

// Step implements Job.
func (j *WriteJob) Step() (done bool) {
	done = true
	defer guard(func() string { return fmt.Sprintf("write snapshot at %d", j.image.meta.Index) }, &j.err)
	defer j.close()
	if j.meta, j.soft = j.write(); j.soft != nil {
		j.soft = fmt.Errorf("write snapshot at %d: %w", j.image.meta.Index, j.soft)
	}
	return done
}

// snapshotBufferBytes is what gathers the small pieces in which a machine writes and reads its state. The files below work in
// pieces of their own.
const snapshotBufferBytes = 64 << 10

func (j *WriteJob) write() (meta raft.SnapshotMeta, err error) {
	file, err := j.snapshots.Create(j.image.meta)
	if err != nil {
		return meta, err
	}
	committed := false
	defer func() {
		if !committed {
			err = errors.Join(err, file.Abort(false))
		}
	}()
	buffered := bufio.NewWriterSize(file, snapshotBufferBytes)
	if err := writeStateRecords(buffered, j.image.at, j.image.sessions); err != nil {
		return meta, err
	}
	if _, err := j.image.state.WriteTo(buffered); err != nil {
		return meta, err
	}
	if err := buffered.Flush(); err != nil {
		return meta, err
	}
	committed = true
	return file.Commit()
}

func (j *WriteJob) close() {
	if j.closed || j.image.state == nil {
		return
	}
	j.closed = true
	if err := j.image.state.Close(); err != nil && j.soft == nil {
		j.soft = fmt.Errorf("close snapshot at %d: %w", j.image.meta.Index, err)
	}
}

// Drop implements Job.
func (j *WriteJob) Drop(why error) {
	j.err = why
	defer guard(func() string { return "close snapshot" }, &j.err)
	j.close()
}

// CompactJob drops the front of the log and the files of snapshots that nothing needs any more. It comes after the save
// of the newest pointer.
type CompactJob struct {
	outcome
	log       persistentlog.PersistentLog
	snapshots persistentlog.Snapshots
	group     raft.GroupID
	newest    raft.Index   // the pointer's
	keepFrom  raft.Index   // a live follower still needs entries from here on
	overflow  raft.Index   // but no more is kept for it than what lies above this
	offered   []raft.Index // snapshots that live followers fetch, or are about to
	through   raft.Index   // what was dropped
	soft      error
}

// snapshotsKept is how many sound snapshots stay: the newest and one to fall back to.
const snapshotsKept = 2

// Lane implements Job.
func (j *CompactJob) Lane() Lane { return LaneSnapshot }

// Step implements Job. Files go only after the log: should the newest file turn out damaged, the log continues the
// older one without a gap. For that the older one is read once more before the log is cut behind it.
func (j *CompactJob) Step() (done bool) {
	done = true
	defer guard(func() string { return "compact" }, &j.err)
	list, err := j.snapshots.List(j.group)
	if err != nil {
		j.soft = fmt.Errorf("list snapshots: %w", err)
	}
	kept, drop := j.choose(list)
	if len(kept) < snapshotsKept {
		return done
	}
	if through := min(kept[1].Index, max(j.keepFrom-1, j.overflow)); through > 0 {
		if err := j.log.Compact(j.group, through); err != nil {
			j.err = fmt.Errorf("compact through %d: %w", through, err)
			return done
		}
		j.through = through
	}
	for _, meta := range drop {
		if err := j.snapshots.Remove(meta); err != nil {
			j.soft = errors.Join(j.soft, fmt.Errorf("remove snapshot at %d: %w", meta.Index, err))
		}
	}
	return done
}

// choose finds the two snapshots that are to be kept, the newest and the first behind it that can be read, and those that
// nobody needs once there are two: what is older, and what is damaged.
func (j *CompactJob) choose(list []raft.SnapshotMeta) (kept, drop []raft.SnapshotMeta) {
	for _, meta := range list {
		switch {
		case meta.Index > j.newest: // a transfer's that was not wanted, or of a run that ended before its pointer
		case len(kept) == 0: // just written, or restored from
			kept = append(kept, meta)
		case meta.Index == kept[0].Index:
			// A machine may write one state in more ways than one, and the leader's file came beside our own. Whichever of them
			// the pointer names, the other is not older, and goes when it is.
		case len(kept) == snapshotsKept && slices.Contains(j.offered, meta.Index):
			// Begun anew with a newer one, a transfer that outlives two of them would never come to its end. It goes with the next one.
		case len(kept) == snapshotsKept:
			drop = append(drop, meta)
		default:
			if err := verifySnapshot(j.snapshots, meta); err != nil {
				j.soft = errors.Join(j.soft, fmt.Errorf("snapshot at %d is none of the two that are kept: %w", meta.Index, err))
				if errors.Is(err, persistentlog.ErrDamaged) {
					drop = append(drop, meta)
				}
				continue
			}
			kept = append(kept, meta)
		}
	}
	return kept, drop
}

// verifySnapshot reads a snapshot from end to end; what is damaged is an error.
func verifySnapshot(snapshots persistentlog.Snapshots, meta raft.SnapshotMeta) error {
	file, err := snapshots.Open(meta, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, file)
	return errors.Join(err, file.Close())
}

// Drop implements Job.
func (j *CompactJob) Drop(why error) { j.err = why }
