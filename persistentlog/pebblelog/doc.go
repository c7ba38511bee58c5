// Package pebblelog is the default PersistentLog: one Pebble database (github.com/cockroachdb/pebble/v2) holds the logs of
// all groups of a server, and one synced batch makes a whole Save durable.
//
// # What stands where
//
// A store is a directory: the file identity says whose it is, LOCK keeps a second process out, and pebble holds the
// database. Every record of a group has the key (group, kind, index), big endian, so that a group lies together and its
// blocks in order. A block is one record, as it was encoded by the leader. Terms (the trail), memberships and a small
// record of the log's borders lie beside the blocks and change in the same batches, so that Load reads those and the
// last block and nothing else. docs/format.md has the bytes.
//
// # What is written when
//
// Every write is a Save in the eyes of the store: it takes the next save number, is one Pebble batch, and is synced before
// the next one begins. Nothing is ever written unsynced. Compact only notes what is to go; the next batch takes it along.
// That order is what lets Open tell a torn end from damage: a record of the write-ahead log that is followed by another
// one had been synced, so if it does not read, something that was promised is gone.
//
// # When a write fails
//
// The file system that Pebble is given (fence.go) remembers the first failure for good. From then on nothing more
// reaches the disk, not even the removal of a file, so the directory stays as a crash at that moment would have left it,
// and every Save returns persistentlog.ErrFenced with the cause. Pebble itself would end the process, or go on to report
// success; neither happens here.
package pebblelog
