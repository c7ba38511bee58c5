package persistentlog_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
)

// begun leaves size bytes of a transfer behind.
func begun(t *testing.T, f *persistentlog.Files, index, size int, b []byte) {
	t.Helper()
	w, err := f.Create(transferOf(9, b))
	require.NoError(t, err)
	require.EqualValues(t, index, w.Offset())
	_, err = w.Write(b[index:size])
	require.NoError(t, err)
	require.NoError(t, w.Abort(true))
}

func TestATransferGoesOnWhereItStopped(t *testing.T) {
	b := stream(5*piece + 40)
	for stop := 0; stop <= len(b); stop += 37 {
		f := open(t, t.TempDir())
		begun(t, f, 0, stop, b)
		if stop%2 == 0 {
			begun(t, f, stop/piece*piece, stop, b) // in three attempts
		}
		w, err := f.Create(transferOf(9, b))
		require.NoError(t, err)
		require.EqualValues(t, stop/piece*piece, w.Offset(), "whole pieces are kept")
		_, err = w.Write(b[w.Offset():])
		require.NoError(t, err)
		m, err := w.Commit()
		require.NoError(t, err)
		back, err := read(f, m, 0)
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, back))
	}
}

func TestATransferIsResumedInTheNextRunAsFarAsItsChecksumsHold(t *testing.T) {
	b := stream(5 * piece)
	for damaged := -1; damaged < 4; damaged++ {
		dir := t.TempDir()
		begun(t, open(t, dir), 0, 4*piece, b)
		name := theFile(t, dir, ".partial")
		whole, err := os.ReadFile(name)
		require.NoError(t, err)
		want := 4 * piece
		if damaged >= 0 {
			header := len(whole) - 4*(piece+4)
			whole[header+damaged*(piece+4)+100] ^= 4
			require.NoError(t, os.WriteFile(name, whole, 0o600))
			want = damaged * piece
		}
		f := open(t, dir)
		w, err := f.Create(transferOf(9, b))
		require.NoError(t, err)
		require.EqualValues(t, want, w.Offset(), "damaged piece %d", damaged)
		_, err = w.Write(b[w.Offset():])
		require.NoError(t, err)
		m, err := w.Commit()
		require.NoError(t, err)
		back, err := read(f, m, 0)
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, back))
	}
}

func TestAPartialFileThatIsTooLongOrCannotBeReadIsBegunAnew(t *testing.T) {
	b := stream(2*piece + 1)
	for _, change := range []func([]byte) []byte{
		func(b []byte) []byte { return append(b, make([]byte, 3*piece)...) },
		func(b []byte) []byte { return b[:10] },
		func(b []byte) []byte { b[25] ^= 1; return b },
	} {
		dir := t.TempDir()
		f := open(t, dir)
		begun(t, f, 0, 2*piece, b)
		name := theFile(t, dir, ".partial")
		whole, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, change(whole), 0o600))
		m, err := write(f, transferOf(9, b), b)
		require.NoError(t, err)
		back, err := read(f, m, 0)
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, back))
		require.Len(t, filesIn(t, dir), 1)
	}
}

func TestAnotherTransferReplacesAnUnfinishedOne(t *testing.T) {
	b, other := stream(3*piece), stream(3*piece+1)
	for _, m := range []func() (int, []byte){
		func() (int, []byte) { return 9, other },  // the same index, other bytes
		func() (int, []byte) { return 12, other }, // another index
	} {
		dir := t.TempDir()
		f := open(t, dir)
		begun(t, f, 0, 2*piece, b)
		index, bytes := m()
		meta := transferOf(9, bytes)
		if index != 9 {
			meta.Index = 12
		}
		w, err := f.Create(meta)
		require.NoError(t, err)
		require.Zero(t, w.Offset())
		require.Len(t, filesIn(t, dir), 1)
		require.NoError(t, w.Abort(false))
		require.Empty(t, filesIn(t, dir))
	}
}

func TestATransferWithWrongBytesIsDropped(t *testing.T) {
	b := stream(2 * piece)
	wrong := bytes.Clone(b)
	wrong[700] ^= 1
	dir := t.TempDir()
	f := open(t, dir)
	for name, sent := range map[string][]byte{"wrong": wrong, "short": b[:len(b)-1], "empty": nil} {
		w, err := f.Create(transferOf(9, b))
		require.NoError(t, err)
		require.Zero(t, w.Offset())
		_, err = w.Write(sent)
		require.NoError(t, err)
		_, err = w.Commit()
		require.ErrorIs(t, err, persistentlog.ErrDamaged, name)
		require.Empty(t, filesIn(t, dir), name)
		_, err = w.Commit()
		require.ErrorIs(t, err, persistentlog.ErrClosed)
	}
	w, err := f.Create(transferOf(9, b))
	require.NoError(t, err)
	_, err = w.Write(append(bytes.Clone(b), 0))
	require.ErrorIs(t, err, persistentlog.ErrDamaged, "longer than announced")
	_, err = w.Commit()
	require.ErrorIs(t, err, persistentlog.ErrDamaged)
	require.Empty(t, filesIn(t, dir))
}

func TestOneWriterAtATimeForAnIndex(t *testing.T) {
	f := open(t, t.TempDir())
	w, err := f.Create(meta(9))
	require.NoError(t, err)
	_, err = f.Create(transferOf(9, stream(1)))
	require.ErrorContains(t, err, "being written")
	other, err := f.Create(meta(10))
	require.NoError(t, err)
	require.NoError(t, other.Abort(false))
	require.NoError(t, w.Abort(false))
	require.ErrorIs(t, w.Abort(false), persistentlog.ErrClosed)
	_, err = w.Write([]byte{1})
	require.ErrorIs(t, err, persistentlog.ErrClosed)
	_, err = write(f, meta(9), stream(1))
	require.NoError(t, err)
}

func TestWhatIsOpenIsRemovedWhenItIsClosed(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	b := stream(3 * piece)
	m, err := write(f, meta(9), b)
	require.NoError(t, err)
	first, err := f.Open(m, 0)
	require.NoError(t, err)
	second, err := f.Open(m, piece)
	require.NoError(t, err)
	require.NoError(t, f.Remove(m))
	require.NoError(t, f.Remove(m))
	list, err := f.List(7)
	require.NoError(t, err)
	require.Empty(t, list, "it is gone for everybody else")
	_, err = f.Open(m, 0)
	require.ErrorIs(t, err, persistentlog.ErrNoSnapshot)

	// Fetched again meanwhile, it is another file.
	again, err := write(f, transferOf(9, b), b)
	require.NoError(t, err)
	for i, r := range []io.ReadCloser{first, second} {
		back, err := io.ReadAll(r)
		require.NoError(t, err)
		require.True(t, bytes.Equal(b[i*piece:], back))
		require.Len(t, filesIn(t, dir), 2)
		require.NoError(t, r.Close())
		require.NoError(t, r.Close(), "a second Close does nothing")
		_, err = r.Read(make([]byte, 1))
		require.ErrorIs(t, err, persistentlog.ErrClosed)
	}
	require.Len(t, filesIn(t, dir), 1)
	back, err := read(f, again, 0)
	require.NoError(t, err)
	require.True(t, bytes.Equal(b, back))
	require.NoError(t, f.Remove(again))
	require.NoError(t, f.Remove(again), "what is not there is removed already")
	require.Empty(t, filesIn(t, dir))
}

func TestRemoveTakesWhatATransferLeftBehind(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	b := stream(2 * piece)
	begun(t, f, 0, piece, b)
	w, err := f.Create(transferOf(9, b))
	require.NoError(t, err)
	require.NoError(t, f.Remove(transferOf(9, b)))
	require.Len(t, filesIn(t, dir), 1, "what is being written stays")
	require.NoError(t, w.Abort(true))
	require.NoError(t, f.Remove(transferOf(9, b)))
	require.Empty(t, filesIn(t, dir))
}

func TestOptionsThatCannotBeAreNamed(t *testing.T) {
	for _, o := range []persistentlog.FilesOptions{{PieceBytes: 1}, {PieceBytes: 1 << 30}, {PieceBytes: -1}, {SyncBytes: -1}} {
		_, err := persistentlog.OpenFiles(t.TempDir(), o)
		require.ErrorContains(t, err, "FilesOptions.", fmt.Sprint(o))
	}
	f := open(t, t.TempDir())
	for _, change := range []func() error{
		func() error { m := meta(0); _, err := f.Create(m); return err },
		func() error { m := meta(1); m.Group = 0; _, err := f.Create(m); return err },
		func() error { m := meta(1); m.Size = -1; _, err := f.Create(m); return err },
		func() error { _, err := f.Open(meta(1), -1); return err },
	} {
		require.Error(t, change())
	}
}
