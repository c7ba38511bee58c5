package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/oarlock/oarlock/transport/memnet"
)

// dialled returns both ends of a connection to server 1.
func dialled(t require.TestingT, n *memnet.Network) (client, server net.Conn, l net.Listener) {
	l, err := n.Listen(1)
	require.NoError(t, err)
	client, err = n.DialAddress(context.Background(), memnet.Address(1))
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	return client, server, l
}

func TestConnectionKeepsThePromisesOfNetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2, l := dialled(t, memnet.New(1))
		return c1, c2, func() {
			require.NoError(t, errors.Join(c1.Close(), c2.Close(), l.Close()))
		}, nil
	})
}

func TestConnectionHoldsBackAWriterThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, l := dialled(t, memnet.New(1))
		require.NoError(t, client.SetWriteDeadline(time.Now().Add(time.Minute)))
		since := time.Now()
		n, err := client.Write(make([]byte, 1<<20))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(since))
		require.Equal(t, 256<<10, n)
		require.NoError(t, client.Close())
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Len(t, got, n, "what was written before the end is read")
		require.NoError(t, errors.Join(server.Close(), l.Close()))
	})
}

func TestDialIsRefusedWhereNobodyListens(t *testing.T) {
	n := memnet.New(1)
	_, err := n.Dial(t.Context(), 1)
	require.ErrorContains(t, err, "server 1 does not listen")
	_, err = n.DialAddress(t.Context(), "127.0.0.1:80")
	require.ErrorContains(t, err, "no address of this network")
	l, err := n.Listen(1)
	require.NoError(t, err)
	_, err = n.Listen(1)
	require.ErrorContains(t, err, "listens already")

	waiting, err := n.Dial(t.Context(), 1)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = waiting.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "a connection that nobody accepted ends with its listener")
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = n.Dial(t.Context(), 1)
	require.Error(t, err)
	require.NoError(t, waiting.Close())
}
