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

// Lane implements Job.
func (j *SaveJob) Lane() Lane { return LaneSave }

// Update is the change to be saved.
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
