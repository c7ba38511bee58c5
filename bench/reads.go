package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// spreadAim is how many times what the leader answers alone three servers should answer, each on a core of its own.
const spreadAim = 1.5

// readsAge is the age of bounded reads.
const readsAge = 100 * time.Millisecond

// readWay is one way to read.
type readWay struct {
	name        string
	any         bool // from all three servers, in equal parts
	consistency client.Consistency
}

var readWays = []readWay{
	{name: "the leader, linearizable"},
	{name: "three servers, linearizable", any: true},
	{name: "the leader, by lease", consistency: client.Consistency{Level: client.Lease}},
	{name: "three servers, bounded by 100 ms", any: true, consistency: client.Consistency{Level: client.Bounded, MaxAge: readsAge}},
	{name: "three servers, stale", any: true, consistency: client.Consistency{Level: client.Stale}},
}

// reads measures reads a second by their consistency, from the leader and from all servers: three `oarlock node` processes, and the
// clients in this one.
func reads(f *flag.FlagSet) func(*environment) (report, error) {
	rounds := f.Int("rounds", roundsForVerdict, "how many turns each way has")
	turn := f.Duration("turn", 2*time.Second, "how long a turn is")
	callers := f.String("callers", "1,256", "numbers of callers, who wait for each answer")
	oarlock := f.String("oarlock", "", "the command to start; empty: it is built")
	return func(e *environment) (_ report, err error) {
		numbers, err := numbers("-callers", *callers, 1)
		if err != nil {
			return report{}, err
		}
		t := &readTrial{e: e, rounds: *rounds, turn: *turn, callers: numbers, rates: make(map[string][]float64)}
		defer func() { err = errors.Join(err, t.end()) }()
		if err := t.begin(*oarlock); err != nil {
			return report{}, err
		}
		if err := t.measure(); err != nil {
			return report{}, err
		}
		return t.report(), nil
	}
}

// readTrial is one run of this part.
type readTrial struct {
	e       *environment
	rounds  int
	turn    time.Duration
	callers []int

	dir    string
	nodes  []*node
	leader []*client.Client // all of them read from the leader
	any    []*client.Client // each from one server, a third of them from each
	rates  map[string][]float64
}

// readClients is how many connections read: one for each server, a few times.
const readClients = 6

var readKey, readValue = []byte("key"), []byte("a value of some bytes")

func (t *readTrial) begin(oarlock string) (err error) {
	if t.dir, err = os.MkdirTemp(t.e.dir, "oarlock-bench-"); err != nil {
		return err
	}
	if oarlock == "" {
		if oarlock, err = buildOarlock(t.dir); err != nil {
			return err
		}
	}
	c, err := newConfig(filepath.Join(t.dir, "cluster"), func(c *config.Config) { c.Timing.ClockDriftPPM = 200 })
	if err != nil {
		return err
	}
	for _, m := range c.Members {
		if err := c.Format(m.ID); err != nil {
			return err
		}
		n, err := startNode(oarlock, c.Path(), int(m.ID))
		if err != nil {
			return err
		}
		t.nodes = append(t.nodes, n)
	}
	return t.connect(c)
}

// connect makes the clients. One that knows a single server, and reads from any, reads from that one.
func (t *readTrial) connect(c *config.Config) error {
	all := c.ClientAddresses()
	for i := range readClients {
		id := c.Members[i%len(c.Members)].ID
		leader, err := client.New(client.Options{Addresses: all, Cluster: c.Cluster})
		if err != nil {
			return err
		}
		t.leader = append(t.leader, leader)
		any, err := client.New(client.Options{Addresses: map[raft.ServerID]string{id: all[id]}, Cluster: c.Cluster, ReadFrom: client.ReadAny})
		if err != nil {
			return err
		}
		t.any = append(t.any, any)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	_, err := t.leader[0].Propose(ctx, kv.Put(readKey, readValue))
	return err
}

func (t *readTrial) measure() error {
	for round := range t.rounds + 1 { // the first one warms up
		for _, n := range t.callers {
			for i := range readWays {
				way := readWays[(i+round)%len(readWays)]
				rate, err := t.turnOf(way, n)
				if err != nil {
					return fmt.Errorf("%s: %w", way.name, err)
				}
				if round > 0 {
					key := readRateKey(way, n)
					t.rates[key] = append(t.rates[key], rate)
				}
			}
		}
		t.e.say("  round %d of %d\n", round, t.rounds)
	}
	return nil
}

func readRateKey(w readWay, callers int) string { return fmt.Sprint(w.name, callers) }

// turnOf has callers read for a turn and returns how many reads were answered in a second.
func (t *readTrial) turnOf(w readWay, callers int) (float64, error) {
	clients := t.leader
	if w.any {
		clients = t.any
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.turn+10*time.Second)
	defer cancel()
	query := kv.Get(readKey)
	var stop atomic.Bool
	var answered atomic.Uint64
	var running sync.WaitGroup
	failed := make(chan error, callers)
	began := time.Now()
	timer := time.AfterFunc(t.turn, func() { stop.Store(true) })
	defer timer.Stop()
	for i := range callers {
		c := clients[i%len(clients)]
		running.Go(func() {
			n := uint64(0)
			for ; !stop.Load(); n++ {
				if err := readOnce(ctx, c, query, w.consistency); err != nil {
					failed <- err
					stop.Store(true)
					break
				}
			}
			answered.Add(n)
		})
	}
	running.Wait()
	took := time.Since(began)
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(answered.Load()) / took.Seconds(), nil
	}
}

func readOnce(ctx context.Context, c *client.Client, query []byte, consistency client.Consistency) error {
	answer, err := c.Query(ctx, query, consistency)
	if err != nil {
		return err
	}
	value, found, err := kv.DecodeGet(answer)
	if err == nil && (!found || !bytes.Equal(value, readValue)) && consistency.Level != client.Stale {
		err = fmt.Errorf("read %q, and %q was written", value, readValue)
	}
	return err
}

func (t *readTrial) report() report {
	columns := []string{"callers", "reads from", "reads/s", "of the leader's", "slowest", "fastest"}
	var rows [][]string
	var aims []aim
	for _, n := range t.callers {
		base := median(t.rates[readRateKey(readWays[0], n)])
		for _, way := range readWays {
			rates := t.rates[readRateKey(way, n)]
			rate := median(rates)
			rows = append(rows, []string{fmt.Sprint(n), way.name, count(rate), fmt.Sprintf("%.2f", rate/base), count(slices.Min(rates)), count(slices.Max(rates))})
		}
		if n >= 64 { // fewer callers do not load three servers
			aims = append(aims, t.aim(n, median(t.rates[readRateKey(readWays[1], n)])/base))
		}
	}
	what := fmt.Sprintf("Turns of %s, %d rounds; numbers are medians, *slowest* and *fastest* are single rounds. %d clients, whose callers wait for each answer.\n\n",
		t.turn, t.rounds, readClients)
	return report{text: textTable(columns, rows, 2), markdown: what + markdownTable(columns, rows, 2), aims: aims}
}

func (t *readTrial) aim(callers int, ratio float64) aim {
	a := aim{
		what: fmt.Sprintf("linearizable reads, %d callers: three servers / the leader alone", callers), got: fmt.Sprintf("%.2f", ratio),
		want: fmt.Sprintf("at least %.1f where each server has a core", spreadAim), met: ratio >= spreadAim,
	}
	if cores := runtime.NumCPU(); cores < 4 {
		a.note = fmt.Sprintf("of %d cores, which three servers and the clients share", cores)
	}
	if t.rounds < roundsForVerdict {
		a.note = fmt.Sprintf("of %d rounds only, %d make a verdict", t.rounds, roundsForVerdict)
	}
	return a
}

func (t *readTrial) end() (err error) {
	for _, c := range slices.Concat(t.leader, t.any) {
		err = errors.Join(err, c.Close())
	}
	for _, n := range t.nodes {
		err = errors.Join(err, n.stop())
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}
