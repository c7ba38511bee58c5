package memlog_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/logtest"
	"github.com/oarlock/oarlock/persistentlog/memlog"
	"github.com/oarlock/oarlock/raft"
)

var identity = persistentlog.Identity{Cluster: raft.ClusterID{1}, Server: 2, Store: raft.StoreID{3}}

func TestMemlogKeepsThePromisesOfALog(t *testing.T) {
	logtest.Subtests(t, func() (logtest.Store, error) { return memlog.NewDisk(identity), nil })
}

func TestHeldSyncsAreForgottenByACrashUntilSync(t *testing.T) {
	log := memlog.New(identity)
	log.HoldSyncs()
	b := &logtest.Builder{Group: 1, Next: 1}
	require.NoError(t, log.Save([]persistentlog.Update{b.Commands(1, 5).Update()}))
	log.Sync()
	for range 3 {
		next := &logtest.Builder{Group: 1, Next: b.Next, Chain: b.Chain}
		require.NoError(t, log.Save([]persistentlog.Update{next.Commands(1, 5).Update()}))
		b = next
	}
	state, err := log.Load(1)
	require.NoError(t, err)
	require.Equal(t, raft.Index(5), state.Next)

	kept := make(map[raft.Index]bool)
	for seed := range uint64(50) {
		state, err := log.CrashCopy(seed).Load(1)
		require.NoError(t, err)
		kept[state.Next] = true
	}
	require.Equal(t, map[raft.Index]bool{2: true, 3: true, 4: true, 5: true}, kept, "every prefix turns up and nothing else")

	log.Sync()
	state, err = log.CrashCopy(0).Load(1)
	require.NoError(t, err)
	require.Equal(t, raft.Index(5), state.Next)
}

func TestTheChosenCallFailsAndFencesTheLog(t *testing.T) {
	disk := errors.New("disk is on fire")
	save := func(l *memlog.Log) error {
		return l.Save([]persistentlog.Update{{Group: 1, Hard: &raft.HardState{Term: 1}}})
	}
	for call, do := range map[memlog.Call]func(*memlog.Log) error{
		memlog.CallSave:    save,
		memlog.CallCompact: func(l *memlog.Log) error { return l.Compact(1, 0) },
		memlog.CallDestroy: func(l *memlog.Log) error { return l.Destroy(7) },
	} {
		log := memlog.New(identity)
		require.NoError(t, save(log))
		log.Fail(call, 2, disk)
		require.NoError(t, do(log))
		require.ErrorIs(t, do(log), disk)
		err := save(log)
		require.ErrorIs(t, err, persistentlog.ErrFenced)
		require.ErrorIs(t, err, disk, "the reason stays visible")
		require.NoError(t, log.Close())
		again, err := log.Reopen()
		require.NoError(t, err)
		require.NoError(t, save(again), "the next run is not fenced")
	}
}

func TestAReadErrorFencesOnlyWhenItIsDamage(t *testing.T) {
	for _, fences := range []bool{false, true} {
		log := memlog.New(identity)
		b := &logtest.Builder{Group: 1, Next: 1}
		require.NoError(t, log.Save([]persistentlog.Update{b.Commands(1, 5).Update()}))
		failure := errors.New("try again")
		if fences {
			failure = persistentlog.ErrDamaged
		}
		log.Fail(memlog.CallBlocks, 1, failure)
		_, err := log.Blocks(1, 1, 2, 1)
		require.ErrorIs(t, err, failure)
		err = log.Save([]persistentlog.Update{{Group: 1, Hard: &raft.HardState{Term: 1}}})
		if fences {
			require.ErrorIs(t, err, persistentlog.ErrFenced)
		} else {
			require.NoError(t, err)
		}
	}
}

func TestAClosedLogAnswersNothing(t *testing.T) {
	log := memlog.New(identity)
	_, err := log.Reopen()
	require.Error(t, err, "an open log is not opened again")
	require.NoError(t, log.Close())
	_, err = log.Load(1)
	require.ErrorIs(t, err, persistentlog.ErrClosed)
	_, err = log.Blocks(1, 1, 2, 1)
	require.ErrorIs(t, err, persistentlog.ErrClosed)
	_, err = log.Groups()
	require.ErrorIs(t, err, persistentlog.ErrClosed)
	require.ErrorIs(t, log.Save(nil), persistentlog.ErrClosed)
	require.ErrorIs(t, log.Compact(1, 1), persistentlog.ErrClosed)
	require.ErrorIs(t, log.Destroy(1), persistentlog.ErrClosed)
	require.ErrorIs(t, log.Close(), persistentlog.ErrClosed)
}
