package storedir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog"
)

// ReadSmallFile reads a whole file of at most 4 KiB.
func ReadSmallFile(f vfs.FS, path string) (b []byte, err error) {
	file, err := f.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	b, err = io.ReadAll(io.LimitReader(file, identityBytesMax+1))
	if err == nil && len(b) > identityBytesMax {
		err = fmt.Errorf("%w: more than %d bytes", persistentlog.ErrDamaged, identityBytesMax)
	}
	return b, err
}

// WriteFile writes and syncs a file and the directory that it is in.
func WriteFile(f vfs.FS, dir, name string, b []byte) error {
	file, err := f.Create(f.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write(bytes.Clone(b)) // Write may change what it is given (vfs.File)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return SyncDir(f, dir)
}

// SyncDir makes the names in a directory durable.
func SyncDir(f vfs.FS, dir string) error {
	d, err := f.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Exists reports whether there is a file or directory of that name.
func Exists(f vfs.FS, path string) (bool, error) {
	_, err := f.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

const zerosBytes = 1 << 20

// ErrStopped is the error of WriteZeros when it was told to stop.
var ErrStopped = errors.New("closed meanwhile")

// WriteZeros makes a file of zeros that is written and synced all the way: a sync of a file that grows has to record its
// new length and the blocks it got, preallocated or not, and a sync within written blocks only writes the data. It is synced
// in pieces, so that no sync of a Save has to wait behind all of it. A file that it could not finish is removed, one that
// it was stopped at stays.
func WriteZeros(f vfs.FS, path string, size int64, stop <-chan struct{}) (err error) {
	file, err := f.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, ErrStopped) {
			err = errors.Join(err, f.Remove(path))
		}
	}()
	zeros := make([]byte, zerosBytes)
	for left := size; left > 0; left -= zerosBytes {
		select {
		case <-stop:
			return errors.Join(ErrStopped, file.Close())
		default:
		}
		clear(zeros) // Write may change what it is given (vfs.File)
		if _, err := file.Write(zeros[:min(left, zerosBytes)]); err != nil {
			return errors.Join(err, file.Close())
		}
		if err := file.SyncData(); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return errors.Join(file.Sync(), file.Close())
}
