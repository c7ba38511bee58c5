// Package statemachine defines what an application promises so that oarlock can replicate it: four methods, and a few
// optional ones that are found by type assertion. It uses built-in types only, so that Go, C and Python read the same.
//
// The one rule above all: the state after an entry depends on the entries up to it and on nothing else. No clock but
// Entry.Time, no random number, no map order, no environment, no I/O whose outcome can differ between servers. The
// package smtest checks a machine against it.
package statemachine

import (
	"errors"
	"io"
)

// StateMachine is the application.
//
// Goroutines: all four methods are called on one goroutine at a time for a group, the *apply goroutine* (not always the
// same one). Only a Snapshot's WriteTo and Close run beside them.
type StateMachine interface {
	// Apply executes a committed command, in log order, each once since the state that Restore gave or the machine's
	// birth. It is deterministic and has no error: a command that the application refuses is executed too, and its
	// refusal is a result. A panic stops the replica for good, with the entry's index in the reason; the entry is never
	// skipped. The result is taken over by the caller; it may be nil.
	Apply(entry Entry) (result []byte)

	// Query answers a read from the state as it is, without changing it. query is valid until Query returns; the result
	// is taken over by the caller. An error goes back to whoever asked and has no other effect.
	Query(query []byte) (result []byte, err error)

	// Snapshot captures the state as it is now and returns quickly, because commands wait meanwhile: copy on write, a
	// persistent map, a database's own snapshot, or a plain copy if the state is small. An error is reported, and a
	// snapshot tried again later; the machine goes on.
	Snapshot() (Snapshot, error)

	// Restore replaces the state by a snapshot's. All or nothing: with an error the old state must be untouched, or the
	// machine must not be used again, which is what happens: the replica stops with that error. A machine with half of a
	// state says so by an error of Snapshot from then on, which is what package smtest looks at. On a machine that has
	// never applied anything Restore is the first call.
	Restore(snapshot io.Reader) error
}

// Entry is one committed command.
type Entry struct {
	// Index is the entry's place in the log. It grows and is not contiguous: entries that are not commands are between.
	Index uint64
	// Term is the leader's term in which the entry was made.
	Term uint64
	// Time is cluster time: nanoseconds since the group was born, the same on every server, never going back, standing
	// still while the group has no leader. It is the only clock that a state machine may use, and it is not wall time.
	Time int64
	// Command is what was proposed. It is valid until Apply returns, is shared, and must not be changed; keep a copy
	// of what you keep.
	Command []byte
}

// Snapshot is a captured state. WriteTo runs at most once, on a goroutine of its own beside later Applies, and writes
// the state as it was at the capture. Close comes exactly once, after WriteTo or instead of it.
type Snapshot interface {
	WriteTo(w io.Writer) (int64, error)
	Close() error
}

// BatchApplier is for machines that apply many commands faster together. ApplyBatch replaces Apply: results[i] is to
// hold the result of entries[i]; both slices are valid until it returns, the results themselves are taken over.
type BatchApplier interface {
	ApplyBatch(entries []Entry, results [][]byte)
}

// Scheduled is for machines in which something falls due by cluster time alone, so that an idle group expires too. After
// each batch the server asks NextDue; when cluster time has come to it, the leader appends a clock entry, and on every
// server Expire is called with that entry's index and time. A machine that does not act on time between clock entries
// should treat what is due as expired in Apply and Query as well, by Entry.Time.
type Scheduled interface {
	// NextDue returns the cluster time at which Expire is wanted next, or ok false for never. It depends on the state alone.
	NextDue() (nanos int64, ok bool)
	// Expire executes what is due at nanos. A NextDue that is not past nanos afterwards stops the replica with ErrStillDue.
	// On a Durable machine it belongs to the transaction of the ApplyDurable, through the same index, that follows at once.
	Expire(index uint64, nanos int64)
}

// ConcurrentQuerier is for machines whose Query may run on several goroutines, beside Apply and beside itself. A query
// still sees every entry up to the index at which it was confirmed, and may see later ones.
type ConcurrentQuerier interface {
	// ConcurrentQuery marks the machine. It is never called.
	ConcurrentQuery()
}

// Hasher is for machines that can say in a few bytes what state they are in. Two machines that applied the same entries
// return the same hash. It is called where Apply is, between two commands. The suite smtest and the simulator (sim.Check)
// compare copies by it instead of by the bytes of their snapshots, which then need not be equal.
type Hasher interface {
	StateHash() uint64
}

// Durable is for machines with storage of their own, which would be slow to restore at each start. The server gives
// them only entries that its own log has made durable. ApplyDurable replaces Apply and ApplyBatch, Load comes first of
// all calls, RestoreDurable replaces Restore.
//
// Records are the server's own small state beside the machine's (sessions, cluster time): opaque keys and values that
// the machine keeps in the same transaction as its state, so that both are always of one index.
type Durable interface {
	// Load returns the index up to which the machine's storage is complete (zero: new), and all records, in any order.
	// A machine that claims more than the log knows is refused; one that lags behind the log's beginning is restored.
	Load() (index uint64, records []Record, err error)
	// ApplyDurable executes the entries (possibly none), sets results[i] to the result of entries[i], brings the machine
	// to index through, and keeps the changed records, in one transaction. It asks for the records by calling changes:
	// exactly once, also where there are no entries, after the results are set and before the transaction is committed,
	// on the goroutine that it was called on. Among them are the results, so that a command that is tried again after a
	// crash is answered as it was before. The transaction may be durable later than the return, but never in part and
	// never out of order. What Expire did since the last call belongs to it too. entries, results and what changes
	// returned are valid until ApplyDurable returns; the results themselves are taken over. An error stops the replica,
	// and so does a return without a call of changes.
	ApplyDurable(entries []Entry, results [][]byte, through uint64, changes func() []Record) error
	// RestoreDurable replaces state and records, and sets the index, in one transaction, which may be durable later than
	// its return: after a crash the machine has the old state or the new one, whole.
	RestoreDurable(snapshot io.Reader, index uint64, records []Record) error
}

// Record is a small opaque key and value. A nil Value in a change deletes the key.
type Record struct {
	Key   []byte
	Value []byte
}

// ErrStillDue is the reason of a replica that stopped because NextDue still pointed at or before a time that Expire had
// just executed: the leader would append clock entries for ever.
var ErrStillDue = errors.New("statemachine: NextDue is still due after Expire")

// Broken is what a machine panics with when it cannot go on, for a reason of its own that needs no stack: the replica stops,
// and Err is what is told to everybody who waits. Adapters use it for machines that are written in other languages.
type Broken struct {
	Err error
}

// Error returns the reason's text.
func (b *Broken) Error() string { return b.Err.Error() }

// Unwrap returns the reason.
func (b *Broken) Unwrap() error { return b.Err }

// Encoded is a Snapshot of a state that was encoded when it was captured: the simple way for a state that is small. It
// refers to state, which must not change.
func Encoded(state []byte) Snapshot { return encoded(state) }

type encoded []byte

// WriteTo implements Snapshot.
func (e encoded) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(e)
	return int64(n), err
}

// Close implements Snapshot.
func (e encoded) Close() error { return nil }
