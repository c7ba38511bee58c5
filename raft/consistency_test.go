package raft_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

func TestConsistencyIsRefusedWhereItSaysNothingThatCanBeKept(t *testing.T) {
	for _, good := range []raft.Consistency{
		{},
		{Level: raft.Stale},
		{Level: raft.Lease},
		{Level: raft.Bounded, MaxAge: 1},
		{Level: raft.Bounded, MaxAge: math.MaxInt64},
		{Level: raft.Bounded, MinIndex: 1},
		{Level: raft.Bounded, MaxAge: time.Second, MinIndex: math.MaxUint64},
	} {
		require.NoError(t, good.Validate(), "%v", good)
	}
	for want, bad := range map[string]raft.Consistency{
		"there is no level-4":        {Level: 4},
		"must not be negative":       {Level: raft.Bounded, MaxAge: -1},
		"neither":                    {Level: raft.Bounded},
		"belong to bounded, not to ": {MaxAge: time.Second},
		"not to stale":               {Level: raft.Stale, MinIndex: 7},
		"not to lease":               {Level: raft.Lease, MaxAge: time.Second},
	} {
		require.ErrorContains(t, bad.Validate(), want)
	}
	require.Equal(t, "bounded max-age 2s min-index 9", raft.Consistency{Level: raft.Bounded, MaxAge: 2 * time.Second, MinIndex: 9}.String())
	require.Equal(t, "linearizable", raft.Consistency{}.String())
}
