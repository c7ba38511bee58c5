package server

import (
	"fmt"
	"net"
	"testing"

	"github.com/oarlock/oarlock/internal/wire"
)

// BenchmarkServe is a client that has 64 requests under way, over TCP on loopback, to a backend that answers at once.
func BenchmarkServe(b *testing.B) {
	for _, c := range []struct{ command, result int }{{16, 16}, {128, 4 << 10}, {64 << 10, 16}, {16, 64 << 10}, {16, 1 << 20}} {
		b.Run(fmt.Sprintf("command=%d/result=%d", c.command, c.result), func(b *testing.B) {
			f := newFakeDoor()
			f.result, f.commands = make([]byte, c.result), 1<<20
			served := newClients(sinkDoor{f}, ClientOptions{}, nil)
			defer served.close()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			go func() { _ = served.serve(listener) }() // it ends with close
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			request := propose(1, string(make([]byte, c.command)))
			raw := wire.AppendClientRequest(nil, &request)
			room := make(chan struct{}, 64)
			b.ReportAllocs()
			b.SetBytes(int64(c.command + c.result))
			go func() {
				for range b.N {
					room <- struct{}{}
					if _, err := conn.Write(raw); err != nil {
						return
					}
				}
			}()
			r := wire.NewClientReader(conn, 4<<20, false)
			for answered := 0; answered < b.N; {
				message, err := r.Buffered()
				if err == nil && message == nil {
					err = r.Fill()
				}
				if err != nil {
					b.Fatal(err)
				}
				if message != nil {
					answered++
					<-room
				}
			}
		})
	}
}
