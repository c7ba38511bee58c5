package storedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oarlock/oarlock/persistentlog"
)

// Claim makes the directory of a new store if need be, and refuses one that holds a store or anything that is not an
// interrupted Format's own; own are the names of what a Format makes besides the identity.
func (k Kind) Claim(f vfs.FS, dir string, own ...string) error {
	names, err := f.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := f.MkdirAll(dir, DirMode); err != nil {
			return fmt.Errorf("%s: format %s: %w", k.Name, dir, err)
		}
		return k.syncParents(f, dir)
	}
	if err != nil {
		return fmt.Errorf("%s: format %s: %w", k.Name, dir, err)
	}
	foreign, unfinished := "", false
	for _, name := range names {
		switch name {
		case IdentityName:
			return fmt.Errorf("%w: %s (open it, or name another directory)", persistentlog.ErrFormatted, dir)
		case IdentityUnfinished:
			unfinished = true
		case LockName:
		default:
			if !slices.Contains(own, name) || foreign == "" {
				foreign = name
			}
		}
	}
	if foreign != "" && (!slices.Contains(own, foreign) || !unfinished) {
		return fmt.Errorf("%s: format %s: not empty, it holds %s (name an empty directory)", k.Name, dir, foreign)
	}
	// A Format that was killed, or whoever else made the directory, may not have come so far. Who may not read the directories above
	// has not made them.
	if err := k.syncParents(f, dir); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// syncParents makes the directory's entry durable, and those of the directories above, which MkdirAll may have made. A file system that
// knows no sync, as read-only ones do, has nothing to lose.
func (k Kind) syncParents(f vfs.FS, dir string) error {
	for parent := f.PathDir(dir); ; parent = f.PathDir(parent) {
		if err := SyncDir(f, parent); err != nil && !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("%s: format %s: %w", k.Name, dir, err)
		}
		if up := f.PathDir(parent); up == parent || up == "." && parent == "." {
			return nil
		}
	}
}

// Finish gives the identity its name, the last step of a Format.
func Finish(f vfs.FS, dir string) error {
	if err := f.Rename(f.PathJoin(dir, IdentityUnfinished), f.PathJoin(dir, IdentityName)); err != nil {
		return err
	}
	return SyncDir(f, dir)
}

// CheckFormatted returns an error that matches ErrNotFormatted unless there is a store.
func (k Kind) CheckFormatted(f vfs.FS, dir string) error {
	formatted, err := Exists(f, f.PathJoin(dir, IdentityName))
	if err != nil {
		return fmt.Errorf("%s: open %s: %w", k.Name, dir, err)
	}
	if !formatted {
		return fmt.Errorf("%w: %s (a new cluster's server begins with init, one that is added to a cluster with join; "+
			"if the store was there before, see that its disk is mounted)", persistentlog.ErrNotFormatted, dir)
	}
	return nil
}

// ReadIdentity reads the identity file; text is its content. It makes the file's name durable: a Format that was killed may have given
// it and not synced it, and a power cut must not take it away when something rests on the store.
func (k Kind) ReadIdentity(f vfs.FS, dir string) (id persistentlog.Identity, text []byte, err error) {
	path := f.PathJoin(dir, IdentityName)
	if err := SyncDir(f, dir); err != nil {
		return id, nil, fmt.Errorf("%s: open %s: %w", k.Name, dir, err)
	}
	text, err = ReadSmallFile(f, path)
	if err == nil {
		id, err = k.DecodeIdentity(text)
	}
	if err != nil {
		return id, nil, fmt.Errorf("%s: %s: %w", k.Name, path, err)
	}
	return id, text, nil
}

// lockedHere is how Pebble says that the lock is taken already in this process.
const lockedHere = "lock held by current process"

// Lock takes the lock of the directory.
func (k Kind) Lock(f vfs.FS, dir string) (io.Closer, error) {
	path := f.PathJoin(dir, LockName)
	lock, err := f.Lock(path)
	switch {
	case err == nil:
		return lock, nil
	case !isLocked(err):
		return nil, fmt.Errorf("%s: %s cannot be written: %w", k.Name, dir, err)
	}
	holder := "another process"
	if strings.Contains(err.Error(), lockedHere) {
		holder = "this process"
	} else if pid := lockHolder(path); pid != 0 {
		holder = fmt.Sprintf("process %d", pid)
	}
	return nil, fmt.Errorf("%w: %s has %s open: a directory serves one process, stop it first (%w)", persistentlog.ErrInUse, holder, dir, err)
}
