package sim

import (
	"encoding/binary"
	"errors"
	"sort"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// telling is when somebody was told of so many changes for the first time.
type telling struct {
	at    time.Duration
	count uint64
}

// tell notes that somebody knows of so many changes.
func (o *groupOracle) tell(count uint64) {
	if count > o.told {
		o.told = count
		o.telling = append(o.telling, telling{o.w.now, count})
	}
}

// toldBy is of how many changes anybody had been told by a time.
func (o *groupOracle) toldBy(at time.Duration) uint64 {
	k := sort.Search(len(o.telling), func(i int) bool { return o.telling[i].at >= at })
	if k == 0 {
		return 0
	}
	return o.telling[k-1].count
}

// linear reports whether a call is one of those that some order has to explain. A lease promises it as long as clocks keep to
// their bound.
func (k *op) linear() bool {
	switch k.consistency.Level {
	case raft.Linearizable:
		return true
	case raft.Lease:
		return !k.group.w.plan.Drifts
	}
	return false
}

// knows is of how many changes the answer to a call tells; 0: it does not say.
func (k *op) knows() uint64 {
	switch {
	case k.kind == CallRead && k.err == nil && len(k.result) >= 8:
		return binary.BigEndian.Uint64(k.result)
	case !k.reads() && (k.err == nil || errors.Is(k.err, client.ErrResultTooLarge)):
		return k.executed
	}
	return 0
}

// least is how many changes a read has to see: all that anybody knew of when it was asked, or that long before; and of a bounded one all
// that its client knew of.
func (k *op) least() uint64 {
	p := k.group.w.plan
	switch {
	case k.linear():
		return k.floor
	case k.consistency.Level == raft.Bounded && k.consistency.MaxAge > 0 && !p.Drifts: // its age may rest on a lease
		age := time.Duration(float64(k.consistency.MaxAge) / p.slowest())
		return max(k.own, k.group.toldBy(k.invoked-age))
	case k.consistency.Level == raft.Bounded:
		return k.own
	}
	return 0
}

// slowest is the slowest rate at which a clock of a run goes.
func (p *Plan) slowest() float64 {
	rate := 1.0
	for i := range p.Faults {
		if f := &p.Faults[i]; f.Kind == FaultClock {
			rate = min(rate, f.X)
		}
	}
	return rate
}

// sawRead looks at a read as it is answered: one process never shows less than it has shown.
func (d *doorCall) sawRead(result []byte, err error) {
	w := d.c.w
	group := d.group
	if int(group) > len(d.c.host.replicas) || group < 1 {
		return
	}
	r := d.c.host.replicas[group-1]
	leads, level := r.seen.role == raft.RoleLeader, d.consistency.Level
	switch {
	case err == nil && len(result) >= 8:
		count := binary.BigEndian.Uint64(result)
		if count < r.read {
			w.fail(checkBack, "server %v group %d answers a %s read with %d changes, and has shown %d before", r.h, group, d.consistency, count, r.read)
		}
		r.read = count
		switch {
		case level == raft.Linearizable && !leads:
			w.saw(sawFollowerRead)
		case level == raft.Lease && leads && r.seen.lease:
			w.saw(sawLeaseRead)
		case level == raft.Bounded && !leads:
			w.saw(sawBoundedRead)
		}
	case leads || level == raft.Stale:
	case wire.CodeOf(err) == wire.CodeNotLeader, errors.Is(err, server.ErrNoLeader), errors.Is(err, server.ErrBehind):
		w.saw(sawFollowerReadRefused)
	}
}
