package tcp_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
)

func TestAddressIsWhereOthersCanReachAServer(t *testing.T) {
	plain, _ := start(t, 1, nil)
	for address, says := range map[string]string{
		"":                    "missing port in address; write host:port",
		"10.0.0.7":            "missing port in address",
		"10.0.0.7:":           "is not a number from 1 to 65535",
		"10.0.0.7:0":          "is not a number from 1 to 65535",
		"10.0.0.7:99999":      `port "99999" is not a number from 1 to 65535`,
		"10.0.0.7:http":       "is not a number from 1 to 65535",
		"http://10.0.0.7:7:1": "no address",
		"a b:7101":            `"a b" is not a host`,
		":7101":               "not where other servers can reach it",
		"0.0.0.0:7101":        "not where other servers can reach it",
		"[::]:7101":           "not where other servers can reach it",
		strings.Repeat("a", transport.AddressBytesMax) + ":7101": "1029 bytes, and 1024 are the most",
	} {
		require.ErrorContains(t, tcp.CheckAddress(address), says, address)
		require.ErrorContains(t, plain.CheckAddress(address), says, address)
	}
	for _, address := range []string{"10.0.0.7:7101", "localhost:1", "[::1]:65535", "one.example:7101"} {
		require.NoError(t, tcp.CheckAddress(address), address)
		require.NoError(t, plain.CheckAddress(address), address)
	}
}

func TestAddressIsWhateverADialOfItsOwnTakes(t *testing.T) {
	own, _ := start(t, 1, func(o *tcp.Options) {
		o.Dial = func(context.Context, string) (net.Conn, error) { return nil, net.ErrClosed }
	})
	require.NoError(t, own.CheckAddress("/run/oarlock/1"))
	require.EqualError(t, own.CheckAddress(""), "there is no address")
	require.Error(t, own.CheckAddress(strings.Repeat("a", transport.AddressBytesMax+1)))
}
