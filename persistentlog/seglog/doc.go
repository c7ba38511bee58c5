// Package seglog is a PersistentLog of segments: files of a fixed size, written from front to back, in which the blocks of all
// groups of a server stand in the order in which they were saved. A Save is one write and one fdatasync.
//
// # What stands where
//
// A store is a directory: the file identity says whose it is, LOCK keeps a second process out, witness says how far the log
// has come, and segments holds the log. A segment begins with a header and a checkpoint: the small state of every group
// (borders, terms, memberships, term and vote, birth, snapshot pointer), so that nothing but blocks is ever needed from an
// older one. Batches follow, one a Save. A segment that is full ends with a seal, which names the next one and lists where
// the segment's live blocks stand. So Open reads the seals and the newest segment, and nothing else. docs/format.md has
// the bytes.
//
// # What ends a log
//
// A batch is synced before the next one is written. So if anything stands behind a batch that does not read, that batch had
// been promised, and it is damage; if nothing does, it is the end that a crash tore off, unless the witness knows better.
// What an earlier life of a file left in it is never taken for a batch: each carries the segment's random salt.
//
// # What becomes of old segments
//
// The oldest segment is used again for a new one when no live block is left in it; never one behind it, because a block in
// a later segment may have replaced one in an earlier segment. If a group that does not compact pins old segments
// and most of what is kept is garbage, each Save takes some of its blocks along to the newest segment.
//
// # When a write fails
//
// The first write, sync or rename that fails puts a fence up: nothing more reaches the disk, and every Save returns
// persistentlog.ErrFenced with the cause.
package seglog
