package server

import (
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// SaveJob makes one atomic change of a replica durable. It comes after every earlier SaveJob of the replica. A shell
// that joins several into one call of PersistentLog.Save takes Update and then tells each by Finish; Step does one alone.
type SaveJob struct {
	outcome
	log    persistentlog.PersistentLog
	update persistentlog.Update
	seq    raft.SaveSeq
	bytes  int
}

func newSaveJob(log persistentlog.PersistentLog, group raft.GroupID, s *raft.Save, blocks []raft.Block) *SaveJob {
	j := &SaveJob{log: log, seq: s.Seq}
	j.update = persistentlog.Update{
		Group: group, Hard: s.Hard, Birth: s.Birth, Blocks: blocks, Snapshot: s.Snapshot, Installed: s.Installed,
		Commit: s.Commit,
	}
	for i := range blocks {
		j.bytes += blocks[i].Size()
	}
	return j
}

// part takes off the update what goes into one call of Save, and reports whether that was the last of it. A follower that
// was given much at once keeps it as if less had been sent: hard state, birth and an installed snapshot, on which the blocks
// stand, with the first of them; the commit index and a snapshot that was taken, which may point at any, with the last.
// Nothing waits for a part.
func (j *SaveJob) part() (u persistentlog.Update, bytes int, last bool) {
	u, bytes = j.update, j.bytes
	if bytes <= persistentlog.SaveBytesMax {
		return u, bytes, true
	}
	n := 0
	for bytes = 0; n == 0 || bytes+u.Blocks[n].Size() <= persistentlog.SaveBytesMax; n++ {
		bytes += u.Blocks[n].Size()
		if n+1 == len(u.Blocks) {
			return u, bytes, true
		}
	}
	rest := persistentlog.Update{Group: u.Group, Blocks: u.Blocks[n:], Commit: u.Commit}
	u.Blocks, u.Commit = u.Blocks[:n:n], 0
	if !u.Installed {
		rest.Snapshot, u.Snapshot = u.Snapshot, nil
	}
	j.update = rest
	j.bytes -= bytes
	return u, bytes, false
}

// Lane implements Job.
func (j *SaveJob) Lane() Lane { return LaneSave }

// Update is the change to be saved, as far as it has not been.
func (j *SaveJob) Update() persistentlog.Update { return j.update }

// Bytes is the size of the change's blocks.
func (j *SaveJob) Bytes() int { return j.bytes }

// Finish reports what PersistentLog.Save returned.
func (j *SaveJob) Finish(err error) { j.err = err }

// Step implements Job.
func (j *SaveJob) Step() bool {
	defer guard(func() string { return "save" }, &j.err)
	j.err = j.log.Save([]persistentlog.Update{j.update})
	return true
}

// Drop implements Job. A save that was dropped never happened, so nothing that waits for it may leave.
func (j *SaveJob) Drop(why error) { j.err = why }
