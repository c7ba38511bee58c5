package seglog

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
)

// TestTheNextSegmentIsPreparedWhenThisOneIsHalfFull looks at the files on the machine's own file system.
func TestTheNextSegmentIsPreparedWhenThisOneIsHalfFull(t *testing.T) {
	options := Options{SegmentBytes: 1 << 20}
	dir := formatDisk(t, options)
	l, err := Open(dir, options)
	require.NoError(t, err)
	ready := func() []string {
		names, err := filepath.Glob(filepath.Join(dir, segmentsName, "*"+spareSuffix))
		require.NoError(t, err)
		return names
	}
	w := storetest.NewWriter(1)
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 400<<10)}))
	require.Empty(t, ready())
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 400<<10)}))
	require.Eventually(t, func() bool { return len(ready()) == 1 }, 2*time.Minute, 5*time.Millisecond)
	require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 400<<10)}))
	require.Equal(t, uint64(2), l.head().number)
	info, err := l.fs.Stat(l.head().path)
	require.NoError(t, err)
	require.Equal(t, int64(1<<20), info.Size(), "the prepared file was taken")
	require.NoError(t, l.Close())
	l, err = Open(dir, options)
	require.NoError(t, err)
	blocks, err := l.Blocks(1, 1, w.Next, 8<<20)
	require.NoError(t, err)
	require.Len(t, blocks, 3)
	require.NoError(t, l.Close())
}
