package persistentlog_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

func BenchmarkSnapshot(b *testing.B) {
	f, err := persistentlog.OpenFiles(b.TempDir(), persistentlog.FilesOptions{})
	require.NoError(b, err)
	defer func() { require.NoError(b, f.Close()) }()
	part := stream(1 << 20)
	const parts = 64
	take := func(b *testing.B, index raft.Index) raft.SnapshotMeta {
		w, err := f.Create(meta(index))
		require.NoError(b, err)
		for range parts {
			_, err := io.Copy(w, bytes.NewReader(part))
			require.NoError(b, err)
		}
		m, err := w.Commit()
		require.NoError(b, err)
		return m
	}
	b.Run("take", func(b *testing.B) {
		b.SetBytes(parts << 20)
		for i := range b.N {
			require.NoError(b, f.Remove(take(b, raft.Index(i+1))))
		}
	})
	b.Run("read", func(b *testing.B) {
		m := take(b, 1<<32)
		b.SetBytes(parts << 20)
		for range b.N {
			r, err := f.Open(m, 0)
			require.NoError(b, err)
			_, err = io.Copy(io.Discard, r)
			require.NoError(b, err)
			require.NoError(b, r.Close())
		}
	})
}
