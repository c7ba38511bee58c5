package sim

// situation is something that a run may come into and that is worth having been in.
type situation int

const (
	sawElection situation = iota
	sawDeposed
	sawTruncation
	sawCutLogElection
	sawSnapshotTaken
	sawSnapshotInstalled
	sawInstalledBesideSaves
	sawInstalledOverTruncation
	sawTransferResumed
	sawTransferFailed
	sawSnapshotFallback
	sawSnapshotLost
	sawLateFillDropped
	sawFill
	sawDuplicateCaught
	sawSessionExpired
	sawSequenceRefused
	sawReadRefused
	sawReadServed
	sawLocalRead
	sawBarrier
	sawStatus
	sawMembers
	sawNotLeader
	sawBusy
	sawUnknown
	sawCancelled
	sawTooLarge
	sawResultTooLarge
	sawResponseLost
	sawPauseOfLeader
	sawTimeJump
	sawBatchedSave
	sawSharedSave
	sawCrash
	sawKilled
	sawCrashInSave
	sawCrashInSnapshot
	sawCrashInTurn
	sawCrashInStart
	sawStartFailed
	sawHungStart
	sawSlowApplyRead
	sawRoomAgain
	sawRolledBack
	sawLied
	sawWentAstray
	sawOverwritten
	sawTailLost
	sawMachineAhead
	sawMachineKept
	sawDiskFailed
	sawTornSave
	sawStoreDamaged
	sawStranger
	sawLostLog
	sawRefusedMessage
	sawMisrouted
	sawGarbage
	sawCompaction
	sawClockEntry
	sawNoMajority
	sawChanged
	sawChangeGivenUp
	sawCancelOrdered
	sawChangeUnsafe
	sawChangeOpen
	sawChangeMoved
	sawChangeUnknown
	sawCrashInCatchUp
	sawCrashInJoint
	sawChangeInherited
	sawMembershipCut
	sawReplaced
	sawOldCopy
	sawNewcomerInstalled
	sawPromotedAfterSnapshot
	sawLeaderLeft
	sawRemovedTold
	sawQuiet
	sawTransferred
	sawTransferTimeout
	sawSuccessorCrashed
	sawPriority
	sawHungLeader
	sawLease
	sawLeaseRead
	sawLeasePaused
	sawLeaseOvertaken
	sawFollowerRead
	sawFollowerReadRefused
	sawBoundedRead
	sawOldAnswers
	sawLateAnswer
	sawPromiseTested
	sawTwins
	sawSlowRestore
	sawRunChecked
	sawCheckUnfinished
	situations
)

var situationNames = [situations]string{
	sawElection: "a leader was elected", sawDeposed: "a leader was deposed with uncommitted entries",
	sawTruncation: "a log was cut", sawCutLogElection: "a leader was elected after its log had been cut",
	sawSnapshotTaken: "a snapshot was taken", sawSnapshotInstalled: "a snapshot was installed",
	sawInstalledBesideSaves:    "a snapshot was installed while saves were under way",
	sawInstalledOverTruncation: "a snapshot was installed while a truncation was under way",
	sawTransferResumed:         "a snapshot's transfer was resumed", sawTransferFailed: "a snapshot's transfer was given up",
	sawSnapshotFallback: "a damaged snapshot was replaced by an older one or the log",
	sawSnapshotLost:     "a server had no snapshot to start from and got the leader's",
	sawLateFillDropped:  "a late read of old entries was dropped", sawFill: "old entries were read for a follower",
	sawDuplicateCaught: "a session caught a command that was tried again", sawSessionExpired: "a session expired",
	sawSequenceRefused: "a sequence number was refused", sawReadRefused: "a read was refused", sawReadServed: "a linearizable read was served",
	sawLocalRead: "a local read was served", sawBarrier: "a barrier was passed", sawStatus: "a status was told", sawMembers: "members were told",
	sawNotLeader: "a request was redirected", sawBusy: "a request was refused as busy",
	sawUnknown: "an outcome was unknown", sawCancelled: "a call was given up", sawTooLarge: "a command was over the limit",
	sawResultTooLarge: "a result was over the limit", sawResponseLost: "a response was lost after its command was executed",
	sawPauseOfLeader: "a leader was paused beyond its authority", sawTimeJump: "a server noticed that time had jumped",
	sawBatchedSave: "several saves of a group shared one call", sawSharedSave: "saves of several groups shared one call",
	sawCrash: "a server crashed", sawKilled: "a process was killed and its files read from the system's memory", sawCrashInSave: "a server crashed while saving", sawCrashInSnapshot: "a server crashed while writing a snapshot",
	sawCrashInTurn: "a server crashed between two messages of a turn", sawCrashInStart: "a server crashed while starting", sawStartFailed: "a start failed because of the disk", sawHungStart: "a start waited for a hung disk", sawSlowApplyRead: "an apply waited for a slow disk to give it what was committed",
	sawRoomAgain:  "a full disk had room again",
	sawRolledBack: "an older copy of a store was put back", sawLied: "a disk lost what it had said was synced",
	sawWentAstray: "a store was started that had lost a write", sawOverwritten: "a store was started of which one file had got what was another one's", sawTailLost: "a log was behind its witness",
	sawMachineAhead: "a machine's storage was ahead of its log", sawMachineKept: "a machine went on from its own storage",
	sawDiskFailed: "a replica was fenced because its disk failed",
	sawTornSave:   "part of an unfinished save survived a crash", sawStoreDamaged: "a store was found damaged",
	sawStranger: "a wiped server was refused as a stranger", sawLostLog: "a server was refused because its log was lost",
	sawRefusedMessage: "a message was refused", sawMisrouted: "a message reached the wrong server", sawGarbage: "a malformed message was dropped",
	sawCompaction: "a log was compacted", sawClockEntry: "a clock entry was applied",
	sawChanged: "a membership was changed", sawChangeGivenUp: "a change of the membership was given up",
	sawCancelOrdered: "a change was cancelled", sawChangeUnsafe: "a change was refused because it could stop the group",
	sawChangeOpen: "a change was refused because another one was open", sawChangeMoved: "a change was refused because the membership had moved",
	sawChangeUnknown: "the outcome of a change was unknown", sawCrashInCatchUp: "a leader crashed while newcomers caught up",
	sawCrashInJoint: "a leader crashed in the joint phase", sawChangeInherited: "a leader went on with the change of another one",
	sawMembershipCut: "a membership was given back by a truncation", sawReplaced: "a server was replaced by one with another store",
	sawOldCopy: "the old copy of a replaced server came back", sawNewcomerInstalled: "a newcomer installed a snapshot",
	sawPromotedAfterSnapshot: "a server became a voter after it had installed a snapshot", sawLeaderLeft: "a leader ended a change without itself",
	sawRemovedTold: "a server learned that it was removed", sawQuiet: "servers that had left started again",
	sawTransferred: "leadership was handed over on demand", sawTransferTimeout: "a transfer was in vain",
	sawSuccessorCrashed: "a server crashed that was to take over", sawPriority: "a leader handed over to a server with a higher priority",
	sawHungLeader: "a leader with a hung disk handed over", sawLease: "a leader had a lease",
	sawLeaseRead: "a read rested on a lease", sawLeaseOvertaken: "a leader was elected beside a lease, by clocks that differ more than was said", sawLeasePaused: "a leader was paused beyond its lease",
	sawFollowerRead: "a linearizable read was served by a server that does not lead", sawFollowerReadRefused: "a server that does not lead refused a read",
	sawBoundedRead:   "a bounded read was served by a server that does not lead",
	sawOldAnswers:    "a leader that leads again got acknowledgements of its former leadership",
	sawLateAnswer:    "a server that asked for an index got an answer late",
	sawTwins:         "two servers of one id stood for election in one term",
	sawPromiseTested: "a server forgot in a crash what it had promised a leader with a lease",
	sawSlowRestore:   "a leader was elected while another server's state machine was being restored",
	sawNoMajority:    "a group had no majority for a while", sawRunChecked: "a history was checked", sawCheckUnfinished: "a history was too long to be checked",
}

// Coverage counts how often runs came into situations that are worth it.
type Coverage [situations]int

// Add adds the counts of other runs.
func (c *Coverage) Add(o *Coverage) {
	for k := range c {
		c[k] += o[k]
	}
}

// Each calls f with every situation, in a fixed order.
func (c *Coverage) Each(f func(name string, count int)) {
	for k, n := range c {
		f(situationNames[k], n)
	}
}

func (w *world) saw(s situation) { w.cover[s]++ }
