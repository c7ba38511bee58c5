package persistentlog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/oarlock/oarlock/raft"
)

// Files keeps snapshots as files, a directory for each group: the Snapshots that serves every log. All methods may be
// called from any goroutine. At most one Files may be open on a directory; the lock of the store that it belongs to sees
// to that.
type Files struct {
	fs         FS
	pieceBytes int64
	syncBytes  int64

	mu     sync.Mutex
	active map[writing]bool // what is being written
	pins   map[string]int   // open readers, by file name
	doomed map[string]bool  // files to remove when their last reader closes
}

var _ Snapshots = (*Files)(nil)

type writing struct {
	group raft.GroupID
	index raft.Index
}

// FilesOptions are the settings of Files. The zero value is the default.
type FilesOptions struct {
	// FS is where the files are, instead of the directory given to OpenFiles.
	FS FS
	// PieceBytes is how many bytes of a snapshot share one checksum: 256 KiB if zero. A file remembers its own.
	PieceBytes int
	// SyncBytes is after how many written bytes a file is synced, so that no sync has so much to write that those of
	// the log wait behind it: 4 MiB if zero.
	SyncBytes int
}

// Validate reports the first setting that cannot be.
func (o FilesOptions) Validate() error {
	if o.PieceBytes != 0 && (o.PieceBytes < pieceBytesMin || o.PieceBytes > pieceBytesMax) {
		return fmt.Errorf("persistentlog: FilesOptions.PieceBytes is %d: from %d to %d", o.PieceBytes, pieceBytesMin, pieceBytesMax)
	}
	if o.SyncBytes < 0 {
		return fmt.Errorf("persistentlog: FilesOptions.SyncBytes is %d: not negative", o.SyncBytes)
	}
	return nil
}

// ErrNoSnapshot: there is no such committed snapshot. It also matches fs.ErrNotExist.
var ErrNoSnapshot = fmt.Errorf("persistentlog: no such snapshot: %w", fs.ErrNotExist)

// OpenFiles opens the snapshots in a directory, which is made if it is not there, and clears away what a crash left
// behind: snapshots that were being taken, and transfers of which nothing can be used. The caller closes it.
func OpenFiles(dir string, options FilesOptions) (*Files, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	f := &Files{
		fs: options.FS, pieceBytes: int64(cmp.Or(options.PieceBytes, 256<<10)), syncBytes: int64(cmp.Or(options.SyncBytes, 4<<20)),
		active: make(map[writing]bool), pins: make(map[string]int), doomed: make(map[string]bool),
	}
	if f.fs == nil {
		disk, err := openDisk(dir)
		if err != nil {
			return nil, fmt.Errorf("persistentlog: open snapshots in %s: %w", dir, err)
		}
		f.fs = disk
	}
	if err := f.recover(); err != nil {
		return nil, errors.Join(err, f.fs.Close())
	}
	return f, nil
}

// Close releases the directory. Readers and writers must have been closed.
func (f *Files) Close() error { return f.fs.Close() }

// The names of files: index and a number that no other file of the group has, so that no file ever takes the place of
// another one that somebody may be reading.
const (
	suffixTaken    = ".tmp"      // being taken
	suffixTransfer = ".partial"  // being transferred
	suffixWhole    = ".snapshot" // committed
)

func groupDir(group raft.GroupID) string { return fmt.Sprintf("%016x", uint64(group)) }

func fileName(group raft.GroupID, index raft.Index, number uint64, suffix string) string {
	return fmt.Sprintf("%s/%016x-%08x%s", groupDir(group), uint64(index), number, suffix)
}

// stored is a file that was found.
type stored struct {
	name   string
	index  raft.Index
	number uint64
	suffix string

	meta   raft.SnapshotMeta
	layout layout
}

func parseName(dir, name string) (stored, bool) {
	base, suffix := name, ""
	if dot := strings.IndexByte(name, '.'); dot >= 0 {
		base, suffix = name[:dot], name[dot:]
	}
	first, second, _ := strings.Cut(base, "-")
	index, err := strconv.ParseUint(first, 16, 64)
	number, err2 := strconv.ParseUint(second, 16, 64)
	known := suffix == suffixTaken || suffix == suffixTransfer || suffix == suffixWhole
	s := stored{name: dir + "/" + name, index: raft.Index(index), number: number, suffix: suffix}
	return s, err == nil && err2 == nil && len(first) == 16 && known
}

// scan returns a group's files by their names, what is doomed left out, newest first.
func (f *Files) scan(group raft.GroupID) ([]stored, error) {
	dir := groupDir(group)
	names, err := f.fs.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, f.failed("list", dir, err)
	}
	var found []stored
	for _, name := range names {
		if s, ok := parseName(dir, name); ok && !f.doomed[s.name] {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b stored) int {
		return cmp.Or(cmp.Compare(b.index, a.index), cmp.Compare(b.number, a.number))
	})
	return found, nil
}

// describe reads a file's header and checks that it is the file's own and that the file has the length it must have.
func (f *Files) describe(s *stored, group raft.GroupID) (err error) {
	file, err := f.fs.Open(s.name, false)
	if err != nil {
		return f.failed("open", s.name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	s.meta, s.layout, err = readHeader(file)
	if err != nil {
		return f.failed("read the header of", s.name, err)
	}
	if s.meta.Group != group || s.meta.Index != s.index {
		return f.failed("read the header of", s.name, fmt.Errorf("%w: it belongs to group %d, index %d", ErrDamaged, s.meta.Group, s.meta.Index))
	}
	if s.suffix != suffixWhole {
		return nil
	}
	size, err := file.Size()
	if err == nil && size != s.layout.file(s.meta.Size) {
		err = fmt.Errorf("%w: the file has %d bytes, want %d", ErrDamaged, size, s.layout.file(s.meta.Size))
	}
	if err != nil {
		return f.failed("check the length of", s.name, err)
	}
	return nil
}

// find returns the newest committed file of a snapshot.
func (f *Files) find(meta raft.SnapshotMeta) (stored, error) {
	files, err := f.scan(meta.Group)
	if err != nil {
		return stored{}, err
	}
	var damaged error
	for _, s := range files {
		if s.suffix != suffixWhole || s.index != meta.Index {
			continue
		}
		if err := f.describe(&s, meta.Group); err != nil {
			damaged = errors.Join(damaged, err)
			continue
		}
		if s.meta.Same(meta) {
			return s, nil
		}
	}
	// A file of that index whose header cannot be read may be the one; then it is damaged, not absent.
	if damaged != nil {
		return stored{}, damaged
	}
	return stored{}, fmt.Errorf("%w: group %d, index %d, %d bytes: take or fetch it again", ErrNoSnapshot, meta.Group, meta.Index, meta.Size)
}

// List returns a group's committed snapshots, newest first, and what is wrong with the others.
func (f *Files) List(group raft.GroupID) ([]raft.SnapshotMeta, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	files, err := f.scan(group)
	if err != nil {
		return nil, err
	}
	var metas []raft.SnapshotMeta
	var damaged []error
	for _, s := range files {
		if s.suffix != suffixWhole {
			continue
		}
		if err := f.describe(&s, group); err != nil {
			damaged = append(damaged, err)
			continue
		}
		if !slices.ContainsFunc(metas, s.meta.Same) {
			metas = append(metas, s.meta)
		}
	}
	return metas, errors.Join(damaged...)
}

// Remove deletes a snapshot's files, those that are open when they are closed. What is being written stays.
func (f *Files) Remove(meta raft.SnapshotMeta) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remove(meta, "")
}

// remove deletes all files of a snapshot but one, and those of its index whose header cannot be read.
func (f *Files) remove(meta raft.SnapshotMeta, but string) error {
	files, err := f.scan(meta.Group)
	if err != nil {
		return err
	}
	var failed []error
	for _, s := range files {
		written := s.suffix != suffixWhole && f.active[writing{meta.Group, s.index}]
		if s.index != meta.Index || s.name == but || written || s.suffix == suffixTaken {
			continue
		}
		switch err := f.describe(&s, meta.Group); {
		case s.meta.Same(meta), s.meta.IsZero() && errors.Is(err, ErrDamaged):
			// A file of that index that cannot say what it is, is of no use to anybody.
			failed = append(failed, f.removeFile(s.name))
		case err != nil && !errors.Is(err, ErrDamaged):
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (f *Files) removeFile(name string) error {
	if f.pins[name] > 0 {
		f.doomed[name] = true
		return nil
	}
	if err := f.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.failed("remove", name, err)
	}
	return nil
}

func (f *Files) unpin(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pins[name]--; f.pins[name] > 0 {
		return nil
	}
	delete(f.pins, name)
	if !f.doomed[name] {
		return nil
	}
	delete(f.doomed, name)
	return f.removeFile(name)
}

// recover clears away what nobody will go on with. It runs before anything is open.
func (f *Files) recover() error {
	dirs, err := f.fs.List(".")
	if err != nil {
		return f.failed("list", "the directory", err)
	}
	for _, dir := range dirs {
		group, err := strconv.ParseUint(dir, 16, 64)
		if err != nil || dir != groupDir(raft.GroupID(group)) {
			continue // not ours
		}
		files, err := f.scan(raft.GroupID(group))
		if err != nil {
			return err
		}
		for _, s := range files {
			useless := s.suffix == suffixTaken
			if s.suffix == suffixTransfer {
				useless = errors.Is(f.describe(&s, raft.GroupID(group)), ErrDamaged)
			}
			if !useless {
				continue
			}
			if err := f.removeFile(s.name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *Files) failed(what, name string, err error) error {
	return fmt.Errorf("persistentlog: %s snapshot file %s: %w", what, name, err)
}
