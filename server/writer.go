package server

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/oarlock/oarlock/persistentlog"
)

// writer is the one goroutine that saves. It takes what all groups have queued, groups in turn, and makes it durable
// with one call and one sync: while the disk is busy the next call gathers.
type writer struct {
	log   persistentlog.PersistentLog
	fail  func(error) // told of the first failed save; none is tried after it
	mu    sync.Mutex
	more  *sync.Cond
	turns []*group // those with saves waiting, each once
	ends  bool     // once everything queued is saved
	done  chan struct{}
	stuck atomic.Bool // a call of Save is under way

	updates []persistentlog.Update
	jobs    []savedJob

	saves, calls, bytes atomic.Uint64
}

type savedJob struct {
	g   *group
	job *SaveJob
}

func newWriter(log persistentlog.PersistentLog, fail func(error)) *writer {
	w := &writer{log: log, fail: fail, done: make(chan struct{})}
	w.more = sync.NewCond(&w.mu)
	go w.run()
	return w
}

// push queues a group's save.
func (w *writer) push(g *group, j *SaveJob) {
	w.mu.Lock()
	if g.saves = append(g.saves, j); len(g.saves) == 1 {
		w.turns = append(w.turns, g)
	}
	w.mu.Unlock()
	w.more.Signal()
}

func (w *writer) run() {
	defer close(w.done)
	var failed error
	for w.gather() {
		if failed == nil {
			if failed = w.save(); failed != nil {
				w.fail(failed)
			}
		}
		for i := range w.jobs {
			w.jobs[i].job.Finish(failed)
			w.jobs[i].g.inbox.finished(w.jobs[i].job)
		}
		w.turn()
		clear(w.jobs)
		clear(w.updates)
		w.jobs, w.updates = w.jobs[:0], w.updates[:0]
	}
}

// turn has every group that was saved go on: one alone here, so that what it saves next is saved without a wake-up.
func (w *writer) turn() {
	w.mu.Lock()
	waiting := len(w.turns) > 0
	w.mu.Unlock()
	if len(w.jobs) == 1 && !waiting {
		w.jobs[0].g.runHere()
		return
	}
	for i := range w.jobs {
		w.jobs[i].g.wake()
	}
}

func (w *writer) save() (err error) {
	w.stuck.Store(true)
	defer w.stuck.Store(false)
	defer guard(func() string { return "save" }, &err)
	err = w.log.Save(w.updates)
	if err == nil {
		w.calls.Add(1)
		w.saves.Add(uint64(len(w.jobs)))
	} else {
		err = fmt.Errorf("save: %w", err)
	}
	return err
}

// gather waits for saves and takes one of each group in turn, up to the size of one call; of one that is larger, a part. It
// returns false at the end.
func (w *writer) gather() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.turns) == 0 {
		if w.ends {
			return false
		}
		w.more.Wait()
	}
	bytes, taken := 0, 0
	for ; taken < len(w.turns); taken++ {
		g := w.turns[taken]
		j := g.saves[0]
		if len(w.updates) > 0 && bytes+j.bytes > persistentlog.SaveBytesMax {
			break
		}
		update, size, last := j.part()
		bytes += size
		w.updates = append(w.updates, update)
		if last {
			w.jobs = append(w.jobs, savedJob{g, j})
			g.saves[0] = nil
			g.saves = g.saves[1:]
		}
		if len(g.saves) > 0 {
			w.turns = append(w.turns, g) // its turn comes again, after the others
		}
	}
	left := copy(w.turns, w.turns[taken:])
	clear(w.turns[left:])
	w.turns = w.turns[:left]
	w.bytes.Add(uint64(bytes))
	return true
}

// drain ends the writer once everything that is queued was saved.
func (w *writer) drain() {
	w.mu.Lock()
	w.ends = true
	w.mu.Unlock()
	w.more.Broadcast()
}
