package persistentlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/vfsdir"
	"github.com/oarlock/oarlock/raft"
)

// diary is what a run of the history below was promised.
type diary struct {
	committed map[raft.Index][]byte // whose Commit returned and whose Remove was not called
	trouble   error                 // the first error that was not injected
}

func openVFS(disk vfs.FS) (*persistentlog.Files, error) {
	dir, err := vfsdir.New(disk, "snapshots")
	if err != nil {
		return nil, err
	}
	return persistentlog.OpenFiles("", persistentlog.FilesOptions{FS: dir, PieceBytes: piece, SyncBytes: 2 * piece})
}

// history takes, transfers, resumes, reads and removes snapshots, and goes on after errors as a server would.
func history(disk vfs.FS, d *diary) {
	note := func(err error) {
		if err != nil && !errors.Is(err, errorfs.ErrInjected) && d.trouble == nil {
			d.trouble = err
		}
	}
	f, err := openVFS(disk)
	if err != nil {
		note(err)
		return
	}
	save := func(index raft.Index, m raft.SnapshotMeta, b []byte) {
		if _, err := write(f, m, b); err != nil {
			note(err)
			return
		}
		d.committed[index] = b
	}
	save(1, meta(1), stream(3*piece+9))
	save(2, meta(2), stream(piece))

	b := stream(4*piece + 1)
	for _, stop := range []int{2*piece + 50, 3 * piece} {
		if w, err := f.Create(transferOf(3, b)); err != nil {
			note(err)
		} else {
			if at := int(w.Offset()); at < stop {
				_, err = w.Write(b[at:stop])
				note(err)
			}
			note(w.Abort(true))
		}
	}
	save(3, transferOf(3, b), b)
	if first, ok := d.committed[1]; ok {
		back, err := read(f, transferOf(1, first), piece)
		note(err)
		if err == nil && !bytes.Equal(back, first[piece:]) {
			note(errors.New("wrong bytes were read"))
		}
		delete(d.committed, 1)
		note(f.Remove(transferOf(1, first)))
	}
	save(3, transferOf(3, b), b) // the same again, over what is there
	_, err = f.List(7)
	note(err)
	note(f.Close())
}

// inspect opens what a crash left. What was promised must be there, and whatever is there must be right.
func (d *diary) inspect(disk vfs.FS) error {
	f, err := openVFS(disk)
	if err != nil {
		return err
	}
	list, err := f.List(7)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	listed := make(map[raft.Index]bool)
	for _, m := range list {
		listed[m.Index] = true
		if _, err := read(f, m, 0); err != nil {
			return fmt.Errorf("snapshot %d is listed and cannot be read: %w", m.Index, err)
		}
	}
	for index, want := range d.committed {
		back, err := read(f, transferOf(index, want), 0)
		if err != nil || !listed[index] || !bytes.Equal(back, want) {
			return fmt.Errorf("snapshot %d was committed: listed %v, %d of %d bytes, error %w", index, listed[index], len(back), len(want), err)
		}
	}
	// Whatever is left of the transfer, it comes to its end.
	b := stream(4*piece + 1)
	m, err := write(f, transferOf(3, b), b)
	if err != nil {
		return fmt.Errorf("the transfer did not go on: %w", err)
	}
	if back, err := read(f, m, 0); err != nil || !bytes.Equal(back, b) {
		return fmt.Errorf("the transfer went on to %d wrong bytes, error %w", len(back), err)
	}
	return f.Close()
}

func TestACrashAtAnyCallLosesNoCommittedSnapshotAndInventsNone(t *testing.T) {
	for percent := 0; percent <= 100; percent += 50 {
		disk := vfs.NewCrashableMem()
		d := &diary{committed: make(map[raft.Index][]byte)}
		calls := 0
		injector := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpFileReadAt {
				return nil
			}
			calls++
			for seed := range uint64(4) {
				clone := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(calls), seed))})
				require.NoError(t, d.inspect(clone), "crash before call %d (%d of %s), %d percent of what was not synced kept", calls, op.Kind, op.Path, percent)
			}
			return nil
		})
		history(errorfs.Wrap(disk, injector), d)
		require.NoError(t, d.trouble)
		require.Len(t, d.committed, 2)
		require.Greater(t, calls, 40)
		require.NoError(t, d.inspect(disk.CrashClone(vfs.CrashCloneCfg{})))
	}
}

func TestAnErrorAtAnyCallIsReportedAndLeavesWhatWasCommitted(t *testing.T) {
	for at := 1; ; at++ {
		disk := vfs.NewCrashableMem()
		d := &diary{committed: make(map[raft.Index][]byte)}
		calls := 0
		injector := errorfs.InjectorFunc(func(errorfs.Op) error {
			if calls++; calls == at {
				return errorfs.ErrInjected
			}
			return nil
		})
		history(errorfs.Wrap(disk, injector), d)
		require.NoError(t, d.trouble, "call %d failed", at)
		require.NoError(t, d.inspect(disk.CrashClone(vfs.CrashCloneCfg{})), "call %d failed, then a crash", at)
		require.NoError(t, d.inspect(disk), "call %d failed, then the next run", at)
		if calls < at {
			require.Greater(t, at, 100, "the history makes more calls than that")
			return
		}
	}
}

// TestADiskThatFailsForGoodNeverCommits checks that no write, sync or rename on the way to a commit may fail unseen.
func TestADiskThatFailsForGoodNeverCommits(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpRename, errorfs.OpOpenDir} {
		on := false
		disk := errorfs.Wrap(vfs.NewCrashableMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if on && op.Kind == kind {
				return errorfs.ErrInjected
			}
			return nil
		}))
		f, err := openVFS(disk)
		require.NoError(t, err)
		w, err := f.Create(meta(1))
		require.NoError(t, err)
		_, err = w.Write(stream(piece / 2))
		require.NoError(t, err)
		on = true
		_, err = w.Commit()
		require.ErrorIs(t, err, errorfs.ErrInjected, "kind %d", kind)
		on = false
		list, err := f.List(7)
		require.NoError(t, err)
		require.Empty(t, list, "kind %d", kind)
	}
}
