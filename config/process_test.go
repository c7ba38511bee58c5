package config

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOwnProcessLeavesAloneWhatTheEnvironmentSays(t *testing.T) {
	before := debug.SetGCPercent(77)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	percent := func() int { return debug.SetGCPercent(77) }
	for _, c := range []struct {
		gogc, limit string
		want        int
	}{{"", "", garbagePercent}, {"80", "", 77}, {"off", "", 77}, {"", "1GiB", 77}} {
		t.Setenv("GOGC", c.gogc)
		t.Setenv("GOMEMLIMIT", c.limit)
		OwnProcess()
		require.Equal(t, c.want, percent(), "GOGC=%q GOMEMLIMIT=%q", c.gogc, c.limit)
	}
}
