package sim

import (
	"time"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// replica is one server's copy of one group, with what the shell keeps beside it: what has arrived, its lanes, its alarm.
type replica struct {
	h       *host
	group   raft.GroupID
	r       *server.Replica
	machine *machine
	oracle  *groupOracle
	mirror  *mirror
	seen    seen
	voters  raft.Membership // before its last turn

	owed       map[*doorCall]bool // requests that it has not answered
	owedWrites int                // how many of them wait for an entry of the log

	in       server.Inputs
	kept     raft.Index // its machine's own storage came so far
	waiting  int64      // bytes of requests that have arrived since the last turn
	poked    bool
	alarmAt  time.Duration // true time of the earliest alarm that is set; 0: none
	lanes    [5][]server.Job
	fetch    *server.FetchJob
	next     *server.FetchJob  // waits until the one before has let go of its file
	read     uint64            // changes that a read here has seen, the most
	fetches  int               // transfers that were begun since the last fault
	taken    int               // snapshots, since the last fault
	asking   int               // requests of fetch that are under way
	outside  time.Duration     // since when, by its own clock, it leads without being a voter; 0: it does not
	saves    int               // that are under way
	restores int               // that are to be done
	savedAt  time.Duration     // since when, by its own clock, it waits for the first of them
	wants    []raft.Membership // that were asked for since its last turn
}

func (r *replica) begin() {
	r.seen.begin(r)
	r.poke()
}

// poke sees to it that a turn follows soon; what arrives before it shares it.
func (r *replica) poke() {
	if !r.poked {
		r.poked = true
		r.h.after(upTo(r.h.w.jobs, r.h.w.plan.StepMax/4), r.turn)
	}
}

func (r *replica) turn() {
	r.poked = false
	h, w := r.h, r.h.w
	r.oracle.arriving(r)
	work := r.r.Turn(h.local(), &r.in)
	r.in.Reset()
	r.waiting, r.wants = 0, nil
	if work.Fenced != nil {
		h.fenced(r, work.Fenced, work.StoreFailed)
	}
	r.oracle.turned(r, work)
	if w.failure != nil || h.burn() {
		return
	}
	for _, j := range work.Jobs {
		if save, ok := j.(*server.SaveJob); ok {
			h.writer.push(r, save)
		}
	}
	for i := range work.Sends {
		r.oracle.sent(r, &work.Sends[i])
		w.net.send(h, &work.Sends[i])
		if h.burn() {
			w.saw(sawCrashInTurn)
			return
		}
	}
	for _, j := range work.Jobs {
		r.start(j)
	}
	r.setAlarm(work.Deadline)
}

// setAlarm sees to it that a turn comes when one is due. An alarm that rings too early is set again.
func (r *replica) setAlarm(deadline time.Duration) {
	if deadline == raft.Never {
		return
	}
	at := r.h.w.now + max(0, r.h.until(deadline))
	if r.alarmAt != 0 && r.alarmAt <= at {
		return
	}
	r.alarmAt = at
	r.h.after(at-r.h.w.now, func() {
		if r.alarmAt != at {
			return // an earlier one was set meanwhile
		}
		r.alarmAt = 0
		if due := r.r.Deadline(); due <= r.h.local() {
			r.poke()
		} else {
			r.setAlarm(due)
		}
	})
}

// start queues a job in its lane. A lane runs one job at a time, but for fills, which overlap each other too.
func (r *replica) start(j server.Job) {
	switch lane := j.Lane(); lane {
	case server.LaneSave: // the writer has it
	case server.LaneFill:
		r.h.after(r.stepDelay(j), func() { r.step(j, nil) })
	case server.LaneFetch:
		r.startFetch(j.(*server.FetchJob))
	default:
		if _, ok := j.(*server.RestoreJob); ok {
			r.restores++
		}
		r.lanes[lane] = append(r.lanes[lane], j)
		if len(r.lanes[lane]) == 1 {
			r.runLane(lane)
		}
	}
}

func (r *replica) runLane(lane server.Lane) {
	r.h.after(r.stepDelay(r.lanes[lane][0]), func() {
		r.step(r.lanes[lane][0], func() {
			r.lanes[lane] = r.lanes[lane][1:]
			if len(r.lanes[lane]) > 0 {
				r.runLane(lane)
			}
		})
	})
}

// stepDelay is how long the next step of a job takes.
func (r *replica) stepDelay(j server.Job) time.Duration {
	h := r.h
	d := upTo(h.w.jobs, h.w.plan.StepMax)
	if r.r.Err() != nil {
		return d
	}
	switch j.(type) {
	case *server.ApplyJob, *server.QueryJob:
		if h.slowApply > 0 {
			d = time.Duration(float64(d) * h.slowApply)
		}
		return d
	case *server.WriteJob, *server.CompactJob:
		d *= 5
	case *server.RestoreJob:
		if slow := h.w.plan.RestoreMax; slow > 0 && !h.w.calm {
			return h.diskDelay(d) + upTo(h.w.jobs, slow)
		}
	}
	return h.diskDelay(d)
}

// diskDelay is how long something takes on this disk that should take d.
func (h *host) diskDelay(d time.Duration) time.Duration {
	if h.slowDisk > 0 {
		d = time.Duration(float64(d) * h.slowDisk)
	}
	if h.hungUntil > h.w.now {
		d += h.hungUntil - h.w.now
	}
	return d
}

// step does one step of a job; next is called when the job is done.
func (r *replica) step(j server.Job, next func()) {
	h := r.h
	if h.burn() {
		return
	}
	if why := r.r.Err(); why != nil {
		j.Drop(why)
	} else {
		looks := h.store.disk.looks
		done := j.Step()
		if h.store.dead() { // the power went in the middle of it
			h.crash(h.downFor)
			return
		}
		d := time.Duration(0)
		if _, ok := j.(*server.ApplyJob); ok && h.store.disk.looks > looks {
			if d = h.diskDelay(0); h.slowDisk > 0 {
				d = h.diskDelay(upTo(h.w.disks, h.w.plan.StepMax))
			}
		}
		switch {
		case !done:
			h.after(d+r.stepDelay(j), func() { r.step(j, next) })
			return
		case d > 0:
			h.w.saw(sawSlowApplyRead)
			h.after(d, func() { r.done(j, next) })
			return
		}
	}
	r.done(j, next)
}

// done ends a job behind its last step.
func (r *replica) done(j server.Job, next func()) {
	if r.h.burn() {
		return
	}
	r.finished(j)
	if next != nil {
		next()
	}
}

// finished gives a job back.
func (r *replica) finished(j server.Job) {
	if _, ok := j.(*server.RestoreJob); ok {
		r.restores--
	}
	r.oracle.finished(r, j)
	r.in.Finished = append(r.in.Finished, j)
	r.poke()
}

// writer makes the saves of all groups durable, several in one call, as the shell's does.
type writer struct {
	h      *host
	queue  []queuedSave
	flying []queuedSave
}

type queuedSave struct {
	r *replica
	j *server.SaveJob
}

// cuts reports whether a save replaces what is on the disk.
func (q *queuedSave) cuts() bool {
	blocks := q.j.Update().Blocks
	return len(blocks) > 0 && blocks[0].First() < q.r.mirror.disk.next()
}

func (x *writer) push(r *replica, j *server.SaveJob) {
	if r.saves++; r.saves == 1 {
		r.savedAt = r.h.local()
	}
	x.queue = append(x.queue, queuedSave{r, j})
	if x.flying == nil && len(x.queue) == 1 {
		x.h.after(upTo(x.h.w.jobs, x.h.w.plan.StepMax/4), x.gather)
	}
}

// gather takes what goes into one call: of each group its saves in order, as many as chance wants. Several updates of one
// group go into a call only where all of them carry blocks (PersistentLog.Save).
func (x *writer) gather() {
	if x.flying != nil || len(x.queue) == 0 {
		return
	}
	w := x.h.w
	var call, rest []queuedSave
	var stopped, taken, plain [8]bool // by group
	groups, batched := 0, false
	for _, q := range x.queue {
		g, blocks := q.r.group, len(q.j.Update().Blocks) > 0
		switch {
		case stopped[g], len(call) > 0 && chance(w.jobs, 0.2), taken[g] && (plain[g] || !blocks):
			stopped[g] = true
			rest = append(rest, q)
			continue
		case taken[g]:
			batched = true
		default:
			groups++
		}
		taken[g], plain[g] = true, plain[g] || !blocks
		call = append(call, q)
	}
	x.queue, x.flying = rest, call
	if batched {
		w.saw(sawBatchedSave)
	}
	if groups > 1 {
		w.saw(sawSharedSave)
	}
	x.h.after(upTo(w.jobs, w.plan.StepMax/4), x.save)
}

// save writes; the sync takes longer.
func (x *writer) save() {
	h := x.h
	if h.burn() {
		return
	}
	err := h.write(x.flying)
	if h.store.dead() {
		h.crash(h.downFor)
		return
	}
	if h.burn() {
		return
	}
	for _, q := range x.flying {
		if h.hangsAtCut > 0 && q.cuts() {
			h.saveHungUntil = max(h.saveHungUntil, min(h.w.now+h.hangsAtCut, startTime+h.w.plan.Trouble))
			h.hangsAtCut = 0
		}
	}
	d := h.diskDelay(upTo(h.w.jobs, 2*h.w.plan.StepMax))
	h.after(max(d, h.saveHungUntil-h.w.now), func() { x.saved(err) })
}

func (x *writer) saved(err error) {
	h := x.h
	if h.burn() {
		return
	}
	if err == nil {
		err = h.store.sync()
	}
	if err == nil {
		for _, q := range x.flying {
			q.r.oracle.saved(q.r, q.j)
		}
	}
	if h.burn() {
		return
	}
	done := x.flying
	x.flying = nil
	for _, q := range done {
		q.r.saves--
		q.r.savedAt = h.local()
		q.j.Finish(err)
		q.r.finished(q.j)
	}
	if len(x.queue) > 0 {
		h.after(upTo(h.w.jobs, h.w.plan.StepMax/4), x.gather)
	}
}
