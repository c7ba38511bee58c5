package raft

import "time"

// Actions is what one turn of a Node asks for. The server takes it at the end of a turn and carries it out in the order
// in which the fields stand. The value and its slices are the Node's and are good until the next call of Node.Actions.
//
// Nothing here may be carried out twice, and nothing may be left out except Sends: the network may lose a message, so
// may the server.
type Actions struct {
	// Save is to be made durable, all of it or nothing (PersistentLog.Save). First complete its blank blocks: they are
	// the leader's own, in the order of the calls of Propose, then hand the save to the log writer and go on; report
	// Node.Saved when it is durable. Its zero value (Seq 0) asks for nothing.
	Save Save

	// Sends go out as soon as the save that each waits for is durable, those that wait for none at once, beside the
	// disk and before it (dissertation 10.2.1). Fill in the range of an AppendRequest before it leaves.
	Sends []Send

	// Fills are appends whose entries the Node believes to be beyond the server's cache of recent blocks: read the range
	// beside the loop, as many whole blocks as fit in MaxBytes and at least one, and report Node.Filled.
	Fills []Fill

	// Commit is the commit index after this turn. Entries up to it may be applied, in order, each once. It is never
	// below what an earlier turn said.
	Commit Index

	// Reads have been decided: each may be answered once the state machine has applied its Index, or has failed.
	Reads []Read

	// Install, if its Snapshot is not zero, asks the server to fetch that snapshot from a peer, to make it durable and
	// to report Node.Installed (or Node.InstallFailed). A new one replaces an unfinished old one.
	Install Install

	// Restore, if it is not zero, is a snapshot that the state machine must be restored from, in the order of applies and
	// after this turn's save is durable: it was installed, and Commit has come to its index at least.
	Restore SnapshotMeta

	// Fault, once set, says which invariant was broken. Nothing else is asked for any more: fence the replica.
	Fault error

	// Role, Term and Leader are the state after the turn, for redirects and events.
	Role   Role
	Term   Term
	Leader ServerID // zero: unknown

	// Membership is set in turns after which another membership is in force; connect to its members.
	Membership *MembershipAt

	// GaveUp is set in the turn in which this leader gave a change up; it is not final before ChangeEnded says it.
	GaveUp *GaveUp
	// ChangeEnded is set in a leader's turn in which a membership with no open change became committed, or ChangeMembership found that
	// all is so already: who waits for a change looks at it and has its answer.
	ChangeEnded *ChangeEnded
	// TransferEnded is set in the turn in which a leadership transfer ended. Proposals that met ErrTransferring may be made again.
	TransferEnded *TransferEnded

	// Traces tell what happened, for the server's log. The Node itself logs nothing.
	Traces []Trace
}

// Save is one atomic change of a group's durable state. What its pointers lead to is made anew for each save and is never
// changed afterwards; Blocks is a slice of the Actions and must be copied if it is kept past the turn.
type Save struct {
	Seq SaveSeq
	// Hard is saved if it is not nil.
	Hard *HardState
	// Birth is saved if it is not nil.
	Birth *Birth
	// Blocks continue the log. The first may begin at or below the end of the log: then it replaces everything from
	// its index on, in the same atom.
	Blocks []Block
	// Snapshot, if not nil, becomes the pointer to the newest snapshot. Where Installed is true it came from another
	// server and the log is dropped, both sides of it, in the same atom.
	Snapshot  *SnapshotMeta
	Installed bool
	// Commit may ride along as a hint and is never a reason for a save of its own.
	Commit Index
}

// Send is one message and the save that it must wait for.
type Send struct {
	Message Message
	// Wait is the newest save that holds what the message claims: a term, a vote, a match. Zero waits for none.
	Wait SaveSeq
}

// GaveUp says which newcomer a membership change was given up for.
type GaveUp struct {
	Member Member // zero: it was cancelled, or no one newcomer is to blame
	Reason string // a constant text
}

// ChangeEnded is a committed membership in which no change is open.
type ChangeEnded struct {
	At     MembershipAt
	GaveUp *GaveUp // the change was given up, and why; nil: it was made, or this leader knows of none
}

// Fill is an append that is to be read from the log beside the loop.
type Fill struct {
	To       ServerID
	ToStore  StoreID
	Seq      uint64 // names the fill in Node.Filled
	First    Index
	Next     Index // read no further than this
	MaxBytes int
}

// FillResult says how a fill ended.
type FillResult uint8

const (
	// FillRead means that entries were read.
	FillRead FillResult = 1
	// FillDropped means that the range could not be read now; the Node will probe again.
	FillDropped FillResult = 2
	// FillCompacted means that the range is no longer in the log: the follower needs a snapshot.
	FillCompacted FillResult = 3
)

// Read is a decided read.
type Read struct {
	ID ReadID
	// Index is the index that the state machine must have applied before the read is answered. It is zero where Err is set.
	Index Index
	// Err is ErrNotLeader when leadership was lost before the read was confirmed.
	Err error
}

// Install names a snapshot to fetch and from whom.
type Install struct {
	From      ServerID
	FromStore StoreID
	Snapshot  SnapshotMeta
}

// Role is the part that a server plays in its term.
type Role uint8

const (
	// RoleFollower follows a leader or waits for one.
	RoleFollower Role = 0
	// RolePreCandidate asks whether an election could be won.
	RolePreCandidate Role = 1
	// RoleCandidate asks for votes.
	RoleCandidate Role = 2
	// RoleLeader leads.
	RoleLeader Role = 3
)

// String returns the role's name.
func (r Role) String() string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[r&3]
}

// ProgressState says how a leader feeds one follower.
type ProgressState uint8

const (
	// ProgressProbe sends one message at a time until the logs are known to meet.
	ProgressProbe ProgressState = 0
	// ProgressStream sends ahead of the answers, within the window.
	ProgressStream ProgressState = 1
	// ProgressSnapshot waits for the follower to install a snapshot.
	ProgressSnapshot ProgressState = 2
)

// String returns the state's name.
func (s ProgressState) String() string { return [...]string{"probe", "stream", "snapshot", ""}[s&3] }

// TraceKind says what a Trace tells.
type TraceKind uint8

// The traces. Each comment says which fields of Trace it uses beside Term.
const (
	TraceBecameFollower     TraceKind = iota + 1 // Server: the leader, if known
	TraceBecamePreCandidate                      //
	TraceBecameCandidate                         //
	TraceBecameLeader                            // Index: its no-op
	TraceSteppedDown                             // Reason
	TraceVoteGranted                             // Server: the candidate
	TraceVoteRejected                            // Server: the candidate; Reason
	TraceTruncated                               // Index: first entry dropped
	TraceAppendRejected                          // Server: the follower; Index: what it hinted
	TraceProgress                                // Server: the follower; Index: next; Reason: the new state
	TraceSnapshotOffered                         // Server: the follower; Index: the snapshot's
	TraceInstalled                               // Index: the snapshot's
	TraceBirth                                   // Reason: proposed, saved, complete
	TraceRefused                                 // Server: the sender; Refusal: what it was told
	TraceRefusedByPeer                           // Server: who refused us; Refusal
	TraceMembership                              // Index: its entry
	TraceTimeJump                                // Reason: how far
	TraceDropped                                 // Server: the sender; Reason: why a message had no effect
	TraceLostLog                                 // Server: the follower; Index: where its log ends
	TraceGaveUp                                  // Server: the newcomer; Reason
	TraceTransfer                                // Server: the successor, if chosen; Reason
	TraceTransferEnded                           // Server: the successor; Reason
)

// Trace is one thing that happened in a turn.
type Trace struct {
	Kind    TraceKind
	Term    Term
	Index   Index
	Server  ServerID
	Refusal Refusal
	Reason  string // a constant text, or empty
	Elapsed time.Duration
}

var traceNames = [...]string{
	TraceBecameFollower: "became follower", TraceBecamePreCandidate: "became pre-candidate",
	TraceBecameCandidate: "became candidate", TraceBecameLeader: "became leader", TraceSteppedDown: "stepped down",
	TraceVoteGranted: "granted vote", TraceVoteRejected: "rejected vote", TraceTruncated: "truncated",
	TraceAppendRejected: "append rejected", TraceProgress: "progress", TraceSnapshotOffered: "snapshot offered",
	TraceInstalled: "installed", TraceBirth: "birth", TraceRefused: "refused", TraceRefusedByPeer: "refused by peer",
	TraceMembership: "membership", TraceTimeJump: "time jump", TraceDropped: "dropped message", TraceLostLog: "lost log",
	TraceGaveUp: "gave a change up", TraceTransfer: "hands leadership over", TraceTransferEnded: "leadership transfer ended",
}

// String returns what happened, in words.
func (k TraceKind) String() string {
	if int(k) < len(traceNames) && traceNames[k] != "" {
		return traceNames[k]
	}
	return "trace"
}
