package wire

import (
	"errors"
	"fmt"
	"strings"

	"github.com/oarlock/oarlock/raft"
)

// The errors that a server and a client share. Packages server and client export these same values under the same names,
// so that errors.Is means the same on both sides of a connection and of a process.
//
// Whoever holds an error of a proposal asks one thing first: errors.Is(err, ErrUnknown). If it is, the command may have
// been applied or may yet be. If not, ClassOf says what is certain. An error may match ErrUnknown and a second one that
// says why (ErrUnknown and ErrFenced, say): then the outcome is unknown.
var (
	// ErrUnknown: the command may have been applied, or may yet be. Only a retry in the same session with the same
	// sequence number can find out.
	ErrUnknown = errors.New("oarlock: outcome unknown")

	// ErrNotLeader: this server does not lead the group; NotLeaderError may say who does.
	ErrNotLeader = errors.New("oarlock: not the leader")
	// ErrNoLeader: nobody is known to lead the group now. Try again after an election timeout.
	ErrNoLeader = errors.New("oarlock: no leader")
	// ErrBusy: a queue on the way is full: try again later, or send less. Of a change of the membership also that the leader cannot
	// begin it yet: the text says what it waits for, which passes by itself within an election timeout or so.
	ErrBusy = errors.New("oarlock: busy")
	// ErrClosed: the server or the client was closed.
	ErrClosed = errors.New("oarlock: closed")
	// ErrFenced: the replica has stopped for good on this server; the text says why. The other servers go on.
	ErrFenced = errors.New("oarlock: replica stopped")
	// ErrNotReady: the group is not born yet, because not all voters of its first membership have been heard from. The
	// text names those that are missing.
	ErrNotReady = errors.New("oarlock: group not born yet")
	// ErrNoGroup: the server holds no replica of that group.
	ErrNoGroup = errors.New("oarlock: no such group")
	// ErrSessionExpired: the group knows no session of that number, because it ended, was unused for too long, or gave
	// way to newer ones. Open another.
	ErrSessionExpired = errors.New("oarlock: session expired")
	// ErrSequence: the sequence number is below the session's floor or too far above it (SequenceWindow).
	ErrSequence = errors.New("oarlock: sequence number outside the session's window")

	// ErrBehind: the server has not applied yet what the answer of the query has to reflect, and did not come to it in time.
	// Another server may have.
	ErrBehind = errors.New("oarlock: this server is behind")

	// ErrNotSent: the caller gave up, by its context, before anything was sent or after everything that was sent had been
	// refused. The context's error is matched too.
	ErrNotSent = errors.New("oarlock: given up")

	// ErrChangeOpen: another change of the membership is under way. Ask again when it has ended, or cancel it.
	ErrChangeOpen = errors.New("oarlock: another membership change is open")
	// ErrChangeUnsafe: after the change the group could stand still; the text says why. A change that is forced is not asked this.
	ErrChangeUnsafe = errors.New("oarlock: the membership change could stop the group")
	// ErrChangeGivenUp: the group gave the change up, because a newcomer did not catch up, or somebody cancelled it. The
	// membership is what it was before.
	ErrChangeGivenUp = errors.New("oarlock: the membership change was given up")
	// ErrTransferOpen: leadership is being handed over already, to another server.
	ErrTransferOpen = errors.New("oarlock: another leadership transfer is under way")
	// ErrTransferFailed: the chosen server did not take over in time; the one that leads leads on.
	ErrTransferFailed = errors.New("oarlock: the leadership transfer failed")

	// ErrTooLarge: the command or query is longer than the server takes.
	ErrTooLarge = errors.New("oarlock: command too large")
	// ErrMalformed: a request, a frame or a record is not what its layout says.
	ErrMalformed = errors.New("oarlock: malformed")
	// ErrVersion: the two sides share no version of the protocol.
	ErrVersion = errors.New("oarlock: protocol version not spoken here")
	// ErrCluster: the server belongs to another cluster than the caller named.
	ErrCluster = errors.New("oarlock: another cluster")

	// ErrChangeImpossible: the change makes no sense for the membership that there is; the text says why.
	ErrChangeImpossible = errors.New("oarlock: impossible membership change")
	// ErrChangeMoved: the membership is not the one that the caller started from. Look at it again.
	ErrChangeMoved = errors.New("oarlock: the membership is another one than expected")
	// ErrTransferTarget: the chosen server cannot lead: it is no voter or is not heard of; or no other one can.
	ErrTransferTarget = errors.New("oarlock: no such successor")

	// ErrResultTooLarge: the command was applied, and its result is longer than the group keeps; every replica gives
	// this same answer.
	ErrResultTooLarge = errors.New("oarlock: applied, but the result is too large")
	// ErrAnswerTooLarge is the ErrResultTooLarge, with its code, of a query, which applied nothing.
	ErrAnswerTooLarge error = answerTooLarge{}
	// ErrQuery: the state machine answered the query with an error; its text follows.
	ErrQuery = errors.New("oarlock: query failed")
)

// SequenceWindow is how far above a session's floor a sequence number may be: a number is taken from the floor up to,
// not including, floor + SequenceWindow, so that no result is dropped that somebody still waits for.
const SequenceWindow = 256

// Class says what an error tells about a proposal.
type Class uint8

const (
	// ClassUnknown: may have been applied, may yet be. Also the class of every error that this version does not know.
	ClassUnknown Class = 0
	// ClassRefused: this attempt is certainly not applied and never will be. Another attempt may fare better.
	ClassRefused Class = 1
	// ClassUsage: refused, and the same request will be refused again.
	ClassUsage Class = 2
	// ClassResult: not a failure of the way but the answer itself; a proposal was applied. A retry gives the same.
	ClassResult Class = 3
)

// String returns the class in one word.
func (c Class) String() string { return [...]string{"unknown", "refused", "usage", "result"}[c&3] }

// Code is an error's number on the wire. Its hundreds are its class, so that a reader that does not know a code still
// knows what it says of the outcome: 1xx refused, 2xx unknown, 3xx usage, 4xx result. Codes are never given a new meaning.
type Code uint16

// The codes of the errors above.
const (
	CodeNotLeader      Code = 101
	CodeNoLeader       Code = 102
	CodeBusy           Code = 103
	CodeClosed         Code = 104
	CodeFenced         Code = 105
	CodeNotReady       Code = 106
	CodeNoGroup        Code = 107
	CodeSessionExpired Code = 108
	CodeSequence       Code = 109
	CodeNotSent        Code = 110
	CodeChangeOpen     Code = 111
	CodeChangeUnsafe   Code = 112
	CodeChangeGivenUp  Code = 113
	CodeTransferOpen   Code = 114
	CodeTransferFailed Code = 115
	CodeBehind         Code = 116
	CodeUnknown        Code = 200
	CodeTooLarge       Code = 300
	CodeMalformed      Code = 301
	CodeVersion        Code = 302
	CodeCluster        Code = 303
	CodeChange         Code = 304
	CodeChangeMoved    Code = 305
	CodeTransferTarget Code = 306
	CodeResultTooLarge Code = 400
	CodeQuery          Code = 401
)

// sentinels is ordered: of an error that matches several, the first one counts, and unknown comes before all.
var sentinels = [...]struct {
	code Code
	err  error
}{
	{CodeUnknown, ErrUnknown},
	{CodeNotSent, ErrNotSent},
	{CodeNotLeader, ErrNotLeader},
	{CodeNoLeader, ErrNoLeader},
	{CodeBusy, ErrBusy},
	{CodeBehind, ErrBehind},
	{CodeFenced, ErrFenced},
	{CodeNotReady, ErrNotReady},
	{CodeNoGroup, ErrNoGroup},
	{CodeSessionExpired, ErrSessionExpired},
	{CodeSequence, ErrSequence},
	{CodeChangeOpen, ErrChangeOpen},
	{CodeChangeUnsafe, ErrChangeUnsafe},
	{CodeChangeGivenUp, ErrChangeGivenUp},
	{CodeTransferOpen, ErrTransferOpen},
	{CodeTransferFailed, ErrTransferFailed},
	{CodeChange, ErrChangeImpossible},
	{CodeChangeMoved, ErrChangeMoved},
	{CodeTransferTarget, ErrTransferTarget},
	{CodeClosed, ErrClosed},
	{CodeTooLarge, ErrTooLarge},
	{CodeMalformed, ErrMalformed},
	{CodeVersion, ErrVersion},
	{CodeCluster, ErrCluster},
	{CodeResultTooLarge, ErrResultTooLarge},
	{CodeQuery, ErrQuery},
}

// Class returns what the code says of a proposal.
func (c Code) Class() Class {
	switch c / 100 {
	case 1:
		return ClassRefused
	case 3:
		return ClassUsage
	case 4:
		return ClassResult
	}
	return ClassUnknown
}

// Verdict reports whether a refusal is the answer to what was asked for about members and leaders: asking again, or another
// server, gives the same until something else has changed.
func (c Code) Verdict() bool { return c >= CodeChangeOpen && c <= CodeTransferFailed }

// Outcome reports whether a verdict says what has become of what was asked for, which was begun; the others say that nothing was begun.
func (c Code) Outcome() bool { return c == CodeChangeGivenUp || c == CodeTransferFailed }

// CodeOf returns the code of the first error above that err matches. An error that matches none is CodeUnknown: who does
// not know what happened must not claim that nothing did. CodeOf(nil) is 0.
func CodeOf(err error) Code {
	if err == nil {
		return 0
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.code
		}
	}
	return CodeUnknown
}

// ClassOf returns what err says of a proposal. It is ClassUnknown for every error that is not one of those above, and
// for all that match ErrUnknown, whatever else they match. err must not be nil.
func ClassOf(err error) Class { return CodeOf(err).Class() }

type answerTooLarge struct{}

// Error returns the text.
func (answerTooLarge) Error() string { return "oarlock: the query's answer is too large" }

// Is reports whether target is ErrResultTooLarge.
func (answerTooLarge) Is(target error) bool { return target == ErrResultTooLarge }

// NotLeaderError is the ErrNotLeader of a server that may know who leads.
type NotLeaderError struct {
	Leader  raft.ServerID // zero: unknown
	Address string        // where it is reached: by clients, if that is known, or else by other servers; empty: unknown
}

// Error names the leader, if one is known.
func (e *NotLeaderError) Error() string {
	switch {
	case e.Leader == 0:
		return ErrNotLeader.Error() + "; no other is known"
	case e.Address == "":
		return fmt.Sprintf("%s; server %d leads, and no address is known for it: change its address in the group's membership, or name it to the client", ErrNotLeader, e.Leader)
	}
	return fmt.Sprintf("%s; server %d at %s leads", ErrNotLeader, e.Leader, e.Address)
}

// Is reports whether target is ErrNotLeader.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }

// RemoteError is an error that came over a connection. It matches the error above that has its code.
type RemoteError struct {
	Code Code
	Text string
}

// Error returns the text of the side that sent it.
func (e *RemoteError) Error() string {
	s := e.sentinel()
	switch {
	case s == nil && e.Text == "":
		return fmt.Sprintf("oarlock: error %d", e.Code)
	case s == nil:
		return fmt.Sprintf("oarlock: error %d: %s", e.Code, e.Text)
	case e.Text == "":
		return s.Error()
	case strings.Contains(e.Text, s.Error()), e.Code == CodeResultTooLarge && strings.Contains(e.Text, ErrAnswerTooLarge.Error()):
		return e.Text
	}
	return s.Error() + ": " + e.Text
}

// Unwrap returns the error above with that code. For a code that this version does not know it is ErrUnknown, ErrBusy
// or ErrMalformed by the code's class, so that the caller still does the right thing.
func (e *RemoteError) Unwrap() error {
	if s := e.sentinel(); s != nil {
		return s
	}
	switch e.Code.Class() {
	case ClassRefused:
		return ErrBusy
	case ClassUsage:
		return ErrMalformed
	}
	return ErrUnknown
}

func (e *RemoteError) sentinel() error {
	for _, s := range sentinels {
		if s.code == e.Code {
			return s.err
		}
	}
	return nil
}
