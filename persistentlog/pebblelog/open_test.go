package pebblelog

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/internal/storedir"
	"github.com/oarlock/oarlock/persistentlog/internal/storetest"
	"github.com/oarlock/oarlock/raft"
)

// diskOptions are for stores on the operating system's file system.
func diskOptions() Options {
	return Options{MemtableBytes: 1 << 20, CacheBytes: 1 << 20, WALPrepareBytes: -1}
}

func formatDisk(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a", "store")
	require.NoError(t, Format(dir, testIdentity, diskOptions()))
	return dir
}

func TestOpenNeverMakesAStore(t *testing.T) {
	empty := t.TempDir()
	for _, dir := range []string{empty, filepath.Join(empty, "missing")} {
		_, err := Open(dir, Options{})
		require.ErrorIs(t, err, persistentlog.ErrNotFormatted)
		require.ErrorContains(t, err, "init")
		require.ErrorContains(t, err, "join")
	}
	names, err := os.ReadDir(empty)
	require.NoError(t, err)
	require.Empty(t, names, "Open left something behind")
}

func TestFormatHappensOnceAndOnlyInAnEmptyDirectory(t *testing.T) {
	dir := formatDisk(t)
	require.ErrorIs(t, Format(dir, testIdentity, diskOptions()), persistentlog.ErrFormatted)
	foreign := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "thesis.tex"), nil, 0o600))
	err := Format(foreign, testIdentity, diskOptions())
	require.ErrorContains(t, err, "thesis.tex")
	require.NotErrorIs(t, err, persistentlog.ErrFormatted)
	require.Error(t, Format(filepath.Join(foreign, "x"), persistentlog.Identity{Server: 1}, diskOptions()), "no cluster")
	require.Error(t, Format(filepath.Join(foreign, "x"), persistentlog.Identity{Cluster: raft.ClusterID{1}}, diskOptions()), "no server")
}

func TestFormatDrawsAStoreIDOfItsOwn(t *testing.T) {
	seen := map[raft.StoreID]bool{}
	for range 3 {
		mem := vfs.NewMem()
		require.NoError(t, Format(testDir, persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: 2}, testOptions(mem)))
		id, err := openMem(t, mem).Identity()
		require.NoError(t, err)
		require.False(t, id.Store.IsZero() || seen[id.Store])
		seen[id.Store] = true
	}
}

// TestAFormatThatLostPowerIsNoStoreAndCanBeRepeated crashes Format before each of its calls into the file system.
func TestAFormatThatLostPowerIsNoStoreAndCanBeRepeated(t *testing.T) {
	var disks []*vfs.MemFS
	mem := vfs.NewCrashableMem()
	f := errorfs.Wrap(mem, oneAtATime(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			disks = append(disks, mem.CrashClone(vfs.CrashCloneCfg{}))
		}
		return nil
	}))
	require.NoError(t, Format(testDir, testIdentity, testOptions(f)))
	stores := 0
	for i, disk := range disks {
		l, err := Open(testDir, testOptions(disk))
		if err == nil {
			stores++
			require.NoError(t, l.Close())
			continue
		}
		require.ErrorIs(t, err, persistentlog.ErrNotFormatted, "call %d", i)
		require.NoError(t, Format(testDir, testIdentity, testOptions(disk)), "call %d", i)
		require.NoError(t, openMem(t, disk).Close())
	}
	require.Less(t, stores, len(disks)/2)
}

// TestAFormatThatWasKilledLosesNothingLater kills Format before each of its calls, and takes the power from whoever came after it.
func TestAFormatThatWasKilledLosesNothingLater(t *testing.T) {
	kills, err := storetest.KilledFormats(func(f vfs.FS) error { return Format(testDir, testIdentity, testOptions(f)) }, openOn)
	require.NoError(t, err)
	require.Greater(t, kills, 10)
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("mode bits say nothing on Windows")
	}
	dir := formatDisk(t)
	l, err := Open(dir, diskOptions())
	require.NoError(t, err)
	require.NoError(t, l.Save([]persistentlog.Update{newWriter(1).Update(3, 100)}))
	require.NoError(t, l.db.Flush())
	require.NoError(t, l.Close())
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, "%s has mode %v", path, info.Mode())
		return nil
	}))
	require.NoError(t, os.Chmod(dir, 0o770))
	_, err = Open(dir, diskOptions())
	require.ErrorContains(t, err, "chmod 700")
	require.NoError(t, os.Chmod(dir, 0o750))
	l, err = Open(dir, diskOptions())
	require.NoError(t, err, "readable by the group is only warned of")
	require.NoError(t, l.Close())
}

// TestASecondProcessIsRefusedAndToldWhoHasTheStore starts the test binary again as the second process.
func TestASecondProcessIsRefusedAndToldWhoHasTheStore(t *testing.T) {
	if dir := os.Getenv("PEBBLELOG_TEST_SECOND"); dir != "" {
		_, err := Open(dir, diskOptions())
		if errors.Is(err, persistentlog.ErrInUse) && (runtime.GOOS == "windows" || strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getppid()))) {
			return
		}
		t.Fatalf("second process: %v", err)
	}
	dir := formatDisk(t)
	l, err := Open(dir, diskOptions())
	require.NoError(t, err)
	_, err = Open(dir, diskOptions())
	require.ErrorIs(t, err, persistentlog.ErrInUse)
	second := exec.Command(os.Args[0], "-test.run=^TestASecondProcessIsRefusedAndToldWhoHasTheStore$")
	second.Env = append(os.Environ(), "PEBBLELOG_TEST_SECOND="+dir)
	out, err := second.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, l.Save([]persistentlog.Update{newWriter(1).Update(1, 1)}), "the first one goes on")
	require.NoError(t, l.Close())
	l, err = Open(dir, diskOptions())
	require.NoError(t, err, "a closed store is free")
	require.NoError(t, l.Close())
}

func TestADirectoryThatCannotBeWrittenIsSaidToBeSo(t *testing.T) {
	mem := freshMem(t)
	f := errorfs.Wrap(mem, oneAtATime(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return os.ErrPermission
		}
		return nil
	}))
	_, err := Open(testDir, testOptions(f))
	require.ErrorContains(t, err, "cannot be written")
	require.NotErrorIs(t, err, persistentlog.ErrInUse)
	require.NotErrorIs(t, err, persistentlog.ErrDamaged)
	require.NoError(t, openMem(t, mem).Close(), "nothing was changed")
}

// editIdentity replaces the identity file; seal says whether its checksum is made to match.
func editIdentity(t *testing.T, f vfs.FS, edit func(string) string, sealed bool) {
	t.Helper()
	require.NoError(t, editFile(f, testDir, storedir.IdentityName, func(b []byte) []byte {
		text := edit(string(b))
		if sealed {
			text = text[:strings.LastIndex(text, "crc32c ")]
			text += "crc32c " + crcHex(text) + "\n"
		}
		return []byte(text)
	}))
}

func TestAStoreOfALaterFormatIsRefused(t *testing.T) {
	mem := freshMem(t)
	editIdentity(t, mem, func(s string) string {
		return strings.Replace(strings.Replace(s, "version 1", "version 2", 1), "server 7", "colour blue", 1)
	}, true)
	_, err := Open(testDir, testOptions(mem))
	require.ErrorIs(t, err, persistentlog.ErrFormatVersion)
	require.NotErrorIs(t, err, persistentlog.ErrDamaged)
}

func TestADatabaseOfALaterPebbleIsRefused(t *testing.T) {
	mem := freshMem(t)
	dir := mem.PathJoin(testDir, pebbleName)
	names, err := mem.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		if number, ok := strings.CutPrefix(name, "marker.format-version."); ok {
			later := "marker.format-version." + strings.Split(number, ".")[0] + ".999"
			require.NoError(t, mem.Rename(mem.PathJoin(dir, name), mem.PathJoin(dir, later)))
		}
	}
	_, err = Open(testDir, testOptions(mem))
	require.ErrorIs(t, err, persistentlog.ErrFormatVersion)
	require.NotErrorIs(t, err, persistentlog.ErrDamaged)
}

func TestAnIdentityThatWasChangedIsDamage(t *testing.T) {
	for name, edit := range map[string]func(string) string{
		"other server, old checksum": func(s string) string { return strings.Replace(s, "server 7", "server 8", 1) },
		"cut short":                  func(s string) string { return s[:len(s)/2] },
		"empty":                      func(string) string { return "" },
		"very long":                  func(s string) string { return strings.Repeat(s, 1000) },
	} {
		mem := freshMem(t)
		editIdentity(t, mem, edit, false)
		_, err := Open(testDir, testOptions(mem))
		require.ErrorIs(t, err, persistentlog.ErrDamaged, name)
	}
	mem := freshMem(t)
	editIdentity(t, mem, func(s string) string { return strings.Replace(s, "server 7", "server 8", 1) }, true)
	_, err := Open(testDir, testOptions(mem))
	require.ErrorIs(t, err, persistentlog.ErrDamaged)
	require.ErrorContains(t, err, "another store", "the checksum matches and the database says otherwise")
}

func TestSaveNumbersRiseAndAreNeverUsedTwice(t *testing.T) {
	mem := freshMem(t)
	w := newWriter(1)
	seen := map[uint64]bool{}
	for life := range 4 {
		l := openMem(t, mem)
		before := l.SaveNumber()
		for range 3 {
			require.NoError(t, l.Save([]persistentlog.Update{w.Update(1, 10)}))
			require.Equal(t, before+1, l.SaveNumber())
			before++
			require.False(t, seen[before], "save number %d came twice", before)
			seen[before] = true
		}
		if life%2 == 0 {
			require.NoError(t, l.Close())
		}
		mem = mem.CrashClone(vfs.CrashCloneCfg{})
		if life%2 == 1 {
			require.NoError(t, l.Close())
		}
	}
}

func TestIdentityFileStaysAsItWasLaidOut(t *testing.T) {
	want := "oarlock store\nversion 1\ncluster c1000000-0000-0000-0000-000000000001\nserver 7\n" +
		"store 57000000-0000-0000-0000-000000000002\n"
	want += "crc32c " + crcHex(want) + "\n"
	require.Equal(t, want, string(storeKind.EncodeIdentity(testIdentity)))
	id, err := storeKind.DecodeIdentity([]byte(want))
	require.NoError(t, err)
	require.Equal(t, testIdentity, id)
	for i := range want {
		b := []byte(want)
		b[i] ^= 4
		_, err := storeKind.DecodeIdentity(b)
		require.Error(t, err, "byte %d", i)
	}
}

func TestOptionsNameEverySettingThatCannotBe(t *testing.T) {
	require.NoError(t, Options{}.Validate())
	err := Options{MemtableBytes: 1, CacheBytes: 1, OpenFilesMax: 1, CloseTimeout: -1}.Validate()
	for _, name := range []string{"MemtableBytes", "CacheBytes", "OpenFilesMax", "CloseTimeout"} {
		require.ErrorContains(t, err, name)
	}
	_, err = Open(testDir, Options{CacheBytes: -1})
	require.ErrorContains(t, err, "CacheBytes")
}

func TestNothingIsLoggedAboveDebugInAHealthyLife(t *testing.T) {
	var out bytes.Buffer
	mem := freshMem(t)
	options := testOptions(mem)
	options.Logger = warnings(&out)
	l, err := Open(testDir, options)
	require.NoError(t, err)
	require.NoError(t, l.Save([]persistentlog.Update{newWriter(1).Update(1, 10)}))
	require.NoError(t, l.db.Flush())
	require.NoError(t, l.Close())
	require.Empty(t, out.String())
}

// TestADiskThatFailsWhileAStoreOpensIsNotCalledDamage lets each call fail that changes something while a store opens, once. Pebble is told
// that all went well and then misses what was not written, which is no damage of the store.
func TestADiskThatFailsWhileAStoreOpensIsNotCalledDamage(t *testing.T) {
	mem := freshMem(t)
	l := openMem(t, mem)
	w := newWriter(1)
	for range 5 {
		require.NoError(t, l.Save([]persistentlog.Update{w.Update(2, 100)}))
	}
	killed := keptAll(mem)
	require.NoError(t, l.Close())
	failed := 0
	for at := int64(0); ; at++ {
		var writes atomic.Int64
		disk := keptAll(killed)
		l, err := Open(testDir, testOptions(errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && writes.Add(1)-1 == at {
				return errDisk
			}
			return nil
		}))))
		if err != nil {
			failed++
			require.ErrorIs(t, err, errDisk, "call %d", at)
			require.NotErrorIs(t, err, persistentlog.ErrDamaged, "call %d", at)
		} else if err := l.Close(); err != nil { // the call was one of Pebble's own work beside, or came on closing
			require.ErrorIs(t, err, errDisk, "call %d", at)
		}
		require.NoError(t, openMem(t, keptAll(disk)).Close(), "call %d: the store is sound", at)
		if writes.Load() <= at {
			break
		}
	}
	require.Greater(t, failed, 20)
}
