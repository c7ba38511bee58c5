package memnet_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/memnet"
	"github.com/oarlock/oarlock/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type network struct{ *memnet.Network }

func (n network) Open(local transport.Local) (transport.Transport, string, error) {
	local.Address = fmt.Sprintf("%s, run %d", memnet.Address(local.Server), local.Run)
	return n.Transport(local), local.Address, nil
}

func (n network) Close() error { return nil }

func TestMemnetKeepsThePromisesOfATransport(t *testing.T) {
	for _, encode := range []bool{true, false} {
		factory := func() (transporttest.Network, error) {
			n := memnet.New(1)
			n.SetEncode(encode)
			return network{n}, nil
		}
		for _, story := range transporttest.Stories() {
			t.Run(story.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { story.Check(t, factory) })
			})
		}
	}
}

func TestAddressIsWhatClientsCanDial(t *testing.T) {
	e := memnet.New(1).Transport(transport.Local{Server: 1})
	require.NoError(t, e.CheckAddress(memnet.Address(7)))
	for _, address := range []string{"", "7", "memnet:", "memnet:0", "memnet:seven", "127.0.0.1:7101"} {
		require.ErrorContains(t, e.CheckAddress(address), "is no address of this network", address)
	}
}
