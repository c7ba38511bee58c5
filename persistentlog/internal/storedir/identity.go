package storedir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// Names of the files that every store has.
const (
	// IdentityName is the file without which a directory is no store.
	IdentityName = "identity"
	// IdentityUnfinished is what it is called while a Format is under way.
	IdentityUnfinished = "identity.tmp"
	// LockName is the file that is held while a store is open.
	LockName = "LOCK"

	identityBytesMax = 4 << 10
	titlePrefix      = "oarlock "
)

// Kind is a kind of log in a directory.
type Kind struct {
	// Name is the package's, for errors.
	Name string
	// Title is the first line of its identity files; it begins with "oarlock ". It never changes.
	Title string
	// Version is the format that is written, and the only one that is read.
	Version int
}

// castagnoli is the polynomial of all checksums on disk.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EncodeIdentity lays out the identity file: lines of text, so that an operator can read whose a directory is, and a
// CRC32C of all lines before the last.
func (k Kind) EncodeIdentity(id persistentlog.Identity) []byte {
	text := fmt.Sprintf("%s\nversion %d\ncluster %s\nserver %d\nstore %s\n", k.Title, k.Version, id.Cluster, id.Server, id.Store)
	return fmt.Appendf(nil, "%scrc32c %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

// DecodeIdentity reads an identity file. The first two lines and the last one are the same in every version, so that a file
// of a later one, or of another kind of log, is told from a damaged one.
func (k Kind) DecodeIdentity(b []byte) (id persistentlog.Identity, err error) {
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
	if lines[0] != k.Title && strings.HasPrefix(lines[0], titlePrefix) {
		return id, fmt.Errorf("%q is the store of another kind of log, and this one reads %q (set log.kind to what it was formatted with)", lines[0], k.Title)
	}
	version := value(1, "version")
	if err != nil || lines[0] != k.Title {
		return id, errors.Join(err, fmt.Errorf("%w: not an identity file", persistentlog.ErrDamaged))
	}
	if version != strconv.Itoa(k.Version) {
		return id, fmt.Errorf("%w: the store has format %s, this version reads %d (install the version that wrote it)",
			persistentlog.ErrFormatVersion, version, k.Version)
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
	return id, k.checkIdentity(id)
}

// NewIdentity returns the identity with a random store id if it has none.
func (k Kind) NewIdentity(id persistentlog.Identity) (persistentlog.Identity, error) {
	if id.Store.IsZero() {
		if _, err := rand.Read(id.Store[:]); err != nil {
			return id, fmt.Errorf("%s: store id: %w", k.Name, err)
		}
	}
	return id, k.checkIdentity(id)
}

// checkIdentity refuses what is not chosen yet.
func (k Kind) checkIdentity(id persistentlog.Identity) error {
	missing := ""
	switch {
	case id.Cluster.IsZero():
		missing = "cluster"
	case id.Server == 0:
		missing = "server"
	case id.Store.IsZero():
		missing = "store"
	default:
		return nil
	}
	return fmt.Errorf("%s: identity without a %s id", k.Name, missing)
}
