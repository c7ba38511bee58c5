package server

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// lateNetwork is a transport whose requests for chunks come back some time after they were given up.
type lateNetwork struct {
	transport.Transport
	back chan struct{}
}

func (n lateNetwork) FetchChunk(ctx context.Context, from raft.Member, _ transport.ChunkRequest) (transport.Chunk, error) {
	if from.ID == 2 {
		return transport.Chunk{}, transport.ErrChunkRefused
	}
	<-ctx.Done()
	<-n.back
	return transport.Chunk{}, ctx.Err()
}

func TestFetchComesAfterTheOneThatItReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, err := persistentlog.OpenFiles(t.TempDir(), persistentlog.FilesOptions{})
		require.NoError(t, err)
		network := lateNetwork{back: make(chan struct{})}
		s := &Server{clock: machineClock{}, options: Options{Transport: network, Snapshots: files}}
		g := &group{s: s, inbox: newInbox(new(bounds), new(bounds))}
		g.state.Store(groupRunning) // so that no turn follows
		meta := raft.SnapshotMeta{Group: 1, Index: 9, Term: 1, Size: 4 * transport.ChunkBytesMax}
		var jobs []*FetchJob
		for from := range raft.ServerID(2) { // the same bytes from two leaders, one after the other
			j := newFetchJob(network, files, raft.Install{From: from + 1, Snapshot: meta})
			if from > 0 {
				jobs[0].Cancel()
			}
			s.fetch(g, j)
			synctest.Wait()
			jobs = append(jobs, j)
		}
		close(network.back)
		synctest.Wait()
		s.elastic.close()
		s.elastic.done.Wait()
		require.ErrorIs(t, jobs[0].soft, context.Canceled)
		require.ErrorIs(t, jobs[1].soft, transport.ErrChunkRefused, "it came to ask, and did not find the other one writing")
		require.NoError(t, files.Close())
	})
}
