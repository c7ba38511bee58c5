// Package vfsdir lets persistentlog.Files stand on a Pebble vfs.FS: the file system that the default log stands on too,
// so that a simulated disk, a crash of it or an injected fault reaches both.
package vfsdir

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog"
)

// FS is a directory of a vfs.FS.
type FS struct {
	fs  vfs.FS
	dir string
}

var _ persistentlog.FS = (*FS)(nil)

// New returns a directory of fs and makes it, durably, if it is not there; what is above it must exist.
func New(fs vfs.FS, dir string) (*FS, error) {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f := &FS{fs, dir}
	return f, f.sync(fs.PathDir(dir))
}

func (f *FS) path(name string) string {
	if name == "." {
		return f.dir
	}
	return f.fs.PathJoin(f.dir, name)
}

// Mkdir makes a directory.
func (f *FS) Mkdir(name string) error { return f.fs.MkdirAll(f.path(name), 0o700) }

// List returns the names in a directory.
func (f *FS) List(dir string) ([]string, error) { return f.fs.List(f.path(dir)) }

// Create makes a file.
func (f *FS) Create(name string) (persistentlog.File, error) {
	return f.openWrite(name)
}

// Open opens a file.
func (f *FS) Open(name string, write bool) (persistentlog.File, error) {
	if write {
		return f.openWrite(name)
	}
	opened, err := f.fs.Open(f.path(name), vfs.SequentialReadsOption)
	if err != nil {
		return nil, err
	}
	return file{opened}, nil
}

func (f *FS) openWrite(name string) (persistentlog.File, error) {
	opened, err := f.fs.OpenReadWrite(f.path(name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return file{opened}, nil
}

// Rename gives a file another name.
func (f *FS) Rename(from, to string) error { return f.fs.Rename(f.path(from), f.path(to)) }

// Remove deletes a file.
func (f *FS) Remove(name string) error { return f.fs.Remove(f.path(name)) }

// SyncDir makes the names in a directory durable.
func (f *FS) SyncDir(dir string) error { return f.sync(f.path(dir)) }

func (f *FS) sync(path string) error {
	dir, err := f.fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Close does nothing: the vfs.FS is its owner's.
func (*FS) Close() error { return nil }

type file struct{ vfs.File }

// Size returns the length in bytes.
func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
