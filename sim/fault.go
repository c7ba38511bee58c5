package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// FaultKind says what goes wrong.
type FaultKind uint8

// The kinds of faults. Each comment says which fields of Fault it uses beside At.
const (
	FaultCrash         FaultKind = iota // Server, N: so many effects later; X: whether the process alone; For: until it is started again
	FaultCrashAll                       // For
	FaultPowerCut                       // Server, N: so many changes of its files later; For
	FaultPause                          // Server, For
	FaultClock                          // Server, X: its rate; For
	FaultLoss                           // X: the chance; For
	FaultDelay                          // X: the chance of a long delay; For
	FaultRepeat                         // X: the chance; For
	FaultPartition                      // N: which servers stand on one side; For
	FaultOneWay                         // Server hears nothing from N; For
	FaultBridge                         // Server is all that connects the sides of N; For
	FaultChain                          // each server hears its neighbours in a row; For
	FaultRing                           // each server hears its neighbours in a ring; For
	FaultIsolate                        // Server hears nobody and nobody hears it; For
	FaultRejoin                         // Server hears nobody and nobody hears it for For; a save that cuts its log then hangs for three times that
	FaultDiverge                        // Server and one follower, chosen by N, whose disk hangs, are cut off from the others; For
	FaultMute                           // Server hears everybody and nobody hears it; For
	FaultMisroute                       // X: the chance that a message reaches another server or group as well; For
	FaultGarbage                        // X: the chance that a message arrives malformed as well; For
	FaultSlowDisk                       // Server, X: how much slower; For
	FaultHungDisk                       // Server, For
	FaultSaveError                      // Server, N: the n-th change of its files fails, and every one after it unless X says once; or, once, a sync of its log
	FaultCompactError                   // Server, N; For
	FaultReadError                      // Server, N: the n-th read of entries fails, once
	FaultSnapshotError                  // Server, N: changes of its files fail from the n-th on, or the n-th alone where X says once, or a sync of a transfer; For
	FaultHungSave                       // Server: syncs of its log alone hang; For
	FaultStartError                     // Server, N: the n-th call of its next start that changes something (N even) or reads fails; X: once
	FaultFull                           // Server: nothing more fits on its disk; For
	FaultRotLog                         // Server: a bit of what its log has acknowledged decays, which the next read finds
	FaultRotWitness                     // Server: a bit of its witness
	FaultRotIdentity                    // Server: a bit of its identity
	FaultRotSnapshot                    // Server: a bit of a snapshot, or of each of its snapshots where N is odd
	FaultWipe                           // Server: its store is lost and formatted anew; For
	FaultRollback                       // Server: its store becomes what it was For ago
	FaultTail                           // Server: its log becomes what it was For ago, and its witness does not
	FaultLie                            // Server: its disk reports syncs that it does not do, for For, and then the power goes
	FaultLostWrite                      // Server, N: the n-th write is reported and does not come to pass
	FaultStrayWrite                     // Server, N: the n-th write lands somewhere else; X: in its own file or in another one
	FaultSlowApply                      // Server, X; For
	FaultBreak                          // connections of clients: those of client N, or all
	FaultStall                          // connections of client N, or all, pass nothing; For
	FaultSleep                          // client N does nothing; For
	FaultSnapshot                       // Server takes a snapshot
	faultKinds
)

var faultNames = [faultKinds]string{
	FaultCrash: "crash", FaultCrashAll: "crash of all", FaultPowerCut: "power cut in a file", FaultPause: "pause", FaultClock: "clock rate",
	FaultLoss: "loss", FaultDelay: "delay", FaultRepeat: "repetition", FaultPartition: "partition", FaultOneWay: "one-way cut",
	FaultBridge: "bridge", FaultChain: "chain", FaultRing: "ring", FaultIsolate: "isolation", FaultRejoin: "isolation and a hung cut behind it", FaultDiverge: "divergence", FaultMute: "mute",
	FaultMisroute: "misrouting", FaultGarbage: "garbage", FaultSlowDisk: "slow disk", FaultHungDisk: "hung disk",
	FaultSaveError: "save error", FaultCompactError: "compact error", FaultReadError: "read error",
	FaultSnapshotError: "snapshot error", FaultHungSave: "hung save", FaultStartError: "error in a start", FaultFull: "full disk",
	FaultRotLog: "bit rot in the log", FaultRotWitness: "bit rot in the witness", FaultRotIdentity: "bit rot in the identity",
	FaultRotSnapshot: "bit rot in a snapshot", FaultWipe: "wiped store", FaultRollback: "store rolled back",
	FaultTail: "log rolled back behind its witness", FaultLie: "lying syncs", FaultLostWrite: "lost write", FaultStrayWrite: "misdirected write",
	FaultSlowApply: "slow apply", FaultBreak: "broken connections", FaultStall: "stalled connections", FaultSleep: "client asleep",
	FaultSnapshot: "snapshot on demand",
}

// String returns the kind's name.
func (k FaultKind) String() string { return faultNames[k] }

// slowApplyMax is about how much slower a state machine gets at most.
const slowApplyMax = 300

// leaderServer in Fault.Server means whoever leads group N modulo the number of groups when the fault comes.
const leaderServer = -1

// Fault is one thing that goes wrong. What does not apply when its time comes (a server that is down cannot be paused,
// the budget is spent) is passed over.
type Fault struct {
	At     time.Duration // since the run began
	For    time.Duration
	Kind   FaultKind
	Server int // from 0; -1: the leader of group N
	N      int
	X      float64
}

// once reports whether one call of a disk fails, and those after it succeed again.
func (f *Fault) once() bool { return f.X < 0.5 }

// String describes a fault in one line.
func (f *Fault) String() string {
	who := fmt.Sprintf("server %d", f.Server+1)
	if f.Server == leaderServer {
		who = "the leader"
	}
	return fmt.Sprintf("at %v: %s of %s, n %d, x %.3g, for %v", f.At, f.Kind, who, f.N, f.X, f.For)
}

// faultWeights is how often each kind is planned.
var faultWeights = [faultKinds]int{
	FaultCrash: 22, FaultCrashAll: 2, FaultPowerCut: 8, FaultPause: 7, FaultClock: 3, FaultLoss: 4, FaultDelay: 4, FaultRepeat: 4,
	FaultPartition: 6, FaultOneWay: 4, FaultBridge: 2, FaultChain: 2, FaultRing: 2, FaultIsolate: 7, FaultRejoin: 2, FaultDiverge: 8, FaultMute: 4, FaultMisroute: 3,
	FaultGarbage: 2, FaultSlowDisk: 3, FaultHungDisk: 3, FaultSaveError: 4, FaultCompactError: 1, FaultReadError: 3,
	FaultSnapshotError: 2, FaultHungSave: 3, FaultStartError: 3, FaultFull: 3, FaultRotLog: 1, FaultRotWitness: 1, FaultRotIdentity: 1,
	FaultRotSnapshot: 4, FaultWipe: 1, FaultRollback: 3, FaultTail: 2, FaultLie: 3, FaultLostWrite: 2, FaultStrayWrite: 2,
	FaultSlowApply: 3, FaultBreak: 4, FaultStall: 3, FaultSleep: 3, FaultSnapshot: 4,
}

// destroying are the kinds of which a store does not recover, and says so.
var destroying = []FaultKind{FaultWipe, FaultRotLog, FaultRotIdentity, FaultRotSnapshot, FaultTail}

// plantFaults plans what goes wrong, and when.
func (p *Plan) plantFaults(r *rand.Rand) {
	weights := faultWeights
	if p.Lossy {
		for _, k := range destroying {
			weights[k] = 8
		}
	}
	// Every plan has a taste of its own: some kinds more often, others never.
	sum := 0
	for k := range weights {
		weights[k] *= pick(r, 0, 1, 1, 1, 2, 4)
		sum += weights[k]
	}
	if sum == 0 {
		weights[FaultCrash], sum = 1, 1
	}
	for range 5 + r.IntN(16) {
		n, kind := r.IntN(sum), FaultKind(0)
		for n >= weights[kind] {
			n -= weights[kind]
			kind++
		}
		f := p.fault(r, kind)
		// Trouble comes in company: two faults at a time find what one alone does not.
		if n := len(p.Faults); n > 0 && r.IntN(3) == 0 {
			near := &p.Faults[n-1]
			f.At = near.At + upTo(r, p.ElectionTimeoutMax)
			if r.IntN(2) == 0 {
				f.Server, f.N = near.Server, f.N&^3|near.N&3
			}
		}
		p.Faults = append(p.Faults, f)
	}
}

func (p *Plan) fault(r *rand.Rand, kind FaultKind) Fault {
	f := Fault{At: upTo(r, p.Trouble), Kind: kind, Server: r.IntN(p.Servers), N: r.IntN(64)}
	if r.IntN(3) == 0 {
		f.Server = leaderServer
	}
	timeout := p.ElectionTimeoutMax
	f.For = pick(r, timeout/4, timeout, 3*timeout, 8*timeout) + upTo(r, timeout)
	f.X = r.Float64()
	switch kind {
	case FaultCrash:
		f.N = r.IntN(pick(r, 3, 40, 300))
	case FaultPowerCut, FaultLostWrite, FaultStrayWrite:
		f.N = 1 + r.IntN(12)
	case FaultSnapshotError, FaultStartError:
		f.N = 1 + r.IntN(pick(r, 12, 40))
	case FaultDiverge, FaultRejoin:
		f.Server, f.For = leaderServer, f.For+timeout
	case FaultClock:
		f.X = 0.7 + 0.6*r.Float64()
	case FaultLoss:
		f.X *= 0.4
	case FaultRepeat, FaultDelay:
		f.X *= 0.3
	case FaultMisroute:
		f.X *= 0.4
	case FaultGarbage:
		f.X *= 0.1
	case FaultSlowDisk:
		f.X = 1 + 60*f.X*f.X
	case FaultSlowApply:
		f.X = 1 + slowApplyMax*f.X*f.X
	case FaultHungDisk, FaultHungSave:
		f.For *= 2
	case FaultSaveError, FaultCompactError:
		f.N = 1 + r.IntN(5)
	case FaultReadError:
		f.N = 1 + r.IntN(pick(r, 5, 15))
	case FaultSleep:
		f.For += upTo(r, time.Duration(p.Limits.SessionExpiryNanos))
	}
	return f
}
