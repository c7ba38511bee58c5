package tcp_test

import (
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
	"github.com/oarlock/oarlock/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type loopback struct{}

func (loopback) Open(local transport.Local) (transport.Transport, string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	local.Address = listener.Addr().String()
	t, err := tcp.New(tcp.Options{
		Local: local, Listener: listener, BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond,
	})
	return t, listener.Addr().String(), err
}

func (loopback) Close() error { return nil }

func TestTCPKeepsThePromisesOfATransport(t *testing.T) {
	transporttest.Subtests(t, func() (transporttest.Network, error) { return loopback{}, nil })
}
