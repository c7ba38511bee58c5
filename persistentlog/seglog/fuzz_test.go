package seglog

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
	"github.com/oarlock/oarlock/raft"
)

// FuzzBatch gives the readers of batches arbitrary items under a checksum that matches, as a bug of a writer would leave
// them: whatever they hold, Open and the reads after it return data or ErrDamaged.
func FuzzBatch(f *testing.F) {
	o := out{}
	o.reset()
	w := storetest.NewWriter(1)
	u := w.Update(2, 5)
	u.Hard = &raft.HardState{Term: 1, Vote: 2}
	o.add(&u)
	f.Add(o.buf[batchHeaderSize:], uint32(o.items), uint8(batchSave))
	o.reset()
	o.item(itemDestroy, 1, nil)
	o.number(itemCompact, 2, 5)
	o.item(itemMoved, 1, u.Blocks[0].Bytes())
	f.Add(o.buf[batchHeaderSize:], uint32(o.items), uint8(batchSave))
	f.Add([]byte{}, uint32(0), uint8(batchSeal))
	base, err := formatted()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, items []byte, count uint32, kind uint8) {
		mem := base.CrashClone(vfs.CrashCloneCfg{})
		edit := func(b []byte) []byte {
			h, err := parseHeader(b)
			require.NoError(t, err)
			at := len(b)
			b = append(beginBatch(b), items...)
			b = padBatch(b, at)
			sealBatch(b[at:], h.salt, int64(at), 2, batchKind(kind), int(count))
			return b
		}
		require.NoError(t, editNewest(mem, edit))
		if _, err := storedText(mem); err != nil && !errors.Is(err, persistentlog.ErrDamaged) {
			t.Fatal(err)
		}
	})
}

// FuzzSegment gives Open arbitrary bytes in the place of a segment.
func FuzzSegment(f *testing.F) {
	base, err := formatted()
	if err != nil {
		f.Fatal(err)
	}
	path := base.PathJoin(storetest.Dir, segmentsName, segmentName(1))
	content, err := readFile(base, path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add(content[:headerSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		mem := base.CrashClone(vfs.CrashCloneCfg{})
		require.NoError(t, storedir.WriteFile(mem, mem.PathDir(path), segmentName(1), b))
		if _, err := storedText(mem); err != nil && !errors.Is(err, persistentlog.ErrDamaged) && !errors.Is(err, persistentlog.ErrFormatVersion) {
			t.Fatal(err)
		}
	})
}
