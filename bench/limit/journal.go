package limit

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"
)

// journal is where a member keeps batches. append makes all of them durable with one sync; it belongs to one goroutine.
type journal interface {
	append(first uint64, frames [][]byte) error
	close() error
}

// ring is a file of a fixed size, written with zeros before it is used and then over and over: a sync of it never has a
// new length or a new extent to record. It retains the newest bytes, as many as the file is long.
type ring struct {
	file *os.File
	size int64
	at   int64
	buf  []byte
}

func openRing(dir string, size int64) (journal, error) {
	file, err := os.OpenFile(filepath.Join(dir, "ring"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := file.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			file.Close()
			return nil, fmt.Errorf("limit: preparing %s: %w", file.Name(), err)
		}
	}
	if err := file.Sync(); err != nil {
		file.Close()
		return nil, fmt.Errorf("limit: preparing %s: %w", file.Name(), err)
	}
	return &ring{file: file, size: size}, nil
}

func (r *ring) append(_ uint64, frames [][]byte) error {
	whole := frames[0]
	if len(frames) > 1 {
		r.buf = r.buf[:0]
		for _, f := range frames {
			r.buf = append(r.buf, f...)
		}
		whole = r.buf
	}
	if r.at+int64(len(whole)) > r.size {
		r.at = 0
	}
	if _, err := r.file.WriteAt(whole, r.at); err != nil {
		return fmt.Errorf("limit: %w", err)
	}
	r.at += int64(len(whole))
	if err := unix.Fdatasync(int(r.file.Fd())); err != nil {
		return fmt.Errorf("limit: fdatasync of %s: %w", r.file.Name(), err)
	}
	return nil
}

func (r *ring) close() error { return r.file.Close() }

// tree is a Pebble database with one record a batch, compacted to its newest bytes.
type tree struct {
	db       *pebble.DB
	retain   int64
	written  int64      // since the last compaction
	retained []recorded // what is there, oldest first
	bytes    int64
}

type recorded struct {
	key  uint64
	size int64
}

func openTree(dir string, retain int64) (journal, error) {
	db, err := pebble.Open(filepath.Join(dir, "pebble"), &pebble.Options{
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		Logger:                      silent{},
	})
	if err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	return &tree{db: db, retain: retain}, nil
}

func (t *tree) append(first uint64, frames [][]byte) error {
	batch := t.db.NewBatch()
	defer batch.Close()
	for i, f := range frames {
		key := first + uint64(i)
		if err := batch.Set(treeKey(key), f, nil); err != nil {
			return fmt.Errorf("limit: %w", err)
		}
		t.retained = append(t.retained, recorded{key, int64(len(f))})
		t.bytes += int64(len(f))
		t.written += int64(len(f))
	}
	// Compacting at each write would cost a tombstone a batch; once for a quarter of what is retained is enough.
	if t.bytes > t.retain && t.written > t.retain/4 {
		n := 0
		for ; t.bytes > t.retain && n < len(t.retained)-1; n++ {
			t.bytes -= t.retained[n].size
		}
		if err := batch.DeleteRange(treeKey(0), treeKey(t.retained[n].key), nil); err != nil {
			return fmt.Errorf("limit: %w", err)
		}
		t.retained = append(t.retained[:0], t.retained[n:]...)
		t.written = 0
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("limit: %w", err)
	}
	return nil
}

func treeKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func (t *tree) close() error { return t.db.Close() }

// silent drops what Pebble tells; it ends the process on what Pebble would end it for.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "pebble: "+format+"\n", args...)
	os.Exit(1)
}
