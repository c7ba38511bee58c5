package pebblelog

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// TestDamageOfALogBehindWhichNothingIsSavedIsNoticed takes the power when a file of the write-ahead log has just been begun: the saves
// stand in the one before, which checkTail does not look at, and no table has taken them over. That one is cut at the end of each record,
// and the number of the log in each header becomes the next one's, which is how Pebble marks the end.
func TestDamageOfALogBehindWhichNothingIsSavedIsNoticed(t *testing.T) {
	mem, gate := freshMem(t), make(chan struct{})
	var opened atomic.Bool
	l := openMem(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") && opened.Load() {
			<-gate // no table is written meanwhile
		}
		return nil
	})))
	opened.Store(true)
	dir := mem.PathJoin(testDir, pebbleName)
	old, number, err := newestWAL(mem, dir)
	require.NoError(t, err)
	w := newWriter(2)
	for range 4 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 100)}))
	}
	require.NoError(t, l.Save([]persistentlog.Update{{Group: 1, Hard: &raft.HardState{Term: 6, Vote: 3}}}))
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 600_000)})) // a memtable of its own, so that a file is begun behind it
	_, newest, err := newestWAL(mem, dir)
	require.NoError(t, err)
	require.Greater(t, newest, number)
	left := mem.CrashClone(vfs.CrashCloneCfg{})
	close(gate)
	require.NoError(t, l.Close())

	said := func(what string, edit func(b []byte) []byte) bool {
		broken := keptAll(left)
		require.NoError(t, editFile(broken, dir, old, edit))
		l, err := Open(testDir, testOptions(broken))
		if err != nil {
			require.ErrorIs(t, err, persistentlog.ErrDamaged, what)
			return true
		}
		state, err := l.Load(1)
		require.NoError(t, err, what)
		require.NoError(t, l.Close(), what)
		return state.Hard.Lost
	}
	var headers []int
	require.False(t, said("untouched", func(b []byte) []byte {
		s := tailScan{number: uint32(number)}
		for at := 0; at < walBlockSize; {
			c, ok := s.chunk(b[at:walBlockSize])
			if !ok {
				break
			}
			headers = append(headers, at)
			at += c.size
		}
		return b
	}))
	require.Greater(t, len(headers), 5)
	for _, at := range headers {
		require.True(t, said(fmt.Sprint("a cut at ", at), func(b []byte) []byte { return b[:at] }))
		require.True(t, said(fmt.Sprint("another number at ", at), func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[at+7:], uint32(number)+1)
			return b
		}))
	}
}
