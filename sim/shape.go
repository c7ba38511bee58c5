package sim

import (
	"math/rand/v2"
	"time"
)

// Shape is what a plan leans to. Most lean to nothing. Some situations come of several things that have to meet, which they
// seldom do by themselves; a shape plants these things one after the other, and chance goes on beside it.
type Shape uint8

// The shapes.
const (
	ShapeNone Shape = iota
	// ShapeInstall: a server whose log has to be cut saves slowly, while the others compact what it lacks.
	ShapeInstall
	// ShapeFill: a leader whose disk hangs reads old entries for a follower that comes back, and is deposed meanwhile.
	ShapeFill
	// ShapeForget: stores that lose what they promised, under a leader that stays.
	ShapeForget
	shapes
)

var shapeNames = [shapes]string{ShapeNone: "none", ShapeInstall: "installs over truncations", ShapeFill: "late reads", ShapeForget: "forgetting"}

// String returns the shape's name.
func (s Shape) String() string { return shapeNames[s] }

// lean gives a plan its shape, before its calls and faults are planned.
func (p *Plan) lean(r *rand.Rand) {
	p.Shape = pick(r, ShapeNone, ShapeNone, ShapeNone, ShapeNone, ShapeNone, ShapeNone, ShapeNone, ShapeInstall, ShapeFill, ShapeForget)
	if p.Lossy {
		p.Shape = ShapeNone
	}
	switch p.Shape {
	case ShapeInstall:
		p.Servers, p.Groups = pick(r, 3, 5, 5), 1
		// So much comes together while a server is away, and twice that while its saves hang.
		p.SnapshotLogBytes = int64(float64(pick(r, 4000, 8000, 12000)) * p.ElectionTimeoutMax.Seconds())
		p.SnapshotKeepBytes, p.StateBytes = 1, 0
		p.InflightMessagesMax = pick(r, 4, 256)
	case ShapeFill:
		p.Servers, p.Groups = pick(r, 3, 3, 5), 1
		p.TailBytesMax, p.SnapshotLogBytes = 1, 1<<20
	case ShapeForget:
		p.Servers = pick(r, 3, 3, 4, 5)
	}
}

// plantShape plants what a shape needs, over and over.
func (p *Plan) plantShape(r *rand.Rand) {
	timeout := p.ElectionTimeoutMax
	step := 10 * timeout
	if p.Shape == ShapeForget {
		step = 15 * timeout
	}
	for at := 2*time.Second + upTo(r, step); p.Shape != ShapeNone && at < p.Trouble; at += step + upTo(r, step) {
		switch p.Shape {
		case ShapeInstall:
			away := timeout + upTo(r, 2*timeout)
			p.plant(Fault{At: at, Kind: FaultRejoin, Server: leaderServer, For: away})
			for range 8 { // which only the one has that is cut off
				p.Calls = append(p.Calls, p.call(r, at+upTo(r, timeout/4), r.IntN(len(p.Clients)), keysMax))
			}
			p.plant(Fault{At: at + away - upTo(r, timeout/4), Kind: FaultLoss, X: 0.1 + 0.3*r.Float64(), For: 2 * away})
			if p.Servers > 3 {
				p.plant(Fault{At: at + away + timeout/4 + upTo(r, timeout/2), Kind: FaultIsolate, Server: leaderServer, For: 2 * timeout})
			}
		case ShapeFill:
			other := r.IntN(p.Servers)
			back := at + 3*timeout
			p.plant(Fault{At: at, Kind: FaultIsolate, Server: other, For: back - at})
			p.plant(Fault{At: back - upTo(r, timeout/8), Kind: FaultHungDisk, Server: leaderServer, For: 4 * timeout})
			p.plant(Fault{At: back + 2*p.HeartbeatInterval + upTo(r, timeout/4), Kind: FaultIsolate, Server: leaderServer, For: 3 * timeout})
		default:
			kind := pick(r, FaultRollback, FaultRollback, FaultLie, FaultTail, FaultLostWrite)
			p.plant(Fault{At: at, Kind: kind, Server: r.IntN(p.Servers), N: 1 + r.IntN(12), For: timeout + upTo(r, 3*timeout)})
		}
	}
}

// plant plans a fault that chance did not.
func (p *Plan) plant(f Fault) { p.Faults = append(p.Faults, f) }
