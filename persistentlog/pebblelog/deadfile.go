package pebblelog

import (
	"io"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// deadFile stands for a file that could not be opened for writing. It takes everything and keeps nothing; the
// fence is up, so nobody is told that anything was kept.
type deadFile struct{ path string }

func (deadFile) Close() error                           { return nil }
func (deadFile) Read([]byte) (int, error)               { return 0, io.EOF }
func (deadFile) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (deadFile) Write(p []byte) (int, error)            { return len(p), nil }
func (deadFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (deadFile) Preallocate(int64, int64) error         { return nil }
func (deadFile) Sync() error                            { return nil }
func (deadFile) SyncTo(int64) (bool, error)             { return true, nil }
func (deadFile) SyncData() error                        { return nil }
func (deadFile) Prefetch(int64, int64) error            { return nil }
func (deadFile) Fd() uintptr                            { return vfs.InvalidFd }
func (d deadFile) Stat() (vfs.FileInfo, error)          { return deadInfo(d), nil }

type deadInfo struct{ path string }

func (d deadInfo) Name() string         { return d.path }
func (deadInfo) Size() int64            { return 0 }
func (deadInfo) Mode() fs.FileMode      { return 0 }
func (deadInfo) ModTime() time.Time     { return time.Time{} }
func (deadInfo) IsDir() bool            { return false }
func (deadInfo) Sys() any               { return nil }
func (deadInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
