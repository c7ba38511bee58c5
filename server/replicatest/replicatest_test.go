package replicatest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/server/replicatest"
	"github.com/oarlock/oarlock/statemachine"
)

// list is a state machine that remembers every command.
type list struct{ commands []string }

func (l *list) Apply(e statemachine.Entry) []byte {
	l.commands = append(l.commands, string(e.Command))
	return fmt.Append(nil, len(l.commands))
}

func (l *list) Query([]byte) ([]byte, error) { return []byte(strings.Join(l.commands, " ")), nil }

type image string

func (i image) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(i))
	return int64(n), err
}

func (i image) Close() error { return nil }

func (l *list) Snapshot() (statemachine.Snapshot, error) {
	return image(strings.Join(l.commands, "\n")), nil
}

func (l *list) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	l.commands = nil
	if len(b) > 0 {
		l.commands = strings.Split(string(b), "\n")
	}
	return err
}

type answer func([]byte, error)

// Complete implements server.Completion.
func (f answer) Complete(result []byte, err error) { f(result, err) }

// play runs one story: a bad network, servers that crash and come back on what their disks kept, snapshots so small that
// they are taken and fetched all the time. Then everything heals and everything that was answered must be there.
func play(t *testing.T, seed uint64) (trace []string, executed []string) {
	t.Helper()
	w := replicatest.New(seed)
	w.Loss = 0.05
	logs, files := make([]*memlog.Log, 3), make([]*persistentlog.Files, 3)
	machines, members := make([]*list, 3), make([]*replicatest.Member, 3)
	var founders []raft.Member
	for k := range 3 {
		id := raft.ServerID(k + 1)
		founders = append(founders, raft.Member{ID: id, Address: fmt.Sprint(id)})
		logs[k] = memlog.New(persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: id, Store: raft.StoreID{byte(id)}})
		var err error
		files[k], err = persistentlog.OpenFiles(t.TempDir(), persistentlog.FilesOptions{})
		require.NoError(t, err)
		defer func() { require.NoError(t, files[k].Close()) }()
	}
	start := func(k int) {
		var err error
		machines[k] = new(list)
		members[k], err = w.Start(server.Options{
			Log: logs[k], Snapshots: files[k], Seed: seed + uint64(k), TailBytesMax: 3000,
			Group: server.GroupOptions{
				ID: 1, StateMachine: machines[k], Founders: founders, SnapshotLogBytes: 2000, SnapshotKeepBytes: 500,
			},
		})
		require.NoError(t, err)
	}
	for k := range 3 {
		start(k)
	}
	answered := make(map[string]bool)
	refused := make(map[string]bool)
	for k := range 360 {
		w.Run(20 * time.Millisecond)
		command := fmt.Sprintf("%d%0100d", k, 0)
		members[k%3].Propose(server.Proposal{Group: 1, Kind: raft.KindCommand, Command: []byte(command)}, answer(func(_ []byte, err error) {
			switch {
			case err == nil:
				answered[command] = true
			case !errors.Is(err, server.ErrUnknown):
				refused[command] = true
			}
		}))
		switch victim := (k / 60) % 3; k % 60 {
		case 10:
			logs[victim] = logs[victim].CrashCopy(seed)
			w.Stop(raft.ServerID(victim + 1))
		case 50:
			start(victim)
		}
	}
	w.Loss = 0
	w.Run(10 * time.Second)
	for k := range 3 {
		require.NoError(t, members[k].Replica().Err())
		require.Equal(t, machines[0].commands, machines[k].commands, "server %d", k+1)
	}
	require.Greater(t, len(answered), 20)
	for command := range answered {
		require.Equal(t, 1, count(machines[0].commands, command), command)
	}
	for command := range refused {
		require.NotContains(t, machines[0].commands, command)
	}
	return w.Trace(), machines[0].commands
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

func TestSameSeedTwiceIsTheSameRunToTheLastMessage(t *testing.T) {
	first, executed := play(t, 7)
	again, executedAgain := play(t, 7)
	require.Equal(t, executed, executedAgain)
	for k := range min(len(first), len(again)) {
		require.Equal(t, first[k], again[k], "line %d", k)
	}
	require.Len(t, again, len(first))
	other, _ := play(t, 8)
	require.False(t, slices.Equal(first, other), "another seed is another run")
}

func TestWhatWasAnsweredIsThereInEveryOrderOfJobs(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	fetched := false
	for seed := range seeds {
		trace, _ := play(t, uint64(100+seed))
		fetched = fetched || slices.ContainsFunc(trace, func(line string) bool { return bytes.Contains([]byte(line), []byte("FetchJob")) })
	}
	require.True(t, fetched, "no run ever fetched a snapshot")
}
