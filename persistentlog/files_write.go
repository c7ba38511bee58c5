package persistentlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// fileWriter writes one snapshot, hashing as it goes.
type fileWriter struct {
	files    *Files
	meta     raft.SnapshotMeta
	transfer bool // size and checksum are known
	name     string
	final    string
	file     File
	layout   layout

	written  int64  // bytes of the stream so far
	sum      uint32 // their checksum
	buf      []byte // the piece under construction: written modulo the size of a piece
	unsynced int64
	err      error // the first failure; nothing is written after it
	done     bool
}

// Create begins a snapshot or resumes a transfer.
func (f *Files) Create(meta raft.SnapshotMeta) (SnapshotWriter, error) {
	if meta.Group == 0 || meta.Index == 0 || meta.Size < 0 {
		return nil, fmt.Errorf("persistentlog: create snapshot of group %d at %d with %d bytes: it has no place", meta.Group, meta.Index, meta.Size)
	}
	w, err := f.begin(meta)
	if err != nil {
		return nil, err
	}
	// Verifying what is there reads it all, so it happens without the lock.
	if w.transfer && w.resume() {
		return w, nil
	}
	if err := w.create(); err != nil {
		w.release()
		return nil, err
	}
	return w, nil
}

// begin reserves the place and chooses the file.
func (f *Files) begin(meta raft.SnapshotMeta) (*fileWriter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	place := writing{meta.Group, meta.Index}
	if f.active[place] {
		return nil, fmt.Errorf("persistentlog: create snapshot of group %d at %d: it is being written: abort that writer first", meta.Group, meta.Index)
	}
	dir := groupDir(meta.Group)
	if err := f.fs.Mkdir(dir); err != nil {
		return nil, f.failed("make the directory of", dir, err)
	}
	// Also when it was there: nobody knows whether the run that made it came to sync it.
	if err := f.fs.SyncDir("."); err != nil {
		return nil, f.failed("sync the directory above", dir, err)
	}
	files, err := f.scan(meta.Group)
	if err != nil {
		return nil, err
	}
	w := &fileWriter{files: f, meta: meta, transfer: meta.Size != 0 || meta.Checksum != 0}
	number := uint64(1)
	for _, s := range files {
		number = max(number, s.number+1)
	}
	for name := range f.doomed {
		if s, ok := parseName(dir, name[len(dir)+1:]); ok && name[:len(dir)] == dir {
			number = max(number, s.number+1)
		}
	}
	suffix := suffixTaken
	if w.transfer {
		suffix = suffixTransfer
		if number, err = w.choose(files, number); err != nil {
			return nil, err
		}
	}
	w.name = fileName(meta.Group, meta.Index, number, suffix)
	w.final = fileName(meta.Group, meta.Index, number, suffixWhole)
	f.active[place] = true
	return w, nil
}

// choose returns the number of the transfer's newest unfinished file, or the fresh one, and removes the unfinished
// transfers of the group that this one replaces.
func (w *fileWriter) choose(files []stored, fresh uint64) (uint64, error) {
	number := fresh
	for _, s := range files {
		if s.suffix != suffixTransfer || w.files.active[writing{w.meta.Group, s.index}] {
			continue
		}
		err := w.files.describe(&s, w.meta.Group)
		if err == nil && number == fresh && sameDescription(s.meta, w.meta) {
			number, w.layout = s.number, s.layout
			continue
		}
		if err := w.files.removeFile(s.name); err != nil {
			return 0, err
		}
	}
	return number, nil
}

// sameDescription is stricter than Same: the header that is there stays.
func sameDescription(a, b raft.SnapshotMeta) bool {
	return bytes.Equal(wire.AppendSnapshotMeta(nil, a), wire.AppendSnapshotMeta(nil, b))
}

// resume goes on with what is there, as far as every checksum holds; what follows is written anew. What is there is written again,
// too: a sync of the run before may have failed, and then the kernel takes for clean what it still shows and has not written, so that a
// sync that follows would prove nothing. It reports false where there is nothing to go on with.
func (w *fileWriter) resume() bool {
	if w.layout.piece == 0 {
		return false
	}
	file, err := w.files.fs.Open(w.name, true)
	if err != nil {
		return false
	}
	w.file = file
	// Bytes behind the end could not be cut off by writing over them.
	if size, err := file.Size(); err != nil || size > w.layout.file(w.meta.Size) {
		return false
	}
	header, err := encodeHeader(w.meta, w.layout)
	if err != nil {
		return false
	}
	if _, err := file.WriteAt(header, 0); err != nil {
		return false
	}
	w.buf = make([]byte, 0, w.layout.piece+checksumBytes)
	for w.written < w.meta.Size {
		size := min(w.layout.piece, w.meta.Size-w.written)
		b, err := readPiece(file, w.layout, w.written/w.layout.piece, int(size), w.buf)
		if err != nil {
			break
		}
		w.buf = b // a last piece that is short stays there until Commit
		w.sum = crc32.Update(w.sum, castagnoli, b)
		w.written += size
		if size == w.layout.piece && w.flush() != nil {
			return false
		}
	}
	return true
}

// create makes the file and writes its header.
func (w *fileWriter) create() error {
	if w.layout.piece != 0 { // there is one, and it could not be resumed
		if err := w.drop(nil); err != nil {
			return err
		}
	}
	w.layout = newLayout(w.meta, w.files.pieceBytes)
	w.buf, w.written, w.sum, w.unsynced = make([]byte, 0, w.layout.piece+checksumBytes), 0, 0, 0
	header, err := encodeHeader(w.meta, w.layout)
	if err != nil {
		return w.files.failed("create", w.name, err)
	}
	file, err := w.files.fs.Create(w.name)
	if err != nil {
		return w.files.failed("create", w.name, err)
	}
	w.file = file
	if _, err := file.WriteAt(header, 0); err != nil {
		return w.drop(w.files.failed("write the header of", w.name, err))
	}
	return nil
}

// Offset is how many bytes of the stream are there.
func (w *fileWriter) Offset() int64 { return w.written }

// Write adds to the stream. After an error nothing more is written, and Commit returns it too.
func (w *fileWriter) Write(p []byte) (int, error) {
	if err := w.usable(); err != nil {
		return 0, err
	}
	if w.transfer && int64(len(p)) > w.meta.Size-w.written {
		w.err = w.files.failed("write", w.name, fmt.Errorf("%w: %d bytes at %d, and the stream ends at %d", ErrDamaged, len(p), w.written, w.meta.Size))
		return 0, w.err
	}
	n := 0
	for n < len(p) {
		part := p[n:min(len(p), n+int(w.layout.piece)-len(w.buf))]
		w.buf = append(w.buf, part...)
		w.sum = crc32.Update(w.sum, castagnoli, part)
		w.written += int64(len(part))
		n += len(part)
		if int64(len(w.buf)) == w.layout.piece {
			if w.err = w.flush(); w.err != nil {
				return n, w.err
			}
		}
	}
	return n, nil
}

// flush writes the piece under construction.
func (w *fileWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	piece := (w.written - 1) / w.layout.piece
	b := binary.BigEndian.AppendUint32(w.buf, pieceChecksum(piece, w.buf))
	if _, err := w.file.WriteAt(b, w.layout.at(piece)); err != nil {
		return w.files.failed("write", w.name, err)
	}
	w.buf = w.buf[:0]
	if w.unsynced += int64(len(b)); w.unsynced < w.files.syncBytes {
		return nil
	}
	w.unsynced = 0
	if err := w.file.Sync(); err != nil {
		return w.files.failed("sync", w.name, err)
	}
	return nil
}

// Commit makes the snapshot durable under its name. After an error the bytes are gone.
func (w *fileWriter) Commit() (raft.SnapshotMeta, error) {
	if w.done {
		return raft.SnapshotMeta{}, w.usable()
	}
	defer w.release()
	if w.err != nil {
		return raft.SnapshotMeta{}, w.drop(w.err)
	}
	meta := w.meta
	if !w.transfer {
		meta.Size, meta.Checksum = w.written, w.sum
	} else if meta.Size != w.written || meta.Checksum != w.sum {
		return raft.SnapshotMeta{}, w.drop(w.files.failed("commit", w.name, fmt.Errorf("%w: %d bytes with checksum %08x came, want %d with %08x: fetch it again",
			ErrDamaged, w.written, w.sum, meta.Size, meta.Checksum)))
	}
	if err := w.finish(meta); err != nil {
		return raft.SnapshotMeta{}, w.drop(err)
	}
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return raft.SnapshotMeta{}, w.drop(w.files.failed("close", w.name, err))
	}
	if err := w.publish(meta); err != nil {
		return raft.SnapshotMeta{}, err
	}
	return meta, nil
}

// finish makes the file itself complete and durable.
func (w *fileWriter) finish(meta raft.SnapshotMeta) error {
	if err := w.flush(); err != nil {
		return err
	}
	if !w.transfer {
		header, err := encodeHeader(meta, w.layout)
		if err != nil {
			return w.files.failed("commit", w.name, err)
		}
		if _, err := w.file.WriteAt(header, 0); err != nil {
			return w.files.failed("write the header of", w.name, err)
		}
	}
	if err := w.file.Sync(); err != nil {
		return w.files.failed("sync", w.name, err)
	}
	return nil
}

// publish gives the file its name, durably, and removes older files of the same snapshot.
func (w *fileWriter) publish(meta raft.SnapshotMeta) error {
	f := w.files
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fs.Rename(w.name, w.final); err != nil {
		return errors.Join(f.failed("rename", w.name, err), f.removeFile(w.name))
	}
	if err := f.fs.SyncDir(groupDir(meta.Group)); err != nil {
		// Nobody was told of this snapshot, so whether the name survives a crash makes no difference.
		return errors.Join(f.failed("sync the directory of", w.final, err), f.removeFile(w.final))
	}
	// An older file of the same bytes that does not go now goes with the snapshot: Remove takes all of them.
	_ = f.remove(meta, w.final)
	return nil
}

// Abort ends the writing.
func (w *fileWriter) Abort(keep bool) error {
	if w.done {
		return w.usable()
	}
	defer w.release()
	if !keep || !w.transfer {
		return w.drop(nil)
	}
	// What a failed write left is told by its checksums, at the next attempt.
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return w.files.failed("close", w.name, err)
	}
	return nil
}

func (w *fileWriter) usable() error {
	if w.done {
		return fmt.Errorf("persistentlog: write snapshot file %s: %w", w.name, ErrClosed)
	}
	return w.err
}

// drop closes and removes the file and returns err with whatever goes wrong in that.
func (w *fileWriter) drop(err error) error {
	if w.file != nil {
		if closed := w.file.Close(); closed != nil {
			err = errors.Join(err, w.files.failed("close", w.name, closed))
		}
		w.file = nil
	}
	w.files.mu.Lock()
	defer w.files.mu.Unlock()
	return errors.Join(err, w.files.removeFile(w.name))
}

func (w *fileWriter) release() {
	w.done = true
	w.files.mu.Lock()
	defer w.files.mu.Unlock()
	delete(w.files.active, writing{w.meta.Group, w.meta.Index})
}
