package client

import (
	"errors"

	"github.com/oarlock/oarlock/internal/wire"
)

// The errors that come back from a client. Check errors.Is(err, ErrUnknown) first: where it holds, the command may have
// been applied, or may yet be, and a change or transfer may have been made. Where it does not, the command of a Propose was
// certainly not applied and never will be, except by ErrResultTooLarge, which says in its text that it was. They are the same values as those of package server.
var (
	ErrUnknown        = wire.ErrUnknown        // it may have been applied, or may yet be
	ErrNotSent        = wire.ErrNotSent        // the context ended, or Close came, before anything was sent
	ErrNotLeader      = wire.ErrNotLeader      // another server leads; the client looks for it as long as ctx lets it
	ErrNoLeader       = wire.ErrNoLeader       // nobody is known to lead: an election is under way, or there is no majority
	ErrBusy           = wire.ErrBusy           // a queue is full, or a change of the membership cannot begin yet: try again later
	ErrBehind         = wire.ErrBehind         // the server has not applied in time what the query has to see; another one may have
	ErrClosed         = wire.ErrClosed         // the server, or the client, is closed
	ErrFenced         = wire.ErrFenced         // the replica has stopped for good, for the reason in the text; the other servers go on
	ErrNotReady       = wire.ErrNotReady       // the group is not born yet: the servers that the text names have not been up yet
	ErrNoGroup        = wire.ErrNoGroup        // the server has no replica of that group
	ErrSessionExpired = wire.ErrSessionExpired // the session was not used for too long, or gave way to others
	ErrSequence       = wire.ErrSequence       // the number is outside of the session's window, or its results fill their bound
	ErrChangeOpen     = wire.ErrChangeOpen     // another change of the membership is under way
	ErrChangeUnsafe   = wire.ErrChangeUnsafe   // the group could stand still after the change; forcing it passes this check
	ErrChangeGivenUp  = wire.ErrChangeGivenUp  // a newcomer did not catch up, or the change was cancelled: all is as before
	ErrTransferOpen   = wire.ErrTransferOpen   // leadership is being handed over to another server already
	ErrTransferFailed = wire.ErrTransferFailed // the other server did not take over in time; the leader leads on
	ErrTooLarge       = wire.ErrTooLarge       // the command or query is longer than the server takes
	ErrResultTooLarge = wire.ErrResultTooLarge // applied, and the result is longer than the group keeps
	ErrMalformed      = wire.ErrMalformed      // bytes that break the protocol
	ErrVersion        = wire.ErrVersion        // the other side speaks no version that this one does
	ErrCluster        = wire.ErrCluster        // the server belongs to another cluster
	ErrQuery          = wire.ErrQuery          // the state machine's own error, in the text

	ErrChangeImpossible = wire.ErrChangeImpossible // the change makes no sense for the membership that there is
	ErrChangeMoved      = wire.ErrChangeMoved      // the membership is not the one that the caller started from
	ErrTransferTarget   = wire.ErrTransferTarget   // the chosen server cannot lead, or no other one can
)

// ErrStuck is matched by what Close returns when a connection does not end in time. Close may then be called again.
var ErrStuck = errors.New("client: close: a connection did not end in time")
