package raft

// HardState is what a server must never forget of a term: that it has seen it, and for whom it voted in it. And that its
// word counts for nothing any more, if so it is.
type HardState struct {
	Term Term
	Vote ServerID // zero: nobody yet
	// VoteStore is the store of the server that was voted for. A vote is given to id and store: the server that takes the place of
	// a lost one under its id is another candidate of the same term.
	VoteStore StoreID
	// Lost says that this store has lost entries which it had acknowledged, as a leader found and told it, or its own log at its start. Such a server
	// neither votes, nor campaigns, nor acknowledges: it could help to elect a leader that never had them. Never unset.
	Lost bool
}

// TermRun is one step of the trail: entries from First on have Term, up to where the next run begins.
type TermRun struct {
	First Index
	Term  Term
}

// State is what a Node starts from: what its log loaded, with membership entries decoded. The zero value is a store
// that knows nothing of the group.
type State struct {
	Birth Birth // zero (no voters): never born here
	Hard  HardState
	// Commit is an index known to be committed, a hint that may lag; the log holds every entry up to it.
	Commit Index
	// First and Next bound the log, half open: it holds the entries from First to Next. Equal when it is empty.
	First, Next Index
	// Trail gives the term of every entry from First to Next, in order. Its first run begins at First.
	Trail []TermRun
	// Memberships are the membership entries in the log, in order.
	Memberships []MembershipAt
	// Snapshot is the newest snapshot, which the state machine starts from; zero when there is none.
	Snapshot SnapshotMeta
	// Time is the cluster time of the last entry.
	Time int64
}
