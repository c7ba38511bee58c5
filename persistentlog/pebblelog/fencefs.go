package pebblelog

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
)

// walCategory is how Pebble marks the files of its write-ahead log when it creates them.
const walCategory vfs.DiskWriteCategory = "pebble-wal"

// fenceFS is the file system that Pebble works on. Every call that changes something passes the fence: a failure puts it
// up, and once it is up nothing changes any more.
//
// Pebble itself is told that all went well, then and from then on. It cannot live with a failure: it would panic, with a
// mutex in a state in which the Go runtime ends the process, when a file of the write-ahead log cannot be created or closed;
// it would try a failed flush again at once and for ever, within its Open too; after a failed manifest its memory and the
// disk would differ. Told nothing, it runs on and can be closed; and nobody outside believes it, because whoever has to know asks
// the fence.
type fenceFS struct {
	vfs.FS
	fence *fence
	spare *spare // prepared files for the write-ahead log; nil: none
	used  *usedLogs
	syncs atomic.Uint64
}

func newFenceFS(inner vfs.FS, f *fence) *fenceFS { return &fenceFS{FS: inner, fence: f} }

// Unwrap lets Pebble find the file system beneath.
func (f *fenceFS) Unwrap() vfs.FS { return f.FS }

// change runs one change of a directory. The only error that it returns is that a file that is to go is not there.
func (f *fenceFS) change(op, path string, do func() error) error {
	if f.fence.Down() {
		return nil
	}
	o := f.fence.Begin(op, path)
	err := do()
	f.fence.End(o)
	if err == nil || op == opRemove && errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.fence.Fail(op, path, err)
	return nil
}

const opRemove = "remove"

// open runs a change that gives a file; after a failure it is one that keeps nothing.
func (f *fenceFS) open(op, path string, category vfs.DiskWriteCategory, do func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	err := f.change(op, path, func() (err error) {
		file, err = do()
		return err
	})
	if err != nil || file == nil {
		return deadFile{path}, nil
	}
	return &fenceFile{File: file, fs: f, path: path, wal: category == walCategory}, nil
}

// Open slows down whoever looks, again and again, for a file that the fence kept from being written.
func (f *fenceFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, opts...)
	if err != nil && f.fence.Down() {
		f.fence.pause()
	}
	return file, err
}

// Create makes a file. Before one of Pebble's markers is made, which name the files that are in force, the directory is
// synced: Pebble syncs it once for the marker and the file that it names, and a disk that keeps only one of the two entries
// through a crash could keep the marker.
func (f *fenceFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open("create", name, category, func() (vfs.File, error) {
		if strings.HasPrefix(f.PathBase(name), "marker.") {
			if err := storedir.SyncDir(f.FS, f.PathDir(name)); err != nil {
				return nil, err
			}
		}
		if category == walCategory {
			if err := f.used.begins(); err != nil || f.fence.Down() {
				return nil, err
			}
			if file, ok := f.spare.take(name); ok {
				return file, nil
			}
		}
		return f.FS.Create(name, category)
	})
}

// ReuseForWrite takes a used file of the write-ahead log for the next one. One that is shorter than a prepared file would
// have to grow again, so a prepared file is taken in its place if there is one.
func (f *fenceFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open("reuse", newname, category, func() (vfs.File, error) {
		stays, err := f.used.stays(oldname, f.fence)
		if err != nil || f.fence.Down() {
			return nil, err
		}
		if stays {
			return f.FS.Create(newname, category)
		}
		if info, err := f.FS.Stat(oldname); err == nil && f.spare.longerThan(info.Size()) {
			if file, ok := f.spare.take(newname); ok {
				if err := f.FS.Remove(oldname); err != nil {
					return nil, errors.Join(err, file.Close())
				}
				return file, nil
			}
		}
		return f.FS.ReuseForWrite(oldname, newname, category)
	})
}

func (f *fenceFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.open("open", name, category, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, category, opts...) })
}

func (f *fenceFS) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fenceFile{File: dir, fs: f, path: name}, nil
}

func (f *fenceFS) Link(oldname, newname string) error {
	return f.change("link", newname, func() error { return f.FS.Link(oldname, newname) })
}

func (f *fenceFS) Remove(name string) error {
	return f.change(opRemove, name, func() error {
		if strings.HasSuffix(name, walSuffix) {
			if stays, err := f.used.stays(name, f.fence); stays || err != nil {
				return err
			}
		}
		return f.FS.Remove(name)
	})
}

func (f *fenceFS) RemoveAll(name string) error {
	return f.change(opRemove, name, func() error { return f.FS.RemoveAll(name) })
}

func (f *fenceFS) Rename(oldname, newname string) error {
	return f.change("rename", newname, func() error { return f.FS.Rename(oldname, newname) })
}

func (f *fenceFS) MkdirAll(dir string, perm os.FileMode) error {
	return f.change("mkdir", dir, func() error { return f.FS.MkdirAll(dir, perm) })
}

// fenceFile is a file that was opened for writing, or a directory.
type fenceFile struct {
	vfs.File
	fs   *fenceFS
	path string
	wal  bool
}

// change runs one change of the file.
func (f *fenceFile) change(op string, do func() error) {
	fence := f.fs.fence
	if fence.Down() {
		return
	}
	o := fence.Begin(op, f.path)
	err := do()
	fence.End(o)
	if err != nil {
		fence.Fail(op, f.path, err)
	}
}

func (f *fenceFile) Write(p []byte) (int, error) {
	size := len(p)
	f.change("write", func() error {
		n, err := f.File.Write(p)
		if err == nil && n != size {
			err = io.ErrShortWrite
		}
		return err
	})
	return size, nil
}

func (f *fenceFile) WriteAt(p []byte, at int64) (int, error) {
	f.change("write", func() error {
		_, err := f.File.WriteAt(p, at)
		return err
	})
	return len(p), nil
}

func (f *fenceFile) Sync() error {
	f.change("sync", f.File.Sync)
	return nil
}

func (f *fenceFile) SyncData() error {
	if f.wal {
		f.fs.syncs.Add(1)
	}
	f.change("sync", f.File.SyncData)
	return nil
}

func (f *fenceFile) SyncTo(length int64) (full bool, err error) {
	f.change("sync", func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, nil
}

// Close always closes the file beneath, whatever the fence says, so that nothing is left open.
func (f *fenceFile) Close() error {
	if err := f.File.Close(); err != nil && !f.fs.fence.Down() {
		f.fs.fence.Fail("close", f.path, err)
	}
	return nil
}
