package client

import "github.com/oarlock/oarlock/internal/wire"

// The errors that come back from a client. Check errors.Is(err, ErrUnknown) first: where it holds, the command may have
// been applied, or may yet be. Where it does not, the command of a Propose was certainly not applied and never will be,
// except by ErrResultTooLarge, which says in its text that it was. They are the same values as those of package server.
var (
	ErrUnknown        = wire.ErrUnknown
	ErrNotSent        = wire.ErrNotSent
	ErrNotLeader      = wire.ErrNotLeader
	ErrNoLeader       = wire.ErrNoLeader
	ErrBusy           = wire.ErrBusy
	ErrClosed         = wire.ErrClosed
	ErrFenced         = wire.ErrFenced
	ErrNotReady       = wire.ErrNotReady
	ErrNoGroup        = wire.ErrNoGroup
	ErrSessionExpired = wire.ErrSessionExpired
	ErrSequence       = wire.ErrSequence
	ErrTooLarge       = wire.ErrTooLarge
	ErrResultTooLarge = wire.ErrResultTooLarge
	ErrMalformed      = wire.ErrMalformed
	ErrVersion        = wire.ErrVersion
	ErrCluster        = wire.ErrCluster
	ErrQuery          = wire.ErrQuery
)
