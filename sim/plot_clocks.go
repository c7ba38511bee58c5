package sim

import (
	"math"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// unequal has the leader's clock go as slowly as it may and all others as fast, and then cuts the leader off. Now its lease is as long, and
// the promises that it stands on are as short, as they ever get.
func (w *world) unequal(f *Fault) bool {
	leader := w.target(&Fault{Server: leaderServer, N: f.N})
	if leader == nil || w.plan.ClockDriftPPM == 0 {
		return false
	}
	apart := math.Abs(f.X - 1)
	for _, h := range w.hosts {
		h.setRate(1 + apart)
	}
	leader.setRate(1 - apart)
	w.after(f.For, func() {
		for _, h := range w.hosts {
			h.setRate(1)
		}
	})
	// The last rounds before it follow one another at once, because a lease begins where the round before was confirmed.
	cut := w.plan.HeartbeatInterval + upTo(w.nets, 2*w.plan.HeartbeatInterval)
	apace := 2*w.plan.DelayMax + 6*w.plan.StepMax
	for k := range time.Duration(4) {
		leader.after(cut+k*apace, func() { leader.asks(f.N%w.plan.Groups, raft.Linearizable) })
	}
	w.after(cut+4*apace, func() {
		if w.calm {
			return
		}
		who := leader.number
		end := w.net.addCut(func(from, to int) bool { return from == who || to == who })
		w.after(min(f.For, 3*w.plan.ElectionTimeoutMax), func() {
			if !w.calm {
				end()
			}
		})
		for k := range time.Duration(12) {
			leader.after(k*w.plan.ElectionTimeoutMin/6, func() { leader.asks(f.N%w.plan.Groups, raft.Lease) })
		}
	})
	return true
}

// asks has somebody in a server's process read, if that server leads the group.
func (h *host) asks(group int, level raft.Level) {
	if h.w.calm {
		return
	}
	if r := h.replicas[group]; r.seen.role == raft.RoleLeader && !r.seen.ended {
		r.asksWithin(raft.Consistency{Level: level})
	}
}

// asksWithin has somebody in this replica's process read, for whom its answer is looked at, and who is gone if it crashes.
func (r *replica) asksWithin(c raft.Consistency) {
	w := r.h.w
	k := &op{kind: CallRead, group: r.oracle, invoked: w.now, floor: r.oracle.told, consistency: c}
	q := append([]byte{k.key}, w.plan.guest.probe(CallRead)...)
	if r.full(&wire.ClientRequest{Method: wire.MethodQuery, Body: q}) {
		return // it is told that the server is busy
	}
	r.in.Query(q, c, false, probeDone{k})
	r.poke()
}
