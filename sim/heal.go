package sim

import (
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// How long the second phase waits for what. Clients may first have to notice that a connection is dead, and a leader takes
// a snapshot for a follower that cannot restore its own once a minute.
const (
	answersWithin    = 20 * time.Second
	owedWithin       = 5 * time.Second
	convergesWithin  = 30 * time.Second
	helpWithin       = 90 * time.Second
	electionTimeouts = 10
	servesTimeouts   = 3
)

// heal is the second phase: nothing fails any more, and what must come of it comes.
func (w *world) heal() {
	w.note("CALM: nothing fails from here on")
	w.plainNote("the simulator itself asks for commands and queries now, to see that all servers come together")
	w.calm = true
	w.net.heal()
	for _, h := range w.hosts {
		if h.heal(); w.failure != nil {
			return
		}
	}
	if !w.mayServe() {
		if !w.robbed() {
			w.fail(checkServes, "a group has no majority that has kept its store, and no faults have taken so many")
		}
		w.standStill()
		return
	}
	timeout := w.plan.ElectionTimeoutMax
	w.wait(electionTimeouts*timeout, checkLeader, w.led)
	if len(w.plan.Orders) > 0 {
		w.run(w.now + timeout) // what was asked for has been begun
	}
	within := convergesWithin
	for _, h := range w.hosts {
		if h.flipped {
			within = helpWithin
		}
	}
	w.wait(within+w.plan.JoinTimeout, checkJoint, w.unsettled)
	w.wait(within, checkPreferred, w.preferred)
	if w.failure != nil {
		return
	}
	probes := w.probe()
	w.serves(probes)
	w.wait(w.answersWithin(), checkAnswered, func() string { return unanswered(w.oracle.ops) })
	w.wait(within, checkConverges, w.together())
	w.wait(within, checkTold, w.told)
	w.rest(6 * timeout)
	w.spared()
	w.disturb()
	w.wait(within, checkConverges, w.together()) // what overtook another message on its way is sent again after some heartbeats
	w.verify()
}

// heal ends all trouble of a server and starts it, if there is something to start it on.
func (h *host) heal() {
	h.slowDisk, h.slowApply, h.fuse, h.hungUntil, h.saveHungUntil, h.hangsAtCut, h.startError = 0, 0, 0, 0, 0, 0, 0
	h.setRate(1)
	h.store.mend()
	if h.decayed && h.gone == nil {
		h.gone = errDecayed // it would be found some time
	}
	if h.up && (h.repairing || h.gone != nil || h.store.disk.astray > 0 || h.store.failing()) {
		h.crash(time.Hour)
	}
	h.start()
}

// servesWithin is how long new commands may take: three election timeouts, unless steps were begun that take long.
func (w *world) servesWithin() time.Duration {
	if w.byKind[FaultSlowApply]+w.byKind[FaultSlowDisk] > 0 {
		return electionTimeouts * w.plan.ElectionTimeoutMax
	}
	return servesTimeouts * w.plan.ElectionTimeoutMax
}

// sound reports whether a server's store is the one that its group knows, and whole.
func (h *host) sound() bool {
	for _, o := range h.w.oracle.groups {
		if !h.soundIn(o) {
			return false
		}
	}
	return true
}

// soundIn is sound for the log of one group.
func (h *host) soundIn(o *groupOracle) bool {
	return h.gone == nil && h.formats == 1 && !o.mirrors[h.number-1].now.hard.Lost
}

// mayServe reports whether a majority is left that has lost nothing.
func (w *world) mayServe() bool {
	for _, o := range w.oracle.groups {
		for _, m := range o.live() {
			if !decides(m, func(v raft.Member) bool {
				h := w.hostOf(v)
				return h.sound() && (!w.plan.Lossy || !h.flipped)
			}) {
				return false
			}
		}
	}
	return true
}

// robbed reports whether faults have taken the stores of so many that a group has no majority: in a lossy run, or because voters have
// left since.
func (w *world) robbed() bool {
	for _, o := range w.oracle.groups {
		for _, m := range o.live() {
			for _, half := range halves(m) {
				if w.harmed(half, nil) > (len(half)-1)/2 {
					return true
				}
			}
		}
	}
	return false
}

// wait lets time pass until a condition holds; missing says what is missing, nothing if it holds.
func (w *world) wait(within time.Duration, c *check, missing func() string) {
	w.waitSince(w.now, within, c, missing)
}

func (w *world) waitSince(began, within time.Duration, c *check, missing func() string) {
	end := began + within
	for w.failure == nil {
		what := missing()
		if what == "" {
			return
		}
		if w.now >= end {
			w.fail(c, "%v after the last fault: %s", within, what)
			return
		}
		w.run(w.now + 20*time.Millisecond)
	}
}

// led says which group has no leader that a majority follows.
func (w *world) led() string {
	for g, o := range w.oracle.groups {
		if w.leaderOf(g) == nil {
			return sprintf("group %d has no leader", o.group)
		}
	}
	return ""
}

// unsettled says which group has a change open, or a leader that will hand over.
func (w *world) unsettled() string {
	for g, o := range w.oracle.groups {
		r := w.leaderOf(g)
		switch {
		case r == nil:
			return sprintf("group %d has no leader", o.group)
		case r.seen.membership.Changing() || r.seen.membershipIndex > r.seen.commit:
			return sprintf("group %d has an open change, %s", o.group, describeMembership(r.seen.membership))
		case r.r.Status().Transferring:
			return sprintf("group %d is led by server %v, which hands over", o.group, r.h)
		case !r.h.in(r.seen.membership.Voters):
			return sprintf("group %d is led by server %v, which is no voter", o.group, r.h)
		}
	}
	return ""
}

// preferred says which group is not led by one of those with the highest priority.
func (w *world) preferred() string {
	for g, o := range w.oracle.groups {
		r := w.leaderOf(g)
		if r == nil || r.r.Status().Transferring {
			return sprintf("group %d has no leader that stays", o.group)
		}
		for _, v := range r.seen.membership.Voters {
			if h := w.hostOf(v); h.soundIn(o) && w.plan.priority(h.number) > w.plan.priority(r.h.number) {
				return sprintf("group %d is led by server %v, and server %v has a higher priority", o.group, r.h, h)
			}
		}
	}
	return ""
}

// leaderOf returns the replica that leads a group for a majority.
func (w *world) leaderOf(g int) *replica {
	for _, h := range w.hosts {
		if !h.up {
			continue
		}
		r := h.replicas[g]
		if r.seen.role != raft.RoleLeader || r.seen.ended {
			continue
		}
		if decides(r.seen.membership, func(v raft.Member) bool {
			other := w.hostOf(v)
			return other.up && other.replicas[g].seen.leader == h.id && other.replicas[g].seen.term == r.seen.term
		}) {
			return r
		}
	}
	return nil
}

// answersWithin is how long calls may still take. Who reads from any server draws one after the other, and those that are no members
// any more let it wait for two election timeouts each.
func (w *world) answersWithin() time.Duration {
	if len(w.plan.Orders) == 0 {
		return answersWithin
	}
	return answersWithin + 60*w.plan.ElectionTimeoutMax
}

// probeDone is the Completion of a command that goes to a leader without a client between.
type probeDone struct{ k *op }

// Complete implements server.Completion.
func (p probeDone) Complete(result []byte, err error) { p.k.answer(result, err) }

// probe has every group execute a new command and answer a read; a leader that loses its place meanwhile is replaced by
// the next one.
func (w *world) probe() (probes []*op) {
	for g := range w.oracle.groups {
		for _, kind := range [...]CallKind{CallAppend, CallRead} {
			probes = append(probes, w.probeOne(g, kind))
		}
	}
	return probes
}

func (w *world) probeOne(g int, kind CallKind) *op {
	r := w.leaderOf(g)
	k := w.newOp(kind, uint8(g), w.oracle.groups[g])
	if kind == CallRead {
		r.in.Query(append([]byte{k.key}, w.plan.guest.probe(kind)...), raft.Consistency{}, true, probeDone{k})
	} else {
		r.in.Propose(server.Proposal{
			Group: r.group, Kind: raft.KindCommand,
			Command: append(command{commandKind(kind), k.number, k.key, 0}.encode(0), w.plan.guest.probe(kind)...),
		}, probeDone{k})
	}
	r.poke()
	return k
}

// command has somebody in a leader's own process ask for a command, who learns of its outcome as long as that process lives.
func (r *replica) command() {
	if r.seen.role != raft.RoleLeader || r.seen.ended {
		return
	}
	w := r.h.w
	k := w.newOp(CallAppend, uint8(len(w.oracle.ops)), r.oracle)
	body := append(command{commandKind(CallAppend), k.number, k.key, 0}.encode(0), w.plan.guest.probe(CallAppend)...)
	if r.full(&wire.ClientRequest{Method: wire.MethodPropose, Body: body}) {
		k.answer(nil, server.ErrBusy)
		return
	}
	r.h.callers = append(r.h.callers, k)
	r.owedWrites++
	r.in.Propose(server.Proposal{Group: r.group, Kind: raft.KindCommand, Command: body}, owed{r, k})
	r.poke()
}

// owed is the Completion of a command that a replica owes an answer to somebody in its own process.
type owed struct {
	r *replica
	k *op
}

// Complete implements server.Completion.
func (o owed) Complete(result []byte, err error) {
	o.r.owedWrites--
	o.k.answer(result, err)
}

// fetching reports whether somebody is fetching a snapshot, without which there may be no majority.
func (w *world) fetching() bool {
	for _, h := range w.hosts {
		for _, r := range h.replicas {
			if r.fetch != nil {
				return true
			}
		}
	}
	return false
}

func unanswered(ops []*op) string {
	n, first := 0, (*op)(nil)
	for _, k := range ops {
		if !k.ended {
			if n++; first == nil {
				first = k
			}
		}
	}
	if n == 0 {
		return ""
	}
	return sprintf("%d calls are not answered, the first is %s %d of group %d", n, first.kind, first.number, first.group.group)
}

// verify holds what clients know against what every member has, in the end.
func (w *world) verify() {
	for g, o := range w.oracle.groups {
		for _, h := range w.hosts {
			if w.failure != nil || !h.sound() || !w.isMember(g, h) {
				continue
			}
			if n := h.replicas[g].overdue(); n > 0 {
				w.fail(checkAnswered, "group %d: server %v owes %d answers that nobody will ever get", o.group, h, n)
			}
			m := h.replicas[g].machine
			if m.count != uint64(len(o.changes)) {
				w.fail(checkKept, "group %d: server %v has made %d changes, and there were %d", o.group, h, m.count, len(o.changes))
			}
			o.standsAt(m, "ends")
		}
	}
	for _, k := range w.oracle.ops {
		if k.ended && k.err == nil && !k.reads() && (k.executed == 0 || k.executed > uint64(len(k.group.changes))) {
			w.fail(checkKept, "call %d was acknowledged and is not there", k.number)
		}
	}
}

// overdue counts the requests that a replica has left unanswered for longer than anything takes when nothing fails.
func (r *replica) overdue() (count int) {
	for k := range r.owed {
		if r.h.w.now-k.at > owedWithin {
			count++
		}
	}
	return count
}
