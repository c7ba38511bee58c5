//go:build unix

package storedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// Modes of what a store makes: the data is its owner's alone.
const (
	DirMode  fs.FileMode = 0o700
	FileMode fs.FileMode = 0o600
)

// private makes everything that is created under it the owner's alone, whatever the umask says: a log holds the
// application's data.
type private struct{ vfs.FS }

// PrivateFS returns the file system with modes for the owner alone.
func PrivateFS(inner vfs.FS) vfs.FS { return private{inner} }

func (p private) Unwrap() vfs.FS { return p.FS }

func (p private) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return restrict(name)(p.FS.Create(name, category))
}

func (p private) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return restrict(name)(p.FS.OpenReadWrite(name, category, opts...))
}

func (p private) Lock(name string) (io.Closer, error) {
	lock, err := p.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, FileMode); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func (p private) MkdirAll(dir string, _ fs.FileMode) error { return p.FS.MkdirAll(dir, DirMode) }

func restrict(name string) func(vfs.File, error) (vfs.File, error) {
	return func(file vfs.File, err error) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		if err := os.Chmod(name, FileMode); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		return file, nil
	}
}

// CheckModes refuses a directory that others can write to, and warns of one that they can read.
func (k Kind) CheckModes(dir string, logger *slog.Logger) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", k.Name, err)
	}
	mode := info.Mode().Perm()
	if mode&0o022 != 0 {
		return fmt.Errorf("%s: %s has mode %#o: others can write to it (chmod 700 %s)", k.Name, dir, mode, dir)
	}
	if mode&0o055 != 0 {
		logger.Warn(k.Name+": others can read the store", "dir", dir, "mode", mode.String())
	}
	return nil
}

// isLocked tells the refusal of a lock from a failure to open its file.
func isLocked(err error) bool {
	var path *fs.PathError
	if errors.As(err, &path) {
		return false
	}
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), lockedHere)
}

// lockHolder returns the id of the process that holds the lock on the file, 0 where the system does not tell. It must not be called
// in the process that holds it: closing the file would give the lock up.
func lockHolder(name string) int {
	f, err := os.Open(name)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing can be lost
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK {
		return 0
	}
	return int(lock.Pid)
}
