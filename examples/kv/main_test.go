package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatOneRunStoresTheNextOneFinds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir, port := t.TempDir(), freePorts(t)
	var out bytes.Buffer
	require.NoError(t, run(ctx, &out, dir, port))
	require.NoError(t, run(ctx, &out, dir, port))
	require.Equal(t, `run 1: greeting is not there
run 1: server 1 has stopped
run 1: greeting is hello from run 1
run 2: greeting is hello from run 1
run 2: server 1 has stopped
run 2: greeting is hello from run 2
`, out.String())
}

// freePorts finds three in a row, below those that systems give to outgoing connections.
func freePorts(t *testing.T) int {
	for range 100 {
		first := 10_000 + rand.IntN(20_000)
		free := 0
		for p := first; p < first+3; p++ {
			if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p)); err == nil {
				require.NoError(t, l.Close())
				free++
			}
		}
		if free == 3 {
			return first
		}
	}
	require.Fail(t, "no three free ports in a row")
	return 0
}
