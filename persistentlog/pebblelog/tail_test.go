package pebblelog

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/raft"
)

// appendChunk lays a chunk of the write-ahead log out as Pebble does.
func appendChunk(b []byte, kind byte, number uint32, payload []byte) []byte {
	header := walPlainHeader
	if kind >= walSyncedFull {
		header = walSyncedHeader
	}
	at := len(b)
	b = append(append(b, make([]byte, header)...), payload...)
	c := b[at:]
	binary.LittleEndian.PutUint16(c[4:], uint16(len(payload)))
	c[6] = kind
	binary.LittleEndian.PutUint32(c[7:], number)
	crc := crc32.Checksum(c[6:], castagnoli)
	binary.LittleEndian.PutUint32(c, (crc>>15|crc<<17)+0xa282ead8)
	return b
}

// record is the payload of a batch with a salt, and some more.
func record(salt uint32, more int) []byte {
	b := append(make([]byte, batchHeaderSize), logDataKind, saltSize)
	return append(binary.LittleEndian.AppendUint32(b, salt), make([]byte, more)...)
}

// TestACommandThatLooksLikeARecordIsTakenForNone has the power go in a save whose command holds what looks like records of the write-ahead
// log, of every number that it may have: whole ones, and ones with a salt. The torn save was not acknowledged, and nothing is damaged.
func TestACommandThatLooksLikeARecordIsTakenForNone(t *testing.T) {
	command := make([]byte, 5000)
	for number := range uint32(200) {
		command = appendChunk(command, walPlainFull, number, []byte{0})
		command = appendChunk(command, walPlainFirst, number, nil)
		command = appendChunk(command, walSyncedFull, number, record(number, 9))
		command = appendChunk(command, walSyncedFirst, number, record(0, 9))
	}
	buf := raft.AppendEntry(make([]byte, raft.BlockHeaderSize), command)
	block := raft.NewBlock(raft.BlockMeta{Group: 1, First: 1, Count: 1, Term: 1, Kind: raft.KindCommand, Time: 1}, buf)
	torn := 0
	for seed := range uint64(40) {
		mem := freshMem(t)
		var mu sync.Mutex
		armed := false
		var left *vfs.MemFS
		l := openMem(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if armed && left == nil && op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, walSuffix) {
				left = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 3))})
			}
			return nil
		})))
		if seed%2 == 0 {
			require.NoError(t, l.Save([]persistentlog.Update{newWriter(2).Update(1, 10)}))
		}
		mu.Lock()
		armed = true
		mu.Unlock()
		require.NoError(t, l.Save([]persistentlog.Update{{Group: 1, Blocks: []raft.Block{block}}}))
		require.NoError(t, l.Close())
		again, err := Open(testDir, testOptions(left))
		require.NoError(t, err, "seed %d", seed)
		state, err := again.Load(1)
		require.NoError(t, err)
		require.False(t, state.Hard.Lost)
		if state.Next == 1 {
			torn++
		}
		require.NoError(t, again.Close())
	}
	require.Greater(t, torn, 10)
}

// TestARecordBehindABreakIsKnownByItsSalt lays out logs with a break and a record behind it, wherever that begins: its salt may stand in the
// next piece.
func TestARecordBehindABreakIsKnownByItsSalt(t *testing.T) {
	const number, ours, theirs = 7, 0x1234567, 0x7654321
	scan := func(salt uint32, log []byte) bool {
		s := tailScan{number: number, salt: salt, broken: -1}
		for at := 0; at < len(log) && !s.ended; at += walBlockSize {
			if _, found := s.piece(log[at:min(at+walBlockSize, len(log))], int64(at)); found {
				return true
			}
		}
		return false
	}
	broken := func(log []byte) []byte {
		at := len(log)
		log = appendChunk(log, walSyncedFull, number, record(ours, 50))
		log[at+30] ^= 1
		return log
	}
	for name, c := range map[string]struct {
		front   uint32 // the salt of a record in front of the break; 0: there is none
		witness uint32
		behind  uint32
		found   bool
	}{
		"the witness knows it":                   {0, ours, ours, true},
		"the witness knows another":              {0, ours, theirs, false},
		"nobody knows it":                        {0, 0, ours, true},
		"the record in front has it":             {ours, 0, ours, true},
		"the record in front has another":        {ours, 0, theirs, false},
		"the record in front, not the witness":   {ours, theirs, ours, true},
		"the witness, not the record in front":   {ours, theirs, theirs, false},
		"a record without a salt counts no more": {ours, ours, 0, false},
	} {
		start := func() (log []byte) {
			if c.front != 0 {
				log = appendChunk(log, walSyncedFull, number, record(c.front, 20))
			}
			return broken(log)
		}
		require.Equal(t, c.found, scan(c.witness, appendChunk(start(), walSyncedFull, number, record(c.behind, 40))), name)
		payload := record(c.behind, 40)
		for split := range len(payload) { // of which so much stands at the end of the piece
			log := start()
			filler := walBlockSize - len(log) - walSyncedHeader - split
			log = append(log, make([]byte, filler)...)
			log = appendChunk(log, walSyncedFirst, number, payload[:split])
			require.Len(t, log, walBlockSize)
			log = appendChunk(log, walSyncedLast, number, payload[split:])
			require.Equal(t, c.found, scan(c.witness, log), "%s, %d bytes in front of the border", name, split)
		}
	}
	// What begins at the end of a piece and is not gone on with is no record.
	log := broken(nil)
	log = append(log, make([]byte, walBlockSize-len(log)-walSyncedHeader)...)
	log = appendChunk(log, walSyncedFirst, number, nil)
	require.False(t, scan(ours, log))
	require.False(t, scan(ours, append(log, make([]byte, 3*walBlockSize)...)))
	require.True(t, scan(ours, append(append(log, make([]byte, 3*walBlockSize)...), appendChunk(nil, walPlainFull, number, record(ours, 0))...)))
}

// TestTheWitnessHasTheSaltOfALifeBeforeAnythingIsSaved looks at what a power cut leaves of a store that has just opened.
func TestTheWitnessHasTheSaltOfALifeBeforeAnythingIsSaved(t *testing.T) {
	mem := freshMem(t)
	salts := make(map[uint32]bool)
	for range 3 {
		l := openMem(t, mem)
		left := mem.CrashClone(vfs.CrashCloneCfg{})
		for slot := range int64(2) {
			file, err := left.OpenReadWrite(left.PathJoin(testDir, storedir.WitnessName), vfs.WriteCategoryUnspecified)
			require.NoError(t, err)
			_, err = file.WriteAt([]byte{0xff}, slot*4096+30) // the other slot counts alone
			require.NoError(t, err)
			w, err := storeKind.OpenWitness(left.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}),
				testDir, testIdentity.Store, time.Now)
			require.NoError(t, err)
			number, salt := w.Newest()
			require.NoError(t, w.Close(false))
			require.Equal(t, l.SaveNumber(), number)
			require.Equal(t, l.salt, salt)
			salts[salt] = true
			left = mem.CrashClone(vfs.CrashCloneCfg{})
			require.NoError(t, file.Close())
		}
		require.NoError(t, l.Close())
	}
	require.Len(t, salts, 3)
}
