package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// memberCommand makes a process of this program one member of a cluster that is told by lines on its input what to do and
// answers each with a line of JSON: each member has a process of its own, so that its memory is its own.
const memberCommand = "member"

// The lines that a member understands.
const (
	askRole    = "role"    // who leads, as it sees it
	askWatch   = "watch"   // give back what is free, note the idle memory, begin to look
	askSlow    = "slow"    // commands take longer from now on
	askWatched = "watched" // what was seen
)

// queueSeen is one bounded queue of a server. Sampled was seen by looking, Counted by the queue itself at every change.
type queueSeen struct {
	Name             string
	Max              int64
	Sampled, Counted int64
	Refused          uint64
}

// seen is what a member tells of itself.
type seen struct {
	Role       string
	Led        int // samples in which it led
	Samples    int
	Queues     []queueSeen
	Idle, Peak int64 // resident memory
	Live       int64 // highest that a garbage collection left on the heap
	Outside    int64 // highest resident at a time outside of the Go runtime's memory: Pebble's memtables and cache
	Commands   uint64
	HeapPeak   int64 // resident at the moment of the heap profile, if one was asked for
}

// slowMachine is the key-value store on a machine that is not as fast as this one.
type slowMachine struct {
	*kv.Machine
	pause atomic.Int64 // nanoseconds a command
}

func (s *slowMachine) ApplyBatch(entries []statemachine.Entry, results [][]byte) {
	for i := range entries {
		time.Sleep(time.Duration(s.pause.Load()))
		s.Machine.ApplyBatch(entries[i:i+1], results[i:i+1])
	}
}

// watcher looks at a server all the time.
type watcher struct {
	server  *config.Server
	heap    string // where a profile of the heap at its highest goes; empty: none
	stop    chan struct{}
	stopped chan error
	seen    seen
}

// watchEvery is how often a server is looked at. Its bounds count their own peaks beside.
const watchEvery = 2 * time.Millisecond

func runMember(args []string) error {
	if len(args) < 2 {
		return errors.New("a member is started by the part memory")
	}
	c, err := config.Load(args[0])
	if err != nil {
		return err
	}
	id, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	config.OwnProcess() // as oarlock node does
	machine := &slowMachine{Machine: kv.New()}
	s, err := c.OpenServer(raft.ServerID(id), machine, nil)
	if err != nil {
		return err
	}
	w := &watcher{server: s, heap: os.Getenv("OARLOCK_BENCH_HEAP")}
	lines, answers := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for err == nil && lines.Scan() {
		err = w.answer(lines.Text(), machine)
		if err == nil {
			err = answers.Encode(w.seen)
		}
	}
	return errors.Join(err, lines.Err(), s.Err(), s.Close())
}

func (w *watcher) answer(line string, machine *slowMachine) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case askRole:
		st, _ := w.server.GroupStatus(raft.DefaultGroup)
		w.seen.Role = st.Role.String()
	case askSlow:
		pause, err := time.ParseDuration(rest)
		machine.pause.Store(int64(pause))
		return err
	case askWatch:
		debug.FreeOSMemory()
		// The kernel's mark of the highest resident memory begins anew (proc(5), clear_refs).
		if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
			return err
		}
		idle, err := memoryField("VmRSS:")
		w.seen.Idle = idle
		w.stop, w.stopped = make(chan struct{}), make(chan error, 1)
		go func() { w.stopped <- w.watch() }()
		return err
	case askWatched:
		close(w.stop)
		err := <-w.stopped
		w.seen.Peak, _ = memoryField("VmHWM:")
		return err
	default:
		return fmt.Errorf("%q is no line that a member understands", line)
	}
	return nil
}

func (w *watcher) watch() error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-w.stop:
			return nil
		case <-ticker.C:
		}
		w.look(w.server.Status())
		if w.heap == "" {
			continue
		}
		if rss, err := memoryField("VmRSS:"); err != nil || rss < w.seen.HeapPeak*9/8 {
			continue
		} else if w.seen.HeapPeak = rss; rss > w.seen.Idle*2 {
			if err := writeHeap(w.heap); err != nil {
				return err
			}
		}
	}
}

func writeHeap(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.WriteHeapProfile(file), file.Close())
}

// look takes one sample.
func (w *watcher) look(st server.Status) {
	now := func(name string, b server.BoundStatus) queueSeen {
		return queueSeen{Name: name, Max: b.BytesMax, Sampled: b.Bytes, Counted: b.BytesPeak, Refused: b.Refused}
	}
	g := st.Groups[0]
	samples := []queueSeen{
		now("inbox", g.Inbox), now("uncommitted", g.Uncommitted), now("unapplied", g.Unapplied),
		now("inbox, all groups", st.Inbox), now("uncommitted, all groups", st.Uncommitted), now("unapplied, all groups", st.Unapplied),
		{Name: "tail (recent blocks)", Max: st.TailBytesMax, Sampled: st.TailBytes, Counted: st.TailBytes},
		{Name: "queues to peers", Max: st.Transport.QueuedBytesMax, Sampled: st.Transport.QueuedBytes, Counted: st.Transport.QueuedBytes},
	}
	w.seen.Samples++
	if g.Role == raft.RoleLeader {
		w.seen.Led++
	}
	w.seen.Commands = g.Commands
	live, outside := goMemory()
	w.seen.Live, w.seen.Outside = max(w.seen.Live, live), max(w.seen.Outside, outside)
	if w.seen.Queues == nil {
		w.seen.Queues = samples
		return
	}
	for i, s := range samples {
		q := &w.seen.Queues[i]
		q.Sampled, q.Counted, q.Refused = max(q.Sampled, s.Sampled), max(q.Counted, s.Counted), s.Refused
		q.Max = max(q.Max, s.Max)
	}
}

// goMemory returns what the last garbage collection left, and what the process has in memory beside the Go runtime's.
func goMemory() (live, outside int64) {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	rss, err := memoryField("RssAnon:")
	if err != nil {
		return int64(s[0].Value.Uint64()), 0
	}
	return int64(s[0].Value.Uint64()), rss - int64(s[1].Value.Uint64()-s[2].Value.Uint64())
}

// memoryField reads a number of this process's memory in bytes.
func memoryField(name string) (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no %s", name)
}
