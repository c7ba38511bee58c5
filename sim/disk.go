package sim

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is a file system in memory, byte by byte, that knows what is durable and what is not. It is a vfs.FS, so that what
// stands on Pebble's file systems can stand on it. It belongs to one goroutine.
//
// A power cut keeps what was synced, and of the rest any subset: of a file's data by sectors, of a directory's changes by
// names. Nothing about it depends on the order of a map, which is why it is not vfs.MemFS.
type disk struct {
	root  *node
	calls int // that change something
	looks int // that only read
	diskFaults
}

// node is a file or a directory.
type node struct {
	dir      bool
	data     []byte
	synced   []byte           // what a power cut leaves; it differs from data between from and to, and in lost sectors
	from, to int              // what was written and not synced lies between these
	lost     map[int]bool     // sectors that a failed sync has given up: readers see what no later sync makes durable
	children map[string]*node // of a directory, now
	durable  map[string]*node // and after a power cut
}

var errNotADir = errors.New("sim: not a directory")

func newDisk() *disk {
	return &disk{root: &node{dir: true, children: map[string]*node{}, durable: map[string]*node{}}}
}

// files returns the names of all files below the root, in order.
func (d *disk) files() []string {
	var all []string
	var walk func(at string, n *node)
	walk = func(at string, n *node) {
		for _, name := range slices.Sorted(maps.Keys(n.children)) {
			c := n.children[name]
			if c.dir {
				walk(path.Join(at, name), c)
			} else {
				all = append(all, path.Join(at, name))
			}
		}
	}
	walk("", d.root)
	return all
}

func split(name string) []string {
	name = strings.Trim(path.Clean("/"+name), "/")
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

func (d *disk) find(name string) (*node, error) {
	n := d.root
	for _, part := range split(name) {
		if n = n.children[part]; n == nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
	}
	return n, nil
}

// parent finds the directory that a name stands in.
func (d *disk) parent(name string) (*node, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	n, err := d.find(strings.Join(parts[:len(parts)-1], "/"))
	if err == nil && !n.dir {
		err = errNotADir
	}
	return n, parts[len(parts)-1], err
}

// Create implements vfs.FS.
func (d *disk) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.change(); err != nil {
		return nil, err
	}
	dir, base, err := d.parent(name)
	if err != nil {
		return nil, err
	}
	if d.full {
		d.hurt = true
		return nil, errFull
	}
	n := new(node)
	dir.children[base] = n
	d.made(name)
	return &file{d: d, n: n, name: base}, nil
}

// Link implements vfs.FS.
func (d *disk) Link(from, to string) error {
	n, err := d.find(from)
	if err != nil {
		return err
	}
	return d.put(to, n)
}

func (d *disk) put(name string, n *node) error {
	if err := d.change(); err != nil {
		return err
	}
	dir, base, err := d.parent(name)
	if err != nil {
		return err
	}
	dir.children[base] = n
	d.made(name)
	return nil
}

// Open implements vfs.FS.
func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := d.look(); err != nil {
		return nil, err
	}
	n, err := d.find(name)
	if err != nil {
		return nil, err
	}
	f := &file{d: d, n: n, name: path.Base(name)}
	for _, o := range opts {
		o.Apply(f)
	}
	return f, nil
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	if n, err := d.find(name); err == nil {
		if err := d.look(); err != nil {
			return nil, err
		}
		return &file{d: d, n: n, name: path.Base(name)}, nil
	}
	return d.Create(name, c)
}

// OpenDir implements vfs.FS.
func (d *disk) OpenDir(name string) (vfs.File, error) { return d.Open(name) }

// Remove implements vfs.FS.
func (d *disk) Remove(name string) error {
	if err := d.change(); err != nil {
		return err
	}
	dir, base, err := d.parent(name)
	if err == nil && dir.children[base] == nil {
		err = &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if err == nil {
		delete(dir.children, base)
	}
	return err
}

// RemoveAll implements vfs.FS.
func (d *disk) RemoveAll(name string) error {
	err := d.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Rename implements vfs.FS.
func (d *disk) Rename(from, to string) error {
	n, err := d.find(from)
	if err != nil {
		return err
	}
	if err := d.put(to, n); err != nil {
		return err
	}
	dir, base, err := d.parent(from)
	if err == nil {
		delete(dir.children, base)
	}
	if d.spoilt && len(n.lost) > 0 && d.fuse == 0 {
		d.fuse = 8 + d.cut.IntN(16)
	}
	return err
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.Rename(from, to); err != nil {
		return nil, err
	}
	return d.OpenReadWrite(to, c)
}

// MkdirAll implements vfs.FS.
func (d *disk) MkdirAll(name string, _ os.FileMode) error {
	n := d.root
	for _, part := range split(name) {
		next := n.children[part]
		if next == nil {
			if err := d.change(); err != nil {
				return err
			}
			if d.full {
				d.hurt = true
				return errFull
			}
			next = &node{dir: true, children: map[string]*node{}, durable: map[string]*node{}}
			n.children[part] = next
		}
		if n = next; !n.dir {
			return errNotADir
		}
	}
	return nil
}

// Lock implements vfs.FS. Nobody else is there.
func (d *disk) Lock(name string) (io.Closer, error) {
	if err := d.look(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return unlocked{}, nil
}

type unlocked struct{}

func (unlocked) Close() error { return nil }

// List implements vfs.FS.
func (d *disk) List(name string) ([]string, error) {
	if err := d.look(); err != nil {
		return nil, err
	}
	n, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(n.children)), nil
}

// Stat implements vfs.FS.
func (d *disk) Stat(name string) (vfs.FileInfo, error) {
	if err := d.look(); err != nil {
		return nil, err
	}
	n, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return info{n, path.Base(name)}, nil
}

// PathBase implements vfs.FS.
func (d *disk) PathBase(p string) string { return path.Base(p) }

// PathJoin implements vfs.FS.
func (d *disk) PathJoin(elem ...string) string { return path.Join(elem...) }

// PathDir implements vfs.FS.
func (d *disk) PathDir(p string) string { return path.Dir(p) }

// GetDiskUsage implements vfs.FS.
func (d *disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{}, vfs.ErrUnsupported
}

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return nil }

// info is what Stat says.
type info struct {
	n    *node
	name string
}

func (i info) Name() string           { return i.name }
func (i info) Size() int64            { return int64(len(i.n.data)) }
func (i info) Mode() fs.FileMode      { return 0o600 }
func (i info) ModTime() time.Time     { return time.Time{} }
func (i info) IsDir() bool            { return i.n.dir }
func (i info) Sys() any               { return nil }
func (i info) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

var _ fmt.Stringer = (*disk)(nil)

// String names the disk.
func (d *disk) String() string { return fmt.Sprintf("disk after %d changes", d.calls) }
