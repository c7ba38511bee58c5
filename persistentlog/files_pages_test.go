package persistentlog_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/vfsdir"
)

// pagesFS is a file system whose failed sync gives up what it was to write: readers still see it, and no later sync makes it durable,
// unless it is written again.
type pagesFS struct {
	persistentlog.FS
	files map[string]*pages
	syncs int // the n-th from now on fails
}

// pages says of each byte of a file whether it is to be synced, and whether it is durable.
type pages struct{ dirty, durable []bool }

type pagesFile struct {
	persistentlog.File
	fs *pagesFS
	p  *pages
}

func newPagesFS(t *testing.T) *pagesFS {
	dir, err := vfsdir.New(vfs.NewMem(), "snapshots")
	require.NoError(t, err)
	return &pagesFS{FS: dir, files: map[string]*pages{}}
}

func (f *pagesFS) Create(name string) (persistentlog.File, error) {
	f.files[name] = new(pages)
	file, err := f.FS.Create(name)
	return pagesFile{file, f, f.files[name]}, err
}

func (f *pagesFS) Open(name string, write bool) (persistentlog.File, error) {
	file, err := f.FS.Open(name, write)
	if err != nil {
		return nil, err
	}
	return pagesFile{file, f, f.files[name]}, nil
}

func (f *pagesFS) Rename(from, to string) error {
	f.files[to] = f.files[from]
	delete(f.files, from)
	return f.FS.Rename(from, to)
}

func (f pagesFile) WriteAt(b []byte, at int64) (int, error) {
	for end := int(at) + len(b); len(f.p.dirty) < end; {
		f.p.dirty, f.p.durable = append(f.p.dirty, false), append(f.p.durable, false)
	}
	for i := range b {
		f.p.dirty[int(at)+i], f.p.durable[int(at)+i] = true, false
	}
	return f.File.WriteAt(b, at)
}

var errSync = errors.New("the sync failed")

func (f pagesFile) Sync() error {
	f.fs.syncs--
	failed := f.fs.syncs == 0
	for i, dirty := range f.p.dirty {
		if dirty && !failed {
			f.p.durable[i] = true
		}
	}
	clear(f.p.dirty)
	if failed {
		return errSync
	}
	return nil
}

func TestATransferThatIsResumedAfterAFailedSyncIsDurableWhenItIsCommitted(t *testing.T) {
	for _, killed := range []bool{false, true} { // or the writer gave up as it should
		disk := newPagesFS(t)
		options := persistentlog.FilesOptions{FS: disk, PieceBytes: piece, SyncBytes: 2 * piece}
		f, err := persistentlog.OpenFiles("", options)
		require.NoError(t, err)
		b := stream(7*piece + 40)
		w, err := f.Create(transferOf(9, b))
		require.NoError(t, err)
		disk.syncs = 1
		_, err = w.Write(b[:3*piece])
		require.ErrorIs(t, err, errSync)
		if killed {
			f, err = persistentlog.OpenFiles("", options)
			require.NoError(t, err)
		} else {
			require.NoError(t, w.Abort(true))
		}

		w, err = f.Create(transferOf(9, b))
		require.NoError(t, err)
		_, err = w.Write(b[w.Offset():])
		require.NoError(t, err)
		_, err = w.Commit()
		require.NoError(t, err)
		for name, p := range disk.files {
			if strings.HasSuffix(name, ".snapshot") {
				require.Equal(t, -1, slices.Index(p.durable, false), "the first byte that a power cut takes")
			}
		}
	}
}
