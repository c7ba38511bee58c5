package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// unborn opens a member and requires that it has founded nothing.
func unborn(t *testing.T, c *Config, m Member) {
	t.Helper()
	s, err := c.OpenServer(m.ID, kv.New(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	_, err = s.Propose(t.Context(), raft.DefaultGroup, kv.Put([]byte("k"), []byte("v")))
	require.ErrorIs(t, err, server.ErrNotReady)
}

func TestAJoinThatCannotMarkItsDirectoryLeavesNoStore(t *testing.T) {
	for _, kind := range []string{LogPebble, LogSegments} {
		c := clusterOf(t, 1)
		c.Log.Kind, c.Log.SegmentBytes = kind, 1<<20
		m := c.Members[0]
		require.True(t, m.Founder)
		mark := filepath.Join(c.DataDir(m), joinedName)
		require.NoError(t, os.MkdirAll(mark, 0o700)) // a folder where the file is to be

		require.Error(t, c.FormatJoining(1))
		_, err := c.OpenServer(1, kv.New(), nil)
		require.ErrorIs(t, err, persistentlog.ErrNotFormatted, "a store of a founder without the mark would found a second group")

		require.NoError(t, os.Remove(mark))
		require.NoError(t, c.FormatJoining(1))
		unborn(t, c, m)
	}
}

func TestAJoinThatStoppedHalfWayIsRepeatedAndFoundsNothing(t *testing.T) {
	for _, kind := range []string{LogPebble, LogSegments} {
		c := clusterOf(t, 1)
		c.Log.Kind, c.Log.SegmentBytes = kind, 1<<20
		m := c.Members[0]
		inTheWay := filepath.Join(c.logDir(m), "foreign")
		require.NoError(t, os.MkdirAll(c.logDir(m), 0o700))
		require.NoError(t, os.WriteFile(inTheWay, nil, 0o600))
		require.ErrorContains(t, c.FormatJoining(1), "not empty")
		require.NoError(t, os.Remove(inTheWay))

		_, err := c.OpenServer(1, kv.New(), nil)
		require.ErrorIs(t, err, persistentlog.ErrNotFormatted)
		err = c.Format(1)
		require.ErrorContains(t, err, "finish it with join")
		require.ErrorContains(t, err, c.DataDir(m))
		require.NotErrorIs(t, err, persistentlog.ErrFormatted, "there is no store")

		require.NoError(t, c.FormatJoining(1))
		require.ErrorIs(t, c.FormatJoining(1), persistentlog.ErrFormatted)
		require.ErrorIs(t, c.Format(1), persistentlog.ErrFormatted)
		unborn(t, c, m)
	}
}

func TestAJoinInADirectoryWithAStoreChangesNothing(t *testing.T) {
	c := clusterOf(t, 1)
	require.NoError(t, c.Format(1))
	require.ErrorIs(t, c.FormatJoining(1), persistentlog.ErrFormatted)
	require.NoFileExists(t, filepath.Join(c.DataDir(c.Members[0]), joinedName), "the founder would wait for ever for others to feed it")
	start(t, c)
}
