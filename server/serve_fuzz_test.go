package server

import (
	"net"
	"testing"

	"github.com/oarlock/oarlock/internal/wire"
)

// FuzzServeConn sends anything at all to a served connection: it has to end when its client does, and to say nothing
// but what a client can read.
func FuzzServeConn(f *testing.F) {
	for _, r := range []wire.ClientRequest{
		propose(1, "x"),
		{ID: 2, Method: wire.MethodHello, Version: 1},
		{ID: 3, Method: wire.MethodSessionOpen, Group: 1},
		{ID: 4, Method: wire.MethodStatus},
		{ID: 5, Method: wire.MethodQuery, Group: 1, Body: []byte("q")},
		{Notification: true, Method: wire.MethodPing},
	} {
		f.Add(wire.AppendClientRequest(nil, &r))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := newClients(newFakeDoor(), ClientOptions{}, nil)
		ours, theirs := net.Pipe()
		over := make(chan struct{})
		go func() {
			defer close(over)
			c.serveConn(theirs)
		}()
		go func() {
			// The other side may hang up first.
			_, _ = ours.Write(raw)
			c.close()
		}()
		r := wire.NewClientReader(ours, 1<<20, true)
		for r.Fill() == nil {
			for {
				message, err := r.Buffered()
				if err != nil {
					t.Fatalf("the server said %x: %v", r.Rest(), err)
				}
				if message == nil {
					break
				}
				if _, err := wire.ParseClientResponse(message); err != nil {
					t.Fatalf("the server said %x: %v", message, err)
				}
			}
		}
		_ = ours.Close()
		<-over
	})
}
