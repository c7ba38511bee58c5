package pebblelog

import (
	"errors"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/windows"
)

const (
	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
)

// privateFS changes nothing: access lists are inherited from the directory above, and the mode bits say nothing.
func privateFS(inner vfs.FS) vfs.FS { return inner }

func checkModes(string, *slog.Logger) error { return nil }

func isLocked(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || strings.Contains(err.Error(), lockedHere)
}

// lockHolder is unknown: the system does not tell.
func lockHolder(string) int { return 0 }
