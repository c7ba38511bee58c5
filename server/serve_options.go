package server

import (
	"fmt"
	"time"
)

// ClientOptions bound what clients may take of a server. A zero size takes the default that stands beside it.
type ClientOptions struct {
	// ConnectionsMax is how many connections are served at a time; further ones are closed at once: 4096.
	ConnectionsMax int
	// OutstandingMax and OutstandingBytesMax bound, for one connection, the requests that are not answered yet: 2048, and
	// 16 MiB. A connection that has so many is not read until some are answered.
	OutstandingMax      int
	OutstandingBytesMax int
	// UnreadBytesMax bounds, for one connection, the answers that the client has not taken yet: 16 MiB. A connection that
	// has half of it, counting what its requests under way are likely to bring, is not read either; a result that would
	// pass the bound is withheld, unless it is short, or the only one.
	UnreadBytesMax int
	// RequestTimeout is how long the first request of a connection may take to arrive, and every further 64 KiB of one
	// that has begun: 10 s.
	RequestTimeout time.Duration
	// IdleTimeout closes a connection that asks nothing and waits for nothing: 10 min.
	IdleTimeout time.Duration
	// WriteTimeout drops a client that does not take 256 KiB of its answers in that time: 10 s.
	WriteTimeout time.Duration
}

func (o ClientOptions) withDefaults() ClientOptions {
	orDefault(&o.ConnectionsMax, 4096)
	orDefault(&o.OutstandingMax, 2048)
	orDefault(&o.OutstandingBytesMax, 16<<20)
	orDefault(&o.UnreadBytesMax, 16<<20)
	orDefault(&o.RequestTimeout, 10*time.Second)
	orDefault(&o.IdleTimeout, 10*time.Minute)
	orDefault(&o.WriteTimeout, 10*time.Second)
	return o
}

// Validate names the settings that cannot work.
func (o ClientOptions) Validate() error {
	o = o.withDefaults()
	if o.ConnectionsMax < 1 || o.OutstandingMax < 1 || o.OutstandingBytesMax < 1 || o.UnreadBytesMax < 1 {
		return fmt.Errorf("server: ConnectionsMax (%d), OutstandingMax (%d), OutstandingBytesMax (%d) and UnreadBytesMax (%d) must be positive",
			o.ConnectionsMax, o.OutstandingMax, o.OutstandingBytesMax, o.UnreadBytesMax)
	}
	if o.RequestTimeout < 0 || o.IdleTimeout < 0 || o.WriteTimeout < 0 {
		return fmt.Errorf("server: RequestTimeout (%v), IdleTimeout (%v) and WriteTimeout (%v) must not be negative", o.RequestTimeout, o.IdleTimeout, o.WriteTimeout)
	}
	return nil
}
