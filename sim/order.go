package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// OrderKind says what an operator asks for.
type OrderKind uint8

// The kinds of orders. Each comment says which fields of Order it uses beside At, Group and Ambush.
const (
	OrderAdd      OrderKind = iota // Server: as a voter
	OrderLearn                     // Server: as a learner
	OrderPromote                   // Server: a learner becomes a voter
	OrderDemote                    // Server: a voter becomes a learner
	OrderRemove                    // Server
	OrderReplace                   // Server: one with a new store takes its place, in every group; For: how long the old one is down
	OrderAddress                   // Server
	OrderSeveral                   // N: several of the above at once
	OrderCancel                    // what is catching up is given up
	OrderTransfer                  // Server: who is to lead; the leader itself means whoever is best
	OrderStepDown                  //
	orderKinds
)

var orderNames = [orderKinds]string{
	OrderAdd: "add", OrderLearn: "add as a learner", OrderPromote: "promote", OrderDemote: "demote", OrderRemove: "remove", OrderReplace: "replace",
	OrderAddress: "change the address of", OrderSeveral: "change several of", OrderCancel: "cancel, for", OrderTransfer: "hand over to", OrderStepDown: "have the leader step down, for",
}

// String returns what is asked for.
func (k OrderKind) String() string { return orderNames[k] }

// Order is what an operator asks a group's leader for. One that does not apply when its time comes is passed over; one that is
// refused for now is asked for again.
type Order struct {
	At     time.Duration
	Kind   OrderKind
	Group  int // from 0
	Server int // from 0, of those that it may be for; -1: the leader
	N      int
	For    time.Duration
	Forced bool
	Ambush Ambush
}

// Ambush is a fault that waits for a stage of a change.
type Ambush struct {
	Stage stage
	Fault Fault // At is how long after the stage was reached
}

// stage is how far a change has come at the leader.
type stage uint8

const (
	stageNone    stage = iota
	stageCatchUp       // the entry that begins it stands in the log
	stageJoint         // the joint one stands there
	stageLeaving       // the one that ends it stands there
	stageSettled       // which is committed
	stages
)

var stageNames = [stages]string{stageCatchUp: "it catches up", stageJoint: "it is joint", stageLeaving: "it leaves the joint phase", stageSettled: "it has ended"}

// String describes an order in one line.
func (o *Order) String() string {
	who := fmt.Sprintf("server %d", o.Server+1)
	if o.Server == leaderServer {
		who = "the leader"
	}
	s := fmt.Sprintf("at %v: ORDER to group %d: %s %s, n %d, for %v, forced %t", o.At, o.Group+1, o.Kind, who, o.N, o.For, o.Forced)
	if o.Ambush.Stage != stageNone {
		s += fmt.Sprintf("; when %s, %v", stageNames[o.Ambush.Stage], &o.Ambush.Fault)
	}
	return s
}

// orderWeights is how often each kind is planned.
var orderWeights = [orderKinds]int{
	OrderAdd: 14, OrderLearn: 6, OrderPromote: 6, OrderDemote: 5, OrderRemove: 10, OrderReplace: 12, OrderAddress: 3, OrderSeveral: 12,
	OrderCancel: 3, OrderTransfer: 12, OrderStepDown: 3,
}

// ambushes are the kinds of faults that wait for a stage.
var ambushes = []FaultKind{
	FaultCrash, FaultCrash, FaultCrash, FaultIsolate, FaultIsolate, FaultPartition, FaultPartition, FaultPause, FaultMute, FaultHungSave, FaultHungDisk, FaultCrashAll,
	FaultSnapshot, FaultPowerCut, FaultDiverge, FaultWipe,
}

// plantOperator decides whether a plan has an operator. Two plans of three that lean to nothing have one.
func (p *Plan) plantOperator(r *rand.Rand) {
	if p.Lossy || p.Shape != ShapeNone || r.IntN(3) == 0 {
		return
	}
	p.Groups = min(p.Groups, 2)
	p.Spares = 1 + r.IntN(3)
	if r.IntN(3) == 0 {
		for range p.Servers + p.Spares {
			p.Priorities = append(p.Priorities, uint8(r.IntN(3)))
		}
	}
	p.JoinTimeout = p.ElectionTimeoutMax * time.Duration(3+r.IntN(5))
}

// plantOrders plans what an operator asks for.
func (p *Plan) plantOrders(r *rand.Rand) {
	if p.Spares == 0 {
		return
	}
	weights, sum := orderWeights, 0
	for k := range weights { // every plan has a taste of its own
		weights[k] *= pick(r, 0, 1, 1, 2, 4)
		sum += weights[k]
	}
	for range 4 + r.IntN(10) {
		if sum == 0 {
			return
		}
		n, kind := r.IntN(sum), OrderKind(0)
		for n >= weights[kind] {
			n -= weights[kind]
			kind++
		}
		p.Orders = append(p.Orders, p.order(r, kind))
	}
	sortBy(p.Orders, func(o *Order) time.Duration { return o.At })
}

func (p *Plan) order(r *rand.Rand, kind OrderKind) Order {
	timeout := p.ElectionTimeoutMax
	o := Order{
		At: upTo(r, p.Trouble), Kind: kind, Group: r.IntN(p.Groups), Server: r.IntN(64), N: r.IntN(1 << 16),
		For: upTo(r, 8*timeout), Forced: r.IntN(6) == 0,
	}
	if r.IntN(4) == 0 {
		o.Server = leaderServer
	}
	if len(p.Faults) > 0 && r.IntN(3) == 0 { // trouble comes in company
		o.At = max(0, p.Faults[r.IntN(len(p.Faults))].At+upTo(r, timeout)-timeout/2)
	}
	if kind < OrderCancel && r.IntN(2) == 0 {
		f := p.fault(r, pick(r, ambushes...))
		if f.Kind == FaultCrash {
			f.N = r.IntN(pick(r, 1, 2, 12))
		}
		if f.At = upTo(r, pick(r, 1, p.DelayMax, timeout/2)); r.IntN(3) > 0 {
			f.Server = leaderServer
		}
		if f.Server == leaderServer {
			f.N = f.N/p.Groups*p.Groups + o.Group
		}
		o.Ambush = Ambush{Stage: stage(1 + r.IntN(int(stages)-1)), Fault: f}
	}
	return o
}
