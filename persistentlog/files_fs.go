package persistentlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// FS is the piece of a file system that Files stands on, so that a simulator or a test can put a disk of its own beneath
// it. Names are relative to the store's directory and have at most one slash: "group" or "group/file". Files calls it
// from any goroutine, and one file from one goroutine at a time.
type FS interface {
	// Mkdir makes a directory; one that exists is no error. It is durable after SyncDir(".").
	Mkdir(name string) error
	// List returns the names in a directory, in any order. The error matches fs.ErrNotExist where there is none.
	List(dir string) ([]string, error)
	// Create makes a file for reading and writing. One that exists is an error.
	Create(name string) (File, error)
	// Open opens a file for reading, and for writing too where write is set. Only regular files are opened, never what a
	// symbolic link leads to.
	Open(name string, write bool) (File, error)
	// Rename gives a file another name in its directory, one that is not in use.
	Rename(from, to string) error
	// Remove deletes a file that is not open.
	Remove(name string) error
	// SyncDir makes the names in a directory durable: "." or a group's.
	SyncDir(dir string) error
	// Close releases the directory. Files that are open stay open.
	Close() error
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes what was written durable.
	Sync() error
	// Size returns the length in bytes.
	Size() (int64, error)
}

// diskFS is a directory of the machine. os.Root keeps every name inside of it, whatever links stand there.
type diskFS struct{ root *os.Root }

// openDisk opens a directory, and makes it durably if it is not there; what is above it must exist.
func openDisk(dir string) (FS, error) {
	switch err := os.Mkdir(dir, 0o700); {
	case errors.Is(err, fs.ErrExist):
	case err != nil:
		return nil, err
	default:
		if err := syncPath(filepath.Dir(dir)); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return diskFS{root}, nil
}

func (d diskFS) Mkdir(name string) error {
	if err := d.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := d.root.Lstat(name)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory (%s)", name, info.Mode())
	}
	return err
}

func (d diskFS) List(dir string) (names []string, err error) {
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Readdirnames(-1)
}

func (d diskFS) Create(name string) (File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (d diskFS) Open(name string, write bool) (File, error) {
	before, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file (%s)", name, before.Mode())
	}
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	f, err := d.root.OpenFile(name, flag, 0)
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = fmt.Errorf("%s was exchanged while it was opened", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return diskFile{f}, nil
}

func (d diskFS) Rename(from, to string) error { return d.root.Rename(from, to) }

func (d diskFS) Remove(name string) error { return d.root.Remove(name) }

func (d diskFS) SyncDir(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return syncAndClose(f)
}

func (d diskFS) Close() error { return d.root.Close() }

func syncPath(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return syncAndClose(f)
}

// syncAndClose syncs a directory. Windows has no such call, and NTFS logs its names by itself.
func syncAndClose(dir *os.File) error {
	var err error
	if runtime.GOOS != "windows" {
		err = dir.Sync()
	}
	return errors.Join(err, dir.Close())
}

type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
