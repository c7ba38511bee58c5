package raft

import (
	"fmt"
	"time"
)

// MessageType says what a Message is. Names are noun first, direction last.
type MessageType uint8

const (
	// MessagePreVoteRequest asks whether a vote would be granted, without touching anyone's term (dissertation 9.6).
	MessagePreVoteRequest MessageType = 1
	// MessagePreVoteResponse answers it. A rejection carries the voter's term, so that a server that fell behind catches up.
	MessagePreVoteResponse MessageType = 2
	// MessageVoteRequest asks for the one vote of a term (dissertation 3.4).
	MessageVoteRequest MessageType = 3
	// MessageVoteResponse grants or refuses it.
	MessageVoteResponse MessageType = 4
	// MessageAppendRequest carries blocks, or only a commit index (dissertation 3.5).
	MessageAppendRequest MessageType = 5
	// MessageAppendResponse says up to where the follower's log matches and is durable, or where to look for the match.
	MessageAppendResponse MessageType = 6
	// MessageHeartbeatRequest keeps followers quiet, opens a round and carries commit index and cluster time.
	MessageHeartbeatRequest MessageType = 7
	// MessageHeartbeatResponse confirms a round.
	MessageHeartbeatResponse MessageType = 8
	// MessageSnapshotOffer tells a follower whose entries are gone from the log that a snapshot is there to be fetched.
	MessageSnapshotOffer MessageType = 9
	// MessageBirthRequest proposes a group's birth to one voter of it.
	MessageBirthRequest MessageType = 10
	// MessageBirthResponse says that the sender has saved that birth.
	MessageBirthResponse MessageType = 11
	// MessageRefusal tells a sender why its messages have no effect (Refusal).
	MessageRefusal MessageType = 12
	// MessageTransferRequest tells the chosen successor to campaign at once (TimeoutNow in dissertation 3.10).
	MessageTransferRequest MessageType = 13
	// MessageReadIndexRequest asks the leader, for reads of a server that does not lead, for the index that they wait for (dissertation 6.4).
	MessageReadIndexRequest MessageType = 14
	// MessageReadIndexResponse answers it, when a round that began after the question was confirmed.
	MessageReadIndexResponse MessageType = 15
)

var messageNames = [...]string{
	MessagePreVoteRequest: "PreVoteRequest", MessagePreVoteResponse: "PreVoteResponse",
	MessageVoteRequest: "VoteRequest", MessageVoteResponse: "VoteResponse",
	MessageAppendRequest: "AppendRequest", MessageAppendResponse: "AppendResponse",
	MessageHeartbeatRequest: "HeartbeatRequest", MessageHeartbeatResponse: "HeartbeatResponse",
	MessageSnapshotOffer: "SnapshotOffer", MessageBirthRequest: "BirthRequest", MessageBirthResponse: "BirthResponse",
	MessageRefusal: "Refusal", MessageTransferRequest: "TransferRequest",
	MessageReadIndexRequest: "ReadIndexRequest", MessageReadIndexResponse: "ReadIndexResponse",
}

// String returns the type's name as it stands in traces and documents.
func (t MessageType) String() string {
	if int(t) < len(messageNames) && messageNames[t] != "" {
		return messageNames[t]
	}
	return fmt.Sprintf("message-%d", uint8(t))
}

// Refusal says why a message had no effect.
type Refusal uint8

const (
	// RefusalNone is no refusal.
	RefusalNone Refusal = 0
	// RefusalStranger: the sender's id is bound to another store. Its disk was lost or exchanged; a replacement is a
	// membership change, and an old copy must not be put back.
	RefusalStranger Refusal = 1
	// RefusalBorn: the group was born already, with another membership, other stores or other limits.
	RefusalBorn Refusal = 2
	// RefusalUnborn: the receiver has never taken part in the group's birth and knows no history of it.
	RefusalUnborn Refusal = 3
	// RefusalRemoved: the sender is no member of the group.
	RefusalRemoved Refusal = 4
	// RefusalLostLog: the sender's log ends below what it acknowledged. Whoever is told keeps it (HardState.Lost).
	RefusalLostLog Refusal = 5
	// RefusalFounders: the proposed birth is not of the founders that the receiver was configured with.
	RefusalFounders Refusal = 6
	// RefusalLostBirth: the sender asks for a birth that it answered for, with this very store.
	RefusalLostBirth Refusal = 7
)

// String returns the reason in words.
func (r Refusal) String() string {
	switch r {
	case RefusalNone:
		return "none"
	case RefusalStranger:
		return "stranger: the server's id is bound to another store"
	case RefusalBorn:
		return "the group was born already"
	case RefusalUnborn:
		return "the receiver knows no history of the group"
	case RefusalRemoved:
		return "not a member"
	case RefusalLostLog:
		return "the log ends below what was acknowledged"
	case RefusalFounders:
		return "the founders are not those that the receiver was configured with"
	case RefusalLostBirth:
		return "the group's birth was answered for and forgotten"
	}
	return fmt.Sprintf("refusal-%d", uint8(r))
}

// Message is what servers of a group tell each other. One flat value serves every type; which fields a type uses stands
// beside each field. The Node sends a message by naming it in Actions and receives one by Step.
type Message struct {
	Type  MessageType
	Group GroupID
	From  ServerID
	To    ServerID

	// FromStore and FromRun are what the sender proved in its handshake. They do not travel with the message: the
	// transport that received it fills them in, for every message.
	FromStore StoreID
	FromRun   RunID
	// ToStore, where it is not zero, is the only store that the message is meant for. It does not travel either: the
	// transport that sends drops the message when the connection leads to another store.
	ToStore StoreID

	// Term is the sender's term; in a PreVoteRequest the term it would campaign in, and in a granting PreVoteResponse
	// that same term.
	Term Term

	// LastIndex and LastTerm are the end of the candidate's log in vote and pre-vote requests, and the end that the
	// transfer's target must have in a TransferRequest. In append and heartbeat responses they are the end of the follower's
	// log, durable or not; an append response leaves LastTerm out. In a Refusal of a server that was removed they are the
	// entry of the membership without it.
	LastIndex Index
	LastTerm  Term

	// Reject is true in a vote, pre-vote or append response that says no.
	Reject bool
	// Forced marks a VoteRequest of a leadership transfer: voters who hear from a leader grant it all the same
	// (dissertation 3.10).
	Forced bool

	// PrevIndex and PrevTerm are the entry before the first one of an AppendRequest; of a rejecting AppendResponse,
	// PrevIndex is the one that did not match.
	PrevIndex Index
	PrevTerm  Term
	// First and Next are the half-open range of entries that an AppendRequest carries; First is PrevIndex+1, and
	// First == Next carries none. Blocks holds them, contiguous and in order.
	First, Next Index
	// Blocks are the entries themselves. The Node leaves them empty in what it sends (its server fills them in) and
	// reads of a received one nothing but the header of each. They are borrowed by Step: what is kept comes out in
	// Actions of the same turn.
	Blocks []Block
	// Memberships are the decoded membership entries among Blocks, by index. They do not travel: the receiving server
	// decodes them, because the Node parses nothing.
	Memberships []MembershipAt

	// Commit is the leader's commit index in AppendRequest and HeartbeatRequest, and the index to wait for in a
	// ReadIndexResponse. A heartbeat carries it cut to what the
	// receiver is known to hold, as PrevIndex with its PrevTerm, so that the receiver verifies that very entry.
	Commit Index
	// Match is, in an AppendResponse that does not reject, the index up to which the follower's log is the leader's and
	// durable; so it is in a HeartbeatResponse, if the log ends in the leader's term, and zero if not. In a rejecting one it is zero, and HintIndex, HintTerm say where the leader should look: HintTerm is the
	// term at HintIndex, the last entry of the follower's log at or below PrevIndex whose term is at most PrevTerm.
	Match     Index
	HintIndex Index
	HintTerm  Term

	// Round is the round that a heartbeat or append request opens or repeats, and that the response confirms. In a
	// ReadIndexRequest it is the number of the sender's question, and its response repeats it.
	Round Round
	// Confirmed is the newest round that a quorum has confirmed; a follower holds fast to its leader only while it grows.
	Confirmed Round
	// Time is the leader's cluster time, in nanoseconds.
	Time int64

	// WantSnapshot, in a HeartbeatResponse, asks the leader for its snapshot although the logs may match: the sender
	// cannot restore its own. In an AppendResponse that rejects an offer it says that the snapshot at PrevIndex cannot be had from
	// the leader, which should take another one.
	WantSnapshot bool

	// Priority, in a HeartbeatResponse, is the sender's (Config.Priority), if it could lead now.
	Priority uint8
	// Promise, in a HeartbeatResponse, is for how long the sender votes for nobody else, by its own clock; zero: it promises
	// nothing. See Node.Lease.
	Promise time.Duration
	// Run, in a ReadIndexRequest, is Config.Run of the Node that asks, and its response repeats it.
	Run RunID

	// Snapshot describes the snapshot in a SnapshotOffer.
	Snapshot SnapshotMeta
	// Birth is the proposed birth in a BirthRequest and the saved one in a BirthResponse.
	Birth Birth
	// Refusal is the reason in a Refusal.
	Refusal Refusal
}

// peer is a server as it proved to be.
type peer struct {
	id    ServerID
	store StoreID
}

func (m *Message) sender() peer { return peer{m.From, m.FromStore} }

// SnapshotMeta describes one snapshot of a group's state: everything but its bytes.
type SnapshotMeta struct {
	Group           GroupID
	Index           Index      // the last entry that the snapshot covers
	Term            Term       // the term of that entry
	Time            int64      // cluster time after that entry, nanoseconds
	Chain           uint64     // chain hash after that entry
	Membership      Membership // the membership in force at Index
	MembershipIndex Index      // the entry that brought it
	Limits          GroupLimits
	Size            int64  // bytes of the stream
	Checksum        uint32 // CRC32C of the stream
}

// IsZero reports whether m describes no snapshot.
func (m SnapshotMeta) IsZero() bool { return m.Index == 0 }

// Same reports whether m and o describe the same bytes, so that a transfer of one can be resumed as the other.
func (m SnapshotMeta) Same(o SnapshotMeta) bool {
	return m.Group == o.Group && m.Index == o.Index && m.Term == o.Term && m.Size == o.Size && m.Checksum == o.Checksum
}
