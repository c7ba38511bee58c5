package pebblelog

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// FormatVersion is the version of what stands in a store. A store of a newer one is refused.
const FormatVersion = 1

const (
	identityName       = "identity"
	identityUnfinished = "identity.tmp"
	lockName           = "LOCK"
	pebbleName         = "pebble"

	identityBytesMax = 4 << 10
	identityTitle    = "oarlock store"
)

// encodeIdentity lays out the identity file: lines of text, so that an operator can read whose a directory is, and a
// CRC32C of all lines before the last.
func encodeIdentity(id persistentlog.Identity) []byte {
	text := fmt.Sprintf("%s\nversion %d\ncluster %s\nserver %d\nstore %s\n",
		identityTitle, FormatVersion, id.Cluster, id.Server, id.Store)
	return fmt.Appendf(nil, "%scrc32c %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

// decodeIdentity reads an identity file. The first two lines and the last one are the same in every version, so that a file
// of a later one is told from a damaged one.
func decodeIdentity(b []byte) (id persistentlog.Identity, err error) {
	text := string(b)
	last := strings.LastIndex(text, "crc32c ")
	if last < 0 || text[last:] != fmt.Sprintf("crc32c %08x\n", crc32.Checksum(b[:last], castagnoli)) {
		return id, fmt.Errorf("%w: checksum does not match", persistentlog.ErrDamaged)
	}
	lines := strings.Split(strings.TrimSuffix(text[:last], "\n"), "\n")
	value := func(line int, name string) string {
		if err == nil && (line >= len(lines) || !strings.HasPrefix(lines[line], name+" ")) {
			err = fmt.Errorf("%w: line %d is not %q", persistentlog.ErrDamaged, line+1, name)
		}
		if err != nil {
			return ""
		}
		return strings.TrimPrefix(lines[line], name+" ")
	}
	version := value(1, "version")
	if err != nil || lines[0] != identityTitle {
		return id, errors.Join(err, fmt.Errorf("%w: not an identity file", persistentlog.ErrDamaged))
	}
	if version != strconv.Itoa(FormatVersion) {
		return id, fmt.Errorf("%w: the store has format %s, this version reads %d (install the version that wrote it)",
			persistentlog.ErrFormatVersion, version, FormatVersion)
	}
	cluster, server, store := value(2, "cluster"), value(3, "server"), value(4, "store")
	if err != nil {
		return id, err
	}
	var errs [3]error
	id.Cluster, errs[0] = raft.ParseClusterID(cluster)
	number, numberErr := strconv.ParseUint(server, 10, 64)
	id.Server, errs[1] = raft.ServerID(number), numberErr
	id.Store, errs[2] = raft.ParseStoreID(store)
	if err := errors.Join(errs[:]...); err != nil {
		return persistentlog.Identity{}, fmt.Errorf("%w: %w", persistentlog.ErrDamaged, err)
	}
	return id, checkIdentity(id)
}

// checkIdentity refuses what is not chosen yet.
func checkIdentity(id persistentlog.Identity) error {
	switch {
	case id.Cluster.IsZero():
		return errors.New("pebblelog: identity without a cluster id")
	case id.Server == 0:
		return errors.New("pebblelog: identity without a server id")
	case id.Store.IsZero():
		return errors.New("pebblelog: identity without a store id")
	}
	return nil
}

// readSmallFile reads a whole file of at most identityBytesMax bytes.
func readSmallFile(f vfs.FS, path string) (b []byte, err error) {
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

// writeFile writes and syncs a file and the directory that it is in.
func writeFile(f vfs.FS, dir, name string, b []byte) error {
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
	return syncDir(f, dir)
}

func syncDir(f vfs.FS, dir string) error {
	d, err := f.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func exists(f vfs.FS, path string) (bool, error) {
	_, err := f.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
