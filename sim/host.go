package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// host is one server: a store that outlives its processes, a clock, and while it is up the replicas of every group. It
// stands where server.Server stands, and does what that one's goroutines do.
type host struct {
	w        *world
	id       raft.ServerID
	number   int // among the hosts, from 1; that of a founder is its id
	identity persistentlog.Identity
	formats  int // how often its store was formatted

	store *store

	joins     bool  // it has no founders, and is told by a leader what it belongs to
	began     bool  // it was started once, or will be
	retired   bool  // it was lost, as far as the operator knows
	installed bool  // it has installed a snapshot while it was no voter
	heir      *host // that has taken its place, or is about to

	up          bool
	life        int // counts starts
	run         raft.RunID
	pausedUntil time.Duration
	fuse        int  // after so many effects it crashes; 0: it does not
	kills       bool // it is killed then, and the power stays
	downFor     time.Duration
	repairing   bool // it has failed and waits for its restart

	gone     error   // its store was found damaged, which is for good
	decayed  bool    // a bit of its log was flipped, which is found some time
	flipped  bool    // a bit of a snapshot was flipped: it may need the leader's
	mayBreak bool    // a fault explains it if its store is found damaged
	forgets  bool    // its store has lost, or is about to lose, what it promised
	shorter  bool    // its log was put back to an older copy, and its witness was not
	since    []image // what its logs were before their disk began to lose writes; nil: it has not
	budget   bool    // it counts among those whose store was harmed
	mayFail  error   // faults of its disk that were planned, and that may fence it

	slowDisk, slowApply      float64
	hungUntil, saveHungUntil time.Duration
	hangsAtCut               time.Duration // how long the next save hangs that cuts a log
	startError               int           // the call of the next start that fails; odd: a read
	startErrorOnce           bool          // the one after it succeeds

	shared   *server.Shared
	replicas []*replica // by group, from 1
	writer   writer
	conns    []*conn
	callers  []*op // within its process

	clockBase, clockSince time.Duration
	rate                  float64
}

// addHost adds a server with an empty store.
func (w *world) addHost(id raft.ServerID) *host {
	h := &host{w: w, id: id, number: len(w.hosts) + 1, rate: 1}
	w.hosts = append(w.hosts, h)
	for _, o := range w.oracle.groups {
		o.mirrors = append(o.mirrors, &mirror{now: newImage(), disk: newImage()})
	}
	h.format()
	return h
}

// String names a server, and the store that it began with where that is not the first one of its id.
func (h *host) String() string {
	if h.number == int(h.id) {
		return fmt.Sprint(h.id)
	}
	return fmt.Sprintf("%d (host %d)", h.id, h.number)
}

// format makes a new, empty store.
func (h *host) format() {
	h.formats++
	h.identity = persistentlog.Identity{
		Cluster: raft.ClusterID{0xc1}, Server: h.id, Store: storeOf(h.number, h.formats),
	}
	h.store = h.w.format(h.identity)
	h.w.oracle.formatted(h)
}

// local is what this server's clock shows.
func (h *host) local() time.Duration {
	return h.clockBase + time.Duration(float64(h.w.now-h.clockSince)*h.rate)
}

func (h *host) setRate(rate float64) {
	h.clockBase, h.clockSince, h.rate = h.local(), h.w.now, rate
}

// until is how long it takes in truth until the clock shows local.
func (h *host) until(local time.Duration) time.Duration {
	return time.Duration(float64(local-h.local())/h.rate) + 1
}

// after has this process do something in d, if it still lives and when it runs.
func (h *host) after(d time.Duration, do func()) {
	life := h.life
	h.w.after(d, func() { h.do(life, do) })
}

func (h *host) do(life int, do func()) {
	switch {
	case !h.up || h.life != life:
	case h.pausedUntil > h.w.now:
		h.w.at(h.pausedUntil, func() { h.do(life, do) })
	default:
		do()
	}
}

// burn counts an effect, something that others may see or that lasts, and reports whether the server has crashed by it.
func (h *host) burn() bool {
	if h.fuse > 0 {
		if h.fuse--; h.fuse == 0 {
			if h.kills {
				h.kill(h.downFor)
			} else {
				h.crash(h.downFor)
			}
			return true
		}
	}
	return false
}

// start starts a process, which is up when its disk has given it what it opens.
func (h *host) start() {
	w := h.w
	if h.up || h.gone != nil {
		return
	}
	if w.calm {
		h.load()
		return
	}
	if h.hungUntil > w.now {
		w.saw(sawHungStart)
	}
	life := h.life
	w.after(h.diskDelay(4*upTo(w.disks, w.plan.StepMax)), func() {
		if h.life == life {
			h.load()
		}
	})
}

// load opens the store and starts every replica on it.
func (h *host) load() {
	if h.up || h.gone != nil {
		return
	}
	w := h.w
	h.life++
	h.run = raft.RunID(uint64(h.number)<<32 + uint64(h.life))
	h.up, h.repairing, h.pausedUntil, h.fuse, h.kills = true, false, 0, 0, false
	h.mayFail = h.store.armed(h.startError, h.startErrorOnce)
	h.clockBase, h.clockSince = startTime+upTo(w.jobs, 1000*time.Hour), w.now
	h.writer = writer{h: h}
	h.replicas = nil
	w.note("server %v starts, run %d", h, h.life)
	if h.heir != nil && h.life > 1 {
		w.saw(sawOldCopy)
	}
	soon := 0.06
	if h.store.disk.hurt { // it was killed after its disk had failed, and what it reads may not be durable
		soon = 0.3
	}
	if !w.calm && chance(w.disks, soon) {
		h.store.disk.fuse, h.store.disk.cut, h.downFor = 1+w.disks.IntN(25), w.disks, time.Second
	}
	err := h.open()
	if h.startError > 0 {
		h.startError = 0
		if !h.startErrorOnce { // what is to fail once may be a call of what follows
			h.store.disk.fails, h.store.disk.reads = 0, 0
		}
	}
	switch {
	case h.store.dead():
		w.saw(sawCrashInStart)
		h.crash(upTo(w.disks, time.Second))
	case errors.Is(err, errDisk) && h.mayFail != nil && !isDamage(err):
		w.saw(sawStartFailed)
		h.again(upTo(w.disks, time.Second))
	case isDamage(err) && h.mayBreak:
		h.damaged(err)
		h.crash(0)
	case err != nil:
		w.fail(checkStart, "server %v does not start: %v", h, firstLine(err))
	}
}

func (h *host) open() error {
	p := h.w.plan
	err := h.store.open()
	if err != nil {
		return err
	}
	h.shared, err = server.NewShared(server.Options{
		Log: h.store.log(), Snapshots: h.store.files, Transport: noTransport{}, Seed: p.Seed<<8 ^ uint64(h.number)<<4 ^ uint64(h.life)<<20,
		CommandBytesMax: p.CommandBytesMax, BlockBytesMax: p.BlockBytesMax, FrameBytesMax: p.frameBytesMax(),
		InflightBytesMax: p.InflightBytesMax, InflightMessagesMax: p.InflightMessagesMax, TailBytesMax: p.TailBytesMax,
		UncommittedBytesMax: p.UncommittedBytesMax, UnappliedBytesMax: p.UnappliedBytesMax,
		UncommittedServerBytesMax: p.UncommittedBytesMax * p.ServerBytesFactor, UnappliedServerBytesMax: p.UnappliedBytesMax * p.ServerBytesFactor,
	})
	if err != nil {
		return err
	}
	for g := range p.Groups {
		group := raft.GroupID(g + 1)
		if err := h.w.oracle.restarted(h, group); err != nil {
			return err
		}
		r := &replica{h: h, group: group, oracle: h.w.oracle.groups[g], owed: map[*doorCall]bool{}}
		r.mirror = r.oracle.mirrors[h.number-1]
		r.machine = newMachine(r.oracle, h.id)
		o := server.GroupOptions{
			ID: group, StateMachine: r.machine, Founders: h.founders(), Limits: p.Limits, ElectionTimeoutMin: p.ElectionTimeoutMin,
			ElectionTimeoutMax: p.ElectionTimeoutMax, HeartbeatInterval: p.HeartbeatInterval,
			JoinTimeout: p.JoinTimeout, Priority: p.priority(h.number), ClockDriftPPM: p.ClockDriftPPM,
			SnapshotLogBytes: p.SnapshotLogBytes, SnapshotKeepBytes: p.SnapshotKeepBytes,
		}
		switch {
		case p.Durable:
			r.kept = h.store.vaults[g].open(r.machine)
			o.StateMachine = durableMachine{r.machine, h.store.vaults[g]}
		case p.Batches:
			o.StateMachine = batchMachine{r.machine}
		}
		if r.r, err = server.NewReplica(h.shared, o, h.local()); err != nil {
			return err
		}
		h.replicas = append(h.replicas, r)
		r.begin()
	}
	return nil
}

func (h *host) founders() []raft.Member {
	if h.joins {
		return nil
	}
	return h.w.founders()
}

func (p *Plan) priority(number int) uint8 {
	if len(p.Priorities) == 0 {
		return 0
	}
	return p.Priorities[(number-1)%len(p.Priorities)]
}

func (w *world) founders() (list []raft.Member) {
	for k := range w.plan.Servers {
		list = append(list, raft.Member{ID: raft.ServerID(k + 1), Address: address(k + 1)})
	}
	return list
}

// address is where clients find a host.
func address(number int) string { return fmt.Sprintf("s%d", number) }

// crash loses power: what was not synced is gone in part, and the process with everything it knew. It is started again
// later.
func (h *host) crash(downFor time.Duration) {
	if !h.up {
		return
	}
	h.w.saw(sawCrash)
	h.w.note("server %v crashes", h)
	h.noteCrash()
	before := h.store.disk
	h.store = h.store.crash()
	h.lost(before)
	h.end(downFor)
}

// kill ends the process and nothing else: what it has written stands in the system's memory, synced or not, and the next one
// reads it there. Where the disk is about to lose something by itself, or the log is in memory, it is a crash.
func (h *host) kill(downFor time.Duration) {
	if !h.up || h.store.mem != nil || h.store.dead() || h.since != nil || h.decayed {
		h.crash(downFor)
		return
	}
	h.w.saw(sawKilled)
	h.w.note("server %v is killed", h)
	h.noteCrash()
	h.store = h.store.kill()
	h.end(downFor)
}

// end takes a process away that has ended, and has the next one start later.
func (h *host) end(downFor time.Duration) {
	w := h.w
	h.noteReform()
	h.up, h.fuse = false, 0
	for _, c := range h.conns {
		c.lost()
	}
	for _, k := range h.callers {
		if !k.ended {
			k.answer(nil, server.ErrUnknown)
		}
	}
	h.conns, h.callers = nil, nil
	h.replicas = nil
	life := h.life
	w.after(downFor, func() {
		if h.life == life {
			h.start()
		}
	})
}

// noteCrash counts in which work it was interrupted.
func (h *host) noteCrash() {
	if h.writer.flying != nil {
		h.w.saw(sawCrashInSave)
	}
	for _, r := range h.replicas {
		if len(r.lanes[server.LaneSnapshot]) > 0 {
			h.w.saw(sawCrashInSnapshot)
		}
	}
}

// fenced deals with a replica that has stopped for good.
func (h *host) fenced(r *replica, why error, store bool) {
	w := h.w
	w.note("server %v group %d has stopped: %s", h, r.group, firstLine(why))
	damaged := isDamage(why)
	switch {
	case damaged && h.mayBreak:
		h.damaged(why)
	case w.plan.Durable && (h.forgets || h.decayed) && strings.Contains(firstLine(why), "the log was put back to an older copy"):
		w.saw(sawMachineAhead)
		h.gone = fmt.Errorf("%w: %w", persistentlog.ErrDamaged, why)
	case errors.Is(why, errDisk) && h.mayFail != nil, errors.Is(why, errPower):
		w.saw(sawDiskFailed)
	case errors.Is(why, errStopped):
	case h.flipped && w.plan.Servers == 1 && damaged:
	case h.flipped && damaged && strings.Contains(firstLine(why), "snapshot is unusable"): // it decayed between its fetch and its restore
	default:
		w.fail(checkFence, "server %v group %d stopped, and no fault explains it: %s", h, r.group, firstLine(why))
		return
	}
	if store {
		for _, other := range h.replicas {
			if other != r && other.r.Err() == nil {
				other.in.Stop(fmt.Errorf("%w: %w", errStopped, why))
				other.poke()
			}
		}
	}
	if h.repairing {
		return
	}
	h.repairing = true
	h.after(upTo(w.disks, 500*time.Millisecond), func() { h.again(upTo(w.disks, 3*time.Second)) })
}

// again starts another process in the place of one whose disk has failed, on the same system or after it was started again, too.
func (h *host) again(downFor time.Duration) {
	if chance(h.w.disks, 0.5) {
		h.kill(downFor)
	} else {
		h.crash(downFor)
	}
}

var errStopped = errors.New("sim: the server stops with its store")
