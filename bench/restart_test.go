package main

import (
	"path/filepath"
	"testing"

	"github.com/oarlock/oarlock/config"
)

func prepared(t *testing.T, h history) *config.Config {
	t.Helper()
	c, err := newConfig(filepath.Join(t.TempDir(), "cluster"), func(*config.Config) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.write(c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestServersTakePreparedStoresForTheirOwn: with a snapshot in the middle of a block, at the end of one and without any.
func TestServersTakePreparedStoresForTheirOwn(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, h := range []history{
		{entries: 3000, bytes: 128, keys: 1000, block: 1, behind: 100},
		{entries: 3000, bytes: 128, keys: 1000, block: 64, behind: 100},
		{entries: 640, bytes: 128, keys: 1000, block: 64, behind: 64},
		{entries: 3000, bytes: 128, keys: 1000, block: 64, behind: -1},
	} {
		found, err := h.check(prepared(t, h))
		if err != nil {
			t.Errorf("%s: %v", h, err)
			continue
		}
		least, most := uint64(h.behind*h.bytes), uint64((h.behind+2*h.block+10)*(h.bytes+100))
		if h.behind < 0 {
			least, most = uint64(h.entries*h.bytes), uint64(h.entries*(h.bytes+100))
		}
		if found.bytesRead < least || found.bytesRead > most {
			t.Errorf("%s: %d bytes of log were read, must be from %d to %d", h, found.bytesRead, least, most)
		}
	}
}

func TestCheckFindsThatACommandIsMissing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	h := history{entries: 300, bytes: 128, keys: 50, block: 10, behind: 20}
	c := prepared(t, h)
	h.entries++
	if _, err := h.check(c); err == nil {
		t.Fatal("301 commands were found among 300")
	}
}

func TestCopyOfAClusterIsAClusterAndLeavesTheFirstAsItWas(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	h := history{entries: 300, bytes: 128, keys: 50, block: 10, behind: 20}
	first := prepared(t, h)
	for range 2 { // what the first run leaves behind would be a second term
		to := filepath.Join(t.TempDir(), "copy")
		if err := fork(filepath.Dir(first.Path()), to); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(filepath.Join(to, "cluster.toml"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.check(c); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCommandsHaveTheirSizeAndWriteEveryKey(t *testing.T) {
	h := history{entries: 2000, bytes: 128, keys: 1000}
	keys := make(map[string]bool)
	for i := range h.entries {
		if got := len(h.command(i)); got != h.bytes {
			t.Fatalf("command %d has %d bytes", i, got)
		}
		keys[string(h.key(i))] = true
	}
	if len(keys) != h.keys {
		t.Fatalf("%d keys", len(keys))
	}
}
