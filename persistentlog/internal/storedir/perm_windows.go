package storedir

import (
	"errors"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/windows"
)

// Modes of what a store makes: the data is its owner's alone.
const (
	DirMode  fs.FileMode = 0o700
	FileMode fs.FileMode = 0o600
)

// PrivateFS changes nothing: access lists are inherited from the directory above, and the mode bits say nothing.
func PrivateFS(inner vfs.FS) vfs.FS { return inner }

// CheckModes has nothing to look at.
func (k Kind) CheckModes(string, *slog.Logger) error { return nil }

func isLocked(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || strings.Contains(err.Error(), lockedHere)
}

// lockHolder is unknown: the system does not tell.
func lockHolder(string) int { return 0 }
