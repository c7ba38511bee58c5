package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/oarlock/oarlock/config"
)

// restartAim is how soon a cluster must answer after its processes were started.
const restartAim = 2 * time.Second

// replayRounds is how often at most a full replay is timed.
const replayRounds = 3

// restarted is what one prepared history gave.
type restarted struct {
	h     history
	took  []time.Duration
	read  []int64
	found findings
}

// restart measures the time from the start of three `oarlock node` processes to the first linearizable read.
func restart(f *flag.FlagSet) func(*environment) (report, error) {
	entries := f.Int("entries", 1_000_000, "how many commands are in the log")
	size := f.Int("bytes", 128, "of each command")
	keys := f.Int("keys", 100_000, "in the snapshot")
	behind := f.Int("behind", 10_000, "how many commands come after the snapshot")
	blocks := f.String("blocks", "1,64", "commands in a block, once for each number")
	rounds := f.Int("rounds", 5, "how often each is started, from a fresh copy")
	replay := f.Bool("replay", true, "also start without a snapshot, which replays everything")
	oarlock := f.String("oarlock", "", "the command to start; empty: it is built")
	return func(e *environment) (report, error) {
		shapes, err := numbers("-blocks", *blocks, 1)
		if err != nil {
			return report{}, err
		}
		if *behind < 0 || *behind >= *entries || *keys < 1 || *rounds < 1 || *size < 48 {
			return report{}, fmt.Errorf("-entries %d, -behind %d, -keys %d, -rounds %d, -bytes %d: no such log", *entries, *behind, *keys, *rounds, *size)
		}
		var all []history
		for _, block := range shapes {
			all = append(all, history{entries: *entries, bytes: *size, keys: *keys, block: block, behind: *behind})
		}
		if *replay {
			for _, h := range slices.Clone(all) {
				h.behind = -1
				all = append(all, h)
			}
		}
		return e.restartAll(all, *rounds, *oarlock)
	}
}

func (e *environment) restartAll(all []history, rounds int, oarlock string) (_ report, err error) {
	dir, err := os.MkdirTemp(e.dir, "oarlock-bench-")
	if err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if oarlock == "" {
		if oarlock, err = buildOarlock(dir); err != nil {
			return report{}, err
		}
	}
	var done []restarted
	for i, h := range all {
		starts := rounds
		if h.behind < 0 {
			starts = min(rounds, replayRounds) // it is reported; nothing is aimed at
		}
		r, err := e.restartOne(h, starts, oarlock, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return report{}, fmt.Errorf("%s: %w", h, err)
		}
		done = append(done, r)
	}
	return restartReport(done), nil
}

func (h history) String() string {
	what := fmt.Sprintf("blocks of %d, snapshot %s behind", h.block, count(float64(h.behind)))
	if h.behind < 0 {
		what = fmt.Sprintf("blocks of %d, no snapshot: full replay", h.block)
	}
	return what
}

func (e *environment) restartOne(h history, rounds int, oarlock, dir string) (r restarted, err error) {
	r.h = h
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	begin := time.Now()
	master := filepath.Join(dir, "master")
	c, err := newConfig(master, func(c *config.Config) {
		// The whole log stays.
		c.Snapshots.LogBytes, c.Snapshots.KeepBytes = 16<<30, 16<<30
	})
	if err != nil {
		return r, err
	}
	if err := h.write(c); err != nil {
		return r, fmt.Errorf("preparing: %w", err)
	}
	e.say("  %s: three stores of %s entries written in %s\n", h, count(float64(h.entries)), time.Since(begin).Round(100*time.Millisecond))
	for round := range rounds + 1 {
		at := filepath.Join(dir, fmt.Sprint("round-", round))
		if err := fork(master, at); err != nil {
			return r, err
		}
		syscall.Sync() // so that no start waits for what the copy has left to write
		if round == 0 {
			c, err := config.Load(filepath.Join(at, "cluster.toml"))
			if err == nil {
				r.found, err = h.check(c)
			}
			if err != nil {
				return r, fmt.Errorf("the stores that were prepared: %w", err)
			}
		} else {
			s, err := h.start(oarlock, at)
			if err != nil {
				return r, err
			}
			r.took, r.read = append(r.took, s.took), append(r.read, s.read)
			e.say("  %s: start %d/%d  %s\n", h, round, rounds, milliseconds(s.took))
		}
		if err := os.RemoveAll(at); err != nil {
			return r, err
		}
	}
	return r, nil
}

func milliseconds(d time.Duration) string { return count(float64(d)/1e6) + " ms" }

func mebibytes[T ~int64 | ~uint64](n T) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func restartReport(all []restarted) report {
	columns := []string{"three servers, log", "to the first read", "fastest", "slowest", "log blocks read", "all bytes read"}
	var rows [][]string
	var r report
	for _, one := range all {
		rows = append(rows, []string{
			fmt.Sprintf("%s entries of %d bytes in %s", count(float64(one.h.entries)), one.h.bytes, one.h), milliseconds(median(one.took)),
			milliseconds(slices.Min(one.took)), milliseconds(slices.Max(one.took)), mebibytes(one.found.bytesRead), mebibytes(median(one.read)),
		})
		if one.h.behind < 0 {
			continue
		}
		r.aims = append(r.aims, aim{
			what: "restart, " + one.h.String(), got: milliseconds(median(one.took)), want: "under " + milliseconds(restartAim), met: median(one.took) < restartAim,
		})
	}
	r.text = textTable(columns, rows, 1)
	r.markdown = fmt.Sprintf("Medians of %d starts (%d of a full replay), each from a fresh copy of the same stores; %s keys. *Log blocks read* are counted by the log\n"+
		"(`pebblelog.Stats`, the server that read most), *all bytes read* by the kernel for the process that read most: the newest\n"+
		"write-ahead log, which is looked through and then replayed, the snapshot twice (it is checked before it is believed), tables and sockets.\n\n",
		len(all[0].took), len(all[len(all)-1].took), count(float64(all[0].h.keys))) + markdownTable(columns, rows, 1)
	return r
}
