package persistentlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/oarlock/oarlock/raft"
)

// readFull fills b from an offset. A file that ends before is an error that matches ErrDamaged.
func readFull(file File, b []byte, at int64) error {
	switch n, err := file.ReadAt(b, at); {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the file ends at %d", ErrDamaged, at+int64(n))
	default:
		return err
	}
}

// readPiece reads a piece's bytes into buf, which has room for them and their checksum, and verifies them.
func readPiece(file File, l layout, piece int64, size int, buf []byte) ([]byte, error) {
	buf = buf[:size+checksumBytes]
	if err := readFull(file, buf, l.at(piece)); err != nil {
		return nil, err
	}
	got, want := pieceChecksum(piece, buf[:size]), binary.BigEndian.Uint32(buf[size:])
	if got != want {
		return nil, fmt.Errorf("%w: bytes %d to %d of the stream have checksum %08x, want %08x",
			ErrDamaged, piece*l.piece, piece*l.piece+int64(size), got, want)
	}
	return buf[:size], nil
}

// fileReader reads a committed snapshot. No byte leaves it before its piece was verified, and the last piece not before
// the whole was, where the whole was read.
type fileReader struct {
	files  *Files
	name   string
	file   File
	meta   raft.SnapshotMeta
	layout layout

	piece int64  // the next one to read
	skip  int    // bytes of it that lie before the offset asked for
	buf   []byte // room for a piece and its checksum
	rest  []byte // of the piece read last
	whole bool   // from offset 0 on
	sum   uint32 // of the stream so far, if whole
	err   error
}

// Read implements io.Reader. Damage is an error that matches ErrDamaged; it does not go away.
func (r *fileReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 {
		if r.err == nil {
			r.err = r.load()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *fileReader) load() error {
	from := r.piece * r.layout.piece
	if from >= r.meta.Size {
		return io.EOF
	}
	size := min(r.layout.piece, r.meta.Size-from)
	if r.buf == nil {
		r.buf = make([]byte, size+checksumBytes)
	}
	b, err := readPiece(r.file, r.layout, r.piece, int(size), r.buf)
	if err != nil {
		return r.files.failed("read", r.name, err)
	}
	if r.whole {
		r.sum = crc32.Update(r.sum, castagnoli, b)
		if from+size == r.meta.Size && r.sum != r.meta.Checksum {
			return r.files.failed("read", r.name, fmt.Errorf("%w: the stream has checksum %08x, want %08x", ErrDamaged, r.sum, r.meta.Checksum))
		}
	}
	r.piece++
	r.rest, r.skip = b[r.skip:], 0
	return nil
}

// Close ends the reading. A snapshot that was removed meanwhile goes with its last reader.
func (r *fileReader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file, r.rest, r.err = nil, nil, ErrClosed
	return errors.Join(err, r.files.unpin(r.name))
}

// Open reads a committed snapshot from an offset on, which may be its size.
func (f *Files) Open(meta raft.SnapshotMeta, offset int64) (io.ReadCloser, error) {
	if offset < 0 || offset > meta.Size {
		return nil, fmt.Errorf("persistentlog: snapshot of group %d at %d: offset %d, it has %d bytes", meta.Group, meta.Index, offset, meta.Size)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	found, err := f.find(meta)
	if err != nil {
		return nil, err
	}
	file, err := f.fs.Open(found.name, false)
	if err != nil {
		return nil, f.failed("open", found.name, err)
	}
	f.pins[found.name]++
	r := &fileReader{files: f, name: found.name, file: file, meta: found.meta, layout: found.layout, whole: offset == 0}
	r.piece = offset / r.layout.piece
	r.skip = int(offset % r.layout.piece)
	return r, nil
}
