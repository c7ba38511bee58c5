package sim

import (
	"slices"
	"time"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// target is the server that a fault is for; nil: nobody leads the group that it is for.
func (w *world) target(f *Fault) *host {
	if f.Server != leaderServer {
		return w.hosts[f.Server%len(w.hosts)]
	}
	var found *host
	term := raft.Term(0)
	for _, h := range w.hosts {
		if !h.up {
			continue
		}
		s := &h.replicas[f.N%w.plan.Groups].seen
		if s.role == raft.RoleLeader && s.term > term && !s.ended {
			found, term = h, s.term
		}
	}
	return found
}

// strike has a fault come to pass.
func (w *world) strike(f *Fault) {
	h := w.target(f)
	if h == nil || w.calm {
		return
	}
	end := startTime + w.plan.Trouble
	if w.now+f.For > end {
		short := *f
		short.For = max(0, end-w.now)
		f = &short
	}
	if !w.harm(f, h) {
		return
	}
	w.faults++
	w.byKind[f.Kind]++
	w.note("FAULT %v (server %v)", f, h)
}

// scheme begins a plot in the place of a fault, now and then.
func (w *world) scheme(f *Fault, h *host) bool {
	switch f.Kind {
	case FaultIsolate:
		if f.N%3 == 2 {
			w.lonely(h, f)
		}
		return f.N%3 == 1 && w.comeback(f)
	case FaultPartition:
		return f.N%2 == 1 && w.comeback(f)
	case FaultDelay:
		return f.N%2 == 1 && w.lateAnswer(f)
	case FaultCrash:
		return f.N%3 == 1 && w.brokenPromise(f)
	case FaultClock:
		return f.N%3 != 0 && w.unequal(f)
	case FaultPause:
		return f.N%4 == 0 && w.hearsay(f)
	case FaultSlowApply:
		return f.N%3 == 0 && w.slowHeirs(f)
	}
	return false
}

// harm does what a fault does, and reports whether it applied.
func (w *world) harm(f *Fault, h *host) bool {
	if w.scheme(f, h) {
		return true
	}
	if end := w.startNet(f, h.number); end != nil {
		w.after(f.For, func() {
			if !w.calm {
				end()
			}
		})
		return true
	}
	switch f.Kind {
	case FaultCrashAll:
		for _, other := range w.hosts {
			other.crash(f.For/2 + upTo(w.jobs, f.For+1))
		}
		return true
	case FaultBreak, FaultStall, FaultSleep:
		return w.harmClients(f)
	case FaultWipe, FaultRotLog, FaultRotWitness, FaultRotIdentity, FaultRotSnapshot, FaultRollback, FaultTail, FaultLie, FaultLostWrite, FaultStrayWrite:
		if !h.mayHarm() || h.gone != nil || h.forgets || h.formats > 1 || !h.harmStore(f) {
			return false
		}
		h.budget = true
		return true
	}
	down := !h.up && h.gone == nil && (f.Kind == FaultSlowDisk || f.Kind == FaultHungDisk) // its next start is slow
	if !h.up && !down || h.repairing {
		return false
	}
	switch f.Kind {
	case FaultSlowDisk, FaultHungDisk, FaultSaveError, FaultCompactError, FaultReadError, FaultSnapshotError, FaultPowerCut,
		FaultHungSave, FaultStartError, FaultFull:
		return h.harmDisk(f)
	case FaultCrash:
		h.downFor = f.For
		h.fuse, h.kills = max(1, f.N), f.X < 0.25
		if f.N == 0 {
			h.burn()
		}
	case FaultPause:
		h.pause(f.For)
	case FaultClock:
		h.setRate(f.X)
		w.after(f.For, func() { h.setRate(1) })
	case FaultSlowApply:
		h.slowApply = f.X
		w.after(f.For, func() { h.slowApply = 0 })
	case FaultSnapshot:
		for _, r := range h.replicas {
			r.in.TakeSnapshot(ignored{})
			r.poke()
		}
	}
	return true
}

// ignored is a Completion that nobody waits for.
type ignored struct{}

// Complete implements server.Completion.
func (ignored) Complete([]byte, error) {}

var _ server.Completion = ignored{}

// pause stops a process; its clock goes on.
func (h *host) pause(d time.Duration) {
	h.pausedUntil = max(h.pausedUntil, h.w.now+d)
	for _, r := range h.replicas {
		r.outside, r.savedAt = 0, h.local()+time.Duration(float64(h.pausedUntil-h.w.now)*h.rate)
		if r.seen.role == raft.RoleLeader && d > h.w.plan.ElectionTimeoutMin {
			if h.w.saw(sawPauseOfLeader); r.seen.lease {
				h.w.saw(sawLeasePaused)
			}
		}
	}
}

func (h *host) harmDisk(f *Fault) bool {
	w := h.w
	if h.store.mem != nil && h.since != nil {
		return false // a log in memory that has failed cannot tell the truth any more
	}
	switch f.Kind {
	case FaultSlowDisk:
		h.slowDisk = f.X
		w.after(f.For, func() { h.slowDisk = 0 })
	case FaultHungDisk:
		h.hungUntil = max(h.hungUntil, w.now+f.For)
	case FaultSaveError, FaultCompactError, FaultReadError: // an apply that cannot read stops its replica
		h.mayFail, h.downFor = errDisk, f.For
		h.store.fail(f)
	case FaultSnapshotError:
		h.mayFail = errDisk // and so does a restore
		disk := h.store.disk
		if f.X < 0.2 {
			disk.spoil, disk.spoilsKind, disk.cut = 1+f.N%3, ".partial", w.disks
			break
		}
		disk.failAt(f.N, f.once())
		w.after(f.For, func() { disk.failAt(0, false) })
	case FaultPowerCut:
		h.downFor = f.For
		if h.store.disk.cut = w.disks; f.N > 6 && h.store.mem == nil {
			h.store.disk.armed = f.N - 6 // a new segment is where the order of calls matters most
			break
		}
		h.store.disk.fuse = f.N
	case FaultHungSave:
		h.saveHungUntil = max(h.saveHungUntil, w.now+f.For)
	case FaultStartError:
		h.startError, h.startErrorOnce = f.N, f.once()
		h.crash(f.For)
	case FaultFull:
		h.fill(f.For)
	}
	return true
}

// fill lets nothing more onto a disk for a time.
func (h *host) fill(d time.Duration) {
	h.store.full(true)
	h.mayFail = errFull
	h.w.after(d, func() {
		if h.store.disk.full {
			h.w.saw(sawRoomAgain)
			h.store.full(false)
		}
	})
}

// mayHarm reports whether one more store may be harmed: no run that must lose nothing destroys what others need, and none
// harms a store before every group has had a leader, because a group's birth needs all of them.
func (h *host) mayHarm() bool {
	w := h.w
	for _, o := range w.oracle.groups {
		if o.termMax == 0 {
			return false
		}
	}
	for _, o := range w.oracle.groups {
		for _, m := range slices.Concat(o.live(), o.wanted()) {
			for _, half := range halves(m) {
				if h.in(half) && !w.plan.Lossy && w.harmed(half, h) > (len(half)-1)/2 {
					return false
				}
			}
		}
	}
	return true
}

// harmed counts those of a list whose store was harmed, one that is about to be among them.
func (w *world) harmed(list []raft.Member, next *host) (count int) {
	for _, v := range list {
		if h := w.hostOf(v); h.budget || h == next {
			count++
		}
	}
	return count
}

// onlyMemory reports whether no other founder's store is left that knows of the group: then a wiped one would found it anew.
func (h *host) onlyMemory() bool {
	for _, other := range h.w.hosts[:h.w.plan.Servers] {
		if other != h && other.formats == 1 {
			return false
		}
	}
	return true
}

func (w *world) harmClients(f *Fault) bool {
	done := false
	for k, c := range w.clients {
		if f.N%3 != 0 && k != f.N%len(w.clients) {
			continue
		}
		done = true
		switch f.Kind {
		case FaultBreak:
			for _, conn := range c.conns {
				conn.lost()
			}
		case FaultStall:
			c.stalledUntil = max(c.stalledUntil, w.now+f.For)
		case FaultSleep:
			c.asleepUntil = max(c.asleepUntil, w.now+f.For)
		}
	}
	return done
}
