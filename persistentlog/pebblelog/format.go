package pebblelog

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
)

// FormatVersion is the version of what stands in a store. A store of a newer one is refused.
const FormatVersion = 1

const pebbleName = "pebble"

// storeKind is what tells this log's directories from those of other logs.
var storeKind = storedir.Kind{Name: "pebblelog", Title: "oarlock store", Version: FormatVersion}

// Format makes a store of the directory, which must not exist or be empty, and gives it its identity, once and for ever. A store id
// of zero stands for a random one. It is the only way to get a store: Open never makes one, so a disk that was not
// mounted is not taken for a new server.
//
// The error matches ErrFormatted if there is a store already and ErrInUse if another process is at it. A Format that was
// interrupted left no store behind and can be repeated.
func Format(dir string, identity persistentlog.Identity, options Options) (err error) {
	if err := options.Validate(); err != nil {
		return err
	}
	options = options.withDefaults()
	if identity, err = storeKind.NewIdentity(identity); err != nil {
		return err
	}
	options.WALPrepareBytes = 0
	fence := newFence(options.Logger)
	f := newFenceFS(options.FS, fence)
	defer close(fence.closing)
	if err := storeKind.Claim(options.FS, dir, pebbleName, storedir.WitnessName); err != nil {
		return err
	}
	lock, err := storeKind.Lock(options.FS, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := fill(f, dir, identity, options); err != nil {
		return fmt.Errorf("pebblelog: format %s: %w", dir, err)
	}
	if err := fence.Check(); err != nil {
		return fmt.Errorf("pebblelog: format %s: %w", dir, err)
	}
	return nil
}

// fill writes the store. The name identity appears last: a directory without it is not a store.
func fill(f *fenceFS, dir string, identity persistentlog.Identity, options Options) error {
	text := storeKind.EncodeIdentity(identity)
	if err := storedir.WriteFile(f, dir, storedir.IdentityUnfinished, text); err != nil {
		return err
	}
	path := f.PathJoin(dir, pebbleName)
	if err := f.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Pebble begins at its oldest format and is then lifted to the newest; the write-ahead log that is open meanwhile stays of
	// the old kind, in which damage looks like the end. The second Open begins a new one.
	db, err := openPebble(path, options.pebbleOptions(f, f.fence))
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if db, err = openPebble(path, options.pebbleOptions(f, f.fence)); err != nil {
		return err
	}
	if err := errors.Join(writeStoreRecord(db, text), db.Close()); err != nil {
		return err
	}
	if err := storedir.CreateWitness(f, dir, identity.Store, 1, 0); err != nil {
		return err
	}
	// After a failure none of what follows reaches the disk; Format asks the fence at the end.
	return storedir.Finish(f, dir)
}

// writeStoreRecord puts the identity into the database too, so that the two cannot be exchanged against another store's.
func writeStoreRecord(db *pebble.DB, identity []byte) (err error) {
	batch := db.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	if err := mergeSaves(batch, 0, 1); err != nil {
		return err
	}
	k := makeKey(0, kindStore, 0)
	if err := batch.Set(k[:], seal(k, identity), nil); err != nil {
		return err
	}
	return commitBatch(batch)
}
