/*
Package raft is oarlock's consensus module: the rules of Raft, as a value that is told what happened and answers what is
to be done. It does no I/O, reads no clock, starts no goroutine and draws no random number that its seed did not fix: a
run of a [Node] is a pure function of its inputs.

# One door in

What happens to a server is told to its Node by a method call, and each takes now, a monotonic time that never goes
back within a run:

	Step           a message came from a peer
	Tick           time has passed (wanted at Deadline)
	Propose        entries of the application or of a session are to be appended
	ReadIndex      a linearizable read is wanted
	Saved          a save is durable
	Applied        the state machine has come to an index
	Filled         a read of old entries for a follower has ended
	Snapshotted    the file of the server's own snapshot is durable
	Compacted      the front of the log was dropped
	Installed      the file of a fetched snapshot is durable
	InstallFailed  a snapshot could not be fetched
	NeedSnapshot   the state machine cannot be restored from what is here, or can again
	CacheFrom      from which index on the server has the log in memory
	Unreachable    the transport lost messages to a peer

# One door out

At the end of a turn (any number of inputs) the server takes [Actions] and carries it out in the order of its fields.
A turn takes messages and completions first, then Tick if Deadline has come, then proposals and reads; so a burst of
arrivals makes one save and one message a peer. The Node keeps no bytes of any command: blocks of a received message
pass through it by value into the Save of the same turn, and what a leader sends is named as a range that the server
fills in, from its cache in the same turn or from the log beside the loop.

# The rules of a server that drives a Node

 1. One goroutine at a time.
 2. Messages without a Wait may leave at once, before and beside the save of the same turn; the others when their save,
    and every earlier one, is durable. A save that fails ends the replica: nothing that waits for it ever leaves.
 3. Saves are handed to the log in order, and Saved is reported in order. Saved(n) stands for all up to n.
 4. Entries up to Commit are applied in order. What a Read names must be applied before it is answered.
 5. An AppendRequest whose range is filled in is sent whole; a server that cannot fill it in drops it.
 6. FromStore and FromRun of a message are what its connection proved.

# Where the dissertation's sections are

	3.3, 3.4  terms, elections, election timeouts      election.go, clock.go
	3.5, 3.6  replication, log matching, commitment    replicate.go, follow.go, trail.go
	3.6.2     only own-term entries commit by counting replicate.go
	3.8       persisted state before answering         saves.go
	3.10      leadership transfer                      election.go (the receiving side)
	4         membership, joint consensus              membership.go, quorum.go
	5         snapshots                                snapshot.go
	6.2, 6.4  leader without a quorum, ReadIndex       read.go, clock.go
	9.6       pre-vote                                 election.go
	10.2.1    leader writes beside replication         saves.go, replicate.go

What differs from the dissertation, and why, stands in docs/divergence.md.
*/
package raft
