package storedir

import (
	"io/fs"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// TestADirectoryIsClaimedWhereThoseAboveCannotBeSynced has a directory that somebody else has made, below one that may not be read and
// one on a file system that knows no sync. A disk that fails is no such thing.
func TestADirectoryIsClaimedWhereThoseAboveCannotBeSynced(t *testing.T) {
	for _, c := range []struct {
		kind errorfs.OpKind
		err  error
		want bool
	}{
		{errorfs.OpOpenDir, fs.ErrPermission, true},
		{errorfs.OpFileSync, syscall.EINVAL, true},
		{errorfs.OpFileSync, syscall.EIO, false},
	} {
		mem := vfs.NewMem()
		require.NoError(t, mem.MkdirAll("/above/store", 0o700))
		f := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == c.kind && op.Path == "/" {
				return c.err
			}
			return nil
		}))
		err := testKind.Claim(f, "/above/store")
		require.Equal(t, c.want, err == nil, "%v: %v", c.err, err)
	}
}
