package sim

import (
	"errors"
	"io"
	"maps"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// file is an open file, or directory, of a disk.
type file struct {
	d    *disk
	n    *node
	name string
	pos  int
}

var _ vfs.File = (*file)(nil)

// Close implements vfs.File.
func (f *file) Close() error { return f.d.look() }

// Read implements vfs.File.
func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, int64(f.pos))
	if f.pos += n; n > 0 {
		err = nil
	}
	return n, err
}

// ReadAt implements vfs.File.
func (f *file) ReadAt(p []byte, at int64) (int, error) {
	if err := f.d.look(); err != nil {
		return 0, err
	}
	if at >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write implements vfs.File.
func (f *file) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, int64(f.pos))
	f.pos += n
	return n, err
}

// WriteAt implements vfs.File. A write that fails may have reached the file in part.
func (f *file) WriteAt(p []byte, at int64) (int, error) {
	if f.d.fuse == 1 && f.d.image == nil {
		f.write(p[:f.d.cut.IntN(len(p)+1)], at) // the power goes in the middle of it
	}
	if err := f.d.change(); err != nil {
		f.write(p[:len(p)/2], at)
		return 0, err
	}
	if room := max(0, len(f.n.data)-int(at)); f.d.full && len(p) > room {
		f.d.hurt = true
		f.write(p[:room], at)
		return room, errFull
	}
	if !f.goesAstray(p, at) {
		f.write(p, at)
	}
	return len(p), nil
}

func (f *file) write(p []byte, at int64) {
	if len(p) == 0 {
		return
	}
	if grow := int(at) + len(p) - len(f.n.data); grow > 0 {
		f.n.data = append(f.n.data, make([]byte, grow)...)
	}
	copy(f.n.data[at:], p)
	end := int(at) + len(p)
	for s := int(at) / sectorBytes; s*sectorBytes < end; s++ {
		delete(f.n.lost, s) // it is dirty again, as a whole
	}
	if f.n.to == f.n.from {
		f.n.from, f.n.to = len(f.n.synced), len(f.n.synced)
		f.n.from = min(f.n.from, int(at))
	}
	f.n.from, f.n.to = min(f.n.from, int(at)), max(f.n.to, end)
}

// Preallocate implements vfs.File.
func (f *file) Preallocate(int64, int64) error { return f.d.change() }

// Stat implements vfs.File.
func (f *file) Stat() (vfs.FileInfo, error) {
	if err := f.d.look(); err != nil {
		return nil, err
	}
	return info{f.n, f.name}, nil
}

// Sync implements vfs.File.
func (f *file) Sync() error {
	if f.d.spoil > 0 && strings.HasSuffix(f.name, f.d.spoilsKind) {
		if f.d.spoil--; f.d.spoil == 0 {
			f.d.fails, f.d.once, f.d.spoilt = 1, true, true
		}
	}
	if err := f.d.change(); err != nil {
		if errors.Is(err, errDisk) && f.d.lied == 0 { // what was lied about is the disk's, and no sync gives it up
			f.n.giveUp(f.d.calls)
		}
		return err
	}
	if f.d.lies {
		f.d.lied++
		return nil
	}
	f.n.sync()
	return nil
}

// sync makes a file or a directory durable as it is.
func (n *node) sync() {
	if n.dir {
		n.durable = maps.Clone(n.children)
		return
	}
	if grow := len(n.data) - len(n.synced); grow > 0 {
		n.synced = append(n.synced, make([]byte, grow)...)
	}
	for at := n.from / sectorBytes * sectorBytes; at < n.to; at += sectorBytes {
		if end := min(at+sectorBytes, len(n.data)); !n.lost[at/sectorBytes] {
			copy(n.synced[at:end], n.data[at:end])
		}
	}
	n.from, n.to = 0, 0
}

// giveUp is what a failed sync does to a file, as Linux does it after EIO: some of what was written may have reached the disk, and the
// rest counts as clean from then on. Readers still see it, a later sync has nothing to write, and a power cut takes it.
// The names in a directory stay to be synced: they stand in a journal, and a file system whose journal fails takes nothing more.
func (n *node) giveUp(calls int) {
	if n.dir {
		return
	}
	some := calls%2 == 0
	for at := n.from / sectorBytes * sectorBytes; at < n.to; at += sectorBytes {
		s, end := at/sectorBytes, min(at+sectorBytes, len(n.data))
		switch {
		case n.lost[s]:
		case some && (s+calls/2)%3 == 0:
			if grow := end - len(n.synced); grow > 0 {
				n.synced = append(n.synced, make([]byte, grow)...)
			}
			copy(n.synced[at:end], n.data[at:end])
		default:
			if n.lost == nil {
				n.lost = make(map[int]bool)
			}
			n.lost[s] = true
		}
	}
	n.from, n.to = 0, 0
}

// SyncTo implements vfs.File.
func (f *file) SyncTo(int64) (bool, error) { return true, f.Sync() }

// SyncData implements vfs.File.
func (f *file) SyncData() error { return f.Sync() }

// Prefetch implements vfs.File.
func (f *file) Prefetch(int64, int64) error { return nil }

// Fd implements vfs.File.
func (f *file) Fd() uintptr { return vfs.InvalidFd }
