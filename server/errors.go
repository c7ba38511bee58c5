package server

import "github.com/oarlock/oarlock/internal/wire"

// The errors that come back from a server. Check errors.Is(err, ErrUnknown) first: where it holds, the command may have
// been applied or may yet be; where it does not, the command was certainly not applied, except by ErrResultTooLarge,
// which says in its text that it was.
var (
	ErrUnknown        = wire.ErrUnknown
	ErrNotLeader      = wire.ErrNotLeader
	ErrNoLeader       = wire.ErrNoLeader
	ErrBusy           = wire.ErrBusy
	ErrClosed         = wire.ErrClosed
	ErrFenced         = wire.ErrFenced
	ErrNotReady       = wire.ErrNotReady
	ErrNoGroup        = wire.ErrNoGroup
	ErrNotSent        = wire.ErrNotSent
	ErrSessionExpired = wire.ErrSessionExpired
	ErrSequence       = wire.ErrSequence
	ErrTooLarge       = wire.ErrTooLarge
	ErrMalformed      = wire.ErrMalformed
	ErrVersion        = wire.ErrVersion
	ErrCluster        = wire.ErrCluster
	ErrResultTooLarge = wire.ErrResultTooLarge
	ErrQuery          = wire.ErrQuery
)

// NotLeaderError is the ErrNotLeader that may name who leads.
type NotLeaderError = wire.NotLeaderError
