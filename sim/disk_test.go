package sim

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// written makes a disk with a file of which the first part was synced, and one that nobody has made durable.
func written(t *testing.T) *disk {
	d := newDisk()
	require.NoError(t, d.MkdirAll("dir", 0o700))
	root, err := d.OpenDir("")
	require.NoError(t, err)
	require.NoError(t, root.Sync())
	f, err := d.Create("dir/kept", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	dir, err := d.OpenDir("dir")
	require.NoError(t, err)
	require.NoError(t, dir.Sync())
	_, err = f.Write(make([]byte, 1000))
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	for range 20 {
		_, err = f.Write([]byte("what was not synced may go, sector by sector ........................................................"))
		require.NoError(t, err)
	}
	_, err = d.Create("dir/lost", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	return d
}

func TestAPowerCutKeepsWhatWasSyncedAndAnySubsetOfTheRest(t *testing.T) {
	d := written(t)
	sizes, lost := map[int]bool{}, 0
	for seed := range uint64(200) {
		after := d.crash(rand.New(rand.NewPCG(seed, 0)))
		n, err := after.find("dir/kept")
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(n.data), 1000)
		require.Equal(t, make([]byte, 1000), n.data[:1000])
		sizes[len(n.data)] = true
		if _, err := after.find("dir/lost"); err != nil {
			lost++
		}
	}
	require.Greater(t, len(sizes), 3, "some sectors are kept and some are not")
	require.NotZero(t, lost)
	require.NotEqual(t, 200, lost)
}

func TestTheSameSeedLosesTheSameBytes(t *testing.T) {
	d := written(t)
	for seed := range uint64(20) {
		one, two := d.crash(rand.New(rand.NewPCG(seed, 0))), d.crash(rand.New(rand.NewPCG(seed, 0)))
		require.Equal(t, one.files(), two.files())
		for _, name := range one.files() {
			a, err := one.find(name)
			require.NoError(t, err)
			b, err := two.find(name)
			require.NoError(t, err)
			require.Equal(t, a.data, b.data)
		}
	}
}

func TestPowerGoesAtTheChosenCallAndStaysAway(t *testing.T) {
	d := written(t)
	d.fuse, d.cut = 2, rand.New(rand.NewPCG(1, 1))
	f, err := d.OpenReadWrite("dir/kept", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write([]byte("one"))
	require.NoError(t, err)
	_, err = f.Write([]byte("two"))
	require.ErrorIs(t, err, errPower)
	require.ErrorIs(t, f.Sync(), errPower)
	require.NotNil(t, d.image)
	require.Same(t, d.image, d.crash(nil), "what is left was decided when the power went")
}

func TestAFlippedBitIsOneBit(t *testing.T) {
	d := written(t)
	n, err := d.find("dir/kept")
	require.NoError(t, err)
	before := string(n.data)
	require.True(t, d.flip("dir/kept", rand.New(rand.NewPCG(1, 1))))
	bits := 0
	for i := range n.data {
		for x := n.data[i] ^ before[i]; x != 0; x &= x - 1 {
			bits++
		}
	}
	require.Equal(t, 1, bits)
}

// open opens the file that written has made.
func open(t *testing.T, d *disk) vfs.File {
	t.Helper()
	f, err := d.OpenReadWrite("dir/kept", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	return f
}

func TestADiskThatLiesLosesWhatItSaidWasSyncedUnlessThatWouldCostTooMuch(t *testing.T) {
	for _, forgiven := range []bool{false, true} {
		d := written(t)
		d.lies, d.forgive = true, func() bool { return forgiven }
		f := open(t, d)
		_, err := f.WriteAt([]byte("promised"), 0)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		lost := 0
		for seed := range uint64(50) {
			after := d.crash(rand.New(rand.NewPCG(seed, 0)))
			require.Equal(t, !forgiven, after.forgot)
			n, err := after.find("dir/kept")
			require.NoError(t, err)
			if string(n.data[:8]) != "promised" {
				lost++
			}
		}
		require.Equal(t, forgiven, lost == 0, "%d of 50", lost)
	}
}

func TestALostWriteIsReportedAndAMisdirectedOneLandsElsewhere(t *testing.T) {
	for _, far := range []bool{false, true} {
		d := written(t)
		f := open(t, d)
		n, err := d.find("dir/kept")
		require.NoError(t, err)
		before := string(n.data)
		d.stray, d.far = 2, far
		_, err = f.WriteAt([]byte("first"), 0)
		require.NoError(t, err)
		count, err := f.WriteAt([]byte("second"), 0)
		require.NoError(t, err)
		require.Equal(t, 6, count)
		require.Equal(t, "first", string(n.data[:5]), "it did not come to pass there")
		require.Equal(t, 1, d.astray)
		require.Equal(t, far, string(n.data[5:]) != before[5:], "and elsewhere only if it was misdirected")
		_, err = f.WriteAt([]byte("third"), 0)
		require.NoError(t, err)
		require.Equal(t, "third", string(n.data[:5]), "it was one write")
	}
}

func TestAMisdirectedWriteMayLandInAnotherFileAndIsDurableThere(t *testing.T) {
	for seed := range uint64(20) {
		d := written(t)
		f := open(t, d)
		other, err := d.Create("dir/other.segment", vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = other.Write(make([]byte, 1500))
		require.NoError(t, err)
		require.NoError(t, other.Sync())
		d.stray, d.far, d.abroad, d.cut = 1, true, true, rand.New(rand.NewPCG(seed, 0))
		_, err = f.WriteAt([]byte("misdirected"), 0)
		require.NoError(t, err)
		kept, err := d.find("dir/kept")
		require.NoError(t, err)
		require.Zero(t, kept.data[0])
		n, err := d.find("dir/other.segment")
		require.NoError(t, err)
		at := strings.Index(string(n.synced), "misdirected")
		require.GreaterOrEqual(t, at, 0)
		require.Zero(t, at%sectorBytes)
		require.Equal(t, n.data, n.synced)
		require.True(t, d.overlaid && d.strange)
	}
}

func TestAFullDiskTakesWhatNeedsNoRoom(t *testing.T) {
	d := written(t)
	f := open(t, d)
	n, err := d.find("dir/kept")
	require.NoError(t, err)
	size := len(n.data)
	d.full = true
	_, err = f.WriteAt([]byte("over what is there"), 0)
	require.NoError(t, err)
	count, err := f.WriteAt([]byte("beyond"), int64(size-2))
	require.ErrorIs(t, err, errFull)
	require.Equal(t, 2, count)
	require.Len(t, n.data, size)
	_, err = d.Create("dir/new", vfs.WriteCategoryUnspecified)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, d.Remove("dir/kept"), "what is removed makes room")
	d.mend()
	_, err = d.Create("dir/new", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
}

func TestWhatAFailedSyncHasGivenUpIsReadAndNeverDurableUntilItIsWrittenAgain(t *testing.T) {
	lost := 0
	for calls := range 20 {
		d := written(t)
		f := open(t, d)
		require.NoError(t, f.Sync())
		d.calls += calls // by which it is decided what of it has reached the disk all the same
		_, err := f.WriteAt([]byte("not durable"), 0)
		require.NoError(t, err)
		d.failAt(1, true)
		require.ErrorIs(t, f.Sync(), errDisk)
		require.NoError(t, f.Sync(), "it failed once")
		b := make([]byte, 11)
		_, err = f.ReadAt(b, 0)
		require.NoError(t, err)
		require.Equal(t, "not durable", string(b))

		after := func() string {
			n, err := d.crash(rand.New(rand.NewPCG(1, 1))).find("dir/kept")
			require.NoError(t, err)
			return string(n.data[:11])
		}
		if after() != "not durable" {
			lost++
		}
		_, err = f.WriteAt([]byte("not"), 0)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		require.Equal(t, "not durable", after(), "the sector is written as a whole")
	}
	require.Greater(t, lost, 10)
	require.Less(t, lost, 20)
}

func TestACallThatFailsOnceSucceedsWhenItIsTriedAgain(t *testing.T) {
	for _, once := range []bool{false, true} {
		d := written(t)
		f := open(t, d)
		d.failAt(2, once)
		_, err := f.WriteAt([]byte("one"), 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("two"), 0)
		require.ErrorIs(t, err, errDisk)
		_, err = f.WriteAt([]byte("two"), 0)
		require.Equal(t, once, err == nil)
	}
}

func TestAnyReadingCallMayFail(t *testing.T) {
	d := written(t)
	f := open(t, d)
	for name, call := range map[string]func() error{
		"Stat":          func() error { _, err := d.Stat("dir/kept"); return err },
		"Lock":          func() error { _, err := d.Lock("dir/LOCK"); return err },
		"Open":          func() error { _, err := d.Open("dir/kept"); return err },
		"List":          func() error { _, err := d.List("dir"); return err },
		"OpenReadWrite": func() error { _, err := d.OpenReadWrite("dir/kept", vfs.WriteCategoryUnspecified); return err },
		"File.Stat":     func() error { _, err := f.Stat(); return err },
		"File.ReadAt":   func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
		"File.Close":    f.Close,
	} {
		d.reads = 1
		require.ErrorIs(t, call(), errDisk, name)
		require.NoError(t, call(), name)
	}
}
