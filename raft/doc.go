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
	ReadIndex      a linearizable read is wanted; Lease answers at once where a leader may
	ChangeMembership, TransferLeadership, StepDown, PlanMembership
	               who belongs to the group, and who leads it, is to be another one
	Saved          a save is durable
	Applied        the state machine has come to an index
	Filled         a read of old entries for a follower has ended
	Snapshotted    the file of the server's own snapshot is durable
	Compacted      the front of the log was dropped
	Installed      the file of a fetched snapshot is durable
	InstallFailed  a snapshot could not be fetched
	Fetched        a member was given a part of a snapshot
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

# Words

One thing has one word, in the code, in messages and in documents:

	server        a running member, named by a ServerID that is never an address; its data directory is a store, with a StoreID
	group         one replicated log and its state machine; a server may hold many
	replica       one server's copy of one group; its Node is what this package adds to it
	entry         one place in the log: index, term, kind, cluster time, and for a command the application's bytes
	block         entries that follow one another in one term, encoded once, saved and sent as they are
	term          Raft's clock: a number that grows with each election; at most one server leads in a term
	leader        the server that appends; followers copy its log; a candidate asks for votes, a pre-candidate whether it would get them
	voter         a member that counts in majorities; a learner gets the log and does not count; an outgoing one is of the old half
	              of a change of membership
	quorum        a majority of the voters, of each half while the membership changes
	birth         the first membership, which all founders save once before anybody may lead
	commit        an entry is committed once a quorum has it on disk and the leader knows: it is never lost or changed from then on
	apply         to have the state machine execute committed entries, in order
	save          one atomic change of what is on disk, numbered; a message that claims something waits for the save that holds it
	wanted        voters and learners of the membership that an open change leads to; a newcomer catches up before it counts
	transfer      the leader hands over to a successor; a promise is a voter's word to vote for nobody else for a while, a lease what that is worth
	hard state    what a server must not forget of a term: that it saw it, and for whom it voted
	snapshot      the state after an entry, in a file, in place of the log up to there; its pointer in the log says which one counts
	compact       to drop the front of the log, which a snapshot covers; truncate: to drop its end, which another leader replaces
	trail         which term stands at which index: all that a Node keeps of the log. The tail is the server's cache of recent blocks
	progress      what a leader knows of one follower: Probe (looking for where the logs meet), Stream, or Snapshot
	round         heartbeats of a leader to all, numbered; a quorum's answers to one prove that it led when it was sent
	cluster time  nanoseconds since the birth in which a leader was at work: the only clock of a state machine
	session       a client's numbered commands with the results that are kept, so that a retry is not executed again
	fence         to stop a replica, or all on a store, for good, with the reason

# Where the dissertation's sections are

	3.3, 3.4  terms, elections, election timeouts      election.go, clock.go
	3.5, 3.6  replication, log matching, commitment    replicate.go, follow.go, trail.go
	3.6.2     only own-term entries commit by counting replicate.go
	3.8       persisted state before answering         saves.go
	3.10      leadership transfer                      transfer.go
	4         membership, joint consensus              membership.go, change.go, change_lead.go, change_safe.go, quorum.go, plan.go
	4.2.2     leaders and servers that were removed    election.go (mayLead), removed.go
	5         snapshots                                snapshot.go
	6.2, 6.4  leader without a quorum, ReadIndex       read.go, clock.go; at other servers ask.go
	6.4.1     leases                                   lease.go
	9.6       pre-vote                                 election.go
	10.2.1    leader writes beside replication         saves.go, replicate.go

What differs from the dissertation, and why, stands in docs/divergence.md.
*/
package raft
