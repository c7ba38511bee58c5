package limit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func start(t *testing.T, options Options) *Cluster {
	t.Helper()
	c, err := Start(t.TempDir(), options)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryProposalIsAppliedOnceAndAtTwoMembersAtLeast(t *testing.T) {
	for _, pebble := range []bool{false, true} {
		c := start(t, Options{Pebble: pebble, RetainBytes: 1 << 20})
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				for range 40 {
					if err := c.Propose(make([]byte, 10*i)); err != nil {
						t.Error(err)
					}
				}
			})
			group.Go(func() {
				for range 20 {
					if err := c.Query(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		c.deciding.Lock()
		count, commit, durable := c.machine.count, c.commit.Load(), c.durable
		c.deciding.Unlock()
		if count != 2000 {
			t.Errorf("pebble %t: %d commands applied, 2000 were proposed", pebble, count)
		}
		have := 0
		for _, d := range durable {
			if d >= commit {
				have++
			}
		}
		if have < 2 {
			t.Errorf("pebble %t: commit %d, durable %v", pebble, commit, durable)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for i, b := range c.backups {
			if behind := c.durable[i+1] - (b.first - 1); behind > uint64(len(b.waiting)) {
				t.Errorf("backup %d lost batches: durable %d, applied %d, %d waiting", i, c.durable[i+1], b.first-1, len(b.waiting))
			}
		}
		if c.Syncs() == 0 {
			t.Error("no sync was counted")
		}
	}
}

func TestProposalsAfterCloseAndDuringItAreAnswered(t *testing.T) {
	c := start(t, Options{RetainBytes: 1 << 20})
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			for c.Propose([]byte("x")) == nil {
			}
		})
		group.Go(func() {
			for c.Query() == nil {
			}
		})
	}
	if err := c.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	if err := c.Propose(nil); !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
}

func TestLostBackupIsAnErrorAndNotAWait(t *testing.T) {
	c := start(t, Options{RetainBytes: 1 << 20})
	c.backups[0].conn.Close()
	for c.Propose([]byte("x")) == nil {
	}
	if err := c.Close(); err == nil || errors.Is(err, errClosed) {
		t.Fatalf("Close returned %v, and a backup was lost", err)
	} else if !errors.Is(err, net.ErrClosed) && err.Error() == "" {
		t.Fatal(err)
	}
}

func TestRingNeverGrows(t *testing.T) {
	dir := t.TempDir()
	j, err := openRing(dir, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	for i := range 100 {
		if err := j.append(uint64(i), [][]byte{make([]byte, 700), fmt.Appendf(nil, "%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "ring"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != 10_000 {
		t.Fatalf("%d bytes", info.Size())
	}
}
